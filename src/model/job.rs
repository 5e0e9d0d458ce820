//! A backup run, from the queue to its outcome.

use super::{BackupName, DatabaseName, Stamp};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A job's number, rising with every job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(pub u64);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A job as the page shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobView {
    /// Its number.
    pub id: JobId,
    /// The database it backs up.
    pub database: DatabaseName,
    /// When it was asked for.
    pub started: Stamp,
    /// When it ended.
    pub ended: Option<Stamp>,
    /// Where it stands.
    pub state: JobState,
}

impl JobView {
    /// Milliseconds from being asked for to its end; nothing while it has not ended.
    pub fn took(&self) -> Option<u64> {
        self.ended.map(|ended| ended.millis().saturating_sub(self.started.millis()).unsigned_abs())
    }
}

/// Where a job stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum JobState {
    /// It waits for another to end.
    Queued,
    /// It runs.
    Running {
        /// What it does now.
        phase: Phase,
        /// Bytes read from the database so far.
        read: u64,
        /// Bytes written to the draft so far.
        written: u64,
        /// Bytes there will be to read, where the engine can tell.
        total: Option<u64>,
    },
    /// The file is published.
    Done {
        /// Its name.
        file: BackupName,
        /// Its size in bytes.
        size: u64,
        /// What the dump tool warned of, if it did.
        warnings: Option<String>,
    },
    /// Nothing was published.
    Failed {
        /// A sentence for the reader.
        message: String,
        /// The tool's own words, capped and without secrets.
        detail: Option<String>,
    },
    /// Somebody cancelled it; nothing was published.
    Cancelled,
    /// Holdfast ended while it ran; nothing was published.
    Interrupted,
}

impl JobState {
    /// Whether it still has to end.
    pub const fn is_active(&self) -> bool {
        matches!(self, Self::Queued | Self::Running { .. })
    }

    /// One word for the history.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Queued => "waiting",
            Self::Running { .. } => "running",
            Self::Done { .. } => "created",
            Self::Failed { .. } => "failed",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
        }
    }
}

/// What a running backup does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Reaching the database.
    Connecting,
    /// Taking one consistent copy (SQLite).
    Copying,
    /// Reading, compressing, hashing, writing: one pass.
    Compressing,
    /// Making it durable and giving it its name.
    Publishing,
}

impl Phase {
    /// The word in the job strip.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Copying => "copying",
            Self::Compressing => "compressing",
            Self::Publishing => "publishing",
        }
    }
}

/// What every open page is told whenever something changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live {
    /// The server's clock, so that pages need none of their own.
    pub now: Stamp,
    /// Rises whenever the list of backups may have changed.
    pub catalog: u64,
    /// Jobs that wait or run, and those that ended a short while ago; oldest first.
    pub jobs: Vec<JobView>,
}

impl Live {
    /// Whether a backup of `database` waits or runs.
    pub fn is_busy(&self, database: &DatabaseName) -> bool {
        self.jobs.iter().any(|job| job.state.is_active() && job.database == *database)
    }
}

/// Why a second backup of `database` is refused.
pub fn already_under_way(database: &DatabaseName) -> String {
    format!("A backup of {database} is already under way. Wait for it to end, or cancel it.")
}
