//! Reads every row of the restored tables as text, on the server, and counts them: bytes that the encoding does not
//! have, values that their type refuses and broken storage come to light, and rows that are missing.

use super::Site;
use super::contents::{Contents, copied_table};
use super::session::{Session, is_lost};
use crate::model::human;
use crate::vault::dump::Counts;
use crate::vault::dump::postgres::{literal, quoted};
use crate::vault::error::{Result, VaultError};
use std::collections::HashMap;
use tokio_postgres::error::SqlState;

/// Classes of failures that are the server's, not the data's: connection, resources, limits, intervention, system.
const OF_SERVER: [&str; 6] = ["08", "40", "53", "55", "57", "58"];

/// Which rows are to be where, by schema and name.
pub struct Expected {
    /// Of a table by itself.
    tables: HashMap<(String, String), u64>,
    /// Of a table with all that belong to it: rows that were dumped by way of their root.
    roots: HashMap<(String, String), u64>,
    /// Tables an extension makes: they may have rows of their own besides.
    of_extensions: HashMap<(String, String), u64>,
    /// Whether some blocks could not be counted.
    uncounted: u64,
}

/// What reading back came to.
pub struct Found {
    /// What was counted.
    pub counts: Counts,
    /// Rows that are missing or cannot be read, a phrase for each table.
    pub losses: Vec<String>,
    /// Tables that this role may not read.
    pub exceptions: Vec<String>,
}

struct Table {
    schema: String,
    name: String,
    columns: Vec<String>,
    is_of_extension: bool,
}

impl Expected {
    /// What the archive holds by `rows`, the counts of its blocks.
    pub fn of(contents: &Contents, rows: &HashMap<i64, Option<u64>>) -> Self {
        let mut expected = Self {
            tables: HashMap::new(),
            roots: HashMap::new(),
            of_extensions: HashMap::new(),
            uncounted: 0,
        };
        for entry in contents.toc.entries.iter().filter(|entry| entry.kind == "TABLE DATA") {
            let Some((schema, name)) = copied_table(&entry.copy) else { continue };
            let Some(count) = rows.get(&entry.id).copied().flatten() else {
                expected.uncounted += 1;
                continue;
            };
            let key = (schema.unwrap_or_else(|| entry.schema.clone()), name);
            let group = if contents.of_extensions.contains(&entry.id) {
                &mut expected.of_extensions
            } else if key.1 == entry.tag && key.0 == entry.schema {
                &mut expected.tables
            } else {
                &mut expected.roots
            };
            *group.entry(key).or_default() += count;
        }
        expected
    }
}

impl Site<'_> {
    /// Reads back all tables of the database of `session`.
    pub(super) fn read_back(&self, session: &Session, expected: &Expected) -> Result<Found> {
        let mut found = Found { counts: Counts::default(), losses: Vec::new(), exceptions: Vec::new() };
        let encoding: String = session
            .rows("Asking for the encoding", "SELECT getdatabaseencoding()::text", &[])?
            .first()
            .and_then(|row| row.try_get(0).ok())
            .unwrap_or_else(|| "UTF8".to_owned());
        let tables = tables(session)?;
        for table in &tables {
            if self.cancel.is_cancelled() {
                return Err(VaultError::Cancelled);
            }
            let key = (table.schema.clone(), table.name.clone());
            let name = format!("{}.{}", table.schema, table.name);
            let rows = match session.try_long(&question(table, &encoding))? {
                Ok(rows) => {
                    let count = rows.first().and_then(|row| row.try_get::<_, i64>(0).ok());
                    count.unwrap_or(0).unsigned_abs()
                }
                Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
                    found.exceptions.push(format!(
                        "table {name}: its rows were not read back, since this role may not: {}",
                        session.said(&error)
                    ));
                    continue;
                }
                Err(error)
                    if is_lost(&error)
                        || error.code().is_some_and(|code| OF_SERVER.contains(&&code.code()[..2])) =>
                {
                    return Err(session.failed("Reading the restored rows back", &error));
                }
                Err(error) => {
                    found.losses.push(format!("the rows of {name} cannot be read: {}", session.said(&error)));
                    continue;
                }
            };
            found.counts.tables += 1;
            found.counts.rows += rows;
            if let Some(wanted) = expected.tables.get(&key).filter(|wanted| **wanted != rows)
                && !expected.roots.contains_key(&key)
            {
                found.losses.push(missing(&name, rows, *wanted));
            }
            if let Some(wanted) = expected.of_extensions.get(&key).filter(|wanted| **wanted > rows) {
                found.exceptions.push(missing(&name, rows, *wanted));
            }
        }
        for ((schema, name), wanted) in &expected.roots {
            let own = expected.tables.get(&(schema.clone(), name.clone())).copied().unwrap_or(0);
            let all = format!("SELECT count(*) FROM {}.{}", quoted(schema), quoted(name));
            let rows = match session.try_long(&all)? {
                Ok(rows) => rows.first().and_then(|row| row.try_get::<_, i64>(0).ok()),
                Err(error) if is_lost(&error) => return Err(session.failed("Counting rows", &error)),
                Err(_) => None,
            };
            if let Some(rows) = rows.map(i64::unsigned_abs).filter(|rows| *rows < wanted + own) {
                found.losses.push(missing(&format!("{schema}.{name}"), rows, wanted + own));
            }
        }
        // A table that was counted as it was dumped is there: the rows of one that is not are missing.
        let there: std::collections::HashSet<(&str, &str)> =
            tables.iter().map(|table| (table.schema.as_str(), table.name.as_str())).collect();
        for ((schema, name), wanted) in &expected.tables {
            if *wanted > 0 && !there.contains(&(schema.as_str(), name.as_str())) {
                found.losses.push(missing(&format!("{schema}.{name}"), 0, *wanted));
            }
        }
        if expected.uncounted > 0 {
            found.exceptions.push(format!(
                "the rows of {} were read back, but could not be compared with those in the archive, which is compressed \
                 in a way Holdfast does not read",
                human::count(expected.uncounted, "table")
            ));
        }
        Ok(found)
    }
}

fn missing(name: &str, rows: u64, wanted: u64) -> String {
    format!("{name} has {} of {}", human::grouped(rows), human::count(wanted, "row"))
}

fn tables(session: &Session) -> Result<Vec<Table>> {
    let rows = session.rows(
        "Looking for the restored tables",
        "SELECT n.nspname::text, c.relname::text,
                (SELECT coalesce(array_agg(a.attname::text ORDER BY a.attnum), '{}') FROM pg_attribute a
                 WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                   AND coalesce(to_jsonb(a) ->> 'attgenerated', '') <> 'v'),
                EXISTS (SELECT FROM pg_depend d
                        WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
         ORDER BY 1, 2",
        &[],
    )?;
    Ok(rows
        .iter()
        .map(|row| Table {
            schema: row.try_get(0).unwrap_or_default(),
            name: row.try_get(1).unwrap_or_default(),
            columns: row.try_get(2).unwrap_or_default(),
            is_of_extension: row.try_get(3).unwrap_or(false),
        })
        .collect())
}

/// Counts the rows, each value made text by its own type, and its bytes compared with the encoding.
fn question(table: &Table, encoding: &str) -> String {
    let values: String = if table.is_of_extension {
        // What an extension keeps is its own affair.
        String::new()
    } else {
        table
            .columns
            .iter()
            .map(|column| {
                format!(", count(convert_to(concat(holdfast_row.{}), {}))", quoted(column), literal(encoding))
            })
            .collect()
    };
    format!(
        "SELECT count(*){values} FROM ONLY {}.{} holdfast_row",
        quoted(&table.schema),
        quoted(&table.name)
    )
}
