//! Sorts an archive's entries: data, which must come back; entries that act outside their database; and
//! entries that no `pg_dump` would have written.

use crate::domain::engines::postgres::archive::toc::{Bytes, Entry, Section, Toc};
use crate::domain::error::{Code, Error};
use crate::domain::repository::content::Content;
use std::collections::{HashMap, HashSet};

/// Read buffer, in bytes.
const BUFFER: usize = 64 << 10;
/// Kinds that `pg_restore` does not restore here: they concern the archive or the database as a whole.
const NOT_MADE: [&str; 6] =
    ["ENCODING", "STDSTRINGS", "SEARCHPATH", "DATABASE", "DATABASE PROPERTIES", "PROPERTIES"];
/// Kinds that act outside the database, when created or when used.
const OUTSIDE: [&str; 4] = ["SUBSCRIPTION", "SUBSCRIPTION TABLE", "EVENT TRIGGER", "USER MAPPING"];
/// Extension tables whose rows make a scheduler run jobs, or record its runs, by schema and name; an empty
/// name means the whole schema. Only these rows may be missing.
const SCHEDULERS: [(&str, &str); 3] = [("cron", "job"), ("cron", "job_run_details"), ("pgagent", "")];
/// Kinds that are created by `CREATE` and their own keyword.
const CREATED: [&str; 38] = [
    "ACCESS METHOD",
    "AGGREGATE",
    "CAST",
    "COLLATION",
    "CONVERSION",
    "DOMAIN",
    "EVENT TRIGGER",
    "EXTENSION",
    "FOREIGN DATA WRAPPER",
    "FOREIGN TABLE",
    "FUNCTION",
    "INDEX",
    "MATERIALIZED VIEW",
    "OPERATOR",
    "OPERATOR CLASS",
    "OPERATOR FAMILY",
    "POLICY",
    "PROCEDURAL LANGUAGE",
    "PROCEDURE",
    "PUBLICATION",
    "RULE",
    "SCHEMA",
    "SEQUENCE",
    "SERVER",
    "SHELL TYPE",
    "STATISTICS",
    "SUBSCRIPTION",
    "TABLE",
    "TEXT SEARCH CONFIGURATION",
    "TEXT SEARCH DICTIONARY",
    "TEXT SEARCH PARSER",
    "TEXT SEARCH TEMPLATE",
    "TRANSFORM",
    "TRIGGER",
    "TYPE",
    "USER MAPPING",
    "VIEW",
    "WINDOW",
];
/// How a statement of another kind may begin.
const OTHERS: [&str; 10] =
    ["ALTER", "COMMENT", "GRANT", "REVOKE", "SELECT", "SET", "SECURITY", "REFRESH", "CREATE", "DO"];
/// What no archive of one database creates or alters.
const NEVER: [&str; 6] = ["DATABASE", "SYSTEM", "TABLESPACE", "ROLE", "USER", "GROUP"];
/// How many words of a statement are inspected.
const WORDS: usize = 7;

/// An archive's entries, sorted by how they are restored.
pub struct Contents {
    /// All entries.
    pub toc: Toc,
    /// The index of each entry in the list.
    places: HashMap<i64, usize>,
    /// The numbers of entries that act outside, with their comments and with what would trigger them.
    pub outside: HashSet<i64>,
    /// The numbers of a scheduler's rows and sequences.
    pub of_schedulers: HashSet<i64>,
}

impl Contents {
    /// Sorts the entries. Refused if the statement of an entry does not match its kind: `pg_dump` writes no
    /// such archive.
    pub fn of(toc: Toc) -> Result<Self, Error> {
        if let Some(odd) = toc.entries.iter().find(|entry| !is_plausible(entry)) {
            return Err(Error::refusal(
                Code::BackupDamaged,
                format!(
                    "The archive was tampered with, or was not made by pg_dump: the statement of its entry \
                     {} ({}) does not match the entry's kind. The archive was not restored, and nothing was \
                     changed.",
                    odd.id,
                    odd.title()
                ),
            ));
        }
        let places = toc.entries.iter().enumerate().map(|(at, entry)| (entry.id, at)).collect();
        let tables: HashSet<_> =
            toc.entries.iter().filter(|entry| entry.kind == "TABLE").map(|entry| &entry.name).collect();
        // Tables that an extension creates: the archive has only their rows.
        let of_schedulers: HashSet<i64> = toc
            .entries
            .iter()
            .filter(|entry| {
                let is_listed = SCHEDULERS
                    .iter()
                    .any(|(schema, name)| entry.schema == *schema && (name.is_empty() || entry.tag == *name));
                let is_sequence = entry.kind == "SEQUENCE SET"
                    && SCHEDULERS.iter().any(|(schema, _)| entry.schema == *schema);
                (entry.kind == "TABLE DATA" && is_listed && !tables.contains(&entry.name)) || is_sequence
            })
            .map(|entry| entry.id)
            .collect();
        let is_job = |entry: &Entry| entry.kind == "TABLE DATA" && of_schedulers.contains(&entry.id);
        let mut outside: HashSet<i64> = toc
            .entries
            .iter()
            .filter(|entry| OUTSIDE.contains(&entry.kind.as_str()) || is_job(entry))
            .map(|entry| entry.id)
            .collect();
        // Filling a materialized view of a foreign table would query the other server.
        let mut foreign: HashSet<i64> =
            toc.entries.iter().filter(|entry| entry.kind == "FOREIGN TABLE").map(|entry| entry.id).collect();
        let mut known = 0;
        while foreign.len() > known {
            known = foreign.len();
            foreign.extend(
                toc.entries
                    .iter()
                    .filter(|entry| entry.needs.iter().any(|need| foreign.contains(need)))
                    .map(|entry| entry.id)
                    .collect::<Vec<_>>(),
            );
        }
        outside.extend(
            toc.entries
                .iter()
                .filter(|entry| entry.kind == "MATERIALIZED VIEW DATA" && foreign.contains(&entry.id))
                .map(|entry| entry.id),
        );
        Ok(Self { toc, places, outside, of_schedulers })
    }

    /// The entry with that number.
    pub fn entry(&self, id: i64) -> Option<&Entry> {
        self.places.get(&id).map(|at| &self.toc.entries[*at])
    }

    /// The entries of a section in their order, without those that act outside or belong to such an entry.
    pub fn of_section(&self, section: Section) -> Vec<i64> {
        // A comment or a label belongs to the entry before it; grants come last.
        let mut current = Section::PreData;
        let mut effective = |entry: &Entry| match entry.section {
            Section::None if entry.kind.ends_with("ACL") => Section::PostData,
            Section::None => current,
            own => {
                current = own;
                own
            }
        };
        self.toc
            .entries
            .iter()
            .filter(|entry| effective(entry) == section)
            .filter(|entry| !NOT_MADE.contains(&entry.kind.as_str()))
            .filter(|entry| !self.outside.contains(&entry.id) && !self.describes_outside(entry))
            .map(|entry| entry.id)
            .collect()
    }

    /// The entries that act outside, in their order.
    pub fn acting_outside(&self) -> Vec<i64> {
        let entries = self.toc.entries.iter();
        entries
            .filter(|entry| self.outside.contains(&entry.id) || self.describes_outside(entry))
            .map(|entry| entry.id)
            .collect()
    }

    /// Whether the entry is a comment, a grant or a label of something that acts outside.
    pub fn describes_outside(&self, entry: &Entry) -> bool {
        matches!(entry.kind.as_str(), "COMMENT" | "ACL" | "SECURITY LABEL")
            && entry.needs.iter().any(|need| self.outside.contains(need))
    }

    /// The large objects that must exist after the restore.
    pub fn large_objects(&self) -> HashSet<u32> {
        let entries = self.toc.entries.iter();
        let of = |entry: &Entry| -> Vec<u32> {
            match entry.kind.as_str() {
                "BLOB" => entry.tag.parse().into_iter().collect(),
                "BLOB METADATA" => {
                    entry.statement.lines().filter_map(|line| line.trim().parse().ok()).collect()
                }
                _ => Vec::new(),
            }
        };
        entries.flat_map(of).collect()
    }

    /// Whether an entry attaches one table of the archive to another.
    pub fn ties_tables(&self, entry: &Entry) -> bool {
        let is_table = |id: &&i64| self.entry(**id).is_some_and(|needed| needed.kind == "TABLE");
        entry.kind == "TABLE ATTACH" && entry.needs.iter().filter(is_table).count() > 1
    }
}

/// Whether an entry's statement matches its kind. Each is executed as one query, in which a second statement
/// could do no more than the role may within a transaction; the first statement alone could drop another
/// database.
fn is_plausible(entry: &Entry) -> bool {
    // These are executed as they are, before everything else.
    match entry.kind.as_str() {
        "ENCODING" => return is_call(&entry.statement, "SET client_encoding = ", ";"),
        "STDSTRINGS" => return is_call(&entry.statement, "SET standard_conforming_strings = ", ";"),
        "SEARCHPATH" => {
            return is_call(&entry.statement, "SELECT pg_catalog.set_config('search_path', ", ", false);");
        }
        kind if NOT_MADE.contains(&kind) => return true,
        "SEQUENCE SET" => return is_setval(&entry.statement),
        "BLOB" if entry.statement.starts_with("SELECT") => {
            return is_call(&entry.statement, "SELECT pg_catalog.lo_create(", ");");
        }
        _ => {}
    }
    if !entry.copy.is_empty() && copied_table(&entry.copy).is_none() {
        return false;
    }
    let words = first_words(&entry.statement);
    let Some(first) = words.first().map(String::as_str) else { return true };
    // The OIDs of large objects.
    if entry.kind.starts_with("BLOB") && first.bytes().all(|byte| byte.is_ascii_digit()) {
        return true;
    }
    let second = words.get(1).map_or("", String::as_str);
    let is_mapping = words.get(2).is_some_and(|third| third == "MAPPING");
    if matches!(first, "CREATE" | "ALTER") && NEVER.contains(&second) && !(second == "USER" && is_mapping) {
        return false;
    }
    if first == "SET" && matches!(second, "ROLE") {
        return false;
    }
    if CREATED.contains(&entry.kind.as_str()) {
        let own = entry.kind.rsplit(' ').next().unwrap_or_default();
        // Views that depend on each other are completed by a rule.
        let other = match own {
            "PROCEDURE" => "FUNCTION",
            "RULE" => "VIEW",
            _ => own,
        };
        let is_own = |word: &String| word == own || word == other;
        return match first {
            "CREATE" => words.iter().any(is_own) || (own == "LANGUAGE" && second == "EXTENSION"),
            // An identity column creates its sequence by ALTER TABLE.
            "ALTER" => second == "TABLE" || words.iter().any(is_own),
            _ => false,
        };
    }
    if first == "SELECT" {
        let head = &entry.statement[..entry.statement.len().min(80)];
        return head.contains("pg_catalog.");
    }
    OTHERS.contains(&first)
}

/// The first words of a statement, in capitals, without comments.
fn first_words(statement: &str) -> Vec<String> {
    let mut rest = statement.trim_start();
    loop {
        if let Some(comment) = rest.strip_prefix("--") {
            rest = comment.split_once('\n').map_or("", |(_, after)| after).trim_start();
        } else if let Some(comment) = rest.strip_prefix("/*") {
            rest = comment.split_once("*/").map_or("", |(_, after)| after).trim_start();
        } else {
            break;
        }
    }
    rest.split(|c: char| c.is_whitespace() || "(;".contains(c))
        .filter(|word| !word.is_empty())
        .take(WORDS)
        .map(str::to_ascii_uppercase)
        .collect()
}

/// Whether a statement is one quoted string, or empty quotes, between these two parts and nothing else.
fn is_call(statement: &str, before: &str, after: &str) -> bool {
    let inner = statement.trim().strip_prefix(before).and_then(|text| text.strip_suffix(after));
    let inner = inner.and_then(|text| text.strip_prefix('\'')?.strip_suffix('\''));
    inner.is_some_and(|text| !text.contains(['\'', '\\']))
}

/// Whether a statement sets a sequence and does nothing else: `SELECT pg_catalog.setval('s', 1, true);`
fn is_setval(statement: &str) -> bool {
    let after_name = || {
        let mut rest = statement.trim().strip_prefix("SELECT pg_catalog.setval('")?;
        loop {
            let (_, after) = rest.split_once('\'')?;
            match after.strip_prefix('\'') {
                Some(more) => rest = more,
                None => return after.strip_prefix(", "),
            }
        }
    };
    let is_number = |text: &str| text.trim_start_matches('-').bytes().all(|byte| byte.is_ascii_digit());
    after_name()
        .and_then(|rest| rest.split_once(", "))
        .is_some_and(|(number, rest)| is_number(number) && matches!(rest, "true);" | "false);"))
}

/// The schema, if named, and the table that a COPY statement fills. `None` unless it is exactly as `pg_dump`
/// writes it: `COPY schema.table (columns) FROM stdin;`
pub fn copied_table(copy: &[u8]) -> Option<(Option<Vec<u8>>, Vec<u8>)> {
    let mut rest = copy.strip_prefix(b"COPY ")?;
    let first = identifier(&mut rest)?;
    let table = match rest.strip_prefix(b".") {
        Some(after) => {
            rest = after;
            (Some(first), identifier(&mut rest)?)
        }
        None => (None, first),
    };
    rest = rest.strip_prefix(b" ")?;
    if let Some(mut columns) = rest.strip_prefix(b"(") {
        while !columns.starts_with(b")") {
            identifier(&mut columns)?;
            columns = columns.strip_prefix(b", ").unwrap_or(columns);
        }
        rest = columns.strip_prefix(b") ")?;
    }
    // Without columns there are two spaces.
    let rest = rest.trim_ascii_start();
    let rest = rest.strip_prefix(b"WITH OIDS ").unwrap_or(rest);
    (rest.trim_ascii_end() == b"FROM stdin;").then_some(table)
}

/// Takes an identifier, quoted or not, off the front.
fn identifier(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let mut name = Vec::new();
    if let Some(mut quoted) = rest.strip_prefix(b"\"") {
        loop {
            let (byte, after) = quoted.split_first()?;
            quoted = after;
            if *byte != b'"' {
                name.push(*byte);
            } else if let Some(after) = quoted.strip_prefix(b"\"") {
                name.push(b'"');
                quoted = after;
            } else {
                *rest = quoted;
                return Some(name);
            }
        }
    }
    let is_plain = |byte: &u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_$".contains(byte) || *byte >= 128
    };
    let end = rest.iter().position(|byte| !is_plain(byte)).unwrap_or(rest.len());
    name.extend_from_slice(&rest[..end]);
    *rest = &rest[end..];
    (!name.is_empty()).then_some(name)
}

/// The beginning of an archive, read as far as its table of contents goes.
pub struct Beginning<'c, 'p> {
    content: &'c mut Content<'p>,
    buffer: Vec<u8>,
    at: usize,
    filled: usize,
}

impl<'c, 'p> Beginning<'c, 'p> {
    /// Reads from `content`, of which nothing was read yet.
    pub fn of(content: &'c mut Content<'p>) -> Self {
        Self { content, buffer: vec![0; BUFFER], at: 0, filled: 0 }
    }
}

impl Bytes for Beginning<'_, '_> {
    type Error = Error;

    fn take(&mut self, mut count: usize, keep: usize) -> Result<Option<Vec<u8>>, Error> {
        let mut kept = Vec::with_capacity(count.min(keep));
        while count > 0 {
            if self.at == self.filled {
                self.filled = self.content.next(&mut self.buffer)?;
                self.at = 0;
                if self.filled == 0 {
                    return Ok(None);
                }
            }
            let taken = count.min(self.filled - self.at);
            let wanted = taken.min(keep - kept.len().min(keep));
            kept.extend_from_slice(&self.buffer[self.at..self.at + wanted]);
            self.at += taken;
            count -= taken;
        }
        Ok(Some(kept))
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::engines::postgres::restore::contents::*;

    fn entry(kind: &str, statement: &str) -> Entry {
        Entry {
            id: 1,
            kind: kind.to_owned(),
            tag: "x".to_owned(),
            schema: "public".to_owned(),
            tablespace: String::new(),
            owner: "o".to_owned(),
            section: Section::PreData,
            has_data: false,
            statement: statement.to_owned(),
            name: (b"public".to_vec(), b"x".to_vec()),
            copy: Vec::new(),
            needs: Vec::new(),
        }
    }

    #[test]
    fn a_statement_does_what_its_kind_says() {
        for (kind, statement) in [
            ("TABLE", "CREATE UNLOGGED TABLE public.t (\n    a integer\n);\n"),
            ("TABLE DATA", ""),
            ("SCHEMA", "-- *not* creating schema, since initdb creates it\n\n\n"),
            ("FUNCTION", "CREATE FUNCTION public.f() RETURNS int LANGUAGE sql AS $$ DROP DATABASE x $$;"),
            ("PROCEDURAL LANGUAGE", "CREATE OR REPLACE PROCEDURAL LANGUAGE plperl;"),
            ("RULE", "CREATE OR REPLACE VIEW public.v AS\n SELECT 1;"),
            ("RULE", "CREATE RULE r AS\n    ON INSERT TO public.t DO INSTEAD NOTHING;"),
            ("INDEX", "CREATE UNIQUE INDEX i ON public.t USING btree (a);"),
            ("TRIGGER", "CREATE CONSTRAINT TRIGGER t AFTER INSERT ON t"),
            ("TYPE", "CREATE TYPE public.mood AS ENUM ("),
            ("SEQUENCE", "ALTER TABLE public.t ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (\n"),
            ("SHELL TYPE", "CREATE TYPE public.x;"),
            ("USER MAPPING", "CREATE USER MAPPING FOR me SERVER s OPTIONS ("),
            ("CONSTRAINT", "ALTER TABLE ONLY public.t\n    ADD CONSTRAINT t_pkey PRIMARY KEY (a);"),
            ("SEQUENCE SET", "SELECT pg_catalog.setval('public.s', 1, true);"),
            ("SEQUENCE SET", "SELECT pg_catalog.setval('public.\"it''s; so\"', -7, false);\n\n\n"),
            ("BLOB", "SELECT pg_catalog.lo_create('77');"),
            ("BLOB METADATA", "16400\n16401\n"),
            ("DEFAULT ACL", "ALTER DEFAULT PRIVILEGES FOR ROLE x REVOKE ALL"),
            ("ROW SECURITY", "ALTER TABLE public.t ENABLE ROW LEVEL SECURITY;"),
            ("DATABASE", "CREATE DATABASE shop WITH TEMPLATE = template0"),
            ("STATISTICS DATA", "SELECT * FROM pg_catalog.pg_restore_relation_stats(\n"),
            ("MATERIALIZED VIEW DATA", "REFRESH MATERIALIZED VIEW public.m;"),
            ("TEXT SEARCH CONFIGURATION", "CREATE TEXT SEARCH CONFIGURATION public.c (\n PARSER = x );"),
            ("CONVERSION", "CREATE DEFAULT CONVERSION public.c FOR 'LATIN1' TO 'UTF8' FROM f;"),
        ] {
            assert!(is_plausible(&entry(kind, statement)), "{kind}: {statement}");
        }
        for (kind, statement) in [
            ("FUNCTION", "DROP DATABASE bystander;"),
            ("FUNCTION", "/* CREATE FUNCTION */ DROP DATABASE bystander;"),
            ("FUNCTION", "SELECT pg_read_file('/etc/passwd');"),
            ("FUNCTION", "COPY (SELECT 1) TO PROGRAM 'touch x';"),
            ("FUNCTION", "CREATE DATABASE function;"),
            ("COMMENT", "ALTER SYSTEM SET work_mem = '1GB';"),
            ("COMMENT", "ALTER ROLE me PASSWORD 'x';"),
            ("COMMENT", "SET ROLE postgres;"),
            ("COMMENT", "COMMIT;"),
            ("COMMENT", "VACUUM;"),
            ("COMMENT", "SELECT lo_import('/etc/passwd');"),
            ("ACL", "DROP DATABASE bystander;"),
            ("TABLE", "\\! touch x"),
        ] {
            assert!(!is_plausible(&entry(kind, statement)), "{kind}: {statement}");
        }
        for copy in [
            "DROP DATABASE bystander;",
            "COPY public.x FROM PROGRAM 'touch x'; --",
            "COPY (SELECT 1) TO PROGRAM 'touch x'; --",
            "COPY public.x (i, t) FROM stdin; CREATE ROLE r;",
            "COPY public.x (i, f(1)) FROM stdin;",
        ] {
            let copied = Entry { copy: copy.as_bytes().to_vec(), ..entry("TABLE DATA", "") };
            assert!(!is_plausible(&copied), "{copy}");
        }
        for (kind, statement) in [
            ("SEARCHPATH", "DROP DATABASE bystander;"),
            (
                "SEARCHPATH",
                "SELECT pg_catalog.set_config('search_path', '', false); DROP ROLE x; --', false);",
            ),
            ("ENCODING", "DROP DATABASE bystander;"),
            ("STDSTRINGS", "VACUUM;"),
            ("SEQUENCE SET", "SELECT 1, pg_catalog.pg_read_file('/etc/passwd');"),
            (
                "SEQUENCE SET",
                "SELECT pg_catalog.setval('public.s', 1, true); DROP TABLE t; SELECT f(1, true);",
            ),
            ("BLOB", "SELECT pg_catalog.lo_create('1'), pg_catalog.pg_sleep(1);"),
        ] {
            assert!(!is_plausible(&entry(kind, statement)), "{kind}: {statement}");
        }
        for (kind, statement) in [
            ("ENCODING", "SET client_encoding = 'UTF8';\n"),
            ("STDSTRINGS", "SET standard_conforming_strings = 'on';\n"),
            ("SEARCHPATH", "SELECT pg_catalog.set_config('search_path', '', false);\n"),
        ] {
            assert!(is_plausible(&entry(kind, statement)), "{kind}: {statement}");
        }
    }

    #[test]
    fn the_table_a_copy_fills_is_read_whatever_it_is_called() {
        let table = |copy: &str| copied_table(copy.as_bytes());
        let of =
            |schema: &str, name: &str| Some((Some(schema.as_bytes().to_vec()), name.as_bytes().to_vec()));
        assert_eq!(table("COPY public.t (a, b) FROM stdin;\n"), of("public", "t"));
        assert_eq!(
            table("COPY \"dot.ted\".\"ta\"\"ble\" (\"a, )\", b) FROM stdin;\n"),
            of("dot.ted", "ta\"ble")
        );
        assert_eq!(table("COPY t FROM stdin;"), Some((None, b"t".to_vec())));
        assert_eq!(table("COPY public.none  FROM stdin;\n"), of("public", "none"));
        assert_eq!(table("COPY public.\"no; DROP\"  FROM stdin;\n"), of("public", "no; DROP"));
        assert_eq!(table("COPY public.old (a) WITH OIDS FROM stdin;"), of("public", "old"));
        assert_eq!(
            copied_table(b"COPY public.caf\xe9 (a) FROM stdin;"),
            Some((Some(b"public".to_vec()), b"caf\xe9".to_vec()))
        );
        assert_eq!(table("INSERT INTO t"), None);
    }
}
