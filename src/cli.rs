//! The shell commands. They work on the same files and state as the server, and need no server to run.

mod bar;

use crate::domain;
use crate::domain::audit::{Actor, Noted};
use crate::domain::destinations::attempt::Uploaded;
use crate::domain::engines::{Cancel, Target};
use crate::domain::operations::check::Report;
use crate::domain::operations::restore::{RestoreOptions, Restored, counted};
use crate::domain::{Error, Holdfast};
use crate::model::audit::{Ending, Event};
use crate::model::{Backup, BackupName, DatabaseName, InvalidName, human};
use crate::settings::process;
use crate::settings::{Settings, Which};
use bar::Bar;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use std::fmt::Write as _;
use std::io::Write as _;

/// Result of a command.
pub type Outcome = Result<(), Failure>;

/// Why a command failed: a sentence for people, a status for scripts.
#[derive(Debug)]
pub struct Failure {
    /// The sentence to print.
    pub sentence: String,
    /// Exit status: 3 if a backup is damaged or cannot be restored, else 1. Wrong usage is 2, which clap handles.
    pub status: u8,
}

impl From<String> for Failure {
    fn from(sentence: String) -> Self {
        Self { sentence, status: 1 }
    }
}

/// The failure for a backup that is damaged or cannot be restored.
fn not_good(sentence: String) -> Failure {
    Failure { sentence, status: 3 }
}

/// `holdfast backup <database>`: makes a backup and prints its file name. Uploads the backup too if every new backup is
/// uploaded automatically. If the upload fails, the backup stays and the command fails.
pub async fn backup(settings: &Settings, database: &str, json: bool) -> Outcome {
    let holdfast = open(settings)?;
    let database: DatabaseName = database.parse().map_err(|error| format!("{database}: {error}."))?;
    holdfast.sweep().map_err(sentence)?;
    let (created, sent) = until_asked_to_stop(move |cancel| {
        let created = holdfast.creations().back_up(&database, cancel, &Bar::of(database.as_str()))?;
        let sent = holdfast.destinations().for_new_backups().map(|there| {
            let sent = there.upload(&created.file, cancel, &|_, _, _| {});
            let told = |sent: &Uploaded| format!("{} bytes", sent.size);
            holdfast.notes().noted(Event::BackupUploaded, created.file.as_str(), sent, told)
        });
        Ok((created, sent))
    })
    .await?;
    if let Some(warnings) = &created.warnings {
        tracing::warn!(%warnings, "the backup is complete, with remarks");
    }
    if json {
        print_json(&Made {
            file: created.file.as_str(),
            size: created.size,
            warnings: created.warnings.as_deref(),
            off_site: sent.as_ref().map(Result::is_ok),
        })?;
    } else {
        print(&format!("{}\n", created.file))?;
    }
    match sent {
        Some(Err(error)) => Err(format!("{} was created, but not uploaded: {error}", created.file).into()),
        _ => Ok(()),
    }
}

/// `holdfast list [--json]`: prints the backups in the backup directory.
pub fn list(settings: &Settings, json: bool) -> Outcome {
    let backups = open(settings)?.catalog().list().map_err(sentence)?;
    if json {
        let listed: Vec<_> = backups.iter().map(Listed::from).collect();
        return print_json(&listed);
    }
    let mut text = String::new();
    for Backup { name, created, size, state, .. } in backups.iter() {
        let _ = writeln!(text, "{created}  {:>10}  {:<19}  {name}", human::size(*size), state.label());
    }
    print(&text)
}

/// `holdfast verify <file>… | --all`: checks each backup and prints the result. A bad one makes the command fail.
pub async fn verify(settings: &Settings, which: Which) -> Outcome {
    let holdfast = open(settings)?;
    let options = RestoreOptions { limit: which.max_bytes, ..RestoreOptions::default() };
    holdfast.sweep().map_err(sentence)?;
    let files = which
        .files(|| Ok(holdfast.catalog().list()?.iter().map(|backup| backup.name.to_string()).collect()))?;
    let (one, json) = (files.len() == 1, which.json);
    let reports = until_asked_to_stop(move |cancel| {
        let verify = |file: &String| {
            let found = holdfast.verifications().verify(file, &options, cancel, &Bar::of(file));
            note(&holdfast, Event::BackupsVerified, file, found)
        };
        each(&files, cancel, verify)
    })
    .await?;
    tell_reports(&reports, one, json)
}

/// `holdfast adopt <file>… | --all`: writes a manifest for each intact backup that has none.
pub async fn adopt(settings: &Settings, which: Which) -> Outcome {
    let holdfast = open(settings)?;
    let options = RestoreOptions { limit: which.max_bytes, ..RestoreOptions::default() };
    holdfast.sweep().map_err(sentence)?;
    let files = which.files(|| {
        Ok(holdfast.verifications().without_manifest()?.iter().map(ToString::to_string).collect())
    })?;
    let (one, json) = (files.len() == 1, which.json);
    let reports = until_asked_to_stop(move |cancel| {
        let adopt = |file: &String| {
            let name =
                file.parse().map_err(|error: InvalidName| Error::Refused(format!("{file}: {error}.")))?;
            let found = holdfast.verifications().adopt(&name, &options, cancel, &Bar::of(file));
            note(&holdfast, Event::BackupsAdopted, file, found)
        };
        each(&files, cancel, adopt)
    })
    .await?;
    tell_reports(&reports, one, json)
}

/// The report on each file, or why the check could not run.
type Reports = Vec<(String, Result<Report, Error>)>;

fn each(
    files: &[String],
    cancel: &Cancel,
    look: impl Fn(&String) -> Result<Report, Error>,
) -> Result<Reports, Error> {
    let mut reports = Reports::new();
    for file in files {
        let report = look(file);
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        reports.push((file.clone(), report));
    }
    Ok(reports)
}

fn tell_reports(reports: &Reports, one: bool, json: bool) -> Outcome {
    if json {
        let found: Vec<_> = reports.iter().filter_map(|(_, report)| report.as_ref().ok()).collect();
        match (&found[..], one) {
            ([], true) => {}
            ([report], true) => print_json(report)?,
            (several, _) => print_json(&several)?,
        }
    } else {
        for (_, report) in reports {
            if let Ok(report) = report
                && report.is_good()
            {
                print(&report.sentences())?;
            }
        }
    }
    let bad = reports.iter().filter_map(|(_, report)| match report {
        Ok(report) => (!report.is_good()).then(|| report.sentence()),
        Err(_) => None,
    });
    let failed = reports.iter().filter_map(|(file, report)| match report {
        Err(error) if one => Some(worded(error)),
        Err(error) => Some(format!("{file}: {}", worded(error))),
        Ok(report) => report
            .untried
            .as_ref()
            .map(|why| format!("{file} is intact and readable, but the test restore did not run: {why}")),
    });
    let (bad, failed): (Vec<_>, Vec<_>) = (bad.collect(), failed.collect());
    let sentences = [&bad[..], &failed[..]].concat().join("\n");
    match (&bad[..], &failed[..]) {
        ([], []) => Ok(()),
        ([], _) => Err(sentences.into()),
        _ => Err(not_good(sentences)),
    }
}

/// `holdfast rotate-key`: re-encrypts the stored secrets with a new key.
pub fn rotate_key(settings: &Settings) -> Outcome {
    let count = open(settings)?.rotate_key().map_err(sentence)?;
    let secrets = human::count(count as u64, "stored secret");
    print(&format!(
        "Changed the key and re-encrypted {secrets}. Old copies of the key still decrypt old copies of the state \
         database: delete both when you no longer need them.\n"
    ))
}

/// `holdfast reset-account <username>`: sets a new password and prints it once.
pub fn reset_account(settings: &Settings, username: &str) -> Outcome {
    let reset = open(settings)?.reset_account(username).map_err(sentence)?;
    let promoted =
        if reset.promoted { "\nNo administrator was left, so this account is one now." } else { "" };
    print(&format!(
        "New password of {username} (two-factor authentication is off, all sessions are ended):\n{}\n\
         Log in with it and change it on the account page.{promoted}\n",
        reset.password.expose_secret()
    ))
}

/// `holdfast restore <file> --into <url> [--overwrite]`: checks the backup, restores it, and prints the result.
pub async fn restore(
    settings: &Settings,
    file: String,
    into: SecretString,
    options: RestoreOptions,
    json: bool,
) -> Outcome {
    let target = target("--into", &into)?;
    let holdfast = open(settings)?;
    holdfast.own_files().keep(&target).map_err(sentence)?;
    holdfast.sweep().map_err(sentence)?;
    let Restored { report, target, safety } = until_asked_to_stop(move |cancel| {
        let restored = holdfast.restores().restore(&file, &target, &options, cancel, &Bar::of(&file));
        let object = format!("{file} into {}", target.address());
        holdfast.notes().noted(Event::BackupRestored, &object, restored, |restored| counted(&restored.report))
    })
    .await?;
    if json {
        return print_json(&GotBack {
            file: &report.file,
            into: &target,
            tables: report.tables,
            rows: report.rows,
            replaced: safety.as_ref().map(BackupName::as_str),
            exceptions: &report.exceptions,
            notes: &report.notes,
        });
    }
    print(&format!(
        "{} is restored into {target}: {}.{}\n",
        report.file,
        counted(&report),
        report.told_besides()
    ))
}

impl Which {
    /// The files named on the command line, or with `--all` those of `all`.
    fn files(&self, all: impl FnOnce() -> domain::Result<Vec<String>>) -> Result<Vec<String>, Failure> {
        if self.all { Ok(all().map_err(sentence)?) } else { Ok(self.files.clone()) }
    }
}

fn target(flag: &str, url: &SecretString) -> Result<Target, String> {
    Target::parse(url.expose_secret()).map_err(|why| format!("The URL of {flag}: {why}."))
}

/// Runs the work on its own thread, and cancels it when a signal asks the program to stop.
async fn until_asked_to_stop<T: Send + 'static>(
    work: impl FnOnce(&Cancel) -> Result<T, Error> + Send + 'static,
) -> Result<T, String> {
    let cancel = Cancel::default();
    let working = {
        let cancel = cancel.clone();
        let (done, working) = tokio::sync::oneshot::channel();
        // `spawn_blocking` panics if the system gives no thread.
        std::thread::Builder::new()
            .spawn(move || drop(done.send(work(&cancel))))
            .map_err(|error| format!("Could not start a thread: {error}."))?;
        working
    };
    let asked_to_stop = tokio::spawn(async move {
        process::asked().await;
        cancel.cancel();
    });
    let outcome = working.await.unwrap_or(Err(Error::Lost));
    asked_to_stop.abort();
    outcome.map_err(|error| worded(&error))
}

fn worded(error: &Error) -> String {
    match error.detail() {
        Some(detail) => format!("{error}\n{detail}"),
        None => error.to_string(),
    }
}

/// One backup in the output of `list --json`. Times are UTC, `YYYY-MM-DD HH:MM:SS`; the size is in bytes.
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

/// The output of `backup --json`.
#[derive(Serialize)]
struct Made<'a> {
    file: &'a str,
    size: u64,
    warnings: Option<&'a str>,
    /// Whether the upload succeeded; `None` if new backups are not uploaded automatically.
    off_site: Option<bool>,
}

/// The output of `restore --json`.
#[derive(Serialize)]
struct GotBack<'a> {
    file: &'a str,
    into: &'a str,
    tables: Option<u64>,
    rows: Option<u64>,
    /// The backup of the database that was replaced.
    replaced: Option<&'a str>,
    /// Objects that could not be restored. All data was.
    exceptions: &'a [String],
    notes: &'a [String],
}

fn open(settings: &Settings) -> Result<Holdfast, String> {
    let holdfast = Holdfast::open(settings.options()?).map_err(sentence)?;
    Ok(holdfast.on_behalf_of(Actor::shell()))
}

/// Writes the result to the audit log. A bad backup is noted as a failure.
fn note(
    holdfast: &Holdfast,
    event: Event,
    file: &str,
    found: Result<Report, Error>,
) -> Result<Report, Error> {
    match &found {
        Ok(report) if !report.is_good() => {
            holdfast.notes().note(event, file, Ending::Failed, &report.sentence());
        }
        Ok(Report { untried: Some(why), .. }) => holdfast.notes().note(event, file, Ending::Failed, why),
        Ok(report) => holdfast.notes().note(event, file, Ending::Ok, report.level.label()),
        Err(error) => holdfast.notes().note_all(&[Noted::of(event, file, error)]),
    }
    found
}

fn sentence(error: Error) -> String {
    error.to_string()
}

fn print_json(value: &impl Serialize) -> Outcome {
    let text = serde_json::to_string_pretty(value).map_err(|error| error.to_string())?;
    print(&format!("{text}\n"))
}

fn print(text: &str) -> Outcome {
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| format!("Could not write the output: {error}.").into())
}
