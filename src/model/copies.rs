//! Copies of backups at a destination: the remembered state of each copy, and the destination's own listing.

use super::{BackupName, Stamp, Tone};
use serde::{Deserialize, Serialize};

/// The label for a destination that accepts files but does not let anybody read them.
pub const WRITE_ONLY: &str = "Write-only drop box";

/// The state of a backup's copy as Holdfast remembers it. The destination's own listing is the truth.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is", try_from = "Parts")]
pub enum OffSite {
    /// Never uploaded.
    #[default]
    NotSent,
    /// Being uploaded.
    Uploading,
    /// Uploaded and its size checked, but not read back.
    Uploaded {
        /// When it got its final name.
        at: Stamp,
    },
    /// Sent to a write-only drop box, from which it cannot be read back.
    Sent {
        /// When the drop box had accepted the last byte.
        at: Stamp,
    },
    /// Uploaded, read back and identical.
    Verified {
        /// When.
        at: Stamp,
    },
    /// The upload failed.
    Failed {
        /// A sentence for the reader.
        why: String,
        /// When.
        at: Stamp,
    },
    /// The copy existed once, and was missing at the last check.
    Missing {
        /// When it was checked.
        at: Stamp,
    },
}

/// The stored form of the state; see `Named` in `model::job` for the reason.
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
    /// How serious the state is, which sets its colour.
    pub const fn tone(&self) -> Tone {
        match self {
            Self::Verified { .. } | Self::Uploaded { .. } => Tone::Good,
            Self::NotSent | Self::Uploading => Tone::Plain,
            Self::Sent { .. } => Tone::Warn,
            Self::Failed { .. } | Self::Missing { .. } => Tone::Bad,
        }
    }

    /// The state in words.
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
    /// The file name.
    pub name: BackupName,
    /// Where it is.
    pub place: Whereabouts,
    /// Size of the local file in bytes, if there is one.
    pub local_size: Option<u64>,
    /// Size of the copy in bytes, if there is one.
    pub remote_size: Option<u64>,
    /// When the copy was last modified, if the destination says so.
    pub remote_modified: Option<Stamp>,
    /// Whether the destination has the manifest too.
    pub remote_manifest: bool,
}

/// Where a backup is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Whereabouts {
    /// Only here.
    Here,
    /// Only at the destination.
    There,
    /// In both places, with the same size.
    Both,
    /// In both places, with different sizes.
    Differs,
}

impl Whereabouts {
    /// The state in words.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Here => "only here",
            Self::There => "only off-site",
            Self::Both => "in both places",
            Self::Differs => "sizes differ",
        }
    }
}
