//! The result of a backup's last verification, in `<file>.verified.json` beside it, so that it outlives the
//! state database. It applies to exactly the bytes that were verified.

use crate::model::{Backup, BackupName, Proof, Stamp, Verification};
use serde::{Deserialize, Serialize};

/// The version this program writes, and the newest it reads.
const VERSION: u32 = 1;

/// The largest verification file that is read, in bytes.
pub const MAX_SIZE: u64 = 64 * 1024;

/// A verification file's content. Unknown fields are ignored; unknown versions are refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    #[serde(rename = "verdict_version")]
    version: u32,
    /// The file that was verified.
    pub file: BackupName,
    /// Its size in bytes.
    pub payload_size: u64,
    /// Its SHA-256, lower-case hexadecimal.
    pub payload_sha256: String,
    /// Its modification time: RFC 3339, UTC, milliseconds.
    pub payload_modified_at: String,
    /// The modification time of its manifest, if there was one.
    pub manifest_modified_at: Option<String>,
    /// When the verification ended: RFC 3339, UTC, milliseconds.
    pub verified_at: String,
    /// What was proved.
    pub proof: Proof,
    /// The number of restored tables.
    pub tables: Option<u64>,
    /// The number of rows in them.
    pub rows: Option<u64>,
    /// What is wrong with the backup; `None` if it is good.
    #[serde(default)]
    pub damage: Vec<String>,
    /// What could not be restored, although all data was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exceptions: Vec<String>,
    /// Other remarks.
    #[serde(default)]
    pub notes: Vec<String>,
    /// The program that verified it.
    verified_by: String,
}

impl Verdict {
    /// The result `found` for the bytes of `backup` with the checksum `sha256`; `manifest` is the
    /// modification time of its manifest.
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

    /// Parses a verification file; `None` if it is invalid or of an unknown version.
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

    /// The result for a file of that name and size with these modification times; `None` if it is another
    /// file, or if the file or its manifest was written to since.
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
