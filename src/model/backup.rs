//! One backup file, as the list and the shell show it.

use super::{BackupName, EngineKind, Stamp, Tone, Verification};
use serde::{Deserialize, Serialize};

/// A listed file, with the facts from its manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    /// The file's name in the backup directory.
    pub name: BackupName,
    /// Name of the database: from the manifest, otherwise from the file name; `None` if unknown.
    pub database: Option<String>,
    /// The engine, from the manifest.
    pub engine: Option<EngineKind>,
    /// When the backup was begun: from the manifest, otherwise from the file name, otherwise the modified time.
    pub created: Stamp,
    /// The file system's modified time.
    pub modified: Stamp,
    /// Size of the compressed file in bytes.
    pub size: u64,
    /// SHA-256 of the compressed file in lower-case hexadecimal, from the manifest.
    pub sha256: Option<String>,
    /// The state of the file, as far as it is known without reading the file.
    pub state: FileState,
    /// The last verification of this file.
    pub verified: Option<Box<Verification>>,
}

/// The state of a file, from its size, its manifest and its last verification. Listing a file does not read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileState {
    /// The file has the size that its manifest names.
    Whole,
    /// There is no manifest: Holdfast did not make the file.
    NoManifest,
    /// The file is empty.
    Empty,
    /// The file does not have the size that its manifest names.
    SizeDiffers,
    /// The manifest cannot be read.
    BadManifest,
    /// A verification found damage.
    Damaged,
}

impl FileState {
    /// The state in words, for the page and the shell.
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

    /// A sentence that explains the state, for a tooltip.
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

    /// How serious the state is, which sets its colour.
    pub const fn tone(self) -> Tone {
        match self {
            Self::Whole => Tone::Good,
            Self::NoManifest => Tone::Warn,
            Self::Empty | Self::SizeDiffers | Self::BadManifest | Self::Damaged => Tone::Bad,
        }
    }
}
