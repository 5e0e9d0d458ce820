//! A folder on a mounted disk or share, as a destination. All names are resolved in the opened folder,
//! without following links, so that a disk that is unmounted or swapped meanwhile is never written to by
//! mistake.

use crate::domain::destinations::attempt::{Attempt, Uploaded};
use crate::domain::destinations::destination::{Destination, FileThere, Flow, Found, LIST_MAX};
use crate::domain::destinations::directory::faults::{failed, is_not_offered, not_mounted};
use crate::domain::destinations::directory::marker;
use crate::domain::destinations::fault::{Fault, FaultKind};
use crate::domain::destinations::outgoing::Outgoing;
use crate::domain::destinations::transfer;
use crate::domain::engines::Cancel;
use crate::domain::error::{Error, Result};
use crate::domain::repository::publish::rename_free;
use crate::model::Stamp;
use rustix::fs::{
    Advice, AtFlags, Dir, FileType, Mode, OFlags, Stat, fadvise, fstat, fstatvfs, mkdirat, openat, statat,
    unlinkat,
};
use rustix::io::Errno;
use std::cell::OnceCell;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes read or written at a time. Cancelling takes effect between two pieces.
const BLOCK: usize = 1024 * 1024;

/// A folder for copies below the root of a mounted disk.
pub struct Folder {
    root: File,
    path: PathBuf,
    name: String,
    place: String,
    opened: OnceCell<File>,
    cancel: Cancel,
}

impl Folder {
    /// The folder `folder` of the disk that is mounted at `root`. Fails unless that disk has the marker `id`.
    /// The folder itself is opened on first use.
    pub fn open(root: &Path, folder: &str, id: &str, cancel: &Cancel) -> Result<Self> {
        let opened = open_root(root)?;
        marker::check(&opened, root, id)?;
        let path = root.join(folder);
        Ok(Self {
            root: opened,
            place: path.display().to_string(),
            path,
            name: folder.to_owned(),
            opened: OnceCell::new(),
            cancel: cancel.clone(),
        })
    }

    /// The opened folder.
    fn handle(&self) -> Result<&File> {
        if let Some(opened) = self.opened.get() {
            return Ok(opened);
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = openat(&self.root, self.name.as_str(), flags, Mode::empty()).map(File::from);
        match opened {
            Ok(opened) => Ok(self.opened.get_or_init(|| opened)),
            Err(Errno::NOENT) => {
                let words = format!("The folder {} does not exist. The next upload creates it.", self.place);
                Err(Fault::new(FaultKind::NoSuchPath, words).into())
            }
            Err(Errno::NOTDIR | Errno::LOOP) => {
                let words =
                    format!("{} is not a folder. Remove or rename it there, then try again.", self.place);
                Err(Fault::new(FaultKind::Taken, words).into())
            }
            Err(error) => Err(failed(&format!("Opening {}", self.place), &error.into())),
        }
    }

    fn shown(&self, name: &str) -> String {
        self.path.join(name).display().to_string()
    }

    /// The fault for the file `name`. "No such file" may also mean that the folder itself is missing.
    fn failed(&self, doing: &str, name: &str, error: impl Into<io::Error>) -> Error {
        let error = error.into();
        let gone = |opened: &File| fstat(opened).is_ok_and(|found| found.st_nlink == 0);
        if Errno::from_io_error(&error) == Some(Errno::NOENT) && self.opened.get().is_some_and(gone) {
            return not_mounted(format!(
                "The folder {} was removed in the meantime. Check the disk, then try again.",
                self.place
            ));
        }
        failed(&format!("{doing} {}", self.shown(name)), &error)
    }

    fn check_cancel(&self) -> Result<()> {
        if self.cancel.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }

    fn open_file(&self, name: &str, flags: OFlags) -> Result<File, Error> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let doing = if flags.contains(OFlags::WRONLY) { "Writing" } else { "Reading" };
        let opened = openat(self.handle()?, name, flags, Mode::from_raw_mode(0o600));
        let file = opened.map(File::from).map_err(|error| self.failed(doing, name, error))?;
        let found = fstat(&file).map_err(|error| self.failed(doing, name, error))?;
        if is_file(&found) {
            return Ok(file);
        }
        Err(Fault::new(FaultKind::Taken, format!("{} is not a file.", self.shown(name))).into())
    }

    /// Makes new and removed names in the folder durable, if the file system supports it.
    fn sync_folder(&self) -> Result<()> {
        match self.handle()?.sync_all() {
            Err(error) if !is_not_offered(&error) => Err(failed(&format!("Syncing {}", self.place), &error)),
            _ => Ok(()),
        }
    }
}

/// Opens the root of the disk, following links: an administrator may have set one.
pub(super) fn open_root(path: &Path) -> Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let shown = path.display();
    rustix::fs::open(path, flags, Mode::empty()).map(File::from).map_err(|error| match error {
        Errno::NOENT => not_mounted(format!(
            "{shown} does not exist. Mount the disk or share there, or correct the path."
        )),
        Errno::NOTDIR => not_mounted(format!("{shown} is not a directory. Correct the path.")),
        error => failed(&format!("Opening {shown}"), &error.into()),
    })
}

impl Destination for Folder {
    fn place(&self) -> &str {
        &self.place
    }

    fn prepare(&self) -> Result<bool> {
        match mkdirat(&self.root, self.name.as_str(), Mode::from_raw_mode(0o700)) {
            Ok(()) => {}
            Err(Errno::EXIST) => return self.handle().map(|_| false),
            // Some file systems report "read-only" before they check whether the folder exists.
            Err(error) => {
                let doing = format!("Creating {}", self.place);
                return self.handle().map(|_| false).map_err(|_| failed(&doing, &error.into()));
            }
        }
        match self.root.sync_all() {
            Err(error) if !is_not_offered(&error) => Err(failed(&format!("Syncing {}", self.place), &error)),
            _ => self.handle().map(|_| true),
        }
    }

    fn stat(&self, name: &str) -> Result<Option<Found>> {
        match statat(self.handle()?, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) if is_file(&found) => Ok(Some(Found::File(size(&found)))),
            Ok(found) if FileType::from_raw_mode(found.st_mode) == FileType::Directory => {
                Ok(Some(Found::Directory))
            }
            Ok(_) => Ok(Some(Found::Other)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(self.failed("Looking at", name, error)),
        }
    }

    fn list(&self) -> Result<Vec<FileThere>> {
        let handle = self.handle()?;
        let doing = format!("Listing {}", self.place);
        let entries = Dir::read_from(handle).map_err(|error| failed(&doing, &error.into()))?;
        let mut files = Vec::new();
        for entry in entries.take(LIST_MAX) {
            let entry = entry.map_err(|error| failed(&doing, &error.into()))?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            match statat(handle, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(found) if is_file(&found) => {
                    let modified = Some(Stamp::from_millis(found.st_mtime.saturating_mul(1000)));
                    files.push(FileThere { name: name.to_owned(), size: size(&found), modified });
                }
                // Not a file, or removed in the meantime.
                Ok(_) | Err(Errno::NOENT) => {}
                Err(error) => return Err(self.failed("Looking at", name, error)),
            }
        }
        Ok(files)
    }

    fn put(
        &self,
        name: &str,
        from: u64,
        source: &mut dyn FnMut(&mut [u8]) -> Result<usize>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<bool> {
        let new = if from == 0 { OFlags::CREATE | OFlags::EXCL } else { OFlags::empty() };
        let file = self.open_file(name, OFlags::WRONLY | new)?;
        let (mut block, mut there) = (vec![0; BLOCK], from);
        loop {
            self.check_cancel()?;
            let read = source(&mut block)?;
            if read == 0 {
                break;
            }
            file.write_all_at(&block[..read], there).map_err(|error| self.failed("Writing", name, error))?;
            there += read as u64;
            progress(there);
        }
        match file.sync_all() {
            Ok(()) => Ok(true),
            Err(error) if is_not_offered(&error) => Ok(false),
            Err(error) => Err(self.failed("Syncing", name, error)),
        }
    }

    fn read(&self, name: &str, sink: &mut dyn FnMut(&[u8]) -> Result<Flow>) -> Result<()> {
        let mut file = self.open_file(name, OFlags::RDONLY)?;
        // Written data may still be in memory; reading should show what the disk has. Only a hint to the
        // kernel.
        let _ = fadvise(&file, 0, None, Advice::DontNeed);
        let mut block = vec![0; BLOCK];
        loop {
            self.check_cancel()?;
            match file.read(&mut block) {
                Ok(0) => return Ok(()),
                Ok(read) => {
                    if sink(&block[..read])? == Flow::Enough {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed("Reading", name, error)),
            }
        }
    }

    fn commit(&self, draft: &str, name: &str) -> Result<bool> {
        let synced = self.open_file(draft, OFlags::RDONLY)?.sync_all();
        if let Err(error) = synced
            && !is_not_offered(&error)
        {
            return Err(self.failed("Syncing", draft, error));
        }
        let named =
            rename_free(self.handle()?, draft.as_ref(), name.as_ref()).map_err(|error| match error {
                Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP => {
                    let words = format!(
                        "Renaming a file to {} failed: the file system there supports only renames that \
                     overwrite, which Holdfast does not use. Use another file system or share.",
                        self.shown(name)
                    );
                    Fault::new(FaultKind::Other, words).into()
                }
                error => self.failed("Renaming a file to", name, error),
            })?;
        self.sync_folder()?;
        Ok(named)
    }

    fn remove(&self, name: &str) -> Result<bool> {
        match unlinkat(self.handle()?, name, AtFlags::empty()) {
            Ok(()) => self.sync_folder().map(|()| true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(self.failed("Removing", name, error)),
        }
    }

    fn free_space(&self, _: &str) -> Result<Option<u64>> {
        let found = fstatvfs(self.handle()?)
            .map_err(|error| failed(&format!("Looking at {}", self.place), &error.into()))?;
        Ok(Some(found.f_bavail.saturating_mul(found.f_frsize)))
    }

    fn upload(&self, backup: &Outgoing, attempt: &Attempt<'_>) -> Result<Uploaded> {
        transfer::send(self, backup, attempt)
    }
}

fn is_file(found: &Stat) -> bool {
    FileType::from_raw_mode(found.st_mode) == FileType::RegularFile
}

fn size(found: &Stat) -> u64 {
    u64::try_from(found.st_size).unwrap_or_default()
}
