//! The domain: files, bytes and databases. Knows no web framework.

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
use crate::domain::events::Events;
use crate::domain::jobs::{Clock, Jobs};
use crate::domain::operations::backups::Backups;
use crate::domain::operations::compress::Effort;
use crate::domain::operations::context::{Context, Rooms};
use crate::domain::operations::create::Creations;
use crate::domain::operations::import::Imports;
use crate::domain::operations::own_files::{Claim, OwnFiles};
use crate::domain::operations::plans::Plans;
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

/// What a holdfast is opened with.
pub struct Options {
    /// Where the state database and the key file lie; made where it is missing.
    pub data_dir: PathBuf,
    /// Where the backups lie; made where it is missing.
    pub backup_dir: PathBuf,
    /// What to back up. Where there is nothing, Holdfast's own state database is.
    pub databases: Vec<(DatabaseName, Target)>,
    /// What was to be backed up and cannot be, since it is set wrongly.
    pub broken: Vec<Broken>,
    /// Where to restore backups of its engine for a test; else on the server of the database they are of.
    pub restore_on: Option<Target>,
    /// The engines there are, and where to look for their programs first.
    pub engines: Engines,
    /// The `PATH` to search.
    pub path: std::ffi::OsString,
    /// Gives the time.
    pub clock: Clock,
    /// How hard backups are compressed.
    pub effort: Effort,
    /// How long to wait for destinations of copies.
    pub destinations: destinations::Options,
    /// How much is imported at a time.
    pub import: operations::import::limits::Limits,
    /// Which addresses are connected to.
    pub egress: outbound::Policy,
}

/// One Holdfast: opens the rooms of the domain and hands them out, on somebody's behalf. Cheap to clone; calls block
/// unless they say otherwise.
#[derive(Clone)]
pub struct Holdfast {
    base: Arc<Base>,
    context: Context,
}

/// What no operation works with.
struct Base {
    accounts: Accounts,
    store: Store,
    secrets: Secrets,
}

impl Holdfast {
    /// Opens the directories, the state database and the engines. Fails naming the path and the reason.
    pub fn open(options: Options) -> Result<Self> {
        // A dump tool works in another directory, and messages are to name places wherever they are read.
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
            plans: Plans::default(),
            restore_on: options.restore_on,
            effort: options.effort,
            import: options.import,
            clock,
        });
        rooms.jobs.run_with(Arc::new(Operations::on(&rooms)));
        let base = Arc::new(Base { accounts, store, secrets });
        Ok(Self { base, context: Context::new(rooms, Arc::new(Actor::system())) })
    }

    /// The same Holdfast on somebody's behalf: what is done with it is noted as done by them.
    #[must_use]
    pub fn on_behalf_of(&self, actor: Actor) -> Self {
        let context = Context::new(Arc::clone(self.context.rooms()), Arc::new(actor));
        Self { base: Arc::clone(&self.base), context }
    }

    /// Claims the directories for a server, reads the key file, and clears away what an earlier one left: its drafts,
    /// its secrets on disk, its unfinished jobs. The locks are held as long as the server runs.
    pub fn begin_serving(&self) -> Result<Claim> {
        let locks = self.context.own_files.claim()?;
        self.base.secrets.begin_serving(&self.base.store)?;
        let swept = self.sweep()?;
        let for_tests = self.context.restore_on.iter();
        let for_tests = for_tests.map(|target| Served { name: None, target: target.clone(), setting: ON });
        self.context.databases.begin_serving(&for_tests.collect::<Vec<_>>());
        let interrupted = self.context.jobs.mark_interrupted();
        if swept.drafts + swept.manifests + interrupted > 0 {
            tracing::info!(
                swept.drafts,
                swept.manifests,
                interrupted,
                "cleared away what an earlier run left"
            );
        }
        Ok(locks)
    }

    /// Clears away the drafts of runs that died. Runs that live keep theirs.
    pub fn sweep(&self) -> Result<repository::sweep::Swept> {
        self.context.engines.all().try_for_each(|engine| engine.sweep(&self.context.machine))?;
        self.context.directory.sweep()
    }

    /// Re-encrypts every stored secret with a new key, while no server runs. Gives their number.
    pub fn rotate_key(&self) -> Result<usize> {
        let claim = self.context.own_files.claim();
        let rotated = claim.and_then(|_locks| self.base.secrets.rotate(&self.base.store));
        let told = |count: &usize| format!("{count} sealed anew");
        self.notes().noted(Event::KeyRotated, "stored secrets", rotated, told)
    }

    /// Lets somebody in who lost their password or second factor; see [`Accounts::reset`].
    pub fn reset_account(&self, username: &str) -> Result<Reset> {
        let reset = self.base.accounts.reset(username);
        self.notes().noted(Event::PasswordChanged, username, reset, |reset| {
            let promoted = if reset.promoted { ", made an administrator" } else { "" };
            format!("reset, the second factor turned off{promoted}")
        })
    }

    /// The list of backups, and what is done with listed ones.
    pub fn backups(&self) -> Backups {
        Backups::new(self.context.clone())
    }

    /// Making backups.
    pub fn creations(&self) -> Creations {
        Creations::new(self.context.clone())
    }

    /// Verifying and adopting backups.
    pub fn verifications(&self) -> Verifications {
        Verifications::new(self.context.clone())
    }

    /// Restoring at once, from a shell.
    pub fn restores(&self) -> Restores {
        Restores::new(self.context.clone())
    }

    /// Restoring by a plan that is read first.
    pub fn restore_plans(&self) -> RestorePlans {
        RestorePlans::new(self.context.clone())
    }

    /// Importing backups.
    pub fn imports(&self) -> Imports {
        Imports::new(self.context.clone())
    }

    /// The databases to back up.
    pub fn databases(&self) -> &Databases {
        &self.context.databases
    }

    /// The destinations of copies.
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

    /// What is in the backup directory.
    pub fn catalog(&self) -> &Catalog {
        &self.context.catalog
    }

    /// The audit log.
    pub fn audit(&self) -> &Audit {
        &self.context.audit
    }

    /// The audit log, for noting things on the same behalf.
    pub fn notes(&self) -> &Notes {
        &self.context.notes
    }

    /// Everything that happens, as a stream.
    pub fn events(&self) -> &Events {
        self.context.audit.events()
    }

    /// Holdfast's own files, which nothing may overwrite.
    pub fn own_files(&self) -> &OwnFiles {
        &self.context.own_files
    }

    /// Where the backups are.
    pub fn backup_dir(&self) -> &Path {
        self.context.backup_dir()
    }

    /// Now, by Holdfast's clock.
    pub fn now(&self) -> Stamp {
        self.context.now()
    }
}

fn own_database_name() -> Result<DatabaseName> {
    "holdfast".parse().map_err(|error: crate::model::InvalidName| Error::Refused(error.to_string()))
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|error| Error::file("Finding", path, error))
}
