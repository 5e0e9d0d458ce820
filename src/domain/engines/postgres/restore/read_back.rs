//! Reads every row of the restored tables as text, on the server, and counts them. This finds bytes that are
//! invalid in the encoding, values that their type rejects, broken storage, and missing rows.

use crate::domain::engines::engine::Counts;
use crate::domain::engines::postgres::archive::RowsOf;
use crate::domain::engines::postgres::restore::contents::{Contents, copied_table};
use crate::domain::engines::postgres::restore::restore_server::RestoreServer;
use crate::domain::engines::postgres::restore::session::{Session, is_lost};
use crate::domain::error::{Error, Result};
use crate::model::human;
use std::collections::HashMap;
use tokio_postgres::Error as PostgresError;
use tokio_postgres::error::SqlState;

/// SQLSTATE classes that are the server's fault, not the data's: connection, resources, limits, intervention,
/// system.
const OF_SERVER: [&str; 6] = ["08", "40", "53", "55", "57", "58"];

/// A schema and a name in the archive's encoding.
type Name = (Vec<u8>, Vec<u8>);

/// How many rows each table must have.
pub struct Expected {
    /// In the table itself.
    tables: HashMap<Name, u64>,
    /// In the table and its partitions: rows that were dumped through the root.
    roots: HashMap<Name, u64>,
    /// In a scheduler's tables: these rows may be missing.
    of_schedulers: HashMap<Name, u64>,
    /// The number of blocks that could not be counted.
    uncounted: u64,
}

/// What reading back found.
pub struct Found {
    /// The counted rows.
    pub counts: Counts,
    /// Missing or unreadable rows, a phrase for each table.
    pub losses: Vec<String>,
    /// Tables that this role may not read.
    pub exceptions: Vec<String>,
}

struct Table {
    oid: u32,
    name: Name,
    is_of_extension: bool,
}

impl Table {
    fn title(&self) -> String {
        title(&self.name)
    }
}

fn title((schema, name): &Name) -> String {
    format!("{}.{}", String::from_utf8_lossy(schema), String::from_utf8_lossy(name))
}

impl Expected {
    /// What the archive holds, by `rows`, the counts of its blocks.
    pub fn of(contents: &Contents, rows: &RowsOf) -> Self {
        let mut expected = Self {
            tables: HashMap::new(),
            roots: HashMap::new(),
            of_schedulers: HashMap::new(),
            uncounted: 0,
        };
        for entry in contents.toc.entries.iter().filter(|entry| entry.kind == "TABLE DATA") {
            let Some((schema, name)) = copied_table(&entry.copy) else { continue };
            let Some(count) = rows.get(&entry.id).copied().flatten() else {
                expected.uncounted += u64::from(entry.has_data);
                continue;
            };
            let key = (schema.unwrap_or_else(|| entry.name.0.clone()), name);
            let group = if contents.of_schedulers.contains(&entry.id) {
                &mut expected.of_schedulers
            } else if key == entry.name {
                &mut expected.tables
            } else {
                &mut expected.roots
            };
            *group.entry(key).or_default() += count;
        }
        expected
    }
}

impl RestoreServer<'_> {
    /// Reads back all tables in the database of `session`; `encoding` is that of the archive's names.
    pub(super) fn read_back(&self, session: &Session, encoding: &str, expected: &Expected) -> Result<Found> {
        let mut found = Found { counts: Counts::default(), losses: Vec::new(), exceptions: Vec::new() };
        let tables = tables(session, encoding)?;
        for table in &tables {
            if self.cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let name = table.title();
            let rows = match count(session, table.oid, true, !table.is_of_extension)? {
                Ok(rows) => rows,
                Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
                    let words = session.said(&error);
                    // Rows that nobody can read count as missing.
                    match expected.tables.get(&table.name).filter(|wanted| **wanted > 0) {
                        Some(_) => found.losses.push(format!("the rows of {name} cannot be read: {words}")),
                        None => found.exceptions.push(format!(
                            "table {name}: its rows were not read back, because this role may not read \
                             them: {words}"
                        )),
                    }
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
            if let Some(wanted) = expected.tables.get(&table.name)
                && !expected.roots.contains_key(&table.name)
            {
                // An extension fills its own tables, and the archive has the additional rows.
                let is_right = if table.is_of_extension { rows >= *wanted } else { rows == *wanted };
                if !is_right {
                    found.losses.push(missing(&name, rows, *wanted));
                }
            }
        }
        let there: HashMap<&Name, u32> = tables.iter().map(|table| (&table.name, table.oid)).collect();
        count_roots(session, encoding, expected, &mut found)?;
        // Tables that have rows in the archive but do not exist here.
        for (name, wanted) in
            expected.tables.iter().filter(|(name, wanted)| **wanted > 0 && !there.contains_key(name))
        {
            found.losses.push(missing(&title(name), 0, *wanted));
        }
        if expected.uncounted > 0 {
            found.exceptions.push(format!(
                "the rows of {} were read back, but could not be compared with the archive, whose \
                 compression Holdfast does not support",
                human::count(expected.uncounted, "table")
            ));
        }
        Ok(found)
    }
}

/// Counts the rows that were dumped through the root of their partitions.
fn count_roots(session: &Session, encoding: &str, expected: &Expected, found: &mut Found) -> Result<()> {
    for (name, wanted) in &expected.roots {
        let own = expected.tables.get(name).copied().unwrap_or(0);
        let oid = session.rows(
            "Looking for a restored table",
            "SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname = convert_from($1, $3)::name AND c.relname = convert_from($2, $3)::name",
            &[&name.0, &name.1, &encoding],
        )?;
        let oid: Option<u32> = oid.first().and_then(|row| row.try_get(0).ok());
        let rows = match oid {
            None => 0,
            Some(oid) => match count(session, oid, false, false)? {
                Ok(rows) => rows,
                Err(error) if is_lost(&error) => return Err(session.failed("Counting rows", &error)),
                Err(error) => {
                    found.losses.push(format!(
                        "the rows of {} cannot be read: {}",
                        title(name),
                        session.said(&error)
                    ));
                    continue;
                }
            },
        };
        if rows < wanted + own {
            found.losses.push(missing(&title(name), rows, wanted + own));
        }
    }
    Ok(())
}

fn missing(name: &str, rows: u64, wanted: u64) -> String {
    format!("{name} has {} of {}", human::grouped(rows), human::count(wanted, "row"))
}

fn tables(session: &Session, encoding: &str) -> Result<Vec<Table>> {
    let rows = session.rows(
        "Looking for the restored tables",
        "SELECT c.oid, convert_to(n.nspname::text, $1), convert_to(c.relname::text, $1),
                EXISTS (SELECT FROM pg_depend d
                        WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
         ORDER BY 2, 3",
        &[&encoding],
    )?;
    Ok(rows
        .iter()
        .map(|row| Table {
            oid: row.try_get(0).unwrap_or_default(),
            name: (row.try_get(1).unwrap_or_default(), row.try_get(2).unwrap_or_default()),
            is_of_extension: row.try_get(3).unwrap_or(false),
        })
        .collect())
}

/// Counts a table's rows, converting each value to text; if `whole`, also checks the text against the
/// encoding. The server builds the statement, because names may contain bytes that are invalid here.
fn count(session: &Session, oid: u32, only: bool, whole: bool) -> Result<Result<u64, PostgresError>> {
    let only = if only { "ONLY " } else { "" };
    let values = if whole {
        "(SELECT coalesce(string_agg(format(', count(convert_to(concat(holdfast_row.%I), %L))', a.attname,
                    getdatabaseencoding()), '' ORDER BY a.attnum), '')
          FROM pg_attribute a WHERE a.attrelid = t AND a.attnum > 0 AND NOT a.attisdropped
            AND coalesce(to_jsonb(a.attgenerated::text) #>> '{}', '') <> 'v')"
    } else {
        "''"
    };
    let ask = format!(
        "DO $holdfast$ DECLARE t oid := {oid}; n int8; BEGIN
           EXECUTE (SELECT format('SELECT count(*)%s FROM {only}%I.%I holdfast_row', {values}, s.nspname, c.relname)
                    FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace WHERE c.oid = t) INTO n;
           PERFORM set_config('holdfast.rows', n::text, false);
         END $holdfast$"
    );
    if let Err(error) = session.try_long_run(&ask)? {
        return Ok(Err(error));
    }
    let rows = session.try_rows("SELECT current_setting('holdfast.rows')", &[])?;
    Ok(rows.map(|rows| {
        let text: Option<String> = rows.first().and_then(|row| row.try_get(0).ok());
        text.and_then(|text| text.parse().ok()).unwrap_or(0)
    }))
}
