//! The tar format: ustar of POSIX.1-1988, with a PAX header of POSIX.1-2001 where a field is too small.

use crate::domain::bundles::member::Member;
use std::io::Write as _;

/// The block size of tar, in bytes.
pub const BLOCK: u64 = 512;

/// Two blocks of zeros end an archive.
pub const END: [u8; 1024] = [0; 1024];

const NAME_MAX: usize = 100;
/// Eleven octal digits: 8 GiB less one byte.
const SIZE_MAX: u64 = 0o777_7777_7777;
/// Regular file.
const REGULAR: u8 = b'0';
/// A header with more about the next member.
const EXTENDED: u8 = b'x';

/// The header before a member's content. Its time has whole seconds only, as the format requires.
pub fn header(member: &Member) -> Vec<u8> {
    let mut records = Vec::new();
    if member.name.len() > NAME_MAX {
        records.extend(record("path", &member.name));
    }
    if member.size > SIZE_MAX {
        records.extend(record("size", &member.size.to_string()));
    }
    let mut bytes = Vec::with_capacity(512);
    if !records.is_empty() {
        bytes.extend(block("PaxHeader", records.len() as u64, member, EXTENDED));
        bytes.extend(&records);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    // If PAX has the size, readers of plain ustar see no size rather than a wrong one.
    let size = if member.size > SIZE_MAX { 0 } else { member.size };
    bytes.extend(block(&member.name, size, member, REGULAR));
    bytes
}

fn block(name: &str, size: u64, member: &Member, kind: u8) -> [u8; 512] {
    let mut block = [0; 512];
    let name = &name.as_bytes()[..name.len().min(NAME_MAX)];
    let seconds = u64::try_from(member.modified.millis().div_euclid(1000)).unwrap_or(0).min(SIZE_MAX);
    put(&mut block, 0, name);
    put(&mut block, 100, b"0000600\0");
    put(&mut block, 108, b"0000000\0");
    put(&mut block, 116, b"0000000\0");
    put(&mut block, 124, format!("{size:011o}\0").as_bytes());
    put(&mut block, 136, format!("{seconds:011o}\0").as_bytes());
    // The checksum is computed with its own field blank.
    put(&mut block, 148, b"        ");
    put(&mut block, 156, &[kind]);
    put(&mut block, 257, b"ustar\x0000");
    let sum: u32 = block.iter().copied().map(u32::from).sum();
    put(&mut block, 148, format!("{sum:06o}\0 ").as_bytes());
    block
}

fn put(block: &mut [u8; 512], at: usize, bytes: &[u8]) {
    // The offsets are constants, and the fields do not overlap.
    if let Some(field) = block.get_mut(at..at + bytes.len()) {
        field.copy_from_slice(bytes);
    }
}

/// `"<length> <key>=<value>\n"`, the length counting its own digits too.
fn record(key: &str, value: &str) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    let mut record = Vec::with_capacity(length);
    // Writing to memory cannot fail.
    let _ = writeln!(record, "{length} {key}={value}");
    record
}

#[cfg(test)]
mod tests {
    use crate::domain::bundles::tar::*;

    #[test]
    fn a_record_s_length_counts_itself() {
        for length in 0..1200 {
            let record = record("path", &"x".repeat(length));
            let said: usize =
                std::str::from_utf8(&record).unwrap().split(' ').next().unwrap().parse().unwrap();
            assert_eq!(said, record.len());
        }
        assert_eq!(record("size", "8589934592"), b"19 size=8589934592\n");
    }
}
