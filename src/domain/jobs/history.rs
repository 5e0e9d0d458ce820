//! The history of jobs: one row per job in the state database, from the moment it is queued. The SQL is in
//! [`crate::domain::state::jobs`]; here rows become jobs.

use crate::domain::audit::actor::Actor;
use crate::domain::error::Result;
use crate::domain::jobs::spec::JobSpec;
use crate::domain::state::Store;
use crate::domain::state::jobs as table;
use crate::domain::state::jobs::{NewJob, StoredJob};
use crate::model::{JobId, JobState, JobView, Stamp, Task};
use std::sync::Arc;

/// The name of a backup task in the history; see [`Task::key`].
const BACKUP: &str = "create";

/// The history. Every call accesses the disk, so none belongs inside a lock that pages wait for.
pub(super) struct History {
    store: Store,
}

/// A job to be written.
pub(super) struct Row {
    pub id: JobId,
    pub spec: Arc<JobSpec>,
    pub by: Arc<Actor>,
    pub started: Stamp,
    pub ended: Option<Stamp>,
    pub state: JobState,
}

/// A job without an end.
pub(super) struct Unfinished {
    pub id: JobId,
    pub task: Task,
    /// `None` for a job of an older Holdfast, which did not store it.
    pub spec: Option<JobSpec>,
    pub by: Actor,
    /// The job's object in the audit log.
    pub object: String,
}

impl History {
    pub(super) fn new(store: Store) -> Self {
        Self { store }
    }

    /// The highest job number; 0 if there is none.
    pub(super) fn last_number(&self) -> Result<u64> {
        table::last_number(&self.store)
    }

    /// Writes a job that starts. A failure is logged, and the job goes on: the history is optional.
    pub(super) fn begin(&self, row: &Row) {
        // Its end may be written already: a job can be cancelled before this.
        self.write(row, table::begin);
    }

    /// Writes a job that has ended; returns whether the history has it. Never overwrites another job's row.
    pub(super) fn end(&self, row: &Row) -> bool {
        self.write(row, table::end)
    }

    fn write(&self, row: &Row, write: fn(&Store, &NewJob<'_>) -> Result<()>) -> bool {
        let task = row.spec.task();
        let written = write(
            &self.store,
            &NewJob {
                id: row.id.0,
                task: task.key(),
                subject: task.subject(),
                started: row.started,
                ended: row.ended,
                state: &encode(&row.state),
                who: row.by.who(),
                from: row.by.from(),
                request: row.by.request(),
                object: &row.spec.object(),
                spec: serde_json::to_string(&*row.spec).ok().as_deref(),
            },
        );
        written.inspect_err(|error| tracing::error!(%error, job = row.id.0, "could not record a job")).is_ok()
    }

    /// One job.
    pub(super) fn get(&self, id: JobId) -> Result<Option<JobView>> {
        Ok(table::get(&self.store, id.0)?.and_then(shown))
    }

    /// The last jobs, newest first.
    pub(super) fn last(&self, most: u32) -> Result<Vec<JobView>> {
        Ok(table::last(&self.store, most)?.into_iter().filter_map(shown).collect())
    }

    /// The last ended backup of each database.
    pub(super) fn last_backups(&self) -> Result<Vec<JobView>> {
        Ok(table::last_ended_of(&self.store, BACKUP)?.into_iter().filter_map(shown).collect())
    }

    /// The jobs without an end, oldest first.
    pub(super) fn unfinished(&self) -> Result<Vec<Unfinished>> {
        let read = |row: table::Unfinished| {
            Some(Unfinished {
                id: JobId(row.id),
                task: Task::parse(&row.task, &row.subject)?,
                spec: row.spec.and_then(|spec| serde_json::from_str(&spec).ok()),
                by: Actor::kept(row.who, row.from, row.request),
                object: row.object,
            })
        };
        Ok(table::unfinished(&self.store)?.into_iter().filter_map(read).collect())
    }

    /// Ends every job without an end as interrupted. Returns their number.
    pub(super) fn interrupt_unfinished(&self, now: Stamp) -> Result<usize> {
        table::end_unfinished(&self.store, &encode(&JobState::Interrupted), now)
    }
}

/// A stored job for display; `None` if another version stored something unknown.
fn shown(job: StoredJob) -> Option<JobView> {
    Some(JobView {
        id: JobId(job.id),
        task: Task::parse(&job.task, &job.subject)?,
        started: job.started,
        ended: job.ended,
        state: serde_json::from_str(&job.state).ok()?,
    })
}

fn encode(state: &JobState) -> String {
    serde_json::to_string(state).unwrap_or_default()
}
