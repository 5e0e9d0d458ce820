//! CRC-32 and SHA-256 of files no manifest vouches for: taken in one pass, and remembered.

use crate::domain::error::{Error, Result};
use crate::domain::repository::catalog::{Identity, OpenFile};
use crate::domain::state::Store;
use crate::model::BackupName;
use data_encoding::HEXLOWER;
use rusqlite::{Connection, OptionalExtension as _};
use sha2::{Digest as _, Sha256};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

const BLOCK: u64 = 256 * 1024;

/// What was learnt is kept when so many bytes were read for it, and at the end: a write to the state
/// database waits for the disk, and thousands of small files are not to wait a thousand times.
const KEEP_EVERY: u64 = 1 << 30;

/// The sums of a file's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sums {
    /// CRC-32 (ISO-HDLC).
    pub crc32: u32,
    /// SHA-256, lower-case hexadecimal.
    pub sha256: String,
}

/// The remembered sums. Where the state database fails they are taken again each time, which costs time and
/// nothing else.
pub struct Digests {
    store: Store,
    complained: AtomicBool,
}

/// Sums taken and not yet kept; kept when dropped at the latest.
pub struct Pass<'d> {
    digests: &'d Digests,
    taken: Vec<(BackupName, Identity, Sums)>,
    bytes: u64,
}

impl Digests {
    /// Those kept in `store`.
    pub const fn new(store: Store) -> Self {
        Self { store, complained: AtomicBool::new(false) }
    }

    /// Begins to look at files.
    pub const fn pass(&self) -> Pass<'_> {
        Pass { digests: self, taken: Vec::new(), bytes: 0 }
    }

    fn known(&self, name: &BackupName, identity: Identity) -> Option<Sums> {
        let found = self.store.with(|db| Ok(look_up(db, name, identity)?));
        found.unwrap_or_else(|error| {
            self.complain(&error);
            None
        })
    }

    fn keep(&self, taken: &[(BackupName, Identity, Sums)]) {
        let kept = self.store.with(|db| {
            let transaction = db.transaction()?;
            for (name, identity, sums) in taken {
                let (device, inode, size) = numbers(*identity);
                transaction
                    .prepare_cached("INSERT OR REPLACE INTO digests VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?
                    .execute((
                        name.as_str(),
                        device,
                        inode,
                        size,
                        identity.modified,
                        sums.crc32,
                        &sums.sha256,
                    ))?;
            }
            Ok(transaction.commit()?)
        });
        if let Err(error) = kept {
            self.complain(&error);
        }
    }

    fn complain(&self, error: &Error) {
        if !self.complained.swap(true, Ordering::Relaxed) {
            tracing::warn!(%error, "sums of files cannot be remembered, so they are taken anew each time");
        }
    }
}

impl Pass<'_> {
    /// The sums of an open file: remembered, or taken now, which reads it whole.
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

fn look_up(db: &Connection, name: &BackupName, identity: Identity) -> rusqlite::Result<Option<Sums>> {
    let (device, inode, size) = numbers(identity);
    db.prepare_cached(
        "SELECT crc32, sha256 FROM digests
         WHERE file = ?1 AND device = ?2 AND inode = ?3 AND size = ?4 AND modified = ?5",
    )?
    .query_row((name.as_str(), device, inode, size, identity.modified), |row| {
        Ok(Sums { crc32: row.get(0)?, sha256: row.get(1)? })
    })
    .optional()
}

/// As SQLite has them: its integers are signed.
const fn numbers(identity: Identity) -> (i64, i64, i64) {
    (identity.device.cast_signed(), identity.inode.cast_signed(), identity.size.cast_signed())
}
