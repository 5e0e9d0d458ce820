//! Why a SQLite file cannot be backed up, in the reader's words.

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
                "this user may not read {path}. Give the user Holdfast runs as the right to read the file and \
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

    /// SQLite's answer in the reader's words.
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
                "another program keeps {path} locked. Try again when it is done writing."
            )),
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen) => self.unreachable(format!(
                "{path} cannot be read without writing beside it ({error}): it is in WAL mode or was left in \
                 the middle of a transaction. Let its program open it once, or let Holdfast read the files beside it."
            )),
            Some(ErrorCode::OperationInterrupted) => Error::Cancelled,
            Some(ErrorCode::SystemIoFailure) => self.failed(format!(
                "the disk could not read {path} ({}). Look at the system's log: the disk may be failing.",
                words_of(&error)
            )),
            _ => self.failed(format!(
                "SQLite {} refuses {path}: {}. Open the file with the program that made it; that program may \
                 have a newer SQLite, or extensions that are missing here.",
                rusqlite::version(),
                words_of(&error)
            )),
        }
    }

    /// It was reached, and still could not be backed up.
    fn failed(&self, reason: String) -> Error {
        Error::Tool { message: format!("{} could not be read: {reason}", self.name), detail: None }
    }
}
