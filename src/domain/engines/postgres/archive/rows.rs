//! Counts the rows in an archive's data block as its bytes go by: COPY's text format has one line per row and
//! escapes line breaks within a row.

use flate2::{Decompress, FlushDecompress, Status};

/// The decompression buffer's size, in bytes.
const BUFFER: usize = 32 << 10;
/// How much of a block's end is inspected, in bytes: the end mark `\.` and the line breaks that `pg_dump`
/// writes around it.
const TAIL: usize = 8;

/// How an archive's blocks are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Packing {
    /// Uncompressed, as in Holdfast's own backups.
    #[default]
    None,
    /// One zlib stream per block.
    Zlib,
    /// An algorithm that is not supported here: LZ4, Zstandard.
    Other,
}

impl Packing {
    /// From the algorithm number in the header of archives of version 1.15 and later.
    pub const fn of_algorithm(number: u8) -> Self {
        match number {
            0 => Self::None,
            1 => Self::Zlib,
            _ => Self::Other,
        }
    }

    /// From the compression level in the header of archives before 1.15.
    pub const fn of_level(level: i64) -> Self {
        if level == 0 { Self::None } else { Self::Zlib }
    }
}

/// Counts the rows of one block.
pub struct RowCounter {
    block: i64,
    packing: Packing,
    unpacker: Option<Decompress>,
    lines: u64,
    tail: Vec<u8>,
    is_lost: bool,
}

impl RowCounter {
    /// A counter for the block of entry `block`.
    pub fn new(block: i64, packing: Packing) -> Self {
        let unpacker = (packing == Packing::Zlib).then(|| Decompress::new(true));
        let is_lost = packing == Packing::Other;
        Self { block, packing, unpacker, lines: 0, tail: Vec::with_capacity(2 * TAIL), is_lost }
    }

    /// The entry number of the block.
    pub const fn block(&self) -> i64 {
        self.block
    }

    /// Takes the block's next bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        match self.packing {
            Packing::None => self.take(bytes),
            Packing::Zlib => self.unpack(bytes),
            Packing::Other => {}
        }
    }

    /// The number of rows; `None` where it is unknown.
    pub fn rows(&self) -> Option<u64> {
        if self.is_lost {
            return None;
        }
        let breaks = self.tail.iter().rev().take_while(|byte| **byte == b'\n').count();
        let before = &self.tail[..self.tail.len() - breaks];
        let is_end_mark = match before {
            [.., before, b'\\', b'.'] => *before == b'\n',
            [b'\\', b'.'] => true,
            _ => false,
        };
        let of_end_mark = if is_end_mark { breaks as u64 } else { 0 };
        Some(self.lines.saturating_sub(of_end_mark))
    }

    fn take(&mut self, bytes: &[u8]) {
        self.lines += memchr::memchr_iter(b'\n', bytes).count() as u64;
        let last = &bytes[bytes.len().saturating_sub(TAIL)..];
        self.tail.extend_from_slice(last);
        let surplus = self.tail.len().saturating_sub(TAIL);
        self.tail.drain(..surplus);
    }

    fn unpack(&mut self, mut bytes: &[u8]) {
        let Some(mut unpacker) = self.unpacker.take() else { return };
        let mut buffer = vec![0; BUFFER];
        loop {
            let (read, written) = (unpacker.total_in(), unpacker.total_out());
            let status = unpacker.decompress(bytes, &mut buffer, FlushDecompress::None);
            let read = usize::try_from(unpacker.total_in() - read).unwrap_or(bytes.len());
            let written = usize::try_from(unpacker.total_out() - written).unwrap_or(0);
            self.take(&buffer[..written]);
            bytes = &bytes[read..];
            match status {
                Ok(Status::StreamEnd) => return,
                Ok(_) if bytes.is_empty() && written < buffer.len() => break,
                Ok(_) if read == 0 && written == 0 => break,
                Ok(_) => {}
                Err(_) => {
                    self.is_lost = true;
                    return;
                }
            }
        }
        self.unpacker = Some(unpacker);
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::engines::postgres::archive::rows::*;
    use flate2::Compression;
    use flate2::write::ZlibEncoder;
    use std::io::Write;

    fn rows(text: &str, packing: Packing, piece: usize) -> Option<u64> {
        let bytes = match packing {
            Packing::Zlib => {
                let mut packed = ZlibEncoder::new(Vec::new(), Compression::fast());
                packed.write_all(text.as_bytes()).unwrap();
                packed.finish().unwrap()
            }
            _ => text.as_bytes().to_vec(),
        };
        let mut counter = RowCounter::new(1, packing);
        bytes.chunks(piece).for_each(|piece| counter.feed(piece));
        counter.rows()
    }

    #[test]
    fn a_row_is_a_line_and_the_end_mark_is_none() {
        let many = format!("{}\\.\n\n\n", "1\ta\\nb\n".repeat(100_000));
        for (text, expected) in [
            ("\\.\n\n\n", 0),
            ("1\ta\n2\tb\n\\.\n\n\n", 2),
            ("\n\n\\.\n\n\n", 2),
            ("1\\\\.\n\\.\n\n\n", 1),
            // A row of a table without columns is an empty line; nothing in it looks like an end mark.
            ("\n\\.\n\n\n", 1),
            ("a.\n", 1),
            (many.as_str(), 100_000),
        ] {
            for packing in [Packing::None, Packing::Zlib] {
                for piece in [1, 3, 4096] {
                    assert_eq!(rows(text, packing, piece), Some(expected), "{packing:?} {piece}");
                }
            }
        }
        assert_eq!(rows("x", Packing::Other, 1), None);
        let mut damaged = RowCounter::new(1, Packing::Zlib);
        damaged.feed(b"no zlib stream");
        assert_eq!(damaged.rows(), None);
    }
}
