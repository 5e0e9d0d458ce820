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

use crate::domain::accounts::users::Reset;
use crate::domain::bundles::{Bundles, OpenBundle};
use crate::domain::databases::list::Broken;
use crate::domain::destinations::Destinations;
use crate::domain::destinations::name::DestinationName;
use crate::domain::destinations::shared::Shared;
use crate::domain::engines::engine::{Database, EngineContext, Served};
use crate::domain::engines::{Engines, Target};
use crate::domain::operations::compress::Effort;
use crate::domain::operations::restore::ON;
use crate::domain::operations::restore_plan::Plans;
use crate::domain::operations::runner::Operations;
use crate::domain::operations::verify::CONFIGURED;
use crate::domain::repository::Repository;
use crate::domain::repository::catalog::Catalog;
use crate::domain::repository::directory::{BackupDir, make_private_dir};
use crate::domain::repository::locks::DirLock;
use crate::domain::repository::read::OpenBackup;
use crate::domain::state::Store;
use crate::domain::state::secrets::Secrets;
use crate::model::audit::{Ending, Event};
use crate::model::{
    ArchiveFormat, Backup, BackupName, BackupsView, Bundled, DatabaseName, Deleted, FileState, Glance, JobId,
    JobState, JobView, Kept, ListQuery, Live, Picked, Proof, Proofs, Stamp, Trend,
};
use accounts::Accounts;
use audit::{Actor, Audit, Noted, ending_of};
pub use error::{Error, Result};
use events::{Events, What};
use jobs::{Cancel, Clock, Finished, JobResult, JobSpec, Jobs, Progress};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where the URLs of the databases are set.
const SETTING: &str = "HOLDFAST_DATABASES";

/// Backups that are named when an archive of them is noted.
const NAMED: usize = 50;

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
    pub import: operations::import::Limits,
    /// Which addresses are connected to.
    pub egress: outbound::Policy,
}

/// Everything Holdfast does. Cheap to clone; calls block unless they say otherwise.
#[derive(Clone)]
pub struct Holdfast {
    inner: Arc<Inner>,
    /// Who has this handle do things.
    by: Arc<Actor>,
}

struct Inner {
    dir: Arc<BackupDir>,
    engines: Engines,
    /// What the engines may use.
    context: EngineContext,
    catalog: Arc<Catalog>,
    bundles: Bundles,
    databases: BTreeMap<DatabaseName, Arc<dyn Database>>,
    /// Those that are set wrongly.
    broken: Vec<Broken>,
    /// Where each of them is.
    targets: BTreeMap<DatabaseName, Target>,
    restore_on: Option<Target>,
    /// The state database's file.
    state: PathBuf,
    plans: Plans,
    accounts: Accounts,
    audit: Audit,
    jobs: Jobs,
    effort: Effort,
    destinations: Destinations,
    store: Store,
    secrets: Secrets,
    import: operations::import::Limits,
    clock: Clock,
}

/// The locks of a server: of its backups, and of its data.
pub type Claim = [DirLock; 2];

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
        let context = EngineContext {
            tool_directories: engines.tool_directories.clone(),
            run_dir,
            path: options.path,
            outbound: egress.clone(),
        };
        let mut targets = options.databases;
        for Broken { sentence, .. } in &options.broken {
            tracing::warn!("{sentence}");
        }
        if targets.is_empty() && options.broken.is_empty() {
            targets.push((own_database_name()?, Target::of_file(state.clone())));
        }
        let targets: BTreeMap<_, _> = targets.into_iter().collect();
        let databases = targets
            .iter()
            .map(|(name, target)| (name.clone(), target.database(name.clone(), &context, SETTING)))
            .collect();
        let secrets = Secrets::new(data_dir.join("key"));
        let jobs = Jobs::new(store.clone(), Arc::clone(&clock), audit.clone());
        let shared = Shared::new(
            store.clone(),
            secrets.clone(),
            audit.clone(),
            Arc::clone(&clock),
            destinations::Options { egress, ..options.destinations },
        );
        let holdfast = Self {
            by: Arc::new(Actor::system()),
            inner: Arc::new(Inner {
                destinations: Destinations::new(
                    shared,
                    destinations::kinds::KINDS,
                    Arc::clone(&repository.catalog),
                    Arc::clone(&repository.directory),
                    jobs.clone(),
                ),
                bundles: Bundles::new(repository.clone(), store.clone(), Arc::clone(&clock)),
                catalog: repository.catalog,
                dir: repository.directory,
                engines,
                context,
                databases,
                broken: options.broken,
                targets,
                restore_on: options.restore_on,
                state,
                plans: Plans::default(),
                accounts: Accounts::new(store.clone(), secrets.clone(), {
                    let clock = Arc::clone(&clock);
                    move || clock()
                }),
                effort: options.effort,
                import: options.import,
                jobs,
                audit,
                store,
                secrets,
                clock,
            }),
        };
        holdfast.inner.jobs.run_with(Arc::new(Operations::of(&holdfast)));
        Ok(holdfast)
    }

    /// Claims the directories for a server, looks at the key file, and clears away what an earlier one left: its
    /// drafts, its secrets on disk, its unfinished jobs. The locks are held as long as the server runs.
    pub fn begin_serving(&self) -> Result<Claim> {
        let locks = self.claim()?;
        self.inner.secrets.begin_serving(&self.inner.store)?;
        let swept = self.inner.dir.sweep()?;
        self.sweep_engines()?;
        self.begin_engines();
        let interrupted = self.inner.jobs.mark_interrupted();
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

    /// Seals every stored secret anew with a new key, while no server runs. Gives their number.
    pub fn rotate_key(&self) -> Result<usize> {
        let rotated = self.claim().and_then(|_locks| self.inner.secrets.rotate(&self.inner.store));
        self.noted(Event::KeyRotated, "stored secrets", rotated, |count| format!("{count} sealed anew"))
    }

    /// Lets somebody in who lost their password or second factor; see [`Accounts::reset`].
    pub fn reset_account(&self, username: &str) -> Result<Reset> {
        let reset = self.inner.accounts.reset(username);
        self.noted(Event::PasswordChanged, username, reset, |reset| {
            let promoted = if reset.promoted { ", made an administrator" } else { "" };
            format!("reset, the second factor turned off{promoted}")
        })
    }

    fn claim(&self) -> Result<Claim> {
        let data = self.inner.state.parent().unwrap_or(Path::new("/"));
        Ok([self.inner.dir.lock_for_server()?, BackupDir::lock_data(data)?])
    }

    /// Clears away the drafts of runs that died. Runs that live keep theirs.
    pub fn sweep(&self) -> Result<repository::sweep::Swept> {
        self.sweep_engines()?;
        self.inner.dir.sweep()
    }

    fn sweep_engines(&self) -> Result<()> {
        self.inner.engines.all().try_for_each(|engine| engine.sweep(&self.inner.context))
    }

    /// Has each engine look at the databases it is to work with.
    fn begin_engines(&self) {
        let configured =
            self.inner.targets.iter().map(|(name, target)| (Some(name.clone()), target, CONFIGURED));
        let named = self.inner.restore_on.iter().map(|target| (None, target, ON));
        let all: Vec<_> = configured.chain(named).collect();
        for engine in self.inner.engines.all() {
            let own = all.iter().filter(|(_, target, _)| target.kind() == engine.kind());
            let served = own.map(|(name, target, setting)| Served {
                name: name.clone(),
                target: (*target).clone(),
                setting,
            });
            engine.begin_serving(&self.inner.context, &served.collect::<Vec<_>>());
        }
    }

    /// The destinations of copies, in the hands of whoever has this handle.
    pub fn destinations(&self) -> Destinations {
        self.inner.destinations.on_behalf_of(Arc::clone(&self.by))
    }

    /// The accounts and their sessions.
    pub fn accounts(&self) -> &Accounts {
        &self.inner.accounts
    }

    /// The same holdfast in somebody's hands: what is done with it is noted as done by them.
    #[must_use]
    pub fn on_behalf_of(&self, by: Actor) -> Self {
        Self { inner: Arc::clone(&self.inner), by: Arc::new(by) }
    }

    /// The audit log.
    pub fn audit(&self) -> &Audit {
        &self.inner.audit
    }

    /// Everything that happens, as a stream.
    pub fn events(&self) -> &Events {
        self.inner.audit.events()
    }

    /// Notes in the audit log what whoever has this handle did, or did not.
    pub fn note(&self, event: Event, object: &str, outcome: Ending, detail: &str) {
        self.inner.audit.note(&self.by, event, object, outcome, detail);
    }

    /// The same of several things, which become durable together.
    pub fn note_all(&self, all: &[Noted]) {
        self.inner.audit.note_all(&self.by, all);
    }

    /// The same of what anybody can have happen; see [`Audit::note_of_stranger`].
    pub fn note_of_stranger(&self, event: Event, object: &str, outcome: Ending, detail: &str) {
        self.inner.audit.note_of_stranger(&self.by, event, object, outcome, detail);
    }

    /// The same of how something came out.
    pub fn noted<T>(
        &self,
        event: Event,
        object: &str,
        result: Result<T>,
        told: impl FnOnce(&T) -> String,
    ) -> Result<T> {
        match &result {
            Ok(done) => self.note(event, object, Ending::Ok, &told(done)),
            Err(error) => self.note(event, object, ending_of(error), &error.to_string()),
        }
        result
    }

    /// Queues a job; how it ends is noted as done by whoever has this handle.
    fn queue(&self, spec: JobSpec) -> Result<JobId> {
        self.inner.jobs.queue(Arc::clone(&self.by), spec)
    }

    /// Notes a refusal to begin a job. What was begun is noted when it ends.
    fn noted_unless_begun<T>(&self, event: Event, object: &str, result: Result<T>) -> Result<T> {
        result.inspect_err(|error| self.note(event, object, ending_of(error), &error.to_string()))
    }

    /// Asks a job to stop; see [`Jobs::cancel`].
    pub fn cancel(&self, id: JobId) -> Result<()> {
        let job = self.inner.jobs.get(id);
        if job.as_ref().is_some_and(|job| !job.state.is_active()) {
            return Ok(());
        }
        let object = job.map_or_else(|| format!("Job {id}"), |job| format!("Job {id}: {}", job.task.title()));
        self.noted(Event::JobCancelled, &object, self.inner.jobs.cancel(id), |()| String::new())
    }

    /// The queue of backups.
    pub fn jobs(&self) -> &Jobs {
        &self.inner.jobs
    }

    /// What is in the backup directory.
    pub fn catalog(&self) -> &Catalog {
        &self.inner.catalog
    }

    /// Where the backups lie.
    pub fn backup_dir(&self) -> &Path {
        self.inner.dir.path()
    }

    /// Now, by the holdfast's clock.
    pub fn now(&self) -> Stamp {
        (self.inner.clock)()
    }

    /// Everything the backups page shows, `jobs` being the ones it was opened to see.
    pub fn backups_view(&self, query: &ListQuery, jobs: &[JobId]) -> Result<BackupsView> {
        let backups = self.inner.catalog.list()?;
        let failing = self.inner.jobs.failing();
        let glance = |name: &DatabaseName| Glance {
            name: name.clone(),
            newest: backups
                .iter()
                .filter(|b| b.state == FileState::Whole && b.database.as_deref() == Some(name.as_str()))
                .map(|b| b.created)
                .max(),
            failing: failing.contains(name),
        };
        let list = query.page_of(&backups, self.now());
        Ok(BackupsView {
            databases: self.database_names().iter().map(glance).collect(),
            off_site: self.inner.destinations.off_site_view(&backups, &list),
            list,
            proofs: proofs_of(&backups),
            trend: Trend::of(&backups, self.now()),
            live: self.live(),
            jobs: self.jobs_and_what_followed(jobs),
            outcome: None,
        })
    }

    /// These jobs, each with the one that went on from it.
    fn jobs_and_what_followed(&self, ids: &[JobId]) -> Vec<JobView> {
        const SHOWN: usize = 20;
        let mut found = Vec::new();
        for id in ids.iter().take(SHOWN) {
            let mut next = Some(*id);
            while let Some(job) = next.and_then(|id| self.inner.jobs.get(id)) {
                next = match job.state {
                    JobState::Done { then, .. } => then,
                    _ => None,
                };
                found.push(job);
            }
        }
        found
    }

    /// Every backup the filter of `query` lets through, for selecting them all.
    pub fn matching(&self, query: &ListQuery) -> Result<Vec<Picked>> {
        let all = self.inner.catalog.list()?;
        Ok(query.matching(&all).into_iter().map(|b| Picked { name: b.name.clone(), size: b.size }).collect())
    }

    /// The backups among `names`, with their sizes, in that order and each once.
    pub fn named(&self, names: &[String]) -> Vec<Picked> {
        let mut seen = BTreeSet::new();
        let names = names.iter().filter_map(|name| name.parse::<BackupName>().ok());
        names
            .filter(|name| seen.insert(name.clone()))
            .filter_map(|name| self.inner.catalog.get(&name).ok())
            .map(|backup| Picked { name: backup.name, size: backup.size })
            .collect()
    }

    /// Deletes the backups among `names` and says of each whether it is gone. One that cannot be deleted
    /// stops none of the others.
    pub fn delete(&self, names: &[String]) -> Result<Deleted> {
        let mut deleted = Deleted { gone: self.named(names), kept: Vec::new() };
        let mut known: BTreeSet<&str> = deleted.gone.iter().map(|backup| backup.name.as_str()).collect();
        for name in names {
            if known.insert(name) {
                deleted.kept.push(Kept {
                    name: name.clone(),
                    reason: "There is no backup of that name; it may already have been deleted.".to_owned(),
                });
            }
        }
        self.note_none_of(Event::BackupDeleted, &deleted.kept);
        let found: Vec<_> = deleted.gone.iter().map(|backup| backup.name.clone()).collect();
        let answers = self.inner.dir.remove(&found).inspect_err(|error| {
            let failed = |name: &BackupName| Noted::of(Event::BackupDeleted, name.as_str(), error);
            self.note_all(&found.iter().map(failed).collect::<Vec<_>>());
        })?;
        let mut happened = Vec::new();
        let mut gone = Vec::new();
        for (backup, answer) in deleted.gone.into_iter().zip(answers) {
            match answer {
                Ok(()) => {
                    tracing::info!(file = %backup.name, size = backup.size, "backup deleted");
                    happened.push(What::BackupDeleted { file: backup.name.clone(), size: backup.size });
                    gone.push(backup);
                }
                Err(error) => {
                    tracing::error!(file = %backup.name, %error, "a backup could not be deleted");
                    let noted = Noted::of(Event::BackupDeleted, backup.name.as_str(), &error);
                    happened.push(What::Noted(noted));
                    deleted.kept.push(Kept { name: backup.name.to_string(), reason: error.to_string() });
                }
            }
        }
        self.inner.audit.tell(&self.by, happened);
        Ok(Deleted { gone, kept: deleted.kept })
    }

    /// Notes names that were asked for and are none, all in one: there may be any number of them.
    fn note_none_of(&self, event: Event, none: &[Kept]) {
        if let Some(first) = none.first() {
            let detail = format!("{} of the names were no backup's.", none.len());
            self.note(event, &first.name, Ending::Refused, &detail);
        }
    }

    /// Queues a backup of `database`, and with `upload` its upload once it is made: a job of its own, so that
    /// a failed upload undoes nothing.
    pub fn start_backup(&self, database: &DatabaseName, upload: bool) -> Result<JobId> {
        let begun = self.begin_backup(database, upload);
        self.noted_unless_begun(Event::BackupCreated, database.as_str(), begun)
    }

    fn begin_backup(&self, database: &DatabaseName, upload: bool) -> Result<JobId> {
        // The job looks the database up again when it begins.
        self.database(database)?;
        let destinations = self.destinations();
        let there = if upload { Some(destinations) } else { destinations.for_new_backups() };
        let upload = there.map(|there| there.ready()).transpose()?.map(|there| there.name().clone());
        self.queue(JobSpec::Backup { database: database.clone(), upload })
    }

    /// Does what [`JobSpec::Backup`] says.
    fn run_backup(
        &self,
        database: &DatabaseName,
        upload: Option<&DestinationName>,
        cancel: &Cancel,
        progress: &dyn Progress,
    ) -> Result<JobResult> {
        let engine = self.database(database)?;
        let made = self.create(database, &*engine, cancel, progress)?;
        match upload.map(|there| self.destinations().at(there).start_upload(&made.file)).transpose() {
            Ok(then) => Ok(Finished { then, ..made }.into()),
            Err(error) => {
                tracing::error!(%error, "an upload could not be queued");
                let told = format!("It was not sent off-site: {error}");
                let warnings = made.warnings.map(|more| format!("{more} {told}")).or(Some(told));
                Ok(Finished { warnings, ..made }.into())
            }
        }
    }

    /// Backs `database` up here and now, outside the queue.
    pub fn back_up(
        &self,
        database: &DatabaseName,
        cancel: &Cancel,
        progress: &dyn Progress,
    ) -> Result<Finished> {
        let engine = self.database(database)?;
        let created = self.create(database, &*engine, cancel, progress);
        self.noted(Event::BackupCreated, database.as_str(), created, Finished::told)
    }

    fn create(
        &self,
        name: &DatabaseName,
        database: &dyn Database,
        cancel: &Cancel,
        progress: &dyn Progress,
    ) -> Result<Finished> {
        let engine = self.inner.engines.get(&database.kind()).ok_or(Error::Lost)?;
        operations::create::create(
            &self.inner.dir,
            name,
            database,
            engine.backup_format(),
            self.now(),
            self.inner.effort,
            cancel,
            progress,
        )
    }

    /// Opens one backup to be downloaded.
    pub fn open_backup(&self, name: &BackupName) -> Result<OpenBackup> {
        OpenBackup::open(&self.inner.catalog, name)
    }

    /// Gives an archive of the named backups an address of `account`'s own; see [`Bundles::make`].
    pub fn bundle(&self, account: i64, names: Vec<String>, format: ArchiveFormat) -> Result<Bundled> {
        let asked = names.clone();
        let made = self.inner.bundles.make(account, names, format);
        self.noted(Event::ArchiveMade, format.file_name(), made, |made| match &made.address {
            Some(address) => {
                let missing: BTreeSet<&str> = made.missing.iter().map(String::as_str).collect();
                let there = asked.iter().map(String::as_str).filter(|name| !missing.contains(name));
                // More does not fit the field.
                let first: Vec<_> = there.take(NAMED).collect();
                format!("{address}, {} backups, {} bytes: {}", made.files, made.size, first.join(" "))
            }
            None => "None of the names was a backup's, and no archive was made.".to_owned(),
        })
    }

    /// Opens an archive of `account`'s to be downloaded; see [`Bundles::open`].
    pub fn open_bundle(&self, account: i64, id: &str, format: ArchiveFormat) -> Result<OpenBundle> {
        self.inner.bundles.open(account, id, format)
    }

    /// What every open page is told.
    pub fn live(&self) -> Live {
        Live {
            now: self.now(),
            catalog: self.inner.catalog.version().wrapping_add(self.inner.destinations.changes()),
            jobs: self.inner.jobs.current(),
        }
    }
}

fn proofs_of(backups: &[Backup]) -> Proofs {
    let mut proofs = Proofs::default();
    for backup in backups {
        proofs.bare += u64::from(backup.state == FileState::NoManifest);
        match backup.verified.as_ref().map(|verified| verified.proof) {
            None => {}
            Some(Proof::Readable | Proof::Restored) => proofs.good += 1,
            Some(Proof::Damaged | Proof::Unrestored) => proofs.bad += 1,
        }
    }
    proofs
}

fn own_database_name() -> Result<DatabaseName> {
    "holdfast".parse().map_err(|error: crate::model::InvalidName| Error::Refused(error.to_string()))
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|error| Error::file("Finding", path, error))
}
