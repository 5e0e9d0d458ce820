//! Check constraints that rows of a backup do not meet: taken away while the rows are restored, and put back.

use crate::domain::engines::postgres::origin::quoted;
use crate::domain::engines::postgres::restore::contents::Contents;
use crate::domain::engines::postgres::restore::session::Session;
use crate::domain::error::Result;
use std::collections::BTreeMap;

/// A check constraint that was taken away for a while.
pub struct Check {
    /// `TABLE public.t`, `DOMAIN public.d`.
    owner: String,
    name: String,
    definition: String,
}

/// Takes the check constraints away of tables that would not take their rows: a check that calls a function, or
/// that became stricter, is no reason to lose them. Gives them, by the entry of the rows.
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
        // Its own, those it inherits, and those of the domains of its columns.
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

/// Puts them back, for rows to come. Gives what could not be put back as it was.
pub fn put_checks_back(session: &Session, dropped: BTreeMap<i64, Vec<Check>>) -> Result<Vec<String>> {
    let mut exceptions = Vec::new();
    for Check { owner, name, definition } in dropped.into_values().flatten() {
        let definition = definition.strip_suffix(" NOT VALID").unwrap_or(&definition);
        let add = |how: &str| {
            let name = quoted(&name);
            session.try_run(&format!("ALTER {owner} ADD CONSTRAINT {name} {definition}{how}"))
        };
        // Only one of several may have been in the way.
        let Err(refused) = add("")? else { continue };
        let refused = session.said(&refused);
        let owner = owner.to_lowercase();
        let told = match add(" NOT VALID")? {
            Ok(()) => format!(
                "check constraint {name} of {owner}: it counts for new rows only (NOT VALID), since the server says of \
                 those that are there: {refused}"
            ),
            Err(error) => format!("check constraint {name} of {owner}: {}", session.said(&error)),
        };
        exceptions.push(told);
    }
    Ok(exceptions)
}
