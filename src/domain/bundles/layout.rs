//! The position of every byte of an archive, computed before any backup is read.

use crate::domain::bundles::gzip::Gzip;
use crate::domain::bundles::member::{Content, Member};
use crate::domain::bundles::{tar, zip};
use crate::model::ArchiveFormat;
use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};
use std::io;

/// The files of a plan.
pub trait Files {
    /// Fills `buf` from `offset` of the file with that number, or fails.
    fn read_exact_at(&self, file: usize, offset: u64, buf: &mut [u8]) -> io::Result<()>;
}

/// An archive as arithmetic: header, content and padding for each member, then the archive's end; in a
/// tar.gz, wrapped in gzip. Headers are computed each time they are read, so a plan needs little more memory
/// than its members.
#[derive(Debug)]
pub struct Plan {
    format: ArchiveFormat,
    members: Vec<Member>,
    /// Where each member's header begins, before gzip.
    starts: Vec<u64>,
    tail_start: u64,
    tail: Vec<u8>,
    gzip: Option<Gzip>,
    etag: String,
}

impl Plan {
    /// Lays out the members in this order. `None` if the archive's size would overflow.
    pub fn new(format: ArchiveFormat, members: Vec<Member>) -> Option<Self> {
        // Far above the size of any disk, and far enough below the largest number for all the headers.
        const TOO_LARGE: u64 = 1 << 62;
        let mut starts = Vec::with_capacity(members.len());
        let mut at: u64 = 0;
        for member in &members {
            starts.push(at);
            let lead = lead(format, member).len() as u64;
            at = at.checked_add(lead)?.checked_add(member.size)?;
            at = at.checked_add(padding(format, member.size)).filter(|at| *at < TOO_LARGE)?;
        }
        let tail = match format {
            ArchiveFormat::Zip => zip::directory(&members, &starts, at),
            ArchiveFormat::TarGz => tar::END.to_vec(),
        };
        let gzip = match format {
            ArchiveFormat::Zip => None,
            ArchiveFormat::TarGz => {
                Some(Gzip::new(at + tail.len() as u64, crc32_of(format, &members, &tail)))
            }
        };
        let etag = etag(format, &members);
        Some(Self { format, members, starts, tail_start: at, tail, gzip, etag })
    }

    /// The archive's size in bytes.
    pub fn size(&self) -> u64 {
        self.gzip.as_ref().map_or(self.tail_start + self.tail.len() as u64, Gzip::size)
    }

    /// Identifies the archive's bytes: a SHA-256, lower-case hexadecimal, over everything that determines
    /// them.
    pub fn etag(&self) -> &str {
        &self.etag
    }

    /// Fills `buf` with the archive's bytes from `offset`. Fails beyond the end, or if a file cannot be read
    /// completely.
    pub fn read_exact_at(&self, offset: u64, buf: &mut [u8], files: &impl Files) -> io::Result<()> {
        if offset.checked_add(buf.len() as u64).is_none_or(|end| end > self.size()) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match &self.gzip {
            None => self.read_inner(offset, buf, files),
            Some(gzip) => gzip.read_exact_at(offset, buf, |at, part| self.read_inner(at, part, files)),
        }
    }

    fn read_inner(&self, mut at: u64, mut buf: &mut [u8], files: &impl Files) -> io::Result<()> {
        while !buf.is_empty() && at < self.tail_start {
            let index = self.starts.partition_point(|start| *start <= at) - 1;
            let member = &self.members[index];
            let within = at - self.starts[index];
            let lead = lead(self.format, member);
            let content_start = lead.len() as u64;
            let content_end = content_start + member.size;
            let end = content_end + padding(self.format, member.size);
            let (now, part_end) = if within < content_start {
                (0, content_start)
            } else if within < content_end {
                (1, content_end)
            } else {
                (2, end)
            };
            let length = usize::try_from(part_end - within).unwrap_or(usize::MAX).min(buf.len());
            let (part, rest) = buf.split_at_mut(length);
            match (now, &member.content) {
                (0, _) => part.copy_from_slice(slice(&lead, within, length)?),
                (1, Content::Bytes(bytes)) => {
                    part.copy_from_slice(slice(bytes, within - content_start, length)?);
                }
                (1, Content::File(file)) => files.read_exact_at(*file, within - content_start, part)?,
                _ => part.fill(0),
            }
            at += length as u64;
            buf = rest;
        }
        if !buf.is_empty() {
            buf.copy_from_slice(slice(&self.tail, at - self.tail_start, buf.len())?);
        }
        Ok(())
    }
}

/// The header before a member's content.
fn lead(format: ArchiveFormat, member: &Member) -> Vec<u8> {
    match format {
        ArchiveFormat::Zip => zip::local_header(member),
        ArchiveFormat::TarGz => tar::header(member),
    }
}

/// The number of zero bytes after content of that size.
const fn padding(format: ArchiveFormat, size: u64) -> u64 {
    match format {
        ArchiveFormat::Zip => 0,
        ArchiveFormat::TarGz => size.next_multiple_of(tar::BLOCK) - size,
    }
}

fn slice(bytes: &[u8], at: u64, length: usize) -> io::Result<&[u8]> {
    let at = usize::try_from(at).unwrap_or(usize::MAX);
    let end = at.saturating_add(length);
    bytes.get(at..end).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// The CRC-32 of everything before gzip, combined from the members' CRCs: no file is read.
fn crc32_of(format: ArchiveFormat, members: &[Member], tail: &[u8]) -> u32 {
    let mut whole = crc32fast::Hasher::new();
    for member in members {
        whole.update(&lead(format, member));
        whole.combine(&crc32fast::Hasher::new_with_initial_len(member.crc32, member.size));
        whole.update(&[0; 512][..usize::try_from(padding(format, member.size)).unwrap_or(0)]);
    }
    whole.update(tail);
    whole.finalize()
}

fn etag(format: ArchiveFormat, members: &[Member]) -> String {
    let mut digest = Sha256::new();
    // Names and numbers have a fixed length or are preceded by their length, so that different plans never
    // look alike.
    digest.update(b"layout 1 ");
    digest.update(format.key().as_bytes());
    for member in members {
        digest.update((member.name.len() as u64).to_le_bytes());
        digest.update(member.name.as_bytes());
        digest.update(member.modified.millis().to_le_bytes());
        digest.update(member.size.to_le_bytes());
        digest.update(member.crc32.to_le_bytes());
        if let Content::Bytes(bytes) = &member.content {
            digest.update(bytes);
        }
    }
    HEXLOWER.encode(&digest.finalize())
}
