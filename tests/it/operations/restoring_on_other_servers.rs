//! Trials from users' reports, on a real server: what their databases do to a verification and to a restore.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use crate::operations::restoring::{exists, leftovers, no_leftovers};
use crate::support::holdfast::{Home, bad, good, words};
use crate::support::postgres::{Cluster, USER, cluster, newest_bin};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const PASSWORD: &str = "f1eld-w0rd";

fn url(cluster: &Cluster, role: &str, database: &str) -> String {
    format!("postgres://{role}:{PASSWORD}@127.0.0.1:{}/{database}", cluster.port)
}

fn role(cluster: &Cluster, name: &str, options: &str) {
    cluster.psql("postgres", &format!("CREATE ROLE {name} LOGIN CREATEDB PASSWORD '{PASSWORD}' {options}"));
}

/// Verifies on a server of that URL, and gives what was said.
fn verified(ground: &Home, file: &str, on: &str) -> String {
    let mut command = ground.program(&["verify", file]);
    command.env("HOLDFAST_RESTORE_ON", on);
    good(command)
}

/// PostgreSQL 17, which no Debian release has beside another version, readable by the server's user. Nothing where the
/// scripts could not fetch it for this kind of machine, or did not start this test.
#[expect(clippy::disallowed_methods, reason = "where the scripts put it is told to tests alone")]
fn postgres_17() -> Option<(tempfile::TempDir, PathBuf)> {
    let installed = PathBuf::from(std::env::var_os("HOLDFAST_TEST_POSTGRES_17")?);
    if !installed.join("bin/pg_restore").exists() {
        assert_ne!(std::env::consts::ARCH, "x86_64", "scripts/setup test brings PostgreSQL 17");
        return None;
    }
    let home = tempfile::tempdir().unwrap();
    let copied = Command::new("cp").arg("-r").arg(&installed).arg(home.path().join("pg")).status().unwrap();
    let opened = Command::new("chmod").args(["-R", "a+rX"]).arg(home.path()).status().unwrap();
    assert!(copied.success() && opened.success());
    let bin = home.path().join("pg/bin");
    Some((home, bin))
}

/// A `psql` that sits in a database until it is dropped.
struct Sitter<'c>(Child, &'c Cluster);

impl<'c> Sitter<'c> {
    fn new(cluster: &'c Cluster, database: &str) -> Self {
        let child = cluster
            .command("psql")
            .env("PGDATABASE", database)
            .env("PGAPPNAME", "sitter")
            .args(["-Xqc", "SELECT pg_sleep(600)"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let began = Instant::now();
        while cluster.psql("postgres", "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'sitter' AND state = 'active'").trim() == "0" {
            assert!(began.elapsed() < Duration::from_secs(20));
            thread::sleep(Duration::from_millis(50));
        }
        Self(child, cluster)
    }
}

impl Sitter<'_> {
    /// Ends it on the server, too, which would go on for a client that is gone.
    fn end(self) {
        self.1.psql(
            "postgres",
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'sitter'",
        );
    }
}

impl Drop for Sitter<'_> {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn tools_newer_than_the_server_restore_and_the_fitting_ones_are_taken() {
    let Some((_home, bin)) = postgres_17() else { return };
    let cluster = cluster();
    cluster.create_database("newer");
    cluster.psql("newer", "CREATE TABLE t AS SELECT generate_series(1, 9) AS a");
    let ground = Home::new(&format!("p={}", cluster.url("newer")));
    let with = |mut command: Command| {
        command.env("HOLDFAST_POSTGRES_BIN", &bin);
        command
    };
    // pg_restore 17 says SET transaction_timeout, which an older server does not know.
    let file = good(with(ground.program(&["backup", "p"]))).trim().to_owned();
    let mut verify = with(ground.program(&["verify", &file]));
    verify.env("HOLDFAST_RESTORE_ON", cluster.url("newer"));
    let said = good(verify);
    assert!(said.contains("It was restored: 1 table with 9 rows.") && !said.contains("exception"), "{said}");
    good(with(ground.restore(&file, &cluster.url("newer-back"), &[])));
    assert_eq!(cluster.psql("newer-back", "SELECT count(*) FROM t").trim(), "9");
    let archive = fs::read(ground.backups().join(format!("{file}.manifest.json"))).unwrap();
    assert!(String::from_utf8(archive).unwrap().contains("\"rows\": 9"));

    // A newer server: its encoding, its built-in locale and its rows come back there.
    let newer = Cluster::start_with(bin.clone(), "");
    newer.psql("postgres", "CREATE DATABASE modern TEMPLATE template0 LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' LOCALE 'C.UTF-8'");
    newer.psql("modern", "CREATE TABLE t AS SELECT 'ß'::text AS a");
    let ground = Home::new(&format!("m={}", newer.url("modern")));
    let file = good(with(ground.program(&["backup", "m"]))).trim().to_owned();
    let mut verify = with(ground.program(&["verify", &file]));
    verify.env("HOLDFAST_RESTORE_ON", newer.url("modern"));
    assert!(good(verify).contains("It was restored: 1 table with 1 row."));
    good(with(ground.restore(&file, &newer.url("back"), &[])));
    let locale = "SELECT datlocprovider, datlocale FROM pg_database WHERE datname = 'back'";
    assert_eq!(newer.psql("postgres", locale).trim(), "b\tC.UTF-8");
    // An older server has no such locale: that is said, and not called restored.
    let mut verify = with(ground.program(&["verify", &file]));
    verify.env("HOLDFAST_RESTORE_ON", cluster.url("newer"));
    let said = good(verify);
    assert!(said.contains("cannot make a database that sorts by the built-in locale C.UTF-8"), "{said}");
    assert!(!said.contains("It was restored: "), "{said}");
    // The tools of the server alone are too old, which is said before there is a file.
    let said = ground.refused(&["backup", "m"]);
    assert!(said.contains("is older than the server") || newest_bin().ends_with("17/bin"), "{said}");
}

#[test]
fn very_many_tables_need_no_room_for_locks() {
    let cluster = Cluster::start();
    cluster.create_database("many");
    let make = |from: u32| {
        format!(
            "DO $$ BEGIN FOR i IN {from}..{} LOOP EXECUTE format('CREATE TABLE t%s (a serial PRIMARY KEY, b int)', i); EXECUTE format('CREATE INDEX ON t%s (b)', i); END LOOP; END $$",
            from + 499
        )
    };
    for batch in 0..5 {
        cluster.psql("many", &make(1 + 500 * batch));
    }
    let ground = Home::new(&format!("p={}", cluster.url("many")));
    let file = ground.backup("p");
    let said = verified(&ground, &file, &cluster.url("many"));
    assert!(
        said.contains("It was restored: 2,500 tables with 0 rows.") && !said.contains("exception"),
        "{said}"
    );
    no_leftovers(&cluster);
}

#[test]
fn a_server_that_takes_no_writes_leaves_the_backup_readable() {
    let cluster = cluster();
    cluster.create_database("read-only");
    cluster.psql("read-only", "CREATE TABLE t AS SELECT 1 AS a");
    role(&cluster, "reader_only", "IN ROLE pg_read_all_data");
    cluster.psql("postgres", "ALTER ROLE reader_only SET default_transaction_read_only = on");
    let ground = Home::new(&format!("p={}", url(&cluster, "reader_only", "read-only")));
    let file = ground.backup("p");
    let mut verify = ground.program(&["verify", &file]);
    verify.env("HOLDFAST_RESTORE_ON", url(&cluster, "reader_only", "read-only"));
    let said = bad(verify);
    assert!(said.contains("takes no writes from the role reader_only"), "{said}");
    // What was found before is kept.
    let verdict = fs::read_to_string(ground.backups().join(format!("{file}.verified.json"))).unwrap();
    assert!(verdict.contains("\"proof\": \"readable\""), "{verdict}");
}

#[test]
fn an_extension_that_lives_in_one_database_by_name_is_made_there_in_the_end() {
    let cluster = Cluster::start_with(
        newest_bin(),
        "shared_preload_libraries = 'pg_cron'\ncron.database_name = 'shop'\n",
    );
    cluster.create_database("shop");
    cluster.psql(
        "shop",
        "CREATE EXTENSION pg_cron; CREATE TABLE t AS SELECT 1 AS a; SELECT cron.schedule('nightly', '0 3 * * *', 'VACUUM')",
    );
    let ground = Home::new(&format!("shop={}", cluster.url("shop")));
    let file = ground.backup("shop");
    let said = verified(&ground, &file, &cluster.url("shop"));
    assert!(
        said.contains("extension pg_cron: ") && said.contains("It was restored: 1 table with 1 row."),
        "{said}"
    );
    let jobs = "SELECT count(*) FROM cron.job";
    // Its jobs come back only when that is asked for; the extension itself does.
    let said = good(ground.restore(&file, &cluster.url("shop"), &["--overwrite"]));
    assert_eq!(cluster.psql("shop", "SELECT a FROM t").trim(), "1", "{said}");
    assert_eq!(cluster.psql("shop", jobs).trim(), "0", "{said}");
    assert!(
        said.contains("table data cron.job: left out") && !said.contains("extension pg_cron: "),
        "{said}"
    );
    let said = good(ground.restore(&file, &cluster.url("shop"), &["--overwrite", "--act-outside"]));
    assert_eq!(cluster.psql("shop", jobs).trim(), "1", "{said}");
    assert_eq!(leftovers(&cluster), "");
}

#[test]
fn a_session_that_may_not_be_ended_is_named_and_nothing_is_left() {
    let cluster =
        Cluster::start_with(newest_bin(), "autovacuum_naptime = 1s\nautovacuum_vacuum_threshold = 1\n");
    role(&cluster, "own", "");
    cluster.psql("postgres", "CREATE DATABASE held OWNER own");
    cluster.psql("held", "SET ROLE own; CREATE TABLE t AS SELECT g, repeat('x', 200) AS b FROM generate_series(1, 60000) g; UPDATE t SET g = g + 1");
    let ground = Home::new(&format!("p={}", url(&cluster, "own", "held")));
    let file = ground.backup("p");
    let sitter = Sitter::new(&cluster, "held");
    let said = bad(ground.restore(&file, &url(&cluster, "own", "held"), &["--overwrite"]));
    assert!(said.contains("1 session in it could not be ended") && said.contains(USER), "{said}");
    assert!(said.contains("pg_terminate_backend") && said.contains("left as it was"), "{said}");
    assert_eq!(leftovers(&cluster), "", "{said}");
    sitter.end();
    good(ground.restore(&file, &url(&cluster, "own", "held"), &["--overwrite"]));
    assert_eq!(leftovers(&cluster), "");
    // The server's own vacuum is in the way of nothing.
    for _ in 0..6 {
        let said = verified(&ground, &file, &url(&cluster, "own", "any"));
        assert!(said.contains("It was restored: 1 table with 60,000 rows."), "{said}");
        assert_eq!(leftovers(&cluster), "");
    }
}

#[test]
fn roles_that_another_server_lacks_are_told_and_stop_nothing() {
    let (here, there) = (cluster(), Cluster::start());
    here.psql("postgres", "CREATE ROLE only_here");
    here.create_database("policed");
    here.psql("policed", "CREATE TABLE t AS SELECT generate_series(1, 5) AS a; CREATE POLICY p ON t TO only_here USING (true); ALTER TABLE t OWNER TO only_here; GRANT SELECT ON t TO PUBLIC");
    let ground = Home::new(&format!("p={}", here.url("policed")));
    let file = ground.backup("p");
    let manifest = fs::read_to_string(ground.backups().join(format!("{file}.manifest.json"))).unwrap();
    assert!(manifest.contains("only_here"), "{manifest}");
    let said = good(ground.restore(&file, &there.url("came"), &[]));
    assert!(said.contains("1 exception: policy public.t p: role \"only_here\" does not exist"), "{said}");
    assert_eq!(there.psql("came", "SELECT count(*) FROM t").trim(), "5");
    // With owners kept, each grant and owner that cannot be is named; where the role is there, all is as it was.
    let said = good(ground.restore(&file, &there.url("owned"), &["--keep-owners"]));
    assert!(said.contains("exception") && said.contains("only_here"), "{said}");
    let said = good(ground.restore(&file, &here.url("policed-again"), &["--keep-owners"]));
    assert!(!said.contains("exception"), "{said}");
    let owner =
        "SELECT relowner::regrole, relacl::text LIKE '%,=r/only_here%' FROM pg_class WHERE relname = 't'";
    assert_eq!(here.psql("policed-again", owner).trim(), "only_here\tt");
}

#[test]
fn what_replacing_a_database_would_lose_is_told_before() {
    let cluster = Cluster::start_with(newest_bin(), "wal_level = logical\nmax_prepared_transactions = 5\n");
    cluster.create_database("shop");
    cluster.psql("shop", "CREATE TABLE t AS SELECT 1 AS a");
    cluster.psql("shop", "SELECT pg_create_logical_replication_slot('cdc', 'test_decoding')");
    let ground = Home::new(&format!("shop={}", cluster.url("shop")));
    let file = ground.backup("shop");
    cluster.psql("shop", "BEGIN; INSERT INTO t VALUES (2); PREPARE TRANSACTION 'half'");
    let said = bad(ground.restore(&file, &cluster.url("shop"), &["--overwrite"]));
    assert!(said.contains("1 prepared transaction") && said.contains("COMMIT PREPARED 'half'"), "{said}");
    assert!(!said.contains("Other programs keep connecting"), "{said}");
    assert_eq!(leftovers(&cluster), "");
    cluster.psql("shop", "ROLLBACK PREPARED 'half'");
    // A template is one afterwards, and the old one is gone.
    cluster.psql("postgres", "ALTER DATABASE shop IS_TEMPLATE true");
    let said = good(ground.restore(&file, &cluster.url("shop"), &["--overwrite"]));
    assert!(said.contains("1 replication slot will be lost: cdc"), "{said}");
    assert_eq!(
        cluster.psql("postgres", "SELECT datistemplate FROM pg_database WHERE datname = 'shop'").trim(),
        "t"
    );
    assert_eq!(leftovers(&cluster), "");
}

#[test]
fn the_most_obstinate_leftovers_are_cleared_away() {
    let cluster = Cluster::start_with(newest_bin(), "wal_level = logical\nmax_prepared_transactions = 5\n");
    cluster.create_database("plain");
    cluster.psql("plain", "CREATE TABLE t AS SELECT 1 AS a");
    let ground = Home::new(&format!("p={}", cluster.url("plain")));
    let file = ground.backup("p");
    let mark = "A scratch database of Holdfast, half restored or replaced. It may be dropped.";
    for round in 0..2 {
        let name = format!("holdfast_restore_obstinate00{round}");
        cluster.create_database(&name);
        cluster.psql(
            "postgres",
            &format!("COMMENT ON DATABASE {name} IS '{mark}'; ALTER DATABASE {name} IS_TEMPLATE true"),
        );
        cluster.psql(&name, "CREATE TABLE t (a int); CREATE SUBSCRIPTION s CONNECTION 'host=127.0.0.1 port=1' PUBLICATION p WITH (connect = false, slot_name = 'x')");
        cluster.psql(&name, "SELECT pg_create_logical_replication_slot('slot', 'test_decoding')");
        cluster.psql(&name, "BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION 'half'");
        let sitter = Sitter::new(&cluster, &name);
        let said = verified(&ground, &file, &cluster.url("plain"));
        assert!(said.contains("It was restored: "), "{said}");
        assert!(!exists(&cluster, &name), "{said}");
        drop(sitter);
    }
    // Killed between being made and being marked: its name says whose it is. Another's does not.
    let unmarked = "holdfast_restore_abcdefghijkl";
    cluster.create_database(unmarked);
    verified(&ground, &file, &cluster.url("plain"));
    assert!(exists(&cluster, unmarked), "a stranger's database was dropped");
}

#[test]
fn a_database_that_another_server_cannot_make_so_is_not_called_restored() {
    let cluster = cluster();
    cluster.psql(
        "postgres",
        "CREATE DATABASE sorted TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en' LOCALE 'C.UTF-8'",
    );
    cluster.psql("sorted", "CREATE TABLE p (k text) PARTITION BY RANGE (k); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM ('a') TO ('B'); INSERT INTO p VALUES ('Abe')");
    let ground = Home::new(&format!("p={}", cluster.url("sorted")));
    let file = ground.backup("p");
    let manifest = ground.backups().join(format!("{file}.manifest.json"));
    let text = fs::read_to_string(&manifest).unwrap();
    // As from a server whose system has a locale that this one lacks.
    let elsewhere = text
        .replace("\"locale_provider\": \"icu\"", "\"locale_provider\": \"libc\"")
        .replace("\"collate\": \"C.UTF-8\"", "\"collate\": \"xx_YY.UTF-8\"");
    assert_ne!(text, elsewhere);
    fs::write(&manifest, elsewhere).unwrap();
    let mut verify = ground.program(&["verify", &file]);
    verify.env("HOLDFAST_RESTORE_ON", cluster.url("sorted"));
    let said = bad(verify);
    assert!(said.contains("cannot make a database that sorts by"), "{said}");
    assert!(!said.contains("It was restored: ") && said.contains("was not restored"), "{said}");
    assert!(said.contains("is intact and readable"), "{said}");
    // Without a manifest the archive itself tells how its database sorts.
    fs::remove_file(&manifest).unwrap();
    let said = verified(&ground, &file, &cluster.url("sorted"));
    assert!(said.contains("It was restored: 1 table with 1 row."), "{said}");
}

#[test]
fn a_large_object_of_another_role_is_warned_of_before_the_backup() {
    let cluster = cluster();
    cluster.create_database("objects");
    cluster.psql("objects", "SELECT lo_from_bytea(4711, 'x'); CREATE TABLE t (a int)");
    role(&cluster, "objects_reader", "IN ROLE pg_read_all_data");
    let ground = Home::new(&format!("p={}", url(&cluster, "objects_reader", "objects")));
    let said = ground.refused(&["backup", "p"]);
    assert!(said.contains("large object"), "{said}");
    let desk = crate::support::desk::Desk::of(vec![(
        "p".parse().unwrap(),
        holdfast::domain::engines::Target::parse(&url(&cluster, "objects_reader", "objects")).unwrap(),
    )]);
    let health = desk.holdfast.databases().view(&desk.holdfast.catalog().list().unwrap(), None);
    let warning = format!("{health:?}");
    assert!(warning.contains("GRANT SELECT ON LARGE OBJECT 4711 TO"), "{warning}");
}

#[test]
fn time_limits_and_lost_connections_end_no_restore() {
    let cluster = Cluster::start();
    role(&cluster, "hasty", "");
    cluster.psql("postgres", "ALTER ROLE hasty SET statement_timeout = '400ms'; ALTER ROLE hasty SET idle_session_timeout = '1s'; ALTER ROLE hasty SET lock_timeout = '200ms'; ALTER ROLE hasty SET idle_in_transaction_session_timeout = '1s'; CREATE DATABASE slow OWNER hasty");
    cluster.psql("slow", "SET ROLE hasty; CREATE TABLE t AS SELECT i AS a, md5(i::text) AS b FROM generate_series(1, 200000) i; CREATE INDEX ON t (b)");
    let ground = Home::new(&format!("p={}", url(&cluster, "hasty", "slow")));
    let file = ground.backup("p");
    let bin = ground.at("bin");
    fs::create_dir_all(&bin).unwrap();
    let real = cluster.bin().join("pg_restore");
    fs::write(
        bin.join("pg_restore"),
        format!("#!/bin/sh\n[ \"$1\" = --no-password ] && sleep 4\nexec {} \"$@\"\n", real.display()),
    )
    .unwrap();
    make_executable(&bin.join("pg_restore"));
    std::os::unix::fs::symlink(cluster.bin().join("pg_dump"), bin.join("pg_dump")).unwrap();
    let watch = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name ~ '^holdfast_restore_' AND datname = 'postgres' AND now() - state_change > '2 s'";
    for more in [&[][..], &["--overwrite"]] {
        let into = if more.is_empty() { "slow-again" } else { "slow" };
        let mut command = ground.restore(&file, &url(&cluster, "hasty", into), more);
        command.env("HOLDFAST_POSTGRES_BIN", &bin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut ended = 0;
        while child.try_wait().unwrap().is_none() {
            // As a firewall or a failover does it: the session that waits is gone.
            ended += cluster.psql("postgres", watch).trim().parse::<u64>().unwrap();
            thread::sleep(Duration::from_millis(100));
        }
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", words(&output));
        assert!(ended > 0, "nothing was lost, so nothing is shown");
        assert_eq!(cluster.psql(into, "SELECT count(*) FROM t").trim(), "200000");
        assert_eq!(leftovers(&cluster), "");
    }
}

#[test]
fn rows_without_their_tables_are_missing_rows() {
    let cluster = cluster();
    cluster.create_database("rows-only");
    cluster.psql("rows-only", "CREATE TABLE t AS SELECT generate_series(1, 1000) AS a");
    let ground = Home::new("");
    let file = ground.at("backup_rows.dump.gz");
    let dump = format!(
        "{} -Fc -Z0 --data-only | gzip > {}",
        cluster.bin().join("pg_dump").display(),
        file.display()
    );
    let mut shell = crate::operations::restoring::shell(&cluster, &dump);
    shell.env("PGDATABASE", "rows-only");
    good(shell);
    let mut verify = ground.program(&["verify", file.to_str().unwrap()]);
    verify.env("HOLDFAST_RESTORE_ON", cluster.url("any"));
    let said = bad(verify);
    assert!(
        said.contains("relation \"public.t\" does not exist") && said.contains("could not be restored"),
        "{said}"
    );
    let mut verify = ground.program(&["verify", file.to_str().unwrap(), "--json"]);
    verify.env("HOLDFAST_RESTORE_ON", "postgres://nobody:x9x9x9@127.0.0.1:1/any");
    let output = verify.output().unwrap();
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    // What was found is told, too, where the server for tests cannot be reached.
    assert_eq!((output.status.code(), found["level"].as_str()), (Some(1), Some("readable")));
    assert!(found["not_restored"].as_str().unwrap().contains("nothing listens"), "{found}");
}

#[test]
fn what_a_killed_restore_left_is_cleared_away_when_a_server_starts() {
    let cluster = Cluster::start();
    cluster.create_database("left");
    cluster.psql("left", "CREATE TABLE t AS SELECT 1 AS a");
    let ground = Home::new(&format!("p={}", cluster.url("left")));
    let file = ground.backup("p");
    let bin = ground.at("bin");
    fs::create_dir_all(&bin).unwrap();
    let real = cluster.bin().join("pg_restore");
    fs::write(
        bin.join("pg_restore"),
        format!("#!/bin/sh\n[ \"$1\" = --no-password ] && sleep 60\nexec {} \"$@\"\n", real.display()),
    )
    .unwrap();
    make_executable(&bin.join("pg_restore"));
    let mut command = ground.restore(&file, &cluster.url("again"), &[]);
    let mut child = command.env("HOLDFAST_POSTGRES_BIN", &bin).stderr(Stdio::null()).spawn().unwrap();
    let began = Instant::now();
    let made = "SELECT count(*) FROM pg_database WHERE datname LIKE 'holdfast\\_restore\\_%'";
    while cluster.psql("postgres", made).trim() == "0" {
        assert!(began.elapsed() < Duration::from_secs(30));
        thread::sleep(Duration::from_millis(50));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(cluster.psql("postgres", made).trim(), "1", "nothing was left, so nothing is shown");
    let mut server = ground.program(&["serve"]);
    server.env("HOLDFAST_LISTEN", "127.0.0.1:0").stderr(Stdio::null()).stdout(Stdio::null());
    let mut server = server.spawn().unwrap();
    let began = Instant::now();
    while cluster.psql("postgres", made).trim() != "0" {
        assert!(began.elapsed() < Duration::from_secs(30), "it stays");
        thread::sleep(Duration::from_millis(100));
    }
    server.kill().unwrap();
    server.wait().unwrap();
}

/// Ten losses, planted into a restore, and what each is called.
#[test]
fn every_planted_loss_is_told_apart() {
    let cluster = cluster();
    cluster.create_database("planted");
    cluster.psql("planted", "CREATE SCHEMA s; CREATE TABLE s.big AS SELECT i AS id, md5(i::text) AS b FROM generate_series(1, 2000) i; CREATE INDEX big_b ON s.big (b); CREATE TABLE small (a text); INSERT INTO small VALUES ('Müller'); CREATE VIEW v AS SELECT 1 AS a; CREATE SEQUENCE q; SELECT nextval('q'); SELECT lo_from_bytea(5, 'x'); CREATE POLICY p ON small USING (true); CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'");
    let ground = Home::new(&format!("p={}", cluster.url("planted")));
    let file = ground.backup("p");
    let bin = ground.at("bin");
    fs::create_dir_all(&bin).unwrap();
    let real = cluster.bin().join("pg_restore");
    let psql = cluster.bin().join("psql");
    // After the rows came, and before anything else, something is lost.
    let plant = |sql: &str, entries: &str| {
        let script = format!(
            "#!/bin/bash\n[ \"$1\" = --no-password ] || exec {real} \"$@\"\n\
             {entries}\n\
             {real} \"$@\"; status=$?\n\
             n=$(cat {count} 2>/dev/null || echo 0); echo $((n + 1)) > {count}\n\
             [ $n = 1 ] && {psql} -Xqc \"{sql}\" >&2\nexit $status\n",
            real = real.display(),
            psql = psql.display(),
            count = ground.at("count").display(),
        );
        fs::write(bin.join("pg_restore"), script).unwrap();
        make_executable(&bin.join("pg_restore"));
        let _ = fs::remove_file(ground.at("count"));
        let mut command = ground.program(&["verify", &file]);
        command.env("HOLDFAST_POSTGRES_BIN", &bin).env("HOLDFAST_RESTORE_ON", cluster.url("planted"));
        let output = command.output().unwrap();
        (output.status.code(), words(&output))
    };
    let nothing = plant("SELECT 1", "");
    assert!(
        nothing.0 == Some(0) && nothing.1.contains("It was restored: 2 tables with 2,001 rows."),
        "{nothing:?}"
    );
    assert!(!nothing.1.contains("exception"), "the control: {nothing:?}");
    for (what, sql, told) in [
        ("a table's rows", "DELETE FROM s.big", "s.big has 0 of 2,000 rows"),
        ("one row", "DELETE FROM s.big WHERE id = 77", "s.big has 1,999 of 2,000 rows"),
        ("a row twice", "INSERT INTO small SELECT * FROM small", "public.small has 2 of 1 row"),
        ("a table", "DROP TABLE s.big", "s.big has 0 of 2,000 rows"),
        ("a schema", "DROP SCHEMA s CASCADE", "s.big has 0 of 2,000 rows"),
        (
            "bytes of a value",
            "CREATE CAST (bytea AS text) WITHOUT FUNCTION; UPDATE small SET a = '\\\\xff41'::bytea::text",
            "the rows of public.small cannot be read: invalid byte sequence",
        ),
        ("a large object", "SELECT lo_unlink(5)", "0 of 1 large object came back"),
    ] {
        let (status, said) = plant(sql, "");
        assert!(status == Some(3) && said.contains(told), "{what}: {said}");
        assert!(!said.contains("It was restored: "), "{what}: {said}");
    }
    // What is no data is an exception, by name.
    for (what, told) in [
        ("an index only", "index s.big_b: "),
        ("a view", "view public.v: "),
        ("a function", "function public.f(): "),
    ] {
        let break_it = match what {
            "an index only" => "CREATE TABLE s.big_b (a int)",
            _ => "SELECT 1",
        };
        let before = match what {
            "a view" => format!("{} -Xqc 'CREATE TABLE v (a int)' >&2", psql.display()),
            "a function" => {
                format!(
                    "{} -Xqc \"CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 2'\" >&2",
                    psql.display()
                )
            }
            _ => String::new(),
        };
        let (status, said) = plant(break_it, &before);
        assert!(
            status == Some(0) && said.contains(told) && said.contains("It was restored: "),
            "{what}: {said}"
        );
    }
    no_leftovers(&cluster);
}

fn make_executable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}
