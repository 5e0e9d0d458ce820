//! What is in the backup directory, truthfully: every regular file with a backup's name, and nothing else.

use crate::model::{Backup, BackupName, FileState, Stamp};
use crate::vault::error::{Result, VaultError};
use crate::vault::manifest::{self, Manifest};
use crate::vault::publish::BackupDir;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};

/// Reads the directory anew at each call; only manifests, which never change, are remembered.
pub struct Catalog {
    dir: Arc<BackupDir>,
    manifests: Mutex<HashMap<BackupName, Remembered>>,
}

/// A manifest as it was read, and what tells that the file is still the same one.
struct Remembered {
    mark: (u64, i64, i64, u64),
    sidecar: Sidecar,
}

/// What lies beside a file.
#[derive(Clone)]
enum Sidecar {
    Missing,
    Unreadable,
    Read(Box<Manifest>),
}

impl Catalog {
    /// The catalog of `dir`.
    pub fn new(dir: Arc<BackupDir>) -> Self {
        Self { dir, manifests: Mutex::default() }
    }

    /// Every backup, by name.
    pub fn list(&self) -> Result<Vec<Backup>> {
        let failed = |error: Errno| VaultError::file("Reading", self.dir.path(), error.into());
        let mut names = Vec::new();
        for entry in Dir::read_from(self.dir.handle()).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if let Some(name) =
                entry.file_name().to_str().ok().and_then(|name| name.parse::<BackupName>().ok())
            {
                names.push(name);
            }
        }
        names.sort_unstable();
        self.manifests().retain(|name, _| names.binary_search(name).is_ok());
        Ok(names.into_iter().filter_map(|name| self.look_at(name)).collect())
    }

    /// One backup, where it is listed.
    pub fn get(&self, name: &BackupName) -> Result<Backup> {
        self.look_at(name.clone()).ok_or_else(|| VaultError::NoBackup(name.clone()))
    }

    /// Opens a listed file for reading. What was opened stays readable even when the name is deleted.
    pub fn open(&self, name: &BackupName) -> Result<File> {
        let file = self.open_regular(name.as_str()).ok_or_else(|| VaultError::NoBackup(name.clone()))?;
        Ok(file.0)
    }

    /// Opens a listed file to read from anywhere in it, and notes what tells that it stays the same.
    pub fn open_listed(&self, name: &BackupName) -> Result<OpenFile> {
        let (file, stat) = self.try_regular(name.as_str()).map_err(|error| match error {
            None | Some(Errno::NOENT | Errno::LOOP | Errno::NXIO) => VaultError::NoBackup(name.clone()),
            Some(error) => VaultError::file("Opening", &self.dir.path().join(name.as_str()), error.into()),
        })?;
        Ok(OpenFile { file, identity: Identity::of(&stat) })
    }

    /// The manifest beside a file: its bytes as they lie there, with its own modified time, and what they
    /// say where they are this file's manifest. Nothing where there is none, or one too large to be one.
    pub fn manifest_of(&self, name: &BackupName) -> Option<(Vec<u8>, Stamp, Option<Manifest>)> {
        let (bytes, modified) = self.manifest_bytes(&name.manifest())?;
        let manifest = Manifest::read(&bytes).filter(|manifest| manifest.file == *name);
        Some((bytes, modified, manifest))
    }

    /// Changes whenever a name in the directory comes or goes.
    pub fn version(&self) -> u64 {
        rustix::fs::fstat(self.dir.handle()).map_or(0, |stat| {
            let seconds = stat.st_mtime.unsigned_abs();
            seconds.wrapping_mul(1_000_000_000).wrapping_add(stat.st_mtime_nsec) / 1000
        })
    }

    fn look_at(&self, name: BackupName) -> Option<Backup> {
        let stat = rustix::fs::statat(self.dir.handle(), name.as_str(), AtFlags::SYMLINK_NOFOLLOW).ok()?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return None;
        }
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let modified = modified(&stat);
        let (state, manifest) = match self.manifest(&name) {
            _ if size == 0 => (FileState::Empty, None),
            Sidecar::Missing => (FileState::NoManifest, None),
            Sidecar::Unreadable => (FileState::BadManifest, None),
            Sidecar::Read(manifest) if manifest.payload_size != size => {
                (FileState::SizeDiffers, Some(manifest))
            }
            Sidecar::Read(manifest) => (FileState::Whole, Some(manifest)),
        };
        Some(Backup {
            database: manifest
                .as_ref()
                .map(|manifest| manifest.database.clone())
                .or_else(|| name.database())
                .map(String::from),
            engine: manifest.as_ref().map(|manifest| manifest.database_engine),
            created: manifest
                .as_ref()
                .and_then(|manifest| manifest.created())
                .or_else(|| name.created())
                .unwrap_or(modified),
            sha256: manifest.map(|manifest| manifest.payload_sha256),
            modified,
            size,
            state,
            name,
        })
    }

    fn manifest(&self, name: &BackupName) -> Sidecar {
        let file_name = name.manifest();
        let Ok(stat) = rustix::fs::statat(self.dir.handle(), &*file_name, AtFlags::SYMLINK_NOFOLLOW) else {
            return Sidecar::Missing;
        };
        let mark = mark(&stat);
        if let Some(known) = self.manifests().get(name).filter(|known| known.mark == mark) {
            return known.sidecar.clone();
        }
        let manifest = self.read_manifest(&file_name).filter(|manifest| manifest.file == *name);
        let sidecar = manifest.map_or(Sidecar::Unreadable, |manifest| Sidecar::Read(Box::new(manifest)));
        self.manifests().insert(name.clone(), Remembered { mark, sidecar: sidecar.clone() });
        sidecar
    }

    fn read_manifest(&self, file_name: &str) -> Option<Manifest> {
        Manifest::read(&self.manifest_bytes(file_name)?.0)
    }

    fn manifest_bytes(&self, file_name: &str) -> Option<(Vec<u8>, Stamp)> {
        let (file, stat) = self.open_regular(file_name)?;
        if u64::try_from(stat.st_size).is_ok_and(|size| size > manifest::MAX_SIZE) {
            return None;
        }
        let mut bytes = Vec::new();
        file.take(manifest::MAX_SIZE).read_to_end(&mut bytes).ok()?;
        Some((bytes, modified(&stat)))
    }

    fn open_regular(&self, name: &str) -> Option<(File, Stat)> {
        self.try_regular(name).ok()
    }

    /// Opens without following links and without waiting for a pipe's other end. The error says nothing
    /// where what is there is no regular file.
    fn try_regular(&self, name: &str) -> Result<(File, Stat), Option<Errno>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(self.dir.handle(), name, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
            Ok((File::from(file), stat))
        } else {
            Err(None)
        }
    }

    fn manifests(&self) -> std::sync::MutexGuard<'_, HashMap<BackupName, Remembered>> {
        self.manifests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A backup's file, held open.
#[derive(Debug)]
pub struct OpenFile {
    file: File,
    identity: Identity,
}

/// What tells that a file is still the one it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The number of the file system.
    pub device: u64,
    /// The number of the file in it.
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// When it was last written, in nanoseconds since the epoch.
    pub modified: i64,
}

impl OpenFile {
    /// What it was when it was opened.
    pub const fn identity(&self) -> Identity {
        self.identity
    }

    /// Fills `buf` from `offset` on. A file that ends too early, or that somebody wrote to since it was
    /// opened, is an error: what is read here may have been promised to a reader already.
    pub fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)?;
        // After the read: a look before it would miss a write in between.
        if Identity::of(&rustix::fs::fstat(&self.file)?) != self.identity {
            return Err(io::Error::other("the file was changed while it was read"));
        }
        Ok(())
    }
}

impl Identity {
    fn of(stat: &Stat) -> Self {
        let nanoseconds = i64::try_from(stat.st_mtime_nsec).unwrap_or(0);
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: stat.st_mtime.saturating_mul(1_000_000_000).saturating_add(nanoseconds),
        }
    }

    /// When it was last written.
    pub const fn modified(&self) -> Stamp {
        Stamp::from_millis(self.modified.div_euclid(1_000_000))
    }
}

fn modified(stat: &Stat) -> Stamp {
    Stamp::from_millis(stat.st_mtime * 1000 + i64::try_from(stat.st_mtime_nsec).unwrap_or(0) / 1_000_000)
}

fn mark(stat: &Stat) -> (u64, i64, i64, u64) {
    (stat.st_ino, stat.st_mtime, i64::try_from(stat.st_mtime_nsec).unwrap_or(0), stat.st_size.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_regular_files_with_a_backup_s_name_are_listed() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Arc::new(BackupDir::open(temp.path()).unwrap());
        let at = |name: &str| temp.path().join(name);
        std::fs::write(at("backup_2026-01-02_03-04-05.dump.gz"), "x").unwrap();
        std::fs::write(at("backup_empty.dump.gz"), "").unwrap();
        std::fs::write(at("backup_bad.dump.gz"), "x").unwrap();
        std::fs::write(at("backup_bad.dump.gz.manifest.json"), "{").unwrap();
        std::fs::write(at(".part-x"), "x").unwrap();
        std::fs::write(at("other.txt"), "x").unwrap();
        std::fs::create_dir(at("backup_dir.dump.gz")).unwrap();
        symlink("/etc/passwd", at("backup_link.dump.gz")).unwrap();
        symlink(at("backup_bad.dump.gz"), at("backup_near.dump.gz")).unwrap();
        rustix::fs::mknodat(dir.handle(), "backup_pipe.dump.gz", FileType::Fifo, Mode::RUSR, 0).unwrap();

        let catalog = Catalog::new(dir);
        let listed: Vec<_> =
            catalog.list().unwrap().into_iter().map(|b| (b.name.to_string(), b.state)).collect();
        assert_eq!(
            listed,
            [
                ("backup_2026-01-02_03-04-05.dump.gz".to_owned(), FileState::NoManifest),
                ("backup_bad.dump.gz".to_owned(), FileState::BadManifest),
                ("backup_empty.dump.gz".to_owned(), FileState::Empty),
            ]
        );
        let old = catalog.get(&"backup_2026-01-02_03-04-05.dump.gz".parse().unwrap()).unwrap();
        assert_eq!(old.created.to_string(), "2026-01-02 03:04:05");
        for hidden in ["backup_dir", "backup_link", "backup_near", "backup_pipe", "backup_gone"] {
            let name: BackupName = format!("{hidden}.dump.gz").parse().unwrap();
            assert!(catalog.get(&name).is_err(), "{hidden}");
            assert!(catalog.open(&name).is_err(), "{hidden}");
        }
    }
}
