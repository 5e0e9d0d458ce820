//! An archive's table of contents: its objects in their order, and the dependencies of each. The format is
//! that of `ReadToc` and `WriteToc` in PostgreSQL's `pg_backup_archiver.c`.

use crate::domain::engines::postgres::archive::head::MAGIC;

/// How much of a statement is kept, in bytes: enough to tell what it does.
const KEPT: usize = 240;
/// The kinds whose statement is kept whole because it is parsed here, and the limit in bytes.
const WHOLE: [&str; 6] =
    ["DATABASE", "ENCODING", "STDSTRINGS", "SEARCHPATH", "BLOB METADATA", "SEQUENCE SET"];
const LONGEST: usize = 1 << 20;
/// The longest string in an archive, which is PostgreSQL's own limit.
const IMPOSSIBLE: i64 = 1 << 30;
/// The most objects; an archive with more is not accepted.
const MOST: i64 = 20_000_000;

/// When an object is restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// Not restored by itself: about the archive as a whole.
    None,
    /// Before the rows: tables, functions, types.
    PreData,
    /// The rows, the large objects, the values of sequences.
    Data,
    /// After the rows: indexes, constraints, triggers, policies.
    PostData,
}

/// One object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number in the archive.
    pub id: i64,
    /// Its kind, as `pg_dump` calls it: `TABLE`, `TABLE DATA`, `FK CONSTRAINT`.
    pub kind: String,
    /// Its name, sometimes with another before it: `t t_pkey`.
    pub tag: String,
    /// Its schema, if it is in one.
    pub schema: String,
    /// Its tablespace, if that is not the database's default.
    pub tablespace: String,
    /// Its owner.
    pub owner: String,
    /// When it is restored.
    pub section: Section,
    /// Whether it has a data block.
    pub has_data: bool,
    /// The beginning of the statement that creates it.
    pub statement: String,
    /// Its schema and name in the archive's encoding.
    pub name: (Vec<u8>, Vec<u8>),
    /// The COPY statement for its rows, in the archive's encoding.
    pub copy: Vec<u8>,
    /// The numbers of the entries it depends on.
    pub needs: Vec<i64>,
}

impl Entry {
    /// Kind and name: `table public.t`.
    pub fn title(&self) -> String {
        let kind = self.kind.to_lowercase();
        match self.schema.as_str() {
            "" => format!("{kind} {}", self.tag),
            schema => format!("{kind} {schema}.{}", self.tag),
        }
    }
}

/// A table of contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toc {
    /// The version of the server that was backed up.
    pub server: String,
    /// The version of the `pg_dump` that made the archive.
    pub tool: String,
    /// The encoding of its strings; `None` if it names none.
    pub encoding: Option<String>,
    /// Its objects, in the order in which they are restored.
    pub entries: Vec<Entry>,
}

/// A source of bytes; `None` at its end.
pub trait Bytes {
    /// Why reading failed.
    type Error;

    /// Reads the next `count` bytes and returns at most the first `keep` of them.
    fn take(&mut self, count: usize, keep: usize) -> Result<Option<Vec<u8>>, Self::Error>;
}

/// Reads the table of contents at an archive's beginning. `None` if the format is unknown.
pub fn read<B: Bytes>(bytes: &mut B) -> Result<Option<Toc>, B::Error> {
    let mut reader = Reader { bytes, int_size: 4, minor: 0 };
    reader.toc()
}

/// A string of an archive, or the absent one that ends a list.
enum Text {
    Some(Vec<u8>),
    None,
}

/// A string for display.
fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

struct Reader<'b, B> {
    bytes: &'b mut B,
    int_size: usize,
    minor: u8,
}

/// Stops reading where something is missing or invalid.
macro_rules! have {
    ($read:expr) => {
        match $read? {
            Some(value) => value,
            None => return Ok(None),
        }
    };
}

impl<B: Bytes> Reader<'_, B> {
    fn toc(&mut self) -> Result<Option<Toc>, B::Error> {
        let head = have!(self.bytes.take(MAGIC.len() + 6, MAGIC.len() + 6));
        let [major, minor, _revision, int_size, offset_size, _format] = head[MAGIC.len()..] else {
            return Ok(None);
        };
        if !head.starts_with(MAGIC)
            || major != 1
            || !(12..=16).contains(&minor)
            || !(1..=8).contains(&int_size)
        {
            return Ok(None);
        }
        (self.minor, self.int_size) = (minor, int_size.into());
        if minor >= 15 {
            have!(self.bytes.take(1, 1));
        } else {
            have!(self.number());
        }
        for _ in 0..7 {
            have!(self.number());
        }
        have!(self.text(KEPT));
        let server = have!(self.text(KEPT));
        let tool = have!(self.text(KEPT));
        let count = have!(self.number());
        if !(0..=MOST).contains(&count) {
            return Ok(None);
        }
        let mut entries = Vec::new();
        for _ in 0..count {
            entries.push(have!(self.entry(offset_size.into())));
        }
        let encoding = entries.iter().find(|entry| entry.kind == "ENCODING");
        let encoding = encoding.and_then(|entry| Some(entry.statement.split('\'').nth(1)?.to_owned()));
        Ok(Some(Toc { server, tool, encoding, entries }))
    }

    fn entry(&mut self, offset_size: usize) -> Result<Option<Entry>, B::Error> {
        let id = have!(self.number());
        let has_data = have!(self.number()) != 0;
        have!(self.text(0));
        have!(self.text(0));
        let tag = have!(self.bytes_of_text(KEPT));
        let kind = have!(self.text(KEPT));
        let section = match have!(self.number()) {
            2 => Section::PreData,
            3 => Section::Data,
            4 => Section::PostData,
            _ => Section::None,
        };
        let kept = if WHOLE.contains(&kind.as_str()) { LONGEST } else { KEPT };
        let statement = have!(self.text(kept));
        have!(self.text(0));
        let copy = have!(self.bytes_of_text(LONGEST));
        let schema = have!(self.bytes_of_text(KEPT));
        let tablespace = have!(self.text(KEPT));
        if self.minor >= 14 {
            have!(self.text(0));
        }
        if self.minor >= 16 {
            have!(self.number());
        }
        let owner = have!(self.text(KEPT));
        have!(self.text(0));
        let mut needs = Vec::new();
        while let Text::Some(number) = have!(self.maybe_text(KEPT)) {
            needs.extend(lossy(&number).parse::<i64>().ok());
        }
        have!(self.bytes.take(1 + offset_size, 0));
        Ok(Some(Entry {
            id,
            kind,
            tag: lossy(&tag),
            schema: lossy(&schema),
            name: (schema, tag),
            tablespace,
            owner,
            section,
            has_data,
            statement,
            copy,
            needs,
        }))
    }

    fn number(&mut self) -> Result<Option<i64>, B::Error> {
        let field = have!(self.bytes.take(1 + self.int_size, 9));
        let magnitude = field[1..].iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        let magnitude = i64::try_from(magnitude).unwrap_or(i64::MAX);
        Ok(Some(if field[0] == 0 { magnitude } else { -magnitude }))
    }

    /// A string, empty where absent.
    fn text(&mut self, keep: usize) -> Result<Option<String>, B::Error> {
        Ok(self.bytes_of_text(keep)?.map(|bytes| lossy(&bytes)))
    }

    /// The same, undecoded.
    fn bytes_of_text(&mut self, keep: usize) -> Result<Option<Vec<u8>>, B::Error> {
        Ok(match self.maybe_text(keep)? {
            Some(Text::Some(text)) => Some(text),
            Some(Text::None) => Some(Vec::new()),
            None => None,
        })
    }

    /// A string, of which the first `keep` bytes are kept.
    fn maybe_text(&mut self, keep: usize) -> Result<Option<Text>, B::Error> {
        let length = have!(self.number());
        if length > IMPOSSIBLE {
            return Ok(None);
        }
        let Ok(length) = usize::try_from(length) else { return Ok(Some(Text::None)) };
        Ok(Some(Text::Some(have!(self.bytes.take(length, keep)))))
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::engines::postgres::archive::toc::*;

    struct Slice<'a>(&'a [u8]);

    impl Bytes for Slice<'_> {
        type Error = std::convert::Infallible;

        fn take(&mut self, count: usize, keep: usize) -> Result<Option<Vec<u8>>, Self::Error> {
            Ok(self.0.split_off(..count).map(|taken| taken[..count.min(keep)].to_vec()))
        }
    }

    #[test]
    fn what_is_no_archive_has_no_contents() {
        for bytes in
            [&b""[..], b"PGDMP", b"SQLite format 3\0", &[b"PGDMP", &[1, 99, 0, 4, 8, 1][..]].concat()]
        {
            assert_eq!(read(&mut Slice(bytes)).unwrap(), None);
        }
    }

    #[test]
    fn every_object_is_read_with_what_it_needs() {
        for minor in 12..=16 {
            let bytes = crate::domain::engines::postgres::archive::tests::Writer::whole(minor);
            let toc = read(&mut Slice(&bytes)).unwrap().unwrap();
            assert_eq!((toc.server.as_str(), toc.entries.len()), ("15.18", 4), "1.{minor}");
            let entry = &toc.entries[0];
            assert_eq!((entry.id, entry.kind.as_str(), entry.tag.as_str()), (5, "TABLE DATA", "a tag"));
            assert_eq!((entry.section, &entry.needs[..]), (Section::Data, &[7, 12][..]));
            assert_eq!((entry.schema.as_str(), entry.owner.as_str()), ("public", "owner"));
            for cut in 0..40 {
                assert_eq!(read(&mut Slice(&bytes[..cut])).unwrap(), None, "1.{minor} cut at {cut}");
            }
        }
    }
}
