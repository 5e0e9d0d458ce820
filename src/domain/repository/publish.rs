//! The only way a file gets its name: draft, fsync, manifest, rename that never overwrites, fsync.
//!
//! The order is the promise. The manifest is durable before the payload appears, so a listed file always
//! has one; the payload's rename is the one commit point, so a listed file is always whole; the directory
//! is synced before anyone is told, so what was called created survives a power cut.

use crate::domain::engines::Ended;
use crate::domain::error::{Error, Result};
use crate::domain::operations::compress::Summary;
use crate::domain::repository::manifest;
use crate::domain::repository::manifest::Manifest;
use crate::model::{BackupName, DatabaseName, EngineKind, Stamp};
use data_encoding::HEXLOWER;
use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// What unfinished files begin with; no listed name does.
const DRAFT_PREFIX: &str = ".part-";

/// What the name of a draft's directory for temporary files ends with.
const SCRATCH_SUFFIX: &str = "-scratch";

/// Held for the moment of a commit and while orphans are swept, so that neither mistakes the other's work.
const COMMIT_LOCK: &str = ".holdfast-commit.lock";

/// Held for as long as a server works on the directory.
const SERVER_LOCK: &str = ".holdfast-server.lock";

/// Held in the data directory for as long as a server works with it, or its key is changed.
const DATA_LOCK: &str = ".holdfast-data.lock";

/// The directory the backups lie in.
#[derive(Debug)]
pub struct BackupDir {
    path: PathBuf,
    handle: Mutex<Arc<File>>,
}

/// A lock on the backup directory; dropped with the process at the latest, so none is ever stale.
#[derive(Debug)]
pub struct DirLock(#[expect(dead_code, reason = "held, not read")] File);

/// What a sweep removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Drafts of runs that died.
    pub drafts: usize,
    /// Manifests and verdicts whose payload never came, or went.
    pub manifests: usize,
}

/// What a finished draft is to be published as.
pub struct Publication<'a> {
    /// The operator's name for the database.
    pub database: &'a DatabaseName,
    /// Its engine.
    pub engine: EngineKind,
    /// When the backup was begun.
    pub created: Stamp,
    /// What the pass over the bytes learnt.
    pub summary: &'a Summary,
    /// What its engine said at the end.
    pub ended: &'a Ended,
}

impl BackupDir {
    /// Opens the directory, making it (0700) where it is missing, and checks that a file can be made in it.
    pub fn open(path: &Path) -> Result<Self> {
        make_private_dir("backup directory", path)?;
        let unusable = |source| Error::Directory { role: "backup directory", path: path.to_owned(), source };
        let handle = Mutex::new(Arc::new(File::open(path).map_err(unusable)?));
        let dir = Self { path: path.to_owned(), handle };
        dir.draft().map_err(|error| match error {
            Error::File { source, .. } => unusable(source),
            other => other,
        })?;
        Ok(dir)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The open directory, for looking names up in it. Where it was deleted and made again, that is the new one.
    pub fn handle(&self) -> Arc<File> {
        let mut handle = self.handle.lock().unwrap_or_else(PoisonError::into_inner);
        // Not whenever another lies there: under a disk that went away that is an empty mount point.
        if rustix::fs::fstat(&**handle).is_ok_and(|found| found.st_nlink == 0)
            && let Ok(anew) = File::open(&self.path)
        {
            *handle = Arc::new(anew);
        }
        Arc::clone(&handle)
    }

    /// Claims the directory for a server: one at a time.
    pub fn lock_for_server(&self) -> Result<DirLock> {
        self.try_lock(SERVER_LOCK)?.ok_or_else(|| Error::DirectoryTaken { path: self.path.clone() })
    }

    /// Claims the data directory for a server, or for changing the key: one at a time.
    pub fn lock_data(path: &Path) -> Result<DirLock> {
        let dir = Self::open(path)?;
        dir.try_lock(DATA_LOCK)?.ok_or_else(|| Error::DirectoryTaken { path: path.to_owned() })
    }

    /// Claims one database, among all programs that share the directory. Nothing where another has it.
    pub fn lock_database(&self, database: &DatabaseName) -> Result<Option<DirLock>> {
        self.try_lock(&format!(".holdfast-{database}.lock"))
    }

    /// A new, empty draft, mode 0600, removed when it is dropped unpublished.
    pub fn draft(&self) -> Result<Draft<'_>> {
        loop {
            let mut random = [0; 12];
            getrandom::fill(&mut random)
                .map_err(|error| Error::Refused(format!("The system gives no random numbers: {error}.")))?;
            let name = format!("{DRAFT_PREFIX}{}", HEXLOWER.encode(&random));
            let file = self.create(&name)?;
            // Whoever holds the lock owns the draft. Losing it to a sweeper this early means another name.
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Draft { dir: self, file, name }),
                Err(Errno::WOULDBLOCK) => {}
                // Where nothing can be locked, no other name would do either.
                Err(error) => {
                    let _ = self.unlink(&name);
                    return Err(self.failed("Locking", &name, error));
                }
            }
        }
    }

    /// Removes what runs that died left behind: drafts nobody holds, and manifests without a payload.
    pub fn sweep(&self) -> Result<Swept> {
        let mut swept = Swept { drafts: self.sweep_drafts()?, manifests: 0 };
        for name in self.names()? {
            let scratch_of =
                name.strip_suffix(SCRATCH_SUFFIX).filter(|draft| draft.starts_with(DRAFT_PREFIX));
            if scratch_of.is_some_and(|draft| !self.exists(draft)) {
                self.remove_scratch(name.trim_end_matches(SCRATCH_SUFFIX));
            }
        }
        let _commit = self.commit_lock()?;
        let names: HashSet<_> = self.names()?.into_iter().collect();
        for name in &names {
            let payload = BackupName::of_manifest(name).or_else(|| BackupName::of_verdict(name));
            if payload.is_some_and(|payload| !names.contains(payload.as_str())) && self.is_file(name) {
                self.unlink(name)?;
                swept.manifests += 1;
            }
        }
        self.sync()?;
        Ok(swept)
    }

    fn sweep_drafts(&self) -> Result<usize> {
        let mut swept = 0;
        for name in self.names()? {
            if name.starts_with(DRAFT_PREFIX) && !name.ends_with(SCRATCH_SUFFIX) && self.is_abandoned(&name) {
                self.remove_scratch(&name);
                self.unlink(&name)?;
                swept += 1;
            }
        }
        Ok(swept)
    }

    /// Deletes backups, each with its manifest and its verdict. The payload goes first and its going is made durable before
    /// the manifest follows, so that whatever stops this in between, nothing is listed without one. Answers
    /// for each name in turn; a name that cannot be removed stops none of the others. A manifest that stays
    /// behind belongs to no backup, and the next start sweeps it.
    pub fn remove(&self, names: &[BackupName]) -> Result<Vec<Result<()>>> {
        // A publisher must not meet a name whose payload is gone and whose manifest is about to be.
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
                    tracing::warn!(%error, "a sidecar stayed behind when its backup was deleted");
                }
            }
        }
        if let Err(error) = self.sync() {
            tracing::warn!(%error, "manifests may be back after a power cut; their backups are gone");
        }
        Ok(removed)
    }

    /// Gives a backup that has no manifest one, durably. `false` where it has one by now, or is gone.
    pub fn keep_manifest(&self, name: &BackupName, bytes: &[u8]) -> Result<bool> {
        let _commit = self.commit_lock()?;
        Ok(self.exists(name.as_str()) && self.add_sidecar(&name.manifest(), bytes)?)
    }

    /// Keeps what a verification found beside its backup, durably, in the place of what an earlier one found.
    /// `false` where the backup is gone.
    pub fn keep_verdict(&self, name: &BackupName, bytes: &[u8]) -> Result<bool> {
        let _commit = self.commit_lock()?;
        if !self.exists(name.as_str()) {
            return Ok(false);
        }
        let (draft, verdict) = (self.written(bytes)?, name.verdict());
        // The one rename that replaces: what is replaced is an older answer to the same question.
        rustix::fs::renameat(self.handle(), &*draft.name, self.handle(), &*verdict)
            .map_err(|error| self.failed("Naming", &verdict, error))?;
        self.sync()?;
        Ok(true)
    }

    /// Puts a small file beside a backup. `false` where its name is taken.
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

    /// A draft that holds `bytes`, durable but for its name.
    fn written(&self, bytes: &[u8]) -> Result<Draft<'_>> {
        let draft = self.draft()?;
        (&draft.file).write_all(bytes).map_err(|error| Error::file("Writing", &draft.path(), error))?;
        draft.file.sync_all().map_err(|error| Error::file("Syncing", &draft.path(), error))?;
        Ok(draft)
    }

    fn names(&self) -> Result<Vec<String>> {
        let failed = |error| Error::file("Reading", &self.path, error);
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path).map_err(failed)? {
            if let Ok(name) = entry.map_err(failed)?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> Result<File> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(self.handle(), name, flags, Mode::RUSR | Mode::WUSR)
            .map(File::from)
            .map_err(|error| self.failed("Making", name, error))
    }

    fn is_abandoned(&self, name: &str) -> bool {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        rustix::fs::openat(self.handle(), name, flags, Mode::empty())
            .and_then(|file| rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive))
            .is_ok()
            && self.is_file(name)
    }

    fn try_lock(&self, name: &str) -> Result<Option<DirLock>> {
        let file = self.lock_file(name)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(DirLock(file))),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(self.failed("Locking", name, error)),
        }
    }

    fn commit_lock(&self) -> Result<DirLock> {
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

    fn exists(&self, name: &str) -> bool {
        rustix::fs::statat(self.handle(), name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// What is no file is none of ours, whatever its name.
    fn is_file(&self, name: &str) -> bool {
        rustix::fs::statat(self.handle(), name, AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile)
    }

    fn unlink(&self, name: &str) -> Result<()> {
        match rustix::fs::unlinkat(self.handle(), name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(self.failed("Removing", name, error)),
        }
    }

    fn remove_scratch(&self, draft: &str) {
        let scratch = self.path.join(format!("{draft}{SCRATCH_SUFFIX}"));
        // Empty, as an engine leaves it, it goes without a descriptor, of which there may be none.
        if let Err(error) = std::fs::remove_dir(&scratch).or_else(|_| std::fs::remove_dir_all(&scratch))
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %scratch.display(), %error, "could not remove temporary files");
        }
    }

    /// Gives `from` the name `to`. `false` where that name is taken: nothing is ever replaced.
    fn rename_free(&self, from: &str, to: &str) -> Result<bool> {
        rename_free(&self.handle(), from.as_ref(), to.as_ref())
            .map_err(|error| self.failed("Naming", to, error))
    }

    fn sync(&self) -> Result<()> {
        self.handle().sync_all().map_err(|error| Error::file("Syncing", &self.path, error))
    }

    fn failed(&self, doing: &'static str, name: &str, error: Errno) -> Error {
        Error::file(doing, &self.path.join(name), error.into())
    }
}

/// Gives a finished file that is no backup, such as a restored database, its name in the same directory, and
/// makes both durable. `false` where that name is taken: nothing is ever replaced.
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

/// Gives the file `from` the name `to` in the same open directory. `false` where that name is taken: nothing is ever
/// replaced. What was written and renamed is durable once the file and the directory are synced.
pub fn rename_free(directory: &File, from: &OsStr, to: &OsStr) -> rustix::io::Result<bool> {
    let renamed =
        rustix::fs::renameat_with(directory, from, directory, to, RenameFlags::NOREPLACE).or_else(|error| {
            // Some network file systems know no such rename; a hard link never replaces either.
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

/// A file being written. Its bytes count for nothing until [`Draft::publish`] has returned.
#[derive(Debug)]
pub struct Draft<'d> {
    dir: &'d BackupDir,
    file: File,
    name: String,
}

impl Draft<'_> {
    /// The open file, to write to.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Where it is, for messages.
    pub fn path(&self) -> PathBuf {
        self.dir.path.join(&self.name)
    }

    /// A directory (0700) for temporary files beside the draft, removed with it.
    pub fn scratch(&self) -> Result<PathBuf> {
        let path = self.dir.path.join(format!("{}{SCRATCH_SUFFIX}", self.name));
        DirBuilder::new().mode(0o700).create(&path).map_err(|error| Error::file("Making", &path, error))?;
        Ok(path)
    }

    /// Makes the draft durable and gives it its name, the manifest first. When this returns, both survive
    /// a power cut; when it fails, neither is there.
    pub fn publish(self, what: &Publication<'_>) -> Result<BackupName> {
        self.dir.remove_scratch(&self.name);
        self.file.sync_all().map_err(|error| Error::file("Syncing", &self.path(), error))?;
        for take in 1.. {
            let name = BackupName::new(what.database, what.created, take);
            let _commit = self.dir.commit_lock()?;
            if self.dir.exists(name.as_str()) || !self.publish_manifest(&name, what)? {
                continue;
            }
            match self.commit(&name) {
                Ok(true) => return Ok(name),
                Ok(false) => self.dir.unlink(&name.manifest())?,
                Err(error) => {
                    // What cannot be made durable is not kept: a later sync that succeeds would prove nothing.
                    let _ = self.dir.unlink(name.as_str());
                    let _ = self.dir.unlink(&name.manifest());
                    let _ = self.dir.sync();
                    return Err(error);
                }
            }
        }
        Err(Error::Refused("Every name for this backup is taken.".to_owned()))
    }

    /// Gives a backup that was fetched the name it had where it comes from, by the same steps. `manifest` is
    /// its sidecar's bytes, where it has one. `false`, and nothing changed, where that name is taken here: the
    /// draft is still one then.
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

    fn publish_manifest(&self, name: &BackupName, what: &Publication<'_>) -> Result<bool> {
        let manifest = Manifest {
            manifest_version: manifest::VERSION,
            file: name.clone(),
            created_at: what.created.rfc3339(),
            database: what.database.clone(),
            database_engine: what.engine,
            backup_format: what.engine.backup_format().to_owned(),
            payload_size: what.summary.payload_size,
            payload_sha256: what.summary.payload_sha256.clone(),
            payload_crc32: what.summary.payload_crc32.clone(),
            content_size: what.summary.content_size,
            content_sha256: what.summary.content_sha256.clone(),
            created_by: concat!("holdfast ", env!("CARGO_PKG_VERSION")).to_owned(),
            warnings: what.ended.warnings.clone(),
            remarks: what.ended.remarks.clone(),
            tables: what.ended.counted.map(|counted| counted.tables),
            rows: what.ended.counted.map(|counted| counted.rows),
            origin: what.ended.origin.clone(),
        };
        self.dir.add_sidecar(&name.manifest(), &manifest.to_bytes())
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
        // After a rename the old name is gone; unlinking it again finds nothing.
        if let Err(error) = self.dir.unlink(&self.name) {
            tracing::warn!(%error, "could not remove a draft; the next start will");
        }
    }
}

/// Keeps `bytes` durably in a new file (0600) at `path`. `false` where there is one: it is left as it is.
pub fn keep_private(path: &Path, bytes: &[u8]) -> Result<bool> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Err(Error::file("Making", path, io::ErrorKind::InvalidInput.into()));
    };
    let dir = BackupDir::open(parent)?;
    let draft = dir.draft()?;
    let failed = |error| Error::file("Writing", path, error);
    (&draft.file).write_all(bytes).map_err(failed)?;
    draft.file.sync_all().map_err(failed)?;
    let kept = dir.rename_free(&draft.name, name)?;
    dir.sync()?;
    Ok(kept)
}

/// Puts the private file `from` in the place of `to` beside it, durably. The bytes that lay there are overwritten,
/// unless they have another name.
pub fn replace_private(from: &Path, to: &Path) -> Result<()> {
    let failed = |error| Error::file("Naming", to, error);
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let former = rustix::fs::open(to, flags, Mode::empty()).map(File::from);
    std::fs::rename(from, to).map_err(failed)?;
    let parent = to.parent().unwrap_or(Path::new("/"));
    File::open(parent).and_then(|directory| directory.sync_all()).map_err(failed)?;
    if let Ok(mut former) = former
        && let Ok(found) = former.metadata()
        && found.nlink() == 0
    {
        let blank = vec![0; usize::try_from(found.len()).unwrap_or_default()];
        if let Err(error) = former.write_all(&blank).and_then(|()| former.sync_all()) {
            tracing::debug!(%error, "what was replaced is gone, but could not be overwritten");
        }
    }
    Ok(())
}

/// Removes the drafts that runs that died left in the directory of `path`.
pub fn sweep_drafts(path: &Path) -> Result<()> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    BackupDir::open(parent)?.sweep_drafts().map(drop)
}

/// Makes a directory and its parents, the last one 0700, where it is missing.
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
