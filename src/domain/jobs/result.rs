//! The result of a job: a file, or a report.

use crate::domain::error::Result;
use crate::domain::jobs::cancel::Cancel;
use crate::model::audit::Ending;
use crate::model::{BackupName, JobId, JobState, Task};

/// The result of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobResult {
    /// A file was created or moved to its place.
    File(Finished),
    /// A sentence for the reader.
    Report(String),
}

impl From<Finished> for JobResult {
    fn from(finished: Finished) -> Self {
        Self::File(finished)
    }
}

/// A file that was created or moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// The file's name.
    pub file: BackupName,
    /// Its size in bytes.
    pub size: u64,
    /// Warnings of the dump tool or the server.
    pub warnings: Option<String>,
    /// The job that continues this work.
    pub then: Option<JobId>,
}

impl Finished {
    /// The detail in the audit log.
    pub fn told(&self) -> String {
        made(&self.file, self.size)
    }
}

fn made(file: &BackupName, size: u64) -> String {
    format!("{file}, {size} bytes")
}

/// The state in which the job ends, which is logged only here. `lines` are the lines it reported.
pub(super) fn outcome(
    task: &Task,
    result: Result<JobResult>,
    cancel: &Cancel,
    lines: Option<String>,
) -> JobState {
    let (what, of) = (task.key(), task.subject());
    match result {
        Ok(JobResult::Report(message)) => {
            tracing::info!(what, of, message, "job done");
            JobState::Reported { message, detail: lines }
        }
        Ok(JobResult::File(Finished { file, size, warnings, then })) => {
            tracing::info!(what, of, %file, size, "job done");
            JobState::Done { file, size, warnings, then }
        }
        Err(_) if cancel.is_cancelled() => {
            tracing::info!(what, of, "job cancelled");
            JobState::Cancelled
        }
        Err(error) => {
            tracing::error!(what, of, %error, detail = error.detail(), "job failed");
            let words = [lines.as_deref(), error.detail()];
            let detail = words.into_iter().flatten().collect::<Vec<_>>().join("\n");
            JobState::Failed { message: error.to_string(), detail: (!detail.is_empty()).then_some(detail) }
        }
    }
}

/// The outcome and detail of an ended job in the audit log.
pub fn ending_of(state: &JobState) -> (Ending, String) {
    match state {
        JobState::Done { file, size, .. } => (Ending::Ok, made(file, *size)),
        JobState::Reported { message, .. } => (Ending::Ok, message.clone()),
        JobState::Cancelled => (Ending::Cancelled, String::new()),
        JobState::Interrupted => {
            (Ending::Interrupted, "The program stopped before the job ended.".to_owned())
        }
        JobState::Failed { message, .. } => (Ending::Failed, message.clone()),
        JobState::Queued | JobState::Running { .. } => (Ending::Failed, String::new()),
    }
}
