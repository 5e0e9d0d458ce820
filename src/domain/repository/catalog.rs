//! What is in the backup directory, truthfully: every regular file with a backup's name, and nothing else.

use crate::domain::error::{Error, Result};
use crate::domain::repository::directory::BackupDir;
use crate::domain::repository::manifest;
use crate::domain::repository::manifest::Manifest;
use crate::domain::repository::verification;
use crate::domain::repository::verification::Verdict;
use crate::model::{Backup, BackupName, FileState, Picked, Proof, Stamp};
use parking_lot::{Mutex, MutexGuard};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashSet};
use std::fs::File;
use std::io::{self, Read};
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Somebody else's changes on a disk across the network are not told to us: everything known is looked at
/// again when a list is wanted and the last whole look is older than this.
const TRUSTED_FOR: Duration = Duration::from_secs(30);

/// What may change a backup's row.
const WATCHED: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::ATTRIB);

/// Reads the directory once, then what changed in it.
pub struct Catalog {
    dir: Arc<BackupDir>,
    index: Mutex<Index>,
}

/// What is known of the directory, and what is known to have changed since.
#[derive(Default)]
struct Index {
    /// By name.
    rows: Arc<Vec<Backup>>,
    /// What tells, row by row, that the files are the ones that were read.
    marks: Vec<Marks>,
    /// The kernel's word of what happens in the directory; nothing where it gives none.
    watch: Option<OwnedFd>,
    /// Whether it said anything since the last list.
    heard: bool,
    /// Names something happened to since they were looked at.
    touched: BTreeSet<BackupName>,
    /// When everything was looked at last; nothing where it has to be.
    looked: Option<Instant>,
    /// What the directory itself was then.
    changed: Mark,
    /// Rises with everything the kernel tells of backups.
    told: u64,
}

/// Of a backup, of its manifest and of its verdict, where it has them.
type Marks = (Mark, Option<Mark>, Option<Mark>);

/// Inode, modified time, size.
type Mark = (u64, i64, i64, u64);

/// What lies beside a file.
enum Sidecar {
    Missing,
    Unreadable,
    Read(Box<Manifest>),
}

impl Catalog {
    /// The catalog of `dir`.
    pub fn new(dir: Arc<BackupDir>) -> Self {
        let catalog = Self { dir, index: Mutex::default() };
        // From the start, so that nothing is opened later that was not open before.
        catalog.attend(&mut catalog.index());
        catalog
    }

    /// Every backup, by name.
    pub fn list(&self) -> Result<Arc<Vec<Backup>>> {
        let index = &mut *self.index();
        let changed = self.attend(index);
        // A change of the directory that the kernel told nothing about was made on another machine.
        let is_told = mem::take(&mut index.heard) || changed == index.changed;
        if is_told && index.looked.is_some_and(|looked| looked.elapsed() < TRUSTED_FOR) {
            for name in mem::take(&mut index.touched) {
                let found = self.look_at(name.clone(), None, true);
                index.replace(&name, found);
            }
        } else {
            self.look_at_all(index)?;
        }
        index.changed = changed;
        Ok(Arc::clone(&index.rows))
    }

    fn look_at_all(&self, index: &mut Index) -> Result<()> {
        let failed = |error: Errno| Error::file("Reading", self.dir.path(), error.into());
        let (mut names, mut verified) = (Vec::new(), HashSet::new());
        for entry in Dir::read_from(self.dir.handle()).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let Ok(file_name) = entry.file_name().to_str() else { continue };
            if let Ok(name) = file_name.parse::<BackupName>() {
                names.push(name);
            } else {
                verified.extend(BackupName::of_verdict(file_name));
            }
        }
        names.sort_unstable();
        let looked = Instant::now();
        let found = names.into_iter().filter_map(|name| {
            let known = index.rows.binary_search_by(|row| row.name.cmp(&name)).ok();
            let known = known.map(|at| (&index.rows[at], index.marks[at]));
            let has_verdict = verified.contains(&name);
            self.look_at(name, known, has_verdict)
        });
        let (rows, marks) = found.unzip();
        (index.rows, index.marks) = (Arc::new(rows), marks);
        index.touched.clear();
        index.looked = Some(looked);
        Ok(())
    }

    /// One backup, where it is listed.
    pub fn get(&self, name: &BackupName) -> Result<Backup> {
        let found = self.look_at(name.clone(), None, true).ok_or_else(|| Error::NoBackup(name.clone()))?;
        Ok(found.0)
    }

    /// Opens a listed file for reading. What was opened stays readable even when the name is deleted.
    pub fn open(&self, name: &BackupName) -> Result<File> {
        let file = self.open_regular(name.as_str()).ok_or_else(|| Error::NoBackup(name.clone()))?;
        Ok(file.0)
    }

    /// Opens a listed file to read from anywhere in it, and notes what tells that it stays the same.
    pub fn open_listed(&self, name: &BackupName) -> Result<OpenFile> {
        let (file, stat) = self.try_regular(name.as_str()).map_err(|error| match error {
            None | Some(Errno::NOENT | Errno::LOOP | Errno::NXIO) => Error::NoBackup(name.clone()),
            Some(error) => Error::file("Opening", &self.dir.path().join(name.as_str()), error.into()),
        })?;
        Ok(OpenFile { file, identity: Identity::of(&stat) })
    }

    /// The manifest beside a file: its bytes as they lie there, with its own modified time, and what they
    /// say where they are this file's manifest. Nothing where there is none, or one too large to be one.
    pub fn manifest_of(&self, name: &BackupName) -> Option<(Vec<u8>, Stamp, Option<Manifest>)> {
        let (bytes, modified) = self.sidecar_bytes(&name.manifest(), manifest::MAX_SIZE)?;
        let manifest = Manifest::read(&bytes).filter(|manifest| manifest.file == *name);
        Some((bytes, modified, manifest))
    }

    /// Changes whenever the list may have.
    pub fn version(&self) -> u64 {
        let mut index = self.index();
        let (_, seconds, nanoseconds, _) = self.attend(&mut index);
        let microseconds = seconds.unsigned_abs().wrapping_mul(1_000_000) + nanoseconds.unsigned_abs() / 1000;
        microseconds.wrapping_add(index.told)
    }

    /// Takes in what the kernel has to tell of the directory, which may be another one by now. Gives what tells
    /// whether a name in it came or went.
    fn attend(&self, index: &mut Index) -> Mark {
        let changed =
            rustix::fs::fstat(self.dir.handle()).map_or_else(|_| Mark::default(), |stat| mark(&stat));
        if changed.0 != index.changed.0 {
            index.changed.0 = changed.0;
            index.watch = watch(&self.dir);
            index.looked = None;
        }
        index.listen();
        changed
    }

    /// The backup of that name, where it is one. What is `known` of it and not changed is not read again; no
    /// verdict is looked for where none is there.
    fn look_at(
        &self,
        name: BackupName,
        known: Option<(&Backup, Marks)>,
        has_verdict: bool,
    ) -> Option<(Backup, Marks)> {
        let stat_of = |name: &str| rustix::fs::statat(self.dir.handle(), name, AtFlags::SYMLINK_NOFOLLOW);
        let stat = stat_of(name.as_str()).ok()?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return None;
        }
        let mark_of = |name: &str| stat_of(name).ok().map(|stat| mark(&stat));
        let verdict = has_verdict.then(|| mark_of(&name.verdict())).flatten();
        let marks = (mark(&stat), mark_of(&name.manifest()), verdict);
        if let Some((known, _)) = known.filter(|known| known.1 == marks) {
            return Some((known.clone(), marks));
        }
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let modified = modified(&stat);
        let sidecar = if marks.1.is_some() { self.sidecar(&name) } else { Sidecar::Missing };
        let (state, manifest) = match sidecar {
            _ if size == 0 => (FileState::Empty, None),
            Sidecar::Missing => (FileState::NoManifest, None),
            Sidecar::Unreadable => (FileState::BadManifest, None),
            Sidecar::Read(manifest) if manifest.payload_size != size => {
                (FileState::SizeDiffers, Some(manifest))
            }
            Sidecar::Read(manifest) => (FileState::Whole, Some(manifest)),
        };
        let verified = marks.2.and_then(|_| {
            let (bytes, _) = self.sidecar_bytes(&name.verdict(), verification::MAX_SIZE)?;
            let described = marks.1.map(|(_, seconds, nanoseconds, _)| moment(seconds, nanoseconds));
            Verdict::read(&bytes)?.about(&name, size, modified, described).map(Box::new)
        });
        let is_damaged = verified.as_ref().is_some_and(|verified| verified.proof == Proof::Damaged);
        let backup = Backup {
            database: manifest
                .as_ref()
                .map(|manifest| manifest.database.clone())
                .or_else(|| name.database())
                .map(String::from),
            engine: manifest.as_ref().map(|manifest| manifest.database_engine.clone()),
            created: manifest
                .as_ref()
                .and_then(|manifest| manifest.created())
                .or_else(|| name.created())
                .unwrap_or(modified),
            sha256: manifest.map(|manifest| manifest.payload_sha256),
            modified,
            size,
            state: match state {
                FileState::Whole | FileState::NoManifest if is_damaged => FileState::Damaged,
                state => state,
            },
            verified,
            name,
        };
        Some((backup, marks))
    }

    fn sidecar(&self, name: &BackupName) -> Sidecar {
        let bytes = self.sidecar_bytes(&name.manifest(), manifest::MAX_SIZE);
        let manifest = bytes.and_then(|(bytes, _)| Manifest::read(&bytes));
        let manifest = manifest.filter(|manifest| manifest.file == *name);
        manifest.map_or(Sidecar::Unreadable, |manifest| Sidecar::Read(Box::new(manifest)))
    }

    /// A small file beside a backup, and when it was last written; nothing where it is larger than `most`.
    fn sidecar_bytes(&self, file_name: &str, most: u64) -> Option<(Vec<u8>, Stamp)> {
        let (file, stat) = self.open_regular(file_name)?;
        if u64::try_from(stat.st_size).is_ok_and(|size| size > most) {
            return None;
        }
        let mut bytes = Vec::new();
        file.take(most).read_to_end(&mut bytes).ok()?;
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

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock()
    }

    /// The backups among `names`, with their sizes, in that order and each once.
    pub fn named(&self, names: &[String]) -> Vec<Picked> {
        let mut seen = BTreeSet::new();
        let names = names.iter().filter_map(|name| name.parse::<BackupName>().ok());
        names
            .filter(|name| seen.insert(name.clone()))
            .filter_map(|name| self.get(&name).ok())
            .map(|backup| Picked { name: backup.name, size: backup.size })
            .collect()
    }
}

impl Index {
    /// Takes in what the kernel has to tell. It does so by the time a change is done, so nothing is missed.
    fn listen(&mut self) {
        let Some(watch) = &self.watch else {
            // Nobody will tell: every list is a new look.
            self.looked = None;
            return;
        };
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(watch, &mut buffer);
        loop {
            match events.next() {
                Ok(event) => {
                    let name = event.file_name().and_then(|name| name.to_str().ok());
                    let lost = event.events().contains(ReadFlags::QUEUE_OVERFLOW);
                    let backup = name.and_then(|name| {
                        let of_sidecar =
                            || BackupName::of_manifest(name).or_else(|| BackupName::of_verdict(name));
                        name.parse().ok().or_else(of_sidecar)
                    });
                    self.heard = true;
                    self.told += u64::from(lost || backup.is_some());
                    self.touched.extend(backup);
                    if lost {
                        self.looked = None;
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(error) => {
                    tracing::warn!(%error, "the backup directory cannot be watched any more");
                    self.watch = None;
                    self.looked = None;
                    break;
                }
            }
        }
    }

    /// Puts what was `found` of `name` in the place of what was known; nothing found, nothing kept.
    fn replace(&mut self, name: &BackupName, found: Option<(Backup, Marks)>) {
        let at = self.rows.binary_search_by(|row| row.name.cmp(name));
        // A reader of the last list keeps that one.
        let rows = Arc::make_mut(&mut self.rows);
        match (at, found) {
            (Ok(at), Some((backup, marks))) => (rows[at], self.marks[at]) = (backup, marks),
            (Ok(at), None) => {
                rows.remove(at);
                self.marks.remove(at);
            }
            (Err(at), Some((backup, marks))) => {
                rows.insert(at, backup);
                self.marks.insert(at, marks);
            }
            (Err(_), None) => {}
        }
    }
}

/// The kernel's word of what happens in `dir`, to be read without waiting.
fn watch(dir: &BackupDir) -> Option<OwnedFd> {
    let watch = || {
        let watch = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        // The very directory that is open, whatever has that path by now.
        inotify::add_watch(&watch, format!("/proc/self/fd/{}", dir.handle().as_raw_fd()), WATCHED)?;
        Ok::<_, Errno>(watch)
    };
    watch()
        .inspect_err(|error| tracing::warn!(%error, "the backup directory cannot be watched; it is read anew for each list"))
        .ok()
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
    moment(stat.st_mtime, i64::try_from(stat.st_mtime_nsec).unwrap_or(0))
}

const fn moment(seconds: i64, nanoseconds: i64) -> Stamp {
    Stamp::from_millis(seconds * 1000 + nanoseconds / 1_000_000)
}

fn mark(stat: &Stat) -> Mark {
    (stat.st_ino, stat.st_mtime, i64::try_from(stat.st_mtime_nsec).unwrap_or(0), stat.st_size.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use crate::domain::repository::catalog::*;
    use std::os::unix::fs::symlink;
    use std::path::Path;

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
        let listed: Vec<_> = catalog.list().unwrap().iter().map(|b| (b.name.to_string(), b.state)).collect();
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

    /// What a catalog that never saw the directory before lists.
    fn anew(dir: &Path) -> Arc<Vec<Backup>> {
        Catalog::new(Arc::new(BackupDir::open(dir).unwrap())).list().unwrap()
    }

    #[test]
    fn every_change_is_in_the_next_list_and_in_the_version() {
        let temp = tempfile::tempdir().unwrap();
        let catalog = Catalog::new(Arc::new(BackupDir::open(temp.path()).unwrap()));
        let at = |name: &str| temp.path().join(name);
        let outside = tempfile::tempdir_in(temp.path()).unwrap();
        let (a, manifest) = (at("backup_a.dump.gz"), at("backup_a.dump.gz.manifest.json"));
        let b = at("backup_b.dump.gz");
        let changes: [(&str, &dyn Fn()); 12] = [
            ("made", &|| std::fs::write(&a, "one").unwrap()),
            ("grown in place", &|| std::fs::write(&a, "longer").unwrap()),
            ("described", &|| std::fs::write(&manifest, "{").unwrap()),
            ("description gone", &|| std::fs::remove_file(&manifest).unwrap()),
            ("another", &|| std::fs::write(&b, "two").unwrap()),
            ("renamed", &|| std::fs::rename(&a, at("backup_c.dump.gz")).unwrap()),
            ("replaced", &|| std::fs::rename(&b, at("backup_c.dump.gz")).unwrap()),
            ("moved away", &|| {
                std::fs::rename(at("backup_c.dump.gz"), outside.path().join("c")).unwrap();
            }),
            ("moved back", &|| std::fs::rename(outside.path().join("c"), &a).unwrap()),
            ("emptied in place", &|| drop(File::create(&a).unwrap())),
            ("deleted", &|| std::fs::remove_file(&a).unwrap()),
            ("a directory of that name", &|| std::fs::create_dir(&a).unwrap()),
        ];
        for (what, change) in changes {
            let before = catalog.version();
            change();
            let after = catalog.version();
            assert_ne!(after, before, "{what}");
            let listed = catalog.list().unwrap();
            assert_eq!(catalog.version(), after, "{what}: a list is no change");
            assert_eq!(listed, anew(temp.path()), "{what}");
        }
    }

    #[test]
    fn more_changes_than_the_kernel_keeps_are_not_lost() {
        let temp = tempfile::tempdir().unwrap();
        let catalog = Catalog::new(Arc::new(BackupDir::open(temp.path()).unwrap()));
        assert_eq!(catalog.list().unwrap().len(), 0);
        // The queue takes 16,384 events by default; each of these files is three.
        for number in 0..6000 {
            std::fs::write(temp.path().join(format!("backup_{number}.dump.gz")), "x").unwrap();
        }
        assert_eq!(catalog.list().unwrap().len(), 6000);
        std::fs::remove_file(temp.path().join("backup_17.dump.gz")).unwrap();
        assert_eq!(catalog.list().unwrap(), anew(temp.path()));
    }

    #[test]
    fn without_the_kernel_s_word_each_list_is_a_new_look() {
        let temp = tempfile::tempdir().unwrap();
        let catalog = Catalog::new(Arc::new(BackupDir::open(temp.path()).unwrap()));
        catalog.list().unwrap();
        catalog.index().watch = None;
        let path = temp.path().join("backup_a.dump.gz");
        for content in ["1", "22", "333"] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(catalog.list().unwrap()[0].size, content.len() as u64);
        }
    }

    #[test]
    fn a_directory_that_is_made_again_is_watched_again() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("backups");
        let catalog = Catalog::new(Arc::new(BackupDir::open(&path).unwrap()));
        std::fs::write(path.join("backup_a.dump.gz"), "x").unwrap();
        assert_eq!(catalog.list().unwrap().len(), 1);
        std::fs::remove_dir_all(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert_eq!(catalog.list().unwrap().len(), 0);
        let file = path.join("backup_b.dump.gz");
        for content in ["1", "22"] {
            std::fs::write(&file, content).unwrap();
            assert_eq!(catalog.list().unwrap()[0].size, content.len() as u64, "{content}");
        }
    }

    /// As where the directory is on another machine: its time changes, and nobody tells why.
    #[test]
    fn a_change_nobody_told_of_is_found_by_the_directory_s_time() {
        let temp = tempfile::tempdir().unwrap();
        let catalog = Catalog::new(Arc::new(BackupDir::open(temp.path()).unwrap()));
        assert_eq!(catalog.list().unwrap().len(), 0);
        catalog.index().watch = Some(inotify::init(CreateFlags::NONBLOCK).unwrap());
        std::fs::write(temp.path().join("backup_a.dump.gz"), "x").unwrap();
        assert_eq!(catalog.list().unwrap().len(), 1);
    }
}
