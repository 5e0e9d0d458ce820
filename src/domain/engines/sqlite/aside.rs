//! Sources that SQLite cannot read in place without writing beside them, and truncated files that look
//! complete.

use crate::domain::engines::sqlite::database::Sqlite;
use crate::domain::engines::sqlite::wait::{Copy, wait};
use crate::domain::error::{Error, Result};
use crate::domain::jobs::cancel::Cancel;
use rusqlite::{Connection, OpenFlags};
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::time::{Duration, SystemTime};

/// The minimum age of a change for which the next change gets another time stamp, on the coarsest file
/// systems.
pub const SETTLED: Duration = Duration::from_millis(2100);
/// Files that a transaction leaves beside its database.
const BELONGING: [&str; 2] = ["-journal", "-wal"];
/// Copy buffer, in bytes.
const BUFFER: usize = 1 << 20;
/// SQLite never writes the page with this byte.
const LOCK_BYTE: u64 = 0x4000_0000;

/// The source's sizes and times, as the file system reports them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footprint {
    inode: (u64, u64),
    size: u64,
    modified: SystemTime,
    /// The files that belong to it, without empty ones.
    beside: Vec<(&'static str, u64, SystemTime)>,
}

impl Footprint {
    /// Whether the next write would change the modification time.
    pub fn is_settled(&self) -> bool {
        let is_old = |modified: &SystemTime| modified.elapsed().is_ok_and(|age| age >= SETTLED);
        is_old(&self.modified) && self.beside.iter().all(|(_, _, modified)| is_old(modified))
    }

    /// Whether the database is in one file only.
    pub const fn is_alone(&self) -> bool {
        self.beside.is_empty()
    }
}

/// The committed content of a `-wal` file.
#[derive(Debug, Default)]
struct Log {
    /// The database's size in pages with the log, and the page size in bytes; 0 without a commit.
    pages: u64,
    size: u64,
    /// The pages in the log, from a certain page on.
    held: BTreeSet<u32>,
}

impl Log {
    /// Reads which pages after page `whole` the log holds.
    fn read(file: &File, whole: u64) -> io::Result<Self> {
        let mut header = [0; 32];
        let mut log = Self::default();
        if file.read_at(&mut header, 0)? < header.len() || header[..3] != [0x37, 0x7f, 0x06] {
            return Ok(log);
        }
        let number = |bytes: &[u8], at: usize| {
            bytes[at..at + 4].iter().fold(0, |number: u32, byte| number << 8 | u32::from(*byte))
        };
        let size = u64::from(number(&header, 8));
        let (mut at, mut frame, mut pending) = (32, [0; 24], Vec::new());
        let end = file.metadata()?.len();
        while at + 24 + size <= end {
            file.read_exact_at(&mut frame, at)?;
            if frame[8..16] != header[16..24] {
                break;
            }
            let (page, commit) = (number(&frame, 0), number(&frame, 4));
            if u64::from(page) > whole {
                pending.push(page);
            }
            if commit != 0 {
                (log.pages, log.size) = (u64::from(commit), size);
                log.held.extend(pending.drain(..));
            }
            at += 24 + size;
        }
        Ok(log)
    }
}

impl Sqlite {
    /// A footprint for telling two states of the source apart, while no program has it open in WAL mode;
    /// `None` otherwise, or in another mode. Reading such a file normally would leave our own `-wal` and
    /// `-shm` beside it, which the application may not be allowed to write.
    pub(super) fn unattended(&self) -> Option<Footprint> {
        let header = self.header().ok()?;
        let path = fs::canonicalize(&self.path).ok()?;
        let is_there = |ending: &str| fs::symlink_metadata(beside(&path, ending)).is_ok();
        let is_log = fs::symlink_metadata(beside(&path, "-wal")).map(|found| found.is_file());
        let at_rest = match is_log {
            Ok(is_file) => is_file,
            Err(_) => header[18..20] == [2, 2],
        };
        if !at_rest || is_there("-shm") || is_there("-journal") { None } else { self.footprint() }
    }

    /// The footprint of the source and its files.
    fn footprint(&self) -> Option<Footprint> {
        let path = fs::canonicalize(&self.path).ok()?;
        let found = fs::metadata(&path).ok()?;
        let mut files = Vec::new();
        for ending in BELONGING {
            if let Ok(found) = fs::metadata(beside(&path, ending))
                && found.len() > 0
            {
                files.push((ending, found.len(), found.modified().ok()?));
            }
        }
        Some(Footprint {
            inode: (found.dev(), found.ino()),
            size: found.len(),
            modified: found.modified().ok()?,
            beside: files,
        })
    }

    /// The size in bytes of a database that no program has open, including its log.
    pub(super) fn size_at_rest(&self) -> u64 {
        let size = fs::metadata(&self.path).map_or(0, |found| found.len());
        let log = fs::canonicalize(&self.path)
            .and_then(|path| File::open(beside(&path, "-wal")))
            .and_then(|file| Log::read(&file, u64::MAX))
            .unwrap_or_default();
        if log.pages > 0 { log.pages * log.size } else { size }
    }

    /// For an unfinished transaction, or a log that cannot be read in place: copies the source with its
    /// files, and lets SQLite recover the copy. Returns a remark about that.
    pub(super) fn copy_left(&self, copy: &Path, cancel: &Cancel) -> Result<String> {
        for _ in 0..3 {
            let Some(before) = self.footprint() else { break };
            let is_journal = before.beside.iter().any(|(ending, ..)| *ending == "-journal");
            if before.is_alone() {
                break;
            }
            if !before.is_settled() {
                wait(SETTLED, cancel)?;
                continue;
            }
            let copied = self.copy_with(&before, copy, cancel);
            if self.footprint() != Some(before) {
                let _ = fs::remove_file(copy);
                continue;
            }
            copied?;
            let path = self.path.display();
            return Ok(if is_journal {
                format!(
                    "A program left {path} in the middle of a transaction. Holdfast rolled it back in its \
                     own copy, as the program will when it next opens the file; the file itself was not \
                     changed."
                )
            } else {
                format!(
                    "Holdfast may not write in the directory of {path}, so it read a copy of the file and \
                     its -wal."
                )
            });
        }
        Err(self.unreachable(format!(
            "{} was left in the middle of a transaction, or reading its -wal would require writing beside \
             it, and it could not be copied together with these files. Open it once with its own program, \
             then try again.",
            self.path.display()
        )))
    }

    /// Copies the source with its files, and then what SQLite recovers from these to `copy`.
    pub(super) fn copy_with(&self, found: &Footprint, copy: &Path, cancel: &Cancel) -> Result<()> {
        let raw = Copy(copy.with_file_name("sqlite-source.db"));
        let guards = ["-journal", "-wal", "-shm"].map(|ending| Copy(beside(&raw.0, ending)));
        let failed = |error| Error::file("Reading", &self.path, error);
        {
            // Uses the handle that stays open: closing another handle would release this process's locks.
            self.header().map_err(failed)?;
            let handle = self.handle.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(file) = &*handle {
                copy_bytes(file, &self.path, &raw.0, cancel)?;
            }
        }
        let path = fs::canonicalize(&self.path).map_err(failed)?;
        for (ending, ..) in &found.beside {
            let from = beside(&path, ending);
            let file = File::open(&from).map_err(|error| Error::file("Opening", &from, error))?;
            copy_bytes(&file, &from, &beside(&raw.0, ending), cancel)?;
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let source = Connection::open_with_flags(&raw.0, flags).map_err(|error| self.explain(error))?;
        source
            .execute_batch("PRAGMA locking_mode = EXCLUSIVE; PRAGMA trusted_schema = OFF;")
            .map_err(|error| self.explain(error))?;
        let copied = self.copy(&source, copy, cancel);
        drop(source);
        drop(guards);
        copied
    }

    /// Half a sentence that names the first page of a copy that was neither complete in the file nor in its
    /// log. SQLite reads a truncated last page as a whole one, padded with zeros.
    pub(super) fn cut_off(&self, copy: &Path) -> Result<Option<String>> {
        let failed = |error| Error::file("Reading", &self.path, error);
        let length = fs::metadata(&self.path).map_err(failed)?.len();
        let copied = File::open(copy).map_err(|error| Error::file("Reading", copy, error))?;
        let total = copied.metadata().map_err(|error| Error::file("Reading", copy, error))?.len();
        if length >= total {
            return Ok(None);
        }
        let mut said = [0; 2];
        copied.read_exact_at(&mut said, 16).map_err(|error| Error::file("Reading", copy, error))?;
        let size = match u16::from_be_bytes(said) {
            0 | 1 => 65_536,
            size => u64::from(size),
        };
        let whole = length / size;
        let log = match fs::canonicalize(&self.path).and_then(|path| File::open(beside(&path, "-wal"))) {
            Ok(file) => Log::read(&file, whole).map_err(failed)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Log::default(),
            Err(error) => return Err(failed(error)),
        };
        let is_there = |page: u64| {
            page == LOCK_BYTE / size + 1 || u32::try_from(page).is_ok_and(|page| log.held.contains(&page))
        };
        let missing = (whole + 1..=total / size).find(|page| !is_there(*page));
        Ok(missing.map(|page| {
            format!(
                "{} has {length} bytes and should have {total}: it is truncated in page {page}, or before",
                self.path.display()
            )
        }))
    }
}

/// The path of a file beside another one.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn copy_bytes(from: &File, shown: &Path, to: &Path, cancel: &Cancel) -> Result<()> {
    let made = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(to);
    let mut made = made.map_err(|error| Error::file("Making", to, error))?;
    let (mut buffer, mut at) = (vec![0; BUFFER], 0);
    loop {
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let read = from.read_at(&mut buffer, at).map_err(|error| Error::file("Reading", shown, error))?;
        if read == 0 {
            return Ok(());
        }
        made.write_all(&buffer[..read]).map_err(|error| Error::file("Writing", to, error))?;
        at += read as u64;
    }
}
