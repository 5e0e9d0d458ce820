//! Listeners that pose as the server of a PostgreSQL URL: what they get to hear, from us and from the tools.

#![expect(clippy::unwrap_used, reason = "tests")]

use crate::engines::dumping::{dump, engine, tools, verdict};
use crate::support::certificates::{Authority, Issued};
use crate::support::postgres::{Cluster, PASSWORD};
use holdfast::domain::engines::postgres::archive::Verdict;
use holdfast::domain::engines::postgres::tools::PostgresTools;
use openssl::pkey::PKey;
use openssl::ssl::{SslAcceptor, SslMethod};
use openssl::x509::X509;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What a server asks in the place of a SCRAM exchange: the password, or its MD5 sum.
const CLEAR: &[u8] = &[b'R', 0, 0, 0, 8, 0, 0, 0, 3];
const MD5: &[u8] = &[b'R', 0, 0, 0, 12, 0, 0, 0, 5, 1, 2, 3, 4];
/// Only the exchange itself, and not tied to a certificate.
const SCRAM: &[u8] = b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0";

/// A listener that poses as a server.
struct Poser {
    port: u16,
    /// What followed its question, of each connection on which it came to ask.
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
    /// The packets that connections began with.
    began: Arc<Mutex<Vec<Vec<u8>>>>,
    came: Arc<AtomicUsize>,
}

impl Poser {
    /// On `address`, with TLS by that certificate where there is one, asking `question`. The first `honest` connections
    /// go to the real server of that port.
    fn at(address: IpAddr, tls: Option<&Issued>, question: &'static [u8], honest: (usize, u16)) -> Self {
        let listener = TcpListener::bind((address, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let poser = Self { port, heard: Arc::default(), began: Arc::default(), came: Arc::default() };
        let acceptor = tls.map(|issued| {
            let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).unwrap();
            acceptor.set_certificate(&X509::from_pem(&issued.certificate).unwrap()).unwrap();
            acceptor.set_private_key(&PKey::private_key_from_pem(&issued.key).unwrap()).unwrap();
            Arc::new(acceptor.build())
        });
        let (heard, began, came) =
            (Arc::clone(&poser.heard), Arc::clone(&poser.began), Arc::clone(&poser.came));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                if came.fetch_add(1, Ordering::SeqCst) < honest.0 {
                    pass_on(&stream, honest.1);
                    continue;
                }
                let (heard, began, acceptor) = (Arc::clone(&heard), Arc::clone(&began), acceptor.clone());
                thread::spawn(move || {
                    let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
                    let _ = pose(stream, acceptor.as_deref(), question, &heard, &began);
                });
            }
        });
        poser
    }

    fn on_loopback(tls: Option<&Issued>, question: &'static [u8]) -> Self {
        Self::at([127, 0, 0, 1].into(), tls, question, (0, 0))
    }

    /// What it got to hear since the last time.
    fn heard(&self) -> Vec<Vec<u8>> {
        // Whoever hung up is noted once the thread that listened to them ends.
        thread::sleep(Duration::from_millis(200));
        std::mem::take(&mut self.heard.lock().unwrap())
    }
}

fn pass_on(stream: &TcpStream, port: u16) {
    let server = TcpStream::connect(("127.0.0.1", port)).unwrap();
    for (mut from, mut to) in [
        (stream.try_clone().unwrap(), server.try_clone().unwrap()),
        (server.try_clone().unwrap(), stream.try_clone().unwrap()),
    ] {
        thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
    }
}

fn pose(
    mut stream: TcpStream,
    tls: Option<&SslAcceptor>,
    question: &[u8],
    heard: &Mutex<Vec<Vec<u8>>>,
    began: &Mutex<Vec<Vec<u8>>>,
) -> io::Result<()> {
    let mut first = [0; 8];
    stream.read_exact(&mut first)?;
    let asks_for_tls = first == [0, 0, 0, 8, 4, 210, 22, 47];
    if !asks_for_tls {
        return ask(stream, first.to_vec(), question, heard, began);
    }
    match tls {
        None => {
            stream.write_all(b"N")?;
            ask(stream, Vec::new(), question, heard, began)
        }
        Some(tls) => {
            stream.write_all(b"S")?;
            let stream = tls.accept(stream).map_err(io::Error::other)?;
            ask(stream, Vec::new(), question, heard, began)
        }
    }
}

fn ask(
    mut stream: impl Read + Write,
    mut packet: Vec<u8>,
    question: &[u8],
    heard: &Mutex<Vec<Vec<u8>>>,
    began: &Mutex<Vec<Vec<u8>>>,
) -> io::Result<()> {
    let mut rest = vec![0; 4 - packet.len().min(4)];
    stream.read_exact(&mut rest)?;
    packet.extend(rest);
    let length = u32::from_be_bytes(packet[..4].try_into().unwrap()) as usize;
    let mut rest = vec![0; length.checked_sub(packet.len()).ok_or(io::ErrorKind::InvalidData)?];
    stream.read_exact(&mut rest)?;
    packet.extend(rest);
    began.lock().unwrap().push(packet);
    stream.write_all(question)?;
    stream.flush()?;
    let mut answer = Vec::new();
    let mut buffer = [0; 1024];
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        answer.extend_from_slice(&buffer[..read]);
        // One answer is enough.
        if answer.len() > 5 {
            break;
        }
    }
    heard.lock().unwrap().push(answer);
    Ok(())
}

fn url(port: u16, query: &str) -> String {
    let password = percent_encoding::utf8_percent_encode(PASSWORD, percent_encoding::NON_ALPHANUMERIC);
    format!("postgres://holdfast-test:{password}@127.0.0.1:{port}/shop{query}")
}

/// Whether it is the password, or its MD5 sum, in a message of its own.
fn is_password(answer: &[u8]) -> bool {
    let holds = |text: &[u8]| answer.windows(text.len()).any(|window| window == text);
    answer.first() == Some(&b'p') && (holds(PASSWORD.as_bytes()) || holds(b"md5"))
}

#[test]
fn no_password_reaches_a_listener_that_poses_as_the_server() {
    let home = tempfile::tempdir().unwrap();
    let (ours, strangers) = (Authority::new("Our authority"), Authority::new("A stranger's"));
    let root = home.path().join("root.pem");
    fs::write(&root, ours.pem()).unwrap();
    let root = root.display();
    let tools = tools(&home);
    let day = -1..5;
    let forged = strangers.issue("127.0.0.1", &["127.0.0.1"], &day);
    let ours_for_another = ours.issue("elsewhere", &["elsewhere.holdfast.test"], &day);
    let require = "?sslmode=require".to_owned();
    let verify_ca = format!("?sslmode=verify-ca&sslrootcert={root}");
    let verify_full = format!("?sslmode=verify-full&sslrootcert={root}");
    let none = "none".to_owned();
    for question in [CLEAR, MD5] {
        let plain = Poser::on_loopback(None, question);
        let posing = Poser::on_loopback(Some(&forged), question);
        let astray = Poser::on_loopback(Some(&ours_for_another), question);
        for (poser, query, words) in [
            (&plain, &require, "does not support TLS"),
            (&plain, &verify_ca, "does not support TLS"),
            (&plain, &verify_full, "does not support TLS"),
            (&posing, &require, "sslmode=require does not verify the server's identity"),
            (&posing, &verify_ca, "does not trust"),
            (&posing, &verify_full, "does not trust"),
            (&astray, &verify_full, "is for elsewhere.holdfast.test"),
            (&posing, &format!("{require}&channel_binding=require"), "channel_binding=require"),
            (
                &plain,
                &"?require_auth=scram-sha-256".to_owned(),
                "require_auth in the URL does not allow that",
            ),
            (&plain, &format!("?require_auth={none}"), "require_auth in the URL does not allow that"),
        ] {
            let engine = engine(&url(poser.port, query), &tools);
            for said in [engine.probe().unwrap_err().to_string(), dump(&*engine).unwrap_err().to_string()] {
                // It asks for no less than what a weaker mode would give.
                let words = if query.contains("channel_binding") { "" } else { words };
                assert!(said.contains(words), "{query}: {said}");
                assert!(!said.contains("c4n"), "{said}");
            }
            for answer in poser.heard() {
                assert_eq!(String::from_utf8_lossy(&answer), "", "{query}");
            }
        }
        // The control: allowed by name, and on this machine where nothing else is asked for, it comes.
        let method = if question == CLEAR { "password" } else { "md5" };
        for (poser, query) in [
            (&plain, String::new()),
            (&posing, String::new()),
            (&posing, format!("?sslmode=require&require_auth={method}")),
            (&astray, verify_ca.clone()),
        ] {
            let _ = engine(&url(poser.port, &query), &tools).probe();
            let heard = poser.heard();
            assert!(heard.iter().any(|answer| is_password(answer)), "{query}: {heard:?}");
        }
    }
}

/// The tools connect after us; a server that was honest with us may not be with them.
#[test]
fn no_password_reaches_a_listener_that_poses_for_the_tools_only() {
    let cluster = Cluster::start();
    cluster.create_database("shop");
    let home = tempfile::tempdir().unwrap();
    let (ours, strangers) = (Authority::new("Our authority"), Authority::new("A stranger's"));
    let day = -1..5;
    let real = ours.issue("server", &["127.0.0.1"], &day);
    cluster.give("server.crt", &real.certificate);
    cluster.give("server.key", &real.key);
    cluster.reload();
    let root = home.path().join("root.pem");
    fs::write(&root, ours.pem()).unwrap();
    let forged = strangers.issue("127.0.0.1", &["127.0.0.1"], &day);
    let bin = home.path().join("bin");
    fs::create_dir(&bin).unwrap();
    let with = |line: &str| {
        let text = format!("#!/bin/sh\n{line}\nexec {}/pg_dump \"$@\"\n", cluster.bin().display());
        fs::write(bin.join("pg_dump"), text).unwrap();
        fs::set_permissions(bin.join("pg_dump"), fs::Permissions::from_mode(0o755)).unwrap();
        PostgresTools::new(Some(bin.clone()), home.path().join("run"), "/usr/bin:/bin".into())
    };
    // One connection is ours.
    let honest = (1, cluster.port);
    let verify = format!("&sslrootcert={}", root.display());
    let tied = "?sslmode=require".to_owned();
    for (query, tls) in [
        (&tied, Some(&forged)),
        (&tied, None),
        (&String::new(), Some(&forged)),
        (&String::new(), None),
        (&format!("?sslmode=verify-ca{verify}"), Some(&forged)),
        (&format!("?sslmode=verify-full{verify}"), Some(&forged)),
        (&format!("?sslmode=verify-full{verify}"), None),
        (&"?sslmode=require&channel_binding=disable".to_owned(), Some(&forged)),
        (&"?require_auth=scram-sha-256&channel_binding=disable".to_owned(), Some(&forged)),
    ] {
        for question in [CLEAR, MD5, SCRAM] {
            let poser = Poser::at([127, 0, 0, 1].into(), tls, question, honest);
            let error = dump(&*engine(&url(poser.port, query), &with(""))).unwrap_err();
            let said = format!("{error}{}", error.detail().unwrap_or_default());
            let heard = poser.heard();
            assert!(!heard.iter().any(|answer| is_password(answer)), "{query}: {said} {heard:?}");
            let untied = query.contains("channel_binding=disable");
            assert!(untied || poser.came.load(Ordering::SeqCst) >= 2, "{query}: the tool never came: {said}");
            if untied && said.contains("was not given the password") {
                assert!(said.contains("require_auth=password,md5,scram-sha-256 to the URL"), "{said}");
            }
        }
    }
    // The control: a tool that is told nothing of it gives the password away.
    let told_nothing =
        "case \"$1\" in --version) ;; *) unset PGCHANNELBINDING PGREQUIREAUTH PGSSLMODE PGSSLROOTCERT;; esac";
    let poser = Poser::at([127, 0, 0, 1].into(), Some(&forged), CLEAR, honest);
    dump(&*engine(&url(poser.port, &tied), &with(told_nothing))).unwrap_err();
    let heard = poser.heard();
    assert!(heard.iter().any(|answer| is_password(answer)), "{heard:?}");
    // And the second: allowed by name, the real server gets it from any version.
    let allowed = "?sslmode=require&channel_binding=disable&require_auth=password,md5,scram-sha-256";
    let made = dump(&*engine(&url(cluster.port, allowed), &with(""))).unwrap();
    assert_eq!(verdict(&made.0), Verdict::Whole);
}

/// An address of this machine in its network: what goes there stays here, and looks as if it went elsewhere.
fn own_address() -> Option<IpAddr> {
    let table = fs::read_to_string("/proc/net/fib_trie").unwrap();
    let lines: Vec<_> = table.lines().collect();
    lines.windows(2).find_map(|pair| {
        let address: IpAddr = pair[0].trim_start_matches([' ', '|', '-']).parse().ok()?;
        (pair[1].contains("host LOCAL") && !address.is_loopback()).then_some(address)
    })
}

#[test]
fn beyond_this_machine_the_password_itself_is_not_sent_by_default() {
    // On a machine without a network, the rules alone are tested, beside the code.
    let Some(address) = own_address() else { return };
    let home = tempfile::tempdir().unwrap();
    let forged = Authority::new("A stranger's").issue("x", &["x.holdfast.test"], &(-1..5));
    for (tls, query) in
        [(None, ""), (Some(&forged), ""), (Some(&forged), "?sslmode=prefer"), (None, "?sslmode=disable")]
    {
        let poser = Poser::at(address, tls, CLEAR, (0, 0));
        let url = url(poser.port, query).replace("127.0.0.1", &address.to_string());
        let said = engine(&url, &tools(&home)).probe().unwrap_err().to_string();
        assert!(said.contains("the password in clear text"), "{query}: {said}");
        assert!(said.contains("require_auth=password to the URL"), "{query}: {said}");
        assert_eq!(poser.heard(), [Vec::<u8>::new()], "{query}");
        let allowed = if query.is_empty() { "?" } else { "&" };
        let _ = engine(&format!("{url}{allowed}require_auth=password"), &tools(&home)).probe();
        assert!(poser.heard().iter().any(|answer| is_password(answer)), "{query}");
    }
}

#[test]
fn a_connection_beyond_this_machine_that_nobody_made_safe_is_warned_of() {
    let Some(address) = own_address() else { return };
    let cluster = Cluster::start();
    cluster.create_database("shop");
    let home = tempfile::tempdir().unwrap();
    // Passes everything on, so that the server seems to be at that address.
    let poser = Poser::at(address, None, CLEAR, (usize::MAX, cluster.port));
    let warning = |query: &str| {
        let url = url(poser.port, query).replace("127.0.0.1", &address.to_string());
        let engine = engine(&url, &tools(&home));
        assert_eq!(verdict(&dump(&*engine).unwrap().0), Verdict::Whole, "{query}");
        engine.probe().unwrap().warning
    };
    let said = warning("").unwrap();
    assert!(
        said.contains("is encrypted, but the server's identity is not verified")
            && said.contains("?sslmode=verify-full"),
        "{said}"
    );
    for query in ["?sslmode=require", "?sslmode=prefer", "?sslmode=disable"] {
        assert_eq!(warning(query), None, "{query}");
    }
    cluster.set("ssl", "off");
    let said = warning("").unwrap();
    assert!(said.contains("is not encrypted") && said.contains("?sslmode=require"), "{said}");
    assert_eq!(warning("?sslmode=disable"), None);
}

#[test]
fn the_first_packet_holds_nothing_that_a_pooler_refuses() {
    let poser = Poser::on_loopback(None, CLEAR);
    let home = tempfile::tempdir().unwrap();
    engine(&url(poser.port, ""), &tools(&home)).probe().unwrap_err();
    let began = poser.began.lock().unwrap();
    let text = String::from_utf8_lossy(&began[0]).into_owned();
    let words: Vec<_> = text[8..].split('\0').filter(|word| !word.is_empty()).collect();
    let names: Vec<_> = words.iter().step_by(2).copied().collect();
    assert_eq!(names, ["client_encoding", "user", "database", "application_name"], "{words:?}");
}
