//! Reads every row and column of every table from the table itself: an index proves nothing about its table.

use crate::domain::engines::engine::Counts;
use crate::model::outcome::printable;
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, Result, Row, Statement};
use std::collections::BTreeMap;

/// Larger values are not loaded into memory, in bytes; their pages were checked already.
const LARGE: i32 = 64 << 20;

/// A table, as `PRAGMA table_list` lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: Kind,
}

/// The kind of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A user's table.
    Ordinary,
    /// A table in which a virtual table stores its rows.
    Shadow,
    /// A virtual table.
    Virtual,
    /// SQLite's own.
    Internal,
}

/// The result of reading.
#[derive(Debug, Default)]
pub struct Read {
    /// The user's tables and the rows in them.
    pub counts: Counts,
    /// Oddities in what was read.
    pub remarks: Vec<String>,
    /// Tables that SQLite could not read, with its message.
    pub unread: Vec<(String, String)>,
    /// Damage, if found.
    pub damage: Option<String>,
}

/// A `PRAGMA` statement about an object of the database. The table-valued function of the same name could be
/// shadowed by a table or view; a statement cannot.
pub fn about(pragma: &str, name: &str) -> String {
    format!("PRAGMA main.{pragma}('{}')", name.replace('\'', "''"))
}

/// Reads all tables but virtual ones, whose rows are in other tables.
pub fn read(connection: &Connection, tables: &[Table]) -> Result<Read> {
    let mut read = Read::default();
    let most = connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, LARGE)?;
    let result = tables.iter().filter(|table| table.kind != Kind::Virtual).try_for_each(|table| {
        match read_table(connection, &table.name, &mut read.remarks) {
            Ok(rows) => {
                if table.kind == Kind::Ordinary {
                    read.counts.tables += 1;
                    read.counts.rows += rows;
                }
            }
            Err(error) => match error.sqlite_error_code() {
                Some(ErrorCode::DatabaseCorrupt) => {
                    let damage = format!("the table {} cannot be read ({error})", printable(&table.name));
                    read.damage = read.damage.take().or(Some(damage));
                }
                Some(
                    ErrorCode::OperationInterrupted | ErrorCode::SystemIoFailure | ErrorCode::OutOfMemory,
                ) => return Err(error),
                _ => read.unread.push((table.name.clone(), error.to_string())),
            },
        }
        Ok(())
    });
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, most)?;
    result.map(|()| read)
}

fn read_table(connection: &Connection, table: &str, remarks: &mut Vec<String>) -> Result<u64> {
    let columns = stored_columns(connection, table)?;
    match read_columns(connection, table, &columns, false, remarks) {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::TooBig) => {
            read_columns(connection, table, &columns, true, remarks)
        }
        read => read,
    }
}

/// The columns that are stored in the file; the others are computed on access.
fn stored_columns(connection: &Connection, table: &str) -> Result<Vec<String>> {
    columns(connection, table, |hidden| hidden != 2)
}

/// The columns of a table whose `hidden` number is wanted: 2 is a generated column that is not stored.
pub fn columns(connection: &Connection, table: &str, is_wanted: fn(i64) -> bool) -> Result<Vec<String>> {
    let mut list = connection.prepare(&about("table_xinfo", table))?;
    let mut rows = list.query(())?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        if is_wanted(row.get(6)?) {
            found.push(text(row, 1));
        }
    }
    Ok(found)
}

/// A statement that looks up a row by its rowid in the table itself; `None` if the table has no rowid, or no
/// name for it.
pub fn lookup<'c>(connection: &'c Connection, table: &str) -> Result<Option<Statement<'c>>> {
    let mut list = connection.prepare(&about("table_list", table))?;
    let mut rows = list.query(())?;
    while let Some(row) = rows.next()? {
        if row.get::<_, i64>(4)? != 0 {
            return Ok(None);
        }
    }
    let taken = columns(connection, table, |_| true)?;
    let is_free = |name: &&str| !taken.iter().any(|column| column.eq_ignore_ascii_case(name));
    let Some(number) = ["rowid", "_rowid_", "oid"].into_iter().find(is_free) else { return Ok(None) };
    let sql = format!("SELECT 1 FROM main.{} NOT INDEXED WHERE {number} = ?1", quoted(table));
    connection.prepare(&sql).map(Some)
}

/// With `by_size`, large values are only measured.
fn read_columns(
    connection: &Connection,
    table: &str,
    columns: &[String],
    by_size: bool,
    remarks: &mut Vec<String>,
) -> Result<u64> {
    let wanted = columns.iter().map(|column| {
        // With the table's name before it, SQLite never takes the name for a string.
        let column = format!("t.{}", quoted(column));
        if by_size {
            format!("CASE WHEN octet_length({column}) > {} THEN NULL ELSE {column} END", LARGE / 2)
        } else {
            column
        }
    });
    let wanted = wanted.collect::<Vec<_>>().join(", ");
    let mut all =
        connection.prepare(&format!("SELECT {wanted} FROM main.{} AS t NOT INDEXED", quoted(table)))?;
    let (mut rows, mut garbled) = (0, BTreeMap::<usize, u64>::new());
    let mut found = all.query(())?;
    while let Some(row) = found.next()? {
        rows += 1;
        for at in 0..columns.len() {
            if let ValueRef::Text(bytes) = row.get_ref(at)?
                && std::str::from_utf8(bytes).is_err()
            {
                *garbled.entry(at).or_default() += 1;
            }
        }
    }
    for (at, number) in garbled {
        let texts = if number == 1 { "1 text".to_owned() } else { format!("{number} texts") };
        remarks.push(format!(
            "In {}.{}, {texts} are not valid UTF-8. The bytes are in the backup as they are.",
            printable(table),
            printable(&columns[at])
        ));
    }
    Ok(rows)
}

/// A quoted identifier.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text of a row, decoded leniently.
pub fn text(row: &Row<'_>, at: usize) -> String {
    match row.get_ref(at) {
        Ok(ValueRef::Text(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
        _ => String::new(),
    }
}
