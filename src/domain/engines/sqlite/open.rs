//! Opening a SQLite file so that nothing is written beside it, and telling SQLite's answers apart.

use percent_encoding::{AsciiSet, CONTROLS, percent_encode};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Opens a database that nobody changes, without locks and without making any file beside it.
pub fn open_immutable(path: &Path) -> rusqlite::Result<Connection> {
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
pub fn is_unknown(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::Unknown)
}

/// How many pages there are, and how long one is.
pub fn pages(connection: &Connection) -> rusqlite::Result<(u64, u64)> {
    let number = |pragma: &str| connection.query_row(pragma, (), |row| row.get::<_, u32>(0)).map(u64::from);
    Ok((number("PRAGMA page_count")?, number("PRAGMA page_size")?))
}

pub fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// Whether SQLite would have to write to read it.
pub fn needs_writing(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen))
}

/// SQLite's own words, without the statement that they are about.
pub fn words_of(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(_, Some(words))
        | rusqlite::Error::SqlInputError { msg: words, .. } => words.clone(),
        other => other.to_string(),
    }
}
