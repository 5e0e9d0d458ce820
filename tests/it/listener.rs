//! The front door: who may come in by which way, TLS, and how a stop closes it.

#![expect(clippy::unwrap_used, reason = "tests")]

use crate::routes::{Policy, headers_of};
use crate::support::desk::{ACCOUNT, Desk};
use crate::support::holdfast::{PATIENCE, Served, Server, program};
use holdfast::server::listener::connections::Limits;
use holdfast::server::listener::tls::Tls;
use holdfast::server::router::addresses;
use holdfast::settings::tls::CertificateFiles;
use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{SslConnector, SslMethod, SslStream, SslVerifyMode, SslVersion};
use openssl::symm::Cipher;
use openssl::x509::{X509, X509Name};
use socket2::{Domain, Socket, Type};
use std::fs::{self, Permissions};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: holdfast.test\r\nConnection: close\r\n\r\n";

/// The program over the directories in `home`, serving with these settings more; its log where it does not.
fn start(home: &Path, settings: &[(&str, &str)]) -> Result<Server, String> {
    let mut command = program(home, "", &["serve"]);
    command.env("HOLDFAST_ADMIN_PASSWORD", ACCOUNT.1).envs(settings.iter().copied());
    Server::start(command).inspect_err(|said| assert!(!said.starts_with("exit status: 0"), "{said}"))
}

/// A certificate made out to `name` and its key, both as PEM.
fn certificate(name: &str) -> (X509, PKey<Private>) {
    let curve = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let key = PKey::from_ec_key(EcKey::generate(&curve).unwrap()).unwrap();
    let mut subject = X509Name::builder().unwrap();
    subject.append_entry_by_nid(Nid::COMMONNAME, name).unwrap();
    let subject = subject.build();
    let mut certificate = X509::builder().unwrap();
    certificate.set_version(2).unwrap();
    certificate.set_serial_number(&BigNum::from_u32(1).unwrap().to_asn1_integer().unwrap()).unwrap();
    certificate.set_subject_name(&subject).unwrap();
    certificate.set_issuer_name(&subject).unwrap();
    certificate.set_pubkey(&key).unwrap();
    certificate.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    certificate.set_not_after(&Asn1Time::days_from_now(30).unwrap()).unwrap();
    certificate.sign(&key, MessageDigest::sha256()).unwrap();
    (certificate.build(), key)
}

/// Writes a new certificate and its key into a directory.
fn put_certificate(directory: &Path, name: &str) -> CertificateFiles {
    let files = CertificateFiles { certificate: directory.join("cert.pem"), key: directory.join("key.pem") };
    let (certificate, key) = certificate(name);
    fs::write(&files.certificate, certificate.to_pem().unwrap()).unwrap();
    put_private(&files.key, &key.private_key_to_pem_pkcs8().unwrap());
    files
}

fn put_private(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

/// What a client insists on.
struct Insists {
    at_most: Option<SslVersion>,
    protocols: &'static [u8],
}

/// A browser of our time.
const MODERN: Insists = Insists { at_most: None, protocols: b"\x02h2\x08http/1.1" };

fn connect(address: SocketAddr) -> TcpStream {
    // A small buffer, so that little of an answer is taken in unread.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(32 * 1024).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.connect(&address.into()).unwrap();
    socket.into()
}

fn shake_hands(address: SocketAddr, insists: &Insists) -> io::Result<SslStream<TcpStream>> {
    let mut connector = SslConnector::builder(SslMethod::tls_client()).unwrap();
    connector.set_verify(SslVerifyMode::NONE);
    connector.set_alpn_protos(insists.protocols).unwrap();
    if insists.at_most == Some(SslVersion::TLS1_1) {
        connector.set_cipher_list("ALL:@SECLEVEL=0").unwrap();
    }
    connector.set_min_proto_version(Some(SslVersion::TLS1)).unwrap();
    connector.set_max_proto_version(insists.at_most).unwrap();
    connector.build().connect("holdfast.test", connect(address)).map_err(io::Error::other)
}

/// Sends a request and reads the answer to its end.
fn exchange(mut stream: impl Read + Write, request: &str) -> String {
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn tls(name: &str) -> (TempDir, Tls) {
    let home = tempfile::tempdir().unwrap();
    let tls = Tls::new(put_certificate(home.path(), name)).unwrap();
    (home, tls)
}

/// The reader asks for a backup.
fn download(desk: &Desk) -> String {
    let request = HEALTH.replace("/healthz", "/backups/backup_ledger.dump.gz");
    request.replace("Connection", &format!("Cookie: {}\r\nConnection", desk.cookie))
}

/// How long the other side takes to close; nothing where it did not within `bound`.
fn closed_within(stream: &mut TcpStream, bound: Duration) -> Option<Duration> {
    let begun = Instant::now();
    stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let mut taken = [0; 4096];
    while begun.elapsed() < bound {
        match stream.read(&mut taken) {
            Ok(0) => return Some(begun.elapsed()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Some(begun.elapsed()),
            _ => {}
        }
    }
    None
}

#[test]
fn without_tls_it_listens_to_this_machine_only() {
    let home = tempfile::tempdir().unwrap();
    for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:3000"] {
        let refusal = start(home.path(), &[("HOLDFAST_LISTEN", listen)]).err().unwrap();
        for way_out in ["--tls-cert and --tls-key", "--behind-proxy", "127.0.0.1"] {
            assert!(refusal.contains(way_out), "{listen}: {refusal}");
        }
    }
    let everywhere = ("HOLDFAST_LISTEN", "0.0.0.0:0");
    let behind = start(home.path(), &[everywhere, ("HOLDFAST_BEHIND_PROXY", "true")]).unwrap();
    assert_eq!(behind.scheme, "http");
    assert!(exchange(connect(behind.address), HEALTH).starts_with("HTTP/1.1 200"));
}

#[test]
fn a_proxy_is_believed_where_it_is_trusted() {
    let home = tempfile::tempdir().unwrap();
    let told =
        HEALTH.replace("Connection", "X-Forwarded-Proto: https\r\nX-Forwarded-For: 192.0.2.7\r\nConnection");
    for (settings, believed) in [
        (&[("HOLDFAST_BEHIND_PROXY", "true")][..], true),
        (&[("HOLDFAST_TRUSTED_PROXIES", "127.0.0.1")][..], true),
        (&[("HOLDFAST_TRUSTED_PROXIES", "192.0.2.0/24")][..], false),
        (&[("HOLDFAST_BEHIND_PROXY", "true"), ("HOLDFAST_TRUSTED_PROXIES", "192.0.2.0/24")][..], false),
        (&[][..], false),
    ] {
        let program = start(home.path(), settings).unwrap();
        let answer = exchange(connect(program.address), &told);
        assert_eq!(answer.contains("strict-transport-security"), believed, "{settings:?}: {answer}");
    }
}

#[test]
fn what_is_wrong_with_a_certificate_is_told_at_the_start() {
    let home = tempfile::tempdir().unwrap();
    let other = home.path().join("other");
    fs::create_dir(&other).unwrap();
    let (files, other) = (put_certificate(home.path(), "one.test"), put_certificate(&other, "two.test"));
    let at = |name: &str| home.path().join(name).display().to_string();
    let key = PKey::private_key_from_pem(&fs::read(&files.key).unwrap()).unwrap();
    let sealed = key.private_key_to_pem_pkcs8_passphrase(Cipher::aes_128_cbc(), b"secret").unwrap();
    put_private(Path::new(&at("sealed.pem")), &sealed);
    put_private(Path::new(&at("open.pem")), &fs::read(&files.key).unwrap());
    fs::set_permissions(at("open.pem"), Permissions::from_mode(0o644)).unwrap();
    fs::write(at("text.pem"), "no certificate").unwrap();
    let (good, good_key) = (files.certificate.display().to_string(), files.key.display().to_string());
    let other_key = other.key.display().to_string();
    for (certificate, key, told) in [
        (&good, &String::new(), "give both --tls-cert and --tls-key"),
        (&String::new(), &good_key, "give both --tls-cert and --tls-key"),
        (&at("none.pem"), &good_key, "none.pem"),
        (&good, &at("none.pem"), "none.pem"),
        (&at("text.pem"), &good_key, "contains no certificate"),
        (&good, &at("text.pem"), "chmod 600"),
        (&good, &at("open.pem"), "chmod 600"),
        (&good, &at("sealed.pem"), "PEM text without a passphrase"),
        (&good, &other_key, "is not the private key of the first certificate"),
    ] {
        let mut settings =
            vec![("HOLDFAST_TLS_CERT", certificate.as_str()), ("HOLDFAST_TLS_KEY", key.as_str())];
        settings.retain(|(_, path)| !path.is_empty());
        let refusal = start(home.path(), &settings).err().unwrap();
        assert!(refusal.contains(told), "{certificate} {key}: {refusal}");
    }
}

#[test]
fn it_speaks_tls_to_the_whole_network() {
    let home = tempfile::tempdir().unwrap();
    let files = put_certificate(home.path(), "holdfast.test");
    let settings = [
        ("HOLDFAST_LISTEN", "0.0.0.0:0"),
        ("HOLDFAST_TLS_CERT", files.certificate.to_str().unwrap()),
        ("HOLDFAST_TLS_KEY", files.key.to_str().unwrap()),
    ];
    let program = start(home.path(), &settings).unwrap();
    assert_eq!(program.scheme, "https");
    for (at_most, version) in [(None, "TLSv1.3"), (Some(SslVersion::TLS1_2), "TLSv1.2")] {
        let stream = shake_hands(program.address, &Insists { at_most, ..MODERN }).unwrap();
        assert_eq!(stream.ssl().version_str(), version);
        assert_eq!(stream.ssl().selected_alpn_protocol(), Some(&b"http/1.1"[..]));
        let answer = exchange(stream, HEALTH);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let lasting = "strict-transport-security: max-age=31536000; includeSubDomains\r\n";
        assert!(answer.contains(lasting), "{answer}");
    }
    for refused in [
        Insists { at_most: Some(SslVersion::TLS1_1), ..MODERN },
        Insists { protocols: b"\x02h2", ..MODERN },
        Insists { protocols: b"\x03ftp", ..MODERN },
    ] {
        assert!(shake_hands(program.address, &refused).is_err());
    }
    let plain = exchange(connect(program.address), HEALTH);
    assert!(
        plain.starts_with("HTTP/1.1 400") && plain.ends_with("Replace http:// with https://."),
        "{plain}"
    );
}

#[test]
fn a_renewed_certificate_is_taken_up_and_a_broken_one_is_not() {
    let desk = Desk::with(&[]);
    let (home, tls) = tls("first.test");
    let served = Served::new(desk.router.clone(), Limits::default(), Some(tls.clone()));
    served.spawn(tls.keep_current(Duration::from_millis(20)));
    let shown = || {
        let certificate = shake_hands(served.address, &MODERN).unwrap().ssl().peer_certificate().unwrap();
        certificate.subject_name().entries().next().unwrap().data().to_string().unwrap()
    };
    let eventually = |name: &str| {
        let begun = Instant::now();
        while shown() != name {
            assert!(begun.elapsed() < PATIENCE, "{name} is not taken up, but {}", shown());
        }
    };
    assert_eq!(shown(), "first.test");
    let open = shake_hands(served.address, &MODERN).unwrap();
    put_certificate(home.path(), "second.test");
    eventually("second.test");
    fs::write(home.path().join("cert.pem"), "half a certif").unwrap();
    thread::sleep(Duration::from_millis(100));
    assert_eq!(shown(), "second.test");
    put_certificate(home.path(), "third.test");
    eventually("third.test");
    assert!(exchange(open, HEALTH).starts_with("HTTP/1.1 200"), "who was there before goes on");
}

/// By TLS: says nothing, says half a greeting, half a header, or takes only the beginning of a download.
#[test]
fn slow_clients_are_closed_in_time_by_tls_too() {
    let desk = Desk::with(&[]);
    desk.put("backup_ledger.dump.gz", 8 << 20, 60);
    let (_home, tls) = tls("holdfast.test");
    let granted = Duration::from_millis(600);
    let limits = Limits { headers: granted, stalled: granted, ..Limits::default() };
    let served = Served::new(desk.router.clone(), limits, Some(tls.clone()));
    let unhurried = Served::new(desk.router.clone(), Limits::default(), Some(tls));
    let slow = |server: &Served| {
        let silent = connect(server.address);
        let mut greeting = connect(server.address);
        greeting.write_all(b"\x16\x03\x01").unwrap();
        let mut header = shake_hands(server.address, &MODERN).unwrap();
        header.write_all(&HEALTH.as_bytes()[..30]).unwrap();
        let mut reader = shake_hands(server.address, &MODERN).unwrap();
        reader.write_all(download(&desk).as_bytes()).unwrap();
        assert!(reader.read(&mut [0; 4096]).unwrap() > 0);
        let header = header.get_ref().try_clone().unwrap();
        ([("silent", silent), ("greeting", greeting), ("header", header)], reader)
    };
    let (mut hurried_ones, mut hurried_reader) = slow(&served);
    let (mut kept, mut kept_reader) = slow(&unhurried);
    let until = Instant::now() + granted * 3;
    while Instant::now() < until {
        let answer = exchange(shake_hands(served.address, &MODERN).unwrap(), HEALTH);
        assert!(answer.starts_with("HTTP/1.1 200"), "an honest client is served");
        thread::sleep(Duration::from_millis(50));
    }
    let soon = Duration::from_millis(100);
    for (what, stream) in &mut hurried_ones {
        assert!(closed_within(stream, soon).is_some(), "{what} is still there");
    }
    let mut rest = Vec::new();
    let _ = hurried_reader.read_to_end(&mut rest);
    assert!(rest.len() < 8 << 20, "a stalled reader was waited for");
    // The control: with the limits of every day, they are all kept for so short a time.
    for (what, stream) in &mut kept {
        assert!(closed_within(stream, soon).is_none(), "{what} was closed early");
    }
    rest.clear();
    kept_reader.read_to_end(&mut rest).unwrap();
    assert!(rest.len() > (8 << 20) - 4096, "{} bytes", rest.len());
}

/// Those who do not get as far as a route are answered with the same headers.
#[test]
fn whoever_is_turned_away_is_told_the_same_of_the_answer() {
    let desk = Desk::with(&[]);
    let (_home, tls) = tls("holdfast.test");
    let limits = Limits { connections: 1, ..Limits::default() };
    let (plain, secure) =
        (Served::new(desk.router.clone(), limits, None), Served::new(desk.router.clone(), limits, Some(tls)));
    let not_tls = exchange(connect(secure.address), HEALTH);
    thread::sleep(Duration::from_millis(200));
    let _held = (connect(plain.address), connect(secure.address));
    thread::sleep(Duration::from_millis(100));
    let too_many = exchange(connect(plain.address), HEALTH);
    let securely = exchange(shake_hands(secure.address, &MODERN).unwrap(), HEALTH);
    for (answer, status, by_tls) in [(not_tls, 400, false), (too_many, 503, false), (securely, 503, true)] {
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(
            head.contains(&format!("\r\ncontent-length: {}", body.len())) && body.ends_with('.'),
            "{answer}"
        );
        assert_eq!(head.contains("strict-transport-security"), by_tls, "{answer}");
        for (name, value) in headers_of(Policy::Closed, "no-store", by_tls, "") {
            assert_eq!(head.matches(&format!("\r\n{name}: {value}")).count(), 1, "{name}: {answer}");
        }
    }
}

#[test]
fn a_few_reports_are_logged_a_line_each() {
    let home = tempfile::tempdir().unwrap();
    let program = start(home.path(), &[]).unwrap();
    let report = r#"{"csp-report":{"document-uri":"http://holdfast.test/restore?canary","effective-directive":"img-src",
        "blocked-uri":"http://evil.example/canary","script-sample":"canary\nforged"}}"#;
    // As a browser sends it: without a session, of its own accord.
    let request = format!(
        "POST /csp-report HTTP/1.1\r\nHost: {0}\r\nOrigin: http://{0}\r\nSec-Fetch-Site: same-origin\r\n\
         Content-Type: application/csp-report\r\nContent-Length: {1}\r\nConnection: close\r\n\r\n{report}",
        program.address,
        report.len()
    );
    for _ in 0..20 {
        let answer = exchange(connect(program.address), &request);
        assert!(answer.starts_with("HTTP/1.1 204 "), "{answer}");
    }
    let elsewhere = exchange(connect(program.address), &request.replace("same-origin", "cross-site"));
    assert!(elsewhere.starts_with("HTTP/1.1 403 "), "{elsewhere}");
    let begun = Instant::now();
    let line = r#"directive="img-src" blocked="http://evil.example" page="/restore""#;
    let lines = || program.log().matches(line).count();
    while lines() < 5 && begun.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(20));
    }
    thread::sleep(Duration::from_millis(100));
    let log = program.log();
    assert_eq!(log.matches("content security policy violation").count(), 5, "{log}");
    assert_eq!(log.matches(line).count(), 5, "{log}");
    assert!(!log.contains("canary") && !log.contains("forged"), "{log}");
}

/// The addresses that a page names: links, forms, buttons, scripts, styles.
fn named_in(html: &str) -> Vec<&str> {
    let named = ["href", "action", "formaction", "src"].into_iter().flat_map(|attribute| {
        let mark = format!(" {attribute}=\"");
        html.match_indices(&mark)
            .map(|(at, _)| html[at + mark.len()..].split('"').next().unwrap())
            .collect::<Vec<_>>()
    });
    let loaded =
        ["fetch('", "import('"].into_iter().filter_map(|call| html.split_once(call)?.1.split('\'').next());
    named.chain(loaded).collect()
}

/// The addresses in a page that lead out of the base.
fn astray(html: &str, base: &str) -> Vec<String> {
    let inside = |named: &&str| {
        named.starts_with('#') || named.strip_prefix(base).is_some_and(|rest| rest.starts_with('/'))
    };
    named_in(html).into_iter().filter(|named| !inside(named)).map(str::to_owned).collect()
}

#[test]
fn below_a_base_every_address_is_below_it() {
    let home = tempfile::tempdir().unwrap();
    let base = "/desk/holdfast";
    let program = start(home.path(), &[("HOLDFAST_BASE_PATH", base)]).unwrap();
    let log = program.log();
    assert!(log.contains(&format!("{}{base}", program.address)), "{log}");
    let ask = |method: &str, path: &str, cookie: &str, body: &str| {
        exchange(
            connect(program.address),
            &format!(
                "{method} {path} HTTP/1.1\r\nHost: holdfast.test\r\nConnection: close\r\nCookie: {cookie}\r\n\
                 Accept: text/html\r\nReferer: http://holdfast.test{base}/databases?x\r\n\
                 Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            ),
        )
    };
    let header = |answer: &str, name: &str| {
        let lines = answer.lines().filter_map(|line| line.split_once(": "));
        lines
            .filter(|(named, _)| *named == name)
            .map(|(_, value)| value.to_owned())
            .collect::<Vec<_>>()
            .join(" ")
    };
    let login = format!("username={}&password={}&next=%2Fdatabases", ACCOUNT.0, ACCOUNT.1.replace(' ', "+"));
    let entered = ask("POST", &format!("{base}/login"), "", &login);
    let cookie = header(&entered, "set-cookie");
    let cookie = cookie.split(';').next().unwrap();
    let id = "0123456789abcdef0123456789abcdef";
    for (method, path, cookie, body, status, leads) in [
        ("GET", "/healthz", "", "", 200, ""),
        ("GET", "/desk/holdfast/healthz", "", "", 200, ""),
        ("GET", "/", "", "", 307, "/desk/holdfast/"),
        ("GET", "/desk/holdfast?page=2", "", "", 307, "/desk/holdfast/?page=2"),
        ("GET", "/desk/holdfast/", "", "", 303, "/desk/holdfast/login"),
        ("GET", "/desk/holdfast/delete?a", "", "", 303, "/desk/holdfast/login?next=%2Fdelete%3Fa"),
        ("POST", "/desk/holdfast/login", "", &login, 303, "/desk/holdfast/databases"),
        ("POST", "/desk/holdfast/theme", "", "", 303, "/desk/holdfast/databases?x"),
        (
            "POST",
            "/desk/holdfast/api/create_backup",
            cookie,
            "database=holdfast",
            302,
            "/desk/holdfast/?job=1",
        ),
        ("POST", "/desk/holdfast/archives", cookie, "names[]=none&format=zip", 303, "/desk/holdfast/?"),
        ("GET", "/databases", cookie, "", 404, ""),
        ("GET", "/desk/holdfaster/", cookie, "", 404, ""),
        ("POST", "/login", "", &login, 404, ""),
    ] {
        let answer = ask(method, path, cookie, body);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{method} {path}: {answer}");
        let led = header(&answer, "location");
        assert!(
            led.starts_with(leads) && leads.is_empty() == led.is_empty(),
            "{method} {path} leads to {led}"
        );
        for (name, value) in headers_of(Policy::Closed, "no-store", false, "") {
            assert_eq!(header(&answer, name), value, "{method} {path}");
        }
    }
    let pages = addresses().into_iter().filter(|path| !path.starts_with("/api/"));
    let (mut named, mut backups) = (0, 0);
    for path in
        pages.chain([format!("/archives/{id}/x"), "/backups/x".to_owned(), "/no/such/page".to_owned()])
    {
        if path.contains('{') || path == "/events" {
            continue;
        }
        let page = ask("GET", &format!("{base}{path}"), cookie, "");
        let stray = astray(&page, base);
        assert!(stray.is_empty(), "{path}: {stray:?}");
        named += named_in(&page).len();
        backups += usize::from(page.contains(&format!("{base}/backups/backup_holdfast_")));
        let policy = header(&page, "content-security-policy");
        if policy.contains("report-uri") {
            assert!(policy.ends_with(&format!("; report-uri {base}/csp-report")), "{policy}");
            assert!(page.contains(&format!(" data-base=\"{base}\"")), "{path}");
        }
    }
    assert!(named > 100 && backups > 0, "{named} addresses, {backups} pages with backups");
    // The control: at the root, the same pages name addresses that would lead out of it.
    let root = start(&home.path().join("other"), &[]).unwrap();
    let page = exchange(connect(root.address), &HEALTH.replace("/healthz", "/login"));
    assert!(!astray(&page, base).is_empty() && astray(&page, "").is_empty() && !page.contains("data-base"));
}

#[test]
fn a_stop_waits_for_answers_and_for_nobody_else() {
    let desk = Desk::with(&[]);
    desk.put("backup_ledger.dump.gz", 8 << 20, 60);
    let (_home, tls) = tls("holdfast.test");
    let lasting = HEALTH.replace("Connection: close\r\n", "");
    let half = &HEALTH.as_bytes()[..30];
    let form = "POST /login HTTP/1.1\r\nHost: holdfast.test\r\nContent-Length: 9\r\n\
                Content-Type: application/x-www-form-urlencoded\r\n\r\nuser";
    for tls in [None, Some(tls)] {
        let served = Served::new(desk.router.clone(), Limits::default(), tls.clone());
        let mut waiting = Vec::new();
        if tls.is_none() {
            // Half a first request, half a second, half a form.
            for (whole, part) in [("", half), (lasting.as_str(), half), ("", form.as_bytes())] {
                let mut stream = connect(served.address);
                if !whole.is_empty() {
                    stream.write_all(whole.as_bytes()).unwrap();
                    assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
                }
                stream.write_all(part).unwrap();
                waiting.push(stream);
            }
        } else {
            let mut stream = shake_hands(served.address, &MODERN).unwrap();
            stream.write_all(half).unwrap();
            waiting.push(stream.get_ref().try_clone().unwrap());
            waiting.push(connect(served.address));
        }
        // The control: without a stop, they are all kept.
        for stream in &mut waiting {
            assert!(closed_within(stream, Duration::from_millis(200)).is_none());
        }
        let mut reader = connect(served.address);
        let mut secure = tls.as_ref().map(|_| shake_hands(served.address, &MODERN).unwrap());
        let reader: &mut dyn ReadWrite = match &mut secure {
            Some(secure) => secure,
            None => &mut reader,
        };
        reader.write_all(download(&desk).as_bytes()).unwrap();
        let mut bytes = vec![0; 4096];
        reader.read_exact(&mut bytes).unwrap();
        thread::scope(|scope| {
            let stopping = scope.spawn(|| served.stop());
            thread::sleep(Duration::from_millis(500));
            reader.read_to_end(&mut bytes).unwrap();
            let took = stopping.join().unwrap();
            assert!((Duration::from_millis(500)..Duration::from_secs(4)).contains(&took), "{took:?}");
        });
        assert!(bytes.len() > 8 << 20, "the download under way broke off at {} bytes", bytes.len());
        for stream in &mut waiting {
            assert!(closed_within(stream, Duration::from_secs(1)).is_some());
        }
    }
}

trait ReadWrite: Read + Write + Send {}
impl<T: Read + Write + Send> ReadWrite for T {}
