//! The checklist of "Test connection" on the SFTP settings page: each step, how it ended, and why.

use super::HostKeyFound;
use serde::{Deserialize, Serialize};

/// A step of the checklist, in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckStep {
    /// The host's name has an address.
    Resolve,
    /// Something listens there, and speaks SSH.
    Connect,
    /// It is the server it is taken for.
    HostKey,
    /// It lets the account in.
    LogIn,
    /// The directory is there, or was made.
    Directory,
    /// A file can be written there.
    Write,
    /// And renamed.
    Rename,
    /// And read, with what was written in it.
    ReadBack,
    /// And removed.
    Delete,
    /// How much room there is.
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
    /// As it should.
    Done,
    /// Not as it should; the words say why.
    Failed,
    /// Not tried, since an earlier one failed.
    Skipped,
    /// The server has no such thing; backups can do without.
    NotOffered,
}

impl StepState {
    /// One word for it.
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
    /// Which step.
    pub step: CheckStep,
    /// How it ended.
    pub state: StepState,
    /// What was found, or what is wrong and what to do; empty where it was skipped.
    pub words: String,
    /// Milliseconds it took.
    pub millis: u64,
}

/// What a check of the settings found, every step in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checklist {
    /// The steps.
    pub steps: Vec<StepOutcome>,
    /// The host key the server showed, where it came to that.
    pub host_key: Option<HostKeyFound>,
}

impl Checklist {
    /// Whether backups can be sent there.
    pub fn is_good(&self) -> bool {
        self.failed().is_none() && !self.steps.is_empty()
    }

    /// The step that failed, where one did.
    pub fn failed(&self) -> Option<&StepOutcome> {
        self.steps.iter().find(|outcome| outcome.state == StepState::Failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_the_contract_stay() {
        assert_eq!(CheckStep::ReadBack.label(), "Read back");
    }
}
