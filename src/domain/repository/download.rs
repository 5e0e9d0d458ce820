//! Downloads: their size is known beforehand, and they can be read from any position, so an interrupted
//! download can be resumed.

use crate::domain::error::Result;
use crate::domain::repository::catalog::{Catalog, OpenFile};
use crate::model::{Backup, BackupName, FileState, Stamp};
use std::io;

/// A download with its files open.
pub trait Download: Send + Sync {
    /// Its size in bytes.
    fn size(&self) -> u64;

    /// Identifies its bytes: two downloads with the same mark are identical. Plain characters, without
    /// quotes.
    fn mark(&self) -> &str;

    /// When it was last changed.
    fn modified(&self) -> Stamp;

    /// Whether [`Download::modified`] changes with every change of the bytes.
    fn is_told_by_time(&self) -> bool;

    /// Fills `buf` from `offset`, or fails; never pads. Blocks.
    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()>;
}

/// The file of one backup.
#[derive(Debug)]
pub struct OpenBackup {
    file: OpenFile,
    mark: String,
}

impl OpenBackup {
    /// Opens a listed file. It stays readable when its name is deleted.
    pub fn open(catalog: &Catalog, name: &BackupName) -> Result<Self> {
        let file = catalog.open_listed(name)?;
        let backup = catalog.get(name)?;
        let mark = sum_of(&backup, &file).unwrap_or_else(|| {
            let identity = file.identity();
            format!("{:x}-{:x}-{:x}", identity.inode, identity.size, identity.modified)
        });
        Ok(Self { file, mark })
    }
}

/// The checksum in the manifest, if the manifest describes the opened file.
fn sum_of(backup: &Backup, file: &OpenFile) -> Option<String> {
    let speaks = backup.state == FileState::Whole && backup.size == file.identity().size;
    let plain = |sum: &String| !sum.is_empty() && sum.bytes().all(|byte| byte.is_ascii_hexdigit());
    backup.sha256.clone().filter(|sum| speaks && plain(sum))
}

impl Download for OpenBackup {
    fn size(&self) -> u64 {
        self.file.identity().size
    }

    fn mark(&self) -> &str {
        &self.mark
    }

    fn modified(&self) -> Stamp {
        self.file.identity().modified()
    }

    fn is_told_by_time(&self) -> bool {
        true
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(offset, buf)
    }
}
