//! Deleting backups, each with its manifest and its verification file.

use crate::domain::error::{Error, Result};
use crate::domain::repository::directory::BackupDir;
use crate::model::BackupName;
use rustix::fs::AtFlags;
use rustix::io::Errno;

impl BackupDir {
    /// Deletes backups, each with its manifest and its verification file. The payload goes first, durably,
    /// and the manifest follows, so that after an interruption no backup is listed without its manifest.
    /// Returns a result for each name, in order; a failure does not stop the others. A manifest left behind
    /// belongs to no backup, and the next start removes it.
    pub fn remove(&self, names: &[BackupName]) -> Result<Vec<Result<()>>> {
        // A publisher must not meet a name whose payload is gone and whose manifest is about to go.
        let _commit = self.commit_lock()?;
        let mut removed: Vec<_> = names
            .iter()
            .map(|name| match rustix::fs::unlinkat(self.handle(), name.as_str(), AtFlags::empty()) {
                Ok(()) => Ok(()),
                Err(Errno::NOENT) => Err(Error::NoBackup(name.clone())),
                Err(error) => Err(self.failed("Deleting", name.as_str(), error)),
            })
            .collect();
        if let Err(error) = self.sync() {
            let reason = error.to_string();
            for (name, removed) in names.iter().zip(&mut removed).filter(|(_, removed)| removed.is_ok()) {
                *removed = Err(Error::DeletionUnsure { backup: name.clone(), reason: reason.clone() });
            }
            return Ok(removed);
        }
        for (name, _) in names.iter().zip(&removed).filter(|(_, removed)| removed.is_ok()) {
            for sidecar in [name.manifest(), name.verdict()] {
                if let Err(error) = self.unlink(&sidecar) {
                    tracing::warn!(%error, "a file beside a deleted backup could not be removed");
                }
            }
        }
        if let Err(error) = self.sync() {
            tracing::warn!(%error, "manifests may reappear after a power cut, but not their backups");
        }
        Ok(removed)
    }
}
