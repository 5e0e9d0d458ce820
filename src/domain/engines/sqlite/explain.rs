//! Explains why a SQLite file cannot be backed up.

use crate::domain::engines::sqlite::database::Sqlite;
use crate::domain::engines::sqlite::open::words_of;
use crate::domain::error::Error;
use rusqlite::ErrorCode;
use std::io;

impl Sqlite {
    pub(super) fn unopened(&self, error: &io::Error) -> String {
        let path = self.path.display();
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => format!(
                "there is no file {path}. Was it moved or deleted? Correct the path in HOLDFAST_DATABASES."
            ),
            io::ErrorKind::PermissionDenied => format!(
                "Holdfast may not read {path}. Give Holdfast's user the right to read the file and \
                 to enter its directories."
            ),
            _ => format!("{path} cannot be opened: {error}."),
        }
    }

    pub(super) fn unreachable(&self, reason: String) -> Error {
        Error::Unreachable { database: self.name.clone(), reason }
    }

    pub(super) fn damaged(&self, reason: String) -> Error {
        Error::SourceDamaged { database: self.name.clone(), reason }
    }

    /// Explains SQLite's error.
    pub(super) fn explain(&self, error: rusqlite::Error) -> Error {
        let path = self.path.display();
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => self.unreachable(format!(
                "{path} is not a SQLite database, or is encrypted, which Holdfast cannot read. Correct the path in \
                 HOLDFAST_DATABASES."
            )),
            Some(ErrorCode::DatabaseCorrupt) => {
                self.damaged(format!("SQLite says of {path}: {}", words_of(&error)))
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => self.unreachable(format!(
                "another program keeps {path} locked. Try again when that program has finished writing."
            )),
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen) => self.unreachable(format!(
                "{path} cannot be read without writing beside it ({error}): it is in WAL mode or was left \
                 in the middle of a transaction. Open it once with its program, or let Holdfast read the \
                 files beside it."
            )),
            Some(ErrorCode::OperationInterrupted) => Error::Cancelled,
            Some(ErrorCode::SystemIoFailure) => self.failed(format!(
                "the disk could not read {path} ({}). Look at the system's log: the disk may be failing.",
                words_of(&error)
            )),
            _ => self.failed(format!(
                "SQLite {} rejects {path}: {}. Open the file with the program that made it; that program may \
                 use a newer SQLite, or extensions that are missing here.",
                rusqlite::version(),
                words_of(&error)
            )),
        }
    }

    /// The error for a database that was opened but could not be backed up.
    fn failed(&self, reason: String) -> Error {
        Error::Tool { message: format!("{} could not be read: {reason}", self.name), detail: None }
    }
}
