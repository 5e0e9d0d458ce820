//! Check constraints that a backup's rows violate: dropped while the rows are restored, then created again.

use crate::domain::engines::postgres::origin::quoted;
use crate::domain::engines::postgres::restore::contents::Contents;
use crate::domain::engines::postgres::restore::session::Session;
use crate::domain::error::Result;
use std::collections::BTreeMap;

/// A check constraint that was dropped for the restore.
pub struct Check {
    /// `TABLE public.t`, `DOMAIN public.d`.
    owner: String,
    name: String,
    definition: String,
}

/// Drops the check constraints of tables that rejected their rows: a check that calls a function, or that
/// became stricter, is no reason to lose rows. Returns the constraints by the entry of the rows.
pub fn drop_checks(
    session: &Session,
    contents: &Contents,
    refused: &[i64],
) -> Result<BTreeMap<i64, Vec<Check>>> {
    let mut dropped = BTreeMap::new();
    for id in refused {
        let Some(entry) = contents.entry(*id).filter(|entry| entry.kind == "TABLE DATA") else {
            continue;
        };
        let table = format!("{}.{}", quoted(&entry.schema), quoted(&entry.tag));
        // The table's own constraints, inherited ones, and those of its columns' domains.
        let found = session.try_rows(
            "WITH RECURSIVE up (oid) AS (
                 SELECT to_regclass($1)::oid UNION SELECT i.inhparent FROM pg_inherits i JOIN up ON i.inhrelid = up.oid
             ), domains (oid) AS (
                 SELECT t.oid FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
                 WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND t.typtype = 'd'
                 UNION SELECT t.typbasetype FROM pg_type t JOIN domains d ON d.oid = t.oid WHERE t.typbasetype <> 0
             )
             SELECT c.conname::text, pg_get_constraintdef(c.oid),
                    CASE WHEN c.contypid <> 0 THEN 'DOMAIN ' || format_type(c.contypid, NULL)
                         ELSE 'TABLE ' || c.conrelid::regclass::text END
             FROM pg_constraint c
             WHERE c.contype = 'c' AND (c.contypid IN (SELECT oid FROM domains)
                   OR c.conrelid IN (SELECT oid FROM up) AND c.conislocal AND c.coninhcount = 0)",
            &[&table],
        )?;
        let mut checks = Vec::new();
        for row in found.unwrap_or_default() {
            let text = |at: usize| row.try_get::<_, String>(at).unwrap_or_default();
            let check = Check { owner: text(2), name: text(0), definition: text(1) };
            let drop = format!("ALTER {} DROP CONSTRAINT {}", check.owner, quoted(&check.name));
            if session.try_run(&drop)?.is_ok() {
                checks.push(check);
            }
        }
        if !checks.is_empty() || dropped.values().flatten().next().is_some() {
            dropped.insert(*id, checks);
        }
    }
    Ok(dropped)
}

/// Creates the constraints again, for future rows. Returns a sentence for each that could not be restored as
/// it was.
pub fn put_checks_back(session: &Session, dropped: BTreeMap<i64, Vec<Check>>) -> Result<Vec<String>> {
    let mut exceptions = Vec::new();
    for Check { owner, name, definition } in dropped.into_values().flatten() {
        let definition = definition.strip_suffix(" NOT VALID").unwrap_or(&definition);
        let add = |how: &str| {
            let name = quoted(&name);
            session.try_run(&format!("ALTER {owner} ADD CONSTRAINT {name} {definition}{how}"))
        };
        // Where several were dropped, perhaps only one was violated.
        let Err(refused) = add("")? else { continue };
        let refused = session.said(&refused);
        let owner = owner.to_lowercase();
        let told = match add(" NOT VALID")? {
            Ok(()) => format!(
                "check constraint {name} of {owner}: it applies to new rows only (NOT VALID), because the \
                 server rejects existing rows: {refused}"
            ),
            Err(error) => format!("check constraint {name} of {owner}: {}", session.said(&error)),
        };
        exceptions.push(told);
    }
    Ok(exceptions)
}
