//! Table `digests`: checksums of files that have no manifest, each bound to the file as it was read.

use crate::domain::error::Result;
use crate::domain::state::Store;
use rusqlite::OptionalExtension as _;

/// A file as it was read: another identity means another file, or other content.
#[derive(Debug, Clone, Copy)]
pub struct FileKey<'a> {
    /// Its name.
    pub name: &'a str,
    /// The device number of the file system.
    pub device: u64,
    /// The inode number.
    pub inode: u64,
    /// Size in bytes.
    pub size: u64,
    /// Modification time, in nanoseconds since the epoch.
    pub modified: i64,
}

/// A file's checksums.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sums {
    /// CRC-32 (ISO-HDLC).
    pub crc32: u32,
    /// SHA-256, lower-case hexadecimal.
    pub sha256: String,
}

/// The stored checksums of a file.
pub fn find(store: &Store, file: FileKey<'_>) -> Result<Option<Sums>> {
    store.with(|db| {
        let mut find = db.prepare_cached(
            "SELECT crc32, sha256 FROM digests
             WHERE file = ?1 AND device = ?2 AND inode = ?3 AND size = ?4 AND modified = ?5",
        )?;
        let found = find.query_row(
            (file.name, signed(file.device), signed(file.inode), signed(file.size), file.modified),
            |row| Ok(Sums { crc32: row.get(0)?, sha256: row.get(1)? }),
        );
        Ok(found.optional()?)
    })
}

/// Stores checksums, all in one transaction.
pub fn keep<'a>(store: &Store, all: impl IntoIterator<Item = (FileKey<'a>, &'a Sums)>) -> Result<()> {
    store.with(|db| {
        let transaction = db.transaction()?;
        for (file, sums) in all {
            transaction
                .prepare_cached("INSERT OR REPLACE INTO digests VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?
                .execute((
                    file.name,
                    signed(file.device),
                    signed(file.inode),
                    signed(file.size),
                    file.modified,
                    sums.crc32,
                    &sums.sha256,
                ))?;
        }
        Ok(transaction.commit()?)
    })
}

/// The same 64 bits as SQLite stores them: its integers are signed.
const fn signed(number: u64) -> i64 {
    number.cast_signed()
}
