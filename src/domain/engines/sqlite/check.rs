//! Checks that a backup is a sound database: unpacks it into a temporary file, lets SQLite check it, and
//! reads every row.

use crate::domain::engines::engine::{Check, Checked};
use crate::domain::engines::sqlite::health::{Health, examine};
use crate::domain::engines::sqlite::temporary::Temporary;
use crate::domain::error::{Error, Result};
use crate::domain::jobs::cancel::Cancel;
use crate::domain::repository::content::{Content, Sums};
use crate::model::{Proof, human};
use std::io::Write;

/// Write buffer, in bytes.
const BUFFER: usize = 128 << 10;

/// Unpacks and checks a backup. The unpacked file is kept for a restore.
pub fn check(check: &Check<'_>) -> Result<Checked> {
    let temporary = match check.beside {
        Some(target) => Temporary::beside(target)?,
        None => Temporary::new((check.scratch)()?.join("content.db"))?,
    };
    let (sums, outcome) = read_database(check.content(temporary.room()), &temporary, check.cancel)?;
    let (health, fault) = match outcome {
        Ok(health) => (Some(health), None),
        Err(fault) => (None, Some(fault)),
    };
    let counted = health.as_ref().map(|health| health.counts);
    // Parts that only the application can check were not checked.
    let proof = if health.as_ref().is_some_and(|health| health.is_complete) {
        Proof::Restored
    } else {
        Proof::Readable
    };
    let remarks = health.map(|health| health.remarks).unwrap_or_default();
    let sentence = format!(
        "It holds a SQLite database of {}, and {}.",
        human::exact(sums.content_size),
        if remarks.is_empty() { "SQLite finds no fault in it" } else { "all rows of its tables were read" }
    );
    Ok(Checked { sums, fault, proof, counted, remarks, sentence, kept: Box::new(temporary) })
}

/// Unpacks the content into `temporary` and checks it: its health, or what is damaged.
fn read_database(
    mut content: Content<'_>,
    temporary: &Temporary,
    cancel: &Cancel,
) -> Result<(Sums, Result<Health, String>)> {
    let mut buffer = vec![0; BUFFER];
    let mut file = &temporary.file;
    loop {
        let read = content.next(&mut buffer)?;
        if read == 0 {
            break;
        }
        file.write_all(&buffer[..read]).map_err(|error| Error::file("Writing", &temporary.path, error))?;
    }
    let sums = content.finish()?;
    if sums.fault.is_some() {
        return Ok((sums, Err("it is not complete".to_owned())));
    }
    let health = examine(&temporary.path, true, cancel)?;
    Ok((sums, health.map_err(|how| format!("SQLite's file is damaged: {how}"))))
}
