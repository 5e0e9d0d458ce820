//! The same holdfast from a shell, with no server: for scripts, cron, and the day the page is gone.

mod bar;

use crate::domain;
use crate::domain::audit::{By, Noted};
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

/// A command's outcome: nothing, or what went wrong.
pub type Outcome = Result<(), Failure>;

/// What went wrong, as the reader is told and as scripts see it.
#[derive(Debug)]
pub struct Failure {
    /// A sentence for the reader.
    pub sentence: String,
    /// The exit status: 3 where a backup is not good, else 1. Wrong usage is 2, which clap sees to.
    pub status: u8,
}

impl From<String> for Failure {
    fn from(sentence: String) -> Self {
        Self { sentence, status: 1 }
    }
}

/// A backup that was looked at is not good.
fn not_good(sentence: String) -> Failure {
    Failure { sentence, status: 3 }
}

/// `holdfast backup <database>`: prints the new file's name. Where every new backup is to be sent off-site,
/// that is done, too; where it fails, the backup stays, and the command fails saying so.
pub async fn backup(settings: &Settings, database: &str, json: bool) -> Outcome {
    let holdfast = open(settings)?;
    let database: DatabaseName = database.parse().map_err(|error| format!("{database}: {error}."))?;
    holdfast.sweep().map_err(sentence)?;
    let (created, sent) = until_asked_to_stop(move |cancel| {
        let created = holdfast.back_up(&database, cancel, &Bar::of(database.as_str()))?;
        let sent = holdfast.destinations().for_new_backups().map(|there| {
            let sent = there.upload(&created.file, cancel, &|_, _, _| {});
            let told = |sent: &Uploaded| format!("{} bytes", sent.size);
            holdfast.noted(Event::BackupUploaded, created.file.as_str(), sent, told)
        });
        Ok((created, sent))
    })
    .await?;
    if let Some(warnings) = &created.warnings {
        tracing::warn!(%warnings, "the backup is whole, with remarks");
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
        Some(Err(error)) => {
            Err(format!("{} is made, but was not sent off-site: {error}", created.file).into())
        }
        _ => Ok(()),
    }
}

/// `holdfast list [--json]`: what is in the backup directory.
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

/// `holdfast verify <file>… | --all`: prints what was proved of each. One that is not good fails the command.
pub async fn verify(settings: &Settings, which: Which) -> Outcome {
    let holdfast = open(settings)?;
    let options = RestoreOptions { limit: which.max_bytes, ..RestoreOptions::default() };
    holdfast.sweep().map_err(sentence)?;
    let files = which
        .files(|| Ok(holdfast.catalog().list()?.iter().map(|backup| backup.name.to_string()).collect()))?;
    let (one, json) = (files.len() == 1, which.json);
    let reports = until_asked_to_stop(move |cancel| {
        let verify = |file: &String| {
            let found = holdfast.verify(file, &options, cancel, &Bar::of(file));
            note(&holdfast, Event::BackupsVerified, file, found)
        };
        each(&files, cancel, verify)
    })
    .await?;
    tell_reports(&reports, one, json)
}

/// `holdfast adopt <file>… | --all`: writes manifests for backups that have none and are whole.
pub async fn adopt(settings: &Settings, which: Which) -> Outcome {
    let holdfast = open(settings)?;
    let options = RestoreOptions { limit: which.max_bytes, ..RestoreOptions::default() };
    holdfast.sweep().map_err(sentence)?;
    let files = which.files(|| Ok(holdfast.without_manifest()?.iter().map(ToString::to_string).collect()))?;
    let (one, json) = (files.len() == 1, which.json);
    let reports = until_asked_to_stop(move |cancel| {
        let adopt = |file: &String| {
            let name =
                file.parse().map_err(|error: InvalidName| Error::Refused(format!("{file}: {error}.")))?;
            let found = holdfast.adopt(&name, &options, cancel, &Bar::of(file));
            note(&holdfast, Event::BackupsAdopted, file, found)
        };
        each(&files, cancel, adopt)
    })
    .await?;
    tell_reports(&reports, one, json)
}

/// What was found of each file, or why nothing could be.
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
            .map(|why| format!("{file} is whole and can be read, but was not restored for a test: {why}")),
    });
    let (bad, failed): (Vec<_>, Vec<_>) = (bad.collect(), failed.collect());
    let sentences = [&bad[..], &failed[..]].concat().join("\n");
    match (&bad[..], &failed[..]) {
        ([], []) => Ok(()),
        ([], _) => Err(sentences.into()),
        _ => Err(not_good(sentences)),
    }
}

/// `holdfast rotate-key`: a new key for the stored secrets.
pub fn rotate_key(settings: &Settings) -> Outcome {
    let count = open(settings)?.rotate_key().map_err(sentence)?;
    let secrets = human::count(count as u64, "stored secret");
    print(&format!(
        "The key is changed, and {secrets} sealed anew. Copies of the former key still open copies of the state \
         database that were made before: destroy both where they are no longer needed.\n"
    ))
}

/// `holdfast reset-account <username>`: a new password, printed once.
pub fn reset_account(settings: &Settings, username: &str) -> Outcome {
    let reset = open(settings)?.reset_account(username).map_err(sentence)?;
    let promoted =
        if reset.promoted { "\nNo account was an administrator any more, so this one is now." } else { "" };
    print(&format!(
        "The new password of {username}, whose second factor is off and whose sessions are ended:\n{}\n\
         Log in with it and change it on the account page.{promoted}\n",
        reset.password.expose_secret()
    ))
}

/// `holdfast restore <file> --into <url> [--overwrite]`: tells the plan, then what came of it.
pub async fn restore(
    settings: &Settings,
    file: String,
    into: SecretString,
    options: RestoreOptions,
    json: bool,
) -> Outcome {
    let target = target("--into", &into)?;
    let holdfast = open(settings)?;
    holdfast.keep_own_files(&target).map_err(sentence)?;
    holdfast.sweep().map_err(sentence)?;
    let Restored { report, target, safety } = until_asked_to_stop(move |cancel| {
        let restored = holdfast.restore(&file, &target, &options, cancel, &Bar::of(&file));
        let object = format!("{file} into {}", target.address());
        holdfast.noted(Event::BackupRestored, &object, restored, |restored| counted(&restored.report))
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
    /// The files that were named, or `all`.
    fn files(&self, all: impl FnOnce() -> domain::Result<Vec<String>>) -> Result<Vec<String>, Failure> {
        if self.all { Ok(all().map_err(sentence)?) } else { Ok(self.files.clone()) }
    }
}

fn target(flag: &str, url: &SecretString) -> Result<Target, String> {
    Target::parse(url.expose_secret()).map_err(|why| format!("The URL of {flag}: {why}."))
}

/// Does the work on a thread of its own, and asks it to stop when the program is asked to.
async fn until_asked_to_stop<T: Send + 'static>(
    work: impl FnOnce(&Cancel) -> Result<T, Error> + Send + 'static,
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

/// A backup that was made, as scripts read it.
#[derive(Serialize)]
struct Made<'a> {
    file: &'a str,
    size: u64,
    warnings: Option<&'a str>,
    /// Whether it was sent off-site, too; nothing where that is not switched on.
    off_site: Option<bool>,
}

/// A restore that was done, as scripts read it.
#[derive(Serialize)]
struct GotBack<'a> {
    file: &'a str,
    into: &'a str,
    tables: Option<u64>,
    rows: Option<u64>,
    /// The backup of what was there before.
    replaced: Option<&'a str>,
    /// What could not be restored though all data was.
    exceptions: &'a [String],
    notes: &'a [String],
}

fn open(settings: &Settings) -> Result<Holdfast, String> {
    let holdfast = Holdfast::open(settings.options()?).map_err(sentence)?;
    Ok(holdfast.on_behalf_of(By::shell()))
}

/// Notes what was found of a backup; one that is not good is a failure.
fn note(
    holdfast: &Holdfast,
    event: Event,
    file: &str,
    found: Result<Report, Error>,
) -> Result<Report, Error> {
    match &found {
        Ok(report) if !report.is_good() => holdfast.note(event, file, Ending::Failed, &report.sentence()),
        Ok(Report { untried: Some(why), .. }) => holdfast.note(event, file, Ending::Failed, why),
        Ok(report) => holdfast.note(event, file, Ending::Ok, report.level.label()),
        Err(error) => holdfast.note_all(&[Noted::of(event, file, error)]),
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
        .map_err(|error| format!("The output could not be written: {error}.").into())
}
