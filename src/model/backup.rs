//! One backup file, as the list and the shell show it.

use super::{BackupName, EngineKind, Stamp, Tone, Verification};
use serde::{Deserialize, Serialize};

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
