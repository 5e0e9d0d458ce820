//! The manifest that describes a backup file: `<file>.manifest.json`, JSON, durable before the file itself.

use crate::model::{BackupName, DatabaseName, EngineKind, Stamp};
use serde::{Deserialize, Serialize};

/// The version this program writes, and the newest it reads.
pub const VERSION: u32 = 1;

/// The largest manifest that is read, in bytes.
pub const MAX_SIZE: u64 = 256 * 1024;

/// The `created_by` of manifests made for imported files that had none.
pub const IMPORTED: &str = "imported";

/// A manifest's content. Unknown fields are ignored; unknown versions are refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`VERSION`] of the program that wrote it.
    pub manifest_version: u32,
    /// The file it belongs to.
    pub file: BackupName,
    /// When the backup was started: RFC 3339, UTC, milliseconds.
    pub created_at: String,
    /// The configured name of the database.
    pub database: DatabaseName,
    /// Its engine.
    pub database_engine: EngineKind,
    /// The format of the unpacked content, as its engine calls it.
    pub backup_format: String,
    /// Size of the `.dump.gz` in bytes.
    pub payload_size: u64,
    /// SHA-256 of the `.dump.gz`, lower-case hexadecimal.
    pub payload_sha256: String,
    /// CRC-32 (ISO-HDLC, as in zip and gzip) of the `.dump.gz`, eight hexadecimal digits.
    pub payload_crc32: String,
    /// Size of the unpacked content in bytes.
    pub content_size: u64,
    /// SHA-256 of the unpacked content, lower-case hexadecimal.
    pub content_sha256: String,
    /// The program that wrote it.
    pub created_by: String,
    /// Warnings of the dump tool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warnings: Option<String>,
    /// What is wrong in the database, although the copy is complete: a sentence each, with the remedy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
    /// The number of tables whose rows were counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tables: Option<u64>,
    /// The number of rows in them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// The database's properties apart from its content, in the engine's own format.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<serde_json::Value>,
}

impl Manifest {
    /// Parses a manifest; `None` if it is invalid or of an unknown version.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let manifest: Self = serde_json::from_slice(bytes).ok()?;
        (manifest.manifest_version <= VERSION && manifest.created().is_some()).then_some(manifest)
    }

    /// The bytes to write.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// Whether it was written here for an imported file: it describes the file, not its origin.
    pub fn is_of_import(&self) -> bool {
        self.created_by.ends_with(&format!("({IMPORTED})"))
    }

    /// When the backup was started.
    pub fn created(&self) -> Option<Stamp> {
        Stamp::from_rfc3339(&self.created_at)
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::repository::manifest::*;
    use proptest::prelude::*;

    fn manifest(warnings: Option<String>, size: u64) -> Manifest {
        Manifest {
            manifest_version: VERSION,
            file: "backup_ledger_2026-11-23_02-41-07Z.dump.gz".parse().unwrap(),
            created_at: Stamp::from_millis(1_795_401_667_123).rfc3339(),
            database: "ledger".parse().unwrap(),
            database_engine: EngineKind::new("postgresql"),
            backup_format: "pg-custom".to_owned(),
            payload_size: size,
            payload_sha256: "00".repeat(32),
            payload_crc32: "00000000".to_owned(),
            content_size: size,
            content_sha256: "00".repeat(32),
            created_by: "holdfast test".to_owned(),
            warnings,
            remarks: Vec::new(),
            tables: None,
            rows: Some(size),
            origin: Some(serde_json::json!({"encoding": "UTF8"})),
        }
    }

    #[test]
    fn the_contract_s_keys_are_there() {
        let json: serde_json::Value = serde_json::from_slice(&manifest(None, 7).to_bytes()).unwrap();
        assert_eq!(json["manifest_version"], 1);
        assert_eq!(json["created_at"], "2026-11-23T02:41:07.123Z");
        assert_eq!(json["database_engine"], "postgresql");
        assert_eq!(json["payload_size"], 7);
        for key in ["database", "backup_format", "payload_sha256"] {
            assert!(json[key].is_string(), "{key}");
        }
    }

    #[test]
    fn an_engine_is_any_plain_identifier() {
        let written = String::from_utf8(manifest(None, 1).to_bytes()).unwrap();
        let of = |engine: &str| Manifest::read(written.replace("postgresql", engine).as_bytes());
        assert_eq!(of("text-directory").unwrap().database_engine.as_str(), "text-directory");
        for wrong in ["", "Redis", "a b", "<b>", &"x".repeat(41)] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_version_from_the_future_is_refused() {
        let mut newer = manifest(None, 1);
        newer.manifest_version = VERSION + 1;
        assert_eq!(Manifest::read(&newer.to_bytes()), None);
    }

    proptest! {
        #[test]
        fn every_manifest_survives_the_file(warnings in proptest::option::of("\\PC{0,80}"), size: u64) {
            let written = manifest(warnings, size);
            prop_assert_eq!(Manifest::read(&written.to_bytes()), Some(written));
        }

        #[test]
        fn reading_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Manifest::read(&bytes);
        }
    }
}
