//! Checksums (CRC-32 and SHA-256) of files that have no manifest: computed in one pass, and stored.

use crate::domain::error::{Error, Result};
use crate::domain::repository::catalog::{Identity, OpenFile};
use crate::domain::state::Store;
use crate::domain::state::digests as table;
use crate::domain::state::digests::FileKey;
use crate::model::BackupName;
use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

pub use crate::domain::state::digests::Sums;

const BLOCK: u64 = 256 * 1024;

/// Checksums are stored after this many bytes were read, and at the end: each write to the state database
/// waits for the disk, and thousands of small files should not wait thousands of times.
const KEEP_EVERY: u64 = 1 << 30;

/// The stored checksums. If the state database fails, they are computed again each time, which only takes
/// time.
pub struct Digests {
    store: Store,
    complained: AtomicBool,
}

/// Checksums that are computed but not stored yet; dropping this stores them.
pub struct Pass<'d> {
    digests: &'d Digests,
    taken: Vec<(BackupName, Identity, Sums)>,
    bytes: u64,
}

impl Digests {
    /// The checksums stored in `store`.
    pub const fn new(store: Store) -> Self {
        Self { store, complained: AtomicBool::new(false) }
    }

    /// Starts a pass over files.
    pub const fn pass(&self) -> Pass<'_> {
        Pass { digests: self, taken: Vec::new(), bytes: 0 }
    }

    fn known(&self, name: &BackupName, identity: Identity) -> Option<Sums> {
        table::find(&self.store, key(name, identity)).unwrap_or_else(|error| {
            self.complain(&error);
            None
        })
    }

    fn keep(&self, taken: &[(BackupName, Identity, Sums)]) {
        let all = taken.iter().map(|(name, identity, sums)| (key(name, *identity), sums));
        if let Err(error) = table::keep(&self.store, all) {
            self.complain(&error);
        }
    }

    fn complain(&self, error: &Error) {
        if !self.complained.swap(true, Ordering::Relaxed) {
            tracing::warn!(%error, "checksums cannot be stored, so they are computed again each time");
        }
    }
}

impl Pass<'_> {
    /// The checksums of an open file: stored ones, or computed now by reading the whole file.
    pub fn sums(&mut self, name: &BackupName, file: &OpenFile) -> Result<Sums> {
        let identity = file.identity();
        if let Some(known) = self.digests.known(name, identity) {
            return Ok(known);
        }
        let sums = take(name, file)?;
        self.taken.push((name.clone(), identity, sums.clone()));
        self.bytes = self.bytes.saturating_add(identity.size);
        if self.bytes >= KEEP_EVERY {
            self.keep();
        }
        Ok(sums)
    }

    fn keep(&mut self) {
        if !self.taken.is_empty() {
            self.digests.keep(&self.taken);
            self.taken.clear();
        }
        self.bytes = 0;
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.keep();
    }
}

fn take(name: &BackupName, file: &OpenFile) -> Result<Sums> {
    let size = file.identity().size;
    let (mut sha256, mut crc32) = (Sha256::new(), crc32fast::Hasher::new());
    let mut block = vec![0; usize::try_from(BLOCK.min(size)).unwrap_or(0)];
    let mut at = 0;
    while at < size {
        let length = usize::try_from(BLOCK.min(size - at)).unwrap_or(0);
        let part = &mut block[..length];
        file.read_exact_at(at, part)
            .map_err(|error| Error::file("Reading", Path::new(name.as_str()), error))?;
        sha256.update(&*part);
        crc32.update(part);
        at += length as u64;
    }
    Ok(Sums { crc32: crc32.finalize(), sha256: HEXLOWER.encode(&sha256.finalize()) })
}

/// The key under which a file's checksums are stored.
fn key(name: &BackupName, identity: Identity) -> FileKey<'_> {
    let Identity { device, inode, size, modified } = identity;
    FileKey { name: name.as_str(), device, inode, size, modified }
}
