//! Holdfast's own files, which no restore may overwrite: its state, its key, its audit log and its backups.

use crate::domain::engines::Target;
use crate::domain::error::{Error, Result};
use crate::domain::repository::directory::BackupDir;
use crate::domain::repository::locks::DirLock;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The locks of a server: of its backups, and of its data.
pub type Claim = [DirLock; 2];

/// Where Holdfast's own files are.
pub struct OwnFiles {
    directory: Arc<BackupDir>,
    state: PathBuf,
}

impl OwnFiles {
    /// The backups in `directory`, and what lies beside the state database `state`.
    pub(in crate::domain) fn new(directory: Arc<BackupDir>, state: PathBuf) -> Self {
        Self { directory, state }
    }

    /// Claims the backups and the data for a server, or for work that no server may do at the same time.
    pub(in crate::domain) fn claim(&self) -> Result<Claim> {
        Ok([self.directory.lock_for_server()?, BackupDir::lock_data(self.data())?])
    }

    fn data(&self) -> &Path {
        self.state.parent().unwrap_or(Path::new("/"))
    }

    /// Refuses to restore into a file of Holdfast's own from a shell; the state database alone may be restored, while
    /// no server runs.
    pub fn keep(&self, target: &Target) -> Result<()> {
        let Some(path) = target.file() else { return Ok(()) };
        if resolved(path).is_some_and(|path| resolved(&self.state) == Some(path)) {
            return self.claim().map(drop);
        }
        self.keep_all(path)
    }

    /// The same while a server runs, which has the state database in use.
    pub(in crate::domain) fn keep_in_use(&self, target: &Target) -> Result<()> {
        let Some(path) = target.file() else { return Ok(()) };
        if path == self.state || resolved(path).is_some_and(|path| resolved(&self.state) == Some(path)) {
            return Err(Error::Refused(
                "That is the state database of this Holdfast, which is in use. Stop Holdfast, then use “holdfast \
                 restore --overwrite”, or restore beside it and move the file."
                    .to_owned(),
            ));
        }
        self.keep_all(path)
    }

    /// Refuses to restore into any file of Holdfast's own.
    fn keep_all(&self, path: &Path) -> Result<()> {
        for (own, what) in
            [(self.directory.path(), "the directory of the backups"), (self.data(), "the data directory")]
        {
            let is_inside =
                resolved(path).zip(own.canonicalize().ok()).is_some_and(|(path, own)| path.starts_with(own));
            if is_inside {
                return Err(Error::Refused(format!(
                    "{} is in {what} of this Holdfast, {}, where nothing is restored: what lies there is Holdfast's \
                     own. Name a file in another directory.",
                    path.display(),
                    own.display()
                )));
            }
        }
        Ok(())
    }
}

/// Where a path leads, or would lead once there is such a file.
fn resolved(path: &Path) -> Option<PathBuf> {
    let whole = || Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?));
    path.canonicalize().ok().or_else(whole)
}
