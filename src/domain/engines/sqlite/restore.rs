//! SQLite backups: unpacked into a file of their own, checked there, and put into place in one step.

use crate::domain::engines::Cancel;
use crate::domain::engines::sqlite::{Health, examine, is_busy, is_of_schema, open_immutable, pages};
use crate::domain::error::{Error, Result};
use crate::domain::operations::content::{Content, Sums};
use crate::domain::random;
use crate::domain::repository::publish;
use rusqlite::backup::{Backup, StepResult};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// How long a target that another program holds is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// What is written at a time.
const BUFFER: usize = 128 << 10;
/// What the name of an unfinished file ends with, before its number.
const UNFINISHED: &str = ".holdfast-restore-";

/// A file (0600) for the unpacked content, locked as long as it is in use, gone when this is dropped.
pub struct Temporary {
    path: PathBuf,
    file: File,
}

impl Temporary {
    /// A new one at `path`.
    pub fn new(path: PathBuf) -> Result<Self> {
        let made = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
        let file = made.map_err(|error| Error::file("Making", &path, error))?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|error| Error::file("Locking", &path, error.into()))?;
        Ok(Self { path, file })
    }

    /// A new one beside `target`, to be renamed to it. Clears away those that killed runs left there.
    pub fn beside(target: &Path) -> Result<Self> {
        let parent = target.parent().unwrap_or(Path::new("/"));
        let prefix = format!(".{}{UNFINISHED}", target.file_name().unwrap_or_default().display());
        let failed = |error| Error::file("Reading", parent, error);
        for entry in fs::read_dir(parent).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let ours = entry.file_name().to_string_lossy().starts_with(&prefix);
            if ours
                && entry.file_type().map_err(failed)?.is_file()
                && let Ok(file) = File::open(entry.path())
                && flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
            {
                let _ = fs::remove_file(entry.path());
            }
        }
        Self::new(parent.join(format!("{prefix}{}", random::hex::<8>()?)))
    }

    /// Bytes of one page of the database in it, which was checked.
    fn page_size(&self) -> Result<u64> {
        let mut said = [0; 2];
        self.file.read_exact_at(&mut said, 16).map_err(|error| Error::file("Reading", &self.path, error))?;
        Ok(match u16::from_be_bytes(said) {
            1 => 65_536,
            size => size.into(),
        })
    }

    /// The bytes its disk has room for.
    pub fn room(&self) -> Option<u64> {
        let found = rustix::fs::fstatvfs(&self.file).ok()?;
        found.f_bavail.checked_mul(found.f_frsize)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, path = %self.path.display(), "a temporary file could not be removed");
        }
    }
}

/// Unpacks the content into `temporary` and looks it over: its health, or what is wrong with it.
pub fn read_database(
    mut content: Content<'_>,
    temporary: &Temporary,
    cancel: &Cancel,
) -> Result<(Sums, Result<Health, String>)> {
    let mut buffer = vec![0; BUFFER];
    let mut file = &temporary.file;
    loop {
        let read = content.next(&mut buffer)?;
        if read == 0 {
            break;
        }
        file.write_all(&buffer[..read]).map_err(|error| Error::file("Writing", &temporary.path, error))?;
    }
    let sums = content.finish()?;
    if sums.fault.is_some() {
        return Ok((sums, Err("it is not whole".to_owned())));
    }
    let health = examine(&temporary.path, true, cancel)?;
    Ok((sums, health.map_err(|how| format!("SQLite's file is damaged: {how}"))))
}

/// Whether there is a database at `path`: a file with anything in it. What lies beside a file that is gone
/// would be taken for the new one's, and spoil it.
pub fn is_there(path: &Path) -> Result<bool> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    if !parent.is_dir() {
        return Err(Error::Refused(format!(
            "There is no directory {} to restore into. Make it, or correct the URL.",
            parent.display()
        )));
    }
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() && !path.exists() => Err(Error::Refused(format!(
            "{} is a link that leads nowhere. Remove it, or name the file itself.",
            path.display()
        ))),
        Ok(_) if path.is_file() => Ok(true),
        Ok(_) => Err(Error::Refused(format!(
            "{} is no regular file. Correct the URL to name the database's file.",
            path.display()
        ))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            for suffix in ["-journal", "-wal", "-shm"] {
                let mut beside = path.as_os_str().to_owned();
                beside.push(suffix);
                if fs::symlink_metadata(&beside).is_ok() {
                    return Err(Error::Refused(format!(
                        "{} belongs to a database that is no longer there, and SQLite would mix it into the \
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

/// Gives a checked database its name, where nothing has it.
pub fn put_new(temporary: &Temporary, target: &Path) -> Result<()> {
    if !is_there(target)? && publish::name_finished(&temporary.file, &temporary.path, target)? {
        return Ok(());
    }
    Err(Error::Refused(format!(
        "{} came to be while the backup was checked, and was not replaced. Look at it, and use --overwrite if \
         it is to go.",
        target.display()
    )))
}

/// Puts a checked database into the place of one that is there, by one transaction of SQLite's own: readers
/// see the old or the new, and where this is killed, the old comes back by its journal.
pub fn put_over(temporary: &Temporary, target: &Path, cancel: &Cancel) -> Result<()> {
    let failed = |error: rusqlite::Error| {
        if is_busy(&error) {
            return busy(target);
        }
        Error::Refused(format!("SQLite could not write {} ({error}); it is as it was.", target.display()))
    };
    let source = open_immutable(&temporary.path).map_err(failed)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(target, flags).map_err(failed)?;
    connection.busy_timeout(PATIENCE).map_err(failed)?;
    let text =
        |connection: &Connection, sql: &str| connection.query_row(sql, (), |row| row.get::<_, String>(0));
    // What either schema says does not matter here; it may be what is to be got rid of.
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
        // Its log holds whole pages, so that their size is fixed as long as there is one.
        let now = text(&connection, "PRAGMA journal_mode = DELETE").map_err(failed)?;
        if now != "delete" {
            return Err(busy(target));
        }
    }
    connection.execute_batch("PRAGMA synchronous = FULL").map_err(failed)?;
    let deadline = Instant::now() + PATIENCE;
    let backup = Backup::new(&source, &mut connection).map_err(failed)?;
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
    Error::Refused(format!(
        "Another program keeps {} locked, so it was left as it was. Stop that program and try again.",
        target.display()
    ))
}
