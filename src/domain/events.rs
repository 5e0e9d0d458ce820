//! What happened, as one typed stream: for the audit log, notifications and metrics.
//!
//! [`Audit::tell`](crate::domain::audit::log::Audit::tell) and the job queue are the only ones that send. Nobody
//! waits for a subscriber: one that is too slow misses the oldest events, and is told how many.

use crate::domain::audit::actor::Actor;
use crate::domain::audit::note::Noted;
use crate::domain::jobs::result::ending_of;
use crate::domain::jobs::spec::JobSpec;
use crate::model::audit::{Ending, Event};
use crate::model::{BackupName, JobId, JobState, Proof, Stamp};
use std::borrow::Cow;
use std::sync::Arc;
use tokio::sync::broadcast;

/// How many events a subscriber may lag behind.
const BACKLOG: usize = 1024;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happened {
    /// When, in UTC.
    pub at: Stamp,
    /// Who did it.
    pub by: Arc<Actor>,
    /// What happened.
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A job waits for its turn.
    JobQueued {
        /// Its number.
        job: JobId,
        /// What it is to do.
        spec: Arc<JobSpec>,
    },
    /// A job runs.
    JobStarted {
        /// Its number.
        job: JobId,
        /// What it does.
        spec: Arc<JobSpec>,
    },
    /// A job has ended: a backup was made, uploaded or restored, or was not. The history has it already.
    JobEnded {
        /// Its number.
        job: JobId,
        /// What it did.
        spec: Arc<JobSpec>,
        /// How it ended.
        state: JobState,
    },
    /// A backup was verified.
    BackupVerified {
        /// The backup.
        file: BackupName,
        /// What was found.
        proof: Proof,
    },
    /// A backup was deleted.
    BackupDeleted {
        /// The backup.
        file: BackupName,
        /// Its size in bytes.
        size: u64,
    },
    /// Anything else that the audit log notes: a login, settings, a refusal.
    Noted(Noted),
}

impl What {
    /// What the audit log notes of it, if anything.
    pub fn noted(&self) -> Option<Cow<'_, Noted>> {
        match self {
            Self::JobQueued { .. } | Self::JobStarted { .. } | Self::BackupVerified { .. } => None,
            Self::JobEnded { spec, state, .. } => {
                let (ending, detail) = ending_of(state);
                Some(Cow::Owned(Noted::new(spec.event(), spec.object(), ending, detail)))
            }
            Self::BackupDeleted { file, size } => {
                let detail = format!("{size} bytes");
                Some(Cow::Owned(Noted::new(Event::BackupDeleted, file.as_str(), Ending::Ok, detail)))
            }
            Self::Noted(noted) => Some(Cow::Borrowed(noted)),
        }
    }
}

/// The stream. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Events {
    sender: broadcast::Sender<Happened>,
}

impl Default for Events {
    fn default() -> Self {
        Self { sender: broadcast::Sender::new(BACKLOG) }
    }
}

impl Events {
    /// Everything that happens from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Happened> {
        self.sender.subscribe()
    }

    /// Sends an event to everybody who listens. Never waits.
    pub fn send(&self, happened: Happened) {
        // Nobody listens: that is no failure.
        let _ = self.sender.send(happened);
    }
}
