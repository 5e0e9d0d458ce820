//! Tells a complete PostgreSQL custom-format archive from a truncated one, in one pass over the stream.
//!
//! The format is defined in `pg_backup_archiver.c` and `pg_backup_custom.c` of PostgreSQL, versions 1.12 to
//! 1.16 (`pg_dump` 9.0 to 18): a header, a table of contents, then one data block for each entry that has
//! data. There is no end mark, so an archive is complete when every promised block was seen and no block is
//! left open.

pub mod head;
pub mod rows;
pub mod toc;

use crate::domain::engines::engine::Counts;
use crate::domain::engines::postgres::archive::head::MAGIC;
use rows::{Packing, RowCounter};
use std::collections::HashMap;

/// `archCustom`.
const FORMAT_CUSTOM: i64 = 1;
const BLOCK_DATA: i64 = 1;
const BLOCK_BLOBS: i64 = 3;

/// The state of the archive after the bytes seen so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The archive is complete.
    Whole,
    /// There was no input.
    Empty,
    /// The input does not begin with an archive header.
    NotAnArchive,
    /// The archive is truncated or malformed; the phrase says where.
    Broken(String),
    /// The archive's version, `major.minor`, is not supported.
    Unknown(String),
}

/// Rows per data block, by the number of the block's entry; `None` where the rows cannot be counted.
pub type RowsOf = HashMap<i64, Option<u64>>;

/// Large objects in an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Objects {
    /// How many.
    pub count: u64,
    /// Their total size in bytes; `None` where they are compressed.
    pub bytes: Option<u64>,
}

/// Parses the structure of an archive as its bytes go by.
pub struct Checker {
    at: At,
    /// Bytes of the current field so far.
    field: [u8; 16],
    filled: usize,
    /// Bytes left to skip: the content of a string or a chunk.
    skip: u64,
    minor: u8,
    int_size: usize,
    offset_size: usize,
    entries_left: i64,
    entry: Entry,
    /// Data blocks that the table of contents promises and that were not seen yet, with whether they hold
    /// COPY rows.
    promised: HashMap<i64, bool>,
    packing: Packing,
    /// Counts the rows of the current block, where it holds rows.
    counter: Option<RowCounter>,
    rows: RowsOf,
    objects: Objects,
    offset: u64,
    ended: Option<Verdict>,
}

#[derive(Default)]
struct Entry {
    id: i64,
    has_data: bool,
    is_copied: bool,
}

/// Which of an entry's fields is its COPY statement.
const COPY_STATEMENT: u8 = 7;

/// The field that comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Start,
    Compression,
    /// Seven numbers for the date, then three strings.
    Head(u8),
    EntryCount,
    EntryId,
    EntryHasData,
    /// The fields of an entry, as in [`ENTRY`].
    EntryField(u8),
    Dependency,
    Offset,
    BlockKind,
    BlockId {
        blobs: bool,
    },
    BlobId,
    ChunkLength {
        blobs: bool,
    },
}

enum Field {
    String,
    Number,
}

impl Checker {
    /// A checker at the beginning of an archive.
    pub fn new() -> Self {
        Self {
            at: At::Start,
            field: [0; 16],
            filled: 0,
            skip: 0,
            minor: 0,
            int_size: 0,
            offset_size: 0,
            entries_left: 0,
            entry: Entry::default(),
            promised: HashMap::new(),
            packing: Packing::default(),
            counter: None,
            rows: HashMap::new(),
            objects: Objects { count: 0, bytes: Some(0) },
            offset: 0,
            ended: None,
        }
    }

    /// Takes the archive's next bytes.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.ended.is_none() {
            if self.skip > 0 {
                let passed = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
                if let Some(counter) = &mut self.counter {
                    counter.feed(&bytes[..passed]);
                }
                self.skip -= passed as u64;
                self.offset += passed as u64;
                bytes = &bytes[passed..];
                continue;
            }
            let width = self.width();
            let taken = (width - self.filled).min(bytes.len());
            self.field[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
            self.filled += taken;
            self.offset += taken as u64;
            bytes = &bytes[taken..];
            if self.filled == width {
                self.filled = 0;
                match self.step() {
                    Ok(next) => self.at = next,
                    Err(verdict) => self.ended = Some(verdict),
                }
            }
        }
    }

    /// The state of the archive if the input ends here.
    pub fn verdict(&self) -> Verdict {
        if let Some(verdict) = &self.ended {
            return verdict.clone();
        }
        let between = self.filled == 0 && self.skip == 0;
        match self.at {
            At::Start if self.filled == 0 => Verdict::Empty,
            At::Start if !self.field[..self.filled].starts_with(&MAGIC[..self.filled.min(MAGIC.len())]) => {
                Verdict::NotAnArchive
            }
            At::BlockKind if between && self.promised.is_empty() => Verdict::Whole,
            At::BlockKind if between => Verdict::Broken(format!(
                "it ends after {} bytes and lacks {} of the promised tables",
                self.offset,
                self.promised.len()
            )),
            At::BlockKind | At::BlockId { .. } | At::BlobId | At::ChunkLength { .. } => {
                Verdict::Broken(format!("it is truncated after {} bytes, in a table's data", self.offset))
            }
            _ => Verdict::Broken(format!(
                "it is truncated after {} bytes, in the table of contents",
                self.offset
            )),
        }
    }

    /// Rows per data block, by entry number: `None` for a block that cannot be decompressed here. Entries
    /// whose data are not COPY rows are left out.
    pub const fn rows(&self) -> &RowsOf {
        &self.rows
    }

    /// The large objects seen so far.
    pub const fn objects(&self) -> Objects {
        self.objects
    }

    /// The tables that came with data, and their rows, if every block could be counted.
    pub fn counted(&self) -> Option<Counts> {
        let rows = self.rows.values().copied().sum::<Option<u64>>()?;
        Some(Counts { tables: self.rows.len() as u64, rows })
    }

    /// The width of the current field in bytes. A number is one byte for the sign, then its magnitude.
    fn width(&self) -> usize {
        match self.at {
            At::Start => MAGIC.len() + 6,
            At::Compression if self.minor >= 15 => 1,
            At::BlockKind => 1,
            At::Offset => 1 + self.offset_size,
            _ => 1 + self.int_size,
        }
    }

    /// Reads the complete field and returns the next one.
    fn step(&mut self) -> Result<At, Verdict> {
        let next = match self.at {
            At::Start => self.start()?,
            At::Compression => {
                self.packing = if self.minor >= 15 {
                    Packing::of_algorithm(self.field[0])
                } else {
                    Packing::of_level(self.number())
                };
                At::Head(0)
            }
            At::Head(n @ 0..7) => At::Head(n + 1),
            At::Head(n) => {
                self.skip_string()?;
                if n < 9 { At::Head(n + 1) } else { At::EntryCount }
            }
            At::EntryCount => {
                self.entries_left = self.number();
                if self.entries_left < 0 {
                    return Err(self.malformed("a negative number of entries"));
                }
                self.next_entry()
            }
            At::EntryId => {
                self.entry.id = self.number();
                At::EntryHasData
            }
            At::EntryHasData => {
                self.entry.has_data = self.number() != 0;
                self.entry.is_copied = false;
                At::EntryField(0)
            }
            At::EntryField(n) => {
                if n == COPY_STATEMENT {
                    self.entry.is_copied = self.number() > 0;
                }
                if let Some(Field::String) = self.entry_field(n) {
                    self.skip_string()?;
                }
                if self.entry_field(n + 1).is_some() { At::EntryField(n + 1) } else { At::Dependency }
            }
            At::Dependency => {
                if self.skip_string()? {
                    At::Dependency
                } else {
                    At::Offset
                }
            }
            At::Offset => {
                if !(1..=3).contains(&self.field[0]) {
                    return Err(self.malformed("an offset of unknown kind"));
                }
                if self.entry.has_data && self.promised.insert(self.entry.id, self.entry.is_copied).is_some()
                {
                    return Err(self.malformed("the same entry twice"));
                }
                self.entries_left -= 1;
                self.next_entry()
            }
            At::BlockKind => match i64::from(self.field[0]) {
                BLOCK_DATA => At::BlockId { blobs: false },
                BLOCK_BLOBS => At::BlockId { blobs: true },
                _ => return Err(self.malformed("a block of unknown kind")),
            },
            At::BlockId { blobs } => {
                let id = self.number();
                let Some(is_copied) = self.promised.remove(&id) else {
                    return Err(self.malformed("an unexpected or repeated block"));
                };
                self.counter = (is_copied && !blobs).then(|| RowCounter::new(id, self.packing));
                if blobs { At::BlobId } else { At::ChunkLength { blobs } }
            }
            // Large objects follow each other, each after its OID (which wraps to negative); a zero ends the
            // list.
            At::BlobId => {
                if self.number() == 0 {
                    At::BlockKind
                } else {
                    self.objects.count += 1;
                    At::ChunkLength { blobs: true }
                }
            }
            At::ChunkLength { blobs } => match u64::try_from(self.number()) {
                Ok(0) if blobs => At::BlobId,
                Ok(0) => {
                    if let Some(counter) = self.counter.take() {
                        self.rows.insert(counter.block(), counter.rows());
                    }
                    At::BlockKind
                }
                Ok(length) => {
                    self.skip = length;
                    if blobs {
                        let is_plain = self.packing == Packing::None;
                        self.objects.bytes =
                            self.objects.bytes.filter(|_| is_plain).map(|bytes| bytes + length);
                    }
                    At::ChunkLength { blobs }
                }
                Err(_) => return Err(self.malformed("a chunk of negative length")),
            },
        };
        Ok(next)
    }

    fn start(&mut self) -> Result<At, Verdict> {
        if !self.field.starts_with(MAGIC) {
            return Err(Verdict::NotAnArchive);
        }
        let [major, minor, _revision, int_size, offset_size, format] = self.field[5..11] else {
            return Err(Verdict::NotAnArchive);
        };
        if major != 1 || !(12..=16).contains(&minor) {
            return Err(Verdict::Unknown(format!("{major}.{minor}")));
        }
        if !(1..=8).contains(&int_size)
            || !(1..=8).contains(&offset_size)
            || i64::from(format) != FORMAT_CUSTOM
        {
            return Err(self.malformed("a header of another format"));
        }
        (self.minor, self.int_size, self.offset_size) = (minor, int_size.into(), offset_size.into());
        Ok(At::Compression)
    }

    fn next_entry(&self) -> At {
        if self.entries_left > 0 { At::EntryId } else { At::BlockKind }
    }

    /// The fields of an entry between its flag and its dependencies, in the order of `WriteToc`.
    fn entry_field(&self, n: u8) -> Option<Field> {
        use Field::{Number, String};
        let has_access_method = self.minor >= 14;
        let has_relation_kind = self.minor >= 16;
        [
            Some(String), // the catalog's OID
            Some(String), // the object's OID
            Some(String), // tag
            Some(String), // description
            Some(Number), // section
            Some(String), // definition
            Some(String), // DROP statement
            Some(String), // COPY statement
            Some(String), // schema
            Some(String), // tablespace
            has_access_method.then_some(String),
            has_relation_kind.then_some(Number),
            Some(String), // owner
            Some(String), // "false", once whether the table has OIDs
        ]
        .into_iter()
        .flatten()
        .nth(n.into())
    }

    fn number(&self) -> i64 {
        let magnitude = self.field[1..=self.int_size]
            .iter()
            .rev()
            .fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        let magnitude = i64::try_from(magnitude).unwrap_or(i64::MAX);
        if self.field[0] == 0 { magnitude } else { -magnitude }
    }

    /// Skips a string; `false` for an absent one, which is written as a negative length.
    fn skip_string(&mut self) -> Result<bool, Verdict> {
        let length = self.number();
        self.skip = u64::try_from(length).unwrap_or(0);
        // A string is an identifier or a statement; PostgreSQL limits both to a gigabyte.
        if length > 1 << 30 {
            return Err(self.malformed("a string of impossible length"));
        }
        Ok(length >= 0)
    }

    fn malformed(&self, what: &str) -> Verdict {
        Verdict::Broken(format!("it has {what} at byte {}", self.offset))
    }
}

impl Default for Checker {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use crate::domain::engines::postgres::archive::head::origin;
    use crate::domain::engines::postgres::archive::*;
    use proptest::prelude::*;

    /// Writes archives as `pg_dump` does: `WriteHead`, `WriteToc` and `_StartData`.
    pub struct Writer {
        minor: u8,
        bytes: Vec<u8>,
    }

    impl Writer {
        fn new(minor: u8) -> Self {
            let mut writer = Self { minor, bytes: b"PGDMP".to_vec() };
            writer.bytes.extend([1, minor, 0, 4, 8, 1]);
            if minor >= 15 {
                writer.bytes.push(0);
            } else {
                writer.int(-1);
            }
            (0..7).for_each(|n| writer.int(n));
            for text in [Some("a database"), Some("15.18"), None] {
                writer.string(text);
            }
            writer
        }

        fn int(&mut self, number: i64) {
            self.bytes.push(u8::from(number < 0));
            self.bytes.extend(&number.unsigned_abs().to_le_bytes()[..4]);
        }

        fn string(&mut self, text: Option<&str>) {
            self.int(text.map_or(-1, |text| i64::try_from(text.len()).unwrap()));
            self.bytes.extend(text.unwrap_or_default().bytes());
        }

        fn entry(&mut self, id: i64, has_data: bool) {
            self.int(id);
            self.int(has_data.into());
            for text in ["1259", "16385", "a tag", "TABLE DATA"] {
                self.string(Some(text));
            }
            self.int(3);
            for text in [Some("CREATE TABLE"), Some(""), None, Some("public"), None] {
                self.string(text);
            }
            if self.minor >= 14 {
                self.string(Some("heap"));
            }
            if self.minor >= 16 {
                self.int(114);
            }
            for text in [Some("owner"), Some("false"), Some("7"), Some("12"), None] {
                self.string(text);
            }
            self.bytes.push(if has_data { 1 } else { 3 });
            self.bytes.extend([0; 8]);
        }

        fn chunks(&mut self, chunks: &[&str]) {
            for chunk in chunks {
                self.string(Some(chunk));
            }
            self.int(0);
        }

        fn block(&mut self, kind: u8, id: i64) {
            self.bytes.push(kind);
            self.int(id);
        }

        pub fn whole(minor: u8) -> Vec<u8> {
            let mut writer = Self::new(minor);
            writer.int(4);
            writer.entry(5, true);
            writer.entry(6, false);
            writer.entry(900, true);
            writer.entry(7, true);
            writer.block(1, 5);
            writer.chunks(&["1\\ta\\n", "2\\tb\\n"]);
            writer.block(3, 900);
            // OIDs above 2^31 are written as negative numbers.
            for oid in [16400, -294_967_296] {
                writer.int(oid);
                writer.chunks(&["bytes"]);
            }
            writer.int(0);
            writer.block(1, 7);
            writer.chunks(&[]);
            writer.bytes
        }
    }

    fn verdict(bytes: &[u8], piece: usize) -> Verdict {
        let mut checker = Checker::new();
        bytes.chunks(piece).for_each(|piece| checker.feed(piece));
        checker.verdict()
    }

    #[test]
    fn every_version_is_followed_to_its_end_and_no_part_of_it_is_whole() {
        for minor in 12..=16 {
            let bytes = Writer::whole(minor);
            for piece in [1, 7, 4096] {
                assert_eq!(verdict(&bytes, piece), Verdict::Whole, "1.{minor}");
            }
            for cut in 0..bytes.len() {
                assert_ne!(verdict(&bytes[..cut], 4096), Verdict::Whole, "1.{minor} cut at {cut}");
            }
            assert_ne!(verdict(&[&bytes[..], b"\0"].concat(), 4096), Verdict::Whole);
        }
    }

    #[test]
    fn an_archive_without_data_is_whole() {
        let mut writer = Writer::new(14);
        writer.int(1);
        writer.entry(1, false);
        assert_eq!(verdict(&writer.bytes, 64), Verdict::Whole);
    }

    #[test]
    fn what_is_no_archive_is_told_apart() {
        assert_eq!(verdict(b"", 1), Verdict::Empty);
        for bytes in [&b"x"[..], b"PGX", b"-- PostgreSQL database dump\n\n"] {
            assert_eq!(verdict(bytes, 3), Verdict::NotAnArchive);
        }
        assert!(matches!(verdict(b"PGDMP", 3), Verdict::Broken(_)));
        assert_eq!(
            verdict(&[b"PGDMP", &[1, 17, 0, 4, 8, 1, 0][..]].concat(), 3),
            Verdict::Unknown("1.17".into())
        );
        assert_eq!(
            verdict(&[b"PGDMP", &[2, 0, 0, 4, 8, 1, 0][..]].concat(), 3),
            Verdict::Unknown("2.0".into())
        );
        assert!(matches!(verdict(&[b"PGDMP", &[1, 14, 0, 4, 8, 3, 0][..]].concat(), 3), Verdict::Broken(_)));
    }

    #[test]
    fn blocks_that_do_not_match_the_contents_are_refused() {
        let with = |blocks: &dyn Fn(&mut Writer)| {
            let mut writer = Writer::new(16);
            writer.int(2);
            writer.entry(5, true);
            writer.entry(6, false);
            blocks(&mut writer);
            verdict(&writer.bytes, 64)
        };
        let data = |writer: &mut Writer, kind, id| {
            writer.block(kind, id);
            writer.chunks(&["x"]);
        };
        assert_eq!(with(&|w| data(w, 1, 5)), Verdict::Whole);
        assert!(matches!(with(&|_| ()), Verdict::Broken(how) if how.contains("1 of the promised")));
        assert!(matches!(with(&|w| data(w, 1, 6)), Verdict::Broken(_)));
        assert!(matches!(with(&|w| data(w, 2, 5)), Verdict::Broken(_)));
        let twice = with(&|w| {
            data(w, 1, 5);
            data(w, 1, 5);
        });
        assert!(matches!(twice, Verdict::Broken(_)));
    }

    proptest! {
        #[test]
        fn damage_never_makes_it_panic(at in 0usize..400, value: u8, piece in 1usize..50) {
            let mut bytes = Writer::whole(16);
            let at = at % bytes.len();
            bytes[at] = value;
            let _ = verdict(&bytes, piece);
            let _ = origin(&bytes);
        }
    }
}
