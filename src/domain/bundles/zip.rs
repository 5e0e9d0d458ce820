//! The zip format, with uncompressed files: PKWARE's APPNOTE.TXT 6.3.3, with zip64 for large numbers, and
//! Info-ZIP's extended timestamp.

use crate::domain::bundles::member::Member;
use crate::model::Stamp;
use chrono::{DateTime, Datelike, Timelike};

/// Version 2.0 for stored files; 4.5 for zip64.
const VERSION: u16 = 20;
const VERSION_ZIP64: u16 = 45;
/// Version 4.5 on Unix, so that the external attributes carry a mode.
const MADE_BY: u16 = 3 << 8 | VERSION_ZIP64;
/// The name is UTF-8.
const FLAGS: u16 = 1 << 11;
/// Stored.
const METHOD: u16 = 0;
/// A regular file that its owner reads and writes.
const ATTRIBUTES: u32 = 0o100_600 << 16;
/// A larger number does not fit its field, which then has this value.
const FULL: u32 = u32::MAX;
const COUNT_FULL: u16 = u16::MAX;

/// The header before a member's content.
pub fn local_header(member: &Member) -> Vec<u8> {
    let mut extra = Fields::default();
    if is_large(member.size) {
        extra.u16(0x0001).u16(16).u64(member.size).u64(member.size);
    }
    extra.timestamp(member.modified);
    let mut header = Fields::default();
    header.u32(0x0403_4b50).common(member, is_large(member.size), &extra).raw(member.name.as_bytes());
    header.raw(&extra.0);
    header.0
}

/// The central directory and its end, after the last member. `starts` are the members' positions, `at` is the
/// directory's own.
pub fn directory(members: &[Member], starts: &[u64], at: u64) -> Vec<u8> {
    let mut directory = Fields::default();
    for (member, start) in members.iter().zip(starts) {
        let mut large = Fields::default();
        if is_large(member.size) {
            large.u64(member.size).u64(member.size);
        }
        if is_large(*start) {
            large.u64(*start);
        }
        let zip64 = !large.0.is_empty();
        let mut extra = Fields::default();
        if zip64 {
            extra.u16(0x0001).u16(short(large.0.len())).raw(&large.0);
        }
        extra.timestamp(member.modified);
        directory.u32(0x0201_4b50).u16(MADE_BY).common(member, zip64, &extra);
        // No comment, disk number or internal attributes.
        directory.u16(0).u16(0).u16(0).u32(ATTRIBUTES).u32(clipped(*start));
        directory.raw(member.name.as_bytes()).raw(&extra.0);
    }
    let (size, count) = (directory.0.len() as u64, members.len() as u64);
    let end = at + size;
    let few = u16::try_from(count).unwrap_or(COUNT_FULL);
    if few == COUNT_FULL || is_large(size) || is_large(at) {
        directory.u32(0x0606_4b50).u64(44).u16(MADE_BY).u16(VERSION_ZIP64).u32(0).u32(0);
        directory.u64(count).u64(count).u64(size).u64(at);
        directory.u32(0x0706_4b50).u32(0).u64(end).u32(1);
    }
    directory.u32(0x0605_4b50).u16(0).u16(0).u16(few).u16(few).u32(clipped(size)).u32(clipped(at)).u16(0);
    directory.0
}

const fn is_large(number: u64) -> bool {
    number >= FULL as u64
}

fn clipped(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(FULL)
}

fn short(length: usize) -> u16 {
    u16::try_from(length).unwrap_or(u16::MAX)
}

/// Little-endian fields, one after the other.
#[derive(Default)]
struct Fields(Vec<u8>);

impl Fields {
    fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn u16(&mut self, number: u16) -> &mut Self {
        self.raw(&number.to_le_bytes())
    }

    fn u32(&mut self, number: u32) -> &mut Self {
        self.raw(&number.to_le_bytes())
    }

    fn u64(&mut self, number: u64) -> &mut Self {
        self.raw(&number.to_le_bytes())
    }

    /// The fields that the local header and the directory's entry share, from the required version to the
    /// length of the extra fields.
    fn common(&mut self, member: &Member, zip64: bool, extra: &Self) -> &mut Self {
        let (date, time) = dos(member.modified);
        let size = clipped(member.size);
        self.u16(if zip64 { VERSION_ZIP64 } else { VERSION }).u16(FLAGS).u16(METHOD).u16(time).u16(date);
        self.u32(member.crc32).u32(size).u32(size).u16(short(member.name.len())).u16(short(extra.0.len()))
    }

    /// The modification time in UTC seconds, if it fits 32 bits: the older fields have neither a time zone
    /// nor odd seconds.
    fn timestamp(&mut self, modified: Stamp) {
        if let Ok(seconds) = i32::try_from(modified.millis().div_euclid(1000)) {
            self.u16(0x5455).u16(5).raw(&[1]).raw(&seconds.to_le_bytes());
        }
    }
}

/// MS-DOS date and time, here in UTC: 1980 to 2107, in steps of two seconds.
fn dos(modified: Stamp) -> (u16, u16) {
    /// 1980-01-01 00:00:00.
    const FIRST: (u16, u16) = (0x0021, 0);
    /// 2107-12-31 23:59:58.
    const LAST: (u16, u16) = (0xff9f, 0xbf7d);
    let Some(moment) = DateTime::from_timestamp_millis(modified.millis()) else { return FIRST };
    let year = match moment.year() - 1980 {
        ..0 => return FIRST,
        year => match u32::try_from(year) {
            Ok(year) if year < 128 => year,
            _ => return LAST,
        },
    };
    let date = year << 9 | moment.month() << 5 | moment.day();
    let time = moment.hour() << 11 | moment.minute() << 5 | (moment.second() / 2);
    (u16::try_from(date).unwrap_or(0), u16::try_from(time).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use crate::domain::bundles::zip::*;

    #[test]
    fn times_are_written_as_ms_dos_had_them() {
        let at = |text| dos(Stamp::from_rfc3339(text).unwrap());
        assert_eq!(at("1979-12-31T23:59:59Z"), (0x0021, 0));
        assert_eq!(at("1980-01-01T00:00:00Z"), (0x0021, 0));
        assert_eq!(at("2026-11-23T02:41:07Z"), (46 << 9 | 11 << 5 | 0x17, 2 << 11 | 41 << 5 | 3));
        assert_eq!(at("2107-12-31T23:59:59Z"), (0xff9f, 0xbf7d));
        assert_eq!(at("2108-01-01T00:00:00Z"), (0xff9f, 0xbf7d));
    }
}
