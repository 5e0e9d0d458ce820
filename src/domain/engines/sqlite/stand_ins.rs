//! Stand-ins for an application's own collations and functions, which are missing here. They let everything
//! else be checked; what uses them cannot be checked, and is named.

use crate::domain::engines::sqlite::rows::about;
use crate::model::outcome::{listed, printable};
use rusqlite::functions::FunctionFlags;
use rusqlite::types::Null;
use rusqlite::{Connection, Result};
use std::collections::{BTreeMap, BTreeSet};

/// The most functions to stand in for.
const FUNCTIONS: usize = 1000;

/// SQLite's built-in collations.
const COLLATIONS: [&str; 3] = ["BINARY", "NOCASE", "RTRIM"];

/// The stand-ins of one connection.
#[derive(Default)]
pub struct StandIns {
    /// The functions with a stand-in.
    functions: BTreeSet<String>,
}

/// What uses a stand-in and therefore could not be checked.
#[derive(Debug, Default)]
pub struct Unchecked {
    /// Indexes.
    pub indexes: BTreeSet<String>,
    /// Tables whose `CHECK` or generated columns use one.
    pub rules: BTreeSet<String>,
    /// WITHOUT ROWID tables whose order uses one.
    pub orders: BTreeSet<String>,
    /// What was missing, and what could not be checked because of it: a sentence each.
    pub remarks: Vec<String>,
}

/// An index, as far as stand-ins matter.
struct Index {
    name: String,
    table: String,
    is_order: bool,
    collations: Vec<String>,
    columns: Vec<String>,
    sql: String,
}

impl StandIns {
    /// Provides a stand-in for each missing collation, when SQLite asks for it.
    pub fn begin(connection: &Connection) -> Result<Self> {
        connection.collation_needed(|connection, name| connection.create_collation(name, str::cmp))?;
        Ok(Self::default())
    }

    /// Provides a stand-in for the function that SQLite's message names. Returns whether there is one now.
    pub fn stand_in(&mut self, connection: &Connection, words: &str) -> Result<bool> {
        let Some(name) = missing_function(words) else { return Ok(false) };
        if self.functions.len() == FUNCTIONS || !self.functions.insert(name.to_owned()) {
            return Ok(false);
        }
        // NULL satisfies a CHECK, and no partial index includes it.
        let flags = FunctionFlags::SQLITE_UTF8
            | FunctionFlags::SQLITE_DETERMINISTIC
            | FunctionFlags::SQLITE_INNOCUOUS;
        connection.create_scalar_function(name, -1, flags, |_| Ok(Null))?;
        Ok(true)
    }

    /// What uses the stand-ins.
    pub fn unchecked(&self, connection: &Connection) -> Result<Unchecked> {
        let collations = foreign_collations(connection)?;
        let mut unchecked = Unchecked::default();
        if collations.is_empty() && self.functions.is_empty() {
            return Ok(unchecked);
        }
        let indexes = indexes(connection)?;
        let tables = definitions(connection)?;
        for collation in collations {
            let is_used = |index: &&Index| {
                index.collations.iter().any(|name| name.eq_ignore_ascii_case(&collation))
                    || mentions(&index.sql, &collation)
            };
            let rules = tables.iter().filter(|(_, sql)| has_rules(sql) && mentions(sql, &collation));
            unchecked.add("collation", &collation, indexes.iter().filter(is_used), rules);
        }
        for function in &self.functions {
            let rules: Vec<_> = tables.iter().filter(|(_, sql)| mentions(sql, function)).collect();
            let mut generated = BTreeSet::new();
            for (table, _) in &rules {
                let columns = virtual_columns(connection, table)?;
                generated.extend(columns.into_iter().map(|column| (table, column)));
            }
            let is_used = |index: &&Index| {
                mentions(&index.sql, function)
                    || index.columns.iter().any(|column| {
                        generated.iter().any(|(table, name)| **table == index.table && name == column)
                    })
            };
            unchecked.add("function", function, indexes.iter().filter(is_used), rules.into_iter());
        }
        Ok(unchecked)
    }
}

impl Unchecked {
    fn add<'i>(
        &mut self,
        what: &str,
        missing: &str,
        indexes: impl Iterator<Item = &'i Index>,
        rules: impl Iterator<Item = &'i (String, String)>,
    ) {
        let mut named = Vec::new();
        for index in indexes {
            if index.is_order {
                self.orders.insert(index.table.clone());
                named.push(format!("the order of {}", printable(&index.table)));
            }
            if !(index.is_order && index.sql.is_empty() && index.name.starts_with("sqlite_")) {
                named.push(printable(&index.name));
            }
            self.indexes.insert(index.name.clone());
        }
        let missing = printable(missing);
        if !named.is_empty() {
            self.remarks.push(format!(
                "Indexes with the {what} {missing} could not be checked, because only the application has \
                 it: {}.",
                listed(named.iter().map(String::as_str))
            ));
        }
        let mut tables = Vec::new();
        for (table, _) in rules {
            self.rules.insert(table.clone());
            tables.push(table.as_str());
        }
        if !tables.is_empty() {
            self.remarks.push(format!(
                "Rules and generated columns with the {what} {missing} could not be checked, because only \
                 the application has it, in {}.",
                listed(tables.into_iter())
            ));
        }
    }
}

/// The missing function, according to SQLite's message.
fn missing_function(words: &str) -> Option<&str> {
    let name = [
        "no such function: ",
        "unknown function: ",
        "unsafe use of ",
        "wrong number of arguments to function ",
    ]
    .into_iter()
    .find_map(|beginning| Some(words.split_once(beginning)?.1))?;
    let name = name.split_once("()").map_or(name, |(name, _)| name);
    (!name.is_empty() && !name.contains('"')).then_some(name)
}

/// Whether a statement contains a name, ignoring case.
fn mentions(sql: &str, name: &str) -> bool {
    let (sql, name) = (sql.to_lowercase(), name.to_lowercase());
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    sql.match_indices(&name).any(|(at, found)| {
        let before = sql[..at].chars().next_back();
        let after = sql[at + found.len()..].chars().next();
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

/// Whether a table's statement may have a rule or a generated column.
fn has_rules(sql: &str) -> bool {
    mentions(sql, "check") || mentions(sql, "as")
}

/// The collations that the schema names and SQLite does not have.
pub fn foreign_collations(connection: &Connection) -> Result<BTreeSet<String>> {
    let mut list = connection.prepare("PRAGMA collation_list")?;
    let mut all = list.query(())?;
    let mut foreign = BTreeSet::new();
    while let Some(row) = all.next()? {
        let name = crate::domain::engines::sqlite::rows::text(row, 1);
        if !COLLATIONS.iter().any(|own| own.eq_ignore_ascii_case(&name)) {
            foreign.insert(name);
        }
    }
    Ok(foreign)
}

fn definitions(connection: &Connection) -> Result<Vec<(String, String)>> {
    let mut list = connection
        .prepare("SELECT name, sql FROM main.sqlite_schema WHERE type = 'table' AND sql IS NOT NULL")?;
    list.query_map((), |row| {
        Ok((
            crate::domain::engines::sqlite::rows::text(row, 0),
            crate::domain::engines::sqlite::rows::text(row, 1),
        ))
    })?
    .collect()
}

fn virtual_columns(connection: &Connection, table: &str) -> Result<Vec<String>> {
    crate::domain::engines::sqlite::rows::columns(connection, table, |hidden| hidden == 2)
}

fn indexes(connection: &Connection) -> Result<Vec<Index>> {
    let text = crate::domain::engines::sqlite::rows::text;
    let mut statements = BTreeMap::new();
    let mut list = connection.prepare("SELECT name, sql FROM main.sqlite_schema WHERE type = 'index'")?;
    let mut rows = list.query(())?;
    while let Some(row) = rows.next()? {
        statements.insert(text(row, 0), text(row, 1));
    }
    let mut list = connection.prepare("PRAGMA main.table_list")?;
    let mut rows = list.query(())?;
    let mut found: Vec<Index> = Vec::new();
    while let Some(row) = rows.next()? {
        let (schema, table, kind, is_order) =
            (text(row, 0), text(row, 1), text(row, 2), row.get::<_, i64>(4)?);
        if schema != "main" || !matches!(&*kind, "table" | "shadow") {
            continue;
        }
        let mut of_table = connection.prepare(&about("index_list", &table))?;
        let mut of_table = of_table.query(())?;
        while let Some(row) = of_table.next()? {
            let mut index = Index {
                name: text(row, 1),
                table: table.clone(),
                is_order: is_order != 0 && text(row, 3) == "pk",
                collations: Vec::new(),
                columns: Vec::new(),
                sql: statements.get(&text(row, 1)).cloned().unwrap_or_default(),
            };
            let mut of_index = connection.prepare(&about("index_xinfo", &index.name))?;
            let mut of_index = of_index.query(())?;
            while let Some(row) = of_index.next()? {
                index.columns.push(text(row, 2));
                index.collations.push(text(row, 4));
            }
            found.push(index);
        }
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use crate::domain::engines::sqlite::stand_ins::*;

    #[test]
    fn the_missing_function_is_read_out_of_sqlites_words() {
        for (words, name) in [
            ("unknown function: soundslike()", Some("soundslike")),
            ("no such function: my_rank", Some("my_rank")),
            ("unsafe use of now2()", Some("now2")),
            ("wrong number of arguments to function lower()", Some("lower")),
            ("unsafe use of virtual table \"v\"", None),
            ("malformed JSON", None),
        ] {
            assert_eq!(missing_function(words), name, "{words}");
        }
    }

    #[test]
    fn a_name_is_found_as_a_word_only() {
        let sql = "CREATE TABLE t (a TEXT COLLATE Unicase, CHECK (len2(a) > 1))";
        assert!(mentions(sql, "unicase") && mentions(sql, "LEN2"));
        assert!(!mentions(sql, "uni") && !mentions(sql, "len"));
    }
}
