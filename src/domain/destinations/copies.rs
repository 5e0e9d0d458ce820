//! What is remembered of each backup's off-site copy, so that the list need not ask the server.

use crate::domain::error::{Error, Result};
use crate::domain::state::{Store, copies as table};
use crate::model::{BackupName, OffSite};
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
        let state = table::get(&self.store, name.as_str())?;
        Ok(state.and_then(|state| serde_json::from_str(&state).ok()).unwrap_or_default())
    }

    /// Every mark there is. A backup without one was never sent.
    pub fn all(&self) -> Result<BTreeMap<BackupName, OffSite>> {
        let read =
            |(file, state): (String, String)| Some((file.parse().ok()?, serde_json::from_str(&state).ok()?));
        Ok(table::all(&self.store)?.into_iter().filter_map(read).collect())
    }

    /// Remembers `state` of `name`.
    pub fn set(&self, name: &BackupName, state: &OffSite) -> Result<()> {
        let state = serde_json::to_string(state).map_err(|_| Error::Lost)?;
        table::set(&self.store, name.as_str(), &state)
    }

    /// Forgets one backup's mark.
    pub fn forget(&self, name: &BackupName) -> Result<()> {
        table::forget(&self.store, name.as_str())
    }

    /// Forgets all marks: they were of another place.
    pub fn forget_all(&self) -> Result<()> {
        table::forget_all(&self.store)
    }
}
