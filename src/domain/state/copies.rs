//! Table `copies`: the state of each backup's copy at each destination, as JSON.

use crate::domain::error::Result;
use crate::domain::state::Store;
use rusqlite::OptionalExtension as _;

/// The state of the copy of the backup `file` at `destination`.
pub fn get(store: &Store, file: &str, destination: &str) -> Result<Option<String>> {
    store.with(|db| {
        let found = db.query_row(
            "SELECT state FROM copies WHERE file = ?1 AND destination = ?2",
            [file, destination],
            |row| row.get(0),
        );
        Ok(found.optional()?)
    })
}

/// The file name and the state of every copy at `destination`.
pub fn at(store: &Store, destination: &str) -> Result<Vec<(String, String)>> {
    store.with(|db| {
        let mut query = db.prepare("SELECT file, state FROM copies WHERE destination = ?1")?;
        let rows = query.query_map([destination], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    })
}

/// Stores the state of a copy.
pub fn set(store: &Store, file: &str, destination: &str, state: &str) -> Result<()> {
    store.with(|db| {
        db.execute(
            "INSERT INTO copies (file, destination, state) VALUES (?1, ?2, ?3)
             ON CONFLICT (file, destination) DO UPDATE SET state = excluded.state",
            (file, destination, state),
        )?;
        Ok(())
    })
}

/// Deletes the record of one copy.
pub fn forget(store: &Store, file: &str, destination: &str) -> Result<()> {
    store.with(|db| {
        let which = [file, destination];
        Ok(db.execute("DELETE FROM copies WHERE file = ?1 AND destination = ?2", which).map(drop)?)
    })
}

/// Deletes the records of all copies at `destination`.
pub fn forget_all(store: &Store, destination: &str) -> Result<()> {
    store.with(|db| Ok(db.execute("DELETE FROM copies WHERE destination = ?1", [destination]).map(drop)?))
}
