//! Reads the pages of a SQLite file without SQLite, to find out whether every row of every table is there. It
//! parses no SQL, so it also works where SQLite rejects the schema, and no limit on findings can hide a
//! damaged page.
//!
//! A damaged b-tree of a table, a lost page or a wrong list of free pages is damage. An index only repeats
//! its table's data: a broken index is reported separately, because `REINDEX` rebuilds it.

use crate::domain::engines::sqlite::pages::{Fault, Owner, Pages};
use crate::domain::engines::sqlite::record::{Text, Value, decode};
use crate::domain::error::{Error, Result};
use crate::domain::jobs::cancel::Cancel;
use std::fs::File;
use std::path::Path;

/// One row of `sqlite_schema`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// `table`, `index`, `view` or `trigger`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its table.
    pub table: String,
    /// The first page of its b-tree; 0 if it has none.
    pub root: u32,
    /// The statement that created it; `None` for an index that a constraint created.
    pub sql: Option<String>,
    /// Whether all of it is plain text, as a program would write it.
    pub is_text: bool,
}

impl Object {
    /// Whether a module stores its rows, rather than a b-tree of its own.
    pub fn is_virtual(&self) -> bool {
        let words: Vec<_> =
            self.sql.iter().flat_map(|sql| sql.split_whitespace().take(3)).map(str::to_lowercase).collect();
        matches!(words.iter().map(String::as_str).collect::<Vec<_>>()[..], ["create", "virtual", ..])
    }
}

/// The content of a file.
#[derive(Debug, Default)]
pub struct Structure {
    /// The entries of the schema.
    pub objects: Vec<Object>,
    /// Damage; empty if every row of every table is there.
    pub damage: Vec<String>,
    /// Indexes whose own pages are broken: the name, and how.
    pub broken: Vec<(String, String)>,
    /// The tables with a b-tree, and the rows in each.
    pub tables: Vec<(String, u64)>,
}

impl Structure {
    /// Whether the index belongs to that table.
    pub fn is_of(&self, index: &str, table: &str) -> bool {
        self.objects.iter().any(|object| {
            object.kind == "index" && object.name == index && object.table.eq_ignore_ascii_case(table)
        })
    }
}

/// The most findings that are kept.
const FINDINGS: usize = 3;

/// Checks the header and size of a database file: what is wrong, if anything.
pub fn outline(file: &File, path: &Path, cancel: &Cancel) -> Result<Option<String>> {
    match Pages::open(file, cancel) {
        Ok(_) => Ok(None),
        Err(Fault::Broken(how)) => Ok(Some(how)),
        Err(Fault::Cancelled) => Err(Error::Cancelled),
        Err(Fault::Unread(error)) => Err(Error::file("Reading", path, error)),
    }
}

/// Reads every page of the database in `file`.
pub fn read(file: &File, path: &Path, cancel: &Cancel) -> Result<Structure> {
    let mut found = Structure::default();
    match read_all(file, cancel, &mut found) {
        Ok(()) => Ok(found),
        Err(Fault::Broken(how)) => {
            found.damage.push(how);
            Ok(found)
        }
        Err(Fault::Cancelled) => Err(Error::Cancelled),
        Err(Fault::Unread(error)) => Err(Error::file("Reading", path, error)),
    }
}

/// Passes each entry of an index to `take`. Returns their number.
pub fn entries(
    file: &File,
    path: &Path,
    cancel: &Cancel,
    index: &Object,
    take: &mut dyn FnMut(&[Value<'_>]),
) -> Result<Option<u64>> {
    let owner = Owner { label: &index.name, is_index: true };
    let read = Pages::open(file, cancel).and_then(|mut pages| {
        pages.rows(index.root, &owner, &mut |payload| take(&decode(payload).unwrap_or_default()))
    });
    match read {
        Ok(count) => Ok(Some(count)),
        Err(Fault::Broken(_)) => Ok(None),
        Err(Fault::Cancelled) => Err(Error::Cancelled),
        Err(Fault::Unread(error)) => Err(Error::file("Reading", path, error)),
    }
}

fn read_all(file: &File, cancel: &Cancel, found: &mut Structure) -> Result<(), Fault> {
    let mut pages = Pages::open(file, cancel)?;
    pages.mark_own();
    let encoding = pages.encoding();
    let schema = Owner { label: "the schema", is_index: false };
    let objects = &mut found.objects;
    pages.rows(1, &schema, &mut |payload| {
        objects.push(object(&decode(payload).unwrap_or_default(), encoding));
    })?;
    pages.free_list()?;
    // Tables first: if two trees claim a page, the index is the one to be rebuilt.
    for is_index in [false, true] {
        for object in found.objects.iter().filter(|object| (object.kind == "index") == is_index) {
            if object.root == 0 {
                if object.kind == "table" && !object.is_virtual() {
                    found.damage.push(format!("the table {} has no pages", shown(&object.name)));
                }
                continue;
            }
            let label = format!("the {} {}", if is_index { "index" } else { "table" }, shown(&object.name));
            let owner = Owner { label: &label, is_index };
            match pages.tree(object.root, &owner) {
                Ok(rows) if !is_index => found.tables.push((object.name.clone(), rows)),
                Ok(_) => {}
                Err(Fault::Broken(how)) if is_index => found.broken.push((object.name.clone(), how)),
                Err(Fault::Broken(how)) => found.damage.push(how),
                Err(fault) => return Err(fault),
            }
            if found.damage.len() >= FINDINGS {
                return Ok(());
            }
        }
    }
    // A broken table's pages are not lost, but cannot be found either.
    if found.damage.is_empty() {
        found.damage.extend(pages.lost(found.broken.is_empty())?);
    }
    Ok(())
}

/// Parses a row of the schema.
fn object(row: &[Value<'_>], encoding: Text) -> Object {
    let mut is_text = true;
    let mut text = |at: usize| match row.get(at) {
        Some(Value::Text(bytes)) => Some(encoding.read(bytes).unwrap_or_else(|()| {
            is_text = false;
            String::from_utf8_lossy(bytes).into_owned()
        })),
        _ => None,
    };
    let [kind, name, table] = [0, 1, 2].map(|at| text(at).unwrap_or_default());
    let sql = text(4);
    // Programs write plain statements; control characters come from damage, or from an odd name.
    let is_odd = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{b}' | '\u{c}');
    is_text &= !sql.iter().any(|sql| sql.chars().any(is_odd));
    let root = match row.get(3) {
        Some(Value::Integer(root)) => u32::try_from(*root).unwrap_or(u32::MAX),
        _ => 0,
    };
    Object { kind, name, table, root, sql, is_text }
}

/// A name from a database, safe to show.
pub fn shown(name: &str) -> String {
    crate::model::outcome::printable(name)
}

#[cfg(test)]
mod tests {
    use crate::domain::engines::sqlite::open::open_immutable;
    use crate::domain::engines::sqlite::structure::*;
    use rusqlite::Connection;
    use std::os::unix::fs::FileExt as _;
    use tempfile::NamedTempFile;

    fn filled(settings: &str) -> NamedTempFile {
        let file = NamedTempFile::new().unwrap();
        let connection = Connection::open(file.path()).unwrap();
        let rows = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 900)";
        connection
            .execute_batch(&format!(
                "PRAGMA journal_mode = OFF; {settings};
                 CREATE TABLE t (a INTEGER PRIMARY KEY, b, c);
                 CREATE TABLE w (k TEXT PRIMARY KEY, v) WITHOUT ROWID;
                 CREATE TABLE large (b BLOB);
                 CREATE TABLE gone (b BLOB);
                 {rows} INSERT INTO t SELECT n * 3, hex(randomblob(n % 60)), n / 7.0 FROM n;
                 {rows} INSERT INTO w SELECT hex(randomblob(8)), zeroblob(n % 900) FROM n;
                 {rows} INSERT INTO large SELECT zeroblob(n * 40) FROM n WHERE n % 9 = 0;
                 {rows} INSERT INTO gone SELECT randomblob(300) FROM n;
                 DELETE FROM t WHERE a % 4 = 0; DELETE FROM w WHERE v IS zeroblob(17); DROP TABLE gone;"
            ))
            .unwrap();
        file
    }

    fn look(file: &NamedTempFile) -> Structure {
        read(file.as_file(), file.path(), &Cancel::default()).unwrap()
    }

    const SETTINGS: [&str; 6] = [
        "PRAGMA page_size = 4096",
        "PRAGMA page_size = 512",
        "PRAGMA page_size = 65536",
        "PRAGMA page_size = 1024; PRAGMA auto_vacuum = FULL",
        "PRAGMA page_size = 2048; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA encoding = 'UTF-16le'",
        "PRAGMA encoding = 'UTF-16be'",
    ];

    #[test]
    fn a_sound_file_is_found_sound_and_its_rows_are_counted() {
        for settings in SETTINGS {
            let file = filled(settings);
            let found = look(&file);
            assert!(found.damage.is_empty() && found.broken.is_empty(), "{settings}: {found:?}");
            let connection = open_immutable(file.path()).unwrap();
            for (table, rows) in found.tables {
                let count = format!("SELECT count(*) FROM {table}");
                let counted: i64 = connection.query_row(&count, (), |row| row.get(0)).unwrap();
                assert_eq!(rows, counted.unsigned_abs(), "{settings}: {table}");
            }
        }
    }

    /// Every page that SQLite finds faulty is found faulty here too.
    #[test]
    fn no_damage_that_sqlite_sees_is_passed() {
        let mut random = 0x9E37_79B9_7F4A_7C15_u64;
        let mut below = |end: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(random >> 16).unwrap() % end
        };
        let (mut ours, mut theirs) = (0, 0);
        for settings in SETTINGS {
            let file = filled(settings);
            let sound = std::fs::read(file.path()).unwrap();
            let size = Pages::open(file.as_file(), &Cancel::default()).unwrap().size();
            for hit in 0..80 {
                // Half of the hits in the page's header, which describes its content.
                let at = match hit % 2 {
                    0 => below(sound.len() / size) * size + below(40),
                    _ => below(sound.len() - 8),
                };
                let width = 1 + below(8);
                let bytes: Vec<_> = (0..width).map(|_| u8::try_from(below(256)).unwrap()).collect();
                file.as_file().write_all_at(&bytes, at as u64).unwrap();
                let found = look(&file);
                let connection = open_immutable(file.path()).unwrap();
                let check = || -> rusqlite::Result<String> {
                    connection.query_row("PRAGMA integrity_check(1)", (), |row| row.get(0))
                };
                let said = check().unwrap_or_else(|error| error.to_string());
                // Our reader ignores auto_vacuum's page map, and values are SQLite's matter.
                let is_of_page =
                    said.starts_with("*** in") && !said.contains("ptr map") && !said.contains("ptrmap");
                theirs += u32::from(is_of_page);
                ours += u32::from(!found.damage.is_empty());
                assert!(
                    !is_of_page || !found.damage.is_empty() || !found.broken.is_empty(),
                    "{settings}: {width} bytes at {at}: {said}"
                );
                drop(connection);
                file.as_file().write_all_at(&sound, 0).unwrap();
            }
        }
        assert!(theirs > 20 && ours >= theirs, "{ours} by us, {theirs} by SQLite");
    }
}
