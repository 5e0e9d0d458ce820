//! Destinations for tests, without a whole Holdfast.

#![expect(clippy::unwrap_used, reason = "a test harness")]

use holdfast::domain::audit::Audit;
use holdfast::domain::destinations::kinds::KINDS;
use holdfast::domain::destinations::shared::Shared;
use holdfast::domain::destinations::{Destinations, Options};
use holdfast::domain::jobs::{Clock, Jobs};
use holdfast::domain::repository::catalog::Catalog;
use holdfast::domain::repository::directory::BackupDir;
use holdfast::domain::state::Store;
use holdfast::domain::state::secrets::Secrets;
use holdfast::model::Stamp;
use std::sync::Arc;

/// The destinations in a state database, for the backups in `dir`.
pub fn destinations(
    store: &Store,
    secrets: &Secrets,
    dir: &Arc<BackupDir>,
    options: Options,
) -> Destinations {
    let clock: Clock = Arc::new(|| Stamp::from_millis(1_795_401_667_123));
    let audit = Audit::new(store.path().parent().unwrap(), Arc::clone(&clock));
    let jobs = Jobs::new(store.clone(), Arc::clone(&clock), audit.clone());
    let shared = Shared::new(store.clone(), secrets.clone(), audit, clock, options);
    Destinations::new(shared, KINDS, Arc::new(Catalog::new(Arc::clone(dir))), Arc::clone(dir), jobs)
}
