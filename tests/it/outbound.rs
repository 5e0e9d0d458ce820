//! Where Holdfast connects to, seen from the other end: listeners that count, and a network that counts every
//! connection begun.

#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod metadata_service;

use crate::destinations::settings::Log;
use crate::support::alone::test_alone_under;
use crate::support::holdfast::{Home, PROGRAM};
use crate::support::postgres::{Cluster, cluster};
use crate::support::sshd::Sshd;
use holdfast::domain::destinations::sftp::administration::SftpAdmin;
use holdfast::domain::destinations::sftp::settings::{SecretEdit, SftpInput};
use holdfast::domain::engines::{Cancel, Engines, Target};
use holdfast::domain::jobs::Unwatched;
use holdfast::domain::operations::restore::{Manner, RestoreOptions};
use holdfast::domain::operations::restore_plan::RestoreRequest;
use holdfast::domain::outbound::{Policy, Resolver};
use holdfast::domain::repository::directory::BackupDir;
use holdfast::domain::{Holdfast, Options, destinations};
use holdfast::model::{
    BackupName, CheckStep, Checklist, DatabaseHealth, EngineKind, SftpAuth, SftpForm, StepState,
};
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The name only the tests' own resolver knows.
const NAME: &str = "moving.holdfast.test";

/// A Holdfast that is sent every way out, and a backup to send and restore.
struct Outgoing {
    home: Home,
    /// Of the SQLite database `ledger`.
    ledger: BackupName,
}

/// What a holdfast is to do, and how it went: each way out of this program, one line.
struct Told {
    way: &'static str,
    words: String,
    took: Duration,
}

impl Outgoing {
    fn new() -> Self {
        let mut outgoing =
            Self { home: Home::with_ledger(), ledger: "backup_2025-03-04_05-06-07.dump.gz".parse().unwrap() };
        let holdfast = outgoing.holdfast(Policy::default(), None);
        outgoing.ledger = back_up(&holdfast, "ledger").unwrap();
        outgoing
    }

    /// With the SQLite database `ledger`, and with `postgres` as the database `shop`, as the place for test
    /// restores, too.
    fn holdfast(&self, egress: Policy, postgres: Option<&str>) -> Holdfast {
        self.holdfast_with(egress, postgres, None)
    }

    fn holdfast_with(&self, egress: Policy, postgres: Option<&str>, bin: Option<PathBuf>) -> Holdfast {
        let server = postgres.map(server);
        let shop = server.clone().map(|server| ("shop".parse().unwrap(), server));
        let engines = Engines::default().with_tools(EngineKind::new("postgresql"), bin);
        let mut options = Options { restore_on: server, engines, egress, ..self.home.options() };
        options.databases.extend(shop);
        options.destinations.connect_timeout = Duration::from_secs(2);
        options.destinations.io_timeout = Duration::from_secs(2);
        Holdfast::open(options).unwrap()
    }

    /// Goes every way out there is to `host` and `port`, and says how each went. `archive` is a PostgreSQL backup.
    fn go_every_way(
        &self,
        policy: &Policy,
        host: &str,
        port: u16,
        archive: Option<&BackupName>,
    ) -> Vec<Told> {
        let encoded = percent_encoding::utf8_percent_encode(host, percent_encoding::NON_ALPHANUMERIC);
        let place = if host.starts_with('[') { host.to_owned() } else { encoded.to_string() };
        let url = format!("postgres://me:secret@{place}:{port}/shop");
        // A host that no URL takes can be in none.
        let url = Target::parse(&url).is_ok().then_some(url);
        let holdfast = self.holdfast(policy.clone(), url.as_deref());
        let (cancel, mut told) = (Cancel::default(), Vec::new());
        let mut go = |way, go: &dyn Fn() -> String| {
            let began = Instant::now();
            let words = go();
            told.push(Told { way, words, took: began.elapsed() });
        };
        let input = input(host, port);
        go("test connection", &|| match sftp(&holdfast).check(&input, &cancel) {
            Ok(list) => list.failed().map_or_else(String::new, |outcome| outcome.words.clone()),
            Err(error) => error.to_string(),
        });
        if sftp(&holdfast).save(&input).is_ok() {
            let words = |result: Result<String, holdfast::domain::Error>| match result {
                Ok(done) => done,
                Err(error) => error.to_string(),
            };
            go("upload", &|| {
                words(
                    holdfast
                        .destinations()
                        .upload(&self.ledger, &cancel, &|_, _, _| ())
                        .map(|sent| format!("{sent:?}")),
                )
            });
            go("list", &|| words(holdfast.destinations().listing().map(|list| format!("{list:?}"))));
            go("fetch", &|| {
                words(
                    holdfast
                        .destinations()
                        .fetch(&self.ledger, &cancel, &|_, _, _| ())
                        .map(|got| format!("{got:?}")),
                )
            });
            go("delete", &|| {
                holdfast
                    .destinations()
                    .delete_all(&[self.ledger.to_string()])
                    .bad
                    .first()
                    .cloned()
                    .unwrap_or_default()
            });
        }
        let Some(url) = url else { return told };
        go("probe", &|| match holdfast.databases().test(&"shop".parse().unwrap()).unwrap().health {
            DatabaseHealth::Unreachable(words) => words,
            reachable @ DatabaseHealth::Reachable { .. } => format!("{reachable:?}"),
        });
        go("dump", &|| back_up(&holdfast, "shop").map_or_else(|words| words, |file| file.to_string()));
        if let Some(archive) = archive {
            go("test restore", &|| match holdfast.verifications().prove(archive, &cancel, &Unwatched) {
                Ok(report) => report.notes.join(" "),
                Err(error) => error.to_string(),
            });
            go("restore", &|| {
                let target = Target::parse(&url).unwrap();
                let done = holdfast.restores().restore(
                    archive.as_str(),
                    &target,
                    &RestoreOptions::default(),
                    &cancel,
                    &Unwatched,
                );
                done.map_or_else(|error| error.to_string(), |restored| restored.target)
            });
            go("plan of a restore", &|| {
                let request = RestoreRequest {
                    place: "elsewhere".into(),
                    name: String::new(),
                    url: url.clone().into(),
                    manner: Manner::default(),
                };
                holdfast.restore_plans().plan(1, archive, &request).unwrap_or_else(|error| error.to_string())
            });
        }
        told
    }
}

fn server(url: &str) -> Target {
    Target::parse(url).unwrap()
}

/// The SFTP settings of a holdfast.
fn sftp(holdfast: &Holdfast) -> SftpAdmin {
    SftpAdmin::of(&holdfast.destinations())
}

fn input(host: &str, port: u16) -> SftpInput {
    let form = SftpForm {
        enabled: true,
        send_new: false,
        host: host.into(),
        port: port.to_string(),
        username: "me".into(),
        auth: SftpAuth::Password,
        remote_directory: String::new(),
        write_only: false,
    };
    SftpInput { form, password: SecretEdit::Set("secret".to_owned().into()), ..SftpInput::default() }
}

fn back_up(holdfast: &Holdfast, database: &str) -> Result<BackupName, String> {
    let made = holdfast.creations().back_up(&database.parse().unwrap(), &Cancel::default(), &Unwatched);
    made.map(|finished| finished.file).map_err(|error| {
        let detail = error.detail().unwrap_or_default();
        format!("{error} {detail}")
    })
}

/// A resolver that answers with the next of these each time, the last one for ever, and how often it was asked.
fn moving(answers: &[&str]) -> (Policy, Arc<AtomicUsize>) {
    let answers: Vec<IpAddr> = answers.iter().map(|text| text.parse().unwrap()).collect();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let resolver = Resolver::new(move |host, port| {
        assert_eq!(host, NAME);
        let nth = count.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1);
        Ok(vec![SocketAddr::new(answers[nth], port)])
    });
    (Policy { resolver, ..Policy::default() }, asked)
}

/// A listener that counts who comes, greets them with `greeting`, and hangs up.
struct Counter {
    port: u16,
    came: Arc<AtomicUsize>,
}

impl Counter {
    fn at(address: impl Into<SocketAddr>) -> Self {
        Self::greeting(address, b"")
    }

    fn greeting(address: impl Into<SocketAddr>, greeting: &'static [u8]) -> Self {
        let listener = TcpListener::bind(address.into()).unwrap();
        let port = listener.local_addr().unwrap().port();
        let came = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&came);
        thread::spawn(move || {
            for stream in listener.incoming() {
                count.fetch_add(1, Ordering::SeqCst);
                let _ = stream.unwrap().write_all(greeting);
            }
        });
        Self { port, came }
    }

    /// How many came since the last time.
    fn came(&self, address: IpAddr) -> usize {
        // Whoever came before us has been counted once we are hung up on.
        let mut ours = TcpStream::connect((address, self.port)).unwrap();
        let _ = ours.read_to_end(&mut Vec::new());
        self.came.swap(0, Ordering::SeqCst) - 1
    }
}

fn here() -> IpAddr {
    [127, 0, 0, 1].into()
}

fn step(list: &Checklist, step: CheckStep) -> (StepState, &str) {
    let outcome = list.steps.iter().find(|outcome| outcome.step == step).unwrap();
    (outcome.state, &outcome.words)
}

/// A PostgreSQL backup in the outgoing's directory, and the URL of the server it came from.
fn archived(outgoing: &Outgoing, cluster: &Cluster, database: &str) -> (BackupName, String) {
    cluster.create_database(database);
    cluster.psql(database, "CREATE TABLE t AS SELECT generate_series(1, 10) i");
    let url = cluster.url(database);
    (back_up(&outgoing.holdfast(Policy::default(), Some(&url)), "shop").unwrap(), url)
}

#[test]
fn with_loopback_denied_no_way_out_leads_there_and_all_say_the_same() {
    let outgoing = Outgoing::new();
    let cluster = cluster();
    let archive = archived(&outgoing, &cluster, "denied_loopback").0;
    let open = Counter::at(([127, 0, 0, 1], 0));
    let closed = 1;
    let policy = Policy { loopback: false, ..Policy::default() };
    let mut slowest = Duration::ZERO;
    let mut ways = 0;
    for host in
        ["127.0.0.1", "[::ffff:127.0.0.1]", "localhost", "127.1", "0x7f.1", "2130706433", "0177.0.0.1", "::1"]
    {
        let to_open = outgoing.go_every_way(&policy, host, open.port, Some(&archive));
        let to_closed = outgoing.go_every_way(&policy, host, closed, Some(&archive));
        assert_eq!(to_open.len(), to_closed.len());
        for (one, other) in to_open.iter().zip(&to_closed) {
            assert_eq!(one.words, other.words, "{host}, {}", one.way);
            // The form takes no number for an address, and a URL no IPv6 address without brackets.
            let on_form = one.way == "test connection" && one.words.contains("not a host name or an address");
            assert!(one.words.contains("Holdfast does not connect to") || on_form, "{host}: {}", one.words);
            slowest = slowest.max(one.took).max(other.took);
            ways += 1;
        }
    }
    assert_eq!(open.came(here()), 0);
    assert!(ways >= 60, "{ways}");
    // Nothing is waited for: not even as long as the fastest connection could be told from the slowest.
    println!("{ways} ways, the slowest denial took {slowest:?}");

    // The control: allowed, each of them comes.
    for told in outgoing.go_every_way(&Policy::default(), "127.0.0.1", open.port, Some(&archive)) {
        assert!(!told.words.contains("Holdfast does not connect to"), "{}: {}", told.way, told.words);
    }
    let came = open.came(here());
    assert!(came >= 10, "{came}");
    let told = outgoing.go_every_way(&Policy::default(), "127.0.0.1", closed, None);
    assert!(told.iter().all(|told| told.words.contains("nothing listens")), "{}", told[0].words);
}

#[test]
fn a_name_that_moves_between_look_ups_is_dialled_where_it_was_checked() {
    let outgoing = Outgoing::new();
    // The same port on two addresses of this machine: the name leads to the first when it is checked.
    let first = Counter::at(([127, 0, 0, 1], 0));
    let second = Counter::at(([127, 0, 0, 2], first.port));
    let there = IpAddr::from([127, 0, 0, 2]);
    let (policy, asked) = moving(&["127.0.0.1", "127.0.0.2"]);
    let list = sftp(&outgoing.holdfast(policy.clone(), None))
        .check(&input(NAME, first.port), &Cancel::default())
        .unwrap();
    assert_eq!(step(&list, CheckStep::Resolve), (StepState::Done, &*format!("{NAME} is 127.0.0.1.")));
    assert_eq!((first.came(here()), second.came(there)), (1, 0));
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    // The control: whoever asks again is led elsewhere.
    let again = policy.check(NAME, first.port, Duration::from_secs(1), &Cancel::default()).unwrap();
    TcpStream::connect(again.addresses()).unwrap();
    assert_eq!((first.came(here()), second.came(there)), (0, 1));

    // Each of the others looks up once, too.
    for (way, expected) in [("upload", 1), ("list", 1), ("fetch", 1), ("probe", 1), ("dump", 1)] {
        let (policy, asked) = moving(&["127.0.0.1", "127.0.0.2"]);
        let url = format!("postgres://me:secret@{NAME}:{}/shop", first.port);
        let holdfast = outgoing.holdfast(policy, Some(&url));
        sftp(&holdfast).save(&input(NAME, first.port)).unwrap();
        let cancel = Cancel::default();
        match way {
            "upload" => {
                assert!(holdfast.destinations().upload(&outgoing.ledger, &cancel, &|_, _, _| ()).is_err());
            }
            "list" => assert!(holdfast.destinations().listing().is_err()),
            "fetch" => {
                assert!(holdfast.destinations().fetch(&outgoing.ledger, &cancel, &|_, _, _| ()).is_err());
            }
            "probe" => drop(holdfast.databases().test(&"shop".parse().unwrap()).unwrap()),
            _ => assert!(back_up(&holdfast, "shop").is_err()),
        }
        assert_eq!(asked.load(Ordering::SeqCst), expected, "{way}");
        assert!(first.came(here()) >= 1, "{way}");
        assert_eq!(second.came(there), 0, "{way}");
    }
}

#[test]
fn the_tools_of_postgresql_dial_the_address_that_was_checked() {
    let outgoing = Outgoing::new();
    let cluster = cluster();
    let (_, url) = archived(&outgoing, &cluster, "moved");
    let moved = |database: &str| url.replace("127.0.0.1", NAME).replace("/moved", &format!("/{database}"));
    let astray = Counter::at(([127, 0, 0, 2], cluster.port));
    // The system knows no such name: only the address that was checked leads there.
    let (policy, asked) = moving(&["127.0.0.1", "127.0.0.2"]);
    let holdfast = outgoing.holdfast(policy, Some(&moved("moved")));
    let archive = back_up(&holdfast, "shop").unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 1, "once for the questions and pg_dump");

    // Into another database, and over it, which takes a backup of it: two pieces of work.
    for (overwrite, expected) in [(false, 1), (true, 2)] {
        let (policy, asked) = moving(&vec!["127.0.0.1"; expected]);
        let holdfast = outgoing.holdfast(policy, None);
        let target = Target::parse(&moved("moved_again")).unwrap();
        let options = RestoreOptions { overwrite, ..RestoreOptions::default() };
        let restored = holdfast
            .restores()
            .restore(archive.as_str(), &target, &options, &Cancel::default(), &Unwatched)
            .unwrap();
        assert_eq!(restored.report.rows, Some(10));
        assert_eq!(restored.safety.is_some(), overwrite);
        assert_eq!(asked.load(Ordering::SeqCst), expected);
    }
    let (policy, asked) = moving(&["127.0.0.1", "127.0.0.2"]);
    let holdfast = outgoing.holdfast(policy, Some(&moved("moved")));
    let report = holdfast
        .verifications()
        .verify(archive.as_str(), &RestoreOptions::default(), &Cancel::default(), &Unwatched)
        .unwrap();
    assert_eq!((report.rows, asked.load(Ordering::SeqCst)), (Some(10), 1), "HOLDFAST_RESTORE_ON");
    assert_eq!(astray.came([127, 0, 0, 2].into()), 0);

    // The control: a tool without the address looks the name up, and finds nothing.
    let bin = outgoing.home.path().join("bin");
    fs::create_dir(&bin).unwrap();
    let script = |line: &str| {
        let real = cluster.bin().join("pg_dump");
        let text = format!("#!/bin/sh\n{line}\nexec {} \"$@\"\n", real.display());
        fs::write(bin.join("pg_dump"), text).unwrap();
        fs::set_permissions(bin.join("pg_dump"), fs::Permissions::from_mode(0o755)).unwrap();
        let (policy, _) = moving(&["127.0.0.1"]);
        back_up(&outgoing.holdfast_with(policy, Some(&moved("moved")), Some(bin.clone())), "shop")
    };
    let said = script("unset PGHOSTADDR").unwrap_err();
    assert!(said.contains("could not translate host name") && said.contains(NAME), "{said}");
    let file = bin.join("env");
    script(&format!("env > {}", file.display())).unwrap();
    let environment = fs::read_to_string(file).unwrap();
    for line in [format!("PGHOST={NAME}"), "PGHOSTADDR=127.0.0.1".to_owned()] {
        assert!(environment.lines().any(|there| there == line), "{environment}");
    }
}

#[test]
fn a_name_with_several_addresses_is_tried_one_after_the_other_by_all() {
    let outgoing = Outgoing::new();
    let cluster = cluster();
    let (_, url) = archived(&outgoing, &cluster, "several");
    // Nobody listens on the first.
    let resolver = Resolver::new(|_, port| {
        Ok([[127, 0, 0, 3], [127, 0, 0, 1]].map(|ip| SocketAddr::from((ip, port))).to_vec())
    });
    let policy = Policy { resolver, ..Policy::default() };
    let url = url.replace("127.0.0.1", NAME);
    let holdfast = outgoing.holdfast(policy.clone(), Some(&url));
    let archive = back_up(&holdfast, "shop").unwrap();
    let target = Target::parse(&url.replace("/several", "/several_again")).unwrap();
    holdfast
        .restores()
        .restore(archive.as_str(), &target, &RestoreOptions::default(), &Cancel::default(), &Unwatched)
        .unwrap();
    let sshd = Sshd::start();
    let list = sftp(&holdfast).check(&input(NAME, sshd.port), &Cancel::default()).unwrap();
    assert_eq!(step(&list, CheckStep::Connect).0, StepState::Done, "{list:?}");
}

#[test]
fn the_directory_of_a_socket_is_no_way_out_and_stays_open() {
    let outgoing = Outgoing::new();
    let cluster = cluster();
    cluster.create_database("by_socket");
    let policy = Policy { loopback: false, private: false, ..Policy::default() };
    let directory = cluster.socket().display().to_string().replace('/', "%2F");
    let url = format!("postgres://{}@{directory}:{}/by_socket", crate::support::postgres::USER, cluster.port);
    let file = back_up(&outgoing.holdfast(policy.clone(), Some(&url)), "shop").unwrap();
    let target = Target::parse(&url.replace("/by_socket", "/by_socket_again")).unwrap();
    let holdfast = outgoing.holdfast(policy.clone(), None);
    holdfast
        .restores()
        .restore(file.as_str(), &target, &RestoreOptions::default(), &Cancel::default(), &Unwatched)
        .unwrap();
    // The control: the same server by its address.
    let said = back_up(&outgoing.holdfast(policy, Some(&cluster.url("by_socket"))), "shop").unwrap_err();
    assert!(said.contains("Holdfast does not connect to 127.0.0.1"), "{said}");
}

#[test]
fn private_networks_are_dialled_unless_they_are_denied() {
    let outgoing = Outgoing::new();
    let policy = |private| Policy { private, ..Policy::default() };
    for host in ["10.255.255.1", "192.168.255.1", "172.31.255.1", "100.64.0.1", "[fd12:3456::1]"] {
        let told = outgoing.go_every_way(&policy(false), host, 1, None);
        assert!(told.len() >= 7, "{host}");
        assert!(told.iter().all(|told| told.words.contains("Holdfast does not connect to")), "{host}");
    }
    // The control. Whether there is a way or not, it is looked for.
    for private in [true, false] {
        let list = sftp(&outgoing.holdfast(policy(private), None))
            .check(&input("10.255.255.1", 1), &Cancel::default())
            .unwrap();
        let failing = if private { CheckStep::Connect } else { CheckStep::Resolve };
        assert_eq!(step(&list, failing).0, StepState::Failed, "{list:?}");
    }
}

#[test]
fn what_a_stranger_says_of_itself_is_never_shown() {
    let outgoing = Outgoing::new();
    let holdfast = outgoing.holdfast(Policy::default(), None);
    for greeting in [
        &b"220 c4nary FTP ready\r\n"[..],
        b"SSH-2.0-c4nary\r\n",
        b"SSH-1.5-c4nary\r\n",
        b"c4nary\r\nSSH-2.0-c4nary c4nary\r\n",
        b"SSH-2.0-c4nary\r\n\0\0\0\x1c\x0a\x01\0\0\0\x02\0\0\0\x06c4nary\0\0\0\0xxxxxxxxxxx",
        b"\0\0\0\x10c4nary c4nary c4nary c4nary",
    ] {
        let counter = Counter::greeting(([127, 0, 0, 1], 0), greeting);
        let list = sftp(&holdfast).check(&input("127.0.0.1", counter.port), &Cancel::default()).unwrap();
        assert_eq!(list.failed().map(|outcome| outcome.step), Some(CheckStep::Connect));
        assert!(!format!("{list:?}").contains("c4nary"), "{list:?}");
        assert_eq!(counter.came(here()), 1, "the control: it was there and said so");
    }
    // A real one with a name and a banner of its own, up to the failing login.
    let sshd = Sshd::with("VersionAddendum c4nary\nBanner /etc/passwd\n");
    let of = input("127.0.0.1", sshd.port);
    let list = sftp(&holdfast).check(&of, &Cancel::default()).unwrap();
    let found = list.host_key.clone().unwrap();
    let key = holdfast::model::HostKey { key_type: Some(found.key_type), fingerprint: found.fingerprint };
    sftp(&holdfast).approve("127.0.0.1", sshd.port, key).unwrap();
    let list = sftp(&holdfast).check(&of, &Cancel::default()).unwrap();
    assert_eq!(step(&list, CheckStep::LogIn).0, StepState::Failed, "{list:?}");
    let shown = format!("{list:?}");
    assert!(!shown.contains("c4nary") && !shown.contains("root:"), "{shown}");
    let mut first = [0; 64];
    let mut stream = TcpStream::connect(("127.0.0.1", sshd.port)).unwrap();
    let read = stream.read(&mut first).unwrap();
    assert!(String::from_utf8_lossy(&first[..read]).contains("c4nary"), "the control");
}

#[test]
fn ten_servers_without_ssh_a_minute_are_the_most_for_all_but_uploads() {
    let outgoing = Outgoing::new();
    let holdfast = outgoing.holdfast(Policy::default(), None);
    let options = destinations::Options { retries: 0, ..destinations::Options::default() };
    assert_eq!(options.strangers, 10);
    let limited = {
        let at = |name: &str| outgoing.home.path().join(name);
        let store = holdfast::domain::state::Store::open(&at("data").join("holdfast.db")).unwrap();
        let secrets = holdfast::domain::state::secrets::Secrets::new(at("data").join("key"));
        let backups = BackupDir::open(holdfast.backup_dir()).unwrap();
        crate::support::destinations::destinations(&store, &secrets, &Arc::new(backups), options)
    };
    let settings = SftpAdmin::of(&limited);
    let check = |port| settings.check(&input("127.0.0.1", port), &Cancel::default());
    let sshd = Sshd::start();
    for _ in 0..12 {
        assert!(check(sshd.port).unwrap().host_key.is_some(), "an SSH server costs nothing");
    }
    let strangers: Vec<_> = (0..10).map(|_| Counter::at(([127, 0, 0, 1], 0))).collect();
    for stranger in &strangers {
        assert!(!check(stranger.port).unwrap().is_good());
        assert_eq!(stranger.came(here()), 1);
    }
    let counter = Counter::at(([127, 0, 0, 1], 0));
    let refused = check(counter.port).unwrap_err().to_string();
    assert_eq!(
        refused,
        "10 servers were contacted within a minute, and none of them accepts copies. Wait a minute, then try again."
    );
    // Nor does saving another server and looking at what lies there help.
    settings.save(&input("127.0.0.1", counter.port)).unwrap();
    assert_eq!(limited.listing().unwrap_err().to_string(), refused);
    assert_eq!(limited.delete(&outgoing.ledger).unwrap_err().to_string(), refused);
    assert_eq!(counter.came(here()), 0);
    assert!(!check(strangers[3].port).unwrap().is_good(), "one that counts already is tried again");

    // The control, and the exception: backups go out whatever else is tried.
    assert!(limited.upload(&outgoing.ledger, &Cancel::default(), &|_, _, _| ()).is_err());
    assert_eq!(counter.came(here()), 1);
}

#[test]
fn a_denial_is_logged_once_with_host_and_port_and_nothing_else() {
    let outgoing = Outgoing::new();
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .with_max_level(tracing::Level::WARN)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, || {
        let holdfast =
            outgoing.holdfast(Policy::default(), Some("postgres://me:s3cret@169.254.169.254:5433/shop"));
        sftp(&holdfast).check(&input("169.254.169.254", 2222), &Cancel::default()).unwrap();
        holdfast.databases().test(&"shop".parse().unwrap()).unwrap();
        sftp(&holdfast).check(&input("fe80::1%\u{1b}[31m", 22), &Cancel::default()).unwrap_err();
    });
    let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<serde_json::Value> =
        logged.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2, "{logged}");
    for (line, port) in lines.iter().zip([2222, 5433]) {
        let fields = line["fields"].as_object().unwrap();
        assert_eq!(fields.len(), 3, "{fields:?}");
        assert_eq!(fields["host"], "\"169.254.169.254\"");
        assert_eq!(fields["port"], port);
        assert_eq!(fields["message"], "a connection was denied by the outbound policy");
    }
}

#[test]
fn the_settings_close_loopback_and_private_networks_and_open_them_by_default() {
    let home = tempfile::tempdir().unwrap();
    let counter = Counter::at(([127, 0, 0, 1], 0));
    let denied = |host: &str, arguments: &[&str], variables: &[(&str, &str)]| {
        let url = format!("shop=postgres://me:secret@{host}:{}/shop", counter.port);
        let output = Command::new(PROGRAM)
            .args(["backup", "shop"])
            .args(arguments)
            .current_dir(home.path())
            .env_remove("HOLDFAST_DENY_LOOPBACK")
            .env_remove("HOLDFAST_DENY_PRIVATE")
            .env("HOLDFAST_DATABASES", url)
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        assert!(!output.status.success());
        let came = counter.came(here()) > 0;
        let denied = String::from_utf8_lossy(&output.stderr).contains("Holdfast does not connect to");
        assert!(!(denied && came));
        denied
    };
    let loopback = "HOLDFAST_DENY_LOOPBACK";
    assert!(!denied("localhost", &[], &[]), "the control");
    assert!(denied("localhost", &["--deny-loopback-targets"], &[]));
    for (value, closed) in
        [("1", true), ("true", true), ("yes", true), ("0", false), ("false", false), ("", false)]
    {
        assert_eq!(denied("localhost", &[], &[(loopback, value)]), closed, "{value:?}");
    }
    assert!(!denied("127.0.0.1", &["--deny-private-targets"], &[("HOLDFAST_DENY_PRIVATE", "1")]));
    assert!(denied("10.255.255.1", &["--deny-private-targets"], &[]));
    assert!(denied("10.255.255.1", &[], &[("HOLDFAST_DENY_PRIVATE", "1")]));
    assert!(denied("169.254.169.254", &[], &[(loopback, "0"), ("HOLDFAST_DENY_PRIVATE", "0")]));
}
