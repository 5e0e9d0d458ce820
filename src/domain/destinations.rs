//! Off-site destinations, and the copies of backups there: upload, list, fetch, verify, delete.

pub mod attempt;
pub mod copies;
pub mod destination;
pub mod directory;
pub mod fault;
pub mod kind;
pub mod kinds;
pub mod listing;
pub mod name;
pub mod outgoing;
mod probe_limit;
pub mod settings_rows;
pub mod sftp;
pub mod shared;
pub mod transfer;

pub use shared::Options;

use crate::domain::audit::{Actor, Notes};
use crate::domain::destinations::attempt::{Attempt, Lessons, ReportProgress, Uploaded};
use crate::domain::destinations::destination::Destination;
use crate::domain::destinations::fault::FaultKind;
use crate::domain::destinations::kind::{Access, Configured, Kind, Opening};
use crate::domain::destinations::listing::Fetched;
use crate::domain::destinations::name::DestinationName;
use crate::domain::destinations::outgoing::Outgoing;
use crate::domain::destinations::shared::Shared;
use crate::domain::engines::Cancel;
use crate::domain::error::{Code, Error, Result};
use crate::domain::jobs::{Finished, JobResult, JobSpec, Jobs, Progress};
use crate::domain::random;
use crate::domain::repository::catalog::Catalog;
use crate::domain::repository::directory::BackupDir;
use crate::model::audit::Event;
use crate::model::outcome::{listed, printable};
use crate::model::{
    Backup, BackupName, JobId, Kept, ListPage, OffSite, OffSiteView, Outcome, Phase, Queued, RemoteBackup,
    Whereabouts,
};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The destinations, and the actor who uses them. Cheap to clone; calls block.
///
/// Each function uses the destination chosen with [`Self::at`]. Without a choice it uses the first one that
/// is enabled, else the first one that is set up.
#[derive(Clone)]
pub struct Destinations {
    inner: Arc<Inner>,
    notes: Notes,
    chosen: Option<DestinationName>,
}

struct Inner {
    shared: Shared,
    kinds: &'static [&'static dyn Kind],
    catalog: Arc<Catalog>,
    dir: Arc<BackupDir>,
    jobs: Jobs,
    uploading: Mutex<BTreeSet<(DestinationName, BackupName)>>,
    changes: AtomicU64,
}

impl Destinations {
    /// The destinations of these kinds, for the backups in `dir`, which `catalog` lists.
    pub fn new(
        shared: Shared,
        kinds: &'static [&'static dyn Kind],
        catalog: Arc<Catalog>,
        dir: Arc<BackupDir>,
        jobs: Jobs,
    ) -> Self {
        let inner = Inner {
            shared,
            kinds,
            catalog,
            dir,
            jobs,
            uploading: Mutex::default(),
            changes: AtomicU64::new(0),
        };
        Self {
            notes: Notes::new(inner.shared.audit.clone(), Arc::new(Actor::system())),
            inner: Arc::new(inner),
            chosen: None,
        }
    }

    /// The same destinations for another actor: the audit log names the actor of `notes` for what is done with them.
    #[must_use]
    pub fn on_behalf_of(&self, notes: Notes) -> Self {
        Self { notes, ..self.clone() }
    }

    /// The same destinations, with `name` chosen.
    #[must_use]
    pub fn at(&self, name: &DestinationName) -> Self {
        Self { chosen: Some(name.clone()), ..self.clone() }
    }

    /// The audit log, for the same actor.
    pub fn notes(&self) -> &Notes {
        &self.notes
    }

    /// What all destinations share.
    pub fn shared(&self) -> &Shared {
        &self.inner.shared
    }

    /// The directory of the local backups.
    pub fn backup_dir(&self) -> &BackupDir {
        &self.inner.dir
    }

    /// Every destination that is set up. Opens no secret and connects to none.
    pub fn all(&self) -> Result<Vec<Box<dyn Configured>>> {
        let mut all = Vec::new();
        for kind in self.inner.kinds {
            all.extend(kind.configured(&self.inner.shared)?);
        }
        Ok(all)
    }

    /// The chosen destination, enabled or not. Fails if none is set up.
    pub fn destination(&self) -> Result<Box<dyn Configured>> {
        let mut all = self.all()?;
        let at = match &self.chosen {
            Some(name) => all.iter().position(|known| known.name() == name),
            None => all.iter().position(|known| known.is_enabled()).or((!all.is_empty()).then_some(0)),
        };
        match (at, &self.chosen) {
            (Some(at), _) => Ok(all.swap_remove(at)),
            (None, Some(name)) => {
                Err(Error::refusal(Code::DestinationNotFound, format!("There is no destination {name}.")))
            }
            (None, None) => Err(Error::refusal(
                Code::DestinationOff,
                "No destination for off-site copies is set up. Set one up under Settings.".to_owned(),
            )),
        }
    }

    /// The chosen destination, if it is enabled. The error says what to do first.
    pub fn ready(&self) -> Result<Box<dyn Configured>> {
        let off =
            || Error::refusal(Code::DestinationOff, "Off-site storage is off. Turn it on under Settings.");
        let destination = match &self.chosen {
            Some(_) => Some(self.destination()?),
            None => self.all()?.into_iter().find(|known| known.is_enabled()),
        };
        destination.filter(|destination| destination.is_enabled()).ok_or_else(off)
    }

    /// The destination for new backups: the first one that is enabled and set to receive them. If the
    /// settings cannot be read, there is none, so that the backup does not fail.
    pub fn for_new_backups(&self) -> Option<Self> {
        let all = self.all().inspect_err(|error| tracing::error!(%error, "could not read the destinations"));
        let all = all.unwrap_or_default().into_iter();
        let first = all.filter(|known| known.is_enabled()).find(|known| known.sends_new());
        first.map(|destination| self.at(destination.name()))
    }

    /// A counter that rises whenever [`Self::off_site_view`] may have changed.
    pub fn changes(&self) -> u64 {
        self.inner.changes.load(Ordering::Relaxed)
    }

    fn changed(&self) {
        self.inner.changes.fetch_add(1, Ordering::Relaxed);
    }

    /// Uploads a backup, retrying if the connection fails, and records the result. The local backup never
    /// changes.
    pub fn upload(&self, name: &BackupName, cancel: &Cancel, report: ReportProgress<'_>) -> Result<Uploaded> {
        let Inner { catalog, dir, shared, .. } = &*self.inner;
        catalog.get(name)?;
        let destination = self.ready()?;
        let access = destination.access(shared)?;
        let _claim = self.claim(destination.name(), name)?;
        let result = Outgoing::open(catalog, name, dir.path().join(name.as_str()), cancel)
            .and_then(|backup| self.send(&*access, &backup, cancel, report));
        let at = (shared.clock)();
        let state = match &result {
            Ok(Uploaded { dropped: Some(_), .. }) => Some(OffSite::Sent { at }),
            Ok(Uploaded { verified: true, .. }) => Some(OffSite::Verified { at }),
            Ok(_) => Some(OffSite::Uploaded { at }),
            // Cancelling is not a failure, and a failed connection proves nothing about an existing copy.
            Err(Error::Cancelled) => None,
            Err(Error::OffSite(fault)) if fault.is_passing() && self.was_there(destination.name(), name) => {
                None
            }
            Err(error) => Some(OffSite::Failed { why: error.to_string(), at }),
        };
        if let Some(state) = state
            && let Err(error) = shared.copies.set(name, destination.name(), &state)
        {
            tracing::error!(%error, %name, "could not record the result of an upload");
        }
        result
    }

    fn was_there(&self, destination: &DestinationName, name: &BackupName) -> bool {
        self.inner.shared.copies.get(name, destination).is_ok_and(|state| is_there(&state))
    }

    fn send(
        &self,
        access: &dyn Access,
        backup: &Outgoing,
        cancel: &Cancel,
        report: ReportProgress<'_>,
    ) -> Result<Uploaded> {
        let options = &self.inner.shared.options;
        let lessons = Lessons::default();
        let attempt = Attempt { read_back: options.read_back, cancel, report, lessons: &lessons };
        let mut tries = 0;
        loop {
            report(Phase::Connecting, 0, 0);
            let opened = access.open(&self.opening(cancel, false));
            match opened.and_then(|destination| destination.upload(backup, &attempt)) {
                Err(Error::OffSite(fault))
                    if fault.is_passing() && tries < options.retries && lessons.is_worth_another(&fault) =>
                {
                    tracing::warn!(name = %backup.name(), tries, %fault, "an upload was interrupted and \
                                                                          will be retried");
                    report(Phase::Waiting, 0, 0);
                    wait(with_jitter(options.back_off.saturating_mul(1 << tries.min(10))), cancel)?;
                    tries += 1;
                }
                other => return other,
            }
        }
    }

    /// Queues the upload of a listed backup.
    pub fn start_upload(&self, name: &BackupName) -> Result<JobId> {
        let begun = self.begin_upload(name);
        self.notes.noted_unless_begun(Event::BackupUploaded, name.as_str(), begun)
    }

    fn begin_upload(&self, name: &BackupName) -> Result<JobId> {
        let destination = self.ready()?;
        self.inner.catalog.get(name)?;
        let destination = destination.name().clone();
        self.inner
            .jobs
            .queue(Arc::clone(self.notes.actor()), JobSpec::Upload { file: name.clone(), destination })
    }

    /// Runs [`JobSpec::Upload`].
    pub(in crate::domain) fn run_upload(
        &self,
        name: &BackupName,
        cancel: &Cancel,
        progress: &dyn Progress,
    ) -> Result<JobResult> {
        let label = self.ready()?.label().to_owned();
        let sent = self.upload(name, cancel, &reporter(progress))?;
        let warnings = sent.remark(&label);
        Ok(Finished { file: name.clone(), size: sent.size, warnings, then: None }.into())
    }

    /// Queues fetching a copy back.
    pub fn start_fetch(&self, name: &BackupName) -> Result<JobId> {
        let begun = self.begin_fetch(name);
        self.notes.noted_unless_begun(Event::BackupFetched, name.as_str(), begun)
    }

    fn begin_fetch(&self, name: &BackupName) -> Result<JobId> {
        let destination = self.ready()?.name().clone();
        self.inner
            .jobs
            .queue(Arc::clone(self.notes.actor()), JobSpec::Fetch { file: name.clone(), destination })
    }

    /// Runs [`JobSpec::Fetch`].
    pub(in crate::domain) fn run_fetch(
        &self,
        name: &BackupName,
        cancel: &Cancel,
        progress: &dyn Progress,
    ) -> Result<JobResult> {
        let fetched = self.fetch(name, cancel, &reporter(progress))?;
        let warnings = (!fetched.checked).then(|| {
            "The copy has no manifest, so its content was not \
             checked."
                .to_owned()
        });
        Ok(Finished { file: name.clone(), size: fetched.size, warnings, then: None }.into())
    }

    /// Queues one transfer for each of `names`; a refused one does not stop the others.
    pub fn start_each(
        &self,
        names: &[String],
        start: impl Fn(&Self, &BackupName) -> Result<JobId>,
    ) -> Result<Queued> {
        self.ready()?;
        let mut queued = Queued::default();
        for name in names.iter().collect::<BTreeSet<_>>() {
            let begun = name
                .parse::<BackupName>()
                .map_err(|error| Error::refusal(Code::InvalidInput, error.to_string()))
                .and_then(|name| start(self, &name));
            match begun {
                Ok(job) => queued.jobs.push(job),
                Err(error) => {
                    tracing::warn!(%error, "a transfer was not queued");
                    queued.refused.push(Kept { name: name.clone(), reason: error.to_string() });
                }
            }
        }
        Ok(queued)
    }

    /// Every backup that is local or at the destination. Updates what is recorded about the copies.
    pub fn listing(&self) -> Result<Vec<RemoteBackup>> {
        let here = self.inner.catalog.list()?;
        let (configured, there) = self.call(&Cancel::default())?;
        let found = match listing::compare(&*there, &here) {
            Err(Error::OffSite(fault)) if there.is_write_only() && !fault.is_passing() => {
                return Err(listing::hidden(there.place()));
            }
            found => found?,
        };
        // A drop box may hide files as soon as they arrive, and listed ones were not read.
        if !there.is_write_only() {
            self.correct_copies(configured.name(), &found)?;
        }
        self.changed();
        Ok(found)
    }

    /// Fetches a copy back into the backup directory.
    pub fn fetch(&self, name: &BackupName, cancel: &Cancel, report: ReportProgress<'_>) -> Result<Fetched> {
        self.read_copy(name, cancel, report, |there| {
            listing::fetch(there, &self.inner.dir, name, cancel, report)
        })
    }

    /// Reads a copy at the destination to its end and compares it with its manifest.
    pub fn verify(&self, name: &BackupName, cancel: &Cancel, report: ReportProgress<'_>) -> Result<Fetched> {
        self.read_copy(name, cancel, report, |there| listing::verify(there, name, cancel, report))
    }

    fn read_copy(
        &self,
        name: &BackupName,
        cancel: &Cancel,
        report: ReportProgress<'_>,
        read: impl FnOnce(&dyn Destination) -> Result<Fetched>,
    ) -> Result<Fetched> {
        report(Phase::Connecting, 0, 0);
        let (configured, there) = self.call(cancel)?;
        let fetched = match read(&*there) {
            Err(Error::OffSite(fault))
                if there.is_write_only()
                    && matches!(fault.kind, FaultKind::Permission | FaultKind::Other) =>
            {
                return Err(listing::hidden(there.place()));
            }
            fetched => fetched?,
        };
        if fetched.checked && !there.is_write_only() {
            let shared = &self.inner.shared;
            shared.copies.set(name, configured.name(), &OffSite::Verified { at: (shared.clock)() })?;
        }
        Ok(fetched)
    }

    /// Deletes copies at the destination, and reports each. The local backups stay.
    pub fn delete_all(&self, names: &[String]) -> Outcome {
        let mut outcome = Outcome::default();
        let mut gone = Vec::new();
        for name in names.iter().collect::<BTreeSet<_>>() {
            let deleted = name
                .parse::<BackupName>()
                .map_err(|error| Error::refusal(Code::InvalidInput, format!("It is {error}.")))
                .and_then(|name| self.delete(&name));
            match self.notes.noted(Event::OffSiteDeleted, name, deleted, |()| String::new()) {
                Ok(()) => {
                    tracing::info!(file = %name, "off-site copy deleted");
                    gone.push(name.as_str());
                }
                Err(error) => {
                    tracing::warn!(file = %name, %error, "an off-site copy could not be deleted");
                    outcome.bad.push(format!("Not deleted: {}. {error}", printable(name)));
                }
            }
        }
        if !gone.is_empty() {
            let names = listed(gone.into_iter());
            outcome.good = Some(format!("Deleted off-site: {names}. Local backups stay."));
        } else if outcome.bad.is_empty() {
            outcome = Outcome::refused("Nothing was selected. Select copies first.");
        }
        outcome
    }

    /// Deletes a copy at the destination. The local backup stays.
    pub fn delete(&self, name: &BackupName) -> Result<()> {
        let _claim = self.claim(self.destination()?.name(), name)?;
        let (configured, there) = self.call(&Cancel::default())?;
        listing::delete(&*there, name)?;
        self.inner.shared.copies.forget(name, configured.name())
    }

    /// What is recorded about a backup's copy.
    pub fn copy_of(&self, name: &BackupName) -> Result<OffSite> {
        let destination = self.destination()?;
        if self.uploading().contains(&(destination.name().clone(), name.clone())) {
            return Ok(OffSite::Uploading);
        }
        self.inner.shared.copies.get(name, destination.name())
    }

    /// What is recorded about all copies. A backup that is not included was never sent.
    pub fn copies(&self) -> Result<BTreeMap<BackupName, OffSite>> {
        self.copies_at(self.destination()?.name())
    }

    fn copies_at(&self, destination: &DestinationName) -> Result<BTreeMap<BackupName, OffSite>> {
        let mut all = self.inner.shared.copies.at(destination)?;
        let uploading = self.uploading();
        let under_way = uploading.iter().filter(|(at, _)| at == destination);
        all.extend(under_way.map(|(_, name)| (name.clone(), OffSite::Uploading)));
        Ok(all)
    }

    /// The states of the copies on one page of the list; `None` if off-site storage is off, or if the records
    /// cannot be read: then the list is shown without them.
    pub fn off_site_view(&self, all: &[Backup], page: &ListPage) -> Option<OffSiteView> {
        let read = || -> Result<Option<OffSiteView>> {
            let Ok(destination) = self.ready() else { return Ok(None) };
            let mut known = self.copies_at(destination.name())?;
            let is_there = |backup: &&Backup| {
                matches!(known.get(&backup.name), Some(OffSite::Uploaded { .. } | OffSite::Verified { .. }))
            };
            let there = all.iter().filter(is_there).count() as u64;
            let of = page.rows.iter().filter_map(|row| known.remove_entry(&row.name)).collect();
            Ok(Some(OffSiteView { host: destination.label().to_owned(), there, of }))
        };
        read().unwrap_or_else(|error| {
            tracing::error!(%error, "could not read the off-site records");
            None
        })
    }

    /// Connects while the user waits for the answer.
    fn call(&self, cancel: &Cancel) -> Result<(Box<dyn Configured>, Box<dyn Destination>)> {
        let configured = self.destination()?;
        let there = configured.access(&self.inner.shared)?.open(&self.opening(cancel, true))?;
        Ok((configured, there))
    }

    fn opening<'o>(&'o self, cancel: &'o Cancel, on_request: bool) -> Opening<'o> {
        Opening { shared: &self.inner.shared, notes: &self.notes, cancel, on_request }
    }

    fn correct_copies(&self, destination: &DestinationName, found: &[RemoteBackup]) -> Result<()> {
        let Shared { copies, clock, .. } = &self.inner.shared;
        let remembered = copies.at(destination)?;
        let at = clock();
        for backup in found {
            let there = remembered.get(&backup.name).is_some_and(is_there);
            match backup.place {
                Whereabouts::Here | Whereabouts::Differs if there => {
                    copies.set(&backup.name, destination, &OffSite::Missing { at })?;
                }
                Whereabouts::Both if !there => {
                    copies.set(&backup.name, destination, &OffSite::Uploaded { at })?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Claims a backup for one upload to a destination: two uploads that write the same draft would ruin it.
    fn claim(&self, destination: &DestinationName, name: &BackupName) -> Result<UploadClaim<'_>> {
        let claimed = (destination.clone(), name.clone());
        if !self.uploading().insert(claimed.clone()) {
            let words = format!("{name} is already being uploaded. Wait until that upload ends.");
            return Err(Error::refusal(Code::AlreadyRunning, words));
        }
        self.changed();
        Ok(UploadClaim { destinations: self, claimed })
    }

    fn uploading(&self) -> MutexGuard<'_, BTreeSet<(DestinationName, BackupName)>> {
        self.inner.uploading.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_there(state: &OffSite) -> bool {
    matches!(state, OffSite::Uploaded { .. } | OffSite::Sent { .. } | OffSite::Verified { .. })
}

/// Passes a transfer's progress on to a job.
pub fn reporter(progress: &dyn Progress) -> impl Fn(Phase, u64, u64) {
    let now = Cell::new(None);
    move |phase, done, total| {
        if now.replace(Some(phase)) != Some(phase) {
            progress.phase(phase);
        }
        progress.total(total);
        progress.bytes(done, 0);
    }
}

/// Held during the upload of a backup.
struct UploadClaim<'d> {
    destinations: &'d Destinations,
    claimed: (DestinationName, BackupName),
}

impl Drop for UploadClaim<'_> {
    fn drop(&mut self) {
        self.destinations.uploading().remove(&self.claimed);
        self.destinations.changed();
    }
}

/// A random wait between half of `wait` and all of it, so that uploads that failed together are not retried
/// together.
fn with_jitter(wait: Duration) -> Duration {
    // Without random numbers, half of the wait.
    let [random] = random::bytes().unwrap_or_default();
    wait.mul_f64(0.5 + f64::from(random) / 512.0)
}

fn wait(span: Duration, cancel: &Cancel) -> Result<()> {
    let until = Instant::now() + span;
    loop {
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(Duration::from_millis(50)));
    }
}
