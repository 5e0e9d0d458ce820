//! Holdfast's own state: one embedded SQLite database. This module opens and checks it; each table has a
//! module with typed functions, and only that module has SQL for the table.

pub mod accounts;
pub mod api_tokens;
pub mod archives;
mod columns;
pub mod copies;
pub mod digests;
pub mod jobs;
mod migrations;
pub mod owner;
pub mod recovery_codes;
pub mod secrets;
pub mod sessions;
pub mod settings;

use crate::domain::error::{Code, Error, Result};
use crate::domain::state::migrations::MIGRATIONS;
use crate::model::Stamp;
use parking_lot::Mutex;
use rusqlite::{Connection, ErrorCode, OpenFlags, ffi};
use rusqlite_migration::{Error as MigrationError, MigrationDefinitionError, Migrations};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long SQLite waits while another process, such as a shell command, has the file locked.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long one process waits while another opens the state database, which includes reading it once.
const OPENING_TIMEOUT: Duration = Duration::from_mins(1);

/// The open state database. Clones share one connection. Times are in milliseconds since the epoch.
#[derive(Clone)]
pub struct Store {
    connection: Arc<Mutex<Connection>>,
    path: Arc<Path>,
}

impl Store {
    /// Opens the database file at `path`, creating it if missing; its directory must exist.
    ///
    /// A damaged or unreadable file is renamed and a new one created, because backups must never depend on
    /// it. A temporary problem (disk full, file locked) and a file of a newer Holdfast are errors instead:
    /// the accounts in it are still good.
    ///
    /// Only one process opens it at a time: two that both find a new file would both create its tables, and
    /// SQLite reports "locked" at once if two change the journal mode.
    ///
    /// # Errors
    /// [`Code::InUse`] if another process takes longer than a minute to open it, [`Code::StateNewer`] if a
    /// newer Holdfast created it, and the errors of the file system and of SQLite.
    pub fn open(path: &Path) -> Result<Self> {
        let _opening = lock_opening(path)?;
        if fs::metadata(path).map_or(true, |found| found.len() == 0) {
            tracing::info!(path = %path.display(), "there is no state database: creating a new one");
        }
        let connection = match connect(path) {
            Ok(connection) => connection,
            Err(Unfit::Passing(error)) => return Err(error),
            Err(Unfit::Damaged(reason)) => {
                let aside = set_aside(path)?;
                tracing::error!(
                    path = %path.display(),
                    aside = %aside.display(),
                    reason,
                    "the state database was damaged or unreadable: it was renamed and a new one created; \
                     accounts and the job history start empty, the backups are not affected"
                );
                connect(path).map_err(|unfit| match unfit {
                    Unfit::Passing(error) => error,
                    Unfit::Damaged(reason) => Error::file("Opening", path, io::Error::other(reason)),
                })?
            }
        };
        Ok(Self { connection: Arc::new(Mutex::new(connection)), path: path.into() })
    }

    /// Passes the connection to `work`, for one caller at a time. Blocks, so call it on a blocking thread.
    pub(in crate::domain::state) fn with<T>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T>,
    ) -> Result<T> {
        // A panic in `work` drops its transaction, which rolls it back, so the connection stays usable.
        work(&mut self.connection.lock())
    }

    /// The path of the database file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Locks the opening of the state database at `path` until the returned file is dropped. The lock is on the
/// directory: a lock file created by root in a shell would keep out the server's user, and closing the
/// database file itself would release SQLite's own locks.
fn lock_opening(path: &Path) -> Result<File> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let file = File::open(directory).map_err(|error| Error::file("Opening", directory, error))?;
    let started = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if started.elapsed() < OPENING_TIMEOUT => {
                thread::sleep(Duration::from_millis(10));
            }
            Err(TryLockError::WouldBlock) => {
                return Err(Error::refusal(
                    Code::InUse,
                    format!(
                        "Another Holdfast has been opening the state database {} for {} s. \
                         Stop it, or wait, and try again.",
                        path.display(),
                        OPENING_TIMEOUT.as_secs()
                    ),
                ));
            }
            Err(TryLockError::Error(error)) => return Err(Error::file("Locking", directory, error)),
        }
    }
}

/// Why a file cannot be used as the state database.
enum Unfit {
    /// It is damaged, or not a database.
    Damaged(String),
    /// Another problem; the file itself may be good.
    Passing(Error),
}

fn connect(path: &Path) -> Result<Connection, Unfit> {
    make_private(path)?;
    let unfit = |error| judge(path, error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(unfit)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(unfit)?;
    // SQLite returns the mode it chose: without shared memory on the file system, it uses a rollback journal.
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())).map_err(unfit)?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(unfit)?;
    connection.pragma_update(None, "foreign_keys", true).map_err(unfit)?;
    let verdict: String =
        connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(unfit)?;
    if verdict != "ok" {
        return Err(Unfit::Damaged(verdict));
    }
    // `make_private` could open the file for writing, so only the database header can make it read-only.
    if connection.is_readonly("main").map_err(unfit)? {
        return Err(Unfit::Damaged("its header says that it is read-only".to_owned()));
    }
    migrate(&mut connection, path)?;
    // SQLite's own check accepts a name with a flipped bit, so the schema is compared as well.
    let mut blank = Connection::open_in_memory().map_err(unfit)?;
    migrate(&mut blank, path)?;
    let (wanted, found) = (structure(&blank).map_err(unfit)?, structure(&connection).map_err(unfit)?);
    if let Some(missing) = wanted.difference(&found).next() {
        return Err(Unfit::Damaged(format!("its schema lacks {missing}")));
    }
    Ok(connection)
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<(), Unfit> {
    Migrations::from_slice(MIGRATIONS).to_latest(connection).map_err(|error| match error {
        MigrationError::RusqliteError { err, .. } => judge(path, err),
        MigrationError::MigrationDefinition(MigrationDefinitionError::DatabaseTooFarAhead) => {
            Unfit::Passing(Error::refusal(Code::StateNewer, format!(
                "The state database {} was made by a newer Holdfast. Start that version, or move the file away.",
                path.display()
            )))
        }
        other => Unfit::Damaged(other.to_string()),
    })
}

/// Columns, references and unique keys, one per line: the schema without its text, which depends on the
/// version of SQLite that wrote it.
fn structure(connection: &Connection) -> rusqlite::Result<BTreeSet<String>> {
    let mut statement = connection.prepare(
        "WITH tables AS (SELECT * FROM pragma_table_list WHERE schema = 'main' AND type = 'table')
         SELECT concat_ws(' ', t.name, t.strict, t.wr, c.name, c.type, c.\"notnull\", c.pk, quote(c.dflt_value))
         FROM tables t, pragma_table_info(t.name) c
         UNION ALL
         SELECT concat_ws(' ', t.name, f.\"from\", 'REFERENCES', f.\"table\", f.\"to\", f.on_delete)
         FROM tables t, pragma_foreign_key_list(t.name) f
         UNION ALL
         SELECT concat_ws(' ', t.name, i.\"unique\", i.origin, group_concat(c.name))
         FROM tables t, pragma_index_list(t.name) i, pragma_index_info(i.name) c
         GROUP BY t.name, i.name",
    )?;
    statement.query_map([], |row| row.get(0))?.collect()
}

/// Creates the file (0600) before SQLite does, which would use the umask. Its -wal and -shm get the file's
/// mode.
fn make_private(path: &Path) -> Result<(), Unfit> {
    let opened =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    let file = opened.map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::IsADirectory if path.exists() => {
            Unfit::Damaged(error.to_string())
        }
        _ => Unfit::Passing(Error::file("Opening", path, error)),
    })?;
    let tightened = file.metadata().and_then(|found| match found.permissions().mode() & 0o077 {
        0 => Ok(()),
        _ => file.set_permissions(Permissions::from_mode(0o600)),
    });
    tightened.map_err(|error| Unfit::Passing(Error::file("Closing to other users", path, error)))
}

fn judge(path: &Path, error: rusqlite::Error) -> Unfit {
    const UNREADABLE: [i32; 4] = [
        ffi::SQLITE_IOERR_READ,
        ffi::SQLITE_IOERR_SHORT_READ,
        ffi::SQLITE_IOERR_DATA,
        ffi::SQLITE_IOERR_CORRUPTFS,
    ];
    let Some(cause) = error.sqlite_error() else {
        return Unfit::Damaged(error.to_string());
    };
    match cause.code {
        ErrorCode::DiskFull => Unfit::Passing(Error::DiskFull { path: path.to_owned() }),
        ErrorCode::SystemIoFailure if UNREADABLE.contains(&cause.extended_code) => {
            Unfit::Damaged(error.to_string())
        }
        // It was open a moment ago, so the reason is the system: no descriptor is left.
        ErrorCode::CannotOpen
        | ErrorCode::DatabaseBusy
        | ErrorCode::DatabaseLocked
        | ErrorCode::FileLockingProtocolFailed
        | ErrorCode::OperationInterrupted
        | ErrorCode::OutOfMemory
        | ErrorCode::ReadOnly
        | ErrorCode::SystemIoFailure => Unfit::Passing(error.into()),
        _ => Unfit::Damaged(error.to_string()),
    }
}

/// Renames the file with its -wal and -shm, so that together they can still be opened and rescued. Returns
/// the new name.
fn set_aside(path: &Path) -> Result<PathBuf> {
    let mut aside = beside(path, &format!(".damaged-{}Z", now().for_file_name()));
    let mut take = 2;
    while aside.symlink_metadata().is_ok() {
        aside = beside(path, &format!(".damaged-{}Z-{take}", now().for_file_name()));
        take += 1;
    }
    // The file itself goes last: the -wal of the damaged one must never be beside a new database.
    for end in ["-wal", "-shm", ""] {
        match fs::rename(beside(path, end), beside(&aside, end)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !end.is_empty() => {}
            other => other.map_err(|error| Error::file("Setting aside", path, error))?,
        }
    }
    Ok(aside)
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(end);
    name.into()
}

fn now() -> Stamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Stamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use crate::domain::state::*;
    use tempfile::TempDir;

    fn place() -> (TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("holdfast.db");
        (directory, path)
    }

    fn mark(store: &Store) {
        store.with(|conn| Ok(conn.execute("INSERT INTO settings VALUES ('mark', 'here')", [])?)).unwrap();
    }

    fn marks(store: &Store) -> i64 {
        store.with(|conn| Ok(conn.query_row("SELECT count(*) FROM settings", [], |row| row.get(0))?)).unwrap()
    }

    #[test]
    fn many_that_open_a_fresh_database_at_once_share_it() {
        for _ in 0..20 {
            let (directory, path) = place();
            thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| Store::open(&path).unwrap());
                }
            });
            assert_eq!(set_aside_names(&directory), [""; 0]);
        }
    }

    fn set_aside_names(directory: &TempDir) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with("holdfast.db.damaged-"))
            .collect();
        names.sort();
        names
    }

    /// A closed database with a few pages, so that everything is in one file.
    fn filled(path: &Path) {
        let store = Store::open(path).unwrap();
        mark(&store);
        store
            .with(|conn| {
                let transaction = conn.transaction()?;
                for i in 0..200 {
                    transaction
                        .execute("INSERT INTO settings VALUES (?1, ?2)", (i.to_string(), "x".repeat(500)))?;
                }
                Ok(transaction.commit()?)
            })
            .unwrap();
    }

    #[test]
    fn what_was_kept_is_there_after_a_restart() {
        let (directory, path) = place();
        mark(&Store::open(&path).unwrap());
        assert_eq!(marks(&Store::open(&path).unwrap()), 1);
        assert_eq!(set_aside_names(&directory), [""; 0]);
    }

    #[test]
    fn a_database_of_an_earlier_version_gets_what_is_new_and_keeps_what_it_has() {
        for version in 1..MIGRATIONS.len() {
            let (directory, path) = place();
            let mut earlier = Connection::open(&path).unwrap();
            Migrations::from_slice(&MIGRATIONS[..version]).to_latest(&mut earlier).unwrap();
            earlier.execute("INSERT INTO settings VALUES ('mark', '1')", []).unwrap();
            drop(earlier);
            let store = Store::open(&path).unwrap();
            assert_eq!(marks(&store), 1, "from version {version}");
            store.with(|db| Ok(db.execute("INSERT INTO copies VALUES ('f', 'd', 's')", [])?)).unwrap();
            store.with(|db| Ok(db.execute("UPDATE jobs SET task = 'upload', subject = 's'", [])?)).unwrap();
            assert_eq!(set_aside_names(&directory), [""; 0]);
        }
    }

    #[test]
    fn the_file_and_its_companions_are_for_this_user_only() {
        let (directory, path) = place();
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let store = Store::open(&path).unwrap();
        mark(&store);
        let entries: Vec<_> = fs::read_dir(directory.path()).unwrap().map(Result::unwrap).collect();
        assert!(entries.len() > 1, "SQLite keeps a log of writes beside it");
        for entry in entries {
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.path());
        }
    }

    #[test]
    fn writes_are_durable_and_references_are_held() {
        let (_directory, path) = place();
        let store = Store::open(&path).unwrap();
        let pragma = |name: &str| {
            store
                .with(|conn| {
                    Ok(conn.pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0))?)
                })
                .unwrap()
        };
        assert_eq!(pragma("journal_mode"), "wal".to_owned().into());
        assert_eq!(pragma("synchronous"), 2.into());
        assert_eq!(pragma("foreign_keys"), 1.into());
        assert_eq!(pragma("busy_timeout"), 5000.into());
        let orphan = store
            .with(|conn| {
                Ok(conn.execute(
                    "INSERT INTO sessions (token_hash, account, created, last_seen) VALUES (x'00', 7, 0, 0)",
                    [],
                )?)
            })
            .unwrap_err();
        assert!(matches!(orphan, Error::State(_)), "{orphan}");
    }

    #[test]
    fn a_damaged_database_is_set_aside_whole_and_a_fresh_one_made() {
        type Damage = fn(&Path);
        let damages: [(&str, Damage); 4] = [
            ("not a database", |path| fs::write(path, "these are no pages".repeat(500)).unwrap()),
            ("its middle overwritten", |path| {
                let mut bytes = fs::read(path).unwrap();
                let half = bytes.len() / 2;
                bytes[half..half + 8192].fill(0xA5);
                fs::write(path, bytes).unwrap();
            }),
            ("cut in half", |path| {
                let half = fs::metadata(path).unwrap().len() / 2;
                OpenOptions::new().write(true).open(path).unwrap().set_len(half).unwrap();
            }),
            ("a directory in its place", |path| {
                fs::remove_file(path).unwrap();
                fs::create_dir(path).unwrap();
            }),
        ];
        for (what, damage) in damages {
            let (directory, path) = place();
            filled(&path);
            damage(&path);
            let store = Store::open(&path).unwrap();
            assert_eq!(marks(&store), 0, "{what}");
            assert_eq!(set_aside_names(&directory).len(), 1, "{what}");
            mark(&store);
            drop(store);
            assert_eq!(marks(&Store::open(&path).unwrap()), 1, "{what}: the fresh one serves");
        }
    }

    /// Control: SQLite's own check accepts half of these.
    #[test]
    fn a_turned_bit_in_the_schema_or_the_header_is_found() {
        let (_directory, path) = place();
        drop(Store::open(&path).unwrap());
        let good = fs::read(&path).unwrap();
        let (mut names, mut unnoticed) = (0, 0);
        for name in [
            "TABLE accounts",
            "REFERENCES accounts",
            "    account",
            "    token_hash",
            "UNIQUE",
            "ON DELETE CASCADE",
            "DEFAULT 1",
        ] {
            let places: Vec<_> = good
                .windows(name.len())
                .enumerate()
                .filter_map(|(at, window)| (window == name.as_bytes()).then_some(at))
                .collect();
            for at in places {
                let (directory, path) = place();
                let mut bytes = good.clone();
                bytes[at + name.len() - 1] ^= 1;
                fs::write(&path, &bytes).unwrap();
                names += 1;
                let check =
                    Connection::open(&path).unwrap().pragma_query_value(None, "integrity_check", |row| {
                        Ok(row.get::<_, String>(0)? == "ok")
                    });
                unnoticed += usize::from(check == Ok(true));
                drop(Store::open(&path).unwrap());
                assert_eq!(set_aside_names(&directory).len(), 1, "{name} at {at}");
            }
        }
        assert!(names > 15 && unnoticed > 5, "{unnoticed} of {names}");
        for (byte, at) in [(3, 18), (3, 19)] {
            let (directory, path) = place();
            let mut bytes = good.clone();
            bytes[at] = byte;
            fs::write(&path, &bytes).unwrap();
            mark(&Store::open(&path).unwrap());
            assert_eq!(set_aside_names(&directory).len(), 1, "format of byte {at}");
        }
    }

    #[test]
    fn what_somebody_else_keeps_there_is_left_alone() {
        let (directory, path) = place();
        drop(Store::open(&path).unwrap());
        let other = Connection::open(&path).unwrap();
        other.execute_batch("CREATE TABLE theirs (x); CREATE INDEX ours ON jobs (state);").unwrap();
        drop(other);
        mark(&Store::open(&path).unwrap());
        assert_eq!(set_aside_names(&directory), [""; 0]);
    }

    #[test]
    fn the_log_of_writes_goes_with_the_damaged_file() {
        let (directory, path) = place();
        fs::write(&path, "these are no pages".repeat(500)).unwrap();
        fs::write(beside(&path, "-wal"), "wal").unwrap();
        let aside = set_aside(&path).unwrap();
        assert_eq!(fs::read(beside(&aside, "-wal")).unwrap(), b"wal");
        fs::write(&path, "again").unwrap();
        set_aside(&path).unwrap();
        assert_eq!(set_aside_names(&directory).len(), 3, "a second one does not replace the first");
        assert!(!beside(&path, "-wal").exists());
    }

    #[test]
    fn a_newer_database_or_a_missing_directory_is_an_error_and_stays() {
        let (directory, path) = place();
        filled(&path);
        Connection::open(&path).unwrap().pragma_update(None, "user_version", 999).unwrap();
        assert_eq!(Store::open(&path).err().unwrap().code(), Code::StateNewer);
        assert!(path.exists());
        assert_eq!(set_aside_names(&directory), [""; 0]);
        let nowhere = directory.path().join("missing/holdfast.db");
        assert!(matches!(Store::open(&nowhere).err().unwrap(), Error::File { .. }));
    }

    #[test]
    fn a_locked_database_is_not_taken_for_a_damaged_one() {
        let (_directory, path) = place();
        let busy = ffi::Error { code: ErrorCode::DatabaseBusy, extended_code: 5 };
        assert!(matches!(judge(&path, rusqlite::Error::SqliteFailure(busy, None)), Unfit::Passing(_)));
        let no_descriptor = ffi::Error { code: ErrorCode::CannotOpen, extended_code: 14 };
        let no_descriptor = judge(&path, rusqlite::Error::SqliteFailure(no_descriptor, None));
        assert!(matches!(no_descriptor, Unfit::Passing(_)));
        let full = ffi::Error { code: ErrorCode::DiskFull, extended_code: 13 };
        let full = judge(&path, rusqlite::Error::SqliteFailure(full, None));
        assert!(matches!(full, Unfit::Passing(Error::DiskFull { .. })));
    }
}
