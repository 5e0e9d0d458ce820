//! A job as pages show it: what it does, where it stands, and what it came to.

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

/// What a job does, as pages show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "does", content = "of", try_from = "Named")]
pub enum Task {
    /// Makes a backup of a database.
    Create(DatabaseName),
    /// Sends a backup off-site.
    Upload(BackupName),
    /// Brings an off-site copy back.
    Fetch(BackupName),
    /// Verifies backups. The text is for the reader: the name of the only one, or `3 backups`.
    Verify(String),
    /// Verifies backups that have no manifest, and writes their manifests. The text as for `Verify`.
    Adopt(String),
    /// Restores a backup into a database.
    Restore(BackupName),
}

/// Tasks that wait for one another. Those of different queues do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    /// Reads databases.
    Backups,
    /// Goes over the network to the off-site store.
    Transfers,
    /// Reads backups.
    Checks,
    /// Writes databases.
    Restores,
}

/// A task as it is written: its key and its subject. Read through this, serde need not keep everything aside
/// until it knows what it is, which takes a good deal of code in the browser.
#[derive(Deserialize)]
struct Named {
    does: String,
    of: String,
}

impl TryFrom<Named> for Task {
    type Error = &'static str;

    fn try_from(Named { does, of }: Named) -> Result<Self, &'static str> {
        Self::parse(&does, &of).ok_or("not a task")
    }
}

impl Task {
    /// The kind, as the history keeps it.
    pub const fn key(&self) -> &'static str {
        match self {
            Self::Create(_) => "create",
            Self::Upload(_) => "upload",
            Self::Fetch(_) => "fetch",
            Self::Verify(_) => "verify",
            Self::Adopt(_) => "adopt",
            Self::Restore(_) => "restore",
        }
    }

    /// The database or the backup it is about.
    pub fn subject(&self) -> &str {
        match self {
            Self::Create(database) => database.as_str(),
            Self::Upload(file) | Self::Fetch(file) | Self::Restore(file) => file.as_str(),
            Self::Verify(what) | Self::Adopt(what) => what,
        }
    }

    /// The task of that [`key`](Self::key) and [`subject`](Self::subject).
    pub fn parse(key: &str, subject: &str) -> Option<Self> {
        match key {
            "create" => subject.parse().ok().map(Self::Create),
            "upload" => subject.parse().ok().map(Self::Upload),
            "fetch" => subject.parse().ok().map(Self::Fetch),
            "verify" => Some(Self::Verify(subject.to_owned())),
            "adopt" => Some(Self::Adopt(subject.to_owned())),
            "restore" => subject.parse().ok().map(Self::Restore),
            _ => None,
        }
    }

    /// `Backup of ledger`, `Upload of backup_….dump.gz`.
    pub fn title(&self) -> String {
        let what = match self {
            Self::Create(_) => "Backup",
            Self::Upload(_) => "Upload",
            Self::Fetch(_) => "Download from off-site",
            Self::Verify(_) => "Verification",
            Self::Adopt(_) => "Adoption",
            Self::Restore(_) => "Restore",
        };
        format!("{what} of {}", self.subject())
    }

    /// What was done once it is.
    pub const fn done(&self) -> &'static str {
        match self {
            Self::Create(_) => "created",
            Self::Upload(_) => "uploaded",
            Self::Fetch(_) => "brought back",
            Self::Verify(_) => "verified",
            Self::Adopt(_) => "adopted",
            Self::Restore(_) => "restored",
        }
    }

    /// Which others it waits for.
    pub const fn queue(&self) -> Queue {
        match self {
            Self::Create(_) => Queue::Backups,
            Self::Upload(_) | Self::Fetch(_) => Queue::Transfers,
            Self::Verify(_) | Self::Adopt(_) => Queue::Checks,
            Self::Restore(_) => Queue::Restores,
        }
    }

    /// Why the same is not begun twice.
    pub fn already_under_way(&self) -> String {
        match self {
            Self::Create(database) => already_under_way(database),
            Self::Upload(file) | Self::Fetch(file) => {
                format!("{file} is already being transferred. Wait for that job to end, or cancel it.")
            }
            _ => format!("{} is under way already. Wait for it to end, or cancel it.", self.title()),
        }
    }
}

/// A job as the page shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobView {
    /// Its number.
    pub id: JobId,
    /// What it does.
    pub task: Task,
    /// When it was asked for.
    pub started: Stamp,
    /// When it ended.
    pub ended: Option<Stamp>,
    /// Where it stands.
    pub state: JobState,
}

impl JobView {
    /// One word for the history: what was done, or how it stands.
    pub const fn word(&self) -> &'static str {
        match self.state {
            JobState::Done { .. } | JobState::Reported { .. } => self.task.done(),
            _ => self.state.label(),
        }
    }

    /// Milliseconds from being asked for to its end; nothing while it has not ended.
    pub fn took(&self) -> Option<u64> {
        self.ended.map(|ended| ended.millis().saturating_sub(self.started.millis()).unsigned_abs())
    }
}

/// Where a job stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is", try_from = "Parts")]
pub enum JobState {
    /// It waits for another to end.
    Queued,
    /// It runs.
    Running {
        /// What it does now.
        phase: Phase,
        /// Bytes read so far: from the database, or of the file that is sent or fetched.
        read: u64,
        /// Bytes written to the draft so far; nothing for a transfer.
        written: u64,
        /// Bytes there will be to read, where that is known.
        total: Option<u64>,
        /// What it last had to tell.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        told: Option<String>,
    },
    /// The file is where it was to be.
    Done {
        /// Its name.
        file: BackupName,
        /// Its size in bytes.
        size: u64,
        /// What the dump tool or the server made worth knowing.
        warnings: Option<String>,
        /// The job that goes on from here: the upload of what was created.
        #[serde(default)]
        then: Option<JobId>,
    },
    /// It went well, and reports what came of it. Written as `told`, as in histories of earlier versions.
    #[serde(rename = "told")]
    Reported {
        /// A sentence for the reader.
        message: String,
        /// What was done on the way, a line each.
        detail: Option<String>,
    },
    /// It came to nothing.
    Failed {
        /// A sentence for the reader.
        message: String,
        /// The tool's own words, capped and without secrets.
        detail: Option<String>,
    },
    /// Somebody cancelled it; nothing was published.
    Cancelled,
    /// Holdfast ended while it ran. Nothing half-made was kept; where it ended in the moment after the commit, the
    /// file is there, whole.
    Interrupted,
}

/// A state as it is written, for the same reason.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Parts {
    is: String,
    phase: Option<Phase>,
    read: u64,
    written: u64,
    total: Option<u64>,
    told: Option<String>,
    file: Option<BackupName>,
    size: u64,
    warnings: Option<String>,
    then: Option<JobId>,
    message: String,
    detail: Option<String>,
}

impl TryFrom<Parts> for JobState {
    type Error = &'static str;

    fn try_from(parts: Parts) -> Result<Self, &'static str> {
        let Parts { is, phase, read, written, total, told, file, size, warnings, then, message, detail } =
            parts;
        match (is.as_str(), phase, file) {
            ("queued", ..) => Ok(Self::Queued),
            ("running", Some(phase), _) => Ok(Self::Running { phase, read, written, total, told }),
            ("done", _, Some(file)) => Ok(Self::Done { file, size, warnings, then }),
            ("told", ..) => Ok(Self::Reported { message, detail }),
            ("failed", ..) => Ok(Self::Failed { message, detail }),
            ("cancelled", ..) => Ok(Self::Cancelled),
            ("interrupted", ..) => Ok(Self::Interrupted),
            _ => Err("not the state of a job"),
        }
    }
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
            Self::Done { .. } | Self::Reported { .. } => "done",
            Self::Failed { .. } => "failed",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
        }
    }
}

/// What a running job does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Reaching the database or the server.
    Connecting,
    /// Taking one consistent copy (SQLite).
    Copying,
    /// Reading, compressing, hashing, writing: one pass.
    Compressing,
    /// Making it durable and giving it its name.
    Publishing,
    /// Comparing what an earlier try left at the server with the file here.
    Comparing,
    /// Sending.
    Sending,
    /// Receiving.
    Receiving,
    /// Reading what was sent, to compare.
    ReadingBack,
    /// Waiting before another try.
    Waiting,
    /// Reading a backup to its end, to verify it.
    Checking,
    /// Filling a scratch database.
    Restoring,
    /// Giving what was restored its place.
    Swapping,
}

impl Phase {
    /// The word in the job strip.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Copying => "copying",
            Self::Compressing => "compressing",
            Self::Publishing => "publishing",
            Self::Comparing => "comparing",
            Self::Sending => "sending",
            Self::Receiving => "receiving",
            Self::ReadingBack => "reading back",
            Self::Waiting => "waiting to try again",
            Self::Checking => "checking",
            Self::Restoring => "restoring",
            Self::Swapping => "putting into place",
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
        self.jobs
            .iter()
            .any(|job| job.state.is_active() && matches!(&job.task, Task::Create(name) if name == database))
    }
}

/// Why a second backup of `database` is refused.
pub fn already_under_way(database: &DatabaseName) -> String {
    format!("A backup of {database} is already under way. Wait for it to end, or cancel it.")
}
