//! `holdfast verify`: checks backups and prints what each check found.

use crate::cli::bar::Bar;
use crate::cli::checks::{check_each, chosen, note, print_reports};
use crate::cli::outcome::Outcome;
use crate::cli::output::sentence;
use crate::cli::session::{open, until_stopped};
use crate::domain::operations::restore::RestoreOptions;
use crate::model::audit::Event;
use crate::settings::{Settings, Which};

/// Checks each backup and prints the result. Fails if one is damaged or cannot be restored.
pub async fn run(settings: &Settings, which: Which) -> Outcome {
    let holdfast = open(settings)?;
    let options = RestoreOptions { limit: which.max_bytes, ..RestoreOptions::default() };
    holdfast.sweep().map_err(sentence)?;
    let files = chosen(&which, || {
        Ok(holdfast.catalog().list()?.iter().map(|backup| backup.name.to_string()).collect())
    })?;
    let (one, json) = (files.len() == 1, which.json);
    let reports = until_stopped(move |cancel| {
        let verify = |file: &String| {
            let found = holdfast.verify(file, &options, cancel, &Bar::of(file));
            note(&holdfast, Event::BackupsVerified, file, found)
        };
        check_each(&files, cancel, verify)
    })
    .await?;
    print_reports(&reports, one, json)
}
