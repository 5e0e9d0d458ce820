//! Verifying and restoring with the real program, on a real server and on files: what comes back, what is
//! refused, and what is left when it is stopped.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests: the figures they print are read"
)]

mod damage;
mod killed;
mod schemas;

use crate::engines::dumping::{AWKWARD, contents};
use crate::support::desk::contents_of;
use crate::support::holdfast::{Home, bad, good, words};
use crate::support::postgres::{Cluster, PASSWORD, cluster};
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use holdfast::domain::engines::{Cancel, Target};
use holdfast::domain::jobs::Unwatched;
use holdfast::domain::operations::restore::RestoreOptions;
use holdfast::model::BackupName;
use rusqlite::Connection;
use std::fmt::Write as _;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// A shell that knows the cluster and finds its programs.
pub fn shell(cluster: &Cluster, commands: &str) -> Command {
    let mut command = Command::new("sh");
    for (name, value) in cluster.command("psql").get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    command.env("PATH", format!("{}:/usr/bin:/bin", cluster.bin().display())).args(["-ec", commands]);
    command
}

pub fn sqlite_url(path: &Path) -> String {
    format!("sqlite://{}", path.display())
}

pub fn exists(cluster: &Cluster, database: &str) -> bool {
    cluster.psql("postgres", &format!("SELECT count(*) FROM pg_database WHERE datname = '{database}'")).trim()
        == "1"
}

/// Scratch databases nobody works with any more.
pub fn leftovers(cluster: &Cluster) -> String {
    cluster.psql(
        "postgres",
        "SELECT datname FROM pg_database d WHERE datname LIKE 'holdfast\\_restore\\_%' AND NOT EXISTS
             (SELECT FROM pg_stat_activity a WHERE a.application_name = d.datname)",
    )
}

pub fn no_leftovers(cluster: &Cluster) {
    let began = Instant::now();
    while !leftovers(cluster).is_empty() {
        assert!(began.elapsed() < Duration::from_secs(10), "{}", leftovers(cluster));
        thread::sleep(Duration::from_millis(100));
    }
}

/// Every row of every table, in order, with what SQLite keeps beside them.
fn all_of(path: &Path) -> Vec<String> {
    let connection = Connection::open(path).unwrap();
    let lines = |sql: &str| -> Vec<String> {
        let mut statement = connection.prepare(sql).unwrap();
        let columns = statement.column_count();
        let rows = statement.query_map((), |row| {
            Ok((0..columns)
                .map(|at| format!("{:?}", row.get_ref(at).unwrap()))
                .collect::<Vec<_>>()
                .join("\t"))
        });
        rows.unwrap().map(Result::unwrap).collect()
    };
    let mut all = lines("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name");
    for pragma in ["user_version", "application_id", "page_size", "encoding", "auto_vacuum"] {
        all.extend(lines(&format!("PRAGMA {pragma}")));
    }
    let mut names =
        connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").unwrap();
    for name in names.query_map((), |row| row.get::<_, String>(0)).unwrap() {
        let name = name.unwrap();
        all.extend(lines(&format!(
            "SELECT '{0}', * FROM \"{1}\"",
            name.replace('\'', "''"),
            name.replace('"', "\"\"")
        )));
    }
    all
}

/// A small backup of each engine, and the home they lie in.
pub fn two_backups(cluster: &Cluster, name: &str) -> (Home, [String; 2]) {
    cluster.create_database(name);
    cluster.psql(name, "CREATE TABLE t AS SELECT i, md5(i::text) FROM generate_series(1, 2000) i");
    let home = tempfile::tempdir().unwrap().keep();
    let path = home.join("s.db");
    Connection::open(&path)
        .unwrap()
        .execute_batch(
            "CREATE TABLE t (a, b); WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 2000)
             INSERT INTO t SELECT n, hex(randomblob(10)) FROM n;",
        )
        .unwrap();
    let ground = Home::new(&format!("p={} s={}", cluster.url(name), sqlite_url(&path)));
    let files = ["p", "s"].map(|database| ground.backup(database));
    fs::remove_dir_all(home).unwrap();
    (ground, files)
}

/// Random numbers (`SplitMix64`), from a seed that is printed.
pub struct Random(pub u64);

impl Random {
    fn new() -> Self {
        let seed = std::process::id();
        Self(RandomState::new().hash_one(seed))
    }

    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((z ^ (z >> 31)) % end as u64).unwrap()
    }
}

#[test]
fn what_is_there_is_replaced_only_when_asked_and_kept_as_a_backup() {
    let cluster = cluster();
    let (ground, [postgres, sqlite]) = two_backups(&cluster, "over");
    let url = cluster.url("over");
    cluster.psql("over", "DROP TABLE t; CREATE TABLE later AS SELECT 4711 AS a");
    let later = contents(&cluster, "over");
    let said = bad(ground.restore(&postgres, &url, &[]));
    assert!(said.contains("--overwrite") && contents(&cluster, "over") == later, "{said}");
    // Somebody is connected, and idle.
    let mut idle = cluster
        .command("psql")
        .env("PGDATABASE", "over")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let said = good(ground.restore(&postgres, &url, &["--overwrite"]));
    idle.kill().unwrap();
    idle.wait().unwrap();
    assert_eq!(cluster.psql("over", "SELECT count(*) FROM t").trim(), "2000");
    let kept = said.split_once("is kept as ").unwrap().1.split_once(".\n").unwrap().0;
    assert!(kept.starts_with("backup_p_"), "{kept}");
    good(ground.restore(kept, &cluster.url("undone"), &[]));
    assert_eq!(contents(&cluster, "undone"), later);
    no_leftovers(&cluster);

    for journal in ["DELETE", "WAL"] {
        for page_size in [4096, 1024] {
            let target = ground.at(&format!("over-{journal}-{page_size}.db"));
            let app = Connection::open(&target).unwrap();
            app.execute_batch(&format!("PRAGMA page_size = {page_size}; PRAGMA journal_mode = {journal}; CREATE TABLE later (a); INSERT INTO later VALUES (4711)")).unwrap();
            let later = all_of(&target);
            let said = bad(ground.restore(&sqlite, &sqlite_url(&target), &[]));
            assert!(said.contains("--overwrite") && all_of(&target) == later, "{said}");
            // Its program is in the middle of something.
            app.execute_batch("BEGIN IMMEDIATE; INSERT INTO later VALUES (1)").unwrap();
            let said = bad(ground.restore(&sqlite, &sqlite_url(&target), &["--overwrite"]));
            assert!(said.contains("locked"), "{said}");
            app.execute_batch("ROLLBACK").unwrap();
            assert_eq!(all_of(&target), later);
            drop(app);
            let said = good(ground.restore(&sqlite, &sqlite_url(&target), &["--overwrite"]));
            let rows = Connection::open(&target)
                .unwrap()
                .query_row("SELECT count(*) FROM t", (), |row| row.get::<_, i64>(0));
            assert_eq!(rows.unwrap(), 2000);
            let kept = said.split_once("is kept as ").unwrap().1.split_once(".\n").unwrap().0;
            let undone = ground.at(&format!("undone-{journal}-{page_size}.db"));
            good(ground.restore(kept, &sqlite_url(&undone), &[]));
            assert_eq!(all_of(&undone), later);
        }
    }
    // What a database that is gone left behind would spoil a new one.
    let target = ground.at("gone.db");
    fs::write(ground.at("gone.db-journal"), "x").unwrap();
    let said = bad(ground.restore(&sqlite, &sqlite_url(&target), &[]));
    assert!(said.contains("gone.db-journal") && !target.exists(), "{said}");
    let said = bad(ground.restore(&postgres, &sqlite_url(&ground.at("x.db")), &[]));
    assert!(said.contains("is for another engine"), "{said}");
}

/// A `pg_restore` in a directory of its own that runs `script`, with the real one at hand as `$REAL`.
fn tool(ground: &Home, cluster: &Cluster, script: &str) -> PathBuf {
    let bin = ground.at("bin");
    fs::create_dir_all(&bin).unwrap();
    let path = bin.join("pg_restore");
    let real = cluster.bin().join("pg_restore");
    fs::write(&path, format!("#!/bin/sh\nREAL={}\n{script}\n", real.display())).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    bin
}

#[test]
fn an_interrupted_restore_changes_nothing_and_clears_away() {
    // A server of its own, on which no other test's scratch database is.
    let cluster = Cluster::start();
    let (ground, [postgres, _]) = two_backups(&cluster, "stopped");
    let before = contents(&cluster, "stopped");
    let bin = tool(&ground, &cluster, "[ \"$1\" = --no-password ] && sleep 60\nexec \"$REAL\" \"$@\"");
    let mut command = ground.restore(&postgres, &cluster.url("stopped"), &["--overwrite"]);
    command.env("HOLDFAST_POSTGRES_BIN", bin).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let began = Instant::now();
    let made = "SELECT count(*) FROM pg_database WHERE datname LIKE 'holdfast\\_restore\\_%'";
    while cluster.psql("postgres", made).trim() == "0" {
        assert!(began.elapsed() < Duration::from_secs(20), "the restore never began");
        thread::sleep(Duration::from_millis(20));
    }
    let began = Instant::now();
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert!(!output.status.success() && words(&output).contains("Cancelled"), "{}", words(&output));
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(cluster.psql("postgres", made).trim(), "0");
    assert_eq!(contents(&cluster, "stopped"), before);
    assert_eq!(contents_of(&ground.at("data/run")), [""; 0]);
}

/// Has another program run a command, in that command's surroundings.
fn run_in(outer: &mut Command, inner: &Command) {
    outer.arg(inner.get_program()).args(inner.get_args()).env_clear();
    outer.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
}

/// Runs a restore into a directory that is a disk of its own, of so many KB, on which `old` lies as `target.db`.
/// Gives what was said, what lies there afterwards, and how it ended.
fn on_a_small_disk(ground: &Home, file: &str, kilobytes: u32, old: Option<&Path>) -> (String, bool) {
    const SCRIPT: &str = r#"
        mount -t tmpfs -o size="$KILOBYTES"k tmpfs "$DISK" || exit 99
        [ -z "$OLD" ] || cp "$OLD" "$DISK/target.db"
        "$@"; status=$?
        echo there: $(ls -A "$DISK")
        [ -z "$OLD" ] || echo rows: $(sqlite3 "$DISK/target.db" 'SELECT count(*) FROM later')
        exit $status
    "#;
    let disk = ground.at("disk");
    fs::create_dir_all(&disk).unwrap();
    let into = sqlite_url(&disk.join("target.db"));
    let restore = ground.restore(file, &into, if old.is_some() { &["--overwrite"] } else { &[] });
    let mut command = Command::new("unshare");
    let as_root = rustix::process::geteuid().is_root();
    command.args(if as_root { &["-m"][..] } else { &["-rm"] }).args(["sh", "-c", SCRIPT, "sh"]);
    run_in(&mut command, &restore);
    command
        .env("DISK", &disk)
        .env("KILOBYTES", kilobytes.to_string())
        .env("OLD", old.unwrap_or(Path::new("")));
    let output = command.output().unwrap();
    assert_ne!(output.status.code(), Some(99), "no small disk could be mounted: {}", words(&output));
    (words(&output), output.status.success())
}

#[test]
fn a_full_disk_stops_a_restore_and_changes_nothing() {
    let home = Home::new("");
    let (path, old) = (home.at("s.db"), home.at("old.db"));
    crate::support::desk::dense_database(&path, 2000);
    let later = Connection::open(&old).unwrap();
    later.execute_batch("CREATE TABLE later (a); INSERT INTO later VALUES (4711)").unwrap();
    let ground = home.told(format!("s={}", sqlite_url(&path)));
    let file = ground.backup("s");
    let (said, done) = on_a_small_disk(&ground, &file, 1000, None);
    assert!(!done && said.contains("make room") && said.contains("there:\n"), "{said}");
    // There is room to unpack it, but not to put it into place.
    let (said, done) = on_a_small_disk(&ground, &file, 3000, Some(&old));
    assert!(!done && said.contains("full") && said.contains("was not changed"), "{said}");
    assert!(said.contains("there: target.db\n") && said.contains("rows: 1\n"), "{said}");
    // The control: with room for both, the same goes well.
    let (said, done) = on_a_small_disk(&ground, &file, 9000, None);
    assert!(done && said.contains("there: target.db\n"), "{said}");
}

/// Ends the server's sessions that match, again and again, until the restore has ended. Gives what it said, and how
/// many sessions were ended.
fn losing(cluster: &Cluster, mut restore: Command, whose: &str) -> (String, u64) {
    let mut child = restore.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut ended = 0;
    while child.try_wait().unwrap().is_none() {
        let end = format!("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE {whose}");
        ended += cluster.psql("postgres", &end).trim().parse::<u64>().unwrap();
    }
    (words(&child.wait_with_output().unwrap()), ended)
}

#[test]
fn a_lost_connection_leaves_the_old_or_nothing() {
    let cluster = cluster();
    cluster.create_database("lost");
    cluster.psql("lost", "CREATE TABLE t AS SELECT g, md5(g::text) FROM generate_series(1, 300000) g");
    let ground = Home::new(&format!("p={}", cluster.url("lost")));
    let file = ground.backup("p");
    cluster.psql("lost", "DROP TABLE t; CREATE TABLE later AS SELECT 4711 AS a");
    for (whose, over) in [
        ("datname ~ '^holdfast_restore_'", false),
        ("datname ~ '^holdfast_restore_'", true),
        ("application_name ~ '^holdfast_restore_' AND datname = 'postgres'", true),
    ] {
        let (into, more) = if over { ("lost", &["--overwrite"][..]) } else { ("found", &[][..]) };
        let (said, ended) = losing(&cluster, ground.restore(&file, &cluster.url(into), more), whose);
        assert!(ended > 0, "no session was ended in time: {said}");
        assert!(!said.contains(PASSWORD), "{whose}: {said}");
        assert!(!exists(&cluster, "found"), "{said}");
        // The session that only keeps watch is made anew as often as it is lost: what was restored may come to stay.
        if whose.contains("application_name") && said.contains("is restored into") {
            assert_eq!(cluster.psql("lost", "SELECT count(*) FROM t").trim(), "300000", "{said}");
            continue;
        }
        assert!(!said.contains("is restored into"), "{whose}: {said}");
        assert_eq!(cluster.psql("lost", "SELECT a FROM later").trim(), "4711", "{said}");
    }
    // What the last one left, the next one clears away.
    good(ground.restore(&file, &cluster.url("found"), &[]));
    assert_eq!(cluster.psql("found", "SELECT count(*) FROM t").trim(), "300000");
    no_leftovers(&cluster);
}

#[test]
fn what_is_replaced_keeps_its_icu_locale() {
    let cluster = cluster();
    cluster.psql(
        "postgres",
        "CREATE DATABASE icu TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'de-AT' LOCALE 'C.UTF-8'",
    );
    cluster.psql("icu", "CREATE TABLE t AS SELECT 1 AS a");
    let ground = Home::new(&format!("p={}", cluster.url("icu")));
    let file = ground.backup("p");
    good(ground.restore(&file, &cluster.url("icu"), &["--overwrite"]));
    let locale = "SELECT to_jsonb(d) ->> 'datlocprovider', coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale')
                  FROM pg_database d WHERE datname = 'icu'";
    assert_eq!(cluster.psql("postgres", locale).trim(), "i\tde-AT");
}

#[test]
fn the_wrong_tool_and_the_wrong_password_are_named_and_no_password_is_seen() {
    let cluster = cluster();
    let (ground, [postgres, _]) = two_backups(&cluster, "named");
    let bin = ground.at("bin");
    let tool = |script: &str| drop(tool(&ground, &cluster, script));
    let with_tool = |mut command: Command| {
        command.env("HOLDFAST_POSTGRES_BIN", &bin);
        command
    };
    let mut asked = Command::new(cluster.bin().join("pg_restore"));
    asked.arg("--version");
    let version = good(asked);
    let version = version.split_whitespace().nth(2).unwrap();
    tool("echo 'pg_restore (PostgreSQL) 9.6.24'");
    for command in
        [ground.program(&["verify", &postgres]), ground.restore(&postgres, &cluster.url("new-named"), &[])]
    {
        let said = bad(with_tool(command));
        assert!(said.contains("9.6.24") && said.contains(version), "{said}");
    }

    let seen = ground.at("seen");
    tool(&format!(
        "[ \"$1\" = --version ] && exec \"$REAL\" \"$@\"\n\
         {{ env; for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline; echo; done; }} >> {} 2>/dev/null\nexec \"$REAL\" \"$@\"",
        seen.display()
    ));
    good(with_tool(ground.restore(&postgres, &cluster.url("new-named"), &[])));
    let seen = fs::read_to_string(&seen).unwrap();
    assert!(seen.contains("--use-list=") && seen.contains("PGDATABASE=holdfast_restore_"));
    assert!(!seen.contains("c4n") && !seen.contains("new-named"), "a secret or a name was seen");

    let wrong = cluster.url("other").replace("c4n", "c5n");
    let said = bad(ground.restore(&postgres, &wrong, &[]));
    assert!(said.contains("rejected the password") && said.contains("HOLDFAST_RESTORE_INTO"), "{said}");
    let said = bad(ground.restore(&postgres, "postgres://u:c4n@h", &[]));
    assert!(said.contains("names no database"), "{said}");
    cluster.psql("postgres", "CREATE ROLE weak LOGIN PASSWORD 'x'");
    let weak = format!("postgres://weak:x@127.0.0.1:{}/other", cluster.port);
    let said = bad(ground.restore(&postgres, &weak, &[]));
    assert!(said.contains("ALTER ROLE \"weak\" CREATEDB"), "{said}");
    let said = bad(ground.restore(&postgres, &cluster.url("template1"), &["--overwrite"]));
    assert!(said.contains("one of PostgreSQL's own"), "{said}");
    assert_eq!(contents_of(&ground.at("data/run")), [""; 0]);
}

#[test]
fn nothing_is_restored_onto_holdfasts_own_files_but_its_state_while_it_is_stopped() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("s.db");
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();
    let ground = Home::new(&format!("s={}", sqlite_url(&path)));
    let file = ground.backup("s");
    std::os::unix::fs::symlink(ground.at("data/audit.jsonl"), ground.at("link.db")).unwrap();
    for (target, words) in [
        ("data/key", "is in the data directory of this Holdfast"),
        ("data/new.db", "is in the data directory of this Holdfast"),
        ("link.db", "is in the data directory of this Holdfast"),
        ("data/backups/new.db", "is in the backup directory of this Holdfast"),
    ] {
        let said = bad(ground.restore(&file, &sqlite_url(&ground.at(target)), &["--overwrite"]));
        assert!(said.contains(words), "{target}: {said}");
    }
    assert!(
        !ground.at("data/key").exists()
            && !ground.at("data/new.db").exists()
            && !ground.at("data/backups/new.db").exists()
    );
    let state = sqlite_url(&ground.at("data/holdfast.db"));
    let holdfast = ground.holdfast();
    let server = holdfast.begin_serving().unwrap();
    bad(ground.restore(&file, &state, &["--overwrite"]));
    drop(server);
    holdfast.own_files().keep(&Target::of_file(ground.at("data/holdfast.db"))).unwrap();
}
