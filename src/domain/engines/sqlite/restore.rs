//! Restores SQLite backups: unpacks into a temporary file, checks it, and puts it in place in one step.

use crate::domain::engines::engine;
use crate::domain::engines::engine::{Backup, Existing, Plan, Planned, Restore, Restored};
use crate::domain::engines::sqlite::health::is_of_schema;
use crate::domain::engines::sqlite::open::{is_busy, open_immutable, pages};
use crate::domain::engines::sqlite::temporary::Temporary;
use crate::domain::error::{Code, Error, Result};
use crate::domain::jobs::cancel::Cancel;
use crate::domain::repository::publish;
use crate::model::human;
use rusqlite::backup::{Backup as Copying, StepResult};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use std::fs;
use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// How long to wait for a target that another program has locked.
const PATIENCE: Duration = Duration::from_secs(5);

/// A running restore.
pub struct SqliteRestore<'r> {
    path: &'r Path,
    existing: Option<Existing>,
    cancel: &'r Cancel,
    unpacked: Option<Temporary>,
}

impl<'r> SqliteRestore<'r> {
    /// Looks up the target at `path`.
    pub fn open(path: &'r Path, cancel: &'r Cancel) -> Result<Self> {
        let existing = is_there(path)?.then(|| {
            let size = size_of(path);
            Existing { size, is_empty: size == 0, ..Existing::default() }
        });
        Ok(Self { path, existing, cancel, unpacked: None })
    }
}

impl<'r> Restore<'r> for SqliteRestore<'r> {
    fn existing(&self) -> Option<&Existing> {
        self.existing.as_ref()
    }

    /// The check has unpacked the file already.
    fn fill(&mut self, backup: Backup<'r>) -> Result<()> {
        self.unpacked = Some(engine::own(backup.kept)?);
        Ok(())
    }

    fn put_new(self: Box<Self>) -> Result<Option<Restored>> {
        put_new(self.unpacked.as_ref().ok_or(Error::Lost)?, self.path)?;
        Ok(None)
    }

    fn put_over(self: Box<Self>) -> Result<Option<Restored>> {
        put_over(self.unpacked.as_ref().ok_or(Error::Lost)?, self.path, self.cancel)?;
        Ok(None)
    }
}

/// Finds out what a restore into `path` would do.
pub fn plan(path: &Path, plan: &Plan<'_>) -> Result<Planned> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    let replaces = is_there(path)?.then(|| size_of(path));
    let content = plan.source.and_then(|source| Some(source.manifest.as_ref()?.content_size));
    let (mut facts, mut warnings) = (Vec::new(), Vec::new());
    if let Some(free) = room(parent) {
        facts.push(("Free space".to_owned(), format!("{} in {}", human::size(free), parent.display())));
        if content.is_some_and(|content| content > free) {
            warnings
                .push(format!("There is not enough room in {}: free some space first.", parent.display()));
        }
    }
    facts.push(("SQLite".to_owned(), rusqlite::version().to_owned()));
    let typed = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Planned { facts, warnings, replaces, typed })
}

fn size_of(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |found| found.len())
}

/// The free space of a directory's disk, in bytes.
fn room(directory: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(directory).ok()?;
    found.f_bavail.checked_mul(found.f_frsize)
}

/// Whether there is a database at `path`: a file that is not empty. Files left by a removed database would be
/// applied to the new one and spoil it.
fn is_there(path: &Path) -> Result<bool> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    if !parent.is_dir() {
        return Err(Error::refusal(
            Code::InvalidInput,
            format!("The directory {} does not exist. Create it, or correct the URL.", parent.display()),
        ));
    }
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() && !path.exists() => Err(Error::refusal(
            Code::InvalidInput,
            format!("{} is a broken symbolic link. Remove it, or name the file itself.", path.display()),
        )),
        Ok(_) if path.is_file() => Ok(true),
        Ok(_) => Err(Error::refusal(
            Code::InvalidInput,
            format!("{} is not a regular file. Correct the URL to name the database's file.", path.display()),
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            for suffix in ["-journal", "-wal", "-shm"] {
                let mut beside = path.as_os_str().to_owned();
                beside.push(suffix);
                if fs::symlink_metadata(&beside).is_ok() {
                    return Err(Error::Refused(format!(
                        "{} belongs to a database that no longer exists, and SQLite would mix it into the \
                         restored one. Move it away and try again.",
                        Path::new(&beside).display()
                    )));
                }
            }
            Ok(false)
        }
        Err(error) => Err(Error::file("Looking at", path, error)),
    }
}

/// Gives a checked database its name, if no file has the name.
fn put_new(temporary: &Temporary, target: &Path) -> Result<()> {
    if !is_there(target)? && publish::name_finished(&temporary.file, &temporary.path, target)? {
        return Ok(());
    }
    Err(Error::refusal(
        Code::NameTaken,
        format!(
            "{} was created while the backup was checked, and was not replaced. Check it, and use \
             --overwrite to replace it.",
            target.display()
        ),
    ))
}

/// Replaces an existing database in one SQLite transaction: readers see the old or the new, and after a kill
/// the journal restores the old.
fn put_over(temporary: &Temporary, target: &Path, cancel: &Cancel) -> Result<()> {
    let failed = |error: rusqlite::Error| {
        if is_busy(&error) {
            return busy(target);
        }
        Error::refusal(
            Code::FileFailed,
            format!("SQLite could not write {} ({error}); the file was not changed.", target.display()),
        )
    };
    let source = open_immutable(&temporary.path).map_err(failed)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(target, flags).map_err(failed)?;
    connection.busy_timeout(PATIENCE).map_err(failed)?;
    let text =
        |connection: &Connection, sql: &str| connection.query_row(sql, (), |row| row.get::<_, String>(0));
    // The schemas do not matter here; the old one may be the problem.
    let sizes = |connection: &Connection| match pages(connection) {
        Err(error) if is_of_schema(&error) => {
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_WRITABLE_SCHEMA, true)?;
            pages(connection)
        }
        other => other,
    };
    let new_size = temporary.page_size()?;
    let (count, old_size) = sizes(&connection).map_err(failed)?;
    let journal = text(&connection, "PRAGMA journal_mode").map_err(failed)?;
    if journal == "wal" && count > 0 && new_size != old_size {
        // The log holds whole pages, so the page size cannot change while it exists.
        let now = text(&connection, "PRAGMA journal_mode = DELETE").map_err(failed)?;
        if now != "delete" {
            return Err(busy(target));
        }
    }
    connection.execute_batch("PRAGMA synchronous = FULL").map_err(failed)?;
    let deadline = Instant::now() + PATIENCE;
    let backup = Copying::new(&source, &mut connection).map_err(failed)?;
    loop {
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        match backup.step(-1).map_err(failed)? {
            StepResult::Done => return Ok(()),
            _ if Instant::now() >= deadline => return Err(busy(target)),
            _ => thread::sleep(Duration::from_millis(20)),
        }
    }
}

fn busy(target: &Path) -> Error {
    Error::refusal(
        Code::DatabaseInUse,
        format!(
            "Another program keeps {} locked, so it was not replaced. Stop that program and try again.",
            target.display()
        ),
    )
}
