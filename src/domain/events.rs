//! One typed stream of events, for the audit log, notifications and metrics.
//!
//! Only [`Audit::tell`](crate::domain::audit::log::Audit::tell) and the job queue send events. Sending never waits: a
//! subscriber that is too slow misses the oldest events, and learns how many it missed.

use crate::domain::audit::actor::Actor;
use crate::domain::audit::note::Noted;
use crate::domain::jobs::result::ending_of;
use crate::domain::jobs::spec::JobSpec;
use crate::model::audit::{Ending, Event};
use crate::model::{BackupName, JobId, JobState, Proof, Stamp};
use std::borrow::Cow;
use std::sync::Arc;
use tokio::sync::broadcast;

/// How many events a subscriber can fall behind before it misses any.
const BACKLOG: usize = 1024;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happened {
    /// The time, in UTC.
    pub at: Stamp,
    /// The actor who caused the event.
    pub by: Arc<Actor>,
    /// What happened.
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A job was queued.
    JobQueued {
        /// Its number.
        job: JobId,
        /// What the job does.
        spec: Arc<JobSpec>,
    },
    /// A job started.
    JobStarted {
        /// Its number.
        job: JobId,
        /// What the job does.
        spec: Arc<JobSpec>,
    },
    /// A job ended, well or badly. The job history already contains the result.
    JobEnded {
        /// Its number.
        job: JobId,
        /// What the job did.
        spec: Arc<JobSpec>,
        /// How it ended.
        state: JobState,
    },
    /// A backup was verified.
    BackupVerified {
        /// The backup.
        file: BackupName,
        /// What the verification proved.
        proof: Proof,
    },
    /// A backup was deleted.
    BackupDeleted {
        /// The backup.
        file: BackupName,
        /// Its size in bytes.
        size: u64,
    },
    /// Anything else that goes to the audit log: a login, changed settings, a refusal.
    Noted(Noted),
}

impl What {
    /// The audit log entry for this event, if it gets one.
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
    /// Subscribes to all events from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Happened> {
        self.sender.subscribe()
    }

    /// Sends an event to all subscribers. Never waits.
    pub fn send(&self, happened: Happened) {
        // An error means that there is no subscriber, which is fine.
        let _ = self.sender.send(happened);
    }
}
