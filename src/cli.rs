//! The same vault from a shell, with no server: for scripts, cron, and the day the page is gone.

use crate::model::{Backup, DatabaseName, Phase, human};
use crate::settings::Settings;
use crate::stop;
use crate::vault::dump::{Cancel, Target};
use crate::vault::jobs::{Progress, Unwatched};
use crate::vault::restore::{Options, Restored, counted};
use crate::vault::{Vault, VaultError};
use secrecy::{ExposeSecret, SecretString};
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
    let (created, sent) = until_asked_to_stop(move |cancel| {
        let created = vault.back_up(&database, cancel, &Unwatched)?;
        let sent = vault.sftp().sends_new().then(|| vault.upload(&created.file, cancel, &|_, _, _| {}));
        Ok((created, sent))
    })
    .await?;
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

/// `holdfast verify <file>`: prints what was proved of a backup. A damaged one fails the command.
pub async fn verify(
    settings: &Settings,
    file: String,
    json: bool,
    restore_on: Option<SecretString>,
    limit: Option<u64>,
) -> Outcome {
    let on = restore_on.as_ref().map(|url| target("--restore-on", url)).transpose()?;
    let vault = open(settings)?;
    let options = Options { limit, ..Options::default() };
    vault.sweep().map_err(sentence)?;
    let report =
        until_asked_to_stop(move |cancel| vault.verify(&file, on.as_ref(), &options, cancel, &Aloud)).await?;
    if json {
        let text = serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?;
        print(&format!("{text}\n"))?;
    } else if !report.is_damaged() {
        print(&report.sentences())?;
    }
    if report.is_damaged() { Err(report.sentence()) } else { Ok(()) }
}

/// `holdfast restore <file> --into <url> [--overwrite]`: tells the plan, then what came of it.
pub async fn restore(
    settings: &Settings,
    file: String,
    into: SecretString,
    overwrite: bool,
    limit: Option<u64>,
) -> Outcome {
    let target = target("--into", &into)?;
    let vault = open(settings)?;
    let options = Options { limit, overwrite, ..Options::default() };
    vault.sweep().map_err(sentence)?;
    let Restored { report, target, .. } =
        until_asked_to_stop(move |cancel| vault.restore(&file, &target, &options, cancel, &Aloud)).await?;
    print(&format!("{} is restored into {target}: {}.\n", report.file, counted(&report)))
}

fn target(flag: &str, url: &SecretString) -> Result<Target, String> {
    Target::parse(url.expose_secret()).map_err(|why| format!("The URL of {flag}: {why}."))
}

/// Does the work on a thread of its own, and asks it to stop when the program is asked to.
async fn until_asked_to_stop<T: Send + 'static>(
    work: impl FnOnce(&Cancel) -> Result<T, VaultError> + Send + 'static,
) -> Result<T, String> {
    let cancel = Cancel::default();
    let working = {
        let cancel = cancel.clone();
        let (done, working) = tokio::sync::oneshot::channel();
        // The runtime's own way to a thread would panic where there is none.
        std::thread::Builder::new()
            .spawn(move || drop(done.send(work(&cancel))))
            .map_err(|error| format!("No thread could be started for it: {error}."))?;
        working
    };
    let asked_to_stop = tokio::spawn(async move {
        stop::asked().await;
        cancel.cancel();
    });
    let outcome = working.await.unwrap_or(Err(VaultError::Lost));
    asked_to_stop.abort();
    outcome.map_err(|error| match error.detail() {
        Some(detail) => format!("{error}\n{detail}"),
        None => error.to_string(),
    })
}

/// Says what goes on, beside the output.
fn tell(text: &str) {
    let _ = writeln!(std::io::stderr(), "holdfast: {text}");
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

struct Aloud;

impl Progress for Aloud {
    fn phase(&self, _: Phase) {}
    fn total(&self, _: u64) {}
    fn bytes(&self, _: u64, _: u64) {}
    fn tell(&self, text: &str) {
        tell(text);
    }
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
