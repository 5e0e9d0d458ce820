//! What runs, waits, was cancelled or failed: one queue, observable.

use crate::domain::audit::{Audit, By};
use crate::domain::engines::Cancel;
use crate::domain::error::{Error, Result};
use crate::domain::state::Store;
use crate::domain::state::jobs as history;
use crate::domain::state::jobs::{NewJob, StoredJob};
use crate::model::audit::{Ending, Event};
use crate::model::job::Queue;
use crate::model::{BackupName, DatabaseName, JobId, JobState, JobView, Phase, Stamp, Task};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Tasks of a queue that run at the same time; more wait. Two backups keep a small machine's cores and disk busy,
/// one connection never fills a distant line, and proving what is there is to leave room for making more.
const fn at_once(queue: Queue) -> usize {
    match queue {
        Queue::Backups | Queue::Transfers | Queue::Restores => 2,
        Queue::Checks => 1,
    }
}

/// How long an ended job stays in what the pages are told, in seconds.
const LINGER: u64 = 60;

/// How many lines of what a job had to tell are kept.
const LINES: usize = 200;

/// What a backup's task is called in the history; see [`Task::key`].
const CREATE: &str = "create";

/// How many ended jobs the history shows.
const HISTORY: u32 = 200;

/// Gives the time. Injected, so that tests can stop it.
pub type Clock = Arc<dyn Fn() -> Stamp + Send + Sync>;

/// What a job does, given its way to stop and to report.
pub type Work = Box<dyn FnOnce(&Cancel, &dyn Progress) -> Result<Came> + Send>;

/// What a job came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Came {
    /// A file is where it was to be.
    File(Finished),
    /// What there is to tell of it.
    Told(String),
}

impl From<Finished> for Came {
    fn from(finished: Finished) -> Self {
        Self::File(finished)
    }
}

/// A file that was made or moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// The file's name.
    pub file: BackupName,
    /// Its size in bytes.
    pub size: u64,
    /// What the dump tool or the server made worth knowing.
    pub warnings: Option<String>,
    /// The job that goes on from here.
    pub then: Option<JobId>,
}

impl Finished {
    /// What the audit log says of it.
    pub fn told(&self) -> String {
        made(&self.file, self.size)
    }
}

/// Hears how a job is getting on.
pub trait Progress {
    /// A new phase begins.
    fn phase(&self, phase: Phase);
    /// Bytes there are to be read, once that is known.
    fn total(&self, bytes: u64);
    /// Bytes read and written so far.
    fn bytes(&self, read: u64, written: u64);
    /// Something was done that is worth a line in the history.
    fn tell(&self, _text: &str) {}
}

/// Hears nothing.
pub struct Unwatched;

impl Progress for Unwatched {
    fn phase(&self, _: Phase) {}
    fn total(&self, _: u64) {}
    fn bytes(&self, _: u64, _: u64) {}
}

/// The queue. Cheap to clone.
#[derive(Clone)]
pub struct Jobs {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    clock: Clock,
    audit: Audit,
    table: Mutex<Table>,
    changes: watch::Sender<u64>,
    stopping: AtomicBool,
}

#[derive(Default)]
struct Table {
    last: u64,
    jobs: BTreeMap<JobId, Job>,
}

struct Job {
    task: Task,
    by: Arc<By>,
    /// What the audit log calls what it is about, where that is not the task's subject.
    object: Option<String>,
    started: Stamp,
    ended: Option<Stamp>,
    /// Whether its end is in the history.
    is_kept: bool,
    cancel: Cancel,
    stage: Stage,
}

enum Stage {
    Waiting(Work),
    Running(Arc<Gauge>),
    Ended(JobState),
}

impl Jobs {
    /// The queue over `store`, its numbers going on from the last job there. How each ends is noted in `audit`.
    pub fn new(store: Store, clock: Clock, audit: Audit) -> Self {
        let last = history::last_number(&store).unwrap_or_else(|error| {
            tracing::error!(%error, "could not read the job history");
            0
        });
        let table = Table { last, jobs: BTreeMap::new() };
        Self {
            inner: Arc::new(Inner {
                store,
                clock,
                audit,
                table: Mutex::new(table),
                changes: watch::Sender::new(0),
                stopping: AtomicBool::new(false),
            }),
        }
    }

    /// Marks what an earlier server left running as interrupted. Gives how many there were.
    pub fn mark_interrupted(&self) -> usize {
        let state = encode(&JobState::Interrupted);
        let mark = || {
            // Noted before it is marked: killed in between, it is rather told twice than never.
            for job in history::unfinished(&self.inner.store)? {
                if let Some(task) = Task::parse(&job.task, &job.subject) {
                    let by = By::kept(job.who, job.from, job.request);
                    let detail = "The program ended before it did.";
                    self.inner.audit.note(&by, event(&task), &job.object, Ending::Interrupted, detail);
                }
            }
            history::end_unfinished(&self.inner.store, &state, (self.inner.clock)())
        };
        mark().unwrap_or_else(|error| {
            tracing::error!(%error, "could not mark interrupted jobs");
            0
        })
    }

    /// Queues a task of Holdfast's own; refused where the same waits or runs already.
    pub fn start(&self, task: Task, work: Work) -> Result<JobId> {
        self.start_for(Arc::new(By::system()), None, task, work)
    }

    /// Queues a task for somebody, by whom its end is noted, with `object` where that says more than the task's
    /// subject; refused where the same waits or runs already.
    pub fn start_for(&self, by: Arc<By>, object: Option<String>, task: Task, work: Work) -> Result<JobId> {
        let mut table = self.table();
        if table.jobs.values().any(|job| job.ended.is_none() && job.task == task) {
            return Err(Error::Busy(task));
        }
        table.last += 1;
        let id = JobId(table.last);
        let job = Job {
            task,
            by,
            object,
            started: (self.inner.clock)(),
            ended: None,
            is_kept: false,
            cancel: Cancel::default(),
            stage: Stage::Waiting(work),
        };
        self.record(id, &job);
        table.jobs.insert(id, job);
        self.start_waiting(&mut table);
        drop(table);
        self.changed();
        Ok(id)
    }

    /// Asks a job to stop. It ends when what it does has ended; one that has ended already needs nothing.
    pub fn cancel(&self, id: JobId) -> Result<()> {
        if self.get(id).is_some_and(|job| !job.state.is_active()) {
            return Ok(());
        }
        let mut table = self.table();
        let job = table.jobs.get_mut(&id).filter(|job| job.ended.is_none()).ok_or(Error::NoJob)?;
        if let Stage::Waiting(_) = job.stage {
            self.end(&mut table, id, JobState::Cancelled);
            return Ok(());
        }
        let cancel = job.cancel.clone();
        drop(table);
        cancel.cancel();
        Ok(())
    }

    /// Asks all jobs to stop because the program does; they end as interrupted.
    pub fn interrupt_all(&self) {
        self.inner.stopping.store(true, Ordering::SeqCst);
        for id in self.current().iter().filter(|job| job.state.is_active()).map(|job| job.id) {
            // It may have ended in the meantime, which is as good.
            let _ = self.cancel(id);
        }
    }

    /// The jobs that wait or run, and those that ended a short while ago; oldest first.
    pub fn current(&self) -> Vec<JobView> {
        self.table().jobs.iter().map(|(id, job)| job.view(*id)).collect()
    }

    /// One job: a current one, or one out of the history.
    pub fn get(&self, id: JobId) -> Option<JobView> {
        let current = self.table().jobs.get(&id).map(|job| job.view(id));
        current.or_else(|| shown(history::get(&self.inner.store, id.0).ok()??))
    }

    /// The last jobs, newest first: the current ones as they stand, also where they could not be recorded, then
    /// the history.
    pub fn history(&self) -> Result<Vec<JobView>> {
        let mut history =
            history::last(&self.inner.store, HISTORY)?.into_iter().filter_map(shown).collect::<Vec<_>>();
        let current = self.current();
        history.retain(|view| current.iter().all(|job| job.id != view.id));
        history.extend(current);
        history.sort_unstable_by_key(|view| Reverse(view.id));
        Ok(history)
    }

    /// The databases whose last ended job failed or was interrupted. Nothing where the history cannot be
    /// read: the list is shown without it.
    pub fn failing(&self) -> BTreeSet<DatabaseName> {
        let ended = history::last_ended_of(&self.inner.store, CREATE).unwrap_or_else(|error| {
            tracing::error!(%error, "could not read the job history");
            Vec::new()
        });
        ended
            .into_iter()
            .filter_map(shown)
            .filter(|job| matches!(job.state, JobState::Failed { .. } | JobState::Interrupted))
            .filter_map(|job| match job.task {
                Task::Create(database) => Some(database),
                _ => None,
            })
            .collect()
    }

    /// Wakes whenever a job starts, changes its phase or ends.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.inner.changes.subscribe()
    }

    /// Waits until nothing waits or runs.
    pub async fn all_ended(&self) {
        let mut watch = self.watch();
        while self.current().iter().any(|job| job.state.is_active()) && watch.changed().await.is_ok() {}
    }

    /// Waits until the job has ended.
    pub async fn ended(&self, id: JobId) -> Option<JobView> {
        let mut watch = self.watch();
        loop {
            let view = self.get(id)?;
            if !view.state.is_active() || watch.changed().await.is_err() {
                return Some(view);
            }
        }
    }

    fn start_waiting(&self, table: &mut Table) {
        loop {
            let has_room = |waiting: &Job| {
                let running = |job: &&Job| {
                    matches!(job.stage, Stage::Running(_)) && job.task.queue() == waiting.task.queue()
                };
                table.jobs.values().filter(running).count() < at_once(waiting.task.queue())
            };
            let next =
                table.jobs.iter().find(|(_, job)| matches!(job.stage, Stage::Waiting(_)) && has_room(job));
            let Some((&id, _)) = next else { return };
            self.run(table, id);
        }
    }

    /// Gives the job a thread of its own, which lives as long as the dump tool does: the tool is tied to it.
    fn run(&self, table: &mut Table, id: JobId) {
        let Some(job) = table.jobs.get_mut(&id) else { return };
        let gauge = Arc::new(Gauge { changes: self.inner.changes.clone(), ..Gauge::default() });
        let Stage::Waiting(work) = std::mem::replace(&mut job.stage, Stage::Running(Arc::clone(&gauge)))
        else {
            return;
        };
        let (jobs, cancel, task) = (self.clone(), job.cancel.clone(), job.task.clone());
        let spawned = std::thread::Builder::new().name(format!("job-{id}")).spawn(move || {
            let result =
                catch_unwind(AssertUnwindSafe(|| work(&cancel, &*gauge))).unwrap_or(Err(Error::Lost));
            let state = outcome(&task, result, &cancel, gauge.all_told());
            jobs.end(&mut jobs.table(), id, state);
        });
        if let Err(error) = spawned {
            tracing::error!(%error, "could not start a thread for a job");
            let message =
                format!("No thread could be started for it: {error}. Try again when less is running.");
            self.end(table, id, JobState::Failed { message, detail: None });
        }
    }

    fn end(&self, table: &mut Table, id: JobId, state: JobState) {
        let now = (self.inner.clock)();
        // Whoever stops the program did not mean this one backup.
        let state = match state {
            JobState::Cancelled if self.inner.stopping.load(Ordering::SeqCst) => JobState::Interrupted,
            state => state,
        };
        if let Some(job) = table.jobs.get_mut(&id) {
            let (ending, detail) = told_of(&state);
            let object = job.object.as_deref().unwrap_or(job.task.subject());
            self.inner.audit.note(&job.by, event(&job.task), object, ending, &detail);
            job.stage = Stage::Ended(state);
            job.ended = Some(now);
        }
        // Also those whose end could not be recorded before: in the history they would run for ever.
        for (&id, job) in table.jobs.iter_mut().filter(|(_, job)| job.ended.is_some() && !job.is_kept) {
            job.is_kept = self.record(id, job);
        }
        let lingers = |job: &Job| job.ended.is_none_or(|ended| now.seconds_since(ended) < LINGER);
        table.jobs.retain(|_, job| !job.is_kept || lingers(job));
        self.start_waiting(table);
        self.changed();
    }

    /// Writes the job to the history, and says whether it is there. The history is a convenience: a failure is
    /// logged, and the backup goes on.
    fn record(&self, id: JobId, job: &Job) -> bool {
        let view = job.view(id);
        let recorded = history::record(
            &self.inner.store,
            &NewJob {
                id: id.0,
                task: view.task.key(),
                subject: view.task.subject(),
                started: view.started,
                ended: view.ended,
                state: &encode(&view.state),
                who: job.by.who(),
                from: job.by.from(),
                request: job.by.request(),
                object: job.object.as_deref(),
            },
        );
        recorded.inspect_err(|error| tracing::error!(%error, job = id.0, "could not record a job")).is_ok()
    }

    fn changed(&self) {
        self.inner.changes.send_modify(|count| *count += 1);
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.inner.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stored job as it is shown; `None` where another version stored what this one does not know.
fn shown(job: StoredJob) -> Option<JobView> {
    Some(JobView {
        id: JobId(job.id),
        task: Task::parse(&job.task, &job.subject)?,
        started: job.started,
        ended: job.ended,
        state: serde_json::from_str(&job.state).ok()?,
    })
}

impl Job {
    fn view(&self, id: JobId) -> JobView {
        let state = match &self.stage {
            Stage::Waiting(_) => JobState::Queued,
            Stage::Running(gauge) => gauge.state(),
            Stage::Ended(state) => state.clone(),
        };
        JobView { id, task: self.task.clone(), started: self.started, ended: self.ended, state }
    }
}

/// The figures of a running job, written by its thread and read by the pages.
#[derive(Default)]
struct Gauge {
    phase: AtomicU8,
    read: AtomicU64,
    written: AtomicU64,
    total: AtomicU64,
    told: Mutex<VecDeque<String>>,
    changes: watch::Sender<u64>,
}

const PHASES: [Phase; 12] = [
    Phase::Connecting,
    Phase::Copying,
    Phase::Compressing,
    Phase::Publishing,
    Phase::Comparing,
    Phase::Sending,
    Phase::Receiving,
    Phase::ReadingBack,
    Phase::Waiting,
    Phase::Checking,
    Phase::Restoring,
    Phase::Swapping,
];

impl Gauge {
    fn state(&self) -> JobState {
        let total = self.total.load(Ordering::Relaxed);
        JobState::Running {
            phase: PHASES[usize::from(self.phase.load(Ordering::Relaxed)) % PHASES.len()],
            read: self.read.load(Ordering::Relaxed),
            written: self.written.load(Ordering::Relaxed),
            total: (total > 0).then_some(total),
            told: self.told().back().cloned(),
        }
    }

    /// The last of what it had to tell, a line each.
    fn all_told(&self) -> Option<String> {
        let told: Vec<_> = self.told().drain(..).collect();
        (!told.is_empty()).then(|| told.join("\n"))
    }

    fn told(&self) -> MutexGuard<'_, VecDeque<String>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress for Gauge {
    fn phase(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
        self.changes.send_modify(|count| *count += 1);
    }

    fn total(&self, bytes: u64) {
        self.total.store(bytes, Ordering::Relaxed);
    }

    fn bytes(&self, read: u64, written: u64) {
        self.read.store(read, Ordering::Relaxed);
        self.written.store(written, Ordering::Relaxed);
    }

    fn tell(&self, text: &str) {
        let mut told = self.told();
        if told.len() == LINES {
            told.pop_front();
        }
        told.push_back(text.to_owned());
        drop(told);
        self.changes.send_modify(|count| *count += 1);
    }
}

/// What the job comes to, logged here and nowhere else.
fn outcome(task: &Task, result: Result<Came>, cancel: &Cancel, told: Option<String>) -> JobState {
    let (what, of) = (task.key(), task.subject());
    match result {
        Ok(Came::Told(message)) => {
            tracing::info!(what, of, message, "job done");
            JobState::Told { message, detail: told }
        }
        Ok(Came::File(Finished { file, size, warnings, then })) => {
            tracing::info!(what, of, %file, size, "job done");
            JobState::Done { file, size, warnings, then }
        }
        Err(_) if cancel.is_cancelled() => {
            tracing::info!(what, of, "job cancelled");
            JobState::Cancelled
        }
        Err(error) => {
            tracing::error!(what, of, %error, detail = error.detail(), "job failed");
            let words = [told.as_deref(), error.detail()];
            let detail = words.into_iter().flatten().collect::<Vec<_>>().join("\n");
            JobState::Failed { message: error.to_string(), detail: (!detail.is_empty()).then_some(detail) }
        }
    }
}

/// What the audit log calls such a job.
const fn event(task: &Task) -> Event {
    match task {
        Task::Create(_) => Event::BackupCreated,
        Task::Upload(_) => Event::BackupUploaded,
        Task::Fetch(_) => Event::BackupFetched,
        Task::Verify(_) => Event::BackupsVerified,
        Task::Adopt(_) => Event::BackupsAdopted,
        Task::Restore(_) => Event::BackupRestored,
    }
}

fn made(file: &BackupName, size: u64) -> String {
    format!("{file}, {size} bytes")
}

/// What the audit log says of how it ended.
fn told_of(state: &JobState) -> (Ending, String) {
    match state {
        JobState::Done { file, size, .. } => (Ending::Ok, made(file, *size)),
        JobState::Told { message, .. } => (Ending::Ok, message.clone()),
        JobState::Cancelled => (Ending::Cancelled, String::new()),
        JobState::Interrupted => (Ending::Interrupted, String::new()),
        JobState::Failed { message, .. } => (Ending::Failed, message.clone()),
        JobState::Queued | JobState::Running { .. } => (Ending::Failed, String::new()),
    }
}

fn encode(state: &JobState) -> String {
    serde_json::to_string(state).unwrap_or_default()
}
