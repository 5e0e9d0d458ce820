//! Copies of backups at a destination: what is remembered of each copy, and what the destination's listing shows.

use super::{BackupName, Stamp, Tone};
use serde::{Deserialize, Serialize};

/// The name for a destination that takes files but lets nobody read them.
pub const WRITE_ONLY: &str = "Write-only drop box";

/// What Holdfast remembers of a backup's copy. The destination's listing is the truth, this is only a memory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is", try_from = "Parts")]
pub enum OffSite {
    /// It was never sent.
    #[default]
    NotSent,
    /// It is being sent.
    Uploading,
    /// It is there, its size checked, not read back.
    Uploaded {
        /// When it got its name there.
        at: Stamp,
    },
    /// It was sent to a write-only drop box, which does not let it be read back.
    Sent {
        /// When the last byte of it was taken.
        at: Stamp,
    },
    /// It is there, and was read back byte for byte.
    Verified {
        /// When.
        at: Stamp,
    },
    /// Sending it failed.
    Failed {
        /// A sentence for the reader.
        why: String,
        /// When.
        at: Stamp,
    },
    /// It was there once; at the last look it was not.
    Missing {
        /// When that look was.
        at: Stamp,
    },
}

/// What is remembered as it is written, for the same reason as a job's task.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Parts {
    is: String,
    why: String,
    at: Option<Stamp>,
}

impl TryFrom<Parts> for OffSite {
    type Error = &'static str;

    fn try_from(Parts { is, why, at }: Parts) -> Result<Self, &'static str> {
        match (is.as_str(), at) {
            ("not-sent", _) => Ok(Self::NotSent),
            ("uploading", _) => Ok(Self::Uploading),
            ("uploaded", Some(at)) => Ok(Self::Uploaded { at }),
            ("sent", Some(at)) => Ok(Self::Sent { at }),
            ("verified", Some(at)) => Ok(Self::Verified { at }),
            ("failed", Some(at)) => Ok(Self::Failed { why, at }),
            ("missing", Some(at)) => Ok(Self::Missing { at }),
            _ => Err("not the state of a copy"),
        }
    }
}

impl OffSite {
    /// How serious it is, for the colour that goes with the words.
    pub const fn tone(&self) -> Tone {
        match self {
            Self::Verified { .. } | Self::Uploaded { .. } => Tone::Good,
            Self::NotSent | Self::Uploading => Tone::Plain,
            Self::Sent { .. } => Tone::Warn,
            Self::Failed { .. } | Self::Missing { .. } => Tone::Bad,
        }
    }

    /// The words in the list.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::NotSent => "not sent",
            Self::Uploading => "uploading",
            Self::Uploaded { .. } => "uploaded",
            Self::Sent { .. } => "sent, not read back",
            Self::Verified { .. } => "off-site verified",
            Self::Failed { .. } => "upload failed",
            Self::Missing { .. } => "missing off-site",
        }
    }
}

/// A backup that is here, at the destination, or both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteBackup {
    /// Its name, here and there.
    pub name: BackupName,
    /// Where it is.
    pub place: Whereabouts,
    /// Bytes here, where it is here.
    pub local_size: Option<u64>,
    /// Bytes there, where it is there.
    pub remote_size: Option<u64>,
    /// When it was last modified there, where the destination tells.
    pub remote_modified: Option<Stamp>,
    /// Whether its manifest lies beside it there.
    pub remote_manifest: bool,
}

/// Where a backup is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Whereabouts {
    /// Only here.
    Here,
    /// Only there.
    There,
    /// In both places, with the same size.
    Both,
    /// In both places, with different sizes.
    Differs,
}

impl Whereabouts {
    /// The words in the list.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Here => "only here",
            Self::There => "only off-site",
            Self::Both => "in both places",
            Self::Differs => "sizes differ",
        }
    }
}
