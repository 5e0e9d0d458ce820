//! Table `jobs`: the job history, and which jobs an earlier server left unfinished.

use crate::domain::error::Result;
use crate::domain::state::Store;
use crate::model::Stamp;
use rusqlite::Params;

/// A job as it is stored.
#[derive(Debug)]
pub struct NewJob<'a> {
    /// Its number.
    pub id: u64,
    /// The key of its task.
    pub task: &'a str,
    /// What the task is about.
    pub subject: &'a str,
    /// When it was begun.
    pub started: Stamp,
    /// When it ended; `None` where it has not.
    pub ended: Option<Stamp>,
    /// Its state, as JSON.
    pub state: &'a str,
    /// Who began it.
    pub who: Option<&'a str>,
    /// From where.
    pub from: Option<&'a str>,
    /// By which request.
    pub request: Option<&'a str>,
    /// What the audit log calls its subject, where that is another word.
    pub object: Option<&'a str>,
}

/// A job of the history.
#[derive(Debug)]
pub struct StoredJob {
    /// Its number.
    pub id: u64,
    /// The key of its task.
    pub task: String,
    /// What the task is about.
    pub subject: String,
    /// When it was begun.
    pub started: Stamp,
    /// When it ended; `None` where it has not.
    pub ended: Option<Stamp>,
    /// Its state, as JSON.
    pub state: String,
}

/// A job that has not ended.
#[derive(Debug)]
pub struct Unfinished {
    /// The key of its task.
    pub task: String,
    /// What the task is about.
    pub subject: String,
    /// Who began it.
    pub who: Option<String>,
    /// From where.
    pub from: Option<String>,
    /// By which request.
    pub request: Option<String>,
    /// What the audit log calls its subject.
    pub object: String,
}

/// The number of the last job; 0 where there was none.
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
            "SELECT task, subject, who, came_from, request, coalesce(object, subject)
             FROM jobs WHERE ended IS NULL ORDER BY id",
        )?;
        let rows = query.query_map([], |row| {
            Ok(Unfinished {
                task: row.get(0)?,
                subject: row.get(1)?,
                who: row.get(2)?,
                from: row.get(3)?,
                request: row.get(4)?,
                object: row.get(5)?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    })
}

/// Ends every job that has not ended, in the state `state`. Gives how many.
pub fn end_unfinished(store: &Store, state: &str, now: Stamp) -> Result<usize> {
    store.with(|db| {
        let sql = "UPDATE jobs SET state = ?1, ended = ?2 WHERE ended IS NULL";
        Ok(db.execute(sql, (state, now.millis()))?)
    })
}

/// Stores a job, or the new state of one that is stored.
pub fn record(store: &Store, job: &NewJob<'_>) -> Result<()> {
    store.with(|db| {
        db.execute(
            "INSERT INTO jobs (id, task, subject, started, ended, state, who, came_from, request, object)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
             ON CONFLICT (id) DO UPDATE SET ended = excluded.ended, state = excluded.state",
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
            ),
        )?;
        Ok(())
    })
}

/// The last `most` jobs, the newest first.
pub fn last(store: &Store, most: u32) -> Result<Vec<StoredJob>> {
    read(store, "ORDER BY id DESC LIMIT ?1", [most])
}

/// The job of that number.
pub fn get(store: &Store, id: u64) -> Result<Option<StoredJob>> {
    Ok(read(store, "WHERE id = ?1", [signed(id)])?.pop())
}

/// Of each subject, the last job of this task that has ended.
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
