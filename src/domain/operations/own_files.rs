//! Holdfast's own files, which no restore may overwrite: state database, key file, audit log and backups.

use crate::domain::engines::Target;
use crate::domain::error::{Code, Error, Result};
use crate::domain::repository::directory::BackupDir;
use crate::domain::repository::locks::DirLock;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A server's locks on the backup directory and the data directory.
pub type Claim = [DirLock; 2];

/// Where Holdfast's own files are.
pub struct OwnFiles {
    directory: Arc<BackupDir>,
    state: PathBuf,
}

impl OwnFiles {
    /// The files in the backup directory, and in the directory of the state database `state`.
    pub(in crate::domain) fn new(directory: Arc<BackupDir>, state: PathBuf) -> Self {
        Self { directory, state }
    }

    /// Locks both directories for a server, or for work that must not run beside a server.
    pub(in crate::domain) fn claim(&self) -> Result<Claim> {
        Ok([self.directory.lock_for_server()?, BackupDir::lock_data(self.data())?])
    }

    fn data(&self) -> &Path {
        self.state.parent().unwrap_or(Path::new("/"))
    }

    /// Refuses a restore from the shell into one of Holdfast's own files. Only the state database may be restored, and
    /// only while no server runs.
    pub fn keep(&self, target: &Target) -> Result<()> {
        let Some(path) = target.file() else { return Ok(()) };
        if resolved(path).is_some_and(|path| resolved(&self.state) == Some(path)) {
            return self.claim().map(drop);
        }
        self.keep_all(path)
    }

    /// Like [`OwnFiles::keep`], for a running server, which uses the state database.
    pub(in crate::domain) fn keep_in_use(&self, target: &Target) -> Result<()> {
        let Some(path) = target.file() else { return Ok(()) };
        if path == self.state || resolved(path).is_some_and(|path| resolved(&self.state) == Some(path)) {
            return Err(Error::refusal(
                Code::DatabaseInUse,
                "That is the state database of this Holdfast, and it is in use. Stop Holdfast and run “holdfast \
                 restore --overwrite”, or restore into a new file and move that file into place later.",
            ));
        }
        self.keep_all(path)
    }

    /// Refuses a restore into any of Holdfast's own files.
    fn keep_all(&self, path: &Path) -> Result<()> {
        for (own, what) in
            [(self.directory.path(), "the backup directory"), (self.data(), "the data directory")]
        {
            let is_inside =
                resolved(path).zip(own.canonicalize().ok()).is_some_and(|(path, own)| path.starts_with(own));
            if is_inside {
                return Err(Error::refusal(
                    Code::InvalidInput,
                    format!(
                        "{} is in {what} of this Holdfast, {}, which is only for Holdfast's own files. Choose a file \
                         in another directory.",
                        path.display(),
                        own.display()
                    ),
                ));
            }
        }
        Ok(())
    }
}

/// The real path of a file, whether or not the file exists yet.
fn resolved(path: &Path) -> Option<PathBuf> {
    let whole = || Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?));
    path.canonicalize().ok().or_else(whole)
}
