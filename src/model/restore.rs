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
    /// Examples of URLs of other places, one an engine.
    pub url_examples: Vec<&'static str>,
    /// What can be chosen.
    pub choices: Vec<RestoreChoices>,
    /// What was planned.
    pub plan: Option<RestorePlan>,
}

/// What can be chosen about restores of one engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreChoices {
    /// What the choices are about: `PostgreSQL: owners`.
    pub title: &'static str,
    /// Each choice, off unless it is ticked.
    pub choices: &'static [RestoreChoice],
}

/// One choice about a restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestoreChoice {
    /// The name of its field in the form.
    pub field: &'static str,
    /// Its label.
    pub label: &'static str,
    /// What it does.
    pub explanation: &'static str,
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
