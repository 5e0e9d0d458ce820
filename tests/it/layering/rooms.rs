//! Which rooms of the domain may name which: `Holdfast` opens them, operations work with them, and none names those.

use super::{Source, root, source_files};
use std::fmt::Write as _;
use std::fs;

/// What the state database may name of the domain; nothing else, so that every room can store something.
const OF_STATE: [&str; 5] = ["error", "random", "repository", "state", "Error"];

/// What a file of the domain breaks.
fn broken(file: &str, text: &str) -> Vec<String> {
    let Some(room) = file.strip_prefix("domain/").and_then(|rest| rest.split(['/', '.']).next()) else {
        return Vec::new();
    };
    let source = Source::read(file, text);
    let mut broken = Vec::new();
    for path in &source.paths {
        let ["crate", "domain", named, ..] = &path.iter().map(String::as_str).collect::<Vec<_>>()[..] else {
            continue;
        };
        let why = match *named {
            "Holdfast" => "names Holdfast, which opens the rooms",
            "operations" if room != "operations" => "names the operations, which work with the rooms",
            other if room == "state" && !OF_STATE.contains(&other) => "is below the other rooms",
            _ => continue,
        };
        broken.push(format!("src/{file} names {}: it {why}", path.join("::")));
    }
    let own = source.tokens.windows(2).any(|two| two[0] == "impl" && two[1] == "Holdfast");
    broken.extend(own.then(|| format!("src/{file} has an `impl Holdfast`, which only src/domain.rs has")));
    broken
}

#[test]
fn no_room_names_what_stands_above_it() {
    let mut report = String::new();
    for path in source_files() {
        let file = path.strip_prefix(root().join("src")).unwrap().to_str().unwrap();
        for why in broken(file, &fs::read_to_string(&path).unwrap()) {
            writeln!(report, "{why}").unwrap();
        }
    }
    assert!(report.is_empty(), "\n{report}");
}

#[test]
fn a_room_that_names_what_stands_above_it_is_found() {
    for (file, text) in [
        ("domain/jobs/x.rs", "use crate::domain::Holdfast;"),
        ("domain/operations/x.rs", "impl Holdfast { fn f(&self) {} }"),
        ("domain/repository/x.rs", "fn f() { crate::domain::operations::create::create(); }"),
        ("domain/state/x.rs", "use crate::domain::accounts::Accounts;"),
    ] {
        assert_eq!(broken(file, text).len(), 1, "{file}: {text}");
    }
    for (file, text) in [
        ("domain.rs", "impl Holdfast { fn f(&self) {} }"),
        ("domain/operations/x.rs", "use crate::domain::operations::context::Context;"),
        ("domain/state/x.rs", "use crate::domain::error::Result;"),
        ("server/x.rs", "use crate::domain::Holdfast;"),
    ] {
        assert_eq!(broken(file, text), [""; 0], "{file}: {text}");
    }
}
