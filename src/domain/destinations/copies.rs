//! What is remembered of each backup's off-site copy, so that the list need not ask the server.

use crate::domain::error::{Error, Result};
use crate::domain::state::Store;
use crate::model::{BackupName, OffSite};
use rusqlite::OptionalExtension;
use std::collections::BTreeMap;

/// The marks in the state database.
#[derive(Clone)]
pub struct Marks {
    store: Store,
}

impl Marks {
    /// The marks in `store`.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// One backup's mark.
    pub fn get(&self, name: &BackupName) -> Result<OffSite> {
        let state: Option<String> = self.store.with(|db| {
            let row =
                db.query_row("SELECT state FROM off_site WHERE file = ?1", [name.as_str()], |row| row.get(0));
            Ok(row.optional()?)
        })?;
        Ok(state.and_then(|state| serde_json::from_str(&state).ok()).unwrap_or_default())
    }

    /// Every mark there is. A backup without one was never sent.
    pub fn all(&self) -> Result<BTreeMap<BackupName, OffSite>> {
        self.store.with(|db| {
            let mut query = db.prepare("SELECT file, state FROM off_site")?;
            let rows = query.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
            let mut marks = BTreeMap::new();
            for row in rows {
                let (file, state) = row?;
                if let (Ok(name), Ok(state)) = (file.parse(), serde_json::from_str(&state)) {
                    marks.insert(name, state);
                }
            }
            Ok(marks)
        })
    }

    /// Remembers `state` of `name`.
    pub fn set(&self, name: &BackupName, state: &OffSite) -> Result<()> {
        let state = serde_json::to_string(state).map_err(|_| Error::Lost)?;
        self.store.with(|db| {
            db.execute(
                "INSERT INTO off_site (file, state) VALUES (?1, ?2)
                 ON CONFLICT (file) DO UPDATE SET state = excluded.state",
                (name.as_str(), state),
            )?;
            Ok(())
        })
    }

    /// Forgets one backup's mark.
    pub fn forget(&self, name: &BackupName) -> Result<()> {
        self.store
            .with(|db| Ok(db.execute("DELETE FROM off_site WHERE file = ?1", [name.as_str()]).map(drop)?))
    }

    /// Forgets all marks: they were of another place.
    pub fn forget_all(&self) -> Result<()> {
        self.store.with(|db| Ok(db.execute("DELETE FROM off_site", []).map(drop)?))
    }
}
