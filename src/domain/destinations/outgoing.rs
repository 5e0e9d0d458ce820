//! A backup to be uploaded: opened, checked against its manifest, and read at given positions.

use crate::domain::engines::Cancel;
use crate::domain::error::{Code, Error, Result};
use crate::domain::repository::catalog::Catalog;
use crate::domain::repository::manifest;
use crate::domain::repository::manifest::Manifest;
use crate::model::BackupName;
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// Bytes read at a time.
const BLOCK: usize = 256 * 1024;

/// An opened local backup, with its manifest's data.
pub struct Outgoing {
    name: BackupName,
    file: File,
    path: PathBuf,
    size: u64,
    sha256: String,
    manifest: Option<Vec<u8>>,
}

impl Outgoing {
    /// Opens a listed backup. Refuses one that does not match its manifest; reads one without a manifest
    /// completely, for its hash.
    pub fn open(catalog: &Catalog, name: &BackupName, path: PathBuf, cancel: &Cancel) -> Result<Self> {
        let file = catalog.open(name)?;
        let size = file.metadata().map_err(|error| Error::file("Reading", &path, error))?.len();
        let manifest = catalog.manifest_of(name).map(|(bytes, ..)| bytes);
        let mut local = Self { name: name.clone(), file, path, size, sha256: String::new(), manifest };
        if size == 0 {
            return Err(local.refused("it has no content"));
        }
        local.sha256 = match &local.manifest {
            None => local.hash(cancel)?,
            Some(bytes) => {
                let read = Manifest::read(bytes).filter(|manifest| manifest.file == *name);
                let read = read.filter(|_| bytes.len() as u64 <= manifest::MAX_SIZE);
                let manifest = read.ok_or_else(|| local.refused("its manifest cannot be read"))?;
                if manifest.payload_size != size {
                    return Err(local.refused("its size differs from its manifest"));
                }
                manifest.payload_sha256
            }
        };
        Ok(local)
    }

    /// Its name, here and at the destination.
    pub fn name(&self) -> &BackupName {
        &self.name
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The SHA-256 of its content, in lower-case hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Its manifest, if it has one.
    pub fn manifest(&self) -> Option<&[u8]> {
        self.manifest.as_deref()
    }

    /// Its bytes from `from` on, in pieces; `hash` covers the bytes before. Fails at the end if the content
    /// does not match the manifest.
    pub fn source(
        &self,
        mut hash: Sha256,
        from: u64,
        cancel: &Cancel,
    ) -> impl FnMut(&mut [u8]) -> Result<usize> {
        let mut at = from;
        move |block| {
            if cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let read = self.read_at(block, at)?;
            hash.update(&block[..read]);
            at += read as u64;
            if read == 0 && (at != self.size || HEXLOWER.encode(&hash.clone().finalize()) != self.sha256) {
                return Err(self.refused("its content does not match its manifest"));
            }
            Ok(read)
        }
    }

    fn refused(&self, why: &str) -> Error {
        let words = format!("{} was not uploaded: {why}. Create a new backup.", self.name);
        Error::refusal(Code::BackupDamaged, words)
    }

    fn hash(&self, cancel: &Cancel) -> Result<String> {
        let (mut hash, mut at, mut block) = (Sha256::new(), 0, vec![0; BLOCK]);
        loop {
            if cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            match self.read_at(&mut block, at)? {
                0 => return Ok(HEXLOWER.encode(&hash.finalize())),
                read => {
                    hash.update(&block[..read]);
                    at += read as u64;
                }
            }
        }
    }

    /// Reads into `block` from byte `at`, as much as one read returns.
    pub fn read_at(&self, block: &mut [u8], at: u64) -> Result<usize> {
        loop {
            match self.file.read_at(block, at) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                other => return other.map_err(|error| Error::file("Reading", &self.path, error)),
            }
        }
    }
}
