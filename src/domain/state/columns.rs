//! Reads columns that a damaged database may have changed.

use crate::model::Role;
use rusqlite::Row;

/// The text in a column, with replacement characters for invalid UTF-8.
pub(super) fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<String> {
    Ok(String::from_utf8_lossy(row.get_ref(column)?.as_bytes()?).into_owned())
}

/// The role in a column. An unknown role counts as the lowest one: damage must neither give rights nor break
/// the list.
pub(super) fn role(row: &Row<'_>, column: usize) -> rusqlite::Result<Role> {
    Ok(Role::parse(&text(row, column)?).unwrap_or(Role::Viewer))
}
