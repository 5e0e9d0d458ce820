//! `holdfast adopt`: writes the missing manifests of intact backups.

use crate::cli::bar::Bar;
use crate::cli::checks::{check_each, chosen, note, print_reports};
use crate::cli::outcome::Outcome;
use crate::cli::output::sentence;
use crate::cli::session::{open, until_stopped};
use crate::domain::Error;
use crate::domain::operations::restore::RestoreOptions;
use crate::model::InvalidName;
use crate::model::audit::Event;
use crate::settings::{BackupSelection, Settings};

/// Checks each backup that has no manifest, and writes a manifest for each intact one.
pub async fn run(settings: &Settings, selection: BackupSelection) -> Outcome {
    let holdfast = open(settings)?;
    let options = RestoreOptions { limit: selection.max_bytes, ..RestoreOptions::default() };
    holdfast.sweep().map_err(sentence)?;
    let files = chosen(&selection, || {
        Ok(holdfast.verifications().without_manifest()?.iter().map(ToString::to_string).collect())
    })?;
    let (one, json) = (files.len() == 1, selection.json);
    let reports = until_stopped(move |cancel| {
        let adopt = |file: &String| {
            let name =
                file.parse().map_err(|error: InvalidName| Error::Refused(format!("{file}: {error}.")))?;
            let found = holdfast.verifications().adopt(&name, &options, cancel, &Bar::of(file));
            note(&holdfast, Event::BackupsAdopted, file, found)
        };
        check_each(&files, cancel, adopt)
    })
    .await?;
    print_reports(&reports, one, json)
}
