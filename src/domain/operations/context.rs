//! What every operation works with: the rooms of the domain, and the actor on whose behalf it works.

use crate::domain::audit::{Actor, Audit, Notes};
use crate::domain::bundles::Bundles;
use crate::domain::databases::Databases;
use crate::domain::destinations::Destinations;
use crate::domain::engines::engine::{Database, EngineContext};
use crate::domain::engines::{Engines, Target};
use crate::domain::error::Result;
use crate::domain::jobs::{Clock, JobSpec, Jobs};
use crate::domain::operations::compress::Effort;
use crate::domain::operations::import::limits::Limits;
use crate::domain::operations::own_files::OwnFiles;
use crate::domain::operations::pending_restores::PendingRestores;
use crate::domain::repository::catalog::Catalog;
use crate::domain::repository::directory::BackupDir;
use crate::model::{DatabaseName, JobId, Stamp};
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

/// The rooms of the domain.
pub(in crate::domain) struct Rooms {
    pub directory: Arc<BackupDir>,
    pub catalog: Arc<Catalog>,
    pub bundles: Bundles,
    pub engines: Engines,
    /// What the engines may use of this machine.
    pub machine: EngineContext,
    pub databases: Databases,
    pub destinations: Destinations,
    pub jobs: Jobs,
    pub audit: Audit,
    pub pending_restores: PendingRestores,
    pub own_files: OwnFiles,
    /// The server for test restores, if one is configured.
    pub restore_on: Option<Target>,
    pub effort: Effort,
    pub import: Limits,
    pub clock: Clock,
}

/// The rooms, on behalf of an actor. Cheap to clone.
#[derive(Clone)]
pub(in crate::domain) struct Context {
    rooms: Arc<Rooms>,
    pub notes: Notes,
}

impl Deref for Context {
    type Target = Rooms;

    fn deref(&self) -> &Rooms {
        &self.rooms
    }
}

impl Context {
    /// `rooms` on behalf of `actor`.
    pub fn new(rooms: Arc<Rooms>, actor: Arc<Actor>) -> Self {
        Self { notes: Notes::new(rooms.audit.clone(), actor), rooms }
    }

    /// The rooms without the actor.
    pub fn rooms(&self) -> &Arc<Rooms> {
        &self.rooms
    }

    /// The current time of Holdfast's clock.
    pub fn now(&self) -> Stamp {
        (self.clock)()
    }

    /// The backup directory.
    pub fn backup_dir(&self) -> &Path {
        self.directory.path()
    }

    /// The destinations, on behalf of the same actor.
    pub fn destinations(&self) -> Destinations {
        self.destinations.on_behalf_of(self.notes.clone())
    }

    /// Queues a job on behalf of the same actor.
    pub fn queue(&self, spec: JobSpec) -> Result<JobId> {
        self.jobs.queue(Arc::clone(self.notes.actor()), spec)
    }

    /// The database at `target`, named after its own name there. `setting` is the setting that gives its URL, for
    /// advice.
    pub fn database_at(&self, target: &Target, setting: &'static str) -> Arc<dyn Database> {
        target.database(DatabaseName::after(&target.own_name()), &self.machine, setting)
    }
}
