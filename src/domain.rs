//! The domain: files, bytes and databases. Knows no web framework.

pub mod accounts;
pub mod audit;
pub mod bundles;
pub mod databases;
pub mod destinations;
pub mod engines;
pub mod error;
pub mod jobs;
pub mod operations;
pub mod outbound;
pub mod repository;
pub mod state;

use crate::domain::accounts::users::Reset;
use crate::domain::bundles::{Bundles, OpenBundle};
use crate::domain::databases::list::Broken;
use crate::domain::destinations::Destinations;
use crate::domain::destinations::kinds::KINDS;
use crate::domain::destinations::shared::Shared;
use crate::domain::engines::postgres::server::Server;
use crate::domain::engines::{Cancel, Engine, PostgresTools, Target};
use crate::domain::operations::compress::Effort;
use crate::domain::operations::restore_plan::Plans;
use crate::domain::repository::catalog::Catalog;
use crate::domain::repository::publish::{BackupDir, DirLock};
use crate::domain::repository::read::OpenBackup;
use crate::domain::state::Store;
use crate::domain::state::secrets::Secrets;
use crate::model::audit::{Ending, Event};
use crate::model::{
    ArchiveFormat, Backup, BackupName, BackupsView, Bundled, DatabaseName, Deleted, FileState, Glance, JobId,
    JobState, JobView, Kept, ListQuery, Live, Picked, Proof, Proofs, Stamp, Task, Trend,
};
use accounts::Accounts;
use audit::{Audit, By, Noted, ending_of};
pub use error::{Error, Result};
use jobs::{Clock, Finished, Jobs, Progress};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

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
    /// Where to restore PostgreSQL backups for a test; else on the server of the database they are of.
    pub restore_on: Option<Server>,
    /// Where to look for PostgreSQL's programs: a directory that comes first, and a `PATH`.
    pub postgres_bin: Option<PathBuf>,
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
    by: Arc<By>,
}

struct Inner {
    dir: Arc<BackupDir>,
    tools: PostgresTools,
    catalog: Arc<Catalog>,
    bundles: Bundles,
    databases: BTreeMap<DatabaseName, Arc<dyn Engine>>,
    /// Those that are set wrongly.
    broken: Vec<Broken>,
    /// Where each of them is.
    targets: BTreeMap<DatabaseName, Target>,
    restore_on: Option<Server>,
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
        repository::publish::make_private_dir("data directory", &data_dir)?;
        let dir = Arc::new(BackupDir::open(&absolute(&options.backup_dir)?)?);
        let state = data_dir.join("holdfast.db");
        let store = Store::open(&state)?;
        let run_dir = data_dir.join("run");
        repository::publish::make_private_dir("data directory", &run_dir)?;
        let clock = options.clock;
        let audit = Audit::new(&data_dir, Arc::clone(&clock));
        let egress = outbound::Policy { audit: Some(audit.clone()), ..options.egress };
        let tools = PostgresTools {
            egress: egress.clone(),
            ..PostgresTools::new(options.postgres_bin, run_dir, options.path)
        };
        let mut targets = options.databases;
        for Broken { sentence, .. } in &options.broken {
            tracing::warn!("{sentence}");
        }
        if targets.is_empty() && options.broken.is_empty() {
            targets.push((own_database_name()?, Target::Sqlite(state.clone())));
        }
        let targets: BTreeMap<_, _> = targets.into_iter().collect();
        let databases = targets
            .iter()
            .map(|(name, target)| (name.clone(), target.engine(name.clone(), &tools)))
            .collect();
        let secrets = Secrets::new(data_dir.join("key"));
        let catalog = Arc::new(Catalog::new(Arc::clone(&dir)));
        let jobs = Jobs::new(store.clone(), Arc::clone(&clock), audit.clone());
        let shared = Shared::new(
            store.clone(),
            secrets.clone(),
            audit.clone(),
            Arc::clone(&clock),
            destinations::Options { egress, ..options.destinations },
        );
        Ok(Self {
            by: Arc::new(By::system()),
            inner: Arc::new(Inner {
                destinations: Destinations::new(
                    shared,
                    KINDS,
                    Arc::clone(&catalog),
                    Arc::clone(&dir),
                    jobs.clone(),
                ),
                bundles: Bundles::new(Arc::clone(&catalog), store.clone(), Arc::clone(&clock)),
                catalog,
                dir,
                tools,
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
        })
    }

    /// Claims the directories for a server, looks at the key file, and clears away what an earlier one left: its
    /// drafts, its secrets on disk, its unfinished jobs. The locks are held as long as the server runs.
    pub fn begin_serving(&self) -> Result<Claim> {
        let locks = self.claim()?;
        self.inner.secrets.begin_serving(&self.inner.store)?;
        let swept = self.inner.dir.sweep()?;
        self.inner.tools.sweep_run_dir()?;
        self.clear_scratch();
        self.warn_of_files();
        if self.inner.targets.values().any(|target| matches!(target, Target::Postgres(_))) {
            // A tool that hangs is to hold up nobody.
            let tools = self.inner.tools.clone();
            let looking = std::thread::Builder::new().spawn(move || tools.warn_of_faults());
            drop(looking);
        }
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
    pub fn sweep(&self) -> Result<repository::publish::Swept> {
        self.inner.tools.sweep_run_dir()?;
        self.inner.dir.sweep()
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
    pub fn on_behalf_of(&self, by: By) -> Self {
        Self { inner: Arc::clone(&self.inner), by: Arc::new(by) }
    }

    /// The audit log.
    pub fn audit(&self) -> &Audit {
        &self.inner.audit
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

    /// The same where it came to nothing; what was begun is noted when it ends.
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
        let mut noted = Vec::new();
        let mut gone = Vec::new();
        for (backup, answer) in deleted.gone.into_iter().zip(answers) {
            match answer {
                Ok(()) => {
                    tracing::info!(file = %backup.name, size = backup.size, "backup deleted");
                    let detail = format!("{} bytes", backup.size);
                    noted.push(Noted::new(Event::BackupDeleted, backup.name.as_str(), Ending::Ok, detail));
                    gone.push(backup);
                }
                Err(error) => {
                    tracing::error!(file = %backup.name, %error, "a backup could not be deleted");
                    noted.push(Noted::of(Event::BackupDeleted, backup.name.as_str(), &error));
                    deleted.kept.push(Kept { name: backup.name.to_string(), reason: error.to_string() });
                }
            }
        }
        self.note_all(&noted);
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
        let engine = self.engine(database)?;
        let destinations = self.destinations();
        let there = if upload { Some(destinations) } else { destinations.for_new_backups() };
        if let Some(there) = &there {
            there.ready()?;
        }
        let (holdfast, name) = (self.clone(), database.clone());
        self.inner.jobs.start_for(
            Arc::clone(&self.by),
            None,
            Task::Create(name.clone()),
            Box::new(move |cancel, progress| {
                let made = holdfast.create(&name, &*engine, cancel, progress)?;
                match there.map(|there| there.start_upload(&made.file)).transpose() {
                    Ok(then) => Ok(Finished { then, ..made }.into()),
                    Err(error) => {
                        tracing::error!(%error, "an upload could not be queued");
                        let told = format!("It was not sent off-site: {error}");
                        let warnings = made.warnings.map(|more| format!("{more} {told}")).or(Some(told));
                        Ok(Finished { warnings, ..made }.into())
                    }
                }
            }),
        )
    }

    /// Backs `database` up here and now, outside the queue.
    pub fn back_up(
        &self,
        database: &DatabaseName,
        cancel: &Cancel,
        progress: &dyn Progress,
    ) -> Result<Finished> {
        let engine = self.engine(database)?;
        let created = self.create(database, &*engine, cancel, progress);
        self.noted(Event::BackupCreated, database.as_str(), created, Finished::told)
    }

    fn create(
        &self,
        database: &DatabaseName,
        engine: &dyn Engine,
        cancel: &Cancel,
        progress: &dyn Progress,
    ) -> Result<Finished> {
        operations::create::create(
            &self.inner.dir,
            database,
            engine,
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
