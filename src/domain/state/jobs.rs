//! Table `jobs`: the job history, and which jobs an earlier server left unfinished.

use crate::domain::error::Result;
use crate::domain::state::Store;
use crate::model::Stamp;
use rusqlite::Params;

/// A job to be stored.
#[derive(Debug)]
pub struct NewJob<'a> {
    /// Its number.
    pub id: u64,
    /// The key of its task.
    pub task: &'a str,
    /// The task's subject.
    pub subject: &'a str,
    /// When it was started.
    pub started: Stamp,
    /// When it ended; `None` if it has not.
    pub ended: Option<Stamp>,
    /// Its state, as JSON.
    pub state: &'a str,
    /// Who started it.
    pub who: Option<&'a str>,
    /// From where.
    pub from: Option<&'a str>,
    /// By which request.
    pub request: Option<&'a str>,
    /// Its object in the audit log.
    pub object: &'a str,
    /// Its description, as JSON.
    pub spec: Option<&'a str>,
}

/// A job of the history.
#[derive(Debug)]
pub struct StoredJob {
    /// Its number.
    pub id: u64,
    /// The key of its task.
    pub task: String,
    /// The task's subject.
    pub subject: String,
    /// When it was started.
    pub started: Stamp,
    /// When it ended; `None` if it has not.
    pub ended: Option<Stamp>,
    /// Its state, as JSON.
    pub state: String,
}

/// A job that has not ended.
#[derive(Debug)]
pub struct Unfinished {
    /// Its number.
    pub id: u64,
    /// The key of its task.
    pub task: String,
    /// The task's subject.
    pub subject: String,
    /// Who started it.
    pub who: Option<String>,
    /// From where.
    pub from: Option<String>,
    /// By which request.
    pub request: Option<String>,
    /// Its object in the audit log.
    pub object: String,
    /// Its description, as JSON; `None` for a job of an older Holdfast, which did not store it.
    pub spec: Option<String>,
}

/// The number of the last job; 0 if there is none.
pub fn last_number(store: &Store) -> Result<u64> {
    store.with(|db| {
        let last = db.query_row("SELECT coalesce(max(id), 0) FROM jobs", [], |row| row.get::<_, i64>(0))?;
        Ok(last.unsigned_abs())
    })
}

/// The jobs that have not ended, by number.
pub fn unfinished(store: &Store) -> Result<Vec<Unfinished>> {
    store.with(|db| {
        let mut query = db.prepare(
            "SELECT id, task, subject, who, came_from, request, coalesce(object, subject), spec
             FROM jobs WHERE ended IS NULL ORDER BY id",
        )?;
        let rows = query.query_map([], |row| {
            Ok(Unfinished {
                id: row.get::<_, i64>(0)?.unsigned_abs(),
                task: row.get(1)?,
                subject: row.get(2)?,
                who: row.get(3)?,
                from: row.get(4)?,
                request: row.get(5)?,
                object: row.get(6)?,
                spec: row.get(7)?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    })
}

/// Ends every job that has not ended, in the state `state`. Returns their number.
pub fn end_unfinished(store: &Store, state: &str, now: Stamp) -> Result<usize> {
    store.with(|db| {
        let sql = "UPDATE jobs SET state = ?1, ended = ?2 WHERE ended IS NULL";
        Ok(db.execute(sql, (state, now.millis()))?)
    })
}

/// Stores a job that starts. An existing row stays: the job may have ended already, or the number belongs to
/// another job.
pub fn begin(store: &Store, job: &NewJob<'_>) -> Result<()> {
    insert(store, job, "ON CONFLICT (id) DO NOTHING")
}

/// Stores a job that has ended. The row of another job with its number stays.
pub fn end(store: &Store, job: &NewJob<'_>) -> Result<()> {
    insert(
        store,
        job,
        "ON CONFLICT (id) DO UPDATE SET ended = excluded.ended, state = excluded.state
         WHERE started = excluded.started AND task = excluded.task AND subject = excluded.subject",
    )
}

fn insert(store: &Store, job: &NewJob<'_>, on_conflict: &str) -> Result<()> {
    let sql = format!(
        "INSERT INTO jobs (id, task, subject, started, ended, state, who, came_from, request, object, spec)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) {on_conflict}"
    );
    store.with(|db| {
        db.execute(
            &sql,
            (
                signed(job.id),
                job.task,
                job.subject,
                job.started.millis(),
                job.ended.map(Stamp::millis),
                job.state,
                job.who,
                job.from,
                job.request,
                job.object,
                job.spec,
            ),
        )?;
        Ok(())
    })
}

/// The last `most` jobs, newest first.
pub fn last(store: &Store, most: u32) -> Result<Vec<StoredJob>> {
    read(store, "ORDER BY id DESC LIMIT ?1", [most])
}

/// The job with that number.
pub fn get(store: &Store, id: u64) -> Result<Option<StoredJob>> {
    Ok(read(store, "WHERE id = ?1", [signed(id)])?.pop())
}

/// For each subject, the last ended job with this task.
pub fn last_ended_of(store: &Store, task: &str) -> Result<Vec<StoredJob>> {
    let last =
        "WHERE id IN (SELECT max(id) FROM jobs WHERE ended IS NOT NULL AND task = ?1 GROUP BY subject)";
    read(store, last, [task])
}

fn read(store: &Store, which: &str, value: impl Params) -> Result<Vec<StoredJob>> {
    store.with(|db| {
        let sql = format!("SELECT id, started, ended, task, subject, state FROM jobs {which}");
        let mut query = db.prepare(&sql)?;
        let rows = query.query_map(value, |row| {
            Ok(StoredJob {
                id: row.get::<_, i64>(0)?.unsigned_abs(),
                started: Stamp::from_millis(row.get(1)?),
                ended: row.get::<_, Option<i64>>(2)?.map(Stamp::from_millis),
                task: row.get(3)?,
                subject: row.get(4)?,
                state: row.get(5)?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    })
}

/// A number as SQLite stores it: its integers are signed.
fn signed(id: u64) -> i64 {
    i64::try_from(id).unwrap_or(i64::MAX)
}
