//! One file of an archive: its name, time, size and checksum, and where its bytes are.

use crate::model::Stamp;

/// One file of an archive.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its name at the archive's root.
    pub name: String,
    /// Its modification time.
    pub modified: Stamp,
    /// Its size in bytes.
    pub size: u64,
    /// Its CRC-32 (ISO-HDLC).
    pub crc32: u32,
    /// Where its bytes are.
    pub content: Content,
}

/// Where a member's bytes are.
#[derive(Debug, Clone)]
pub enum Content {
    /// In memory.
    Bytes(Vec<u8>),
    /// In the file with that number.
    File(usize),
}

impl Member {
    /// A member with its bytes in memory.
    pub fn of_bytes(name: String, modified: Stamp, bytes: Vec<u8>) -> Self {
        let (size, crc32) = (bytes.len() as u64, crc32fast::hash(&bytes));
        Self { name, modified, size, crc32, content: Content::Bytes(bytes) }
    }
}
