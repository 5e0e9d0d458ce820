//! Table `off_site`: what is known of each backup's off-site copy, as JSON.

use crate::domain::error::Result;
use crate::domain::state::Store;
use rusqlite::OptionalExtension as _;

/// What is known of the copy of the backup `file`.
pub fn get(store: &Store, file: &str) -> Result<Option<String>> {
    store.with(|db| {
        let found = db.query_row("SELECT state FROM off_site WHERE file = ?1", [file], |row| row.get(0));
        Ok(found.optional()?)
    })
}

/// What is known of every copy: the backup's file, and the state of its copy.
pub fn all(store: &Store) -> Result<Vec<(String, String)>> {
    store.with(|db| {
        let mut query = db.prepare("SELECT file, state FROM off_site")?;
        let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    })
}

/// Stores the state of a copy.
pub fn set(store: &Store, file: &str, state: &str) -> Result<()> {
    store.with(|db| {
        db.execute(
            "INSERT INTO off_site (file, state) VALUES (?1, ?2)
             ON CONFLICT (file) DO UPDATE SET state = excluded.state",
            (file, state),
        )?;
        Ok(())
    })
}

/// Forgets one copy.
pub fn forget(store: &Store, file: &str) -> Result<()> {
    store.with(|db| Ok(db.execute("DELETE FROM off_site WHERE file = ?1", [file]).map(drop)?))
}

/// Forgets all copies.
pub fn forget_all(store: &Store) -> Result<()> {
    store.with(|db| Ok(db.execute("DELETE FROM off_site", []).map(drop)?))
}
