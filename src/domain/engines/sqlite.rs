//! SQLite: a copy made by the online backup API, in one step, checked before anybody relies on it.

mod aside;
mod findings;
mod health;
mod modules;
mod pages;
mod record;
pub mod restore;
mod rows;
mod stand_ins;
mod structure;
mod told;

use crate::domain::engines::{Cancel, Dump, Ended, Engine, Probe};
use crate::domain::error::{Error, Result};
use crate::model::{DatabaseName, EngineKind};
use aside::SETTLED;
pub(crate) use health::{Health, examine, is_of_schema};
use percent_encoding::{AsciiSet, CONTROLS, percent_encode};
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode, OpenFlags, ffi};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use told::words_of;

/// How long a backup waits for writers that lock the database.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long it waits between two looks at whether it was cancelled.
const GLANCE: Duration = Duration::from_millis(250);
/// How long a probe waits.
const PROBE_PATIENCE: Duration = Duration::from_secs(5);

/// A SQLite file.
pub struct Sqlite {
    name: DatabaseName,
    path: PathBuf,
    /// The source, once opened by us rather than by SQLite. It stays open: closing any handle on a file ends
    /// all locks this process has on it, and with them the safety of another connection of ours.
    handle: Mutex<Option<File>>,
}

impl Sqlite {
    /// The database the operator calls `name`, at `path`.
    pub fn new(name: DatabaseName, path: PathBuf) -> Self {
        Self { name, path, handle: Mutex::default() }
    }

    /// Opens the source for reading only, so that a file that is not there is never made.
    fn open(&self, patience: Duration) -> Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let open = || {
            let connection = Connection::open_with_flags(&self.path, flags)?;
            connection.busy_timeout(patience)?;
            Ok(connection)
        };
        open().map_err(|error| self.explain(error))
    }

    /// The first bytes of the file, zero where it has fewer.
    fn header(&self) -> io::Result<[u8; 20]> {
        let mut handle = self.handle.lock().unwrap_or_else(PoisonError::into_inner);
        let found = fs::metadata(&self.path)?;
        let same = |file: &File| {
            file.metadata().is_ok_and(|held| (held.dev(), held.ino()) == (found.dev(), found.ino()))
        };
        let file = match handle.take() {
            Some(file) if same(&file) => file,
            _ => File::open(&self.path)?,
        };
        let mut header = [0; 20];
        file.read_at(&mut header, 0)?;
        *handle = Some(file);
        Ok(header)
    }

    /// What the file system can say more exactly than SQLite's one "unable to open database file".
    fn look(&self) -> Result<()> {
        let path = self.path.display();
        let reason = match fs::metadata(&self.path) {
            Ok(found) if found.is_dir() => {
                format!("{path} is a directory. Correct the path in HOLDFAST_DATABASES to name the file.")
            }
            // Opening a pipe would wait for its writer for ever.
            Ok(found) if !found.is_file() => {
                format!("{path} is not a regular file. Correct the path in HOLDFAST_DATABASES.")
            }
            Ok(_) => match self.header() {
                Ok(_) => return Ok(()),
                Err(error) => self.unopened(&error),
            },
            Err(error) => self.unopened(&error),
        };
        Err(self.unreachable(reason))
    }

    /// One committed state of the source, copied to `copy`. Gives a remark where it was not read as it lies there.
    fn copy_to(&self, copy: &Path, cancel: &Cancel) -> Result<Option<String>> {
        self.look()?;
        let mut attempts = 1..=3;
        loop {
            let remark = self.copy_once(copy, cancel)?;
            let Some(how) = self.cut_off(copy)? else { return Ok(remark) };
            attempts.next();
            if attempts.is_empty() {
                let _ = fs::remove_file(copy);
                return Err(self.damaged(how));
            }
            // Its program may just have made it smaller.
            let _ = fs::remove_file(copy);
            wait(GLANCE, cancel)?;
        }
    }

    fn copy_once(&self, copy: &Path, cancel: &Cancel) -> Result<Option<String>> {
        for _ in 0..3 {
            let Some(before) = self.unattended() else { break };
            if !before.is_settled() {
                wait(SETTLED, cancel)?;
                continue;
            }
            let copied = if before.is_alone() {
                open_immutable(&self.path)
                    .map_err(|error| self.explain(error))
                    .and_then(|source| self.copy(&source, copy, cancel))
            } else {
                self.copy_with(&before, copy, cancel)
            };
            if self.unattended() == Some(before) {
                return copied.map(|()| None);
            }
            let _ = fs::remove_file(copy);
        }
        let source = self.open(GLANCE)?;
        if pages(&source).is_err_and(|error| needs_writing(&error)) {
            drop(source);
            return self.copy_left(copy, cancel).map(Some);
        }
        self.copy(&source, copy, cancel).map(|()| None)
    }

    /// In one step: SQLite restarts a copy in several steps with every commit of another process, so that a
    /// busy database would never be copied.
    fn copy(&self, source: &Connection, copy: &Path, cancel: &Cancel) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let (count, _) = loop {
            match pages(source) {
                Err(error) if is_busy(&error) => self.wait_for_lock(deadline, cancel)?,
                // Pages can be copied whatever the schema says.
                Err(error) if is_of_schema(&error) || is_unknown(&error) => break (1, 0),
                pages => break pages.map_err(|error| self.explain(error))?,
            }
        };
        if count == 0 {
            return Err(self.unreachable(format!(
                "{} is empty (0 bytes), so there is nothing to back up. Is it the right file?",
                self.path.display()
            )));
        }
        let ours = |error| scratch_failed(copy, error);
        let mut target = Connection::open(copy).map_err(ours)?;
        // The copy is of use only when complete, so it needs no way back from half of one.
        target.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;").map_err(ours)?;
        let backup = Backup::new(source, &mut target).map_err(|error| self.explain(error))?;
        loop {
            let step = backup.step(-1).map_err(|error| match error.sqlite_error() {
                Some(failure) if is_of_writing(*failure) => scratch_failed(copy, error),
                _ => self.explain(error),
            })?;
            if step == StepResult::Done {
                return Ok(());
            }
            self.wait_for_lock(deadline, cancel)?;
        }
    }

    fn wait_for_lock(&self, deadline: Instant, cancel: &Cancel) -> Result<()> {
        if Instant::now() >= deadline {
            return Err(self.unreachable(format!(
                "another program kept {} locked for {} seconds. Try again when it is done writing.",
                self.path.display(),
                PATIENCE.as_secs()
            )));
        }
        wait(Duration::from_millis(10), cancel)
    }

    /// Reads every page of the copy, and every row.
    fn check(&self, copy: &Path, cancel: &Cancel) -> Result<Health> {
        examine(copy, false, cancel)?.map_err(|how| self.damaged(how))
    }
}

impl Engine for Sqlite {
    fn kind(&self) -> EngineKind {
        EngineKind::Sqlite
    }

    fn address(&self) -> String {
        self.path.display().to_string()
    }

    fn probe(&self) -> Result<Probe> {
        self.look()?;
        let at_rest = self.unattended();
        let connection = match at_rest {
            Some(_) => open_immutable(&self.path).map_err(|error| self.explain(error))?,
            None => self.open(PROBE_PATIENCE)?,
        };
        let has_log = at_rest.is_some_and(|found| !found.is_alone());
        let look = || -> rusqlite::Result<u64> {
            connection.query_row("SELECT count(*) FROM sqlite_schema", (), |_| Ok(()))?;
            let (count, size) = pages(&connection)?;
            Ok(count * size)
        };
        let (size, warning) = match look() {
            Ok(0) => (0, Some("The file is empty, so there is nothing to back up yet.".to_owned())),
            Ok(size) => (size, None),
            Err(error) if is_of_schema(&error) || is_unknown(&error) => {
                let size = fs::metadata(&self.path).map_or(0, |found| found.len());
                let warning = format!(
                    "SQLite {} here refuses the schema ({}); the application may have a newer one, or extensions. \
                     Backups can be made, and each says what of it could not be checked.",
                    rusqlite::version(),
                    words_of(&error)
                );
                (size, Some(warning))
            }
            // What it lacks is in its log.
            Err(_) if has_log => (0, None),
            Err(error) if needs_writing(&error) => {
                let warning = "A program left it in the middle of a transaction, or its -wal cannot be read without \
                               writing beside it. A backup is made from a copy of both.";
                (fs::metadata(&self.path).map_or(0, |found| found.len()), Some(warning.to_owned()))
            }
            Err(error) => return Err(self.explain(error)),
        };
        let (size, warning) = if has_log { (self.size_at_rest(), warning) } else { (size, warning) };
        Ok(Probe { version: rusqlite::version().to_owned(), size, warning })
    }

    fn begin(&self, scratch: &Path, cancel: &Cancel) -> Result<Box<dyn Dump>> {
        let copy = Copy(scratch.join("sqlite-copy.db"));
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let remark = self.copy_to(&copy.0, cancel)?;
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let mut health = self.check(&copy.0, cancel)?;
        health.remarks.splice(0..0, remark);
        let file = File::open(&copy.0).map_err(|error| Error::file("Reading", &copy.0, error))?;
        let total = file.metadata().map_err(|error| Error::file("Reading", &copy.0, error))?.len();
        Ok(Box::new(SqliteDump { file, total, read: 0, cancel: cancel.clone(), copy, health }))
    }
}

/// The checked copy, being read.
struct SqliteDump {
    file: File,
    total: u64,
    read: u64,
    cancel: Cancel,
    copy: Copy,
    health: Health,
}

impl Read for SqliteDump {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.cancel.is_cancelled() {
            return Ok(0);
        }
        let read = self.file.read(buffer)?;
        self.read += read as u64;
        Ok(read)
    }
}

impl Dump for SqliteDump {
    fn total(&self) -> Option<u64> {
        Some(self.total)
    }

    fn finish(self: Box<Self>) -> Result<Ended> {
        if self.cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        if self.read == self.total {
            let Health { counts, remarks, .. } = self.health;
            return Ok(Ended { remarks, counted: Some(counts), ..Ended::default() });
        }
        let left = io::Error::new(
            io::ErrorKind::UnexpectedEof,
            format!("{} of {} bytes were read", self.read, self.total),
        );
        Err(Error::file("Reading", &self.copy.0, left))
    }
}

/// Waits, unless it is cancelled.
fn wait(span: Duration, cancel: &Cancel) -> Result<()> {
    let deadline = Instant::now() + span;
    while Instant::now() < deadline {
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        thread::sleep(GLANCE.min(span));
    }
    Ok(())
}

/// The copy's file, removed with the dump.
struct Copy(PathBuf);

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Opens a database that nobody changes, without locks and without making any file beside it.
pub(crate) fn open_immutable(path: &Path) -> rusqlite::Result<Connection> {
    /// What would end or change a URI's path.
    const IN_PATH: &AsciiSet = &CONTROLS.add(b'%').add(b'?').add(b'#').add(b' ').add(b'"');
    let uri = format!("file:{}?immutable=1", percent_encode(path.as_os_str().as_bytes(), IN_PATH));
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(uri, flags)?;
    // The copied schema is a stranger's.
    connection
        .execute_batch("PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0;")?;
    Ok(connection)
}

/// Whether SQLite minds no page of the file, and still cannot go on: a newer one may.
fn is_unknown(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::Unknown)
}

/// How many pages there are, and how long one is.
pub(crate) fn pages(connection: &Connection) -> rusqlite::Result<(u64, u64)> {
    let number = |pragma: &str| connection.query_row(pragma, (), |row| row.get::<_, u32>(0)).map(u64::from);
    Ok((number("PRAGMA page_count")?, number("PRAGMA page_size")?))
}

pub(crate) fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// Whether SQLite would have to write to read it.
fn needs_writing(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen))
}

/// Whether a failed copy failed at its target's end.
fn is_of_writing(failure: ffi::Error) -> bool {
    match failure.code {
        ErrorCode::DiskFull => true,
        ErrorCode::SystemIoFailure => {
            ![ffi::SQLITE_IOERR_READ, ffi::SQLITE_IOERR_SHORT_READ].contains(&failure.extended_code)
        }
        _ => false,
    }
}

/// A failure of the copy's own file.
fn scratch_failed(copy: &Path, error: rusqlite::Error) -> Error {
    let kind = match error.sqlite_error() {
        Some(ffi::Error { code: ErrorCode::DiskFull, .. }) => io::ErrorKind::StorageFull,
        _ => io::ErrorKind::Other,
    };
    Error::file("Copying the database to", copy, io::Error::new(kind, error))
}

#[cfg(test)]
mod tests {
    use crate::domain::engines::Counts;
    use crate::domain::engines::sqlite::*;

    fn engine(path: &Path) -> Sqlite {
        Sqlite::new("shop".parse().unwrap(), path.into())
    }

    fn filled(path: &Path, journal: &str) -> Connection {
        let connection = Connection::open(path).unwrap();
        connection.pragma_update(None, "journal_mode", journal).unwrap();
        connection
            .execute_batch("CREATE TABLE t (a INTEGER PRIMARY KEY, b BLOB); CREATE INDEX i ON t (b);")
            .unwrap();
        let rows = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 500)
                    INSERT INTO t (b) SELECT randomblob(400) FROM n";
        assert_eq!(connection.execute(rows, ()).unwrap(), 500);
        connection
    }

    fn dump(path: &Path) -> Result<Vec<u8>> {
        dump_and_end(path).map(|(bytes, _)| bytes)
    }

    fn dump_and_end(path: &Path) -> Result<(Vec<u8>, Ended)> {
        let scratch = tempfile::tempdir().unwrap();
        let mut dump = engine(path).begin(scratch.path(), &Cancel::default())?;
        let total = dump.total().unwrap();
        let mut bytes = Vec::new();
        dump.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len() as u64, total);
        let ended = dump.finish()?;
        assert!(ended.counted.is_some() && ended.warnings.is_none(), "{ended:?}");
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
        Ok((bytes, ended))
    }

    #[test]
    fn a_copy_is_a_complete_database() {
        let home = tempfile::tempdir().unwrap();
        for journal in ["wal", "delete"] {
            // A name that a URI would have to escape.
            let path = home.path().join(format!("we ird?#%41 ü {journal}.db"));
            let open = filled(&path, journal);
            let copy = home.path().join("copy.db");
            fs::write(&copy, dump(&path).unwrap()).unwrap();
            let copied = open_immutable(&copy).unwrap();
            let health = examine(&copy, true, &Cancel::default()).unwrap().unwrap();
            assert!(health.is_complete && health.remarks.is_empty(), "{health:?}");
            let rows: i64 = copied.query_row("SELECT count(*) FROM t", (), |row| row.get(0)).unwrap();
            assert_eq!(rows, 500);
            let found = engine(&path).probe().unwrap();
            assert_eq!((found.version.as_str(), found.warning), (rusqlite::version(), None));
            assert_eq!(found.size, fs::metadata(&copy).unwrap().len());
            drop(open);
        }
    }

    #[test]
    fn a_backup_leaves_no_file_beside_its_source() {
        for journal in ["wal", "delete"] {
            let home = tempfile::tempdir().unwrap();
            let path = home.path().join("a.db");
            drop(filled(&path, journal));
            engine(&path).probe().unwrap();
            dump(&path).unwrap();
            let files: Vec<_> =
                fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            assert_eq!(files, ["a.db"], "{journal}");
        }
    }

    #[test]
    fn a_resting_database_shows_every_visit() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a.db");
        let engine = engine(&path);
        let open = filled(&path, "wal");
        assert_eq!(engine.unattended(), None);
        drop(open);
        let before = engine.unattended().unwrap();
        assert!(!before.is_settled());
        thread::sleep(SETTLED);
        assert!(before.is_settled() && engine.unattended().as_ref() == Some(&before));
        let open = Connection::open(&path).unwrap();
        open.execute("UPDATE t SET a = -a WHERE a = 1", ()).unwrap();
        assert_eq!(engine.unattended(), None);
        drop(open);
        assert_ne!(engine.unattended().unwrap(), before);
    }

    #[test]
    fn a_probe_does_not_end_the_locks_of_this_process() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a.db");
        let open = filled(&path, "delete");
        open.execute_batch("BEGIN IMMEDIATE").unwrap();
        let locks = || {
            fs::read_to_string("/proc/locks").unwrap().matches(&format!(" {} ", std::process::id())).count()
        };
        let before = locks();
        assert!(before > 0);
        let engine = engine(&path);
        engine.probe().unwrap();
        engine.probe().unwrap();
        assert_eq!(locks(), before);
    }

    #[test]
    fn what_cannot_be_read_is_told_apart() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        fs::write(at("text"), "no database at all, only words".repeat(99)).unwrap();
        fs::write(at("empty"), "").unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, at("pipe"), rustix::fs::Mode::RUSR).unwrap();
        for (name, words) in [
            ("gone", "there is no file"),
            ("text/below", "there is no file"),
            (".", "is a directory"),
            ("pipe", "not a regular file"),
            ("text", "not a SQLite database"),
            ("empty", "is empty (0 bytes)"),
        ] {
            let path = at(name);
            let error = dump(&path).unwrap_err();
            assert!(matches!(error, Error::Unreachable { .. }), "{error}");
            assert!(error.to_string().contains(words), "{name}: {error}");
            match engine(&path).probe() {
                Ok(probe) => assert!(name == "empty" && probe.warning.is_some(), "{name}"),
                Err(error) => assert!(error.to_string().contains(words), "{name}: {error}"),
            }
        }
        assert!(!at("gone").exists());
    }

    #[test]
    fn a_damaged_table_gives_no_backup_and_a_damaged_index_a_remark() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a.db");
        drop(filled(&path, "delete"));
        let whole = fs::read(&path).unwrap();
        let (mut refused, mut remarked, mut unharmed) = (0, 0, 0);
        for hit in 0..60 {
            let mut bytes = whole.clone();
            // 97 is prime to the page size, so the hits fall anywhere within the pages; every third at a beginning.
            let at = 100 + hit * (whole.len() - 200) / 60 / 97 * 97;
            let at = if hit % 3 == 1 { at / 4096 * 4096 } else { at };
            bytes[at..at + 40].fill(0xA5);
            fs::write(&path, &bytes).unwrap();
            let found = match dump_and_end(&path) {
                Err(Error::SourceDamaged { .. } | Error::Unreachable { .. }) => {
                    refused += 1;
                    continue;
                }
                Err(error) => panic!("{error}"),
                Ok((_, ended)) => ended,
            };
            // What was let through has every row.
            assert_eq!(found.counted, Some(Counts { tables: 1, rows: 500 }), "hit {hit}");
            let copied = open_immutable(&path).unwrap();
            let mut rows = copied.prepare("SELECT a, length(b) FROM t NOT INDEXED").unwrap();
            let rows = rows.query_map((), |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
            let rows: Vec<(i64, i64)> = rows.map(Result::unwrap).collect();
            assert!(rows.iter().zip(1..).all(|(row, number)| *row == (number, 400)), "hit {hit}");
            let mut check = copied.prepare("PRAGMA integrity_check").unwrap();
            let is_ok = check.query_row((), |row| row.get::<_, String>(0)).is_ok_and(|said| said == "ok");
            assert_eq!(found.remarks.is_empty(), is_ok, "hit {hit}: {:?}", found.remarks);
            if is_ok {
                // Within a row's own bytes nothing tells SQLite that they changed.
                unharmed += 1;
            } else {
                assert!(found.remarks.iter().all(|remark| remark.contains("REINDEX \"i\"")), "{found:?}");
                remarked += 1;
            }
        }
        assert!(
            refused >= 6 && remarked >= 15,
            "{refused} refused, {remarked} remarked, {unharmed} unharmed"
        );
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        assert!(matches!(dump(&path), Err(Error::SourceDamaged { .. })));
        fs::write(&path, &whole).unwrap();
        dump(&path).unwrap();
    }

    #[test]
    fn a_locked_source_is_waited_for_and_a_wait_can_be_cancelled() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a.db");
        let open = filled(&path, "delete");
        open.execute_batch("BEGIN EXCLUSIVE").unwrap();
        let cancel = Cancel::default();
        let canceller = cancel.clone();
        let waiter = thread::spawn(move || {
            thread::sleep(Duration::from_millis(600));
            canceller.cancel();
        });
        let began = Instant::now();
        let error = engine(&path).begin(home.path(), &cancel).err().unwrap();
        assert!(matches!(error, Error::Cancelled), "{error}");
        assert!(began.elapsed() < Duration::from_secs(5));
        waiter.join().unwrap();
        let release = thread::spawn(move || {
            thread::sleep(Duration::from_millis(600));
            open.execute_batch("COMMIT").unwrap();
        });
        dump(&path).unwrap();
        release.join().unwrap();
    }

    #[test]
    fn a_full_disk_is_called_so() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a.db");
        drop(filled(&path, "delete"));
        std::os::unix::fs::symlink("/dev/full", home.path().join("sqlite-copy.db")).unwrap();
        let error = engine(&path).begin(home.path(), &Cancel::default()).err().unwrap();
        assert!(matches!(error, Error::DiskFull { .. } | Error::File { .. }), "{error}");
    }

    #[test]
    fn a_cancelled_read_ends_and_is_no_success() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a.db");
        drop(filled(&path, "wal"));
        let cancel = Cancel::default();
        let mut dump = engine(&path).begin(home.path(), &cancel).unwrap();
        assert_eq!(dump.read(&mut [0; 100]).unwrap(), 100);
        cancel.cancel();
        assert_eq!(dump.read(&mut [0; 100]).unwrap(), 0);
        assert!(matches!(dump.finish(), Err(Error::Cancelled)));
    }
}
