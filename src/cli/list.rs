//! `holdfast list`: prints the backups in the backup directory.

use crate::cli::outcome::Outcome;
use crate::cli::output::{print, print_json, sentence};
use crate::cli::session::open;
use crate::model::{Backup, human};
use crate::settings::Settings;
use serde::Serialize;
use std::fmt::Write as _;

/// Prints the backups in the backup directory: a line each, or a JSON array.
pub fn run(settings: &Settings, json: bool) -> Outcome {
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
