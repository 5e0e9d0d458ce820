//! Files without gzip: some browsers unpack what they download, and other programs never compress. Holdfast compresses
//! such a file, and handles it like any other backup from then on.

use crate::domain::engines::{Engine, Engines};
use crate::domain::error::{Code, Error, Result};
use crate::domain::operations::compress::compress;
use crate::domain::operations::import::Importer;
use crate::domain::operations::import::refusals::too_much;
use crate::domain::repository::manifest::Manifest;
use crate::domain::repository::publish::Draft;
use crate::model::human;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;

/// How plain SQL dumps of databases begin that no engine here supports.
const STATEMENTS: [&str; 3] = ["-- MySQL dump", "-- MariaDB dump", "/*!"];
/// How many bytes are needed to recognise a file.
pub const BEGINNING: usize = 512;

/// Reads a file from its beginning, independently of other readers.
pub struct FromStart<'f>(&'f File, u64);

impl<'f> FromStart<'f> {
    /// Reads `file`.
    pub const fn of(file: &'f File) -> Self {
        Self(file, 0)
    }
}

impl Read for FromStart<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.0.read_at(buffer, self.1)?;
        self.1 += read as u64;
        Ok(read)
    }
}

/// A backup that Holdfast compressed.
pub struct Packed<'v> {
    /// The compressed file.
    pub draft: Draft<'v>,
    /// The uploaded manifest, with size and checksums of the compressed file. If the manifest cannot be read, its bytes
    /// are unchanged.
    pub manifest: Option<Vec<u8>>,
}

impl<'v> Importer<'v> {
    /// Compresses an uncompressed file. `None` if it is compressed already.
    pub(super) fn pack(&mut self, draft: &Draft<'_>, beside: Option<&[u8]>) -> Result<Option<Packed<'v>>> {
        if !is_unpacked(&self.context.engines, draft)? {
            return Ok(None);
        }
        let failed = |error| Error::file("Reading", &draft.path(), error);
        let size = draft.file().metadata().map_err(failed)?.len();
        let limits = self.context.import;
        if size > limits.content {
            return Err(too_much(format!(
                "The file is larger than {}, the limit on unpacked backups. Raise the limit with \
                 --import-max-content.",
                human::exact(limits.content)
            )));
        }
        let packed = self.context.directory.draft()?;
        let effort = self.context.effort;
        let mut content = FromStart::of(draft.file());
        let summary =
            compress(&mut content, packed.file(), &packed.path(), effort, &self.cancel, &|_, _| ())?;
        self.received = self.received.saturating_add(summary.payload_size);
        if self.received > limits.upload {
            return Err(too_much(format!(
                "The file is not compressed, and together with the compressed copy the import is larger than the limit \
                 of {}. Import the file alone, or raise the limit with --import-max.",
                human::exact(limits.upload)
            )));
        }
        let manifest = beside.map(|bytes| match Manifest::read(bytes) {
            Some(manifest) => Manifest {
                payload_size: summary.payload_size,
                payload_sha256: summary.payload_sha256,
                payload_crc32: summary.payload_crc32,
                ..manifest
            }
            .to_bytes(),
            // The check of the backup reports the fault.
            None => bytes.to_vec(),
        });
        Ok(Some(Packed { draft: packed, manifest }))
    }
}

/// Whether the file is the content of a backup, without gzip.
pub fn is_unpacked(engines: &Engines, draft: &Draft<'_>) -> Result<bool> {
    let mut beginning = Vec::new();
    FromStart::of(draft.file())
        .take(BEGINNING as u64)
        .read_to_end(&mut beginning)
        .map_err(|error| Error::file("Reading", &draft.path(), error))?;
    Ok(engines.recognise(&beginning).is_some())
}

/// The error that refuses a plain SQL dump, if these first bytes are those of one.
pub fn sql_refusal(engines: &Engines, beginning: &[u8]) -> Option<Error> {
    let text = String::from_utf8_lossy(beginning);
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let is_script = STATEMENTS.iter().any(|statement| text.starts_with(statement))
        || engines.all().any(|engine| engine.is_script(text));
    is_script.then(|| {
        let importable: Vec<_> = engines.all().map(Engine::importable).collect();
        Error::refusal(
            Code::Unsupported,
            format!(
                "The file is a plain SQL dump, which Holdfast cannot import: nothing in such a text shows whether it \
                 is complete. Holdfast imports {}, with or without gzip.",
                importable.join(" and ")
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use crate::domain::operations::import::pack::*;

    #[test]
    fn a_plain_dump_is_told_from_other_text() {
        for text in [
            "--\n-- PostgreSQL database dump\n--\n",
            "\u{feff}-- MySQL dump 10.13",
            "/*!999999\\- enable the sandbox mode */\n-- MariaDB dump",
            "PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;",
            "\n\n\\restrict x\n",
        ] {
            assert!(sql_refusal(&Engines::default(), text.as_bytes()).is_some(), "{text}");
        }
        for bytes in [&b"hello, world"[..], b"PGDMP", b"SQLite format 3\0", b"", b"\xFF\xFE"] {
            assert!(sql_refusal(&Engines::default(), bytes).is_none(), "{bytes:?}");
        }
    }
}
