//! Trials of clients that disconnect, stall, send half a request, or ask for odd ranges.

#![expect(clippy::unnecessary_wraps, reason = "trials return a result; this one runs on any machine")]

use crate::home::{eventually, home, manifest_of, opened, serving, session};
use crate::report::{Line, Outcome, Random, Run, Scale};
use crate::support::desk::{Desk, NOW};
use crate::support::holdfast::{Home, PATIENCE, Served, Server, descriptors_of};
use crate::support::http::{Reply, connect_narrow, exchange, reply_of, request};
use axum::body::Body;
use holdfast::model::audit::{Ending, Event};
use holdfast::model::{ArchiveFormat, Stamp};
use holdfast::server::listener::connections::{BODY_STEP, Limits, limits_of_this_machine};
use holdfast::server::state::DOWNLOADS;
use http_body_util::BodyExt as _;
use socket2::SockRef;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tower::ServiceExt as _;

/// Size of each downloaded backup in bytes.
const EACH: usize = 3 << 20;

/// How long the descriptors of disconnected clients may stay open.
const RELEASE: Duration = Duration::from_secs(5);

/// A running server with three backups of noise, a session, and the paths of downloads.
pub struct Target {
    pub program: Server,
    pub home: Home,
    pub cookie: String,
    bytes: Vec<u8>,
    /// One backup, then archives of all three.
    pub paths: [String; 3],
}

impl Target {
    pub fn new() -> Self {
        let home = home();
        let mut noise = Random(1);
        let bytes: Vec<u8> = (0..EACH / 8).flat_map(|_| noise.next().to_le_bytes()).collect();
        let names = [0, 1, 2].map(|i| format!("backup_ledger-{i}.dump.gz"));
        for name in &names {
            fs::write(home.backups().join(name), &bytes).unwrap();
            let manifest = manifest_of(name, Stamp::from_millis(NOW), &bytes);
            fs::write(home.backups().join(format!("{name}.manifest.json")), manifest).unwrap();
        }
        let cookie = session(&home);
        let holdfast = opened(&home);
        let archive = |format| holdfast.backups().bundle(1, names.to_vec(), format).unwrap().address.unwrap();
        let paths =
            [format!("/backups/{}", names[0]), archive(ArchiveFormat::Zip), archive(ArchiveFormat::TarGz)];
        drop(holdfast);
        Self { program: serving(&home).unwrap(), home, cookie, bytes, paths }
    }

    pub fn ask(&self, path: &str, headers: &str) -> io::Result<Reply> {
        exchange(self.program.address, &request("GET", path, &self.cookie, headers, ""))
    }
}

/// F5: clients that disconnect, and ranges.
pub fn clients(run: Run) -> Outcome {
    let mut target = Target::new();
    Ok(vec![aborts(run, &target), ranges(run, &target), stops(run, &mut target)])
}

/// The client ends downloads at a random byte, by closing or resetting the connection.
fn aborts(run: Run, target: &Target) -> Line {
    let runs = run.scale.of(500, 200);
    let mut random = Random(run.seed);
    let plan: Vec<_> =
        (0..runs).map(|_| (random.below(3), random.below(2 * EACH), random.below(2) == 0)).collect();
    let mut failures = Vec::new();
    for path in &target.paths {
        let reply = target.ask(path, "");
        if !reply.is_ok_and(|reply| reply.status == 200 && reply.is_whole()) {
            failures.push(format!("{path} was answered incompletely"));
        }
    }
    let baseline = settled(|| target.program.descriptors());
    let next = AtomicUsize::new(0);
    let (broken, worst) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while let Some((path, bytes, reset)) = plan.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let request = request("GET", &target.paths[*path], &target.cookie, "", "");
                    let read = break_off(target.program.address, &request, *bytes % EACH, *reset).unwrap();
                    broken.fetch_add(usize::from(read), Ordering::SeqCst);
                    worst.fetch_max(target.program.descriptors(), Ordering::SeqCst);
                }
            });
        }
    });
    let back = eventually(RELEASE, || target.program.descriptors() <= baseline);
    if back.is_none() {
        failures.push(format!("{} descriptors, {baseline} before", target.program.descriptors()));
    }
    Line {
        id: "F5",
        what: "downloads cut off by the client".to_owned(),
        runs,
        failures,
        caught: (usize::from(leak_is_caught()), 1),
        notes: format!(
            "in the middle {}, descriptors {baseline}, at most {}, back after {} ms",
            broken.into_inner(),
            worst.into_inner(),
            back.unwrap_or(RELEASE).as_millis()
        ),
    }
}

/// The number once it has been stable for a while.
fn settled(mut count: impl FnMut() -> usize) -> usize {
    let (mut last, mut same) = (count(), 0);
    while same < 10 {
        thread::sleep(Duration::from_millis(30));
        let now = count();
        same = if now == last { same + 1 } else { 0 };
        last = now;
    }
    last
}

/// Reads this many bytes and disconnects. Returns whether there were that many.
fn break_off(server: SocketAddr, request: &str, bytes: usize, reset: bool) -> io::Result<bool> {
    let mut stream = connect_narrow(server)?;
    stream.write_all(request.as_bytes())?;
    let read = stream.read_exact(&mut vec![0; bytes]).is_ok();
    if reset {
        SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    }
    Ok(read)
}

/// The control: a server that never closes a connection.
fn leak_is_caught() -> bool {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let baseline = descriptors_of("self");
    let kept: Vec<_> = (0..10)
        .map(|_| {
            drop(TcpStream::connect(address).unwrap());
            listener.accept().unwrap()
        })
        .collect();
    let back = eventually(Duration::from_millis(500), || descriptors_of("self") <= baseline);
    back.is_none() && kept.len() == 10
}

/// The server is stopped during downloads, with an idle connection, half a request and a page that listens to events:
/// the downloads complete, and the program ends.
fn stops(run: Run, target: &mut Target) -> Line {
    let runs = run.scale.of(5, 1);
    let mut failures = Vec::new();
    for _ in 0..runs {
        failures.extend(wrongly_stopped(target, |program| program.ask_to_stop()));
        target.program = serving(&target.home).unwrap();
    }
    let caught = wrongly_stopped(target, Server::kill);
    Line {
        id: "P20",
        what: "stopped during downloads".to_owned(),
        runs,
        failures,
        caught: (usize::from(!caught.is_empty()), 1),
        notes: String::new(),
    }
}

fn wrongly_stopped(target: &mut Target, stop: impl FnOnce(&mut Server)) -> Vec<String> {
    // The time limit of a stop, with a margin.
    const BOUND: Duration = Duration::from_secs(10);
    let server = target.program.address;
    let begun = |request: &str, part: usize| {
        let mut stream = connect_narrow(server).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut bytes = vec![0; part];
        stream.read_exact(&mut bytes).unwrap();
        (stream, bytes)
    };
    let idle = request("GET", "/healthz", "", "", "").replace("Connection: close\r\n", "");
    let others = [
        begun(&idle, 100),
        begun("GET / HTTP/1.1\r\nHost: hold", 0),
        begun(&request("GET", "/events", &target.cookie, "", ""), 100),
    ];
    let downloads =
        target.paths.each_ref().map(|path| begun(&request("GET", path, &target.cookie, "", ""), EACH / 4));
    stop(&mut target.program);
    let mut failures = Vec::new();
    for ((mut stream, mut bytes), path) in downloads.into_iter().zip(&target.paths) {
        let _ = stream.read_to_end(&mut bytes);
        if !reply_of(&bytes).is_some_and(|reply| reply.is_whole()) {
            failures.push(format!("{path} was cut off at {} bytes", bytes.len()));
        }
    }
    if eventually(BOUND, || target.program.has_ended()).is_none() {
        failures.push(format!("it still runs after {BOUND:?}"));
    }
    drop(others);
    failures
}

/// The expected response to a range.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Expected {
    Part(usize, usize),
    Whole,
    Nothing,
}

fn ranges(run: Run, target: &Target) -> Line {
    let runs = run.scale.of(1000, 400);
    let mut random = Random(run.seed ^ 5);
    let wholes: Vec<_> = target.paths.iter().map(|path| target.ask(path, "").unwrap().body).collect();
    let mut failures = Vec::new();
    let mut kinds = BTreeMap::new();
    for _ in 0..runs {
        let which = random.below(wholes.len());
        let (range, expected) = any_range(wholes[which].len(), &mut random);
        let reply = target.ask(&target.paths[which], &format!("Range: {range}\r\n"));
        let kind = match expected {
            Expected::Part(..) => "parts",
            Expected::Whole => "wholes",
            Expected::Nothing => "refused",
        };
        *kinds.entry(kind).or_insert(0) += 1;
        match reply {
            Ok(reply) => failures.extend(wrong_range(&range, &expected, &wholes[which], &reply)),
            Err(error) => failures.push(format!("{range}: {error}")),
        }
    }
    let naive = |range: &str| naive_range(range, &target.bytes);
    let caught = (0..20).filter(|_| {
        let (range, expected) = any_range(target.bytes.len(), &mut random);
        wrong_range(&range, &expected, &target.bytes, &naive(&range)).is_some()
    });
    Line {
        id: "F5",
        what: "ranges: right, reversed, beyond, several, nonsense".to_owned(),
        runs,
        failures,
        caught: (caught.count(), 20),
        notes: kinds.iter().map(|(kind, times)| format!("{kind} {times}")).collect::<Vec<_>>().join(", "),
    }
}

fn any_range(size: usize, random: &mut Random) -> (String, Expected) {
    // Mostly short ones: only their ends matter.
    let start = random.below(size);
    let end = (start + random.below(100_000)).min(size - 1);
    let suffix = 1 + random.below(50_000);
    match random.below(12) {
        0..4 => (format!("bytes={start}-{end}"), Expected::Part(start, end + 1)),
        4 => (format!("bytes={}-", size - suffix), Expected::Part(size - suffix, size)),
        5 => (format!("bytes=-{suffix}"), Expected::Part(size - suffix, size)),
        6 => (format!("bytes={}-{}", size - suffix, size + suffix), Expected::Part(size - suffix, size)),
        7 => (format!("bytes={}-", size + random.below(1000)), Expected::Nothing),
        // An empty suffix is not a valid range.
        8 => ("bytes=-0".to_owned(), Expected::Whole),
        9 => (format!("bytes={}-{start}", start + 1 + random.below(1000)), Expected::Whole),
        10 => (format!("bytes=0-0,{start}-{end}"), Expected::Whole),
        _ => {
            let nonsense =
                ["bytes", "bytes=", "bytes=a-b", "lines=1-2", "bytes=1-2-3", "bytes=99999999999999999999-"];
            (nonsense[random.below(nonsense.len())].to_owned(), Expected::Whole)
        }
    }
}

fn wrong_range(range: &str, expected: &Expected, whole: &[u8], reply: &Reply) -> Option<String> {
    let (status, body, said) = match expected {
        Expected::Part(start, end) => {
            (206, &whole[*start..*end], format!("bytes {start}-{}/{}", end - 1, whole.len()))
        }
        Expected::Whole => (200, whole, String::new()),
        Expected::Nothing => (416, &[][..], format!("bytes */{}", whole.len())),
    };
    let right = reply.status == status
        && reply.header("content-range") == said
        && (status == 416 || (reply.body == body && reply.is_whole()));
    (!right).then(|| {
        format!("{range}: {} {} and {} bytes", reply.status, reply.header("content-range"), reply.body.len())
    })
}

/// The control: splits at the dash and trusts the client.
fn naive_range(range: &str, whole: &[u8]) -> Reply {
    let asked = range.strip_prefix("bytes=").and_then(|range| range.split_once('-'));
    let (start, end) = asked.unwrap_or_default();
    let start = start.parse().unwrap_or(0).min(whole.len());
    let end = end.parse().unwrap_or(whole.len()).clamp(start, whole.len());
    let head = format!("HTTP/1.1 206\r\nContent-Range: bytes {start}-{end}/{}", whole.len());
    Reply { status: 206, head, body: whole[start..end].to_vec() }
}

/// F8: an honest client among slow ones, and connections beyond the limit.
pub fn slow(run: Run) -> Outcome {
    // This one program has both ends of every connection.
    let (needed, allowed) = (run.scale.of(3000, 1000), descriptors_allowed());
    if allowed < needed {
        return Err(format!("it needs {needed} descriptors, and the system allows {allowed} (ulimit -Hn)"));
    }
    Ok(vec![among_slow_ones(run), too_many_connections(), too_many_downloads()])
}

/// The limit on open files of this program, after raising it.
fn descriptors_allowed() -> u64 {
    limits_of_this_machine();
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// The limits for slow clients, and how much later they may be enforced.
struct Patience {
    limits: Limits,
    /// Bounds for headers, bodies and readers.
    bounds: [Duration; 3],
}

impl Patience {
    /// The program's own limits with the bounds of the fault catalogue. In the short run a tenth of the limits, with
    /// bounds that allow for a busy machine.
    fn of(scale: Scale) -> Self {
        let limits = limits_of_this_machine();
        match scale {
            Scale::Full => Self { limits, bounds: [15, 30, 90].map(Duration::from_secs) },
            Scale::Cut => {
                let limits = Limits {
                    headers: limits.headers / 10,
                    body: limits.body / 10,
                    stalled: limits.stalled / 10,
                    ..limits
                };
                let bounds = [limits.headers, limits.body, limits.stalled];
                Self { limits, bounds: bounds.map(|limit| limit * 3 / 2 + Duration::from_secs(2)) }
            }
        }
    }
}

/// After how long the connections of slow clients ended.
#[derive(Default)]
struct Ends {
    headers: Vec<Duration>,
    bodies: Vec<Duration>,
    readers: usize,
    open: Vec<String>,
}

fn among_slow_ones(run: Run) -> Line {
    let patience = Patience::of(run.scale);
    let (headers, bodies, readers) = run.scale.of((500, 200, 200), (150, 50, 50));
    let desk = Desk::with(&["ledger"]);
    desk.put_described("ledger", "backup_ledger.dump.gz", EACH, EACH as u64);
    let desk_served = Served::new(desk.router.clone(), patience.limits, None);
    let server = desk_served.address;
    // Like a starting server: the audit log stays open from then on.
    desk.holdfast.notes().note(Event::Started, "the test", Ending::Ok, "");
    let baseline = settled(|| descriptors_of("self"));
    let download = request("GET", "/backups/backup_ledger.dump.gz", &desk.cookie, "", "");
    let (ends, done) = (Mutex::new(Ends::default()), AtomicBool::new(false));
    let mut failures = Vec::new();
    let (mut honest, mut steady) = (Vec::new(), 0);
    thread::scope(|scope| {
        let honest_client = scope.spawn(|| {
            let mut took = Vec::new();
            while !done.load(Ordering::SeqCst) {
                for path in ["/healthz", "/", "/api/backups/backup_ledger.dump.gz"] {
                    let begun = Instant::now();
                    let reply = exchange(server, &request("GET", path, &desk.cookie, "", ""));
                    let status = reply.as_ref().map_or(0, |reply| reply.status);
                    took.push((begun.elapsed(), path, status));
                }
                thread::sleep(Duration::from_millis(50));
            }
            took
        });
        let steady_clients: Vec<_> = (0..5)
            .map(|_| scope.spawn(|| reads_steadily(server, &download, patience.limits.stalled)))
            .collect();
        let senders: Vec<_> = (0..5)
            .map(|_| scope.spawn(|| sends_steadily(server, &desk.cookie, patience.limits.body)))
            .collect();
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async {
            let mut clients: Vec<std::pin::Pin<Box<dyn Future<Output = ()>>>> = Vec::new();
            for i in 0..headers {
                clients.push(Box::pin(half_header(server, i, patience.bounds[0], &ends)));
            }
            for _ in 0..bodies {
                clients.push(Box::pin(slow_body(server, patience.limits.body, patience.bounds[1], &ends)));
            }
            for _ in 0..readers {
                clients.push(Box::pin(stalled_reader(server, &download, patience.bounds[2], &ends)));
            }
            futures::future::join_all(clients).await;
        });
        for client in steady_clients.into_iter().chain(senders) {
            match client.join().unwrap() {
                Ok(()) => steady += 1,
                Err(why) => failures.push(format!("a slow client that makes progress: {why}")),
            }
        }
        done.store(true, Ordering::SeqCst);
        honest = honest_client.join().unwrap();
    });
    let mut ends = ends.into_inner().unwrap();
    failures.append(&mut ends.open);
    failures.extend(
        honest
            .iter()
            .filter(|(_, _, status)| *status != 200)
            .map(|(_, path, status)| format!("an honest client got {status} for {path}")),
    );
    honest.sort_unstable();
    let (p95, most) = (honest[honest.len() * 95 / 100].0, honest.last().unwrap().0);
    if p95 > Duration::from_millis(500) {
        failures.push(format!("an honest client waited {p95:?}"));
    }
    if eventually(RELEASE, || descriptors_of("self") <= baseline).is_none() {
        failures.push(format!("{} descriptors, {baseline} before", descriptors_of("self")));
    }
    let most_of = |ends: &[Duration]| ends.iter().max().copied().unwrap_or_default().as_secs_f64();
    Line {
        id: "F8",
        what: "slow clients: half headers, bodies, stalled readers".to_owned(),
        runs: headers + bodies + readers,
        failures,
        caught: plain_server_keeps(patience.bounds[0]),
        notes: format!(
            "headers closed after {:.1} s, bodies after {:.1}, {} readers within {}; steady ones served {steady}/10; honest client p95 {} ms, most {} ms of {}",
            most_of(&ends.headers),
            most_of(&ends.bodies),
            ends.readers,
            patience.bounds[2].as_secs(),
            p95.as_millis(),
            most.as_millis(),
            honest.len(),
        ),
    }
}

/// Waits until the server closes the connection, ignoring any response.
async fn until_closed(stream: &mut tokio::net::TcpStream, bound: Duration) -> Option<Duration> {
    use tokio::io::AsyncReadExt as _;
    let begun = Instant::now();
    let mut buffer = [0; 4096];
    let closed = async { while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {} };
    tokio::time::timeout(bound, closed).await.ok().map(|()| begun.elapsed())
}

/// A third of the clients sends nothing, a third half of the headers, a third one letter now and then.
async fn half_header(server: SocketAddr, which: usize, bound: Duration, ends: &Mutex<Ends>) {
    use tokio::io::AsyncWriteExt as _;
    let mut stream = tokio::net::TcpStream::connect(server).await.unwrap();
    let (mut reader, mut writer) = stream.split();
    if !which.is_multiple_of(3) {
        writer.write_all(b"GET / HTTP/1.1\r\nHost: holdfast.test\r\nX-Half: ").await.unwrap();
    }
    let dripping = async {
        while writer.write_all(b"x").await.is_ok() {
            tokio::time::sleep(bound / 20).await;
        }
    };
    let begun = Instant::now();
    let closed = async {
        use tokio::io::AsyncReadExt as _;
        let mut buffer = [0; 4096];
        while reader.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
    };
    let ended = tokio::time::timeout(bound, async {
        tokio::select! { () = closed => {}, () = dripping, if which % 3 == 1 => {} }
    });
    match ended.await {
        Ok(()) => ends.lock().unwrap().headers.push(begun.elapsed()),
        Err(_) => ends.lock().unwrap().open.push(format!("half a header kept a connection for {bound:?}")),
    }
}

/// Announces a long form and sends thirty letters within the time limit.
async fn slow_body(server: SocketAddr, granted: Duration, bound: Duration, ends: &Mutex<Ends>) {
    use tokio::io::AsyncWriteExt as _;
    let mut stream = tokio::net::TcpStream::connect(server).await.unwrap();
    let head = "POST /login HTTP/1.1\r\nHost: holdfast.test\r\nContent-Length: 10000\r\n\
                Content-Type: application/x-www-form-urlencoded\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let begun = Instant::now();
    while begun.elapsed() < bound {
        if stream.write_all(b"a").await.is_err() {
            return ends.lock().unwrap().bodies.push(begun.elapsed());
        }
        if until_closed(&mut stream, granted / 30).await.is_some() {
            return ends.lock().unwrap().bodies.push(begun.elapsed());
        }
    }
    ends.lock().unwrap().open.push(format!("a letter at a time kept a connection for {bound:?}"));
}

/// Starts a download, reads only its beginning, and at the end reads on to see whether the server closed the
/// connection.
async fn stalled_reader(server: SocketAddr, download: &str, bound: Duration, ends: &Mutex<Ends>) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let stream = tokio::task::spawn_blocking(move || connect_narrow(server).unwrap()).await.unwrap();
    stream.set_nonblocking(true).unwrap();
    let mut stream = tokio::net::TcpStream::from_std(stream).unwrap();
    stream.write_all(download.as_bytes()).await.unwrap();
    let mut bytes = vec![0; 4096];
    stream.read_exact(&mut bytes).await.unwrap();
    tokio::time::sleep(bound).await;
    drop(tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await);
    let whole = reply_of(&bytes).is_some_and(|reply| reply.is_whole());
    let mut ends = ends.lock().unwrap();
    if whole {
        ends.open.push(format!("a reader that stalled was kept for {bound:?}"));
    } else {
        ends.readers += 1;
    }
}

/// Reads a download in sixteenths, with pauses, for twice as long as a stalled reader is kept.
fn reads_steadily(server: SocketAddr, download: &str, stalled: Duration) -> Result<(), String> {
    let mut stream = connect_narrow(server).map_err(|error| error.to_string())?;
    stream.write_all(download.as_bytes()).map_err(|error| error.to_string())?;
    let (mut bytes, mut piece) = (Vec::new(), vec![0; EACH / 16]);
    while stream.read_exact(&mut piece).is_ok() {
        bytes.extend_from_slice(&piece);
        thread::sleep(stalled / 8);
    }
    // The rest is less than a piece, and was read by the last attempt.
    let reply = reply_of(&bytes).ok_or("no answer")?;
    let announced: usize = reply.header("content-length").parse().unwrap_or_default();
    if reply.body.len() + piece.len() > announced {
        Ok(())
    } else {
        Err(format!("{} bytes of {announced}", reply.body.len()))
    }
}

/// Sends a form for three times as long as a body without progress may take.
fn sends_steadily(server: SocketAddr, cookie: &str, granted: Duration) -> Result<(), String> {
    let (pieces, piece) = (6, "names%5B%5D=nothing&".repeat(BODY_STEP.div_ceil(20)));
    let length = pieces * piece.len() + "format=zip".len();
    let head = format!(
        "POST /archives HTTP/1.1\r\nHost: holdfast.test\r\nCookie: {cookie}\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n"
    );
    let send = || -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(server)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(head.as_bytes())?;
        for _ in 0..pieces {
            stream.write_all(piece.as_bytes())?;
            thread::sleep(granted / 2);
        }
        stream.write_all(b"format=zip")?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    match send().map(|bytes| reply_of(&bytes)) {
        Ok(Some(reply)) if reply.status == 303 => Ok(()),
        Ok(reply) => Err(format!("answered {:?}", reply.map(|reply| reply.head))),
        Err(error) => Err(error.to_string()),
    }
}

/// The control: how many connections with half headers the plain server of the web framework keeps.
fn plain_server_keeps(bound: Duration) -> (usize, usize) {
    let runtime = Runtime::new().unwrap();
    let ends = Mutex::new(Ends::default());
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            let router = axum::Router::new().route("/", axum::routing::get(async || "ok"));
            drop(axum::serve(listener, router).await);
        });
        let clients = (0..10).map(|i| half_header(server, i, bound, &ends));
        futures::future::join_all(clients).await;
        serving.abort();
    });
    (ends.into_inner().unwrap().open.len(), 10)
}

/// Connections beyond the limit get a refusal, and the next is served when one is free.
fn too_many_connections() -> Line {
    let desk = Desk::with(&[]);
    let limits = Limits { connections: 8, ..Limits::default() };
    let served = Served::new(desk.router.clone(), limits, None);
    let mut failures = wrongly_admitted(served.address, limits.connections);
    let health = request("GET", "/healthz", "", "", "");
    let free =
        eventually(PATIENCE, || exchange(served.address, &health).is_ok_and(|reply| reply.status == 200));
    if free.is_none() {
        failures.push("no client is served after the others have left".to_owned());
    }
    let unlimited = Served::new(desk.router.clone(), Limits { connections: 1000, ..limits }, None);
    let caught = !wrongly_admitted(unlimited.address, limits.connections).is_empty();
    Line {
        id: "F8",
        what: "connections beyond the limit get a reason".to_owned(),
        runs: 8,
        failures,
        caught: (usize::from(caught), 1),
        notes: String::new(),
    }
}

fn wrongly_admitted(server: SocketAddr, limit: usize) -> Vec<String> {
    let held: Vec<_> = (0..limit).map(|_| TcpStream::connect(server).unwrap()).collect();
    let mut failures = Vec::new();
    for _ in 0..limit {
        match exchange(server, &request("GET", "/healthz", "", "", "")) {
            Ok(reply)
                if reply.status == 503 && !reply.header("retry-after").is_empty() && reply.is_whole() => {}
            Ok(reply) => failures.push(format!("a request beyond the limit got {}", reply.status)),
            Err(error) => failures.push(format!("a request beyond the limit got no answer: {error}")),
        }
    }
    drop(held);
    failures
}

/// Downloads beyond the limit get a refusal. Everything else works, and so do downloads once one has ended.
fn too_many_downloads() -> Line {
    let desk = Desk::with(&[]);
    desk.put_described("ledger", "backup_ledger.dump.gz", EACH, EACH as u64);
    let path = "/backups/backup_ledger.dump.gz";
    let whole = axum::routing::get(async || {
        Body::from_stream(futures::stream::iter([io::Result::Ok(vec![0; EACH])]))
    });
    let unlimited =
        axum::Router::new().route(path, whole).route("/healthz", axum::routing::get(async || "ok"));
    Line {
        id: "F8",
        what: "downloads beyond the limit get a reason".to_owned(),
        runs: DOWNLOADS + 1,
        failures: wrongly_downloaded(&desk, &desk.router, path),
        caught: (usize::from(!wrongly_downloaded(&desk, &unlimited, path).is_empty()), 1),
        notes: String::new(),
    }
}

fn wrongly_downloaded(desk: &Desk, router: &axum::Router, path: &str) -> Vec<String> {
    let runtime = Runtime::new().unwrap();
    let ask = |path: &str| {
        let request = desk.request("GET", path).body(Body::empty()).unwrap();
        runtime.block_on(router.clone().oneshot(request)).unwrap()
    };
    let mut failures = Vec::new();
    let held: Vec<_> = (0..DOWNLOADS).map(|_| ask(path)).collect();
    if !held.iter().all(|answer| answer.status() == 200) {
        failures.push("an allowed request was refused".to_owned());
    }
    let refused = ask(path);
    if refused.status() != 503 || !refused.headers().contains_key("retry-after") {
        failures.push(format!("a request beyond the limit got {}", refused.status()));
    }
    if ask("/healthz").status() != 200 {
        failures.push("other requests are not served".to_owned());
    }
    drop(held);
    let again = ask(path).into_body();
    if !runtime.block_on(again.collect()).is_ok_and(|body| body.to_bytes().len() == EACH) {
        failures.push("no client is served after the others have left".to_owned());
    }
    failures
}
