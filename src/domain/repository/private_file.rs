//! Small private files that are not backups, such as the key: written completely and durably, or not at all.

use crate::domain::error::{Error, Result};
use crate::domain::repository::directory::BackupDir;
use crate::domain::repository::publish;
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Writes `bytes` durably to a new file (0600) at `path`. `false` if the file exists: it is not changed.
pub fn keep_private(path: &Path, bytes: &[u8]) -> Result<bool> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Err(Error::file("Making", path, io::ErrorKind::InvalidInput.into()));
    };
    let dir = BackupDir::open(parent)?;
    let draft = dir.draft()?;
    let failed = |error| Error::file("Writing", path, error);
    draft.file().write_all(bytes).map_err(failed)?;
    draft.file().sync_all().map_err(failed)?;
    let kept = dir.rename_free(draft.name(), name)?;
    dir.sync()?;
    Ok(kept)
}

/// Replaces `to` with the private file `from` in the same directory, durably. The old bytes are overwritten,
/// unless they have another name.
pub fn replace_private(from: &Path, to: &Path) -> Result<()> {
    let failed = |error| Error::file("Naming", to, error);
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let former = rustix::fs::open(to, flags, Mode::empty()).map(File::from);
    publish::replace(from, to).map_err(failed)?;
    let parent = to.parent().unwrap_or(Path::new("/"));
    File::open(parent).and_then(|directory| directory.sync_all()).map_err(failed)?;
    if let Ok(mut former) = former
        && let Ok(found) = former.metadata()
        && found.nlink() == 0
    {
        let blank = vec![0; usize::try_from(found.len()).unwrap_or_default()];
        if let Err(error) = former.write_all(&blank).and_then(|()| former.sync_all()) {
            tracing::debug!(%error, "the replaced file was removed, but could not be overwritten");
        }
    }
    Ok(())
}

/// Removes the drafts that dead runs left in the directory of `path`.
pub fn sweep_drafts(path: &Path) -> Result<()> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    BackupDir::open(parent)?.sweep_drafts().map(drop)
}
