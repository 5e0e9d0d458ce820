//! Table `settings`: values by key, such as `sftp.password`. Secret values must be sealed already.

use crate::domain::error::Result;
use crate::domain::state::Store;
use rusqlite::{Connection, OptionalExtension as _};

/// The table, with exclusive access.
pub struct Rows<'c>(&'c Connection);

impl Rows<'_> {
    /// The value of `key`.
    pub fn get(&self, key: &str) -> Result<Option<String>> {
        let found = self.0.query_row("SELECT value FROM settings WHERE key = ?1", [key], |row| row.get(0));
        Ok(found.optional()?)
    }

    /// Stores `value` under `key`, replacing an earlier one.
    pub fn put(&self, key: &str, value: &str) -> Result<()> {
        self.0.execute(
            "INSERT INTO settings (key, value) VALUES (?1, ?2)
             ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            (key, value),
        )?;
        Ok(())
    }

    /// Removes `key` and its value, if present.
    pub fn remove(&self, key: &str) -> Result<()> {
        self.0.execute("DELETE FROM settings WHERE key = ?1", [key])?;
        Ok(())
    }

    /// The keys below `key` and their values, ordered by key: `key.x`, `key.x.y`, and so on.
    pub fn below(&self, key: &str) -> Result<Vec<(String, String)>> {
        let mut query = self.0.prepare("SELECT key, value FROM settings WHERE key GLOB ?1 ORDER BY key")?;
        let rows = query.query_map([format!("{key}.*")], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Removes `key` and the keys below it.
    pub fn remove_all(&self, key: &str) -> Result<()> {
        let below = format!("{key}.*");
        self.0.execute("DELETE FROM settings WHERE key = ?1 OR key GLOB ?2", [key, &below])?;
        Ok(())
    }
}

/// The value of `key`.
pub fn get(store: &Store, key: &str) -> Result<Option<String>> {
    store.with(|db| Rows(db).get(key))
}

/// Reads several values in one consistent state.
pub fn read<T>(store: &Store, work: impl FnOnce(&Rows<'_>) -> Result<T>) -> Result<T> {
    store.with(|db| work(&Rows(db)))
}

/// Reads and changes values in one transaction, which an error rolls back.
pub fn change<T>(store: &Store, work: impl FnOnce(&Rows<'_>) -> Result<T>) -> Result<T> {
    store.with(|db| {
        let transaction = db.transaction()?;
        let done = work(&Rows(&transaction))?;
        transaction.commit()?;
        Ok(done)
    })
}
