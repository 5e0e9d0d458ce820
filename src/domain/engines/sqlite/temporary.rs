//! The temporary file into which a backup is unpacked.

use crate::domain::error::{Error, Result};
use crate::domain::random;
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The suffix of an unfinished file's name, before its number.
const UNFINISHED: &str = ".holdfast-restore-";

/// A file (0600) for the unpacked content, locked while in use and removed when this value is dropped.
pub struct Temporary {
    /// Where it is.
    pub path: PathBuf,
    /// The open file.
    pub file: File,
}

impl Temporary {
    /// Creates one at `path`.
    pub fn new(path: PathBuf) -> Result<Self> {
        let made = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
        let file = made.map_err(|error| Error::file("Making", &path, error))?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|error| Error::file("Locking", &path, error.into()))?;
        Ok(Self { path, file })
    }

    /// Creates one beside `target`, to be renamed to it. Removes those that killed runs left there.
    pub fn beside(target: &Path) -> Result<Self> {
        let parent = target.parent().unwrap_or(Path::new("/"));
        let prefix = format!(".{}{UNFINISHED}", target.file_name().unwrap_or_default().display());
        let failed = |error| Error::file("Reading", parent, error);
        for entry in fs::read_dir(parent).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let ours = entry.file_name().to_string_lossy().starts_with(&prefix);
            if ours
                && entry.file_type().map_err(failed)?.is_file()
                && let Ok(file) = File::open(entry.path())
                && flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
            {
                let _ = fs::remove_file(entry.path());
            }
        }
        Self::new(parent.join(format!("{prefix}{}", random::hex::<8>()?)))
    }

    /// The page size in bytes of the database in it, which was checked.
    pub fn page_size(&self) -> Result<u64> {
        let mut said = [0; 2];
        self.file.read_exact_at(&mut said, 16).map_err(|error| Error::file("Reading", &self.path, error))?;
        Ok(match u16::from_be_bytes(said) {
            1 => 65_536,
            size => size.into(),
        })
    }

    /// The free space of its disk, in bytes.
    pub fn room(&self) -> Option<u64> {
        let found = rustix::fs::fstatvfs(&self.file).ok()?;
        found.f_bavail.checked_mul(found.f_frsize)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, path = %self.path.display(), "a temporary file could not be removed");
        }
    }
}
