//! Getting a backup back, as the page asks and answers it: what the backup is, where it could go, and the plan.

use super::BackupName;
use serde::{Deserialize, Serialize};

/// Something known: what it is about, and what is known. `Size`, `1.2 MB`.
pub type Fact = (String, String);

/// Everything the page of one backup shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreView {
    /// The backup.
    pub file: BackupName,
    /// Whether it is in the backup directory; else it is off-site only.
    pub is_here: bool,
    /// What is known of it.
    pub facts: Vec<Fact>,
    /// What speaks against it.
    pub warnings: Vec<String>,
    /// Where it could go: what the form sends (`beside:shop`, `over:shop`, `elsewhere`), and what the reader sees.
    pub places: Vec<(String, String)>,
    /// A name for a new database.
    pub new_name: String,
    /// What was planned.
    pub plan: Option<RestorePlan>,
}

/// What is about to be done, to be read before it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestorePlan {
    /// Its number.
    pub id: String,
    /// What, from where, into what.
    pub facts: Vec<Fact>,
    /// What to think of first.
    pub warnings: Vec<String>,
    /// What has to be typed before it begins: the name of what is replaced.
    pub typed: Option<String>,
}

/// What there is to say of all backups together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proofs {
    /// How many were verified and found good.
    pub good: u64,
    /// How many were found damaged, or could not be restored.
    pub bad: u64,
    /// How many have no manifest and could be adopted.
    pub bare: u64,
}
