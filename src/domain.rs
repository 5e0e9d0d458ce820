//! The domain: backups, databases, destinations, jobs and accounts. Independent of any web framework.

pub mod accounts;
pub mod audit;
pub mod bundles;
pub mod databases;
pub mod destinations;
pub mod engines;
pub mod error;
pub mod events;
pub mod jobs;
pub mod operations;
pub mod outbound;
pub mod random;
pub mod repository;
pub mod state;

use crate::domain::accounts::Accounts;
use crate::domain::accounts::users::Reset;
use crate::domain::audit::{Actor, Audit, Notes};
use crate::domain::bundles::Bundles;
use crate::domain::databases::Databases;
use crate::domain::databases::list::Broken;
use crate::domain::destinations::Destinations;
use crate::domain::destinations::shared::Shared;
use crate::domain::engines::engine::{EngineContext, Served};
use crate::domain::engines::{Engines, Target};
use crate::domain::error::Code;
use crate::domain::events::Events;
use crate::domain::jobs::{Clock, Jobs};
use crate::domain::operations::backups::Backups;
use crate::domain::operations::compress::Effort;
use crate::domain::operations::context::{Context, Rooms};
use crate::domain::operations::create::Creations;
use crate::domain::operations::import::Imports;
use crate::domain::operations::own_files::{Claim, OwnFiles};
use crate::domain::operations::pending_restores::PendingRestores;
use crate::domain::operations::restore::Restores;
use crate::domain::operations::restore_plan::RestorePlans;
use crate::domain::operations::runner::Operations;
use crate::domain::operations::verify::{ON, Verifications};
use crate::domain::repository::Repository;
use crate::domain::repository::catalog::Catalog;
use crate::domain::repository::directory::{BackupDir, make_private_dir};
use crate::domain::state::Store;
use crate::domain::state::secrets::Secrets;
use crate::model::audit::Event;
use crate::model::{DatabaseName, Stamp};
pub use error::{Error, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The options for opening Holdfast.
pub struct Options {
    /// The directory of the state database and the key file; created if missing.
    pub data_dir: PathBuf,
    /// The backup directory; created if missing.
    pub backup_dir: PathBuf,
    /// The databases to back up. If there are none, Holdfast backs up its own state database.
    pub databases: Vec<(DatabaseName, Target)>,
    /// Configured databases that cannot be backed up because their entry has a mistake.
    pub broken: Vec<Broken>,
    /// The server for test restores of its engine's backups. By default the server of the backup's own database.
    pub restore_on: Option<Target>,
    /// The engines, and the directories that are searched first for their programs.
    pub engines: Engines,
    /// The `PATH` to search for programs.
    pub path: std::ffi::OsString,
    /// The clock.
    pub clock: Clock,
    /// The compression level and the number of threads.
    pub effort: Effort,
    /// Timeouts for destinations.
    pub destinations: destinations::Options,
    /// The limits on one import.
    pub import: operations::import::limits::Limits,
    /// Which addresses Holdfast may connect to.
    pub egress: outbound::Policy,
}

/// Holdfast: opens the rooms of the domain and hands them out, on behalf of an actor. Cheap to clone. Calls block
/// unless documented otherwise.
#[derive(Clone)]
pub struct Holdfast {
    base: Arc<Base>,
    context: Context,
}

/// The rooms that no operation uses.
struct Base {
    accounts: Accounts,
    store: Store,
    secrets: Secrets,
}

impl Holdfast {
    /// Opens the directories, the state database and the engines. Errors name the path and the reason.
    pub fn open(options: Options) -> Result<Self> {
        // Dump tools run in other directories, and messages should name complete paths.
        let data_dir = absolute(&options.data_dir)?;
        make_private_dir("data directory", &data_dir)?;
        let directory = BackupDir::open(&absolute(&options.backup_dir)?)?;
        let state = data_dir.join("holdfast.db");
        let store = Store::open(&state)?;
        let repository = Repository::new(directory, &store);
        let run_dir = data_dir.join("run");
        make_private_dir("data directory", &run_dir)?;
        let clock = options.clock;
        let audit = Audit::new(&data_dir, Arc::clone(&clock));
        let egress = outbound::Policy { audit: Some(audit.clone()), ..options.egress };
        let engines = options.engines;
        let machine = EngineContext {
            tool_directories: engines.tool_directories.clone(),
            run_dir,
            path: options.path,
            outbound: egress.clone(),
        };
        let mut targets = options.databases;
        if targets.is_empty() && options.broken.is_empty() {
            targets.push((own_database_name()?, Target::of_file(state.clone())));
        }
        let databases = Databases::new(engines.clone(), machine.clone());
        databases.replace(targets, options.broken);
        let secrets = Secrets::new(data_dir.join("key"));
        let jobs = Jobs::new(store.clone(), Arc::clone(&clock), audit.clone());
        let shared = Shared::new(
            store.clone(),
            secrets.clone(),
            audit.clone(),
            Arc::clone(&clock),
            destinations::Options { egress, ..options.destinations },
        );
        let destinations = Destinations::new(
            shared,
            destinations::kinds::KINDS,
            Arc::clone(&repository.catalog),
            Arc::clone(&repository.directory),
            jobs.clone(),
        );
        let accounts = Accounts::new(store.clone(), secrets.clone(), {
            let clock = Arc::clone(&clock);
            move || clock()
        });
        let rooms = Arc::new(Rooms {
            bundles: Bundles::new(repository.clone(), store.clone(), Arc::clone(&clock)),
            own_files: OwnFiles::new(Arc::clone(&repository.directory), state),
            directory: repository.directory,
            catalog: repository.catalog,
            engines,
            machine,
            databases,
            destinations,
            jobs,
            audit,
            pending_restores: PendingRestores::default(),
            restore_on: options.restore_on,
            effort: options.effort,
            import: options.import,
            clock,
        });
        rooms.jobs.run_with(Arc::new(Operations::on(&rooms)));
        let base = Arc::new(Base { accounts, store, secrets });
        Ok(Self { base, context: Context::new(rooms, Arc::new(Actor::system())) })
    }

    /// The same Holdfast on behalf of `actor`, whom the audit log names for each action.
    #[must_use]
    pub fn on_behalf_of(&self, actor: Actor) -> Self {
        let context = Context::new(Arc::clone(self.context.rooms()), Arc::new(actor));
        Self { base: Arc::clone(&self.base), context }
    }

    /// Locks the directories for a server, reads the key file, and cleans up after an earlier server: its drafts, its
    /// secrets on disk and its unfinished jobs. The server keeps the locks as long as it runs.
    pub fn begin_serving(&self) -> Result<Claim> {
        let locks = self.context.own_files.claim()?;
        self.base.secrets.begin_serving(&self.base.store)?;
        let swept = self.sweep()?;
        let for_tests = self.context.restore_on.iter();
        let for_tests = for_tests.map(|target| Served { name: None, target: target.clone(), setting: ON });
        self.context.databases.begin_serving(&for_tests.collect::<Vec<_>>());
        let interrupted = self.context.jobs.mark_interrupted();
        if swept.drafts + swept.manifests + interrupted > 0 {
            tracing::info!(swept.drafts, swept.manifests, interrupted, "cleaned up after an earlier run");
        }
        Ok(locks)
    }

    /// Deletes the drafts of processes that have died; those of running processes stay.
    pub fn sweep(&self) -> Result<repository::sweep::Swept> {
        self.context.engines.all().try_for_each(|engine| engine.sweep(&self.context.machine))?;
        self.context.directory.sweep()
    }

    /// Re-encrypts all stored secrets with a new key and returns their number. Fails while a server runs.
    pub fn rotate_key(&self) -> Result<usize> {
        let claim = self.context.own_files.claim();
        let rotated = claim.and_then(|_locks| self.base.secrets.rotate(&self.base.store));
        let detail = |count: &usize| format!("{count} re-encrypted");
        self.notes().noted(Event::KeyRotated, "stored secrets", rotated, detail)
    }

    /// Resets the account of a user who lost their password or second factor; see [`Accounts::reset`].
    pub fn reset_account(&self, username: &str) -> Result<Reset> {
        let reset = self.base.accounts.reset(username);
        self.notes().noted(Event::PasswordChanged, username, reset, |reset| {
            let promoted = if reset.promoted { ", made an administrator" } else { "" };
            format!("password reset, second factor turned off{promoted}")
        })
    }

    /// Lists, downloads and deletes backups.
    pub fn backups(&self) -> Backups {
        Backups::new(self.context.clone())
    }

    /// Creates backups.
    pub fn creations(&self) -> Creations {
        Creations::new(self.context.clone())
    }

    /// Verifies and adopts backups.
    pub fn verifications(&self) -> Verifications {
        Verifications::new(self.context.clone())
    }

    /// Restores backups immediately, for the shell.
    pub fn restores(&self) -> Restores {
        Restores::new(self.context.clone())
    }

    /// Plans restores and runs the plans, for the page.
    pub fn restore_plans(&self) -> RestorePlans {
        RestorePlans::new(self.context.clone())
    }

    /// Imports backups.
    pub fn imports(&self) -> Imports {
        Imports::new(self.context.clone())
    }

    /// The databases to back up.
    pub fn databases(&self) -> &Databases {
        &self.context.databases
    }

    /// The destinations for copies.
    pub fn destinations(&self) -> Destinations {
        self.context.destinations()
    }

    /// The accounts and their sessions.
    pub fn accounts(&self) -> &Accounts {
        &self.base.accounts
    }

    /// The queue of jobs.
    pub fn jobs(&self) -> &Jobs {
        &self.context.jobs
    }

    /// The catalog of the backup directory.
    pub fn catalog(&self) -> &Catalog {
        &self.context.catalog
    }

    /// The audit log.
    pub fn audit(&self) -> &Audit {
        &self.context.audit
    }

    /// Writes to the audit log on behalf of the same actor.
    pub fn notes(&self) -> &Notes {
        &self.context.notes
    }

    /// The stream of events.
    pub fn events(&self) -> &Events {
        self.context.audit.events()
    }

    /// Holdfast's own files, which no restore may overwrite.
    pub fn own_files(&self) -> &OwnFiles {
        &self.context.own_files
    }

    /// The backup directory.
    pub fn backup_dir(&self) -> &Path {
        self.context.backup_dir()
    }

    /// The current time of Holdfast's clock.
    pub fn now(&self) -> Stamp {
        self.context.now()
    }
}

fn own_database_name() -> Result<DatabaseName> {
    "holdfast"
        .parse()
        .map_err(|error: crate::model::InvalidName| Error::refusal(Code::InvalidInput, error.to_string()))
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|error| Error::file("Finding", path, error))
}
