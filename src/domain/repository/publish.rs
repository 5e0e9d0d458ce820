//! The only place where a file gets its final name: draft, fsync, manifest, rename that never overwrites,
//! fsync.
//!
//! The order is essential. The manifest is durable before the payload appears, so a listed file always has
//! one; the payload's rename is the one commit point, so a listed file is always complete; the directory is
//! synced before success is reported, so a reported backup survives a power cut.

use crate::domain::error::{Code, Error, Result};
use crate::domain::repository::directory::{BackupDir, SCRATCH_SUFFIX};
use crate::domain::repository::manifest::Manifest;
use crate::model::{BackupName, DatabaseName, Stamp};
use rustix::fs::{AtFlags, RenameFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::{DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// A file being written. It counts as a backup only after [`Draft::publish`] has returned.
#[derive(Debug)]
pub struct Draft<'d> {
    dir: &'d BackupDir,
    file: File,
    name: String,
}

impl Draft<'_> {
    /// The open file, for writing.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Its name until it is published.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Its path, for messages.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join(&self.name)
    }

    /// A directory (0700) for temporary files beside the draft, removed with it.
    pub fn scratch(&self) -> Result<PathBuf> {
        let path = self.dir.path().join(format!("{}{SCRATCH_SUFFIX}", self.name));
        DirBuilder::new().mode(0o700).create(&path).map_err(|error| Error::file("Making", &path, error))?;
        Ok(path)
    }

    /// Makes the draft durable and renames it, the manifest first. On success, both survive a power cut; on
    /// failure, neither exists.
    ///
    /// `manifest` writes the manifest for the chosen name.
    pub fn publish(
        self,
        database: &DatabaseName,
        created: Stamp,
        manifest: impl Fn(&BackupName) -> Manifest,
    ) -> Result<BackupName> {
        self.dir.remove_scratch(&self.name);
        self.file.sync_all().map_err(|error| Error::file("Syncing", &self.path(), error))?;
        for take in 1.. {
            let name = BackupName::new(database, created, take);
            let _commit = self.dir.commit_lock()?;
            let taken = self.dir.exists(name.as_str())
                || !self.dir.add_sidecar(&name.manifest(), &manifest(&name).to_bytes())?;
            if taken {
                continue;
            }
            match self.commit(&name) {
                Ok(true) => return Ok(name),
                Ok(false) => self.dir.unlink(&name.manifest())?,
                Err(error) => {
                    // A file that could not be made durable is removed: a later successful sync would prove
                    // nothing.
                    let _ = self.dir.unlink(name.as_str());
                    let _ = self.dir.unlink(&name.manifest());
                    let _ = self.dir.sync();
                    return Err(error);
                }
            }
        }
        Err(Error::refusal(Code::NameTaken, "Every name for this backup is taken."))
    }

    /// Publishes a fetched backup under its original name, by the same steps. `manifest` has its manifest's
    /// bytes, if it has one. `false`, changing nothing, if the name is taken here: the draft is then still a
    /// draft.
    pub fn publish_as(&self, name: &BackupName, manifest: Option<&[u8]>) -> Result<bool> {
        self.file.sync_all().map_err(|error| Error::file("Syncing", &self.path(), error))?;
        let _commit = self.dir.commit_lock()?;
        if self.dir.exists(name.as_str()) || self.dir.exists(&name.manifest()) {
            return Ok(false);
        }
        if let Some(bytes) = manifest
            && !self.dir.add_sidecar(&name.manifest(), bytes)?
        {
            return Ok(false);
        }
        let committed = self.commit(name);
        if !matches!(committed, Ok(true)) {
            if committed.is_err() {
                let _ = self.dir.unlink(name.as_str());
            }
            if manifest.is_some() {
                let _ = self.dir.unlink(&name.manifest());
            }
            let _ = self.dir.sync();
        }
        committed
    }

    fn commit(&self, name: &BackupName) -> Result<bool> {
        if !self.dir.rename_free(&self.name, name.as_str())? {
            return Ok(false);
        }
        self.dir.sync()?;
        Ok(true)
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        self.dir.remove_scratch(&self.name);
        // After a rename the old name does not exist; removing it again does nothing.
        if let Err(error) = self.dir.unlink(&self.name) {
            tracing::warn!(%error, "could not remove a draft; the next start will");
        }
    }
}

impl BackupDir {
    /// A new, empty draft (0600), removed when dropped unpublished.
    pub fn draft(&self) -> Result<Draft<'_>> {
        let (file, name) = self.create_draft()?;
        Ok(Draft { dir: self, file, name })
    }

    /// Writes a manifest for a backup that has none, durably. `false` if it has one by now, or is gone.
    pub fn keep_manifest(&self, name: &BackupName, bytes: &[u8]) -> Result<bool> {
        let _commit = self.commit_lock()?;
        Ok(self.exists(name.as_str()) && self.add_sidecar(&name.manifest(), bytes)?)
    }

    /// Writes the result of a verification beside its backup, durably, replacing an earlier result. `false`
    /// if the backup is gone.
    pub fn keep_verdict(&self, name: &BackupName, bytes: &[u8]) -> Result<bool> {
        let _commit = self.commit_lock()?;
        if !self.exists(name.as_str()) {
            return Ok(false);
        }
        let (draft, verdict) = (self.written(bytes)?, name.verdict());
        // The only rename in this directory that replaces a file: an earlier result for the same backup.
        rustix::fs::renameat(self.handle(), &*draft.name, self.handle(), &*verdict)
            .map_err(|error| self.failed("Naming", &verdict, error))?;
        self.sync()?;
        Ok(true)
    }

    /// Writes a small file beside a backup. `false` if the name is taken.
    fn add_sidecar(&self, file_name: &str, bytes: &[u8]) -> Result<bool> {
        let draft = self.written(bytes)?;
        if !self.rename_free(&draft.name, file_name)? {
            return Ok(false);
        }
        if let Err(error) = self.sync() {
            let _ = self.unlink(file_name);
            return Err(error);
        }
        Ok(true)
    }

    /// A draft with the content `bytes`, durable except for its name.
    fn written(&self, bytes: &[u8]) -> Result<Draft<'_>> {
        let draft = self.draft()?;
        (&draft.file).write_all(bytes).map_err(|error| Error::file("Writing", &draft.path(), error))?;
        draft.file.sync_all().map_err(|error| Error::file("Syncing", &draft.path(), error))?;
        Ok(draft)
    }

    /// Renames `from` to `to`. `false` if that name is taken: nothing is ever replaced.
    pub(super) fn rename_free(&self, from: &str, to: &str) -> Result<bool> {
        rename_free(&self.handle(), from.as_ref(), to.as_ref())
            .map_err(|error| self.failed("Naming", to, error))
    }
}

/// Renames the file `from` to `to`, replacing it. For the key file and other private files, never for a backup.
pub(super) fn replace(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)
}

/// Renames a finished file that is not a backup, such as a restored database, in its directory, and makes
/// file and name durable. `false` if that name is taken: nothing is ever replaced.
pub fn name_finished(file: &File, from: &Path, to: &Path) -> Result<bool> {
    file.sync_all().map_err(|error| Error::file("Syncing", from, error))?;
    let parent = to.parent().unwrap_or(Path::new("/"));
    let directory = File::open(parent).map_err(|error| Error::file("Opening", parent, error))?;
    let name = |path: &Path| path.file_name().unwrap_or_default().to_owned();
    let named = rename_free(&directory, &name(from), &name(to))
        .map_err(|error| Error::file("Naming", to, error.into()))?;
    directory.sync_all().map_err(|error| Error::file("Syncing", parent, error))?;
    Ok(named)
}

/// Renames the file `from` to `to` in the same open directory. `false` if that name is taken: nothing is ever
/// replaced. The result is durable once the file and the directory are synced.
pub fn rename_free(directory: &File, from: &OsStr, to: &OsStr) -> rustix::io::Result<bool> {
    let renamed =
        rustix::fs::renameat_with(directory, from, directory, to, RenameFlags::NOREPLACE).or_else(|error| {
            // Some network file systems do not support this rename; a hard link does not replace either.
            match error {
                Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP => {
                    rustix::fs::linkat(directory, from, directory, to, AtFlags::empty())?;
                    rustix::fs::unlinkat(directory, from, AtFlags::empty())
                }
                other => Err(other),
            }
        });
    match renamed {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(error) => Err(error),
    }
}
