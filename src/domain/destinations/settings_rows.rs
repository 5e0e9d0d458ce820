//! The rows of the table `settings` that hold destinations: one row a destination, a row for each sealed secret.
//!
//! The row `destination.<name>` has the kind, the switches and what the kind needs, as JSON; secrets lie in rows
//! `destination.<name>.<field>`, each sealed for its own row. The kind from before there was more than one names its
//! rows itself.

use crate::domain::destinations::name::DestinationName;
use crate::domain::error::{Error, Result};
use crate::domain::state::Store;
use crate::domain::state::secrets::Secrets;
use crate::domain::state::settings as table;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

/// The key below which the destinations' rows are.
const DESTINATION: &str = "destination";

/// A destination as its row keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredDestination<C> {
    /// The kind: `directory`, …
    pub kind: String,
    /// Whether copies are sent there at all.
    pub enabled: bool,
    /// Whether each new backup is sent there automatically.
    #[serde(default)]
    pub send_new: bool,
    /// What this kind needs to find the place.
    pub config: C,
}

/// A row of which only the kind is known.
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
        // A row with a second dot in its key is a secret.
        let own = key.strip_prefix(DESTINATION).and_then(|rest| rest.strip_prefix('.'));
        let Some(name) = own.and_then(|name| name.parse::<DestinationName>().ok()) else { continue };
        let what = format!("settings of the destination {name}");
        if decode::<KindOnly>(&what, &value)?.kind == kind {
            found.push((name, decode(&what, &value)?));
        }
    }
    Ok(found)
}

/// Stores a destination, in place of one of its name.
pub fn store<C: Serialize>(
    store: &Store,
    name: &DestinationName,
    destination: &StoredDestination<C>,
) -> Result<()> {
    let value = encode(destination)?;
    table::change(store, |rows| rows.put(&format!("{DESTINATION}.{name}"), &value))
}

/// Forgets a destination and its secrets.
pub fn forget(store: &Store, name: &DestinationName) -> Result<()> {
    table::change(store, |rows| rows.remove_all(&format!("{DESTINATION}.{name}")))
}

/// Seals a secret for the row `key`; it opens there only.
pub fn seal(secrets: &Secrets, key: &str, secret: &SecretString) -> Result<String> {
    secrets.seal(&sealed_for(key), secret)
}

/// Opens the secret in the row `key`; nothing where there is none. `what` names it in the error.
pub fn open(store: &Store, secrets: &Secrets, key: &str, what: &str) -> Result<Option<SecretString>> {
    let sealed = table::get(store, key)?;
    sealed.map(|sealed| secrets.open(&sealed_for(key), what, &sealed)).transpose()
}

/// What a sealed value is tied to: the table and the row it lies in.
fn sealed_for(key: &str) -> String {
    format!("settings/{key}")
}

/// A value as its row keeps it.
pub fn encode(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|_| Error::Lost)
}

/// Reads a row's value. `what` names the settings in the error.
pub fn decode<T: for<'de> Deserialize<'de>>(what: &str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| {
        Error::Refused(format!("The stored {what} cannot be read ({error}). Reset and enter them again."))
    })
}
