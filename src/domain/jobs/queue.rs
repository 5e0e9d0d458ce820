//! The queue of jobs: what waits, runs, was cancelled or failed, observable by every open page.

use crate::domain::audit::actor::Actor;
use crate::domain::audit::log::Audit;
use crate::domain::audit::notes::Notes;
use crate::domain::error::{Error, Result};
use crate::domain::events::{Happened, What};
use crate::domain::jobs::cancel::Cancel;
use crate::domain::jobs::clock::Clock;
use crate::domain::jobs::history::{History, Row};
use crate::domain::jobs::progress::{Gauge, Progress};
use crate::domain::jobs::result::{JobResult, ending_of, outcome};
use crate::domain::jobs::spec::{JobSpec, event_of};
use crate::domain::state::Store;
use crate::model::audit::Event;
use crate::model::job::Queue;
use crate::model::outcome::listed;
use crate::model::{BackupName, DatabaseName, JobId, JobState, JobView, Stamp, Task};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Tasks of a queue that run at the same time; more wait. Two backups keep a small machine's cores and disk busy,
/// one connection never fills a distant line, and checking backups must leave room for making more.
const fn at_once(queue: Queue) -> usize {
    match queue {
        Queue::Backups | Queue::Transfers | Queue::Restores => 2,
        Queue::Checks => 1,
    }
}

/// How long an ended job stays in what the pages are told, in seconds.
const LINGER: u64 = 60;

/// How many ended jobs the history shows.
const HISTORY: u32 = 200;

/// Turns the description of a job into work.
pub trait Runner: Send + Sync {
    /// Does what `spec` says, for `by`, until it is done or cancelled. Blocks; runs on a thread of the job's own.
    fn run(
        &self,
        spec: &JobSpec,
        by: &Arc<Actor>,
        cancel: &Cancel,
        progress: &dyn Progress,
    ) -> Result<JobResult>;
}

/// The queue. Cheap to clone.
#[derive(Clone)]
pub struct Jobs {
    inner: Arc<Inner>,
}

struct Inner {
    history: History,
    clock: Clock,
    audit: Audit,
    runner: Mutex<Option<Arc<dyn Runner>>>,
    /// Held for moments only, and never while something is written to a disk: every open page waits for it.
    table: Mutex<Table>,
    changes: watch::Sender<u64>,
    stopping: AtomicBool,
}

#[derive(Default)]
struct Table {
    last: u64,
    /// Whether the numbers go on from the history's.
    is_counted: bool,
    jobs: BTreeMap<JobId, Job>,
}

struct Job {
    spec: Arc<JobSpec>,
    by: Arc<Actor>,
    /// The first line of what the history says of it.
    remark: Option<String>,
    started: Stamp,
    ended: Option<Stamp>,
    /// Whether its end is in the history.
    is_kept: bool,
    cancel: Cancel,
    stage: Stage,
}

enum Stage {
    /// Its row is being written to the history. It does not start before that.
    Recording,
    Waiting,
    /// It was cancelled before it started, and its end is being written.
    Leaving,
    Running(Arc<Gauge>),
    Ended(JobState),
}

impl Jobs {
    /// The queue over `store`, its numbers going on from the last job there. How each ends is noted in `audit`.
    /// Jobs fail until [`run_with`](Self::run_with) says how to run them.
    pub fn new(store: Store, clock: Clock, audit: Audit) -> Self {
        let jobs = Self {
            inner: Arc::new(Inner {
                history: History::new(store),
                clock,
                audit,
                runner: Mutex::default(),
                table: Mutex::default(),
                changes: watch::Sender::new(0),
                stopping: AtomicBool::new(false),
            }),
        };
        let found = jobs.last_number();
        jobs.table().count_from(found);
        jobs
    }

    /// Says how jobs are run from now on. Gives what ran them before.
    pub fn run_with(&self, runner: Arc<dyn Runner>) -> Option<Arc<dyn Runner>> {
        self.runner().replace(runner)
    }

    /// Marks what an earlier server left running as interrupted. Gives how many there were.
    pub fn mark_interrupted(&self) -> usize {
        let marked = self.inner.history.unfinished().and_then(|left| {
            // Noted before it is marked: killed in between, it is rather told twice than never.
            for job in left {
                let by = Arc::new(job.by);
                if let Some(spec) = job.spec {
                    let (job, state) = (job.id, JobState::Interrupted);
                    self.inner.audit.tell(&by, vec![What::JobEnded { job, spec: Arc::new(spec), state }]);
                } else {
                    let (ending, detail) = ending_of(&JobState::Interrupted);
                    self.inner.audit.note(&by, event_of(&job.task), &job.object, ending, &detail);
                }
            }
            self.inner.history.interrupt_unfinished(self.now())
        });
        marked.unwrap_or_else(|error| {
            tracing::error!(%error, "could not mark interrupted jobs");
            0
        })
    }

    /// Queues a job for somebody, by whom its end is noted. Refused where the same waits or runs already; of
    /// several backups, those that are under way already are left out. See [`JobSpec::beside`].
    pub fn queue(&self, by: Arc<Actor>, spec: JobSpec) -> Result<JobId> {
        let found = if self.table().is_counted { None } else { self.last_number() };
        let (id, row) = {
            let mut table = self.table();
            let under_way = table.jobs.values().filter(|job| job.ended.is_none()).map(|job| &*job.spec);
            let (spec, left_out) = spec.beside(under_way)?;
            let job = Job {
                spec: Arc::new(spec),
                by,
                remark: (!left_out.is_empty()).then(|| {
                    let names = listed(left_out.iter().map(BackupName::as_str));
                    format!("Left out, because another job has them already: {names}.")
                }),
                started: self.now(),
                ended: None,
                is_kept: false,
                cancel: Cancel::default(),
                stage: Stage::Recording,
            };
            table.count_from(found);
            let id = table.next_number(job.started);
            let row = job.row(id, JobState::Queued, None);
            table.jobs.insert(id, job);
            (id, row)
        };
        self.inner.history.begin(&row);
        self.tell(&row.by, What::JobQueued { job: id, spec: row.spec });
        if let Some(job) = self.table().jobs.get_mut(&id)
            && matches!(job.stage, Stage::Recording)
        {
            job.stage = Stage::Waiting;
        }
        if self.inner.stopping.load(Ordering::SeqCst) {
            // It would wait for ever. It may have been told to stop already, which is as good.
            let _ = self.cancel(id);
        }
        self.start_waiting();
        Ok(id)
    }

    /// Asks a job to stop. It ends when what it does has ended; one that has ended already needs nothing.
    pub fn cancel(&self, id: JobId) -> Result<()> {
        let has_started = {
            let mut table = self.table();
            match table.jobs.get_mut(&id) {
                Some(Job { stage: Stage::Ended(_) | Stage::Leaving, .. }) => return Ok(()),
                Some(Job { stage: Stage::Running(_), cancel, .. }) => Some(Some(cancel.clone())),
                Some(job) => {
                    job.stage = Stage::Leaving;
                    Some(None)
                }
                None => None,
            }
        };
        match has_started {
            Some(Some(cancel)) => cancel.cancel(),
            Some(None) => self.end(id, JobState::Cancelled),
            None => {
                self.get(id).filter(|job| !job.state.is_active()).ok_or(Error::NoJob)?;
            }
        }
        Ok(())
    }

    /// Asks a job to stop, on somebody's behalf; see [`Self::cancel`]. A job that has ended already is not noted.
    pub fn cancel_for(&self, notes: &Notes, id: JobId) -> Result<()> {
        let job = self.get(id);
        if job.as_ref().is_some_and(|job| !job.state.is_active()) {
            return Ok(());
        }
        let object = job.map_or_else(|| format!("Job {id}"), |job| format!("Job {id}: {}", job.task.title()));
        notes.noted(Event::JobCancelled, &object, self.cancel(id), |()| String::new())
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
        current.or_else(|| self.inner.history.get(id).ok()?)
    }

    /// The last jobs, newest first: the current ones as they stand, also where they could not be recorded, then
    /// the history.
    pub fn history(&self) -> Result<Vec<JobView>> {
        let mut history = self.inner.history.last(HISTORY)?;
        let current = self.current();
        history.retain(|view| current.iter().all(|job| job.id != view.id));
        history.extend(current);
        history.sort_unstable_by_key(|view| Reverse(view.id));
        Ok(history)
    }

    /// The databases whose last ended job failed or was interrupted. Nothing where the history cannot be
    /// read: the list is shown without it.
    pub fn failing(&self) -> BTreeSet<DatabaseName> {
        let ended = self.inner.history.last_backups().unwrap_or_else(|error| {
            tracing::error!(%error, "could not read the job history");
            Vec::new()
        });
        ended
            .into_iter()
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

    /// Starts the jobs whose turn it is. None, once the program stops.
    fn start_waiting(&self) {
        loop {
            let failed = {
                let mut table = self.table();
                let next = table.next_to_run().filter(|_| !self.inner.stopping.load(Ordering::SeqCst));
                let Some(id) = next else { break };
                self.run(&mut table, id).map(|error| (id, error))
            };
            if let Some((id, error)) = failed {
                tracing::error!(%error, "could not start a thread for a job");
                let message =
                    format!("No thread could be started for it: {error}. Try again when less is running.");
                self.end(id, JobState::Failed { message, detail: None });
            }
        }
        self.changed();
    }

    /// Gives the job a thread of its own, which lives as long as the dump tool does: the tool is tied to it.
    fn run(&self, table: &mut Table, id: JobId) -> Option<io::Error> {
        let job = table.jobs.get_mut(&id)?;
        let gauge = Arc::new(Gauge::new(self.inner.changes.clone()));
        if let Some(remark) = &job.remark {
            gauge.tell(remark);
        }
        job.stage = Stage::Running(Arc::clone(&gauge));
        let (jobs, spec, by, cancel) =
            (self.clone(), Arc::clone(&job.spec), Arc::clone(&job.by), job.cancel.clone());
        let spawned = std::thread::Builder::new().name(format!("job-{id}")).spawn(move || {
            jobs.tell(&by, What::JobStarted { job: id, spec: Arc::clone(&spec) });
            let runner = jobs.runner().clone();
            let work = || runner.ok_or(Error::Lost)?.run(&spec, &by, &cancel, &*gauge);
            let result = catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(Error::Lost));
            jobs.end(id, outcome(&spec.task(), result, &cancel, gauge.take_lines()));
        });
        spawned.err()
    }

    /// Ends a job. The audit log and the history have its end before any page is told of it.
    fn end(&self, id: JobId, state: JobState) {
        let now = self.now();
        // Whoever stops the program did not mean this one backup.
        let state = match state {
            JobState::Cancelled if self.inner.stopping.load(Ordering::SeqCst) => JobState::Interrupted,
            state => state,
        };
        let (row, unkept) = {
            let table = self.table();
            let Some(job) = table.jobs.get(&id) else { return };
            (job.row(id, state.clone(), Some(now)), table.unkept())
        };
        let (by, what) = (row.by.clone(), What::JobEnded { job: id, spec: row.spec.clone(), state });
        self.inner.audit.write(&by, std::slice::from_ref(&what));
        // Also those whose end could not be recorded before: in the history they would run for ever.
        let kept: Vec<_> =
            unkept.iter().chain([&row]).filter(|row| self.inner.history.end(row)).map(|row| row.id).collect();
        {
            let mut table = self.table();
            if let Some(job) = table.jobs.get_mut(&id) {
                job.stage = Stage::Ended(row.state);
                job.ended = Some(now);
            }
            for id in kept {
                if let Some(job) = table.jobs.get_mut(&id) {
                    job.is_kept = true;
                }
            }
            let lingers = |job: &Job| job.ended.is_none_or(|ended| now.seconds_since(ended) < LINGER);
            table.jobs.retain(|_, job| !job.is_kept || lingers(job));
        }
        self.tell(&by, what);
        self.start_waiting();
    }

    /// The highest number in the history; nothing where that cannot be read.
    fn last_number(&self) -> Option<u64> {
        let found = self.inner.history.last_number();
        found.inspect_err(|error| tracing::error!(%error, "could not read the job history")).ok()
    }

    /// Sends an event, and wakes the pages.
    fn tell(&self, by: &Arc<Actor>, what: What) {
        let by = Arc::clone(by);
        self.inner.audit.events().send(Happened { at: self.now(), by, what });
        self.changed();
    }

    fn changed(&self) {
        self.inner.changes.send_modify(|count| *count += 1);
    }

    fn now(&self) -> Stamp {
        (self.inner.clock)()
    }

    fn runner(&self) -> MutexGuard<'_, Option<Arc<dyn Runner>>> {
        self.inner.runner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.inner.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Has the numbers go on from the history's, once its last number is known.
    fn count_from(&mut self, found: Option<u64>) {
        if let Some(found) = found {
            self.last = self.last.max(found);
            self.is_counted = true;
        }
    }

    /// The next number. While the history cannot be read, it is taken from the clock: numbers that count from 1
    /// again would be those of old jobs.
    fn next_number(&mut self, now: Stamp) -> JobId {
        if !self.is_counted {
            self.last = self.last.max(now.millis().unsigned_abs());
        }
        self.last += 1;
        JobId(self.last)
    }

    /// The oldest waiting job whose queue has room.
    fn next_to_run(&self) -> Option<JobId> {
        let has_room = |waiting: &Job| {
            let queue = waiting.spec.task().queue();
            let is_running =
                |job: &&Job| matches!(job.stage, Stage::Running(_)) && job.spec.task().queue() == queue;
            self.jobs.values().filter(is_running).count() < at_once(queue)
        };
        let mut waiting = self.jobs.iter().filter(|(_, job)| matches!(job.stage, Stage::Waiting));
        waiting.find(|(_, job)| has_room(job)).map(|(id, _)| *id)
    }

    /// The ended jobs that are not in the history yet.
    fn unkept(&self) -> Vec<Row> {
        let row = |(id, job): (&JobId, &Job)| match &job.stage {
            Stage::Ended(state) if !job.is_kept => Some(job.row(*id, state.clone(), job.ended)),
            _ => None,
        };
        self.jobs.iter().filter_map(row).collect()
    }
}

impl Job {
    fn view(&self, id: JobId) -> JobView {
        let state = match &self.stage {
            Stage::Recording | Stage::Waiting | Stage::Leaving => JobState::Queued,
            Stage::Running(gauge) => gauge.state(),
            Stage::Ended(state) => state.clone(),
        };
        JobView { id, task: self.spec.task(), started: self.started, ended: self.ended, state }
    }

    /// What the history is to have of it.
    fn row(&self, id: JobId, state: JobState, ended: Option<Stamp>) -> Row {
        let (spec, by) = (Arc::clone(&self.spec), Arc::clone(&self.by));
        Row { id, spec, by, started: self.started, ended, state }
    }
}
