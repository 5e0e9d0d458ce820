//! The checklist of "Test connection" on the SFTP settings page: each step with its result.

use super::HostKeyFound;
use serde::{Deserialize, Serialize};

/// A step of the checklist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckStep {
    /// The host's name has an address.
    Resolve,
    /// An SSH server answers.
    Connect,
    /// The server has an approved host key.
    HostKey,
    /// The server accepts the credentials.
    LogIn,
    /// The directory exists or was created.
    Directory,
    /// A file can be written.
    Write,
    /// The file can be renamed.
    Rename,
    /// The file can be read, and its content is correct.
    ReadBack,
    /// The file can be deleted.
    Delete,
    /// The free space is known.
    FreeSpace,
}

impl CheckStep {
    /// All, in order.
    pub const ALL: [Self; 10] = [
        Self::Resolve,
        Self::Connect,
        Self::HostKey,
        Self::LogIn,
        Self::Directory,
        Self::Write,
        Self::Rename,
        Self::ReadBack,
        Self::Delete,
        Self::FreeSpace,
    ];

    /// The step's name.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Resolve => "Resolve",
            Self::Connect => "Connect",
            Self::HostKey => "Host key",
            Self::LogIn => "Log in",
            Self::Directory => "Directory",
            Self::Write => "Write",
            Self::Rename => "Rename",
            Self::ReadBack => "Read back",
            Self::Delete => "Delete",
            Self::FreeSpace => "Free space",
        }
    }
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepState {
    /// The step succeeded.
    Done,
    /// The step failed; the words say why.
    Failed,
    /// The step was skipped because an earlier one failed.
    Skipped,
    /// The server does not support this; backups work without it.
    NotOffered,
}

impl StepState {
    /// The state in words.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::NotOffered => "not offered",
        }
    }
}

/// One line of the checklist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepOutcome {
    /// The step.
    pub step: CheckStep,
    /// How the step ended.
    pub state: StepState,
    /// The result, or the problem and what to do; empty if the step was skipped.
    pub words: String,
    /// Duration in milliseconds.
    pub millis: u64,
}

/// The result of a connection test, with every step in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checklist {
    /// The steps.
    pub steps: Vec<StepOutcome>,
    /// The host key that the server showed, if the test got that far.
    pub host_key: Option<HostKeyFound>,
}

impl Checklist {
    /// Whether backups can be uploaded.
    pub fn is_good(&self) -> bool {
        self.failed().is_none() && !self.steps.is_empty()
    }

    /// The step that failed, if one did.
    pub fn failed(&self) -> Option<&StepOutcome> {
        self.steps.iter().find(|outcome| outcome.state == StepState::Failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_that_the_contract_names_stay() {
        assert_eq!(CheckStep::ReadBack.label(), "Read back");
    }
}
