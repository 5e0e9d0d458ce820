//! Holds that SQL, random bytes and the matching of refusals each have their one place in `src/`.

use crate::layering::{lexemes, root, source_files, without_tests};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;

/// How statements of the state database begin, in capitals as this program writes them.
const SQL: [&str; 12] = [
    "SELECT ",
    "INSERT ",
    "UPDATE ",
    "DELETE FROM ",
    "CREATE ",
    "ALTER TABLE ",
    "DROP ",
    "PRAGMA ",
    "VACUUM",
    "BEGIN",
    "COMMIT",
    "WITH ",
];

/// What may be named outside its room: the place, what of which rule, and why. One that is not needed any more fails.
const EXCEPTIONS: [(&str, &str, &str); 2] = [
    ("domain/engines/", "", "engines talk to the databases that are backed up"),
    ("domain/error.rs", "rusqlite::Error", "the error keeps its cause"),
];

/// What a file breaks, exceptions included: the rule, and with what.
fn broken(file: &str, text: &str) -> Vec<(&'static str, String)> {
    let tokens = without_tests(lexemes(text));
    let token = |at: usize| tokens.get(at).map_or("", String::as_str);
    let follows =
        |at: usize, wanted: &[&str]| wanted.iter().enumerate().all(|(i, want)| token(at + i) == *want);
    let may_sql = file == "domain/state.rs" || file.starts_with("domain/state/");
    let mut broken = Vec::new();
    for (at, each) in tokens.iter().enumerate() {
        match each.as_str() {
            "rusqlite" if !may_sql => {
                let named = if token(at + 1) == "::" { token(at + 2) } else { "" };
                broken.push(("sql", format!("rusqlite::{named}")));
            }
            literal if literal.starts_with('"') && !may_sql => {
                let statement = literal[1..].trim_start();
                if SQL.iter().any(|start| statement.starts_with(start)) {
                    broken.push(("sql", statement.chars().take(40).collect()));
                }
            }
            "getrandom" if file != "domain/random.rs" => broken.push(("random", each.clone())),
            // Refusals with a code of their own are another variant: who matches one means both.
            "Refused"
                if at >= 2
                    && token(at - 1) == "::"
                    && token(at - 2) == "Error"
                    && follows(at + 1, &["(", "_", ")"])
                    && !follows(at + 4, &["|", "Error", "::", "Refusal"]) =>
            {
                broken.push(("refusal", "Error::Refused(_) without Error::Refusal(_)".to_owned()));
            }
            _ => {}
        }
    }
    broken
}

/// Which of [`EXCEPTIONS`] allows a file to name `what` of the rule `sql`.
fn exception(file: &str, rule: &str, what: &str) -> Option<usize> {
    EXCEPTIONS.iter().position(|(place, allowed, _)| {
        rule == "sql" && file.starts_with(place) && (allowed.is_empty() || *allowed == what)
    })
}

#[test]
fn sql_randomness_and_refusals_are_where_they_belong() {
    let mut report = String::new();
    let mut needed = BTreeSet::new();
    for path in source_files() {
        let file = path.strip_prefix(root().join("src")).unwrap().to_str().unwrap().to_owned();
        if path.file_name().is_some_and(|name| name == "tests.rs") {
            continue;
        }
        for (rule, what) in broken(&file, &fs::read_to_string(&path).unwrap()) {
            match exception(&file, rule, &what) {
                Some(at) => drop(needed.insert(at)),
                None => writeln!(report, "src/{file} breaks the rule '{rule}' with {what}").unwrap(),
            }
        }
    }
    assert!(report.is_empty(), "\n{report}");
    for (at, exception) in EXCEPTIONS.iter().enumerate() {
        assert!(needed.contains(&at), "nothing needs the exception {exception:?} any more");
    }
}

#[test]
fn a_planted_violation_of_each_rule_is_found() {
    for (rule, file, text) in [
        ("sql", "domain/jobs.rs", "use rusqlite::Connection;"),
        ("sql", "domain/x.rs", "use rusqlite::{OptionalExtension as _, Row};"),
        ("sql", "server/x.rs", "fn f(e: rusqlite::Error) {}"),
        ("sql", "domain/operations/x.rs", "fn f() { g(rusqlite::version()); }"),
        ("sql", "domain/error.rs", "fn f() { rusqlite::Connection::open_in_memory(); }"),
        ("sql", "domain/x.rs", "fn f() { g(\"SELECT 1\"); }"),
        ("sql", "domain/x.rs", "const S: &str = r#\"  DELETE FROM jobs\"#;"),
        ("sql", "cli.rs", "fn f() { g(\"INSERT INTO jobs\\n VALUES (1)\"); }"),
        ("random", "domain/x.rs", "fn f(b: &mut [u8]) { getrandom::fill(b); }"),
        ("refusal", "api.rs", "fn f(e: Error) -> bool { matches!(e, Error::Refused(_)) }"),
        ("refusal", "domain/x.rs", "fn f() { match e { Error::Refused(_) | Error::NoJob => {} } }"),
    ] {
        let mut found = broken(file, text);
        found.retain(|(rule, what)| exception(file, rule, what).is_none());
        assert_eq!(found.iter().map(|(rule, _)| *rule).collect::<Vec<_>>(), [rule], "{text}: {found:?}");
    }
}

#[test]
fn what_the_rules_allow_breaks_none() {
    for (file, text) in [
        ("domain/state.rs", "use rusqlite::Connection; const S: &str = \"SELECT 1\";"),
        ("domain/state/jobs.rs", "fn f() { db.execute(\"UPDATE jobs SET x = 1\", []); }"),
        ("domain/engines/sqlite.rs", "use rusqlite::Connection; const S: &str = \"PRAGMA x\";"),
        ("domain/error.rs", "enum E { State(#[from] rusqlite::Error) }"),
        ("domain/x.rs", "// SELECT\nfn f() { g(\"Select fewer. DELETE FROM x\"); }"),
        ("domain/x.rs", "fn f() {}\n#[cfg(test)]\nmod tests { const S: &str = \"SELECT 1\"; }"),
        ("domain/random.rs", "fn f(b: &mut [u8]) { getrandom::fill(b); }"),
        ("domain/x.rs", "fn f() { match e { Error::Refused(_) | Error::Refusal(_) => {} } }"),
        ("domain/x.rs", "fn f() -> Error { Error::Refused(sentence()) }"),
    ] {
        let mut found = broken(file, text);
        found.retain(|(rule, what)| exception(file, rule, what).is_none());
        assert_eq!(found, [], "{file}: {text}");
    }
}
