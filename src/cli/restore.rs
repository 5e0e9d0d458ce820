//! `holdfast restore`: checks a backup and restores it into a database.

use crate::cli::bar::Bar;
use crate::cli::outcome::Outcome;
use crate::cli::output::{print, print_json, sentence};
use crate::cli::session::{open, until_stopped};
use crate::domain::engines::Target;
use crate::domain::operations::restore::{RestoreOptions, Restored, counted};
use crate::model::BackupName;
use crate::model::audit::Event;
use crate::settings::Settings;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

/// Checks the backup, restores it into the database at the URL `into`, and prints the result.
pub async fn run(
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
    let Restored { report, target, safety } = until_stopped(move |cancel| {
        let restored = holdfast.restores().restore(&file, &target, &options, cancel, &Bar::of(&file));
        let object = format!("{file} into {}", target.address());
        holdfast.notes().noted(Event::BackupRestored, &object, restored, |restored| counted(&restored.report))
    })
    .await?;
    if json {
        return print_json(&RestoreOutput {
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

fn target(flag: &str, url: &SecretString) -> Result<Target, String> {
    Target::parse(url.expose_secret()).map_err(|why| format!("The URL of {flag}: {why}."))
}

/// The output of `restore --json`.
#[derive(Serialize)]
struct RestoreOutput<'a> {
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
