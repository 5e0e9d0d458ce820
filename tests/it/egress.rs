//! Where Holdfast connects to, seen from the other end: listeners that count, and a network that counts every
//! connection begun.

#![expect(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "tests")]

use crate::destinations::settings::Log;
use crate::support::desk::small_database;
use crate::support::postgres::{Cluster, cluster};
use crate::support::sshd::Sshd;
use holdfast::domain::destinations::sftp::administration::SftpAdmin;
use holdfast::domain::destinations::sftp::settings::{SecretEdit, SftpInput};
use holdfast::domain::engines::postgres::server::Server;
use holdfast::domain::engines::{Cancel, Target};
use holdfast::domain::jobs::Unwatched;
use holdfast::domain::operations::compress::Effort;
use holdfast::domain::operations::restore::{Manner, RestoreOptions};
use holdfast::domain::operations::restore_plan::Wish;
use holdfast::domain::outbound::{Policy, Resolver};
use holdfast::domain::repository::publish::BackupDir;
use holdfast::domain::{Holdfast, Options, destinations};
use holdfast::model::{
    BackupName, CheckStep, Checklist, DatabaseHealth, SftpAuth, SftpForm, Stamp, StepState,
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
use tempfile::TempDir;

/// The name only the tests' own resolver knows.
const NAME: &str = "moving.holdfast.test";

/// A holdfast, what it stands on, and a backup of each engine to send and restore.
struct Harbour {
    home: TempDir,
    /// Of the SQLite database `ledger`.
    ledger: BackupName,
}

/// What a holdfast is to do, and how it went: each way out of this program, one line.
struct Told {
    way: &'static str,
    words: String,
    took: Duration,
}

impl Harbour {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        small_database(&home.path().join("ledger.db"));
        let mut harbour = Self { home, ledger: "backup_2025-03-04_05-06-07.dump.gz".parse().unwrap() };
        let holdfast = harbour.holdfast(Policy::default(), None);
        harbour.ledger = back_up(&holdfast, "ledger").unwrap();
        harbour
    }

    /// With the SQLite database `ledger`, and with `postgres` as the database `shop`, as the place for test
    /// restores, too.
    fn holdfast(&self, egress: Policy, postgres: Option<&str>) -> Holdfast {
        self.holdfast_with(egress, postgres, None)
    }

    fn holdfast_with(&self, egress: Policy, postgres: Option<&str>, bin: Option<PathBuf>) -> Holdfast {
        let at = |name: &str| self.home.path().join(name);
        let mut databases = vec![("ledger".parse().unwrap(), Target::Sqlite(at("ledger.db")))];
        let server = postgres.map(server);
        databases.extend(server.clone().map(|s| ("shop".parse().unwrap(), Target::Postgres(s))));
        let clock = || Stamp::from_millis(1_795_401_667_123);
        Holdfast::open(Options {
            data_dir: at("data"),
            backup_dir: at("backups"),
            databases,
            broken: Vec::new(),
            restore_on: server,
            postgres_bin: bin,
            path: "/usr/bin:/bin".into(),
            clock: Arc::new(clock),
            effort: Effort::default(),
            destinations: destinations::Options {
                connect_timeout: Duration::from_secs(2),
                io_timeout: Duration::from_secs(2),
                retries: 0,
                strangers: 10_000,
                ..destinations::Options::default()
            },
            import: holdfast::domain::operations::import::Limits::default(),
            egress,
        })
        .unwrap()
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
        go("probe", &|| match holdfast.try_database(&"shop".parse().unwrap()).unwrap().health {
            DatabaseHealth::Unreachable(words) => words,
            reachable @ DatabaseHealth::Reachable { .. } => format!("{reachable:?}"),
        });
        go("dump", &|| back_up(&holdfast, "shop").map_or_else(|words| words, |file| file.to_string()));
        if let Some(archive) = archive {
            go("test restore", &|| match holdfast.prove(archive, &cancel, &Unwatched) {
                Ok(report) => report.notes.join(" "),
                Err(error) => error.to_string(),
            });
            go("restore", &|| {
                let target = Target::parse(&url).unwrap();
                let done = holdfast.restore(
                    archive.as_str(),
                    &target,
                    &RestoreOptions::default(),
                    &cancel,
                    &Unwatched,
                );
                done.map_or_else(|error| error.to_string(), |restored| restored.target)
            });
            go("plan of a restore", &|| {
                let wish = Wish {
                    place: "elsewhere".into(),
                    name: String::new(),
                    url: url.clone().into(),
                    manner: Manner::default(),
                };
                holdfast.plan_restore(1, archive, &wish).unwrap_or_else(|error| error.to_string())
            });
        }
        told
    }
}

fn server(url: &str) -> Server {
    match Target::parse(url).unwrap() {
        Target::Postgres(server) => server,
        Target::Sqlite(path) => panic!("{}", path.display()),
    }
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
    let made = holdfast.back_up(&database.parse().unwrap(), &Cancel::default(), &Unwatched);
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

/// A PostgreSQL backup in the harbour's directory, and the URL of the server it came from.
fn archived(harbour: &Harbour, cluster: &Cluster, database: &str) -> (BackupName, String) {
    cluster.create_database(database);
    cluster.psql(database, "CREATE TABLE t AS SELECT generate_series(1, 10) i");
    let url = cluster.url(database);
    (back_up(&harbour.holdfast(Policy::default(), Some(&url)), "shop").unwrap(), url)
}

#[test]
fn with_loopback_denied_no_way_out_leads_there_and_all_say_the_same() {
    let harbour = Harbour::new();
    let cluster = cluster();
    let archive = archived(&harbour, &cluster, "denied_loopback").0;
    let open = Counter::at(([127, 0, 0, 1], 0));
    let closed = 1;
    let policy = Policy { loopback: false, ..Policy::default() };
    let mut slowest = Duration::ZERO;
    let mut ways = 0;
    for host in
        ["127.0.0.1", "[::ffff:127.0.0.1]", "localhost", "127.1", "0x7f.1", "2130706433", "0177.0.0.1", "::1"]
    {
        let to_open = harbour.go_every_way(&policy, host, open.port, Some(&archive));
        let to_closed = harbour.go_every_way(&policy, host, closed, Some(&archive));
        assert_eq!(to_open.len(), to_closed.len());
        for (one, other) in to_open.iter().zip(&to_closed) {
            assert_eq!(one.words, other.words, "{host}, {}", one.way);
            // The form takes no number for an address, and a URL no IPv6 address without brackets.
            let on_form = one.way == "test connection" && one.words.contains("neither a name nor an address");
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
    for told in harbour.go_every_way(&Policy::default(), "127.0.0.1", open.port, Some(&archive)) {
        assert!(!told.words.contains("Holdfast does not connect to"), "{}: {}", told.way, told.words);
    }
    let came = open.came(here());
    assert!(came >= 10, "{came}");
    let told = harbour.go_every_way(&Policy::default(), "127.0.0.1", closed, None);
    assert!(told.iter().all(|told| told.words.contains("nothing listens")), "{}", told[0].words);
}

#[test]
fn a_name_that_moves_between_look_ups_is_dialled_where_it_was_checked() {
    let harbour = Harbour::new();
    // The same port on two addresses of this machine: the name leads to the first when it is checked.
    let first = Counter::at(([127, 0, 0, 1], 0));
    let second = Counter::at(([127, 0, 0, 2], first.port));
    let there = IpAddr::from([127, 0, 0, 2]);
    let (policy, asked) = moving(&["127.0.0.1", "127.0.0.2"]);
    let list = sftp(&harbour.holdfast(policy.clone(), None))
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
        let holdfast = harbour.holdfast(policy, Some(&url));
        sftp(&holdfast).save(&input(NAME, first.port)).unwrap();
        let cancel = Cancel::default();
        match way {
            "upload" => {
                assert!(holdfast.destinations().upload(&harbour.ledger, &cancel, &|_, _, _| ()).is_err());
            }
            "list" => assert!(holdfast.destinations().listing().is_err()),
            "fetch" => {
                assert!(holdfast.destinations().fetch(&harbour.ledger, &cancel, &|_, _, _| ()).is_err());
            }
            "probe" => drop(holdfast.try_database(&"shop".parse().unwrap()).unwrap()),
            _ => assert!(back_up(&holdfast, "shop").is_err()),
        }
        assert_eq!(asked.load(Ordering::SeqCst), expected, "{way}");
        assert!(first.came(here()) >= 1, "{way}");
        assert_eq!(second.came(there), 0, "{way}");
    }
}

#[test]
fn the_tools_of_postgresql_dial_the_address_that_was_checked() {
    let harbour = Harbour::new();
    let cluster = cluster();
    let (_, url) = archived(&harbour, &cluster, "moved");
    let moved = |database: &str| url.replace("127.0.0.1", NAME).replace("/moved", &format!("/{database}"));
    let astray = Counter::at(([127, 0, 0, 2], cluster.port));
    // The system knows no such name: only the address that was checked leads there.
    let (policy, asked) = moving(&["127.0.0.1", "127.0.0.2"]);
    let holdfast = harbour.holdfast(policy, Some(&moved("moved")));
    let archive = back_up(&holdfast, "shop").unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 1, "once for the questions and pg_dump");

    // Into another database, and over it, which takes a backup of it: two pieces of work.
    for (overwrite, expected) in [(false, 1), (true, 2)] {
        let (policy, asked) = moving(&vec!["127.0.0.1"; expected]);
        let holdfast = harbour.holdfast(policy, None);
        let target = Target::parse(&moved("moved_again")).unwrap();
        let options = RestoreOptions { overwrite, ..RestoreOptions::default() };
        let restored =
            holdfast.restore(archive.as_str(), &target, &options, &Cancel::default(), &Unwatched).unwrap();
        assert_eq!(restored.report.rows, Some(10));
        assert_eq!(restored.safety.is_some(), overwrite);
        assert_eq!(asked.load(Ordering::SeqCst), expected);
    }
    let (policy, asked) = moving(&["127.0.0.1", "127.0.0.2"]);
    let holdfast = harbour.holdfast(policy, Some(&moved("moved")));
    let report = holdfast
        .verify(archive.as_str(), &RestoreOptions::default(), &Cancel::default(), &Unwatched)
        .unwrap();
    assert_eq!((report.rows, asked.load(Ordering::SeqCst)), (Some(10), 1), "HOLDFAST_RESTORE_ON");
    assert_eq!(astray.came([127, 0, 0, 2].into()), 0);

    // The control: a tool without the address looks the name up, and finds nothing.
    let bin = harbour.home.path().join("bin");
    fs::create_dir(&bin).unwrap();
    let script = |line: &str| {
        let real = cluster.bin().join("pg_dump");
        let text = format!("#!/bin/sh\n{line}\nexec {} \"$@\"\n", real.display());
        fs::write(bin.join("pg_dump"), text).unwrap();
        fs::set_permissions(bin.join("pg_dump"), fs::Permissions::from_mode(0o755)).unwrap();
        let (policy, _) = moving(&["127.0.0.1"]);
        back_up(&harbour.holdfast_with(policy, Some(&moved("moved")), Some(bin.clone())), "shop")
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
    let harbour = Harbour::new();
    let cluster = cluster();
    let (_, url) = archived(&harbour, &cluster, "several");
    // Nobody listens on the first.
    let resolver = Resolver::new(|_, port| {
        Ok([[127, 0, 0, 3], [127, 0, 0, 1]].map(|ip| SocketAddr::from((ip, port))).to_vec())
    });
    let policy = Policy { resolver, ..Policy::default() };
    let url = url.replace("127.0.0.1", NAME);
    let holdfast = harbour.holdfast(policy.clone(), Some(&url));
    let archive = back_up(&holdfast, "shop").unwrap();
    let target = Target::parse(&url.replace("/several", "/several_again")).unwrap();
    holdfast
        .restore(archive.as_str(), &target, &RestoreOptions::default(), &Cancel::default(), &Unwatched)
        .unwrap();
    let sshd = Sshd::start();
    let list = sftp(&holdfast).check(&input(NAME, sshd.port), &Cancel::default()).unwrap();
    assert_eq!(step(&list, CheckStep::Connect).0, StepState::Done, "{list:?}");
}

#[test]
fn the_directory_of_a_socket_is_no_way_out_and_stays_open() {
    let harbour = Harbour::new();
    let cluster = cluster();
    cluster.create_database("by_socket");
    let policy = Policy { loopback: false, private: false, ..Policy::default() };
    let directory = cluster.socket().display().to_string().replace('/', "%2F");
    let url = format!("postgres://{}@{directory}:{}/by_socket", crate::support::postgres::USER, cluster.port);
    let file = back_up(&harbour.holdfast(policy.clone(), Some(&url)), "shop").unwrap();
    let target = Target::parse(&url.replace("/by_socket", "/by_socket_again")).unwrap();
    let holdfast = harbour.holdfast(policy.clone(), None);
    holdfast
        .restore(file.as_str(), &target, &RestoreOptions::default(), &Cancel::default(), &Unwatched)
        .unwrap();
    // The control: the same server by its address.
    let said = back_up(&harbour.holdfast(policy, Some(&cluster.url("by_socket"))), "shop").unwrap_err();
    assert!(said.contains("Holdfast does not connect to 127.0.0.1"), "{said}");
}

#[test]
fn private_networks_are_dialled_unless_they_are_denied() {
    let harbour = Harbour::new();
    let policy = |private| Policy { private, ..Policy::default() };
    for host in ["10.255.255.1", "192.168.255.1", "172.31.255.1", "100.64.0.1", "[fd12:3456::1]"] {
        let told = harbour.go_every_way(&policy(false), host, 1, None);
        assert!(told.len() >= 7, "{host}");
        assert!(told.iter().all(|told| told.words.contains("Holdfast does not connect to")), "{host}");
    }
    // The control. Whether there is a way or not, it is looked for.
    for private in [true, false] {
        let list = sftp(&harbour.holdfast(policy(private), None))
            .check(&input("10.255.255.1", 1), &Cancel::default())
            .unwrap();
        let failing = if private { CheckStep::Connect } else { CheckStep::Resolve };
        assert_eq!(step(&list, failing).0, StepState::Failed, "{list:?}");
    }
}

#[test]
fn what_a_stranger_says_of_itself_is_never_shown() {
    let harbour = Harbour::new();
    let holdfast = harbour.holdfast(Policy::default(), None);
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
    // A real one with a name and a banner of its own, up to the failing log-in.
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
    let harbour = Harbour::new();
    let options = destinations::Options { retries: 0, ..destinations::Options::default() };
    assert_eq!(options.strangers, 10);
    let limited = {
        let at = |name: &str| harbour.home.path().join(name);
        let store = holdfast::domain::state::Store::open(&at("data").join("holdfast.db")).unwrap();
        let secrets = holdfast::domain::state::secrets::Secrets::new(at("data").join("key"));
        let backups = BackupDir::open(&at("backups")).unwrap();
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
        "10 servers were tried within a minute, and none of them takes copies. Wait a minute, then try again."
    );
    // Nor does saving another server and looking at what lies there help.
    settings.save(&input("127.0.0.1", counter.port)).unwrap();
    assert_eq!(limited.listing().unwrap_err().to_string(), refused);
    assert_eq!(limited.delete(&harbour.ledger).unwrap_err().to_string(), refused);
    assert_eq!(counter.came(here()), 0);
    assert!(!check(strangers[3].port).unwrap().is_good(), "one that counts already is tried again");

    // The control, and the exception: backups go out whatever else is tried.
    assert!(limited.upload(&harbour.ledger, &Cancel::default(), &|_, _, _| ()).is_err());
    assert_eq!(counter.came(here()), 1);
}

#[test]
fn a_denial_is_logged_once_with_host_and_port_and_nothing_else() {
    let harbour = Harbour::new();
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .with_max_level(tracing::Level::WARN)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, || {
        let holdfast =
            harbour.holdfast(Policy::default(), Some("postgres://me:s3cret@169.254.169.254:5433/shop"));
        sftp(&holdfast).check(&input("169.254.169.254", 2222), &Cancel::default()).unwrap();
        holdfast.try_database(&"shop".parse().unwrap()).unwrap();
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
        let output = Command::new(env!("CARGO_BIN_EXE_holdfast"))
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

/// Set in the process that runs in a network of its own.
const INSIDE: &str = "HOLDFAST_TEST_OWN_NETWORK";

/// Names of the metadata service and of what else is never dialled, in that network.
const NEVER: [&str; 30] = [
    "169.254.169.254",
    "169.254.169.254.",
    "metadata.test",
    "METADATA.test",
    "half.test",
    "2852039166",
    "0xa9fea9fe",
    "0251.0376.0251.0376",
    "0xa9.254.0xa9.254",
    "169.254.43518",
    "169.16689662",
    "[::ffff:169.254.169.254]",
    "::ffff:a9fe:a9fe",
    "[::ffff:a9fe:a9fe]",
    "[0:0:0:0:0:ffff:169.254.169.254]",
    "[::169.254.169.254]",
    "[64:ff9b::a9fe:a9fe]",
    "[2002:a9fe:a9fe::1]",
    "[fd00:ec2::254]",
    "[fd00:0ec2:0::0254]",
    "fd00:ec2::254",
    "metadata6.test",
    "[fe80::1%25lo]",
    "[fe80::1]",
    "0",
    "0.0.0.0",
    "[::]",
    "224.0.0.1",
    "255.255.255.255",
    "[ff02::1]",
];

/// How many connections this network has begun since it is there, answered or not.
fn begun() -> u64 {
    let text = fs::read_to_string("/proc/self/net/snmp").unwrap();
    let lines: Vec<Vec<&str>> = text
        .lines()
        .filter(|line| line.starts_with("Tcp:"))
        .map(|line| line.split_whitespace().collect())
        .collect();
    let at = lines[0].iter().position(|name| *name == "ActiveOpens").unwrap();
    lines[1][at].parse().unwrap()
}

/// Not a test of its own: the process that `not_one_connection_to_a_metadata_service_is_begun` starts in a network where
/// the addresses of metadata services are its own.
#[test]
fn goes_every_way_in_a_network_of_its_own() {
    if std::env::var_os(INSIDE).is_none() {
        return;
    }
    let harbour = Harbour::new();
    let listening = [Counter::at(([169, 254, 169, 254], 22)), Counter::at(([127, 0, 0, 1], 22))];
    // A PostgreSQL backup by its first bytes, which is as far as a restore gets before it connects.
    let archive: BackupName = "backup_2025-03-04_05-06-07.dump.gz".parse().unwrap();
    let holdfast = harbour.holdfast(Policy::default(), None);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(b"PGDMP\x01\x0e\0\x04\x08\x01").unwrap();
    fs::write(holdfast.backup_dir().join(archive.as_str()), gzip.finish().unwrap()).unwrap();

    let (before, mut told) = (begun(), Vec::new());
    for host in NEVER {
        for port in [22, 1] {
            told.extend(
                harbour
                    .go_every_way(&Policy::default(), host, port, Some(&archive))
                    .into_iter()
                    .map(|told| (host, told)),
            );
        }
    }
    assert_eq!(begun() - before, 0);
    assert!(listening.iter().all(|counter| counter.came.load(Ordering::SeqCst) == 0));
    let denied = told.iter().filter(|(_, told)| told.words.contains("Holdfast does not connect to")).count();
    println!("\n{} spellings, {} ways gone, {denied} denied, 0 connections begun", NEVER.len(), told.len());
    assert!(denied > 300, "{denied}");
    for host in NEVER {
        let is_denied = |(of, told): &(&str, Told)| *of == host && told.words.contains("does not connect to");
        assert!(told.iter().any(is_denied), "{host}");
    }

    // The control: that address answers here, and what the policy lets by is counted, answered or not.
    let before = begun();
    TcpStream::connect("169.254.169.254:22").unwrap();
    TcpStream::connect("169.254.169.254:1").unwrap_err();
    let allowed = harbour.go_every_way(&Policy::default(), "127.0.0.1", 1, Some(&archive));
    let (ways, counted) = (allowed.len() as u64, begun() - before);
    println!("the control: 2 by hand and {ways} ways to 127.0.0.1, {counted} connections begun");
    assert!(counted >= 2 + ways - 1, "{counted}");
    assert_eq!(listening[0].came([169, 254, 169, 254].into()), 1);

    // An address of this machine in a private network is this machine: closed with loopback, and open with it.
    let before = begun();
    let policy = Policy { loopback: false, ..Policy::default() };
    for host in ["10.9.8.7", "[::ffff:10.9.8.7]", "0x0a090807"] {
        let told = harbour.go_every_way(&policy, host, 22, None);
        assert!(told.iter().any(|told| told.words.contains("Holdfast does not connect to")), "{host}");
    }
    assert_eq!(begun() - before, 0);
    let told = harbour.go_every_way(&policy, "10.9.8.6", 22, None);
    assert!(told.iter().all(|told| !told.words.contains("Holdfast does not connect to")), "the control");
    harbour.go_every_way(&Policy::default(), "10.9.8.7", 22, None);
    assert!(begun() - before >= 7, "the control");
    println!("went every way");
}

/// Every spelling goes every way, to ports where somebody listens and to others.
#[test]
fn not_one_connection_to_a_metadata_service_is_begun() {
    let home = tempfile::tempdir().unwrap();
    let hosts = home.path().join("hosts");
    let names = "127.0.0.1 localhost\n169.254.169.254 metadata.test\nfd00:ec2::254 metadata6.test\n\
                 127.0.0.1 half.test\n169.254.169.254 half.test\n";
    fs::write(&hosts, names).unwrap();
    let lay = format!(
        "set -e; mount --bind {} /etc/hosts; ip link set lo up; ip addr add 169.254.169.254/32 dev lo; \
         ip addr add 10.9.8.7/32 dev lo; \
         ip addr add fd00:ec2::254/128 dev lo nodad || true; echo laid; exec \"$@\"",
        hosts.display()
    );
    for flags in ["-mn", "-rmn"] {
        let mut command = Command::new("unshare");
        command.args([flags, "sh", "-c", &lay, "sh"]).arg(std::env::current_exe().unwrap());
        command.args(["--exact", "egress::goes_every_way_in_a_network_of_its_own", "--nocapture"]);
        let output = command.env(INSIDE, "yes").output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if said.contains("laid") {
            println!("{said}");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            assert!(said.contains("went every way"));
            return;
        }
        println!("unshare {flags}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    println!("skipped: the system lets us have no network of our own");
}
