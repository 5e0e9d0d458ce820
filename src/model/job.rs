//! A job as pages show it: its task, its progress and its result.

use super::{BackupName, DatabaseName, Stamp};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A job's number. Later jobs have higher numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(pub u64);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The task of a job, as pages show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "does", content = "of", try_from = "Named")]
pub enum Task {
    /// Backs up a database.
    Create(DatabaseName),
    /// Uploads a backup to a destination.
    Upload(BackupName),
    /// Fetches a copy from a destination.
    Fetch(BackupName),
    /// Verifies backups. The text is for people: the name of a single backup, or `3 backups`.
    Verify(String),
    /// Checks backups without a manifest and writes their manifests. The text is as in `Verify`.
    Adopt(String),
    /// Restores a backup into a database.
    Restore(BackupName),
}

/// A queue of tasks that run one after another. Different queues run at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    /// Tasks that read databases.
    Backups,
    /// Tasks that transfer copies over the network.
    Transfers,
    /// Tasks that read backups.
    Checks,
    /// Tasks that write databases.
    Restores,
}

/// The serialized form of a task: its key and its subject. Reading a tagged enum directly would make serde buffer all
/// fields until it knows the variant, which takes much code in the browser.
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
    /// The kind of task, as the history stores it.
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

    /// The database or the backup.
    pub fn subject(&self) -> &str {
        match self {
            Self::Create(database) => database.as_str(),
            Self::Upload(file) | Self::Fetch(file) | Self::Restore(file) => file.as_str(),
            Self::Verify(what) | Self::Adopt(what) => what,
        }
    }

    /// The task with this [`key`](Self::key) and [`subject`](Self::subject).
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
            Self::Fetch(_) => "Fetch",
            Self::Verify(_) => "Verification",
            Self::Adopt(_) => "Adoption",
            Self::Restore(_) => "Restore",
        };
        format!("{what} of {}", self.subject())
    }

    /// The past participle of the task, as in "created".
    pub const fn done(&self) -> &'static str {
        match self {
            Self::Create(_) => "created",
            Self::Upload(_) => "uploaded",
            Self::Fetch(_) => "fetched",
            Self::Verify(_) => "verified",
            Self::Adopt(_) => "adopted",
            Self::Restore(_) => "restored",
        }
    }

    /// The queue that the task waits in.
    pub const fn queue(&self) -> Queue {
        match self {
            Self::Create(_) => Queue::Backups,
            Self::Upload(_) | Self::Fetch(_) => Queue::Transfers,
            Self::Verify(_) | Self::Adopt(_) => Queue::Checks,
            Self::Restore(_) => Queue::Restores,
        }
    }

    /// Why the same task is refused a second time.
    pub fn already_under_way(&self) -> String {
        match self {
            Self::Create(database) => already_under_way(database),
            Self::Upload(file) | Self::Fetch(file) => {
                format!("{file} is already being transferred. Wait for that job to end, or cancel it.")
            }
            _ => format!("{} is already under way. Wait for it to end, or cancel it.", self.title()),
        }
    }
}

/// A job as the page shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobView {
    /// The number.
    pub id: JobId,
    /// The task.
    pub task: Task,
    /// When it was queued.
    pub started: Stamp,
    /// When it ended.
    pub ended: Option<Stamp>,
    /// The state.
    pub state: JobState,
}

impl JobView {
    /// One word for the history: the result or the state.
    pub const fn word(&self) -> &'static str {
        match self.state {
            JobState::Done { .. } | JobState::Reported { .. } => self.task.done(),
            _ => self.state.label(),
        }
    }

    /// Milliseconds from queueing to the end; `None` before the end.
    pub fn took(&self) -> Option<u64> {
        self.ended.map(|ended| ended.millis().saturating_sub(self.started.millis()).unsigned_abs())
    }
}

/// The state of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is", try_from = "Parts")]
pub enum JobState {
    /// It waits for another job.
    Queued,
    /// It runs.
    Running {
        /// The current phase.
        phase: Phase,
        /// Bytes read so far: from the database, or from the file that is transferred.
        read: u64,
        /// Bytes written to the draft so far; 0 for a transfer.
        written: u64,
        /// Total bytes to read, if known.
        total: Option<u64>,
        /// The last message of the job.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        told: Option<String>,
    },
    /// It succeeded and produced a file.
    Done {
        /// The file's name.
        file: BackupName,
        /// The file's size in bytes.
        size: u64,
        /// Warnings of the dump tool or the server.
        warnings: Option<String>,
        /// The job that follows: the upload of the new backup.
        #[serde(default)]
        then: Option<JobId>,
    },
    /// It succeeded and reports its result in words. Stored as `told`, for histories of earlier versions.
    #[serde(rename = "told")]
    Reported {
        /// A sentence for people.
        message: String,
        /// The steps, a line each.
        detail: Option<String>,
    },
    /// It failed.
    Failed {
        /// A sentence for people.
        message: String,
        /// The tool's own output, shortened and without secrets.
        detail: Option<String>,
    },
    /// A user cancelled it. Nothing was published.
    Cancelled,
    /// Holdfast stopped while it ran. No partial file was kept. If Holdfast stopped right after the commit, the
    /// complete file exists.
    Interrupted,
}

/// The serialized form of a state, for the same reason as `Named`.
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
    /// Whether the job has not ended yet.
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

/// The current phase of a running job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Connecting to the database or the server.
    Connecting,
    /// Taking one consistent copy (SQLite).
    Copying,
    /// Reading, compressing, hashing, writing: one pass.
    Compressing,
    /// Syncing the file to disk and renaming it.
    Publishing,
    /// Comparing the draft of an earlier attempt with the local file.
    Comparing,
    /// Sending.
    Sending,
    /// Receiving.
    Receiving,
    /// Reading the copy back, to compare it.
    ReadingBack,
    /// Waiting before the next attempt.
    Waiting,
    /// Reading a backup to its end, to verify it.
    Checking,
    /// Filling a scratch database.
    Restoring,
    /// Moving the restored database into place.
    Swapping,
}

impl Phase {
    /// Every phase, in the order of the variants.
    pub const ALL: [Self; 12] = [
        Self::Connecting,
        Self::Copying,
        Self::Compressing,
        Self::Publishing,
        Self::Comparing,
        Self::Sending,
        Self::Receiving,
        Self::ReadingBack,
        Self::Waiting,
        Self::Checking,
        Self::Restoring,
        Self::Swapping,
    ];

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

/// The event that every open page gets whenever something changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live {
    /// The server's clock. Pages do not use the browser's.
    pub now: Stamp,
    /// Version of the list of backups. It rises whenever the list may have changed.
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
