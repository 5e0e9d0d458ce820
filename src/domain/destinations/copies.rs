//! What Holdfast remembers of each copy, by backup and destination, so that the list need not ask the destinations.

use crate::domain::destinations::name::DestinationName;
use crate::domain::error::{Error, Result};
use crate::domain::state::Store;
use crate::model::{BackupName, OffSite};
use rusqlite::OptionalExtension;
use std::collections::BTreeMap;

/// The table `copies` of the state database.
#[derive(Clone)]
pub struct Copies {
    store: Store,
}

impl Copies {
    /// The copies remembered in `store`.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// What is remembered of one backup's copy at `destination`.
    pub fn get(&self, file: &BackupName, destination: &DestinationName) -> Result<OffSite> {
        let state: Option<String> = self.store.with(|db| {
            let row = db.query_row(
                "SELECT state FROM copies WHERE file = ?1 AND destination = ?2",
                [file.as_str(), destination.as_str()],
                |row| row.get(0),
            );
            Ok(row.optional()?)
        })?;
        Ok(state.and_then(|state| serde_json::from_str(&state).ok()).unwrap_or_default())
    }

    /// What is remembered of all copies at `destination`. A backup that is not among them was never sent there.
    pub fn at(&self, destination: &DestinationName) -> Result<BTreeMap<BackupName, OffSite>> {
        self.store.with(|db| {
            let mut query = db.prepare("SELECT file, state FROM copies WHERE destination = ?1")?;
            let rows = query.query_map([destination.as_str()], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
            })?;
            let mut copies = BTreeMap::new();
            for row in rows {
                let (file, state) = row?;
                if let (Ok(name), Ok(state)) = (file.parse(), serde_json::from_str(&state)) {
                    copies.insert(name, state);
                }
            }
            Ok(copies)
        })
    }

    /// Remembers `state` of one backup's copy at `destination`.
    pub fn set(&self, file: &BackupName, destination: &DestinationName, state: &OffSite) -> Result<()> {
        let state = serde_json::to_string(state).map_err(|_| Error::Lost)?;
        self.store.with(|db| {
            db.execute(
                "INSERT INTO copies (file, destination, state) VALUES (?1, ?2, ?3)
                 ON CONFLICT (file, destination) DO UPDATE SET state = excluded.state",
                (file.as_str(), destination.as_str(), state),
            )?;
            Ok(())
        })
    }

    /// Forgets one backup's copy at `destination`.
    pub fn forget(&self, file: &BackupName, destination: &DestinationName) -> Result<()> {
        let which = [file.as_str(), destination.as_str()];
        self.store.with(|db| {
            Ok(db.execute("DELETE FROM copies WHERE file = ?1 AND destination = ?2", which).map(drop)?)
        })
    }

    /// Forgets all copies at `destination`: it is another place from now on.
    pub fn forget_all(&self, destination: &DestinationName) -> Result<()> {
        self.store.with(|db| {
            Ok(db.execute("DELETE FROM copies WHERE destination = ?1", [destination.as_str()]).map(drop)?)
        })
    }
}
