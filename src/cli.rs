//! The same vault from a shell, with no server: for scripts, cron, and the day the page is gone.

use crate::model::{Backup, DatabaseName, Phase, human};
use crate::settings::Settings;
use crate::stop;
use crate::vault::dump::Cancel;
use crate::vault::jobs::Progress;
use crate::vault::{Vault, VaultError};
use serde::Serialize;
use std::fmt::Write as _;
use std::io::Write as _;

/// A command's outcome: nothing, or a sentence for the reader.
pub type Outcome = Result<(), String>;

/// `holdfast backup <database>`: prints the new file's name. Where every new backup is to be sent off-site,
/// that is done, too; where it fails, the backup stays, and the command fails saying so.
pub async fn backup(settings: &Settings, database: &str) -> Outcome {
    let vault = open(settings)?;
    let database: DatabaseName = database.parse().map_err(|error| format!("{database}: {error}."))?;
    vault.sweep().map_err(sentence)?;
    let cancel = Cancel::default();
    let working = {
        let cancel = cancel.clone();
        let (done, working) = tokio::sync::oneshot::channel();
        let work = move || {
            let created = vault.back_up(&database, &cancel, &Quiet)?;
            let sent = vault.sftp().sends_new().then(|| vault.upload(&created.file, &cancel, &|_, _, _| {}));
            Ok((created, sent))
        };
        // The runtime's own way to a thread would panic where there is none.
        std::thread::Builder::new()
            .spawn(move || drop(done.send(work())))
            .map_err(|error| format!("No thread could be started for it: {error}."))?;
        working
    };
    let asked_to_stop = tokio::spawn(async move {
        stop::asked().await;
        cancel.cancel();
    });
    let created = working.await.unwrap_or(Err(VaultError::Lost));
    asked_to_stop.abort();
    let (created, sent) = created.map_err(|error: VaultError| match error.detail() {
        Some(detail) => format!("{error}\n{detail}"),
        None => error.to_string(),
    })?;
    if let Some(warnings) = created.warnings {
        tracing::warn!(%warnings, "the dump tool warned");
    }
    print(&format!("{}\n", created.file))?;
    match sent {
        Some(Err(error)) => Err(format!("{} is made, but was not sent off-site: {error}", created.file)),
        _ => Ok(()),
    }
}

/// `holdfast list [--json]`: what is in the backup directory.
pub fn list(settings: &Settings, json: bool) -> Outcome {
    let backups = open(settings)?.catalog().list().map_err(sentence)?;
    if json {
        let listed: Vec<_> = backups.iter().map(Listed::from).collect();
        return print(&format!(
            "{}\n",
            serde_json::to_string_pretty(&listed).map_err(|error| error.to_string())?
        ));
    }
    let mut text = String::new();
    for Backup { name, created, size, state, .. } in backups.iter() {
        let _ = writeln!(text, "{created}  {:>10}  {:<19}  {name}", human::size(*size), state.label());
    }
    print(&text)
}

/// One backup as scripts read it. Times are UTC, `YYYY-MM-DD HH:MM:SS`; the size is in bytes.
#[derive(Serialize)]
struct Listed<'a> {
    file: &'a str,
    database: Option<&'a str>,
    created_at: String,
    modified_at: String,
    size: u64,
    sha256: Option<&'a str>,
    state: &'static str,
}

impl<'a> From<&'a Backup> for Listed<'a> {
    fn from(backup: &'a Backup) -> Self {
        Self {
            file: backup.name.as_str(),
            database: backup.database.as_deref(),
            created_at: backup.created.to_string(),
            modified_at: backup.modified.to_string(),
            size: backup.size,
            sha256: backup.sha256.as_deref(),
            state: backup.state.label(),
        }
    }
}

struct Quiet;

impl Progress for Quiet {
    fn phase(&self, _: Phase) {}
    fn total(&self, _: u64) {}
    fn bytes(&self, _: u64, _: u64) {}
}

fn open(settings: &Settings) -> Result<Vault, String> {
    Vault::open(settings.vault_options()?).map_err(sentence)
}

fn sentence(error: VaultError) -> String {
    error.to_string()
}

fn print(text: &str) -> Outcome {
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| format!("The output could not be written: {error}."))
}
