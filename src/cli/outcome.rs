//! The result of a command: success, or a sentence with an exit status.

use crate::domain::Error;
use crate::domain::error::Code;

/// The result of a command.
pub type Outcome = Result<(), Failure>;

/// Why a command failed: a sentence for people, a status for scripts.
#[derive(Debug)]
pub struct Failure {
    /// The sentence to print.
    pub sentence: String,
    /// Exit status: 3 if a backup is damaged or cannot be restored, otherwise 1. Clap exits with 2 on wrong usage.
    pub status: u8,
}

impl From<String> for Failure {
    fn from(sentence: String) -> Self {
        Self { sentence, status: 1 }
    }
}

impl Failure {
    /// The failure for `error`, with its details, such as the output of a tool.
    pub fn of(error: &Error) -> Self {
        let status = if error.code() == Code::BackupDamaged { 3 } else { 1 };
        Self { sentence: with_detail(error), status }
    }
}

/// The failure for a backup that is damaged or cannot be restored.
pub fn damaged(sentence: String) -> Failure {
    Failure { sentence, status: 3 }
}

/// The error as a sentence, followed by its details, such as the output of a tool, if there are any.
pub fn with_detail(error: &Error) -> String {
    match error.detail() {
        Some(detail) => format!("{error}\n{detail}"),
        None => error.to_string(),
    }
}
