//! The opened backup directory: looks up, creates and removes files in it.

use crate::domain::error::{Error, Result};
use crate::domain::random;
use parking_lot::Mutex;
use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The prefix of drafts' names, which no listed name has.
pub(super) const DRAFT_PREFIX: &str = ".part-";

/// The suffix of the directory for a draft's temporary files.
pub(super) const SCRATCH_SUFFIX: &str = "-scratch";

/// The directory with the backups.
#[derive(Debug)]
pub struct BackupDir {
    path: PathBuf,
    handle: Mutex<Arc<File>>,
}

impl BackupDir {
    /// Opens the directory, creating it (0700) if missing, and checks that files can be created in it.
    pub fn open(path: &Path) -> Result<Self> {
        make_private_dir("backup directory", path)?;
        let unusable = |source| Error::Directory { role: "backup directory", path: path.to_owned(), source };
        let handle = Mutex::new(Arc::new(File::open(path).map_err(unusable)?));
        let dir = Self { path: path.to_owned(), handle };
        let (_file, name) = dir.create_draft().map_err(|error| match error {
            Error::File { source, .. } => unusable(source),
            other => other,
        })?;
        if let Err(error) = dir.unlink(&name) {
            tracing::warn!(%error, "could not remove a draft; the next start will");
        }
        Ok(dir)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The open directory for looking up names; reopened if it was deleted and created again.
    pub fn handle(&self) -> Arc<File> {
        let mut handle = self.handle.lock();
        // Only in that case: if a disk was unmounted, the path is an empty mount point, which is another
        // directory.
        if rustix::fs::fstat(&**handle).is_ok_and(|found| found.st_nlink == 0)
            && let Ok(anew) = File::open(&self.path)
        {
            *handle = Arc::new(anew);
        }
        Arc::clone(&handle)
    }

    /// Creates an empty draft (0600) and locks it: the lock shows that it is being written.
    pub(super) fn create_draft(&self) -> Result<(File, String)> {
        loop {
            let name = format!("{DRAFT_PREFIX}{}", random::hex::<12>()?);
            let file = self.create(&name)?;
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok((file, name)),
                // A sweep removed it between the two calls, taking it for abandoned: try another name.
                Err(Errno::WOULDBLOCK) => {}
                // If locking does not work at all, another name does not help.
                Err(error) => {
                    let _ = self.unlink(&name);
                    return Err(self.failed("Locking", &name, error));
                }
            }
        }
    }

    /// All names in the directory that are valid UTF-8.
    pub(super) fn names(&self) -> Result<Vec<String>> {
        let failed = |error| Error::file("Reading", &self.path, error);
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path).map_err(failed)? {
            if let Ok(name) = entry.map_err(failed)?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Creates a new file (0600).
    pub(super) fn create(&self, name: &str) -> Result<File> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(self.handle(), name, flags, Mode::RUSR | Mode::WUSR)
            .map(File::from)
            .map_err(|error| self.failed("Making", name, error))
    }

    /// Whether the name exists.
    pub(super) fn exists(&self, name: &str) -> bool {
        rustix::fs::statat(self.handle(), name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Whether a regular file has that name. Anything else is not Holdfast's, whatever its name.
    pub(super) fn is_file(&self, name: &str) -> bool {
        rustix::fs::statat(self.handle(), name, AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile)
    }

    /// Removes a file, if it exists.
    pub(super) fn unlink(&self, name: &str) -> Result<()> {
        match rustix::fs::unlinkat(self.handle(), name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(self.failed("Removing", name, error)),
        }
    }

    /// Removes the directory for a draft's temporary files, if it exists.
    pub(super) fn remove_scratch(&self, draft: &str) {
        let scratch = self.path.join(format!("{draft}{SCRATCH_SUFFIX}"));
        // Engines leave it empty, and removing an empty directory needs no descriptor, which may be
        // unavailable.
        if let Err(error) = std::fs::remove_dir(&scratch).or_else(|_| std::fs::remove_dir_all(&scratch))
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %scratch.display(), %error, "could not remove temporary files");
        }
    }

    /// Waits until the directory's names are durable.
    pub(super) fn sync(&self) -> Result<()> {
        self.handle().sync_all().map_err(|error| Error::file("Syncing", &self.path, error))
    }

    /// The error for a failed operation on a name in the directory.
    pub(super) fn failed(&self, doing: &'static str, name: &str, error: Errno) -> Error {
        Error::file(doing, &self.path.join(name), error.into())
    }
}

/// Creates a directory (0700) and its parents, if missing.
pub fn make_private_dir(role: &'static str, path: &Path) -> Result<()> {
    let unusable = |source| Error::Directory { role, path: path.to_owned(), source };
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(unusable)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(unusable(error)),
    }
}
