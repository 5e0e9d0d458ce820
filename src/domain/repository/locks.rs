//! The locks on the backup and data directories: one server at a time, and one backup of a database at a
//! time.

use crate::domain::error::{Error, Result};
use crate::domain::repository::directory::BackupDir;
use crate::model::DatabaseName;
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::path::Path;

/// Held during a commit and during a sweep, so that a sweep never removes the files of a commit.
const COMMIT_LOCK: &str = ".holdfast-commit.lock";

/// Held while a server uses the backup directory.
const SERVER_LOCK: &str = ".holdfast-server.lock";

/// Held in the data directory while a server uses it, or while its key is changed.
const DATA_LOCK: &str = ".holdfast-data.lock";

/// A lock on the directory. The system releases it when the process ends, so it is never stale.
#[derive(Debug)]
pub struct DirLock(#[expect(dead_code, reason = "held, not read")] File);

impl BackupDir {
    /// Locks the backup directory for a server.
    pub fn lock_for_server(&self) -> Result<DirLock> {
        self.try_lock(SERVER_LOCK)?.ok_or_else(|| Error::DirectoryTaken { path: self.path().to_owned() })
    }

    /// Locks the data directory for a server, or for changing the key.
    pub fn lock_data(path: &Path) -> Result<DirLock> {
        let dir = Self::open(path)?;
        dir.try_lock(DATA_LOCK)?.ok_or_else(|| Error::DirectoryTaken { path: path.to_owned() })
    }

    /// Locks one database among all processes that share the directory. `None` if another process holds the
    /// lock.
    pub fn lock_database(&self, database: &DatabaseName) -> Result<Option<DirLock>> {
        self.try_lock(&format!(".holdfast-{database}.lock"))
    }

    fn try_lock(&self, name: &str) -> Result<Option<DirLock>> {
        let file = self.lock_file(name)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(DirLock(file))),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(self.failed("Locking", name, error)),
        }
    }

    /// Waits for the commit lock, so that no sweep or deletion meets a half-published backup.
    pub(super) fn commit_lock(&self) -> Result<DirLock> {
        let file = self.lock_file(COMMIT_LOCK)?;
        rustix::fs::flock(&file, FlockOperation::LockExclusive)
            .map_err(|error| self.failed("Locking", COMMIT_LOCK, error))?;
        Ok(DirLock(file))
    }

    fn lock_file(&self, name: &str) -> Result<File> {
        let flags = OFlags::CREATE | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(self.handle(), name, flags, Mode::RUSR | Mode::WUSR)
            .map(File::from)
            .map_err(|error| self.failed("Making", name, error))
    }
}
