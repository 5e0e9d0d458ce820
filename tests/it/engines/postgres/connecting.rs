//! What a PostgreSQL URL says of TLS, of which of several servers is meant and of how long to wait: real servers, our own
//! connections and those of `pg_dump`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use crate::engines::dumping::{children, dump, engine, tools, verdict};
use crate::support::certificates::{Authority, Issued};
use crate::support::postgres::{Cluster, PASSWORD};
use holdfast::domain::engines::Cancel;
use holdfast::domain::engines::postgres::archive::Verdict;
use holdfast::domain::engines::postgres::tools::PostgresTools;
use holdfast::domain::outbound::{Policy, Resolver};
use openssl::pkey::PKey;
use openssl::symm::Cipher;
use std::fs;
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The name only the tests' own resolver knows.
const NAME: &str = "db.holdfast.test";

/// What a URL comes to: the same words from our own connection and from a backup, or a whole backup.
fn try_out(tools: &PostgresTools, url: &str) -> Result<Option<String>, String> {
    let engine = engine(url, tools);
    let probed = engine.probe().map_err(|error| error.to_string());
    let dumped = dump(&*engine).map_err(|error| {
        let detail = error.detail().unwrap_or_default();
        format!("{error}{detail}")
    });
    for said in [probed.as_ref().err(), dumped.as_ref().err()].into_iter().flatten() {
        assert!(!said.contains("c4n") && !said.contains(PASSWORD), "{said}");
    }
    match (probed, dumped) {
        (Ok(probe), Ok((bytes, _))) => {
            assert_eq!(verdict(&bytes), Verdict::Whole, "{url}");
            Ok(probe.warning)
        }
        (Err(one), Err(other)) => {
            assert_eq!(one, other, "{url}");
            Err(one)
        }
        (probed, dumped) => panic!("{url}: {probed:?} but {:?}", dumped.map(|_| ())),
    }
}

/// Tools for which [`NAME`] is this machine.
fn knowing(home: &TempDir) -> PostgresTools {
    let resolver = Resolver::new(|host, port| {
        assert_eq!(host, NAME);
        Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))])
    });
    PostgresTools { egress: Policy { resolver, ..Policy::default() }, ..tools(home) }
}

fn serve(cluster: &Cluster, issued: &Issued) {
    cluster.give("server.crt", &issued.certificate);
    cluster.give("server.key", &issued.key);
    cluster.reload();
}

/// A URL of the database `shop`, with its host in the place of the address.
fn at(cluster: &Cluster, host: &str, query: &str) -> String {
    format!("{}{query}", cluster.url("shop").replace("127.0.0.1", host))
}

/// The lines the server logged of connections since the last time, of those that were let in.
fn let_in(cluster: &Cluster, from: &mut usize) -> Vec<String> {
    let log = cluster.log();
    let lines =
        log[*from..].lines().filter(|line| line.contains("connection authorized") && line.contains("=shop"));
    let lines = lines.map(str::to_owned).collect();
    *from = log.len();
    lines
}

#[test]
fn a_server_is_checked_as_sslmode_says_by_us_and_by_the_tools() {
    let cluster = Cluster::start();
    cluster.create_database("shop");
    cluster.set("log_connections", "on");
    let home = tempfile::tempdir().unwrap();
    let tools = knowing(&home);
    let (ours, others) = (Authority::new("Our authority"), Authority::new("Another authority"));
    let file = |name: &str, pem: &[u8]| {
        fs::write(home.path().join(name), pem).unwrap();
        home.path().join(name).display().to_string()
    };
    let known = file("ours.pem", &[others.pem(), ours.pem()].concat());
    let foreign = file("others.pem", &others.pem());
    let (day, past) = (-1..5, -9..-1);
    let full = |root: &str| format!("?sslmode=verify-full&sslrootcert={root}");
    let (ca, compatible) =
        (format!("?sslmode=verify-ca&sslrootcert={known}"), format!("?sslmode=require&sslrootcert={known}"));
    let mut from = cluster.log().len();
    let mut check = |what: &str, host: &str, query: &str, expected: Result<bool, &str>| {
        match (try_out(&tools, &at(&cluster, host, query)), expected) {
            (Ok(warning), Ok(tls)) => {
                assert_eq!(warning, None, "{what} {query}: nothing leaves this machine");
                let came = let_in(&cluster, &mut from);
                // The look, the questions before the dump, and the dump.
                assert_eq!(came.len(), 3, "{what} {host} {query}: {came:?}");
                assert!(
                    came.iter().all(|line| line.contains("SSL enabled") == tls),
                    "{what} {query}: {came:?}"
                );
            }
            (Err(said), Err(words)) => {
                assert!(said.contains(words), "{what} {host} {query}: {said}");
                assert_eq!(let_in(&cluster, &mut from), [""; 0], "{what} {query}");
            }
            (outcome, expected) => panic!("{what} {host} {query}: {outcome:?}, not {expected:?}"),
        }
    };

    serve(&cluster, &ours.issue("server", &[NAME, "127.0.0.1"], &day));
    for host in [NAME, "127.0.0.1"] {
        for query in [
            "?sslmode=require",
            "?ssl=true",
            "?sslmode=require&channel_binding=require",
            &ca,
            &compatible,
            &full(&known),
        ] {
            check("right", host, query, Ok(true));
        }
    }
    for query in ["", "?sslmode=prefer", "?channel_binding=disable"] {
        check("right", NAME, query, Ok(true));
    }
    for query in ["?sslmode=disable", "?sslmode=allow"] {
        check("right", NAME, query, Ok(false));
    }
    let unknown = "does not trust (unable to get";
    check("another authority", NAME, &full(&foreign), Err(unknown));
    check("another authority", NAME, &format!("?sslmode=require&sslrootcert={foreign}"), Err(unknown));
    for query in ["?sslmode=verify-full", "?sslrootcert=system", "?sslmode=verify-full&sslrootcert=system"] {
        check("no authority of the system's", NAME, query, Err("this system does not trust"));
    }
    for (query, words) in [
        ("?sslmode=verify-full&sslrootcert=/nowhere/ca.pem", "/nowhere/ca.pem (sslrootcert) cannot be read"),
        ("?sslmode=verify-full&sslrootcert=/etc/passwd", "not a PEM certificate"),
    ] {
        check("no file", NAME, query, Err(words));
    }

    serve(&cluster, &ours.issue(NAME, &["elsewhere.holdfast.test", "192.0.2.9"], &day));
    let words = "is for elsewhere.holdfast.test, 192.0.2.9, not for db.holdfast.test";
    check("wrong name", NAME, &full(&known), Err(words));
    check("wrong name", "127.0.0.1", &full(&known), Err("not for 127.0.0.1"));
    for query in [&ca, &compatible, "?sslmode=require", ""] {
        check("wrong name", NAME, query, Ok(true));
    }
    // As with libpq, the common name counts where there is no other.
    serve(&cluster, &ours.issue(NAME, &[], &day));
    check("common name", NAME, &full(&known), Ok(true));

    serve(&cluster, &ours.issue("server", &[NAME], &past));
    for query in [&ca, &compatible, &full(&known)] {
        check("expired", NAME, query, Err("has expired"));
    }
    check("expired", NAME, "?sslmode=require", Ok(true));

    cluster.set("ssl", "off");
    for query in ["?sslmode=require", &ca, &compatible, &full(&known)] {
        check("off", NAME, query, Err("does not support TLS, and sslmode="));
    }
    check("off", NAME, "?channel_binding=require", Err("does not support channel binding"));
    for query in ["", "?sslmode=prefer", "?sslmode=allow", "?sslmode=disable"] {
        check("off", NAME, query, Ok(false));
    }
}

#[test]
fn what_was_refused_over_tls_is_not_tried_without_it() {
    let cluster = Cluster::start();
    let home = tempfile::tempdir().unwrap();
    cluster.create_database("shop");
    let url = |role: &str, query: &str| format!("postgres://{role}:x@127.0.0.1:{}/shop{query}", cluster.port);
    for role in ["onlyplain", "onlytls"] {
        cluster.psql("shop", &format!("CREATE ROLE {role} SUPERUSER LOGIN PASSWORD 'x'"));
    }
    for query in ["", "?sslmode=prefer", "?sslmode=require"] {
        let said = try_out(&tools(&home), &url("onlyplain", query)).unwrap_err();
        assert!(said.contains("does not allow onlyplain to log in"), "{query}: {said}");
        assert_eq!(said.contains("write ?sslmode=disable"), query.is_empty(), "{query}: {said}");
        assert_eq!(try_out(&tools(&home), &url("onlytls", query)), Ok(None), "{query}");
    }
    assert_eq!(try_out(&tools(&home), &url("onlyplain", "?sslmode=disable")), Ok(None));
    let said = try_out(&tools(&home), &url("onlytls", "?sslmode=disable")).unwrap_err();
    assert!(said.contains("does not allow onlytls to log in"), "{said}");
    for role in ["onlyplain", "onlytls"] {
        assert_eq!(try_out(&tools(&home), &url(role, "?sslmode=allow")), Ok(None), "{role}");
    }
}

#[test]
fn a_server_may_ask_for_a_certificate_of_ours() {
    let cluster = Cluster::start();
    let home = tempfile::tempdir().unwrap();
    cluster.create_database("shop");
    cluster.psql("shop", "CREATE ROLE certified SUPERUSER LOGIN; CREATE ROLE trusted SUPERUSER LOGIN");
    let authority = Authority::new("Authority of clients");
    cluster.give("clients.crt", &authority.pem());
    let rules = fs::read_to_string(cluster.data().join("pg_hba.conf")).unwrap();
    cluster.give(
        "pg_hba.conf",
        format!("hostssl all certified all cert\nhostssl all trusted all trust\n{rules}").as_bytes(),
    );
    cluster.set("ssl_ca_file", "clients.crt");
    let day = -1..5;
    let issued = authority.issue("certified", &[], &day);
    let put = |name: &str, pem: &[u8], mode: u32| {
        let file = home.path().join(name);
        fs::write(&file, pem).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        file.display().to_string()
    };
    let certificate = put("client.crt", &issued.certificate, 0o644);
    let key = put("client.key", &issued.key, 0o600);
    let other = put("other.key", &authority.issue("x", &[], &day).key, 0o600);
    let open = put("open.key", &issued.key, 0o644);
    let private = PKey::private_key_from_pem(&issued.key).unwrap();
    let locked = private.private_key_to_pem_pkcs8_passphrase(Cipher::aes_128_cbc(), b"s3cret").unwrap();
    let locked = put("locked.key", &locked, 0o600);
    let strangers =
        put("stranger.crt", &Authority::new("x").issue("certified", &[], &day).certificate, 0o644);
    let url = |identity: String| {
        format!("postgres://certified@127.0.0.1:{}/shop?sslmode=require{identity}", cluster.port)
    };
    let with = |certificate: &str, key: &str| url(format!("&sslcert={certificate}&sslkey={key}"));
    assert_eq!(try_out(&tools(&home), &with(&certificate, &key)), Ok(None));
    for (url, words) in [
        (url(String::new()), "valid client certificate"),
        (with(&certificate, &open), "chmod 600 "),
        (with(&certificate, &other), "does not belong to the certificate"),
        (with(&certificate, &locked), "has a passphrase"),
        (with(&certificate, &certificate), "sslkey"),
        (with(&key, &key), "(sslcert) is not a PEM certificate"),
        (with("/nowhere/c.pem", &key), "/nowhere/c.pem (sslcert) cannot be read"),
        (with(&strangers, &key), "does not belong to the certificate"),
    ] {
        let said = try_out(&tools(&home), &url).unwrap_err();
        assert!(said.contains(words), "{words}: {said}");
    }
    // A server that asks for nothing gets nothing, from tools of any version.
    let trusted = format!("postgres://trusted:c4n@127.0.0.1:{}/shop?sslmode=require", cluster.port);
    assert_eq!(try_out(&tools(&home), &trusted), Ok(None));
    let said = try_out(&tools(&home), &format!("{trusted}&require_auth=scram-sha-256")).unwrap_err();
    assert!(said.contains("asks for no password at all"), "{said}");
    // What lies in the home directory of whoever runs the tools is not taken for it.
    let hidden = home.path().join(".postgresql");
    fs::create_dir(&hidden).unwrap();
    for (name, pem) in [("postgresql.crt", &issued.certificate), ("postgresql.key", &issued.key)] {
        put(&format!(".postgresql/{name}"), pem, 0o600);
    }
    let bin = script(&home, &cluster, "env > \"$0.env\"");
    let tools = PostgresTools::new(Some(bin.clone()), home.path().join("run"), "/usr/bin:/bin".into());
    assert_eq!(try_out(&tools, &at(&cluster, "127.0.0.1", "?sslmode=require")), Ok(None));
    let environment = fs::read_to_string(bin.join("pg_dump.env")).unwrap();
    for line in [
        "PGSSLCERT=/dev/null/none",
        "PGSSLKEY=/dev/null/none",
        "PGSSLROOTCERT=/dev/null/none",
        "HOME=/dev/null/none",
    ] {
        assert!(environment.lines().any(|there| there == line), "{environment}");
    }
}

/// A `pg_dump` that does something before it becomes the real one.
fn script(home: &TempDir, cluster: &Cluster, line: &str) -> PathBuf {
    let bin = home.path().join("bin");
    fs::create_dir_all(&bin).unwrap();
    let text = format!("#!/bin/sh\n{line}\nexec {}/pg_dump \"$@\"\n", cluster.bin().display());
    fs::write(bin.join("pg_dump"), text).unwrap();
    fs::set_permissions(bin.join("pg_dump"), fs::Permissions::from_mode(0o755)).unwrap();
    bin
}

#[test]
fn of_several_servers_the_one_that_suits_is_used_by_us_and_by_the_tools() {
    let primary = Cluster::start();
    primary.create_database("shop");
    let standby = Cluster::standby_of(&primary);
    let closed = Cluster::start();
    closed.create_database("shop");
    closed.psql("postgres", "ALTER DATABASE shop SET default_transaction_read_only = on");
    let home = tempfile::tempdir().unwrap();
    let bin = script(&home, &primary, "echo \"$PGHOST $PGHOSTADDR $PGPORT\" > \"$0.went\"");
    let tools = PostgresTools::new(Some(bin.clone()), home.path().join("run"), "/usr/bin:/bin".into());
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (first, second, third) = (primary.port, standby.port, closed.port);
    for (ports, wanted, expected) in [
        (vec![nobody, first], "any", Ok(first)),
        (vec![nobody, second, first], "any", Ok(second)),
        (vec![second, first], "read-write", Ok(first)),
        (vec![third, first], "read-write", Ok(first)),
        (vec![first, second], "read-only", Ok(second)),
        (vec![first, third], "read-only", Ok(third)),
        (vec![second, third], "primary", Ok(third)),
        (vec![first, third, second], "standby", Ok(second)),
        (vec![first, second], "prefer-standby", Ok(second)),
        (vec![nobody, first], "prefer-standby", Ok(first)),
        (vec![second], "primary", Err("does not match target_session_attrs=primary")),
        (vec![second, third], "read-write", Err("target_session_attrs=read-write")),
        (vec![nobody], "any", Err("nothing listens at")),
    ] {
        let hosts: Vec<_> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let url = primary.url("shop").replace(&format!("127.0.0.1:{first}"), &hosts.join(","));
        let outcome = try_out(&tools, &format!("{url}?target_session_attrs={wanted}"));
        match (outcome, expected) {
            (Ok(warning), Ok(port)) => {
                assert_eq!(warning, None);
                let went = fs::read_to_string(bin.join("pg_dump.went")).unwrap();
                assert_eq!(went, format!("127.0.0.1 127.0.0.1 {port}\n"), "{wanted} {ports:?}");
            }
            (Err(said), Err(words)) => assert!(said.contains(words), "{said}"),
            (outcome, expected) => panic!("{wanted} {ports:?}: {outcome:?}, not {expected:?}"),
        }
    }
    // One that answers and refuses is the last that is asked, as with libpq.
    let wrong = primary.url("shop").replace("c4n", "c5n");
    let said =
        try_out(&tools, &wrong.replace(&format!(":{first}/"), &format!(":{first},127.0.0.1:{second}/")));
    assert!(said.unwrap_err().contains(&format!("127.0.0.1:{first} rejected the password")));
}

#[test]
fn a_name_the_dns_does_not_know_stands_back_for_the_others_and_a_denied_one_does_not() {
    let cluster = Cluster::start();
    cluster.create_database("shop");
    let home = tempfile::tempdir().unwrap();
    let resolver = Resolver::new(|host, port| match host {
        NAME => Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))]),
        "metadata.holdfast.test" => Ok(vec![SocketAddr::from(([169, 254, 169, 254], port))]),
        _ => Err(std::io::Error::other("no such name")),
    });
    let tools = PostgresTools { egress: Policy { resolver, ..Policy::default() }, ..tools(&home) };
    assert_eq!(try_out(&tools, &at(&cluster, &format!("gone.holdfast.test,{NAME}"), "")), Ok(None));
    let said = try_out(&tools, &at(&cluster, "gone.holdfast.test:1,also.holdfast.test", "")).unwrap_err();
    assert!(said.contains("gone.holdfast.test has no address (no such name)"), "{said}");
    for hosts in [format!("metadata.holdfast.test,{NAME}"), format!("{NAME}:1,metadata.holdfast.test")] {
        let said = try_out(&tools, &at(&cluster, &hosts, "")).unwrap_err();
        assert!(said.contains("Holdfast does not connect to metadata.holdfast.test"), "{said}");
    }
}

#[test]
fn the_url_says_how_long_to_wait_and_by_which_name_to_be_known() {
    let cluster = Cluster::start();
    cluster.create_database("shop");
    cluster.set("log_connections", "on");
    let home = tempfile::tempdir().unwrap();
    let mut from = cluster.log().len();
    let query = "?application_name=night%20run&connect_timeout=20";
    assert_eq!(try_out(&tools(&home), &at(&cluster, "127.0.0.1", query)), Ok(None));
    let came = let_in(&cluster, &mut from);
    assert!(
        came.len() == 3 && came.iter().all(|line| line.contains("application_name=night run")),
        "{came:?}"
    );
    // It listens and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let began = Instant::now();
    let url = format!("postgres://u:p@127.0.0.1:{port}/d?connect_timeout=1");
    let said = engine(&url, &tools(&home)).probe().unwrap_err().to_string();
    assert!(said.contains("did not answer within 1 seconds"), "{said}");
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    // The others of several have their turn.
    let host = format!("127.0.0.1:{port},127.0.0.1");
    assert_eq!(try_out(&tools(&home), &at(&cluster, &host, "?connect_timeout=1")), Ok(None));
    assert_eq!(try_out(&tools(&home), &at(&cluster, &host, "")), Ok(None));
}

/// The seconds until the system asks whether the other side of a connection to `port` is still there; of each that is
/// idle.
fn until_asked(port: u16) -> Vec<u64> {
    const IDLE: &str = "02";
    let there = format!(":{port:04X}");
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    table
        .lines()
        .filter_map(|line| {
            let fields: Vec<_> = line.split_whitespace().collect();
            let (timer, ticks) = fields.get(5)?.split_once(':')?;
            // A hundred ticks a second, on every system there is.
            let seconds = u64::from_str_radix(ticks, 16).ok()? / 100;
            (fields[2].ends_with(&there) && timer == IDLE).then_some(seconds)
        })
        .collect()
}

#[test]
fn idle_connections_of_ours_and_of_the_tools_are_kept_alive() {
    let cluster = Cluster::start();
    cluster.create_database("shop");
    cluster
        .psql("shop", "CREATE TABLE t AS SELECT repeat(md5(i::text), 40) FROM generate_series(1, 40000) i");
    let home = tempfile::tempdir().unwrap();
    let engine = engine(&cluster.url("shop"), &tools(&home));
    let mut dump = engine.begin(home.path(), &Cancel::default()).unwrap();
    assert!(dump.read(&mut [0; 1000]).unwrap() > 0);
    // Nothing is read any more, so the tool stands still.
    let soon = |port: u16| {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let asked = until_asked(port);
            if asked.iter().any(|seconds| (1..=60).contains(seconds)) {
                return;
            }
            assert!(Instant::now() < deadline, "{asked:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    soon(cluster.port);
    let line = children(|line| line.contains("pg_dump")).remove(0).1;
    assert!(line.contains("keepalives_idle=60") && !line.contains("c4n") && !line.contains("shop"), "{line}");
    drop(dump);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let url = format!("postgres://u:p@127.0.0.1:{port}/d?connect_timeout=5");
    let asking = std::thread::spawn({
        let engine = self::engine(&url, &tools(&home));
        move || engine.probe().is_err()
    });
    soon(port);
    drop(silent);
    assert!(asking.join().unwrap());
}
