//! SQLite: copied in one step with the online backup API, and checked before the backup counts.

mod aside;
mod check;
mod copy;
pub mod database;
mod dump;
mod explain;
mod findings;
mod health;
pub mod location;
mod modules;
mod open;
mod pages;
mod record;
mod restore;
mod rows;
mod stand_ins;
mod structure;
mod tables;
mod temporary;
mod wait;

use crate::domain::engines::engine::{
    Check, Checked, Database, Dump, Engine, Plan, Planned, Probe, Restore, Restoring, Target,
};
use crate::domain::engines::sqlite::database::Sqlite;
use crate::domain::engines::sqlite::dump::SqliteDump;
use crate::domain::engines::sqlite::health::is_of_schema;
use crate::domain::engines::sqlite::location::SqliteFile;
use crate::domain::engines::sqlite::open::{is_unknown, needs_writing, open_immutable, pages, words_of};
use crate::domain::engines::sqlite::restore::SqliteRestore;
use crate::domain::engines::sqlite::wait::Copy;
use crate::domain::error::{Error, Result};
use crate::domain::jobs::cancel::Cancel;
use crate::model::EngineKind;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// How long a probe waits for a locked database.
const PROBE_PATIENCE: Duration = Duration::from_secs(5);
/// The magic bytes of a SQLite file.
const MAGIC: &[u8] = b"SQLite format 3\0";
/// How a script of the sqlite3 shell begins, or any file that consists of statements only.
const STATEMENTS: [&str; 5] =
    ["PRAGMA foreign_keys", "BEGIN TRANSACTION;", "CREATE TABLE ", "DROP TABLE ", "INSERT INTO "];

/// SQLite.
pub struct SqliteEngine;

impl Engine for SqliteEngine {
    fn kind(&self) -> EngineKind {
        location::KIND
    }

    fn label(&self) -> &'static str {
        "SQLite"
    }

    fn content(&self) -> &'static str {
        "a SQLite database"
    }

    fn backup_format(&self) -> &'static str {
        "sqlite-database"
    }

    fn importable(&self) -> &'static str {
        "SQLite database files"
    }

    fn file_ending(&self) -> &'static str {
        ".db"
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["sqlite"]
    }

    fn url_example(&self) -> &'static str {
        "sqlite:///absolute/path.db"
    }

    fn locate(&self, rest: &str) -> Result<Target, String> {
        SqliteFile::parse(rest).map(Target::new)
    }

    fn recognises(&self, beginning: &[u8]) -> bool {
        beginning.starts_with(MAGIC)
    }

    fn is_script(&self, beginning: &str) -> bool {
        STATEMENTS.iter().any(|statement| beginning.starts_with(statement))
    }

    fn check(&self, check: &Check<'_>) -> Result<Checked> {
        check::check(check)
    }
}

impl Database for Sqlite {
    fn kind(&self) -> EngineKind {
        location::KIND
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
                    "SQLite {} on this machine rejects the schema ({}); the application may use a newer \
                     SQLite, or extensions. Backups work, and each backup names what could not be checked.",
                    rusqlite::version(),
                    words_of(&error)
                );
                (size, Some(warning))
            }
            // The cause is in the log.
            Err(_) if has_log => (0, None),
            Err(error) if needs_writing(&error) => {
                let warning = "A program left it in the middle of a transaction, or reading its -wal would \
                               require writing beside it. Holdfast copies both files and makes the backup \
                               from the copy.";
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
        Ok(Box::new(SqliteDump::of(copy, health, cancel)?))
    }

    fn plan(&self, plan: &Plan<'_>) -> Result<Planned> {
        restore::plan(&self.path, plan)
    }

    fn restore<'r>(&'r self, how: &Restoring<'r>) -> Result<Box<dyn Restore<'r> + 'r>> {
        Ok(Box::new(SqliteRestore::open(&self.path, how.cancel)?))
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::engines::engine::{Counts, Ended};
    use crate::domain::engines::sqlite::aside::SETTLED;
    use crate::domain::engines::sqlite::health::examine;
    use crate::domain::engines::sqlite::*;
    use rusqlite::Connection;
    use std::thread;
    use std::time::Instant;

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
            // The name contains characters that a URI must escape.
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
            // 97 does not divide the page size, so the hits are spread over the pages; every third at a
            // page's beginning.
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
            // A backup that was made has every row.
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
                // SQLite cannot notice a change within a row's own bytes.
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
