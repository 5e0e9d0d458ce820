//! The tables of a database, with virtual tables' own storage told from the user's tables.

use crate::domain::engines::sqlite::modules;
use crate::domain::engines::sqlite::rows::{Kind, Table, text};
use rusqlite::{Connection, Result};

/// The tables of a database. `unopened` are virtual tables whose module is missing: if the module is known,
/// its storage tables are recognised by their names.
pub fn tables(connection: &Connection, unopened: &[String]) -> Result<Vec<Table>> {
    let keepers = modules::keepers(connection, unopened)?;
    let mut list = connection.prepare("PRAGMA main.table_list")?;
    let mut found = Vec::new();
    let mut rows = list.query(())?;
    while let Some(row) = rows.next()? {
        let (name, kind) = (text(row, 1), text(row, 2));
        if text(row, 0) != "main" {
            continue;
        }
        let is_theirs = || keepers.iter().any(|keeper| keeper.keeps(&name));
        let kind = match &*kind {
            "virtual" => Kind::Virtual,
            "shadow" => Kind::Shadow,
            "table" if name.to_lowercase().starts_with("sqlite_") => Kind::Internal,
            "table" if is_theirs() => Kind::Shadow,
            "table" => Kind::Ordinary,
            _ => continue,
        };
        // Tables about the schema itself were read already.
        if !matches!(&*name, "sqlite_schema" | "sqlite_temp_schema") {
            found.push(Table { name, kind });
        }
    }
    Ok(found)
}
