//! Checks a database that nobody changes: whether every row of every table is there, and what else is wrong.
//! Only unreadable bytes are damage. Other findings are remarks: the backup has the rows exactly as the
//! database has them, perhaps as the only copy.

use crate::domain::engines::engine::Counts;
use crate::domain::engines::sqlite::findings::{Findings, MALFORMED, clean};
use crate::domain::engines::sqlite::modules;
use crate::domain::engines::sqlite::open::{open_immutable, words_of};
use crate::domain::engines::sqlite::record::Value;
use crate::domain::engines::sqlite::rows;
use crate::domain::engines::sqlite::rows::{Kind, Table};
use crate::domain::engines::sqlite::stand_ins::{StandIns, Unchecked, foreign_collations};
use crate::domain::engines::sqlite::structure;
use crate::domain::engines::sqlite::structure::{Structure, shown};
use crate::domain::engines::sqlite::tables;
use crate::domain::error::{Error, Result};
use crate::domain::jobs::cancel::Cancel;
use crate::model::{human, outcome::listed};
use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;

/// How many findings the first check asks for; nearly always enough for all.
const FIRST: u32 = 1000;
/// How many findings a second check asks for.
const ALL: u32 = i32::MAX.cast_unsigned();
/// SQLite's limit for a check of one table.
const OF_ONE_TABLE: u64 = 100;
/// The most remarks that are kept; a manifest and a verification record are small.
const REMARKS: usize = 20;
/// SQLite steps between two checks for cancellation: a moment.
const STEPS: i32 = 100_000;
/// The lowest limit for a value that an expression computes, in bytes: an expression could build values
/// larger than memory.
const SMALLEST_LIMIT: i32 = 16 << 20;
/// The highest such limit, for larger files, which may hold such values.
const LARGEST_LIMIT: i32 = 256 << 20;
/// The longest remark, in characters.
const LONGEST: usize = 700;

/// What is known about a database without damage.
#[derive(Debug, Default)]
pub struct Health {
    /// Its content: the user's tables, and their rows.
    pub counts: Counts,
    /// What is wrong in it, or could not be checked: a sentence each, with the remedy.
    pub remarks: Vec<String>,
    /// Whether everything could be checked. Without an application's own extensions, some parts cannot.
    pub is_complete: bool,
}

/// Checks the database at `path`; with `keys`, also its foreign keys. Returns its health, or what is damaged.
pub fn examine(path: &Path, keys: bool, cancel: &Cancel) -> Result<Result<Health, String>> {
    let file = File::open(path).map_err(|error| Error::file("Opening", path, error))?;
    if let Some(how) = structure::outline(&file, path, cancel)? {
        return Ok(Err(how));
    }
    let looked = open(path).and_then(|connection| {
        // Checked repeatedly: a single interrupt could come between two statements and have no effect.
        let asked = cancel.clone();
        connection.progress_handler(STEPS, Some(move || asked.is_cancelled()))?;
        let length = file.metadata().map_or(0, |found| found.len());
        let most = i32::try_from(length).unwrap_or(i32::MAX).clamp(SMALLEST_LIMIT, LARGEST_LIMIT);
        connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, most)?;
        match Look::new(&connection, &file, path, cancel).and_then(|look| look.run(keys)) {
            Err(Stop::Sqlite(error)) => Err(error),
            Err(Stop::Holdfast(error)) => Ok(Err(error)),
            Err(Stop::Damaged(how)) => Ok(Ok(Err(how))),
            Ok(health) => Ok(Ok(Ok(health))),
        }
    });
    if cancel.is_cancelled() {
        return Err(Error::Cancelled);
    }
    looked.unwrap_or_else(|error| match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Ok(Err(words_of(&error))),
        _ => Err(Error::file("Reading", path, io::Error::other(error))),
    })
}

/// Opens our own copy for a check. On a read-only connection SQLite leaves out every `CHECK`, so a copy that
/// has some is opened read-write, but not written.
fn open(path: &Path) -> rusqlite::Result<Connection> {
    let connection = open_immutable(path)?;
    let has_rules =
        "SELECT EXISTS (SELECT 1 FROM main.sqlite_schema WHERE type = 'table' AND sql LIKE '%check%')";
    if !connection.query_row(has_rules, (), |row| row.get(0)).unwrap_or(false) {
        return Ok(connection);
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    // With exclusive locking, SQLite creates no shared-memory file.
    connection.execute_batch(
        "PRAGMA locking_mode = EXCLUSIVE; PRAGMA query_only = ON; PRAGMA trusted_schema = OFF;
         PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0;",
    )?;
    Ok(connection)
}

/// Why a check stops early.
enum Stop {
    Damaged(String),
    Sqlite(rusqlite::Error),
    Holdfast(Error),
}

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// A running check.
struct Look<'l> {
    connection: &'l Connection,
    file: &'l File,
    path: &'l Path,
    cancel: &'l Cancel,
    stand_ins: StandIns,
    /// SQLite's message, if it rejects the schema.
    refused: Option<String>,
    /// Whether the schema can be used nevertheless.
    is_usable: bool,
    /// The virtual tables whose own tables are inconsistent, with SQLite's message.
    inconsistent: BTreeMap<String, String>,
    health: Health,
}

impl<'l> Look<'l> {
    fn new(
        connection: &'l Connection,
        file: &'l File,
        path: &'l Path,
        cancel: &'l Cancel,
    ) -> Result<Self, Stop> {
        // Done before the schema is read; the list of collations does not depend on it.
        let stand_ins = StandIns::begin(connection)?;
        let health = Health { is_complete: true, ..Health::default() };
        let mut look = Self {
            connection,
            file,
            path,
            cancel,
            stand_ins,
            refused: None,
            is_usable: true,
            inconsistent: BTreeMap::new(),
            health,
        };
        look.load()?;
        Ok(look)
    }

    /// Makes SQLite read the schema; if SQLite rejects it, once more in a lenient mode.
    fn load(&mut self) -> Result<(), Stop> {
        let load = || {
            self.connection
                .query_row("SELECT count(*) FROM main.sqlite_schema", (), |row| row.get::<_, i64>(0))
        };
        let error = loop {
            let Err(error) = load() else { return Ok(()) };
            // An index may call a built-in function with other arguments than this SQLite accepts.
            if stops(&error) || !self.stand_ins.stand_in(self.connection, &words_of(&error))? {
                break error;
            }
        };
        match error.sqlite_error_code() {
            _ if is_of_schema(&error) => {}
            Some(ErrorCode::Unknown) => self.is_usable = false,
            _ => return Err(error.into()),
        }
        self.refused = Some(words_of(&error));
        if self.is_usable {
            self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_WRITABLE_SCHEMA, true)?;
            self.is_usable = load().is_ok();
        }
        Ok(())
    }

    fn run(mut self, keys: bool) -> Result<Health, Stop> {
        let unopened = if self.is_usable { self.unopened()? } else { Vec::new() };
        let names: Vec<_> = unopened.iter().map(|(name, _)| name.clone()).collect();
        let tables = if self.is_usable { tables::tables(self.connection, &names)? } else { Vec::new() };
        let checked = if self.refused.is_none() { self.check_all()? } else { None };
        let is_plain = checked.as_ref().is_some_and(Findings::is_empty);
        let structure = if is_plain { Structure::default() } else { self.structure(&tables)? };
        let mut findings = match checked {
            Some(findings) if !findings.is_cut => findings,
            cut => {
                let mut findings = cut.unwrap_or_default();
                findings.is_cut = false;
                findings.merge(self.check_each(&tables, &names, &structure)?);
                findings
            }
        };
        let unchecked =
            if self.is_usable { self.stand_ins.unchecked(self.connection)? } else { Unchecked::default() };
        if let Some(how) = findings.damage(&structure, &unchecked) {
            return Err(Stop::Damaged(how));
        }
        let keepers = if self.is_usable { modules::all(self.connection)? } else { Vec::new() };
        self.inconsistent.append(&mut findings.take_of(&keepers));
        let orphans = self.orphans(&findings, &structure, &unchecked)?;
        self.health.is_complete &= orphans.is_empty() && self.inconsistent.is_empty();
        self.health.remarks.extend(findings.remarks(&structure, &unchecked, &orphans));
        for keeper in &keepers {
            if let Some(said) = self.inconsistent.get(&keeper.name) {
                self.health.remarks.push(keeper.remark(self.connection, &tables, said));
            }
        }
        // With a stand-in collation, keys would not be found.
        if keys && self.refused.is_none() && foreign_collations(self.connection)?.is_empty() {
            self.foreign_keys()?;
        }
        self.read(&tables, &structure)?;
        self.health.is_complete &= unchecked.remarks.is_empty() && unopened.is_empty();
        self.health.remarks.extend(unchecked.remarks);
        for (name, words) in unopened {
            let is_missing =
                ["tokenizer", "no such module"].into_iter().any(|missing| words.contains(missing));
            if !is_missing && let Some(keeper) = keepers.iter().find(|one| one.name == name && one.is_own()) {
                let said = format!("SQLite says “{}”", shown(&clean(&words)));
                self.health.remarks.push(keeper.remark(self.connection, &tables, &said));
                continue;
            }
            self.health.remarks.push(format!(
                "The virtual table {} could not be opened, because only the application has its extension \
                 ({words}). The tables in which it stores its data were read.",
                shown(&name)
            ));
        }
        shorten(&mut self.health.remarks);
        Ok(self.health)
    }

    /// Virtual tables whose module or extension is missing, with SQLite's message.
    fn unopened(&self) -> Result<Vec<(String, String)>, Stop> {
        let all = tables::tables(self.connection, &[])?;
        let mut unopened = Vec::new();
        for table in all.iter().filter(|table| table.kind == Kind::Virtual) {
            let all_of = format!("SELECT * FROM main.{} LIMIT 0", rows::quoted(&table.name));
            match self.connection.prepare(&all_of).and_then(|_| self.try_tokenizer(&table.name)) {
                Ok(()) => {}
                Err(error) if stops(&error) => return Err(error.into()),
                Err(error) => unopened.push((table.name.clone(), words_of(&error))),
            }
        }
        Ok(unopened)
    }

    /// How many entries of each mismatched index match no row. An entry without a row may be the trace of a
    /// lost row.
    fn orphans(
        &self,
        findings: &Findings,
        structure: &Structure,
        unchecked: &Unchecked,
    ) -> Result<BTreeMap<String, u64>, Stop> {
        let mut orphans = BTreeMap::new();
        for name in findings.misfits() {
            let is_index = |object: &&structure::Object| object.kind == "index" && object.name == name;
            let Some(index) = structure.objects.iter().find(is_index) else { continue };
            if unchecked.indexes.contains(&name) || structure.broken.iter().any(|(broken, _)| *broken == name)
            {
                continue;
            }
            let mut lookup = rows::lookup(self.connection, &index.table)?;
            let (mut missing, mut failed) = (0, None);
            let count = structure::entries(self.file, self.path, self.cancel, index, &mut |entry| {
                if let (Some(lookup), Some(Value::Integer(row))) = (&mut lookup, entry.last()) {
                    match lookup.exists([row]) {
                        Ok(is_there) => missing += u64::from(!is_there),
                        Err(error) => failed = failed.take().or(Some(error)),
                    }
                }
            });
            let count = count.map_err(Stop::Holdfast)?.unwrap_or(0);
            if let Some(error) = failed {
                return Err(error.into());
            }
            if lookup.is_none() {
                let of_table = |(table, _): &&(String, u64)| table.eq_ignore_ascii_case(&index.table);
                let rows = structure.tables.iter().find(of_table).map_or(u64::MAX, |(_, rows)| *rows);
                missing = count.saturating_sub(rows);
            }
            if missing > 0 {
                orphans.insert(name, missing);
            }
        }
        Ok(orphans)
    }

    /// A full-text table opens without its tokenizer; only a search needs it.
    fn try_tokenizer(&self, table: &str) -> rusqlite::Result<()> {
        let name = rows::quoted(table);
        let search = format!("SELECT rowid FROM main.{name} WHERE {name} MATCH 'x' LIMIT 1");
        let found = self.connection.prepare(&search).and_then(|mut search| search.exists(()));
        match found {
            Err(error) if stops(&error) || words_of(&error).contains("tokenizer") => Err(error),
            // Of another kind, or damaged: other checks find that.
            _ => Ok(()),
        }
    }

    /// Checks everything at once. `None` if SQLite cannot.
    fn check_all(&mut self) -> Result<Option<Findings>, Stop> {
        let Ok(findings) = self.check(&format!("PRAGMA main.integrity_check({FIRST})"))? else {
            return Ok(None);
        };
        if findings.count < u64::from(FIRST) {
            return Ok(Some(findings));
        }
        Ok(self.check(&format!("PRAGMA main.integrity_check({ALL})"))?.ok())
    }

    /// Checks table by table, if SQLite cannot check everything at once.
    fn check_each(
        &mut self,
        tables: &[Table],
        unopened: &[String],
        structure: &Structure,
    ) -> Result<Findings, Stop> {
        let mut all = Findings::default();
        for table in tables.iter().filter(|table| !unopened.contains(&table.name)) {
            // SQLite would take a number for the limit.
            if table.name.parse::<i64>().is_ok() {
                let name = shown(&table.name);
                self.unchecked(format!(
                    "The table {name} could not be checked further, because its name is a number."
                ));
                continue;
            }
            let of_table = format!("('{}')", table.name.replace('\'', "''"));
            let name = shown(&table.name);
            let mut found = self.check(&format!("PRAGMA main.integrity_check{of_table}"))?;
            if table.kind != Kind::Virtual
                && found.as_ref().map_or_else(|words| words == MALFORMED, |found| found.is_cut)
            {
                // The table is complete, so an index stops SQLite; quick_check ignores indexes.
                found = self.check(&format!("PRAGMA main.quick_check{of_table}"))?;
                if !structure.broken.iter().any(|(index, _)| structure.is_of(index, &table.name)) {
                    self.health.remarks.push(format!(
                        "An index of the table {name} stops SQLite while it checks the table. All rows of \
                         the table are here; REINDEX {} rebuilds its indexes.",
                        shown(&rows::quoted(&table.name))
                    ));
                }
            }
            if table.kind == Kind::Virtual && found.as_ref().map_or(true, |found| found.is_cut) {
                let words = found.err().unwrap_or_else(|| MALFORMED.to_owned());
                let said = format!("SQLite says “{}”", shown(&clean(&words)));
                self.inconsistent.insert(table.name.clone(), said);
                continue;
            }
            if let Err(words) = &found {
                let words = words.clone();
                self.connection.execute_batch("PRAGMA ignore_check_constraints = ON")?;
                found = self.check(&format!("PRAGMA main.integrity_check{of_table}"))?;
                self.connection.execute_batch("PRAGMA ignore_check_constraints = OFF")?;
                self.unchecked(match found {
                    Ok(_) => format!("The CHECK of the table {name} could not be evaluated ({words})."),
                    Err(_) => {
                        format!("Only the pages of the table {name} could be checked ({words}).")
                    }
                });
            }
            let Ok(mut found) = found else { continue };
            found.is_cut = false;
            if found.count >= OF_ONE_TABLE {
                self.unchecked(format!("The table {name} has more problems than SQLite lists."));
            }
            all.merge(found);
        }
        Ok(all)
    }

    /// Runs one check, with a stand-in for each function that turns out to be missing. The inner error has
    /// SQLite's message.
    fn check(&mut self, pragma: &str) -> Result<Result<Findings, String>, Stop> {
        loop {
            match run_check(self.connection, pragma) {
                Ok(findings) => return Ok(Ok(findings)),
                Err(error) if stops(&error) => return Err(error.into()),
                Err(error) => {
                    let words = words_of(&error);
                    if !self.stand_ins.stand_in(self.connection, &words)? {
                        return Ok(Err(words));
                    }
                }
            }
        }
    }

    /// Checks all pages with our own reader. Stops the check if they are damaged.
    fn structure(&mut self, tables: &[Table]) -> Result<Structure, Stop> {
        let found = structure::read(self.file, self.path, self.cancel).map_err(Stop::Holdfast)?;
        if !found.damage.is_empty() {
            return Err(Stop::Damaged(found.damage.join("; ")));
        }
        let Some(words) = &self.refused else { return Ok(found) };
        let is_loaded = |name: &str| tables.iter().any(|table| table.name == name);
        let is_refused = |object: &&structure::Object| {
            words.contains(&format!("({})", object.name))
                || (object.kind == "table" && self.is_usable && !is_loaded(&object.name))
        };
        if let Some(object) = found.objects.iter().filter(|object| !object.is_text).find(is_refused) {
            let name = shown(&object.name);
            return Err(Stop::Damaged(format!("the definition of {name} is no longer text ({words})")));
        }
        Ok(found)
    }

    /// Reads all rows; rows that SQLite could not reach are counted from our own reading of the pages.
    fn read(&mut self, tables: &[Table], structure: &Structure) -> Result<(), Stop> {
        let read = rows::read(self.connection, tables)?;
        if let Some(how) = read.damage {
            return Err(Stop::Damaged(how));
        }
        self.health.counts = read.counts;
        self.health.remarks.extend(read.remarks);
        for (name, words) in read.unread {
            self.unchecked(format!(
                "SQLite could not read the table {} ({words}). Its pages are intact.",
                shown(&name)
            ));
        }
        let Some(words) = self.refused.take() else { return Ok(()) };
        let is_ours = |name: &str| {
            name.to_lowercase().starts_with("sqlite_") || tables.iter().any(|table| table.name == name)
        };
        let unread: Vec<_> = structure.tables.iter().filter(|(name, _)| !is_ours(name)).collect();
        self.health.counts.tables += unread.len() as u64;
        self.health.counts.rows += unread.iter().map(|(_, rows)| rows).sum::<u64>();
        let pages = if unread.is_empty() {
            String::new()
        } else {
            format!(
                " {} could therefore be read page by page only: {}.",
                human::count(unread.len() as u64, "table"),
                listed(unread.iter().map(|(name, _)| name.as_str()))
            )
        };
        self.unchecked(format!(
            "SQLite {} on this machine rejects the schema ({words}): it was made by a newer SQLite or an \
             extension of the application, or edited by hand. Open it with the program that made it.{pages}",
            rusqlite::version()
        ));
        Ok(())
    }

    /// Dangling references are a matter of the application: SQLite allows them by default.
    fn foreign_keys(&mut self) -> Result<(), Stop> {
        // If SQLite cannot even check, there is nothing to report.
        let Ok(mut check) = self.connection.prepare("PRAGMA foreign_key_check") else { return Ok(()) };
        let mut found = check.query(())?;
        let mut orphans = 0;
        loop {
            match found.next() {
                Ok(Some(_)) => orphans += 1,
                Err(error) if stops(&error) => return Err(error.into()),
                // A key to an incompatible table cannot be checked; that is not damage.
                Ok(None) | Err(_) => break,
            }
        }
        if orphans > 0 {
            self.health.remarks.push(format!(
                "In {}, a foreign key refers to a missing row. It did so when the backup was made.",
                human::count(orphans, "row")
            ));
        }
        Ok(())
    }

    /// Records what could not be checked.
    fn unchecked(&mut self, remark: String) {
        self.health.remarks.push(remark);
        self.health.is_complete = false;
    }
}

fn run_check(connection: &Connection, pragma: &str) -> rusqlite::Result<Findings> {
    let mut statement = connection.prepare(pragma)?;
    let mut found = Findings::default();
    let mut all = statement.query(())?;
    while let Some(row) = all.next()? {
        found.add(&rows::text(row, 0));
    }
    Ok(found)
}

/// Whether SQLite rejects the schema's statements, while its pages are fine so far.
pub fn is_of_schema(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt)
        && words_of(error).starts_with("malformed database schema")
}

/// Whether an error proves nothing about the database.
fn stops(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::OperationInterrupted
                | ErrorCode::SystemIoFailure
                | ErrorCode::OutOfMemory
                | ErrorCode::CannotOpen
        )
    )
}

/// Drops the remarks that do not fit beside a backup.
fn shorten(remarks: &mut Vec<String>) {
    let more = remarks.len().saturating_sub(REMARKS);
    if more > 0 {
        remarks.truncate(REMARKS);
        remarks.push(format!("There are {} more remarks of these kinds.", human::grouped(more as u64)));
    }
    for remark in remarks {
        if let Some((end, _)) = remark.char_indices().nth(LONGEST) {
            remark.truncate(end);
            remark.push('…');
        }
    }
}
