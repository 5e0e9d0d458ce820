//! Copies a SQLite file in one step with the online backup API, while other programs use it.

use crate::domain::engines::sqlite::aside::SETTLED;
use crate::domain::engines::sqlite::database::Sqlite;
use crate::domain::engines::sqlite::health::is_of_schema;
use crate::domain::engines::sqlite::open::{is_busy, is_unknown, needs_writing, open_immutable, pages};
use crate::domain::engines::sqlite::wait::{GLANCE, wait};
use crate::domain::error::{Error, Result};
use crate::domain::jobs::cancel::Cancel;
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode, ffi};
use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a backup waits for writers that lock the database.
const PATIENCE: Duration = Duration::from_secs(30);

impl Sqlite {
    /// Copies one committed state of the source to `copy`. Returns a remark if it could not be read in place.
    pub(super) fn copy_to(&self, copy: &Path, cancel: &Cancel) -> Result<Option<String>> {
        self.look()?;
        let mut attempts = 1..=3;
        loop {
            let remark = self.copy_once(copy, cancel)?;
            let Some(how) = self.cut_off(copy)? else { return Ok(remark) };
            attempts.next();
            if attempts.is_empty() {
                let _ = fs::remove_file(copy);
                return Err(self.damaged(how));
            }
            // Its program may have shrunk it just now.
            let _ = fs::remove_file(copy);
            wait(GLANCE, cancel)?;
        }
    }

    fn copy_once(&self, copy: &Path, cancel: &Cancel) -> Result<Option<String>> {
        for _ in 0..3 {
            let Some(before) = self.unattended() else { break };
            if !before.is_settled() {
                wait(SETTLED, cancel)?;
                continue;
            }
            let copied = if before.is_alone() {
                open_immutable(&self.path)
                    .map_err(|error| self.explain(error))
                    .and_then(|source| self.copy(&source, copy, cancel))
            } else {
                self.copy_with(&before, copy, cancel)
            };
            if self.unattended() == Some(before) {
                return copied.map(|()| None);
            }
            let _ = fs::remove_file(copy);
        }
        let source = self.open(GLANCE)?;
        if pages(&source).is_err_and(|error| needs_writing(&error)) {
            drop(source);
            return self.copy_left(copy, cancel).map(Some);
        }
        self.copy(&source, copy, cancel).map(|()| None)
    }

    /// In one step: SQLite restarts a stepwise copy with every commit of another process, so a busy database
    /// would never be copied.
    pub(super) fn copy(&self, source: &Connection, copy: &Path, cancel: &Cancel) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let (count, _) = loop {
            match pages(source) {
                Err(error) if is_busy(&error) => self.wait_for_lock(deadline, cancel)?,
                // Pages can be copied whatever the schema is.
                Err(error) if is_of_schema(&error) || is_unknown(&error) => break (1, 0),
                pages => break pages.map_err(|error| self.explain(error))?,
            }
        };
        if count == 0 {
            return Err(self.unreachable(format!(
                "{} is empty (0 bytes), so there is nothing to back up. Is it the right file?",
                self.path.display()
            )));
        }
        let ours = |error| scratch_failed(copy, error);
        let mut target = Connection::open(copy).map_err(ours)?;
        // A partial copy is useless, so a rollback journal is not needed.
        target.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;").map_err(ours)?;
        let backup = Backup::new(source, &mut target).map_err(|error| self.explain(error))?;
        loop {
            let step = backup.step(-1).map_err(|error| match error.sqlite_error() {
                Some(failure) if is_of_writing(*failure) => scratch_failed(copy, error),
                _ => self.explain(error),
            })?;
            if step == StepResult::Done {
                return Ok(());
            }
            self.wait_for_lock(deadline, cancel)?;
        }
    }

    fn wait_for_lock(&self, deadline: Instant, cancel: &Cancel) -> Result<()> {
        if Instant::now() >= deadline {
            return Err(self.unreachable(format!(
                "another program kept {} locked for {} seconds. Try again when that program has finished \
                 writing.",
                self.path.display(),
                PATIENCE.as_secs()
            )));
        }
        wait(Duration::from_millis(10), cancel)
    }
}

/// Whether a failed copy failed in writing.
fn is_of_writing(failure: ffi::Error) -> bool {
    match failure.code {
        ErrorCode::DiskFull => true,
        ErrorCode::SystemIoFailure => {
            ![ffi::SQLITE_IOERR_READ, ffi::SQLITE_IOERR_SHORT_READ].contains(&failure.extended_code)
        }
        _ => false,
    }
}

/// The error for the copy's own file.
fn scratch_failed(copy: &Path, error: rusqlite::Error) -> Error {
    let kind = match error.sqlite_error() {
        Some(ffi::Error { code: ErrorCode::DiskFull, .. }) => io::ErrorKind::StorageFull,
        _ => io::ErrorKind::Other,
    };
    Error::file("Copying the database to", copy, io::Error::new(kind, error))
}
