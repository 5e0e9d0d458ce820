//! The engines against real databases, and against dump tools that lie.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "tests: the figures they print are read, and a helper process is told by its environment"
)]

use crate::support::alone::test_alone;
use crate::support::holdfast::PROGRAM;
use crate::support::postgres::{Cluster, PASSWORD, cluster};
use holdfast::domain::databases::list::parse_databases;
use holdfast::domain::engines::postgres::archive::{Checker, Verdict};
use holdfast::domain::engines::postgres::database::Postgres;
use holdfast::domain::engines::postgres::server::Server;
use holdfast::domain::engines::postgres::tools::PostgresTools;
use holdfast::domain::engines::sqlite::database::Sqlite;
use holdfast::domain::engines::{Cancel, Database, Engines, Target};
use holdfast::domain::error::Error;
use holdfast::model::DatabaseName;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub fn engine(url: &str, tools: &PostgresTools) -> Arc<dyn Database> {
    located("shop".parse().unwrap(), &Target::parse(url).unwrap(), tools)
}

/// The database there, worked with by these tools.
fn located(name: DatabaseName, target: &Target, tools: &PostgresTools) -> Arc<dyn Database> {
    match target.as_any().downcast_ref::<Server>() {
        Some(server) => Arc::new(Postgres::new(name, server.clone(), tools.clone(), "HOLDFAST_DATABASES")),
        None => Arc::new(Sqlite::new(name, target.file().unwrap().to_owned())),
    }
}

pub fn tools(home: &TempDir) -> PostgresTools {
    PostgresTools::new(None, home.path().join("run"), std::env::var_os("PATH").unwrap())
}

/// Dumps to the end; the bytes and the warnings.
pub fn dump(engine: &dyn Database) -> Result<(Vec<u8>, Option<String>), Error> {
    let scratch = tempfile::tempdir().unwrap();
    let mut dump = engine.begin(scratch.path(), &Cancel::default())?;
    let mut bytes = Vec::new();
    dump.read_to_end(&mut bytes).unwrap();
    let warnings = dump.finish()?.warnings;
    Ok((bytes, warnings))
}

pub fn verdict(bytes: &[u8]) -> Verdict {
    let mut checker = Checker::new();
    // In pieces of odd sizes, so that fields fall apart.
    for piece in bytes.chunks(4093) {
        checker.feed(piece);
    }
    checker.verdict()
}

/// Cuts an archive in 100 random places, and at every one of its last bytes, and adds one.
fn no_part_is_whole(bytes: &[u8]) {
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    let mut cuts: Vec<usize> = (bytes.len() - 40..bytes.len()).collect();
    cuts.extend((0..100).map(|_| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(random >> 16).unwrap() % bytes.len()
    }));
    cuts.sort_unstable();
    let (mut checker, mut fed) = (Checker::new(), 0);
    for cut in cuts {
        checker.feed(&bytes[fed..cut]);
        fed = cut;
        assert_ne!(checker.verdict(), Verdict::Whole, "cut at {cut} of {}", bytes.len());
    }
    checker.feed(&bytes[fed..]);
    assert_eq!(checker.verdict(), Verdict::Whole);
    checker.feed(b"x");
    assert_ne!(checker.verdict(), Verdict::Whole);
}

/// Every table's name, row count and a hash over its rows in order; large objects; the sequences' values.
pub fn contents(cluster: &Cluster, database: &str) -> String {
    // A name may hold a line break, so a statement goes through a shell's line in hexadecimal.
    let statements = cluster.psql(
        database,
        "SELECT replace(encode(convert_to(format('SELECT %L, count(*), md5(string_agg(h, '''' ORDER BY h)) FROM
             (SELECT md5(t::text) AS h FROM %I.%I t) x', format('%I.%I', n.nspname, c.relname), n.nspname, c.relname),
             'UTF8'), 'hex'), E'\\n', '')
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind IN ('r', 'p', 'm', 'v') AND n.nspname !~ '^pg_|^information_schema$'
         ORDER BY n.nspname COLLATE \"C\", c.relname COLLATE \"C\"",
    );
    let mut all = String::new();
    for statement in statements.lines() {
        let bytes: Vec<u8> = (0..statement.len() / 2)
            .map(|i| u8::from_str_radix(&statement[2 * i..2 * i + 2], 16).unwrap())
            .collect();
        all += &cluster.psql(database, &(String::from_utf8(bytes).unwrap() + ";"));
    }
    all + &cluster.psql(
        database,
        "SELECT loid, md5(string_agg(data, ''::bytea ORDER BY pageno)) FROM pg_largeobject GROUP BY 1 ORDER BY 1;
         SELECT schemaname, sequencename, last_value FROM pg_sequences ORDER BY 1, 2;
         SELECT indexdef FROM pg_indexes WHERE schemaname !~ '^pg_' ORDER BY indexdef COLLATE \"C\";
         SELECT pg_get_functiondef(p.oid) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
         WHERE n.nspname !~ '^pg_|^information_schema$' ORDER BY 1",
    )
}

pub const AWKWARD: &str = r#"
CREATE SCHEMA "we=ird ""schema""";
CREATE TABLE "we=ird ""schema"""."x
\! touch /tmp/holdfast-pwned" ("a'b" int PRIMARY KEY, "c""d" text, "$(x)" text, "50%" numeric, "\\" bytea);
INSERT INTO "we=ird ""schema"""."x
\! touch /tmp/holdfast-pwned"
    SELECT i, E'tab\there \\. \\N ''quoted'' "double" ü 🦀 ' || i, E'line\nbreak\r\n' || i, i / 3.0, decode(md5(i::text), 'hex')
    FROM generate_series(1, 1000) i;
CREATE TABLE "x=y" ("dbname=postgres" text DEFAULT '$(x)', "`date`" timestamptz, "%s" jsonb, n int[]);
INSERT INTO "x=y" VALUES ('\.', '2026-11-23 02:41:07+01', '{"a": [1, null, "\u00fc"]}', '{1,2,NULL}'), (NULL, NULL, NULL, NULL);
CREATE TABLE "empty; DROP TABLE x" ();
CREATE TABLE "Ünïcødé 表" (id serial, big bytea, g int GENERATED ALWAYS AS (id * 2) STORED);
INSERT INTO "Ünïcødé 表" (big)
    SELECT string_agg(decode(md5(i::text), 'hex'), ''::bytea) FROM generate_series(1, 655360) i;
CREATE TABLE parted (k int, v text) PARTITION BY RANGE (k);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (100);
CREATE TABLE "parted 2" PARTITION OF parted FOR VALUES FROM (100) TO (200);
INSERT INTO parted SELECT i, 'v' || i FROM generate_series(0, 199) i;
CREATE MATERIALIZED VIEW "mat view" AS SELECT k, count(*) FROM parted GROUP BY k;
CREATE VIEW "v'iew" AS SELECT * FROM "x=y";
CREATE INDEX "in""dex" ON parted (v);
CREATE FUNCTION "f$(x)"(int) RETURNS int LANGUAGE sql AS 'SELECT $1 + 1';
COMMENT ON TABLE "x=y" IS E'a comment\n\\! with a newline';
SELECT lo_from_bytea(1000 + i, decode(repeat(md5(i::text), 1 + i * 300), 'hex')) FROM generate_series(1, 40) i;
SELECT lo_create(4000000000);
COMMENT ON LARGE OBJECT 1001 IS 'the first';
"#;

#[test]
fn the_program_backs_up_a_server_into_its_default_directory() {
    let cluster = cluster();
    for name in ["shipped", "unpacked"] {
        cluster.create_database(name);
    }
    cluster.psql("shipped", "CREATE TABLE t AS SELECT generate_series(1, 1000) AS a");
    let home = tempfile::tempdir().unwrap();
    // As a new user does: in a directory of their own, with nothing set but the database.
    let made = Command::new(PROGRAM)
        .args(["backup", "shop"])
        .current_dir(home.path())
        .env_remove("HOLDFAST_DATA_DIR")
        .env_remove("HOLDFAST_BACKUP_DIR")
        .env("HOLDFAST_DATABASES", format!("shop={}", cluster.url("shipped")))
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "{words}");
    assert!(!words.contains(PASSWORD));
    let file = home.path().join("data/backups").join(String::from_utf8(made.stdout).unwrap().trim());
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(fs::File::open(&file).unwrap()).read_to_end(&mut bytes).unwrap();
    let archive = home.path().join("archive");
    fs::write(&archive, &bytes).unwrap();
    cluster.restore(&archive, "unpacked");
    assert_eq!(cluster.psql("unpacked", "SELECT count(*), sum(a) FROM t").trim(), "1000\t500500");
    assert_eq!(
        fs::read_dir(home.path().join("data/run")).unwrap().count(),
        0,
        "no password stays on the disk"
    );
}

#[test]
fn every_postgres_backup_restores_to_the_same_contents() {
    let cluster = cluster();
    let home = tempfile::tempdir().unwrap();
    let weird = "we=ird \"x\" \\! ü";
    let config = "host=127.0.0.1 port=1 dbname=x";
    for name in ["bench", weird, "nothing", config] {
        cluster.create_database(name);
    }
    let filled =
        cluster.command("pgbench").env("PGDATABASE", "bench").args(["-i", "-q", "-s", "5"]).output().unwrap();
    assert!(filled.status.success(), "{}", String::from_utf8_lossy(&filled.stderr));
    cluster.psql(weird, AWKWARD);
    cluster.psql(config, "CREATE TABLE t AS SELECT generate_series(1, 10) AS a");

    for (number, name) in ["bench", weird, "nothing", config].into_iter().enumerate() {
        for url in [cluster.url(name), cluster.socket_url(name)] {
            let engine = engine(&url, &tools(&home));
            let probe = engine.probe().unwrap();
            assert_eq!(probe.warning, None);
            assert!(
                probe.version.starts_with(|c: char| c.is_ascii_digit()) && probe.size > 1_000_000,
                "{probe:?}"
            );
            let (bytes, warnings) = dump(&*engine).unwrap();
            assert_eq!(warnings, None, "{name}");

            let archive = home.path().join("archive");
            fs::write(&archive, &bytes).unwrap();
            let copy = format!("copy{number}");
            cluster.create_database(&copy);
            cluster.restore(&archive, &copy);
            let (before, after) = (contents(&cluster, name), contents(&cluster, &copy));
            assert_eq!(before, after, "{name}");
            assert!(name == "nothing" || before.contains('\t'), "{before}");
            println!("{name}: {} bytes, {} lines of contents are equal", bytes.len(), before.lines().count());
            cluster.psql("postgres", &format!("DROP DATABASE \"{copy}\""));

            assert_eq!(verdict(&bytes), Verdict::Whole, "{name}");
            no_part_is_whole(&bytes);
        }
    }
    assert!(!Path::new("/tmp/holdfast-pwned").exists());
    assert_eq!(fs::read_dir(home.path().join("run")).unwrap().count(), 0, "a password file was left");
}

#[test]
fn a_password_appears_in_no_argument_and_no_message() {
    let cluster = cluster();
    let home = tempfile::tempdir().unwrap();
    cluster.create_database("secret");
    cluster
        .psql("secret", "CREATE TABLE t AS SELECT repeat(md5(i::text), 40) FROM generate_series(1, 20000) i");
    let engine = engine(&cluster.url("secret"), &tools(&home));
    assert!(!engine.address().contains("c4n"), "{}", engine.address());

    let scratch = tempfile::tempdir().unwrap();
    let cancel = Cancel::default();
    let mut dump = engine.begin(scratch.path(), &cancel).unwrap();
    assert!(dump.read(&mut [0; 1000]).unwrap() > 0);
    // The pipe is full, so the tool waits for us and can be looked at.
    let running = children(|line| line.contains("pg_dump"));
    assert_eq!(running.len(), 1, "{running:?}");
    let line = &running[0].1;
    assert!(!line.contains("c4n") && !line.contains("secret") && !line.contains("holdfast-test"), "{line}");
    assert!(children(|line| line.contains("c4n")).is_empty());
    let environment = fs::read(format!("/proc/{}/environ", running[0].0)).unwrap();
    assert!(!String::from_utf8_lossy(&environment).contains("c4n"));
    let run: Vec<_> =
        fs::read_dir(home.path().join("run")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(run.len(), 1);
    assert_eq!(fs::metadata(&run[0]).unwrap().permissions().mode() & 0o777, 0o600);

    // A cancel really ends it.
    let pid = running[0].0;
    cancel.cancel();
    let began = Instant::now();
    let mut rest = Vec::new();
    dump.read_to_end(&mut rest).unwrap();
    assert!(matches!(dump.finish(), Err(Error::Cancelled)));
    assert!(began.elapsed() < Duration::from_secs(2));
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    assert!(!run[0].exists());

    // And so does letting go of it.
    let dump = engine.begin(scratch.path(), &Cancel::default()).unwrap();
    let pid = children(|line| line.contains("pg_dump"))[0].0;
    drop(dump);
    assert!(!Path::new(&format!("/proc/{pid}")).exists());

    // Every way to be refused says why, and never the password.
    let port = cluster.port;
    let encoded = cluster.url("secret");
    let wrong = encoded.replace("c4n", "c5n");
    cluster.psql(
        "postgres",
        "CREATE ROLE locked LOGIN PASSWORD 'x'; REVOKE CONNECT ON DATABASE secret FROM public",
    );
    for (url, words) in [
        (wrong.clone(), "rejected the password"),
        (encoded.replace("/secret", "/absent"), "has no database \"absent\""),
        (encoded.replace("holdfast%2Dtest", "nobody"), "rejected the password"),
        (format!("postgres://holdfast-test@127.0.0.1:{port}/secret"), "asks for the password"),
        (format!("postgres://locked:x@127.0.0.1:{port}/secret"), "permission denied"),
        (encoded.replace(&format!(":{port}/"), ":1/"), "nothing listens at 127.0.0.1:1"),
        (encoded.replace("127.0.0.1", "%2Fnonexistent"), "there is no PostgreSQL socket in /nonexistent"),
        (encoded.replace("127.0.0.1", "no-such-host.invalid"), "no-such-host.invalid"),
    ] {
        for error in [
            self::engine(&url, &tools(&home)).probe().unwrap_err(),
            self::dump(&*self::engine(&url, &tools(&home))).unwrap_err(),
        ] {
            let said = format!("{error} {error:?} {:?}", error.detail());
            assert!(said.contains(words), "{said}");
            assert!(!said.contains("c4n") && !said.contains("c5n") && !said.contains(PASSWORD), "{said}");
        }
    }
    assert_eq!(fs::read_dir(home.path().join("run")).unwrap().count(), 0);
}

/// Not a test of its own: the process that `a_killed_holdfast_takes_its_dump_tool_along` kills. Prints the
/// numbers of the dump tool and of an ordinary child.
#[test]
fn holds_a_dump_open() {
    // Does nothing by itself: the next test starts it as a process of its own, to kill it.
    let (Ok(url), Some(bin)) = (std::env::var("HELD_URL"), std::env::var_os("HELD_BIN")) else { return };
    let bin = PathBuf::from(bin);
    let engine =
        engine(&url, &PostgresTools::new(Some(bin.clone()), bin.join("run"), OsString::from("/usr/bin")));
    // On a thread that ends, as a pool's may: the tool must live on.
    let begin = move || engine.begin(Path::new("/"), &Cancel::default()).unwrap();
    let mut dump = thread::spawn(begin).join().unwrap();
    thread::sleep(Duration::from_millis(300));
    assert!(dump.read(&mut [0; 1000]).unwrap() > 0);
    let tool = children(|line| line.contains("sleep 61"))[0].0;
    #[expect(clippy::zombie_processes, reason = "this process is killed first; that is the point")]
    let ordinary = Command::new("sleep").arg("62").spawn().unwrap();
    println!("\nholding {tool} {}", ordinary.id());
    thread::sleep(Duration::from_mins(1));
}

#[test]
fn a_killed_holdfast_takes_its_dump_tool_along() {
    let cluster = cluster();
    // The real one would notice its broken pipe; this one never writes again.
    let sleeper = Liar::new(&cluster, "printf PGDMP; exec sleep 61");
    let mut holder = test_alone(module_path!(), "holds_a_dump_open")
        .env("HELD_URL", cluster.url("postgres"))
        .env("HELD_BIN", sleeper.home.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let pids = BufReader::new(holder.stdout.take().unwrap())
        .lines()
        .find_map(|line| line.unwrap().strip_prefix("holding ").map(str::to_owned))
        .unwrap();
    let (tool, ordinary) = pids.split_once(' ').unwrap();
    let alive = |pid: &str| {
        fs::read_to_string(format!("/proc/{pid}/stat"))
            .is_ok_and(|stat| stat.contains("(sleep)") && !stat.contains(") Z"))
    };
    assert!(alive(tool) && alive(ordinary));
    holder.kill().unwrap();
    holder.wait().unwrap();
    let began = Instant::now();
    while alive(tool) {
        assert!(began.elapsed() < Duration::from_secs(2), "the dump tool outlived its master");
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(fs::read_dir(&sleeper.tools.run_dir).unwrap().count(), 1, "the dead cannot clean up");
    sleeper.tools.sweep_run_dir().unwrap();
    assert_eq!(fs::read_dir(&sleeper.tools.run_dir).unwrap().count(), 0);
    assert!(alive(ordinary), "the control died too, so nothing is shown");
    assert!(Command::new("kill").arg(ordinary).status().unwrap().success());
}

/// What a look warns of is what `pg_dump` fails on, and nothing else.
#[test]
fn a_look_tells_beforehand_what_the_role_may_not_read() {
    let cluster = cluster();
    cluster.create_database("rights");
    cluster.psql("rights", "CREATE ROLE clerk LOGIN PASSWORD 'x'");
    let home = tempfile::tempdir().unwrap();
    let url = format!("postgres://clerk:x@127.0.0.1:{}/rights", cluster.port);
    let engine = engine(&url, &tools(&home));
    let open = "CREATE TABLE open (a int); GRANT SELECT ON open TO clerk;";
    let grant = "GRANT SELECT ON ALL TABLES IN SCHEMA public TO clerk; GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO clerk;";
    for (change, closed) in [
        (open, None),
        ("CREATE TABLE \"Pay roll\" (a int)", Some("public.\"Pay roll\"")),
        (grant, None),
        ("CREATE TABLE counted (a serial); GRANT SELECT ON counted TO clerk", Some("public.counted_a_seq")),
        (grant, None),
        (
            "CREATE SCHEMA hidden; CREATE TABLE hidden.t (a int); GRANT SELECT ON hidden.t TO clerk",
            Some("hidden.t"),
        ),
        ("GRANT USAGE ON SCHEMA hidden TO clerk", None),
        ("CREATE VIEW v AS SELECT 1; CREATE MATERIALIZED VIEW mv AS SELECT 1", None),
        ("ALTER TABLE open ENABLE ROW LEVEL SECURITY", Some("public.open")),
        ("ALTER ROLE clerk BYPASSRLS", None),
    ] {
        cluster.psql("rights", change);
        let warning = engine.probe().unwrap().warning;
        let made = dump(&*engine);
        match closed {
            None => assert!(warning.is_none() && made.is_ok(), "{change}: {warning:?} {made:?}"),
            Some(example) => {
                let warning = warning.unwrap_or_default();
                assert!(
                    warning.contains(example) && warning.contains("GRANT pg_read_all_data"),
                    "{change}: {warning}"
                );
                assert!(made.is_err(), "{change}");
            }
        }
    }
}

#[test]
fn a_server_that_never_answers_is_given_up() {
    let home = tempfile::tempdir().unwrap();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgres://u:p@127.0.0.1:{}/d", silent.local_addr().unwrap().port());
    let began = Instant::now();
    let error = engine(&url, &tools(&home)).probe().unwrap_err();
    assert!(error.to_string().contains("did not answer within 10 seconds"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(12));
}

/// All our own descendants whose command line fits.
pub fn children(fits: impl Fn(&str) -> bool) -> Vec<(u32, String)> {
    let me = std::process::id().to_string();
    fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            let status = fs::read_to_string(entry.path().join("stat")).ok()?;
            let parent = status.rsplit_once(") ")?.1.split(' ').nth(1)?.to_owned();
            let line =
                String::from_utf8_lossy(&fs::read(entry.path().join("cmdline")).ok()?).replace('\0', " ");
            (parent == me && fits(&line)).then_some((pid, line))
        })
        .collect()
}

/// A `pg_dump` that runs `script`, with the real one at hand as `$REAL`.
struct Liar {
    home: TempDir,
    tools: PostgresTools,
}

impl Liar {
    fn new(cluster: &Cluster, script: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let real = cluster.bin().join("pg_dump");
        let real = real.display();
        let answer = "case \"$1\" in --version) exec \"$REAL\" --version;; esac";
        let answer = if script.contains("--version") { "" } else { answer };
        let text = format!("#!/bin/sh\nREAL={real}\n{answer}\n{script}\n");
        fs::write(home.path().join("pg_dump"), text).unwrap();
        fs::set_permissions(home.path().join("pg_dump"), fs::Permissions::from_mode(0o755)).unwrap();
        let mut tools =
            PostgresTools::new(Some(home.path().into()), home.path().join("run"), OsString::from("/usr/bin"));
        tools.stall = Duration::from_secs(2);
        Self { home, tools }
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of lies, one a line")]
fn a_dump_tool_that_lies_is_never_believed() {
    let cluster = cluster();
    cluster.create_database("truth");
    cluster.psql(
        "truth",
        "CREATE TABLE t AS SELECT i, md5(i::text) FROM generate_series(1, 30000) i;
         CREATE TABLE u AS SELECT * FROM t; CREATE TABLE v ();
         SELECT lo_from_bytea(0, 'abc')",
    );
    let url = cluster.url("truth");
    let long = "not an archive, but many bytes of something else ".repeat(40);
    let garbage = format!("i=0; while [ $i -lt 50 ]; do echo '{long}'; i=$((i+1)); done");
    for (case, script, outcome) in [
        ("the true success", "exec \"$REAL\" \"$@\"", Ok(None)),
        (
            "a success with a warning",
            "\"$REAL\" \"$@\"; echo 'warning: circular' >&2",
            Ok(Some("warning: circular")),
        ),
        (
            "exit 1 after full output",
            "\"$REAL\" \"$@\"; echo 'died late' >&2; exit 1",
            Err("ended with status 1"),
        ),
        ("exit 0 after half", "\"$REAL\" \"$@\" | head -c 900000", Err("archive is incomplete")),
        ("exit 0 without the last byte", "\"$REAL\" \"$@\" | head -c -1", Err("archive is incomplete")),
        ("exit 0 within the contents", "\"$REAL\" \"$@\" | head -c 1500", Err("archive is incomplete")),
        ("exit 0 and a byte too many", "\"$REAL\" \"$@\"; printf x", Err("archive is incomplete")),
        ("killed at its end", "\"$REAL\" \"$@\"; kill -KILL $$", Err("killed by signal 9")),
        ("killed midway", "\"$REAL\" \"$@\" | head -c 100000; kill -TERM $$", Err("killed by signal 15")),
        ("hang before a byte", "sleep 60", Err("made no progress for 2 seconds")),
        ("hang midway", "\"$REAL\" \"$@\" | head -c 100000; sleep 60", Err("made no progress for 2 seconds")),
        (
            "hang after closing its output",
            "\"$REAL\" \"$@\"; exec >&-; sleep 60",
            Err("made no progress for 2 seconds"),
        ),
        (
            "output closed early",
            "\"$REAL\" \"$@\" | head -c 5000; exec >&-; exit 0",
            Err("archive is incomplete"),
        ),
        (
            "64 MiB of words",
            "head -c 67108864 /dev/zero | tr '\\0' 'x' >&2; echo END >&2; exit 1",
            Err("ended with status 1"),
        ),
        ("nothing at all", "exit 0", Err("without an archive: it wrote nothing")),
        ("garbage", garbage.as_str(), Err("something else")),
        ("five bytes of an archive", "printf PGDMP", Err("archive is incomplete")),
        (
            "an older version",
            "[ \"$1\" = --version ] && echo 'pg_dump (PostgreSQL) 9.6.24'",
            Err("pg_dump 9.6.24 is older"),
        ),
        ("a version of nonsense", "[ \"$1\" = --version ] && echo hello", Err("does not print its version")),
        ("a hang at its version", "[ \"$1\" = --version ] && sleep 60", Err("does not print its version")),
        ("its password told", "cat \"$PGPASSFILE\" >&2; exit 3", Err("ended with status 3")),
        (
            "a format of the future",
            "[ \"$1\" = --version ] && exec \"$REAL\" --version; printf 'PGDMP\\001\\024\\000\\004\\010\\001more'",
            Ok(Some("version 1.20")),
        ),
    ] {
        let liar = Liar::new(&cluster, script);
        let began = Instant::now();
        let result = dump(&*engine(&url, &liar.tools));
        assert!(began.elapsed() < Duration::from_secs(20), "{case}");
        match (result, outcome) {
            (Ok((_, warnings)), Ok(expected)) => {
                let warnings = warnings.unwrap_or_default();
                assert!(
                    warnings.contains(expected.unwrap_or("")) && warnings.is_empty() == expected.is_none(),
                    "{case}: {warnings}"
                );
            }
            (Err(error), Err(words)) => {
                let detail = error.detail().unwrap_or_default().to_owned();
                assert!(error.to_string().contains(words), "{case}: {error}");
                assert!(detail.len() < 70_000, "{case}: {} bytes", detail.len());
                assert!(!detail.contains("c4n") && !error.to_string().contains("c4n"), "{case}: {detail}");
                if case == "64 MiB of words" {
                    assert!(detail.ends_with("END") && detail.contains("bytes omitted"), "{case}");
                }
                if case.starts_with("exit 1") {
                    assert_eq!(detail, "died late");
                }
            }
            (Ok(_), Err(_)) => panic!("{case}: believed"),
            (Err(error), Ok(_)) => panic!("{case}: {error} {:?}", error.detail()),
        }
        assert!(children(|line| line.contains("pg_dump")).is_empty(), "{case}: left running");
        assert_eq!(
            fs::read_dir(liar.home.path()).unwrap().count(),
            if liar.tools.run_dir.exists() { 2 } else { 1 }
        );
    }

    let missing = Liar::new(&cluster, "exit 0");
    fs::remove_file(missing.home.path().join("pg_dump")).unwrap();
    let error = dump(&*engine(&url, &missing.tools)).unwrap_err();
    assert!(
        error.to_string().contains("There is no ") && error.to_string().contains("apt-get install"),
        "{error}"
    );
    let warning = engine(&url, &missing.tools).probe().unwrap().warning.unwrap();
    assert!(warning.contains("apt-get install"), "{warning}");

    let plain = Liar::new(&cluster, "exit 0");
    fs::set_permissions(plain.home.path().join("pg_dump"), fs::Permissions::from_mode(0o644)).unwrap();
    let error = dump(&*engine(&url, &plain.tools)).unwrap_err();
    assert!(error.to_string().contains("cannot be executed"), "{error}");

    let broken = Liar::new(&cluster, "exit 0");
    fs::write(broken.home.path().join("pg_dump"), "#!/nonexistent/interpreter\n").unwrap();
    let error = dump(&*engine(&url, &broken.tools)).unwrap_err();
    assert!(error.to_string().contains("not a working pg_dump"), "{error}");

    let old = Liar::new(&cluster, "[ \"$1\" = --version ] && echo 'pg_dump (PostgreSQL) 9.6.24'");
    let warning = engine(&url, &old.tools).probe().unwrap().warning.unwrap();
    assert!(warning.contains("9.6.24") && warning.contains("is older than the server"), "{warning}");
}

#[test]
fn a_sqlite_backup_under_writes_is_one_committed_state() {
    let home = tempfile::tempdir().unwrap();
    let databases = format!("wal=sqlite://{0}/wal.db delete=sqlite://{0}/delete.db", home.path().display());
    for (name, target) in parse_databases(&Engines::default(), &databases).named {
        let path = home.path().join(format!("{name}.db"));
        let open = || {
            let connection = rusqlite::Connection::open(&path).unwrap();
            connection.busy_timeout(Duration::from_secs(30)).unwrap();
            connection.pragma_update(None, "journal_mode", name.as_str()).unwrap();
            connection.pragma_update(None, "synchronous", "OFF").unwrap();
            connection
        };
        open()
            .execute_batch(
                "CREATE TABLE debit (id INTEGER PRIMARY KEY, amount INTEGER, note BLOB);
                 CREATE TABLE credit (id INTEGER PRIMARY KEY, amount INTEGER, note BLOB);
                 WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 4000)
                 INSERT INTO debit (amount, note) SELECT n, randomblob(1000) FROM n;
                 INSERT INTO credit (amount, note) SELECT amount, randomblob(1000) FROM debit;",
            )
            .unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let commits = Arc::new(AtomicU64::new(0));
        let writer = {
            let (stop, commits, mut connection) = (Arc::clone(&stop), Arc::clone(&commits), open());
            thread::spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    let n = i64::try_from(commits.fetch_add(1, Ordering::SeqCst)).unwrap();
                    let change = connection.transaction().unwrap();
                    change
                        .execute("UPDATE debit SET amount = amount + ?1 WHERE id = ?2", [n, n % 4000 + 1])
                        .unwrap();
                    change
                        .execute(
                            "UPDATE credit SET amount = amount + ?1 WHERE id = ?2",
                            [n, n * 7 % 4000 + 1],
                        )
                        .unwrap();
                    change.commit().unwrap();
                    thread::sleep(Duration::from_millis(2));
                }
            })
        };
        let engine = located(name.clone(), &target, &tools(&home));
        let began = Instant::now();
        let mut sums = Vec::new();
        for _ in 0..30 {
            let (bytes, _) = dump(&*engine).unwrap();
            let copy = home.path().join("copy.db");
            fs::write(&copy, bytes).unwrap();
            let connection = rusqlite::Connection::open(&copy).unwrap();
            let ok: String = connection.query_row("PRAGMA integrity_check", (), |row| row.get(0)).unwrap();
            assert_eq!(ok, "ok");
            let (debit, credit): (i64, i64) = connection
                .query_row(
                    "SELECT (SELECT sum(amount) FROM debit), (SELECT sum(amount) FROM credit)",
                    (),
                    |row| Ok((row.get(0)?, row.get(1)?)),
                )
                .unwrap();
            assert_eq!(debit, credit, "{name}");
            sums.push(debit);
            thread::sleep(Duration::from_millis(30));
        }
        let rate = u128::from(commits.load(Ordering::SeqCst)) * 1000 / began.elapsed().as_millis();
        stop.store(true, Ordering::SeqCst);
        writer.join().unwrap();
        sums.dedup();
        println!("{name}: 30 backups of {} states in {:?} at {rate} commits/s", sums.len(), began.elapsed());
        assert!(rate >= 100, "{name}: only {rate} commits/s");
        assert!(sums.len() > 20, "{name}: the writer stood still");
    }
}
