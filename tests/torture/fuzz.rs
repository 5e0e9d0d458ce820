//! Fuzz trial: malformed HTTP requests.

#![expect(clippy::unnecessary_wraps, reason = "trials return a result; this one runs on any machine")]

use crate::home::faults_in;
use crate::http::Target;
use crate::report::{Line, Outcome, Random, Run};
use crate::support::holdfast::PATIENCE;
use crate::support::http::request;
use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// F9: malformed requests.
pub fn fuzz(run: Run) -> Outcome {
    let runs = run.scale.of(50_000, 5_000);
    let target = Target::new();
    let templates = templates(&target);
    let found = fuzz_with(&templates, runs, run.seed, target.program.address);
    let mut failures = found.failures;
    let log = target.program.log();
    failures.extend(
        log.lines().filter(|line| line.contains("panicked")).map(|line| format!("the log says: {line}")),
    );
    if !target.ask("/healthz", "").is_ok_and(|reply| reply.status == 200) {
        failures.push("the server does not answer afterwards".to_owned());
    }
    let here = faults_in(&target.home.backups());
    let foreign = here.iter().filter(|fault| !fault.contains("ledger-"));
    failures.extend(foreign.cloned());
    let naive = naive_server();
    let caught = fuzz_with(&templates, 500, run.seed, naive).failures.len();
    let statuses = found.statuses.iter().map(|(status, times)| format!("{status}: {times}"));
    Ok(vec![Line {
        id: "F9",
        what: "mutated requests: answered 2xx-4xx, or closed".to_owned(),
        runs,
        failures,
        caught: (caught.min(500), 500),
        notes: statuses.collect::<Vec<_>>().join(", "),
    }])
}

#[derive(Default)]
struct Found {
    failures: Vec<String>,
    /// Number of answers by status; 0 stands for a connection that was closed without an answer.
    statuses: BTreeMap<u16, usize>,
}

fn fuzz_with(templates: &[Vec<u8>], runs: usize, seed: u64, server: SocketAddr) -> Found {
    let (found, next) = (Mutex::new(Found::default()), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..24 {
            scope.spawn(|| {
                loop {
                    let turn = next.fetch_add(1, Ordering::SeqCst);
                    if turn >= runs {
                        return;
                    }
                    let mut random = Random(seed.wrapping_add(turn as u64));
                    let bytes = mutated(templates, &mut random);
                    let verdict = answer_to(server, &bytes);
                    let mut found = found.lock().unwrap();
                    match verdict {
                        Ok(status) => {
                            *found.statuses.entry(status).or_default() += 1;
                            if status >= 500 {
                                let told =
                                    String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into_owned();
                                found.failures.push(format!("request {turn} got {status}: {told:?}"));
                            }
                        }
                        Err(why) => {
                            let told = String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into_owned();
                            found.failures.push(format!("request {turn}: {why}: {told:?}"));
                        }
                    }
                }
            });
        }
    });
    found.into_inner().unwrap()
}

/// The status of the answer, or 0 if the connection is closed. After half a request, waits a moment, then ends it.
fn answer_to(server: SocketAddr, bytes: &[u8]) -> Result<u16, String> {
    let mut stream = TcpStream::connect(server).map_err(|error| format!("not admitted: {error}"))?;
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    // The server may close before everything is sent.
    let _ = stream.write_all(bytes);
    let (mut got, mut piece) = (Vec::new(), [0; 1024]);
    stream.set_read_timeout(Some(Duration::from_millis(250))).unwrap();
    let mut ended = false;
    while status_in(&got).is_none() {
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => got.extend_from_slice(&piece[..read]),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                if ended {
                    return Err(format!("neither answered nor closed within {PATIENCE:?}"));
                }
                ended = true;
                let _ = stream.shutdown(Shutdown::Write);
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
            }
            Err(_) => break,
        }
    }
    match status_in(&got) {
        Some(status) => Ok(status),
        None if got.is_empty() || got == CONTINUE => Ok(0),
        None => Err(format!("answered with {:?}", String::from_utf8_lossy(&got))),
    }
}

/// The interim response to `Expect: 100-continue`.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

fn status_in(bytes: &[u8]) -> Option<u16> {
    let answer = bytes.strip_prefix(CONTINUE).unwrap_or(bytes);
    let status = answer.strip_prefix(b"HTTP/1.")?.get(2..5)?;
    std::str::from_utf8(status).ok()?.parse().ok().filter(|status| *status >= 200)
}

/// Valid requests of all kinds, for mutation.
fn templates(target: &Target) -> Vec<Vec<u8>> {
    let cookie = &target.cookie;
    let get = |path: &str, headers: &str| request("GET", path, cookie, headers, "");
    let post = |path: &str, body: &str| request("POST", path, cookie, "Accept: text/html\r\n", body);
    let chunked = "POST /login HTTP/1.1\r\nHost: holdfast.test\r\nTransfer-Encoding: chunked\r\n\
                   Content-Type: application/x-www-form-urlencoded\r\n\r\n\
                   5;a=b\r\nusern\r\n8\r\name=x&pa\r\n0\r\n\r\n";
    [
        get("/", ""),
        get("/?sort=-size&page=2&per_page=50&q=a%20b", "Accept: text/html\r\n"),
        get("/login?next=/activity&error=wrong", ""),
        get(&target.paths[0], "Range: bytes=0-10\r\nIf-Range: \"x\"\r\n"),
        get(&target.paths[1], "Range: bytes=-5\r\n"),
        get("/api/backups/backup_ledger-0.dump.gz", ""),
        get("/api/read_backups?query%5Bpage%5D=1&jobs%5B0%5D=1", ""),
        get("/settings/sftp?outcome=abc", ""),
        get("/pkg/x.css", "If-None-Match: \"a\"\r\nAccept-Encoding: br, gzip\r\n"),
        request("HEAD", &target.paths[2], cookie, "", ""),
        post("/login", "username=admin&password=not+the+right+one&next=%2F"),
        post("/archives", "names%5B%5D=backup_ledger-0.dump.gz&format=zip"),
        post("/api/delete_backups", "names%5B0%5D=backup_none.dump.gz"),
        post("/api/cancel_job", "id=1"),
        post("/theme", "theme=dark"),
        chunked.to_owned(),
    ]
    .map(String::into_bytes)
    .to_vec()
}

/// A valid request with up to four mutations.
fn mutated(templates: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    const LINES: [&str; 16] = [
        "Content-Length: 5\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        " folded: onto the line before\r\n",
        "Host: another.test\r\n",
        "Expect: 100-continue\r\n",
        "Connection: upgrade\r\nUpgrade: h2c\r\n",
        "Cookie: holdfast_session=\u{1}\u{2}; a=b\r\n",
        "Range: bytes=18446744073709551615-18446744073709551616,-,0-\r\n",
        "If-Range: Thu, 01 Jan 1970 00:00:00 GMT\r\n",
        "Bare: carriage\rreturn\r\n",
        ": no name\r\n",
        "Origin: null\r\nSec-Fetch-Site: same-origin\r\n",
    ];
    const SNIPPETS: [&[u8]; 12] = [
        b"\0",
        b"\r",
        b"\n",
        b"\r\n\r\n",
        b"%00",
        b"%",
        b"../",
        b"%ff%fe",
        b"\xff\xfe",
        b"[",
        b"%5B%5D",
        b"&=&=",
    ];
    let mut bytes = templates[random.below(templates.len())].clone();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len().max(1)).min(bytes.len());
        match random.below(10) {
            0 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = random.next().to_le_bytes()[0]),
            1 => drop(bytes.drain(at..(at + 1 + random.below(20)).min(bytes.len()))),
            2 => bytes.truncate(at),
            3 | 4 => {
                let line = LINES[random.below(LINES.len())];
                let after = bytes.windows(2).position(|two| two == b"\r\n").map_or(0, |end| end + 2);
                drop(bytes.splice(after..after, line.bytes()));
            }
            5 | 6 => drop(bytes.splice(at..at, SNIPPETS[random.below(SNIPPETS.len())].iter().copied())),
            7 => {
                let other = &templates[random.below(templates.len())];
                drop(bytes.splice(at.., other[random.below(other.len())..].iter().copied()));
            }
            8 => {
                let times = if random.below(20) == 0 { 1 << 20 } else { random.below(3000) };
                drop(bytes.splice(at..at, std::iter::repeat_n(b'A', times)));
            }
            _ => {
                let methods: [&[u8]; 8] = [
                    b"PUT",
                    b"DELETE",
                    b"OPTIONS",
                    b"PATCH",
                    b"TRACE",
                    b"CONNECT",
                    b"get",
                    b"PRI * HTTP/2.0\r\n\r\nSM",
                ];
                let end = bytes.iter().position(|byte| *byte == b' ').unwrap_or(0);
                drop(bytes.splice(..end, methods[random.below(methods.len())].iter().copied()));
            }
        }
    }
    bytes
}

/// The control: a hand-written server that trusts its input.
fn naive_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let connections = move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let served = naive_reading(&mut stream);
            let status = if served.is_some() { "200 OK" } else { "500 Internal Server Error" };
            let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    };
    thread::spawn(connections);
    address
}

fn naive_reading(stream: &mut TcpStream) -> Option<usize> {
    let mut bytes = vec![0; 64 * 1024];
    stream.set_read_timeout(Some(Duration::from_millis(50))).ok()?;
    let read = stream.read(&mut bytes).ok()?;
    let (head, _) = std::str::from_utf8(&bytes[..read]).ok()?.split_once("\r\n\r\n")?;
    let headers = head.lines().skip(1).map(|line| line.split_once(": "));
    headers.collect::<Option<Vec<_>>>().map(|headers| headers.len())
}
