//! The result of a command: success, or a sentence with an exit status.

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

/// The failure for a backup that is damaged or cannot be restored.
pub fn damaged(sentence: String) -> Failure {
    Failure { sentence, status: 3 }
}
