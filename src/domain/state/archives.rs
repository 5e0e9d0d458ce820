//! Table `archives`: the backups in each downloadable archive, and the account it belongs to.

use crate::domain::error::Result;
use crate::domain::state::Store;
use crate::model::Stamp;
use rusqlite::OptionalExtension as _;

/// An archive's address.
#[derive(Debug, Clone, Copy)]
pub struct Address<'a> {
    /// The random part of its address.
    pub id: &'a str,
    /// The account that may download it.
    pub account: i64,
    /// The key of its format.
    pub format: &'a str,
}

/// An archive's contents, as JSON.
#[derive(Debug)]
pub struct Contents {
    /// The backups in it.
    pub entries: String,
    /// The names that were requested and are not in it.
    pub missing: String,
}

/// Stores an archive created at `now`, and removes those created until `expired`.
pub fn keep(
    store: &Store,
    address: Address<'_>,
    contents: &Contents,
    now: Stamp,
    expired: Stamp,
) -> Result<()> {
    store.with(|db| {
        let transaction = db.transaction()?;
        transaction.execute("DELETE FROM archives WHERE created <= ?1", [expired.millis()])?;
        transaction.execute(
            "INSERT INTO archives VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            (address.id, address.account, address.format, now.millis(), &contents.entries, &contents.missing),
        )?;
        Ok(transaction.commit()?)
    })
}

/// The contents of an archive that was created after `since`.
pub fn find(store: &Store, address: Address<'_>, since: Stamp) -> Result<Option<Contents>> {
    store.with(|db| {
        let found = db.query_row(
            "SELECT entries, missing FROM archives
             WHERE id = ?1 AND account = ?2 AND format = ?3 AND created > ?4",
            (address.id, address.account, address.format, since.millis()),
            |row| Ok(Contents { entries: row.get(0)?, missing: row.get(1)? }),
        );
        Ok(found.optional()?)
    })
}
