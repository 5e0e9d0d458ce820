//! The rows of the table `settings` with the destinations: one row for each destination, and one for each
//! sealed secret.
//!
//! The row `destination.<name>` has the kind, the switches and the kind's own settings, as JSON; secrets are
//! in rows `destination.<name>.<field>`, each sealed for its own row. SFTP, which is older than these rows,
//! uses its own names.

use crate::domain::destinations::name::DestinationName;
use crate::domain::error::{Code, Error, Result};
use crate::domain::state::Store;
use crate::domain::state::secrets::Secrets;
use crate::domain::state::settings as table;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

/// The prefix of the destinations' keys.
const DESTINATION: &str = "destination";

/// A destination's row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredDestination<C> {
    /// The kind: `directory`, …
    pub kind: String,
    /// Whether it is enabled.
    pub enabled: bool,
    /// Whether each new backup is uploaded automatically.
    #[serde(default)]
    pub send_new: bool,
    /// The kind's own settings.
    pub config: C,
}

/// A row, read for its kind only.
#[derive(Deserialize)]
struct KindOnly {
    kind: String,
}

/// The stored destinations of one kind, by name.
pub fn of_kind<C: for<'de> Deserialize<'de>>(
    store: &Store,
    kind: &str,
) -> Result<Vec<(DestinationName, StoredDestination<C>)>> {
    let rows = table::read(store, |rows| rows.below(DESTINATION))?;
    let mut found = Vec::new();
    for (key, value) in rows {
        // Keys with a second dot are secrets.
        let own = key.strip_prefix(DESTINATION).and_then(|rest| rest.strip_prefix('.'));
        let Some(name) = own.and_then(|name| name.parse::<DestinationName>().ok()) else { continue };
        let what = format!("settings of the destination {name}");
        if decode::<KindOnly>(&what, &value)?.kind == kind {
            found.push((name, decode(&what, &value)?));
        }
    }
    Ok(found)
}

/// Stores a destination; replaces one of the same name.
pub fn store<C: Serialize>(
    store: &Store,
    name: &DestinationName,
    destination: &StoredDestination<C>,
) -> Result<()> {
    let value = encode(destination)?;
    table::change(store, |rows| rows.put(&format!("{DESTINATION}.{name}"), &value))
}

/// Deletes a destination and its secrets.
pub fn forget(store: &Store, name: &DestinationName) -> Result<()> {
    table::change(store, |rows| rows.remove_all(&format!("{DESTINATION}.{name}")))
}

/// Seals a secret for the row `key`; it can be opened there only.
pub fn seal(secrets: &Secrets, key: &str, secret: &SecretString) -> Result<String> {
    secrets.seal(&sealed_for(key), secret)
}

/// Opens the secret in the row `key`; `None` if there is none. `what` names it in errors.
pub fn open(store: &Store, secrets: &Secrets, key: &str, what: &str) -> Result<Option<SecretString>> {
    let sealed = table::get(store, key)?;
    sealed.map(|sealed| secrets.open(&sealed_for(key), what, &sealed)).transpose()
}

/// What a sealed value is bound to: its table and row.
fn sealed_for(key: &str) -> String {
    format!("settings/{key}")
}

/// Encodes a value for its row.
pub fn encode(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|_| Error::Lost)
}

/// Decodes a row's value. `what` names the settings in errors.
pub fn decode<T: for<'de> Deserialize<'de>>(what: &str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| {
        let words = format!(
            "The stored {what} cannot be read ({error}). Reset the settings and enter them \
             again."
        );
        Error::refusal(Code::StateFailed, words)
    })
}
