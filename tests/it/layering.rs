//! Which way things point in `src/`, and what only one module may do: the rules of ARCHITECTURE.md, held.

#![expect(clippy::unwrap_used, reason = "tests")]

mod destinations;
mod rooms;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Where a rule is knowingly broken: rule, file, why. One that is not needed any more fails the test.
const EXCEPTIONS: [(&str, &str, &str); 4] = [
    (
        "rename",
        "domain/destinations/sftp/directory.rs",
        "gives a name on the SFTP server; no file here gets its name there",
    ),
    ("rename", "domain/state.rs", "moves a damaged state database aside; no backup gets its name there"),
    ("disk", "settings/tls.rs", "reads the certificate and the key that the settings name"),
    ("disk", "settings.rs", "looks whether a Leptos.toml lies there, which is reading the settings"),
];

/// Which of our own modules each may name. `lib` and `main` are the wiring and may name all.
const MAY_NAME: [(&str, &[&str]); 8] = [
    ("model", &[]),
    ("domain", &["model"]),
    ("api", &["model", "domain"]),
    ("ui", &["model", "api"]),
    ("app", &["model", "api", "ui"]),
    ("server", &["model", "domain", "api", "ui", "app", "settings"]),
    ("settings", &["model", "domain"]),
    ("cli", &["model", "domain", "settings"]),
];

/// Crates of the web, in the browser or on the server: none of the holdfast's business.
const WEB: [&str; 10] =
    ["axum", "codee", "http", "hyper", "js_sys", "leptos", "server_fn", "tower", "wasm_bindgen", "web_sys"];

#[derive(Debug, PartialEq, Eq)]
struct Violation {
    rule: &'static str,
    file: String,
    what: String,
}

/// A source file as the rules read it: without comments, strings and its test module.
pub(crate) struct Source {
    file: String,
    pub(crate) tokens: Vec<String>,
    pub(crate) paths: Vec<Vec<String>>,
}

impl Source {
    pub(crate) fn read(file: &str, text: &str) -> Self {
        let tokens = without_tests(tokens(text));
        let mut paths = Vec::new();
        let mut at = 0;
        while at < tokens.len() {
            if is_word(&tokens[at]) {
                let used = at > 0 && tokens[at - 1] == "use";
                let mut found = Vec::new();
                at = path_from(&tokens, at, &[], &mut found);
                // A lone word is a local name, unless it is imported.
                paths.extend(found.into_iter().filter(|path| used || path.len() > 1));
            } else {
                at += 1;
            }
        }
        Self { file: file.to_owned(), tokens, paths }
    }

    fn module(&self) -> &str {
        self.file.split(['/', '.']).next().unwrap_or_default()
    }

    fn found(&self, rule: &'static str, what: impl Into<String>) -> Violation {
        Violation { rule, file: self.file.clone(), what: what.into() }
    }

    /// Every rule; `crates` are the package's dependencies.
    fn violations(&self, crates: &BTreeSet<String>) -> Vec<Violation> {
        let mut found = Vec::new();
        for path in &self.paths {
            let text = path.join("::");
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            found.extend(self.broken_by_path(&path, crates).into_iter().map(|rule| self.found(rule, &text)));
        }
        let module = self.module();
        for (at, token) in self.tokens.iter().enumerate() {
            let before = |n: usize| at.checked_sub(n).map_or("", |i| self.tokens[i].as_str());
            let after = self.tokens.get(at + 1).map_or("", String::as_str);
            let rule = match token.as_str() {
                "cfg" | "cfg_attr" if module == "ui" => "ui-cfg",
                "to_socket_addrs" | "ToSocketAddrs" | "lookup_host" if self.file != "domain/outbound.rs" => {
                    "look-up"
                }
                "rename" | "renameat" | "renameat_with" | "linkat" | "hard_link" | "persist"
                    if after == "(" && self.file != "domain/repository/publish.rs" =>
                {
                    "rename"
                }
                "exists" | "is_file" | "is_dir" | "canonicalize" | "read_dir" | "symlink_metadata"
                    if before(1) == "." && after == "(" && module != "domain" =>
                {
                    "disk"
                }
                "arg" if before(1) == "[" && before(2) == "#" && module != "settings" => {
                    let attribute = self.tokens[at..].iter().take_while(|token| *token != "]");
                    if !attribute.clone().any(|token| token == "env") {
                        continue;
                    }
                    "environment"
                }
                _ => continue,
            };
            found.push(self.found(rule, token));
        }
        found
    }

    fn broken_by_path(&self, path: &[&str], crates: &BTreeSet<String>) -> Vec<&'static str> {
        let module = self.module();
        let mut broken = Vec::new();
        if let ["crate" | "holdfast", named, ..] = path
            && let Some((_, may)) = MAY_NAME.iter().find(|(name, _)| *name == module)
            && *named != module
            && MAY_NAME.iter().any(|(name, _)| name == named)
            && !may.contains(named)
        {
            broken.push("direction");
        }
        let root = path[0];
        let standard = matches!(root, "std" | "core" | "alloc");
        let second = path.get(1).copied().unwrap_or_default();
        if module == "model" {
            let foreign = crates.contains(root) && !matches!(root, "serde" | "thiserror" | "chrono");
            let outside =
                standard && matches!(second, "env" | "fs" | "io" | "net" | "os" | "process" | "thread");
            let clock = standard && path.iter().any(|part| matches!(*part, "SystemTime" | "Instant"));
            if foreign || outside || clock {
                broken.push("model");
            }
        }
        let web = WEB.iter().any(|name| {
            root.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(['_', '-']))
        });
        if module == "domain" && web {
            broken.push("domain-web");
        }
        let env = matches!(path, ["std", "env", ..] | ["env", ..]);
        if env && path.iter().any(|part| part.starts_with("var")) && module != "settings" {
            broken.push("environment");
        }
        let on_disk =
            matches!(path, ["std" | "tokio" | "rustix", "fs", ..] | ["fs", ..] | ["std", "os", _, "fs", ..]);
        if on_disk && module != "domain" {
            broken.push("disk");
        }
        broken
    }
}

/// As [`lexemes`], with `""` for every literal.
fn tokens(text: &str) -> Vec<String> {
    let blank = |token: String| if token.starts_with('"') { "\"\"".to_owned() } else { token };
    lexemes(text).into_iter().map(blank).collect()
}

/// Words, `::`, and other characters one by one. Comments vanish; a literal is a double quote and what is in it.
pub(crate) fn lexemes(text: &str) -> Vec<String> {
    let text: Vec<char> = text.chars().collect();
    let at = |i: usize| text.get(i).copied().unwrap_or('\0');
    let mut tokens = Vec::new();
    let mut i = 0;
    while i < text.len() {
        match (at(i), at(i + 1)) {
            ('/', '/') => {
                while i < text.len() && at(i) != '\n' {
                    i += 1;
                }
            }
            ('/', '*') => {
                let mut depth = 1;
                i += 2;
                while i < text.len() && depth > 0 {
                    match (at(i), at(i + 1)) {
                        ('/', '*') => (depth, i) = (depth + 1, i + 2),
                        ('*', '/') => (depth, i) = (depth - 1, i + 2),
                        _ => i += 1,
                    }
                }
            }
            ('"', _) => {
                let start = i;
                i += 1;
                while i < text.len() && at(i) != '"' {
                    i += if at(i) == '\\' { 2 } else { 1 };
                }
                tokens.push(text[start..i.min(text.len())].iter().collect());
                i += 1;
            }
            ('\'', second) if second == '\\' || at(i + 2) == '\'' => {
                i += if second == '\\' { 3 } else { 2 };
                while i < text.len() && at(i) != '\'' {
                    i += 1;
                }
                i += 1;
                tokens.push("\"\"".to_owned());
            }
            ('r', '"' | '#') if raw_string_end(&text, i).is_some() => {
                let start = i;
                i = raw_string_end(&text, i).unwrap();
                let inside = text[start..i].iter().collect::<String>();
                tokens.push(format!("\"{}", inside.trim_matches(['r', '#', '"'])));
            }
            (':', ':') => {
                tokens.push("::".to_owned());
                i += 2;
            }
            (first, _) if first.is_alphanumeric() || first == '_' => {
                let start = i;
                while at(i).is_alphanumeric() || at(i) == '_' {
                    i += 1;
                }
                tokens.push(text[start..i].iter().collect());
            }
            (other, _) => {
                if !other.is_whitespace() {
                    tokens.push(other.to_string());
                }
                i += 1;
            }
        }
    }
    tokens
}

fn raw_string_end(text: &[char], start: usize) -> Option<usize> {
    let hashes = text[start + 1..].iter().take_while(|c| **c == '#').count();
    let open = start + 1 + hashes;
    if text.get(open) != Some(&'"') {
        return None;
    }
    let closes = |i: &usize| {
        text[*i] == '"' && text[i + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes
    };
    Some((open + 1..text.len()).find(closes).map_or(text.len(), |i| i + 1 + hashes))
}

/// Tests come last in a file, in a module of that name.
pub(crate) fn without_tests(mut tokens: Vec<String>) -> Vec<String> {
    let marker = ["#", "[", "cfg", "(", "test", ")", "]", "mod", "tests"];
    if let Some(at) = tokens.windows(marker.len()).position(|window| window == marker) {
        tokens.truncate(at);
    }
    tokens
}

pub(crate) fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Reads the path at `at`, import trees flattened, and gives the place behind it.
pub(crate) fn path_from(
    tokens: &[String],
    mut at: usize,
    prefix: &[String],
    found: &mut Vec<Vec<String>>,
) -> usize {
    let mut path = prefix.to_vec();
    path.push(tokens[at].clone());
    at += 1;
    while tokens.get(at).is_some_and(|token| token == "::") {
        match tokens.get(at + 1) {
            Some(word) if is_word(word) => {
                path.push(word.clone());
                at += 2;
            }
            Some(open) if open == "{" => {
                at += 2;
                while at < tokens.len() && tokens[at] != "}" {
                    at = if is_word(&tokens[at]) { path_from(tokens, at, &path, found) } else { at + 1 };
                }
                return at + 1;
            }
            _ => break,
        }
    }
    found.push(path);
    at
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn source_files() -> Vec<PathBuf> {
    let (mut files, mut left) = (Vec::new(), vec![root().join("src")]);
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

fn manifest(name: &str) -> toml::Table {
    fs::read_to_string(root().join(name)).unwrap().parse().unwrap()
}

fn crates() -> BTreeSet<String> {
    manifest("Cargo.toml")["dependencies"]
        .as_table()
        .unwrap()
        .keys()
        .map(|key| key.replace('-', "_"))
        .collect()
}

#[test]
fn every_module_points_the_way_it_should() {
    let crates = crates();
    let mut unneeded: BTreeSet<_> = EXCEPTIONS.iter().map(|(rule, file, _)| (*rule, *file)).collect();
    let mut report = String::new();
    let files = source_files();
    assert!(files.len() > 30, "the walk over src/ found {} files", files.len());
    for path in files {
        let file = path.strip_prefix(root().join("src")).unwrap().to_str().unwrap().to_owned();
        let source = Source::read(&file, &fs::read_to_string(&path).unwrap());
        for Violation { rule, file, what } in source.violations(&crates) {
            let excepted = EXCEPTIONS.iter().find(|(r, f, _)| *r == rule && *f == file);
            match excepted {
                Some((rule, file, _)) => drop(unneeded.remove(&(*rule, *file))),
                None => writeln!(report, "src/{file} breaks the rule '{rule}' with {what}").unwrap(),
            }
        }
    }
    assert!(report.is_empty(), "\n{report}");
    assert!(unneeded.is_empty(), "exceptions that nothing needs any more: {unneeded:?}");
}

#[test]
fn the_checker_catches_every_planted_violation() {
    let planted = [
        ("model", "model/x.rs", "use leptos::prelude::*;"),
        ("model", "model/x.rs", "fn f() { rusqlite::version(); }"),
        ("model", "model.rs", "use std::{fmt, fs::File};"),
        ("model", "model/x.rs", "fn now() { std::time::SystemTime::now(); }"),
        ("direction", "model/x.rs", "use crate::domain::Holdfast;"),
        ("direction", "domain/x.rs", "fn f() -> crate::settings::Settings { g() }"),
        ("direction", "domain.rs", "use crate::{model::Stamp, server::session};"),
        ("direction", "ui/x.rs", "use crate::domain::Holdfast;"),
        ("direction", "ui/pages/x.rs", "use crate::server::router;"),
        ("direction", "cli.rs", "use crate::server;"),
        ("direction", "api.rs", "use crate::ui::table;"),
        ("domain-web", "domain/x.rs", "use axum::Router;"),
        ("domain-web", "domain/x.rs", "use leptos_router::path;"),
        ("domain-web", "domain/dump/x.rs", "fn f(s: http::StatusCode) {}"),
        ("domain-web", "domain/x.rs", "use http;"),
        ("ui-cfg", "ui/x.rs", "#[cfg(feature = \"ssr\")] fn f() {}"),
        ("ui-cfg", "ui/pages/x.rs", "fn f() -> bool { cfg!(target_arch = \"wasm32\") }"),
        ("environment", "server.rs", "fn f() { std::env::var(\"HOME\"); }"),
        ("environment", "cli.rs", "use std::env; fn f() { env::vars_os(); }"),
        ("environment", "domain/x.rs", "use std::{env::{var_os as v}, fmt};"),
        ("environment", "cli.rs", "struct S { #[arg(long, env = \"X\")] x: u8 }"),
        ("environment", "cli.rs", "struct S { #[arg(long, env)] x: u8 }"),
        ("disk", "server/x.rs", "use std::fs::File;"),
        ("disk", "cli.rs", "use std::{fs, io};"),
        ("disk", "api.rs", "async fn f() { tokio::fs::read(p).await; }"),
        ("disk", "server/x.rs", "use rustix::{fs::openat, io::Errno};"),
        ("disk", "server/x.rs", "fn f(p: &Path) { p.exists(); }"),
        ("disk", "ui/x.rs", "use std::os::unix::fs::symlink;"),
        ("rename", "domain/catalog.rs", "fn f() { fs::rename(a, b); }"),
        ("rename", "domain/x.rs", "fn f() { rustix::fs::linkat(d, a, d, b, g); }"),
        ("rename", "domain/x.rs", "fn f() { file.persist(path); }"),
        ("look-up", "domain/sftp/x.rs", "use std::net::{TcpStream, ToSocketAddrs};"),
        ("look-up", "server/x.rs", "async fn f() { tokio::net::lookup_host(host).await; }"),
    ];
    let crates = crates();
    for (rule, file, text) in planted {
        let found = Source::read(file, text).violations(&crates);
        assert!(found.iter().any(|violation| violation.rule == rule), "{file}: {text} gave {found:?}");
    }
}

#[test]
fn the_checker_lets_the_harmless_pass() {
    let harmless = [
        (
            "model/x.rs",
            "// use leptos::prelude::*;\n/* std::fs /* and */ axum::Router */ use serde::Serialize;",
        ),
        ("model/x.rs", "const A: &str = \"use std::fs::File; \\\" http::x\"; const B: char = '\"';"),
        ("model/x.rs", "const A: &str = r#\"a \" use axum::b;\"#; fn f<'a>(url: &'a str) { url.len(); }"),
        ("model/x.rs", "fn f() {}\n#[cfg(test)]\nmod tests { use std::fs; }"),
        ("model/x.rs", "#[derive(thiserror::Error)] #[serde(rename = \"x\")] enum E {}"),
        ("domain/x.rs", "use std::fs::File; use crate::model::Stamp; fn f() { std::env::split_paths(p); }"),
        ("domain/repository/publish.rs", "fn f() { renameat_with(a, b); }"),
        ("ui/x.rs", "use crate::{api::databases, model::Stamp}; fn server() {}"),
        ("settings.rs", "fn f() { std::env::var_os(\"PATH\"); } struct S { #[arg(env = \"X\")] x: u8 }"),
        ("server/x.rs", "use crate::domain::Holdfast; use axum::Router; fn f() { env!(\"X\"); }"),
    ];
    let crates = crates();
    for (file, text) in harmless {
        assert_eq!(Source::read(file, text).violations(&crates), [], "{file}: {text}");
    }
}

#[test]
fn file_names_are_nouns_of_the_domain() {
    for path in source_files() {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let vague = ["utils", "util", "helpers", "helper", "common", "manager", "types", "misc", "mod"];
        assert!(!vague.contains(&name), "{} says nothing of what is in it", path.display());
    }
}

#[test]
fn every_file_opens_by_saying_what_it_is_for() {
    for path in source_files() {
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("//! "), "{} does not", path.display());
    }
}

#[test]
fn the_deployed_options_agree_with_the_package() {
    let at = |table: &toml::Table| table["package"]["metadata"]["leptos"].as_table().unwrap().clone();
    let (deployed, package) = (at(&manifest("Leptos.toml")), at(&manifest("Cargo.toml")));
    assert!(!deployed.is_empty());
    for (key, value) in deployed {
        assert_eq!(Some(&value), package.get(&key), "{key}");
    }
}

/// What reads a stranger's bytes: without it in the lock file, what is said of it would say nothing.
const READERS: [&str; 5] = ["libssh2-sys", "ssh2", "tar", "tokio-postgres", "zip"];

/// The packages of a lock file that `deny.toml` denies, that come from elsewhere than crates.io, or that are not
/// there though something is said of them.
fn denied(lock: &toml::Table, deny: &toml::Table) -> Vec<String> {
    let packages = lock["package"].as_array().unwrap();
    let text =
        |package: &toml::Value, key: &str| package.get(key).map(|value| value.as_str().unwrap().to_owned());
    let number = |part: &str| part.split(['-', '+']).next().unwrap_or_default().parse().unwrap_or(0);
    let parts = |version: &str| version.split('.').map(number).collect::<Vec<u64>>();
    let mut denied = Vec::new();
    for rule in deny["bans"]["deny"].as_array().unwrap() {
        let rule = rule["crate"].as_str().unwrap();
        let (name, floor) = rule.split_once(":<").unwrap_or((rule, ""));
        let versions = packages.iter().filter(|package| package["name"].as_str() == Some(name));
        let below = |version: &String| floor.is_empty() || parts(version) < parts(floor);
        denied.extend(
            versions
                .filter_map(|package| text(package, "version"))
                .filter(below)
                .map(|v| format!("{name} {v}")),
        );
        if READERS.contains(&name) && !packages.iter().any(|package| package["name"].as_str() == Some(name)) {
            denied.push(format!("{name} is not there"));
        }
    }
    let crates_io = "registry+https://github.com/rust-lang/crates.io-index";
    denied.extend(packages.iter().filter_map(|package| {
        let source = text(package, "source")?;
        (source != crates_io).then(|| format!("{} from {source}", package["name"]))
    }));
    denied
}

#[test]
fn no_locked_package_is_denied() {
    assert_eq!(denied(&manifest("Cargo.lock"), &manifest("deny.toml")), [""; 0]);
    // What is said of libssh2-sys is about the libssh2 that comes along; one of the machine's could be any. This
    // cipher came with 1.11, after what distributions of the time had.
    let session = ssh2::Session::new().unwrap();
    let ciphers = session.supported_algs(ssh2::MethodType::CryptCs).unwrap();
    assert!(
        ciphers.contains(&"chacha20-poly1305@openssh.com"),
        "LIBSSH2_SYS_USE_PKG_CONFIG is set: {ciphers:?}"
    );
}

#[test]
fn what_is_too_old_or_missing_or_from_elsewhere_is_denied() {
    let deny = manifest("deny.toml");
    let lock = |changed: &str| -> toml::Table {
        let usual = ["libssh2-sys 0.3.4", "ssh2 0.9.6", "tar 0.4.45", "tokio-postgres 0.7.18", "zip 2.3.0"];
        let name = changed.split(' ').next().unwrap();
        let packages =
            usual.iter().filter(|package| package.split(' ').next() != Some(name)).chain([&changed]);
        let package = |package: &&str| {
            let (name, version) = package.split_once(' ').unwrap();
            format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n")
        };
        packages.map(package).collect::<String>().parse().unwrap()
    };
    for kept in ["zip 2.3.0", "ssh2 0.10.0", "h2 0.4.16", "h2 1.0.0-rc.1", "tokio 1.0.0", "time 0.3.47+x"] {
        assert_eq!(denied(&lock(kept), &deny), [""; 0], "{kept}");
    }
    for refused in
        ["zip 2.2.9", "ssh2 0.9.5", "libssh2-sys 0.3.3", "h2 0.3.99", "time 0.3.46", "tokio-tar 9.0.0"]
    {
        assert_eq!(denied(&lock(refused), &deny), [refused], "{refused}");
    }
    let nothing = denied(&"package = []".parse().unwrap(), &deny);
    assert_eq!(nothing, READERS.map(|name| format!("{name} is not there")));
    let elsewhere =
        "[[package]]\nname = \"x\"\nversion = \"1.0.0\"\nsource = \"git+https://example.org/x\"\n";
    assert!(denied(&elsewhere.parse().unwrap(), &deny).iter().any(|why| why.contains("git+")));
}

/// Words that name an engine, or what belongs to one, in lower case.
const OF_ENGINES: [&str; 7] = ["postgres", "sqlite", "pg_dump", "pg_restore", "pgdmp", "libpq", "psql"];

/// The places outside `domain/engines` that name an engine, and why. One that is not needed any more fails the test.
const NAMING_ENGINES: [(&str, &str); 2] = [
    ("domain/state", "Holdfast's own state database is a SQLite file, whatever it backs up"),
    ("settings.rs", "HOLDFAST_POSTGRES_BIN and its flag are part of the contract"),
];

/// Where the code of a file names an engine, be it by a name of ours or in a string. Comments, tests and the crate of
/// the state database do not count.
fn engines_named(file: &str, text: &str) -> Vec<String> {
    if file == "domain/engines.rs" || file.starts_with("domain/engines/") {
        return Vec::new();
    }
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let names = |text: &String| {
        let text = text.to_lowercase().replace("rusqlite", "");
        OF_ENGINES.iter().any(|word| text.contains(word))
    };
    lexemes(code).into_iter().filter(names).collect()
}

#[test]
fn no_file_outside_the_engines_names_one() {
    let mut unneeded: BTreeSet<_> = NAMING_ENGINES.iter().map(|(place, _)| *place).collect();
    let mut report = String::new();
    for path in source_files() {
        let file = path.strip_prefix(root().join("src")).unwrap().to_str().unwrap().to_owned();
        let found = engines_named(&file, &fs::read_to_string(&path).unwrap());
        if found.is_empty() {
            continue;
        }
        match NAMING_ENGINES.iter().find(|(place, _)| file.starts_with(place)) {
            Some((place, _)) => drop(unneeded.remove(place)),
            None => writeln!(report, "src/{file} names an engine: {found:?}").unwrap(),
        }
    }
    assert!(report.is_empty(), "\n{report}");
    assert!(unneeded.is_empty(), "exceptions that nothing needs any more: {unneeded:?}");
}

#[test]
fn every_way_to_name_an_engine_is_found_and_nothing_else() {
    for (file, text) in [
        ("domain/operations/x.rs", "use crate::domain::engines::postgres::server::Server;"),
        ("model/database.rs", "enum EngineKind { Sqlite }"),
        ("domain/x.rs", "fn f(kind: &EngineKind) -> bool { kind.as_str() == \"sqlite\" }"),
        ("domain/x.rs", "fn f() { Command::new(\"pg_dump\"); }"),
        ("ui/x.rs", "const A: &str = \"A PostgreSQL archive\";"),
        ("cli.rs", "const A: &str = r#\"sqlite:///\"a\"\"#;"),
        ("domain/x.rs", "fn is(bytes: &[u8]) -> bool { bytes.starts_with(b\"PGDMP\") }"),
    ] {
        assert!(!engines_named(file, text).is_empty(), "{file}: {text}");
    }
    for (file, text) in [
        ("domain/engines.rs", "vec![Arc::new(postgres::PostgresEngine)]"),
        ("domain/engines/sqlite/x.rs", "const A: &str = \"SQLite\";"),
        ("domain/accounts.rs", "use rusqlite::Connection; // the SQLite file"),
        ("domain/x.rs", "fn f() {}\n#[cfg(test)]\nmod tests { const A: &str = \"sqlite:///a.db\"; }"),
        ("ui/x.rs", "const A: char = '\"'; fn engine(label: &str) {}"),
    ] {
        assert_eq!(engines_named(file, text), [""; 0], "{file}: {text}");
    }
}
