//! What came without its gzip: browsers unpack what they download, and other programs never packed it. It is packed
//! again, and is a backup like any other from then on.

use crate::domain::engines::{Engine, Engines};
use crate::domain::error::{Error, Result};
use crate::domain::operations::compress::compress;
use crate::domain::operations::import::{Importer, refused};
use crate::domain::repository::manifest::Manifest;
use crate::domain::repository::publish::Draft;
use crate::model::human;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;

/// What plain SQL dumps of databases begin with that no engine here knows.
const STATEMENTS: [&str; 3] = ["-- MySQL dump", "-- MariaDB dump", "/*!"];
/// How much of a file tells what it is.
pub const BEGINNING: usize = 512;

/// A file read from its beginning, without moving any other reader of it.
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

/// A backup that was packed again.
pub struct Packed<'v> {
    /// The file.
    pub draft: Draft<'v>,
    /// Its manifest, where what came with it is one: its sums are the new file's.
    pub manifest: Option<Vec<u8>>,
}

impl<'v> Importer<'v> {
    /// Packs what came unpacked. Nothing where it is packed.
    pub(super) fn pack(&mut self, draft: &Draft<'_>, beside: Option<&[u8]>) -> Result<Option<Packed<'v>>> {
        if !is_unpacked(&self.context.engines, draft)? {
            return Ok(None);
        }
        let failed = |error| Error::file("Reading", &draft.path(), error);
        let size = draft.file().metadata().map_err(failed)?.len();
        let limits = self.context.import;
        if size > limits.content {
            return Err(refused(format!(
                "It has more than {}, the limit of what a backup may unpack to. Raise the limit with \
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
            return Err(refused(format!(
                "It came unpacked, and with the packed copy of it the import has more than {}, the limit. Import \
                 it alone, or raise the limit with --import-max.",
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
            // What is wrong with it is told as of any other.
            None => bytes.to_vec(),
        });
        Ok(Some(Packed { draft: packed, manifest }))
    }
}

/// Whether a backup's content lies there without its gzip.
pub fn is_unpacked(engines: &Engines, draft: &Draft<'_>) -> Result<bool> {
    let mut beginning = Vec::new();
    FromStart::of(draft.file())
        .take(BEGINNING as u64)
        .read_to_end(&mut beginning)
        .map_err(|error| Error::file("Reading", &draft.path(), error))?;
    Ok(engines.recognise(&beginning).is_some())
}

/// Why a plain SQL dump is not taken in, where these first bytes are of one.
pub fn sql_refusal(engines: &Engines, beginning: &[u8]) -> Option<Error> {
    let text = String::from_utf8_lossy(beginning);
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let is_script = STATEMENTS.iter().any(|statement| text.starts_with(statement))
        || engines.all().any(|engine| engine.is_script(text));
    is_script.then(|| {
        let importable: Vec<_> = engines.all().map(Engine::importable).collect();
        refused(format!(
            "It is no backup that Holdfast takes, but a plain SQL dump: text, of which nobody can tell whether all of it \
             is there. Holdfast takes {}, in gzip or not.",
            importable.join(" and ")
        ))
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
