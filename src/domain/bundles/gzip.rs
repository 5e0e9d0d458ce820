//! A gzip member with uncompressed content, so that the position of every byte is known: RFC 1952 around
//! stored blocks of RFC 1951, §3.2.4.

use std::io;

/// The most content of a stored block, in bytes.
const BLOCK: u64 = 65_535;
/// The header of a block: one byte for its kind, its length, and the length's complement.
const BLOCK_HEADER: u64 = 5;
/// Deflate, no name, no time, unknown system: equal content gives equal bytes.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
const TRAILER: u64 = 8;

/// One member.
#[derive(Debug)]
pub struct Gzip {
    content: u64,
    crc32: u32,
}

impl Gzip {
    /// Around `content` bytes with that CRC-32.
    pub const fn new(content: u64, crc32: u32) -> Self {
        Self { content, crc32 }
    }

    /// The member's size in bytes.
    pub const fn size(&self) -> u64 {
        self.trailer_start() + TRAILER
    }

    /// Fills `buf`, which must be within the member, from `offset`; `read` provides the content.
    pub fn read_exact_at(
        &self,
        offset: u64,
        mut buf: &mut [u8],
        mut read: impl FnMut(u64, &mut [u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut at = offset;
        while !buf.is_empty() {
            let (length, part) = if at < HEADER.len() as u64 {
                copy(&HEADER, at, buf)
            } else if at >= self.trailer_start() {
                copy(&self.trailer(), at - self.trailer_start(), buf)
            } else {
                let body = at - HEADER.len() as u64;
                let (block, within) = (body / (BLOCK + BLOCK_HEADER), body % (BLOCK + BLOCK_HEADER));
                let size = BLOCK.min(self.content - block * BLOCK);
                if within < BLOCK_HEADER {
                    copy(&self.block_header(block, size), within, buf)
                } else {
                    let left = size - (within - BLOCK_HEADER);
                    let length = buf.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    let (part, rest) = buf.split_at_mut(length);
                    read(block * BLOCK + within - BLOCK_HEADER, part)?;
                    (length, rest)
                }
            };
            at += length as u64;
            buf = part;
        }
        Ok(())
    }

    const fn blocks(&self) -> u64 {
        if self.content == 0 { 1 } else { self.content.div_ceil(BLOCK) }
    }

    const fn trailer_start(&self) -> u64 {
        HEADER.len() as u64 + self.content + self.blocks() * BLOCK_HEADER
    }

    fn block_header(&self, block: u64, size: u64) -> [u8; 5] {
        let last = u8::from(block + 1 == self.blocks());
        let [low, high] = u16::try_from(size).unwrap_or(u16::MAX).to_le_bytes();
        [last, low, high, !low, !high]
    }

    fn trailer(&self) -> [u8; 8] {
        let mut trailer = [0; 8];
        let (crc32, length) = trailer.split_at_mut(4);
        crc32.copy_from_slice(&self.crc32.to_le_bytes());
        // The length modulo 2³² is its four lowest bytes.
        length.copy_from_slice(&self.content.to_le_bytes()[..4]);
        trailer
    }
}

/// Copies from `from`, starting at `at`, as much as fits; returns the number of bytes, and the rest of `buf`.
fn copy<'b>(from: &[u8], at: u64, buf: &'b mut [u8]) -> (usize, &'b mut [u8]) {
    let from = usize::try_from(at).ok().and_then(|at| from.get(at..)).unwrap_or_default();
    let length = from.len().min(buf.len());
    let (part, rest) = buf.split_at_mut(length);
    part.copy_from_slice(&from[..length]);
    (length, rest)
}

#[cfg(test)]
mod tests {
    use crate::domain::bundles::gzip::*;
    use flate2::read::GzDecoder;
    use std::io::Read;

    #[test]
    fn what_is_stored_is_unpacked_again_at_every_size_around_a_block() {
        let all: Vec<u8> = (0..=3 * 65_535_u32).map(|i| (i % 251) as u8).collect();
        for size in [0, 1, 65_534, 65_535, 65_536, 131_069, 131_070, 131_071, all.len()] {
            let content = &all[..size];
            let gzip = Gzip::new(size as u64, crc32fast::hash(content));
            let mut bytes = vec![0xAA; usize::try_from(gzip.size()).unwrap()];
            let read = |at: u64, part: &mut [u8]| {
                let at = usize::try_from(at).unwrap();
                part.copy_from_slice(&content[at..at + part.len()]);
                Ok(())
            };
            gzip.read_exact_at(0, &mut bytes, read).unwrap();
            let mut unpacked = Vec::new();
            let mut decoder = GzDecoder::new(&bytes[..]);
            decoder.read_to_end(&mut unpacked).unwrap();
            assert_eq!(unpacked, content, "{size}");
            assert!(decoder.into_inner().is_empty(), "{size}: bytes after the member");
        }
    }
}
