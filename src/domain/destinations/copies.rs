//! What Holdfast remembers of each copy, by backup and destination, so that the list need not ask the destinations.

use crate::domain::destinations::name::DestinationName;
use crate::domain::error::{Error, Result};
use crate::domain::state::{Store, copies as table};
use crate::model::{BackupName, OffSite};
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
        let state = table::get(&self.store, file.as_str(), destination.as_str())?;
        Ok(state.and_then(|state| serde_json::from_str(&state).ok()).unwrap_or_default())
    }

    /// What is remembered of all copies at `destination`. A backup that is not among them was never sent there.
    pub fn at(&self, destination: &DestinationName) -> Result<BTreeMap<BackupName, OffSite>> {
        let read =
            |(file, state): (String, String)| Some((file.parse().ok()?, serde_json::from_str(&state).ok()?));
        Ok(table::at(&self.store, destination.as_str())?.into_iter().filter_map(read).collect())
    }

    /// Remembers `state` of one backup's copy at `destination`.
    pub fn set(&self, file: &BackupName, destination: &DestinationName, state: &OffSite) -> Result<()> {
        let state = serde_json::to_string(state).map_err(|_| Error::Lost)?;
        table::set(&self.store, file.as_str(), destination.as_str(), &state)
    }

    /// Forgets one backup's copy at `destination`.
    pub fn forget(&self, file: &BackupName, destination: &DestinationName) -> Result<()> {
        table::forget(&self.store, file.as_str(), destination.as_str())
    }

    /// Forgets all copies at `destination`: it is another place from now on.
    pub fn forget_all(&self, destination: &DestinationName) -> Result<()> {
        table::forget_all(&self.store, destination.as_str())
    }
}
