//! Holdfast's own files, which no restore may write over: its state, its key, its audit log and its backups.

use crate::domain::engines::Target;
use crate::domain::{Error, Holdfast, Result};
use std::path::{Path, PathBuf};

impl Holdfast {
    /// Refuses to restore into a file of Holdfast's own from a shell; the state database alone may be restored, while
    /// no server runs.
    pub fn keep_own_files(&self, target: &Target) -> Result<()> {
        let Some(path) = target.file() else { return Ok(()) };
        if resolved(path).is_some_and(|path| resolved(&self.inner.state) == Some(path)) {
            return self.claim().map(drop);
        }
        self.keep_all_own_files(path)
    }

    /// The same while a server runs, which has the state database in use.
    pub(crate) fn keep_files_in_use(&self, target: &Target) -> Result<()> {
        let Some(path) = target.file() else { return Ok(()) };
        if path == self.inner.state
            || resolved(path).is_some_and(|path| resolved(&self.inner.state) == Some(path))
        {
            return Err(Error::Refused(
                "That is the state database of this Holdfast, which is in use. Stop Holdfast, then use “holdfast \
                 restore --overwrite”, or restore beside it and move the file."
                    .to_owned(),
            ));
        }
        self.keep_all_own_files(path)
    }

    /// Refuses to restore into any file of Holdfast's own.
    fn keep_all_own_files(&self, path: &Path) -> Result<()> {
        let data = self.inner.state.parent().unwrap_or(Path::new("/"));
        for (own, what) in [(self.backup_dir(), "the directory of the backups"), (data, "the data directory")]
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
