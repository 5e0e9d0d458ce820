//! PgBouncer before the server: a pool in session mode serves, one that lends sessions out is named.

#![expect(clippy::unwrap_used, reason = "tests")]

use crate::engines::dumping::{contents, dump, engine, tools, verdict};
use crate::support::holdfast::program;
use crate::support::pgbouncer::PgBouncer;
use crate::support::postgres::{Cluster, PASSWORD};
use holdfast::domain::engines::postgres::archive::Verdict;
use std::fs;
use std::process::{Command, Stdio};

/// What both the look and a backup say.
fn refused(url: &str) -> String {
    let home = tempfile::tempdir().unwrap();
    let engine = engine(url, &tools(&home));
    let probed = engine.probe().unwrap_err().to_string();
    let dumped = dump(&*engine).unwrap_err().to_string();
    assert_eq!(probed, dumped);
    assert!(!probed.contains("c4n") && !probed.contains(PASSWORD), "{probed}");
    probed
}

#[test]
fn a_pooler_in_session_mode_serves_like_the_server() {
    let cluster = Cluster::start();
    for name in ["shop", "copy"] {
        cluster.create_database(name);
    }
    cluster.psql("shop", "CREATE TABLE t AS SELECT i, md5(i::text) FROM generate_series(1, 1000) i");
    let home = tempfile::tempdir().unwrap();
    for settings in ["", "pool_mode = session\ndefault_pool_size = 1", "ignore_startup_parameters = options"]
    {
        let pooler = PgBouncer::before(&cluster, &["shop"], settings);
        let engine = engine(&pooler.url(&cluster, "shop"), &tools(&home));
        assert_eq!(engine.probe().unwrap().warning, None, "{settings}");
        let (bytes, warnings) = dump(&*engine).unwrap();
        assert_eq!((verdict(&bytes), warnings), (Verdict::Whole, None), "{settings}");
        let archive = home.path().join("archive");
        fs::write(&archive, &bytes).unwrap();
        cluster.psql("copy", "DROP TABLE IF EXISTS t");
        cluster.restore(&archive, "copy");
        assert_eq!(contents(&cluster, "shop"), contents(&cluster, "copy"));
    }
}

#[test]
fn a_pooler_that_lends_sessions_out_is_named() {
    let cluster = Cluster::start();
    cluster.create_database("shop");
    for settings in [
        "pool_mode = transaction",
        "pool_mode = transaction\nignore_startup_parameters = options,extra_float_digits",
        "pool_mode = transaction\ndefault_pool_size = 1",
        "pool_mode = transaction\nserver_round_robin = 1\nmin_pool_size = 4",
        "pool_mode = statement",
    ] {
        let pooler = PgBouncer::before(&cluster, &["shop"], settings);
        for _ in 0..3 {
            let said = refused(&pooler.url(&cluster, "shop"));
            assert!(
                said.contains(&format!(
                    "127.0.0.1:{} is a connection pooler in transaction mode",
                    pooler.port
                )),
                "{settings}: {said}"
            );
            assert!(said.contains("Use the server's own port"), "{said}");
        }
        // Nothing of ours was set in a session that others use.
        let left = Command::new(cluster.bin().join("psql"))
            .env_clear()
            .env("PGPASSWORD", PASSWORD)
            .args(["-h", "127.0.0.1", "-p", &pooler.port.to_string(), "-U", crate::support::postgres::USER])
            .args(["-X", "-A", "-t", "-c", "SHOW statement_timeout", "shop"])
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&left.stdout).trim(), "0", "{settings}");
    }
}

#[test]
fn a_pooler_that_lends_sessions_out_is_named_while_others_use_it() {
    let cluster = Cluster::start();
    cluster.create_database("shop");
    let filled = cluster.command("pgbench").env("PGDATABASE", "shop").args(["-i", "-q"]).output().unwrap();
    assert!(filled.status.success(), "{}", String::from_utf8_lossy(&filled.stderr));
    let busy = |pooler: &PgBouncer| {
        Command::new(cluster.bin().join("pgbench"))
            .env_clear()
            .env("PGPASSWORD", PASSWORD)
            .args(["-h", "127.0.0.1", "-p", &pooler.port.to_string(), "-U", crate::support::postgres::USER])
            .args(["-n", "-S", "-M", "simple", "-c", "6", "-T", "60", "shop"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    };
    let lending = PgBouncer::before(&cluster, &["shop"], "pool_mode = transaction");
    let mut bench = busy(&lending);
    for _ in 0..5 {
        let said = refused(&lending.url(&cluster, "shop"));
        assert!(said.contains("is a connection pooler in transaction mode"), "{said}");
    }
    bench.kill().unwrap();
    bench.wait().unwrap();
    // The control: as busy, and faithful.
    let faithful = PgBouncer::before(&cluster, &["shop"], "pool_mode = session");
    let mut bench = busy(&faithful);
    let home = tempfile::tempdir().unwrap();
    for _ in 0..5 {
        assert_eq!(engine(&faithful.url(&cluster, "shop"), &tools(&home)).probe().unwrap().warning, None);
    }
    bench.kill().unwrap();
    bench.wait().unwrap();
}

#[test]
fn a_pooler_that_does_not_pass_a_database_on_is_named() {
    let cluster = Cluster::start();
    cluster.create_database("shop");
    cluster.create_database("other");
    let pooler = PgBouncer::before(&cluster, &["shop"], "");
    let said = refused(&pooler.url(&cluster, "other"));
    assert!(said.contains("the connection pooler at 127.0.0.1:"), "{said}");
    assert!(said.contains("does not know a database \"other\"") && said.contains("pgbouncer.ini"), "{said}");
    // A test restore makes a database of its own, which few poolers pass on.
    let home = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str], databases: String| {
        let mut command = program(home.path(), &databases, arguments);
        command.env("HOLDFAST_RESTORE_ON", pooler.url(&cluster, "shop")).output().unwrap()
    };
    let databases = || format!("shop={}", pooler.url(&cluster, "shop"));
    let made = run(&["backup", "shop"], databases());
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let said = run(&["verify", "--all"], databases());
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.contains("does not know a database \"holdfast_restore_"), "{said}");
}
