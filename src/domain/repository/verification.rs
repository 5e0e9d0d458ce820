//! What the last verification of a backup found, kept beside it as `<file>.verified.json`, so that it outlives
//! the state database. It speaks of certain bytes: of others it says nothing.

use crate::model::{Backup, BackupName, Proof, Stamp, Verification};
use serde::{Deserialize, Serialize};

/// The version this program writes, and the newest it reads.
const VERSION: u32 = 1;

/// A verdict larger than this is not read, in bytes.
pub const MAX_SIZE: u64 = 64 * 1024;

/// A verdict. Unknown fields are ignored; unknown versions are refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    #[serde(rename = "verdict_version")]
    version: u32,
    /// The file that was verified.
    pub file: BackupName,
    /// Its bytes.
    pub payload_size: u64,
    /// Its SHA-256, lower-case hexadecimal.
    pub payload_sha256: String,
    /// When it was last written, as its file system says: RFC 3339, UTC, milliseconds.
    pub payload_modified_at: String,
    /// The same of the manifest beside it, where there was one.
    pub manifest_modified_at: Option<String>,
    /// When the verification ended: RFC 3339, UTC, milliseconds.
    pub verified_at: String,
    /// What was proved.
    pub proof: Proof,
    /// Tables that were restored.
    pub tables: Option<u64>,
    /// Rows in them.
    pub rows: Option<u64>,
    /// What is wrong with it; nothing where it is good.
    #[serde(default)]
    pub damage: Vec<String>,
    /// What of it could not be restored though all its data was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exceptions: Vec<String>,
    /// What else there is to know.
    #[serde(default)]
    pub notes: Vec<String>,
    /// The program that verified it.
    verified_by: String,
}

impl Verdict {
    /// What `found` says of the bytes of `backup` whose SHA-256 is `sha256`; `manifest` is when its manifest was
    /// last written.
    pub fn new(backup: &Backup, manifest: Option<Stamp>, sha256: String, found: Verification) -> Self {
        let Verification { proof, at, tables, rows, damage, exceptions, notes, .. } = found;
        Self {
            version: VERSION,
            file: backup.name.clone(),
            payload_size: backup.size,
            payload_sha256: sha256,
            payload_modified_at: backup.modified.rfc3339(),
            manifest_modified_at: manifest.map(Stamp::rfc3339),
            verified_at: at.rfc3339(),
            proof,
            tables,
            rows,
            damage,
            exceptions,
            notes,
            verified_by: concat!("holdfast ", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }

    /// Reads a verdict's bytes; nothing where they are no verdict of a version this program knows.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let verdict: Self = serde_json::from_slice(bytes).ok()?;
        (verdict.version <= VERSION).then_some(verdict)
    }

    /// The bytes to write.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// What it says of a file of that name and size, it and its manifest last written then; nothing where that
    /// is not the file it speaks of, or either was written to since.
    pub fn about(
        self,
        name: &BackupName,
        size: u64,
        modified: Stamp,
        manifest: Option<Stamp>,
    ) -> Option<Verification> {
        let same = self.file == *name
            && self.payload_size == size
            && self.payload_modified_at == modified.rfc3339()
            && self.manifest_modified_at == manifest.map(Stamp::rfc3339);
        let at = Stamp::from_rfc3339(&self.verified_at)?;
        let Self { proof, tables, rows, damage, exceptions, notes, .. } = self;
        let excepted = exceptions.len() as u64;
        same.then_some(Verification { proof, at, tables, rows, damage, excepted, exceptions, notes })
    }
}
