//! `holdfast backup`: makes one backup, and uploads it if automatic upload is on.

use crate::cli::bar::Bar;
use crate::cli::outcome::Outcome;
use crate::cli::output::{print, print_json, sentence};
use crate::cli::session::{open, until_stopped};
use crate::domain::destinations::attempt::Uploaded;
use crate::model::DatabaseName;
use crate::model::audit::Event;
use crate::settings::Settings;
use serde::Serialize;

/// Backs up `database` and prints the file name. Uploads the backup too if automatic upload is on. If the upload
/// fails, the backup stays and the command fails.
pub async fn run(settings: &Settings, database: &str, json: bool) -> Outcome {
    let holdfast = open(settings)?;
    let database: DatabaseName = database.parse().map_err(|error| format!("{database}: {error}."))?;
    holdfast.sweep().map_err(sentence)?;
    let (created, sent) = until_stopped(move |cancel| {
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
        tracing::warn!(%warnings, "the backup is complete, with warnings");
    }
    if json {
        print_json(&BackupOutput {
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

/// The output of `backup --json`.
#[derive(Serialize)]
struct BackupOutput<'a> {
    file: &'a str,
    size: u64,
    warnings: Option<&'a str>,
    /// Whether the upload succeeded; `None` if automatic upload is off.
    off_site: Option<bool>,
}
