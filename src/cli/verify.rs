//! `holdfast verify`: checks backups and prints what each check found.

use crate::cli::bar::Bar;
use crate::cli::checks::{check_each, chosen, note, print_reports};
use crate::cli::outcome::Outcome;
use crate::cli::output::sentence;
use crate::cli::session::{open, until_stopped};
use crate::domain::operations::restore::RestoreOptions;
use crate::model::audit::Event;
use crate::settings::{BackupSelection, Settings};

/// Checks each backup and prints the result. Fails if one is damaged or cannot be restored.
pub async fn run(settings: &Settings, selection: BackupSelection) -> Outcome {
    let holdfast = open(settings)?;
    let options = RestoreOptions { limit: selection.max_bytes, ..RestoreOptions::default() };
    holdfast.sweep().map_err(sentence)?;
    let files = chosen(&selection, || {
        Ok(holdfast.catalog().list()?.iter().map(|backup| backup.name.to_string()).collect())
    })?;
    let (one, json) = (files.len() == 1, selection.json);
    let reports = until_stopped(move |cancel| {
        let verify = |file: &String| {
            let found = holdfast.verifications().verify(file, &options, cancel, &Bar::of(file));
            note(&holdfast, Event::BackupsVerified, file, found)
        };
        check_each(&files, cancel, verify)
    })
    .await?;
    print_reports(&reports, one, json)
}
