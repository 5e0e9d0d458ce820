//! The records about copies, by backup and destination, so that the list need not ask the destinations.

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
    /// The records in `store`.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// The record of one backup's copy at `destination`.
    pub fn get(&self, file: &BackupName, destination: &DestinationName) -> Result<OffSite> {
        let state = table::get(&self.store, file.as_str(), destination.as_str())?;
        Ok(state.and_then(|state| serde_json::from_str(&state).ok()).unwrap_or_default())
    }

    /// The records of all copies at `destination`. A backup that is not included was never sent there.
    pub fn at(&self, destination: &DestinationName) -> Result<BTreeMap<BackupName, OffSite>> {
        let read =
            |(file, state): (String, String)| Some((file.parse().ok()?, serde_json::from_str(&state).ok()?));
        Ok(table::at(&self.store, destination.as_str())?.into_iter().filter_map(read).collect())
    }

    /// Records `state` for one backup's copy at `destination`.
    pub fn set(&self, file: &BackupName, destination: &DestinationName, state: &OffSite) -> Result<()> {
        let state = serde_json::to_string(state).map_err(|_| Error::Lost)?;
        table::set(&self.store, file.as_str(), destination.as_str(), &state)
    }

    /// Deletes the record of one backup's copy at `destination`.
    pub fn forget(&self, file: &BackupName, destination: &DestinationName) -> Result<()> {
        table::forget(&self.store, file.as_str(), destination.as_str())
    }

    /// Deletes the records of all copies at `destination`, because it is another place from now on.
    pub fn forget_all(&self, destination: &DestinationName) -> Result<()> {
        table::forget_all(&self.store, destination.as_str())
    }
}
