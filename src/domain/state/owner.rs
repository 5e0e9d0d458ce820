//! The owner of a session or an API token: the part of an account that is looked up with either.

use crate::domain::state::columns;
use crate::model::Role;
use rusqlite::Row;

/// The account that a session or an API token belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The account's number.
    pub id: i64,
    /// Its name.
    pub username: String,
    /// Its role.
    pub role: Role,
    /// Whether it may download backups.
    pub download: bool,
}

impl Owner {
    /// From the columns `id`, `username`, `role`, `download`, which come first in a query.
    pub(super) fn in_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            username: row.get(1)?,
            role: columns::role(row, 2)?,
            download: row.get(3)?,
        })
    }
}
