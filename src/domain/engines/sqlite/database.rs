//! One SQLite database: its file, and the checks before SQLite opens it.

use crate::domain::engines::sqlite::health::{Health, examine};
use crate::domain::error::Result;
use crate::domain::jobs::cancel::Cancel;
use crate::model::DatabaseName;
use rusqlite::{Connection, OpenFlags};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A SQLite file.
pub struct Sqlite {
    pub(super) name: DatabaseName,
    pub(super) path: PathBuf,
    /// The source, once opened by us rather than by SQLite. It stays open: closing any handle of a file
    /// releases all locks of this process on it, which other connections of ours rely on.
    pub(super) handle: Mutex<Option<File>>,
}

impl Sqlite {
    /// The database with the configured name `name`, at `path`.
    pub fn new(name: DatabaseName, path: PathBuf) -> Self {
        Self { name, path, handle: Mutex::default() }
    }

    /// Opens the source read-only, so that a missing file is never created.
    pub(super) fn open(&self, patience: Duration) -> Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let open = || {
            let connection = Connection::open_with_flags(&self.path, flags)?;
            connection.busy_timeout(patience)?;
            Ok(connection)
        };
        open().map_err(|error| self.explain(error))
    }

    /// The first bytes of the file, padded with zeros.
    pub(super) fn header(&self) -> io::Result<[u8; 20]> {
        let mut handle = self.handle.lock().unwrap_or_else(PoisonError::into_inner);
        let found = fs::metadata(&self.path)?;
        let same = |file: &File| {
            file.metadata().is_ok_and(|held| (held.dev(), held.ino()) == (found.dev(), found.ino()))
        };
        let file = match handle.take() {
            Some(file) if same(&file) => file,
            _ => File::open(&self.path)?,
        };
        let mut header = [0; 20];
        file.read_at(&mut header, 0)?;
        *handle = Some(file);
        Ok(header)
    }

    /// Finds causes that SQLite reports only as "unable to open database file".
    pub(super) fn look(&self) -> Result<()> {
        let path = self.path.display();
        let reason = match fs::metadata(&self.path) {
            Ok(found) if found.is_dir() => {
                format!("{path} is a directory. Correct the path in HOLDFAST_DATABASES to name the file.")
            }
            // Opening a pipe would wait for its writer for ever.
            Ok(found) if !found.is_file() => {
                format!("{path} is not a regular file. Correct the path in HOLDFAST_DATABASES.")
            }
            Ok(_) => match self.header() {
                Ok(_) => return Ok(()),
                Err(error) => self.unopened(&error),
            },
            Err(error) => self.unopened(&error),
        };
        Err(self.unreachable(reason))
    }

    /// Checks every page and every row of the copy.
    pub(super) fn check(&self, copy: &Path, cancel: &Cancel) -> Result<Health> {
        examine(copy, false, cancel)?.map_err(|how| self.damaged(how))
    }
}
