//! Virtual tables: their modules, and the tables in which a module stores the data.

use crate::domain::engines::sqlite::rows::{Kind, Table, quoted, text};
use crate::model::outcome::printable;
use rusqlite::{Connection, Result};

/// A virtual table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keeper {
    /// Its name.
    pub name: String,
    /// Its module, in lower case.
    pub module: String,
    /// The statement that created it.
    pub sql: String,
}

impl Keeper {
    /// Whether the virtual table stores its data in `table`. Tables of an unknown module cannot be told from
    /// the user's own, which are never hidden.
    pub fn keeps(&self, table: &str) -> bool {
        let (table, own) = (table.to_lowercase(), self.name.to_lowercase());
        let Some(rest) = table.strip_prefix(&own).and_then(|rest| rest.strip_prefix('_')) else {
            return false;
        };
        let numbered = |stem: &str| {
            rest.strip_prefix(stem)
                .is_some_and(|end| end.len() >= 2 && end.bytes().all(|b| b.is_ascii_digit()))
        };
        match &*self.module {
            "fts5" => matches!(rest, "data" | "idx" | "content" | "docsize" | "config"),
            "fts3" | "fts4" => matches!(rest, "content" | "segments" | "segdir" | "docsize" | "stat"),
            "rtree" | "rtree_i32" | "geopoly" => matches!(rest, "node" | "rowid" | "parent"),
            "spellfix1" => rest == "vocab",
            "vss0" => matches!(rest, "index" | "data"),
            "vec0" => {
                matches!(rest, "chunks" | "rowids" | "info" | "auxiliary")
                    || ["vector_chunks", "metadatachunks", "metadatatext"].into_iter().any(numbered)
            }
            _ => false,
        }
    }

    /// Whether SQLite has the module built in, so that a fault is not due to a missing module.
    pub fn is_own(&self) -> bool {
        matches!(&*self.module, "fts3" | "fts4" | "fts5" | "rtree" | "rtree_i32")
    }

    /// Whether SQLite's message is about this table.
    pub fn is_meant_by(&self, words: &str) -> bool {
        let name = &self.name;
        let is_end = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
        let named = |before: &str| words.split_once(before).is_some_and(|(_, rest)| is_end(rest));
        named(&format!(" main.{name}"))
            || words.contains(&format!("\"{name}\""))
            || ["data", "idx", "content", "docsize", "config", "node", "rowid", "parent"]
                .into_iter()
                .any(|table| words.contains(&format!("{name}_{table}")))
    }

    /// The remark and remedy for a table whose own tables are inconsistent: SQLite's message is `said`.
    pub fn remark(&self, connection: &Connection, tables: &[Table], said: &str) -> String {
        let name = printable(&self.name);
        let rebuild = format!("INSERT INTO {0}({0}) VALUES('rebuild')", printable(&quoted(&self.name)));
        let content = if self.module.starts_with("fts") { self.content() } else { None };
        let beginning = format!("The virtual table {name} ({}) is inconsistent", self.module);
        match content {
            Some(own) if tables.iter().any(|table| table.name == own && table.kind == Kind::Ordinary) => {
                format!(
                    "The full-text index {name} is inconsistent: {said}. Its text is in the table {}, which \
                     was read; {rebuild} rebuilds the index from it.",
                    printable(&own)
                )
            }
            None if self.is_matched(connection, tables) => format!(
                "{beginning}: {said}. Rows may be missing or changed; compare the table with an older \
                 backup. Each row that it counts has its text: {rebuild} rebuilds the index from these texts."
            ),
            _ => format!("{beginning}: {said}. Rows may be missing; compare the table with an older backup."),
        }
    }

    /// Whether a full-text table has a text for each row it counts, and at least one.
    fn is_matched(&self, connection: &Connection, tables: &[Table]) -> bool {
        let id = match &*self.module {
            "fts5" => "id",
            "fts4" => "docid",
            _ => return false,
        };
        let [content, sizes] = ["content", "docsize"].map(|end| format!("{}_{end}", self.name));
        let is_there = |name: &String| {
            tables
                .iter()
                .any(|table| table.name == *name && matches!(table.kind, Kind::Shadow | Kind::Ordinary))
        };
        if !is_there(&content) || !is_there(&sizes) {
            return false;
        }
        let [content, sizes] =
            [content, sizes].map(|name| format!("SELECT {id} FROM main.{}", quoted(&name)));
        let sql = format!(
            "SELECT EXISTS ({content}) AND NOT EXISTS ({content} EXCEPT {sizes}) AND NOT EXISTS ({sizes} EXCEPT {content})"
        );
        connection.query_row(&sql, (), |row| row.get(0)).unwrap_or(false)
    }

    /// Its `content` option: the table with the text, or empty for contentless tables.
    pub fn content(&self) -> Option<String> {
        let words = words(&self.sql);
        let mut words = words.iter().skip_while(|word| !word.eq_ignore_ascii_case("content"));
        words.next()?;
        match words.next()?.as_str() {
            "=" => {
                words.next().map(|name| if name == "," || name == ")" { String::new() } else { name.clone() })
            }
            _ => None,
        }
    }
}

/// The virtual tables of these names.
pub fn keepers(connection: &Connection, names: &[String]) -> Result<Vec<Keeper>> {
    let mut all = all(connection)?;
    all.retain(|keeper| names.contains(&keeper.name));
    Ok(all)
}

/// All virtual tables.
pub fn all(connection: &Connection) -> Result<Vec<Keeper>> {
    let mut list = connection.prepare(
        "SELECT name, sql FROM main.sqlite_schema WHERE type = 'table' AND sql LIKE 'create%virtual%'",
    )?;
    let mut rows = list.query(())?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let (name, sql) = (text(row, 0), text(row, 1));
        if let Some(module) = module(&sql) {
            found.push(Keeper { name, module, sql });
        }
    }
    Ok(found)
}

/// The module that a statement names.
fn module(sql: &str) -> Option<String> {
    let words = words(sql);
    let mut words = words.iter();
    words.find(|word| word.eq_ignore_ascii_case("table"))?;
    // The table itself may be named so.
    let after = words.position(|word| word.eq_ignore_ascii_case("using"))?;
    let next = words.next()?;
    if after == 0 && next.eq_ignore_ascii_case("using") {
        return words.next().map(|word| word.to_lowercase());
    }
    Some(next.to_lowercase())
}

/// A statement's words, unquoted names and signs.
fn words(sql: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = sql.chars().peekable();
    while let Some(first) = rest.next() {
        let end = match first {
            '"' | '\'' | '`' => first,
            '[' => ']',
            _ if first.is_whitespace() => continue,
            _ if first.is_alphanumeric() || matches!(first, '_' | '$') => {
                let mut word = String::from(first);
                while let Some(next) = rest.next_if(|c| c.is_alphanumeric() || matches!(c, '_' | '$')) {
                    word.push(next);
                }
                found.push(word);
                continue;
            }
            sign => {
                found.push(sign.to_string());
                continue;
            }
        };
        let mut word = String::new();
        while let Some(next) = rest.next() {
            if next != end {
                word.push(next);
            } else if end != ']' && rest.next_if_eq(&end).is_some() {
                word.push(end);
            } else {
                break;
            }
        }
        found.push(word);
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::domain::engines::sqlite::modules::*;

    fn keeper(sql: &str) -> Keeper {
        Keeper { name: "a".into(), module: module(sql).unwrap(), sql: sql.into() }
    }

    #[test]
    fn a_statement_tells_its_module_and_its_content() {
        for (sql, expected, content) in [
            ("CREATE VIRTUAL TABLE f USING fts5(x)", "fts5", None),
            (
                "create virtual table if not exists \"my using x\" using\nFTS4 (a, content='')",
                "fts4",
                Some(""),
            ),
            ("CREATE VIRTUAL TABLE using USING rtree(id, a, b)", "rtree", None),
            ("CREATE VIRTUAL TABLE 'it''s' USING fts5(content, body, content = \"own\")", "fts5", None),
            ("CREATE VIRTUAL TABLE f USING fts5(body, content=own, content_rowid='id')", "fts5", Some("own")),
            ("CREATE VIRTUAL TABLE f USING fts5(body, content=)", "fts5", Some("")),
        ] {
            let keeper = keeper(sql);
            assert_eq!(keeper.module, expected, "{sql}");
            assert_eq!(keeper.content().as_deref(), content, "{sql}");
        }
    }

    #[test]
    fn only_the_tables_of_known_modules_are_theirs() {
        let vec = keeper("CREATE VIRTUAL TABLE a USING vec0(e float[4])");
        for (name, is_theirs) in [
            ("a_chunks", true),
            ("A_Vector_Chunks00", true),
            ("a_vector_chunks", false),
            ("a_notes", false),
            ("chunks", false),
        ] {
            assert_eq!(vec.keeps(name), is_theirs, "{name}");
        }
        assert!(!keeper("CREATE VIRTUAL TABLE a USING mine(x)").keeps("a_content"));
    }
}
