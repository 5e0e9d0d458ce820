//! Table `settings`: values by key, such as `sftp.password`. Secret values are sealed before they come here.

use crate::domain::error::Result;
use crate::domain::state::Store;
use rusqlite::{Connection, OptionalExtension as _};

/// The table within one transaction, or one look.
pub struct Rows<'c>(&'c Connection);

impl Rows<'_> {
    /// The value of `key`.
    pub fn get(&self, key: &str) -> Result<Option<String>> {
        let found = self.0.query_row("SELECT value FROM settings WHERE key = ?1", [key], |row| row.get(0));
        Ok(found.optional()?)
    }

    /// Stores `value` under `key`, in the place of an earlier one.
    pub fn put(&self, key: &str, value: &str) -> Result<()> {
        self.0.execute(
            "INSERT INTO settings (key, value) VALUES (?1, ?2)
             ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            (key, value),
        )?;
        Ok(())
    }

    /// Removes `key` and its value, if there is one.
    pub fn remove(&self, key: &str) -> Result<()> {
        self.0.execute("DELETE FROM settings WHERE key = ?1", [key])?;
        Ok(())
    }
}

/// The value of `key`.
pub fn get(store: &Store, key: &str) -> Result<Option<String>> {
    store.with(|db| Rows(db).get(key))
}

/// Reads and changes values in one transaction, which an error undoes.
pub fn change<T>(store: &Store, work: impl FnOnce(&Rows<'_>) -> Result<T>) -> Result<T> {
    store.with(|db| {
        let transaction = db.transaction()?;
        let done = work(&Rows(&transaction))?;
        transaction.commit()?;
        Ok(done)
    })
}
