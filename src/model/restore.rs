//! The restore page's data: facts about the backup, the possible targets, and the plan.

use super::BackupName;
use serde::{Deserialize, Serialize};

/// A fact: its name and its value, such as `Size`, `1.2 MB`.
pub type Fact = (String, String);

/// The data of the restore page of one backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreView {
    /// The backup.
    pub file: BackupName,
    /// Whether the backup is in the backup directory; otherwise it exists off-site only.
    pub is_here: bool,
    /// Facts about the backup.
    pub facts: Vec<Fact>,
    /// Warnings about the backup.
    pub warnings: Vec<String>,
    /// Possible targets: the value that the form sends (`beside:shop`, `over:shop`, `elsewhere`) and its label.
    pub places: Vec<(String, String)>,
    /// A suggested name for a new database.
    pub new_name: String,
    /// Example URLs for other targets, one per engine.
    pub url_examples: Vec<&'static str>,
    /// Choices about the restore, by engine.
    pub choices: Vec<RestoreChoices>,
    /// The plan, if one was made.
    pub plan: Option<RestorePlan>,
}

/// The choices about restores of one engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreChoices {
    /// The title of the choices, such as `PostgreSQL: owners`.
    pub title: &'static str,
    /// The choices; each is off unless its box is checked.
    pub choices: &'static [RestoreChoice],
}

/// A choice about a restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestoreChoice {
    /// The name of the form field.
    pub field: &'static str,
    /// The label.
    pub label: &'static str,
    /// An explanation of the choice.
    pub explanation: &'static str,
}

/// The plan of a restore, which the user reads before it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestorePlan {
    /// The plan's id.
    pub id: String,
    /// The backup, its place, the target and so on.
    pub facts: Vec<Fact>,
    /// Warnings.
    pub warnings: Vec<String>,
    /// The name of the database to be replaced, which the user has to type.
    pub typed: Option<String>,
}

/// The verifications of all backups, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proofs {
    /// Number of backups that were verified and are good.
    pub good: u64,
    /// Number of backups that are damaged or not restorable.
    pub bad: u64,
    /// Number of backups without a manifest, which could be adopted.
    pub bare: u64,
}
