//! One backup file, as the list and the shell show it.

use super::{
    BackupName, DatabaseName, EngineKind, JobView, ListPage, Live, OffSite, Outcome, Proofs, Stamp, Trend,
    Verification,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A listed file and what its manifest says of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    /// The file's name in the backup directory.
    pub name: BackupName,
    /// The database it is of: from the manifest, else from the name; nothing where neither says.
    pub database: Option<String>,
    /// The engine the manifest names.
    pub engine: Option<EngineKind>,
    /// From the manifest, else from the name, else the modified time.
    pub created: Stamp,
    /// The file system's modified time.
    pub modified: Stamp,
    /// Bytes of the file as it lies there.
    pub size: u64,
    /// SHA-256 of the file as it lies there, in lower-case hexadecimal, from the manifest.
    pub sha256: Option<String>,
    /// What can be said of the file without reading it.
    pub state: FileState,
    /// The last verification of these bytes.
    pub verified: Option<Box<Verification>>,
}

/// Everything the backups page shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupsView {
    /// One page of the list.
    pub list: ListPage,
    /// Each configured database, with its newest good backup.
    pub databases: Vec<Glance>,
    /// How their size came about; nothing where there are none.
    pub trend: Option<Trend>,
    /// What runs.
    pub live: Live,
    /// The jobs the page was opened to see, and those that went on from them.
    pub jobs: Vec<JobView>,
    /// What was proved of all backups, and what was not.
    pub proofs: Proofs,
    /// The off-site store; nothing while it is switched off.
    pub off_site: Option<OffSiteView>,
    /// What the page was opened to tell.
    pub outcome: Option<Outcome>,
}

/// The off-site store, as far as the list shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffSiteView {
    /// The server.
    pub host: String,
    /// How many of all backups have a copy there.
    pub there: u64,
    /// Where the backups of this page stand; those never sent are left out.
    pub of: BTreeMap<BackupName, OffSite>,
}

/// One database at a glance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Glance {
    /// Its name.
    pub name: DatabaseName,
    /// When its newest whole backup was begun.
    pub newest: Option<Stamp>,
    /// Whether its last run failed.
    pub failing: bool,
}

/// What a look at the file and its manifest tells. No state claims more than was checked: the bytes are
/// read by a verification only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileState {
    /// The manifest is there and the file has the size it names.
    Whole,
    /// No manifest lies beside it: Holdfast did not make it.
    NoManifest,
    /// No byte in it.
    Empty,
    /// The manifest names another size.
    SizeDiffers,
    /// A manifest is there that cannot be read.
    BadManifest,
    /// A verification found it damaged.
    Damaged,
}

impl FileState {
    /// The words on the page and in the shell.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::NoManifest => "no manifest",
            Self::Empty => "empty",
            Self::SizeDiffers => "size differs",
            Self::BadManifest => "unreadable manifest",
            Self::Damaged => "damaged",
        }
    }

    /// What the words mean, in a sentence for a tooltip.
    pub const fn explanation(self) -> &'static str {
        match self {
            Self::Whole => "Complete: its size matches its manifest.",
            Self::NoManifest => "This file has no manifest, so its contents are unverified.",
            Self::Empty => "This file has no content.",
            Self::SizeDiffers => "The file's size differs from its manifest: it was changed or truncated.",
            Self::BadManifest => "This file's manifest cannot be read.",
            Self::Damaged => "A verification read this file and found it damaged.",
        }
    }

    /// How serious it is, for the colour that goes with the words.
    pub const fn tone(self) -> Tone {
        match self {
            Self::Whole => Tone::Good,
            Self::NoManifest => Tone::Warn,
            Self::Empty | Self::SizeDiffers | Self::BadManifest | Self::Damaged => Tone::Bad,
        }
    }
}

/// The second signal beside the words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Nothing to say.
    Plain,
    /// Nothing to do.
    Good,
    /// Worth a look.
    Warn,
    /// Something is wrong.
    Bad,
}

impl Tone {
    /// The class that carries the colour.
    pub const fn class(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Good => "good",
            Self::Warn => "warn",
            Self::Bad => "bad",
        }
    }
}
