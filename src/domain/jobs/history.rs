//! The history of jobs: one row a job in the state database, from the moment it is queued.

use crate::domain::audit::actor::Actor;
use crate::domain::error::Result;
use crate::domain::jobs::spec::JobSpec;
use crate::domain::state::Store;
use crate::model::{JobId, JobState, JobView, Stamp, Task};
use std::sync::Arc;

/// The history. All calls write to a disk or read from it: none belongs inside a lock that pages wait for.
pub(super) struct History {
    store: Store,
}

/// A job as it is written.
pub(super) struct Row {
    pub id: JobId,
    pub spec: Arc<JobSpec>,
    pub by: Arc<Actor>,
    pub started: Stamp,
    pub ended: Option<Stamp>,
    pub state: JobState,
}

/// A job that a program left without an end.
pub(super) struct Unfinished {
    pub id: JobId,
    pub task: Task,
    /// Nothing for a job of a Holdfast that did not store it yet.
    pub spec: Option<JobSpec>,
    pub by: Actor,
    /// What the audit log calls what it was about.
    pub object: String,
}

impl History {
    pub(super) fn new(store: Store) -> Self {
        Self { store }
    }

    /// The highest number a job has; 0 where there is none.
    pub(super) fn last_number(&self) -> Result<u64> {
        let last = self.store.with(|db| {
            Ok(db.query_row("SELECT coalesce(max(id), 0) FROM jobs", [], |row| row.get::<_, i64>(0))?)
        })?;
        Ok(last.unsigned_abs())
    }

    /// Writes a job that begins. The history is a convenience: a failure is logged, and the job goes on.
    pub(super) fn begin(&self, row: &Row) {
        // Its end may be there already: a job can be cancelled before this.
        self.insert(row, "ON CONFLICT (id) DO NOTHING");
    }

    /// Writes a job that has ended, and says whether it is there. The row of another job is never overwritten.
    pub(super) fn end(&self, row: &Row) -> bool {
        self.insert(
            row,
            "ON CONFLICT (id) DO UPDATE SET ended = excluded.ended, state = excluded.state
             WHERE started = excluded.started AND task = excluded.task AND subject = excluded.subject",
        )
    }

    fn insert(&self, row: &Row, on_conflict: &str) -> bool {
        let task = row.spec.task();
        let values = (
            number(row.id),
            task.key(),
            task.subject(),
            row.started.millis(),
            row.ended.map(Stamp::millis),
            encode(&row.state),
            row.by.who(),
            row.by.from(),
            row.by.request(),
            row.spec.object(),
            serde_json::to_string(&*row.spec).ok(),
        );
        let recorded = self.store.with(|db| {
            Ok(db.execute(
                &format!(
                    "INSERT INTO jobs (id, task, subject, started, ended, state, who, came_from, request, object, spec)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) {on_conflict}"
                ),
                values,
            )?)
        });
        recorded
            .inspect_err(|error| tracing::error!(%error, job = row.id.0, "could not record a job"))
            .is_ok()
    }

    /// One job.
    pub(super) fn get(&self, id: JobId) -> Result<Option<JobView>> {
        Ok(self.read("WHERE id = ?1", number(id))?.pop())
    }

    /// The last jobs, newest first.
    pub(super) fn last(&self, most: u32) -> Result<Vec<JobView>> {
        self.read("ORDER BY id DESC LIMIT ?1", i64::from(most))
    }

    /// The last ended backup of each database.
    pub(super) fn last_backups(&self) -> Result<Vec<JobView>> {
        let last =
            "WHERE id IN (SELECT max(id) FROM jobs WHERE ended >= ?1 AND task = 'create' GROUP BY subject)";
        self.read(last, i64::MIN)
    }

    fn read(&self, tail: &str, value: i64) -> Result<Vec<JobView>> {
        self.store.with(|db| {
            let mut query =
                db.prepare(&format!("SELECT id, started, ended, task, subject, state FROM jobs {tail}"))?;
            let rows = query.query_map([value], |row| {
                let (id, started): (i64, i64) = (row.get(0)?, row.get(1)?);
                let ended: Option<i64> = row.get(2)?;
                let (task, subject, state): (String, String, String) =
                    (row.get(3)?, row.get(4)?, row.get(5)?);
                let read = Task::parse(&task, &subject).zip(serde_json::from_str(&state).ok());
                Ok(read.map(|(task, state)| JobView {
                    id: JobId(id.unsigned_abs()),
                    task,
                    started: Stamp::from_millis(started),
                    ended: ended.map(Stamp::from_millis),
                    state,
                }))
            })?;
            Ok(rows.filter_map(Result::transpose).collect::<Result<_, _>>()?)
        })
    }

    /// The jobs that have no end, oldest first.
    pub(super) fn unfinished(&self) -> Result<Vec<Unfinished>> {
        self.store.with(|db| {
            let mut query = db.prepare(
                "SELECT id, task, subject, who, came_from, request, coalesce(object, subject), spec
                 FROM jobs WHERE ended IS NULL ORDER BY id",
            )?;
            let rows = query.query_map([], |row| {
                let (id, task, subject): (i64, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
                let spec: Option<String> = row.get(7)?;
                let by = Actor::kept(row.get(3)?, row.get(4)?, row.get(5)?);
                let object = row.get(6)?;
                Ok(Task::parse(&task, &subject).map(|task| Unfinished {
                    id: JobId(id.unsigned_abs()),
                    task,
                    spec: spec.and_then(|spec| serde_json::from_str(&spec).ok()),
                    by,
                    object,
                }))
            })?;
            Ok(rows.filter_map(Result::transpose).collect::<Result<_, _>>()?)
        })
    }

    /// Ends every job that has no end as interrupted. Gives how many there were.
    pub(super) fn interrupt_unfinished(&self, now: Stamp) -> Result<usize> {
        let state = encode(&JobState::Interrupted);
        self.store.with(|db| {
            Ok(db.execute(
                "UPDATE jobs SET state = ?1, ended = ?2 WHERE ended IS NULL",
                (state, now.millis()),
            )?)
        })
    }
}

fn number(id: JobId) -> i64 {
    i64::try_from(id.0).unwrap_or(i64::MAX)
}

fn encode(state: &JobState) -> String {
    serde_json::to_string(state).unwrap_or_default()
}
