//! Downloads and archives, as browsers, curl and other people's unpackers see them: exact, resumable, flat in
//! memory, and never a part that passes for the whole.

#![expect(clippy::unwrap_used, reason = "tests")]

mod archives;
mod hostile_names;

use crate::support::alone::test_alone;
use crate::support::desk::{BROWSER, Desk, FORM, JSON, NOW, contents_of, names_in};
use crate::support::http::names_form;
use crate::support::noise::noise;
use axum::body::Body;
use data_encoding::HEXLOWER;
use holdfast::domain::repository::manifest;
use holdfast::domain::repository::manifest::Manifest;
use holdfast::model::{ArchiveFormat, EngineKind, Stamp};
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, RANGE};
use http::request::Builder;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tower::ServiceExt;

use ArchiveFormat::{TarGz, Zip};

/// The account every desk has.
const OWNER: i64 = 1;

/// An answer with its bytes; `broken` where the body ended in an error.
struct Got {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
    broken: bool,
}

impl Got {
    fn header(&self, name: impl http::header::AsHeaderName) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

async fn get(desk: &Desk, path: &str, headers: &[(&str, &str)]) -> Got {
    let request = headers.iter().fold(desk.request("GET", path), |r, (name, value)| r.header(*name, *value));
    fetch(desk, request).await
}

async fn fetch(desk: &Desk, request: Builder) -> Got {
    let request = request.body(Body::empty()).unwrap();
    let (parts, mut body) = desk.router.clone().oneshot(request).await.unwrap().into_parts();
    let (mut bytes, mut broken) = (Vec::new(), false);
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => bytes.extend_from_slice(&frame.into_data().unwrap()),
            Err(_) => broken = true,
        }
    }
    Got { status: parts.status, headers: parts.headers, body: bytes, broken }
}

/// Numbers that look like nothing in particular and are the same each time.
fn numbers(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed;
    move |below| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 16) % below.max(1)
    }
}

/// Puts a backup with a true manifest into the directory.
fn put(desk: &Desk, name: &str, bytes: &[u8]) {
    fs::write(desk.backup(name), bytes).unwrap();
    describe(
        desk,
        name,
        bytes.len() as u64,
        crc32fast::hash(bytes),
        &HEXLOWER.encode(&Sha256::digest(bytes)),
    );
    age(&desk.backup(name), 3600);
}

/// Puts `size` zeros that take no room on the disk, with a manifest that knows their CRC-32.
fn put_zeros(desk: &Desk, name: &str, size: u64) {
    File::create(desk.backup(name)).unwrap().set_len(size).unwrap();
    describe(desk, name, size, crc32_of_zeros(size), &"ab".repeat(32));
}

fn describe(desk: &Desk, name: &str, size: u64, crc32: u32, sha256: &str) {
    let manifest = Manifest {
        manifest_version: manifest::VERSION,
        file: name.parse().unwrap(),
        created_at: Stamp::from_millis(NOW).rfc3339(),
        database: "ledger".parse().unwrap(),
        database_engine: EngineKind::new("sqlite"),
        backup_format: "sqlite-database".to_owned(),
        payload_size: size,
        payload_sha256: sha256.to_owned(),
        payload_crc32: format!("{crc32:08x}"),
        content_size: size,
        content_sha256: "cd".repeat(32),
        created_by: "the tests".to_owned(),
        warnings: None,
        remarks: Vec::new(),
        tables: None,
        rows: None,
        origin: None,
    };
    fs::write(desk.backup(&format!("{name}.manifest.json")), manifest.to_bytes()).unwrap();
}

fn age(path: &Path, seconds: u64) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(seconds)).unwrap();
}

fn crc32_of_zeros(size: u64) -> u32 {
    const STEP: u64 = 1 << 20;
    let step = vec![0; usize::try_from(STEP).unwrap()];
    let of_step = crc32fast::hash(&step);
    let mut whole = crc32fast::Hasher::new();
    for _ in 0..size / STEP {
        whole.combine(&crc32fast::Hasher::new_with_initial_len(of_step, STEP));
    }
    whole.update(&step[..usize::try_from(size % STEP).unwrap()]);
    whole.finalize()
}

/// The address of an archive of these.
fn bundled(desk: &Desk, names: &[&str], format: ArchiveFormat) -> String {
    desk.holdfast
        .backups()
        .bundle(OWNER, names.iter().map(|&name| name.to_owned()).collect(), format)
        .unwrap()
        .address
        .unwrap()
}

fn form(names: &[&str], format: &str) -> String {
    format!("{}format={format}", names_form(names))
}

fn run(program: &str, arguments: &[&str], directory: &Path) -> Output {
    Command::new(program).args(arguments).current_dir(directory).output().unwrap()
}

/// Runs a tool that must be content; gives what it said.
#[track_caller]
fn content(program: &str, arguments: &[&str], directory: &Path) -> String {
    let output = run(program, arguments, directory);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}{complained}");
    said
}

fn is_installed(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

const LONG: &str = "backup_a-database-whose-name-is-as-long-as-names-may-be_2026-11-23_02-41-07Z_and-then-some-more-of-it.dump.gz";
const FOREIGN: &str = "backup_2026-01-02_03-04-05.dump.gz";

/// Whole ones of several sizes, one empty, one from elsewhere, one whose name plain tar cannot hold.
fn filled() -> (Desk, Vec<&'static str>) {
    let desk = Desk::new();
    let sizes = [
        ("backup_ledger_2026-11-20_00-00-00Z.dump.gz", 1),
        ("backup_ledger_2026-11-21_00-00-00Z.dump.gz", 512),
        ("backup_ledger_2026-11-22_00-00-00Z.dump.gz", 131_070),
        ("backup_shop_2026-11-22_00-00-00Z-2.dump.gz", 700_001),
        (LONG, 65_536),
    ];
    for (name, size) in sizes {
        put(&desk, name, &noise(size, 1));
    }
    fs::write(desk.backup("backup_empty.dump.gz"), "").unwrap();
    fs::write(desk.backup(FOREIGN), noise(200_000, 77)).unwrap();
    let names = sizes.map(|(name, _)| name).into_iter().chain(["backup_empty.dump.gz", FOREIGN]).collect();
    (desk, names)
}

/// The names of everything a reader sees of an archive and of a single file: each downloaded three ways.
fn three_ways(desk: &Desk, names: &[&str]) -> Vec<String> {
    vec![format!("/backups/{}", names[0]), bundled(desk, names, Zip), bundled(desk, names, TarGz)]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_says_what_it_is_before_it_begins() {
    let (desk, names) = filled();
    let file = fs::read(desk.backup(names[3])).unwrap();
    let got = get(&desk, &format!("/backups/{}", names[3]), &[]).await;
    assert_eq!(got.status, StatusCode::OK);
    assert!(got.body == file);
    assert_eq!(got.header(ETAG), format!("\"{}\"", HEXLOWER.encode(&Sha256::digest(&file))));
    assert_eq!(got.header(CONTENT_TYPE), "application/gzip");
    assert_eq!(got.header("content-disposition"), format!("attachment; filename=\"{}\"", names[3]));
    assert_eq!(got.header("cache-control"), "no-store");
    let modified = httpdate::parse_http_date(got.header("last-modified")).unwrap();
    let there = fs::metadata(desk.backup(names[3])).unwrap().mtime().unsigned_abs();
    assert_eq!(modified, UNIX_EPOCH + Duration::from_secs(there));
    for path in three_ways(&desk, &[names[3], FOREIGN]).into_iter().chain([format!("/backups/{FOREIGN}")]) {
        let got = get(&desk, &path, &[]).await;
        let head = fetch(&desk, desk.request("HEAD", &path).header(RANGE, "bytes=1-2")).await;
        assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0), "{path}: ranges are for GET");
        for header in ["content-length", "etag", "last-modified", "content-type", "accept-ranges"] {
            assert_eq!(head.header(header), got.header(header), "{path}");
        }
        assert_eq!(head.header(CONTENT_LENGTH), got.body.len().to_string());
        assert_eq!(head.header("accept-ranges"), "bytes");
        assert!(got.header(ETAG).starts_with('"') && got.header(ETAG).len() > 10, "{path}: strong");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_is_given_only_of_what_the_client_began_with() {
    let (desk, names) = filled();
    for path in three_ways(&desk, &names[2..]) {
        let whole = get(&desk, &path, &[]).await;
        let (etag, modified) = (whole.header(ETAG).to_owned(), whole.header("last-modified").to_owned());
        let dated = if path.starts_with("/backups/") { 206 } else { 200 };
        let weak = format!("W/{etag}");
        for (validator, status) in [
            (&*etag, 206),
            (&*weak, 200),
            ("\"other\"", 200),
            (&*modified, dated),
            ("Thu, 01 Jan 1970 00:00:00 GMT", 200),
            ("", 200),
        ] {
            let got = get(&desk, &path, &[("range", "bytes=5-9"), ("if-range", validator)]).await;
            assert_eq!(got.status.as_u16(), status, "{path} if {validator}");
            let part = if status == 206 { &whole.body[5..10] } else { &whole.body[..] };
            assert!(got.body == part, "{path} if {validator}");
        }
        for (tags, status) in [(&*etag, 206), ("*", 206), ("\"other\"", 412), (&*weak, 412)] {
            let got = get(&desk, &path, &[("range", "bytes=5-9"), ("if-match", tags)]).await;
            assert_eq!(got.status.as_u16(), status, "{path} where it matches {tags}");
        }
    }
    // Just written, it could be written again in the same second.
    age(&desk.backup(names[2]), 0);
    let path = format!("/backups/{}", names[2]);
    let modified = get(&desk, &path, &[]).await.header("last-modified").to_owned();
    let got = get(&desk, &path, &[("range", "bytes=5-9"), ("if-range", &modified)]).await;
    assert_eq!(got.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_ranges_are_answered_exactly_or_not_at_all() {
    let desk = Desk::new();
    put(&desk, "backup_a.dump.gz", &noise(9_000, 3));
    put(&desk, "backup_b.dump.gz", &noise(70_000, 4));
    let mut any = numbers(42);
    let mut seen = BTreeSet::new();
    for path in three_ways(&desk, &["backup_a.dump.gz", "backup_b.dump.gz"]) {
        let whole = get(&desk, &path, &[]).await.body;
        let size = whole.len() as u64;
        for _ in 0..334 {
            let mut number = || match any(12) {
                0 => String::new(),
                1 => "0".to_owned(),
                2 => (size - 1).to_string(),
                3 => size.to_string(),
                4 => u64::MAX.to_string(),
                5 => "18446744073709551616".to_owned(),
                6 => "-1".to_owned(),
                7 => "007".to_owned(),
                _ => any(size + 20).to_string(),
            };
            let (a, b, c, d) = (number(), number(), number(), number());
            let range = match any(16) {
                0 => format!("bytes={a}-{b},{c}-{d}"),
                1 => format!("bytes = {a}-{b}"),
                2 => format!("items={a}-{b}"),
                3 => format!("bytes={a}"),
                4 => format!("bytes=-{a}"),
                5 => format!("bytes={a}-"),
                6 => format!("bytes={a}--{b}"),
                7 => format!("bytes={a}-{b}, "),
                _ => format!("bytes={a}-{b}"),
            };
            let got = get(&desk, &path, &[("range", &range)]).await;
            assert!(!got.broken, "{range}");
            seen.insert(got.status.as_u16());
            match got.status.as_u16() {
                200 => assert!(got.body == whole && !got.headers.contains_key(CONTENT_RANGE), "{range}"),
                206 => {
                    let said = got.header(CONTENT_RANGE).strip_prefix("bytes ").unwrap();
                    let (part, of) = said.split_once('/').unwrap();
                    let (start, end) = part.split_once('-').unwrap();
                    let (start, end): (usize, usize) = (start.parse().unwrap(), end.parse().unwrap());
                    assert_eq!(of, size.to_string());
                    assert!(got.body == whole[start..=end], "{range}: {said}");
                    assert_eq!(got.header(CONTENT_LENGTH), got.body.len().to_string());
                    assert_eq!((start, end), naive_part(&range, size).unwrap(), "{range}");
                }
                416 => {
                    assert_eq!(got.header(CONTENT_RANGE), format!("bytes */{size}"), "{range}");
                    assert!(got.body.is_empty() && naive_part(&range, size).is_none(), "{range}");
                }
                other => panic!("{range}: {other}"),
            }
        }
    }
    assert_eq!(seen, [200, 206, 416].into(), "the ranges tried say little");
}

/// First and last byte that a single range means.
fn naive_part(range: &str, size: u64) -> Option<(usize, usize)> {
    let (start, end) = range.strip_prefix("bytes=")?.split_once('-')?;
    let last =
        if end.is_empty() || start.is_empty() { size - 1 } else { end.parse::<u64>().ok()?.min(size - 1) };
    let first = if start.is_empty() { size.saturating_sub(end.parse().ok()?) } else { start.parse().ok()? };
    (first <= last && first < size).then(|| (usize::try_from(first).unwrap(), usize::try_from(last).unwrap()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_deleted_meanwhile_is_still_downloaded_whole() {
    let desk = Desk::new();
    let (name, bytes) = ("backup_a.dump.gz", noise(2_000_000, 9));
    put(&desk, name, &bytes);
    for path in three_ways(&desk, &[name]) {
        put(&desk, name, &bytes);
        // A file put there again is another file.
        let path = if path.starts_with("/archives") {
            let format = if path.ends_with("zip") { Zip } else { TarGz };
            bundled(&desk, &[name], format)
        } else {
            path
        };
        let whole = get(&desk, &path, &[]).await.body;
        let request = desk.request("GET", &path).body(Body::empty()).unwrap();
        let mut body = desk.router.clone().oneshot(request).await.unwrap().into_body();
        let mut got = body.frame().await.unwrap().unwrap().into_data().unwrap().to_vec();
        fs::remove_file(desk.backup(name)).unwrap();
        fs::remove_file(desk.backup(&format!("{name}.manifest.json"))).unwrap();
        got.extend(body.collect().await.unwrap().to_bytes());
        assert!(got == whole, "{path}");
        // The control: it is gone for whoever comes now.
        let later = desk.page(&path).await;
        let status = if path.starts_with("/backups") { StatusCode::NOT_FOUND } else { StatusCode::CONFLICT };
        assert_eq!(later.status, status, "{path}");
        assert!(later.body.contains("role=\"alert\""), "{}", later.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_of_what_is_gone_or_changed_is_refused_by_name() {
    type Change = fn(&Path);
    let changes: [(&str, Change); 4] = [
        ("deleted", |path| fs::remove_file(path).unwrap()),
        ("written to", |path| OpenOptions::new().append(true).open(path).unwrap().write_all(b"x").unwrap()),
        ("touched", |path| age(path, 7)),
        ("replaced by a link", |path| {
            fs::remove_file(path).unwrap();
            symlink("backup_a.dump.gz", path).unwrap();
        }),
    ];
    for (what, change) in changes {
        let desk = Desk::new();
        put(&desk, "backup_a.dump.gz", &noise(100, 1));
        put(&desk, "backup_b.dump.gz", &noise(100, 2));
        let address = bundled(&desk, &["backup_a.dump.gz", "backup_b.dump.gz"], Zip);
        assert_eq!(get(&desk, &address, &[]).await.status, StatusCode::OK);
        change(&desk.backup("backup_b.dump.gz"));
        for accept in [BROWSER, JSON] {
            let answer = desk.send(desk.request("GET", &address).header(ACCEPT, accept), "").await;
            assert_eq!(answer.status, StatusCode::CONFLICT, "{what}");
            assert!(
                answer.body.contains("backup_b.dump.gz was deleted or changed"),
                "{what}: {}",
                answer.body
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_files_than_are_held_open_are_downloaded_all_the_same() {
    const COUNT: usize = 300;
    let desk = Desk::new();
    let names: Vec<_> = (0..COUNT).map(|i| format!("backup_many-{i:03}.dump.gz")).collect();
    for (i, name) in names.iter().enumerate() {
        put(&desk, name, &noise(2000 + i, i as u64));
    }
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    for format in ArchiveFormat::ALL {
        let address = bundled(&desk, &names, format);
        let request = desk.request("GET", &address).body(Body::empty()).unwrap();
        let mut body = desk.router.clone().oneshot(request).await.unwrap().into_body();
        let mut got = body.frame().await.unwrap().unwrap().into_data().unwrap().to_vec();
        let held = descriptors_in(desk.holdfast.backup_dir());
        assert!((200..=256).contains(&held), "{held} files are held open");
        got.extend(body.collect().await.unwrap().to_bytes());
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join(format.file_name()), got).unwrap();
        match format {
            Zip => content("unzip", &["-q", "backups.zip"], place.path()),
            TarGz => content("tar", &["-xzf", "backups.tar.gz"], place.path()),
        };
        let checked = content("sha256sum", &["-c", "--strict", "SHA256SUMS"], place.path());
        assert_eq!(checked.lines().count(), 2 * COUNT);
    }
    // One that is not held is looked at again when its turn comes.
    let address = bundled(&desk, &names, Zip);
    let request = desk.request("GET", &address).body(Body::empty()).unwrap();
    let mut body = desk.router.clone().oneshot(request).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    fs::remove_file(desk.backup(names[COUNT - 1])).unwrap();
    assert!(body.collect().await.is_err(), "the download ended as if it were whole");
}

/// How many files of that directory this process has open.
fn descriptors_in(directory: &Path) -> usize {
    let directory = fs::canonicalize(directory).unwrap();
    let open =
        fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    open.filter(|target| target.starts_with(&directory) && *target != directory).count()
}

/// Serves the desk's router on a port of its own.
async fn listening(desk: &Desk) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = desk.router.clone();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}

/// Asks over a connection of its own and reads the headers; gives the promised length.
fn begin(desk: &Desk, to: SocketAddr, path: &str) -> (TcpStream, usize) {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let cookie = &desk.cookie;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 200"), "{head}");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    (stream, length.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_cut_short_meanwhile_breaks_the_download_off() {
    const SIZE: u64 = 64 << 20;
    let desk = Desk::new();
    let to = listening(&desk).await;
    let name = "backup_cut.dump.gz";
    for kind in 0..3 {
        for cut in [true, false] {
            put_zeros(&desk, name, SIZE);
            let path = three_ways(&desk, &[name]).swap_remove(kind);
            let (mut stream, length) = begin(&desk, to, &path);
            if cut {
                OpenOptions::new().write(true).open(desk.backup(name)).unwrap().set_len(SIZE / 2).unwrap();
            }
            let mut got = Vec::new();
            let ended = stream.read_to_end(&mut got);
            let whole = ended.is_ok() && got.len() == length;
            assert_eq!(whole, !cut, "{path}: {} of {length} bytes", got.len());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_hang_up_leave_no_file_open() {
    const SIZE: u64 = 64 << 20;
    let desk = Desk::new();
    let to = listening(&desk).await;
    put_zeros(&desk, "backup_a.dump.gz", SIZE);
    put_zeros(&desk, "backup_b.dump.gz", SIZE);
    let paths = three_ways(&desk, &["backup_a.dump.gz", "backup_b.dump.gz"]);
    let open = || descriptors_in(desk.holdfast.backup_dir());
    let baseline = open();
    let mut any = numbers(7);
    let mut most = 0;
    for _ in 0..10 {
        let mut streams: Vec<_> = paths.iter().map(|path| begin(&desk, to, path).0).collect();
        for stream in &mut streams {
            let mut some = vec![0; usize::try_from(1 + any(3_000_000)).unwrap()];
            stream.read_exact(&mut some).unwrap();
        }
        most = most.max(open());
    }
    assert!(most >= baseline + 5, "the control: {most} open while downloads run, {baseline} before");
    let patience = Instant::now() + Duration::from_secs(5);
    while open() > baseline && Instant::now() < patience {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(open(), baseline, "still open five seconds after 30 clients hung up");
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_goes_on_where_a_download_was_cut() {
    /// Downloads of each of the three kinds: 200 of archives.
    const KILLS: usize = 100;
    /// So many curls at a time.
    const ABREAST: usize = 3;
    let (desk, names) = filled();
    let to = listening(&desk).await;
    let place = tempfile::tempdir().unwrap();
    let seed = RandomState::new().hash_one(std::process::id());
    println!("seed {seed}");
    let mut any = numbers(seed);
    let mut downloads = Vec::new();
    for path in three_ways(&desk, &[names[3], names[2], FOREIGN]) {
        let whole = Arc::new(get(&desk, &path, &[]).await.body);
        let url = format!("http://{to}{path}");
        for _ in 0..KILLS {
            let cut = usize::try_from(any(whole.len() as u64)).unwrap();
            downloads.push((url.clone(), Arc::clone(&whole), cut));
        }
    }
    let cookie = format!("Cookie: {}", desk.cookie);
    let killed = AtomicUsize::new(0);
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for number in 0..ABREAST {
            let (cookie, killed, next, downloads) = (&cookie, &killed, &next, &downloads);
            let part = place.path().join(format!("part-{number}"));
            scope.spawn(move || {
                while let Some((url, whole, cut)) = downloads.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let mut bytes = vec![0; *cut];
                    if begin_and_kill(url, cookie, &mut bytes) {
                        killed.fetch_add(1, Ordering::Relaxed);
                    }
                    assert!(bytes == whole[..*cut], "{url} up to {cut}, seed {seed}");
                    fs::write(&part, bytes).unwrap();
                    let code = if *cut == 0 { 200 } else { 206 };
                    let said = resume(url, cookie, &part);
                    assert_eq!(
                        said,
                        format!("{code} {}", whole.len() - cut),
                        "{url} from {cut}, seed {seed}"
                    );
                    assert!(fs::read(&part).unwrap() == **whole, "{url} from {cut}, seed {seed}");
                }
            });
        }
    });
    // One whose rest fits into the pipe may have been through.
    let (killed, all) = (killed.into_inner(), downloads.len());
    println!("{killed} of {all} curls were killed at work");
    assert!(killed >= all / 2, "{killed} of {all} curls were killed at work, seed {seed}");
    // The control: what is not the beginning of it does not become it.
    let (url, whole, _) = &downloads[0];
    let part = place.path().join("other");
    let mut bytes = whole[..1000].to_vec();
    bytes[500] ^= 1;
    fs::write(&part, bytes).unwrap();
    resume(url, &cookie, &part);
    assert!(fs::read(&part).unwrap() != **whole, "the comparison sees no difference");
}

/// Fills `bytes` with the beginning of what curl gets, and kills it; whether it was still at work.
fn begin_and_kill(url: &str, cookie: &str, bytes: &mut [u8]) -> bool {
    let mut curl = Command::new("curl")
        .args(["-sS", "--fail", "--no-buffer", "-H", cookie, url])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    curl.stdout.as_mut().unwrap().read_exact(bytes).unwrap();
    let is_at_work = curl.try_wait().unwrap().is_none();
    curl.kill().unwrap();
    is_at_work && curl.wait().unwrap().signal() == Some(9)
}

/// Has curl go on with what is in the file; its code, and how many bytes it got.
fn resume(url: &str, cookie: &str, part: &Path) -> String {
    let arguments = ["-sS", "--fail", "-C", "-", "-w", "%{http_code} %{size_download}", "-H", cookie, "-o"];
    let arguments = [&arguments[..], &[part.to_str().unwrap(), url]].concat();
    content("curl", &arguments, Path::new("/"))
}

/// Set for the child that measures its own memory.
const MEASURED: &str = "HOLDFAST_TEST_MEASURED";

/// Bytes of memory this process had at most so far.
fn most_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// How many bytes come where so many are asked for.
async fn get_length(desk: &Desk, path: &str, from: u64, length: u64) -> u64 {
    let range = format!("bytes={from}-{}", from + length - 1);
    let request = desk.request("GET", path).header(RANGE, range).body(Body::empty()).unwrap();
    let mut body = desk.router.clone().oneshot(request).await.unwrap().into_body();
    let mut got = 0;
    while let Some(frame) = body.frame().await {
        got += frame.unwrap().into_data().unwrap().len() as u64;
    }
    got
}

/// Runs only as the child of the test below: other tests share the process otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn measured_in_a_process_of_its_own() {
    const EACH: u64 = 1 << 30;
    const PART: u64 = 100 << 20;
    #[expect(clippy::disallowed_methods, reason = "how the parent speaks to it")]
    let Ok(how) = std::env::var(MEASURED) else { return };
    let desk = Desk::new();
    put_zeros(&desk, "backup_a.dump.gz", EACH);
    put_zeros(&desk, "backup_b.dump.gz", EACH);
    put(&desk, "backup_small.dump.gz", b"small");
    get(&desk, &bundled(&desk, &["backup_small.dump.gz"], Zip), &[]).await;
    // The peak so far is forgotten: hashing a password takes more than a download.
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = most_memory();
    if how == "whole" {
        let mut whole = Vec::new();
        File::open(desk.backup("backup_a.dump.gz")).unwrap().take(256 << 20).read_to_end(&mut whole).unwrap();
        println!("held {} at once", whole.len());
    } else {
        let format = ArchiveFormat::parse(&how).unwrap();
        let address = bundled(&desk, &["backup_a.dump.gz", "backup_b.dump.gz"], format);
        assert_eq!(get_length(&desk, &address, 0, 2 * EACH).await, 2 * EACH);
        // Ten at once, a part of it each.
        let part = |i: u64| get_length(&desk, &address, EACH - i * 1_000_000, PART);
        let parts = futures::future::join_all((0..10).map(part)).await;
        assert_eq!(parts, [PART; 10]);
    }
    println!("grew by {} bytes", most_memory() - before);
}

#[test]
fn two_gigabytes_stream_through_little_memory() {
    const LIMIT: u64 = 64 << 20;
    let grown = |how: &str| -> u64 {
        let child = test_alone(module_path!(), "measured_in_a_process_of_its_own")
            .env(MEASURED, how)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout).into_owned();
        assert!(child.status.success(), "{said}{}", String::from_utf8_lossy(&child.stderr));
        let grown = said.split_once("grew by ").unwrap().1.split_once(' ').unwrap().0;
        println!("{how}: {grown} bytes");
        grown.parse().unwrap()
    };
    for format in ArchiveFormat::ALL {
        let grown = grown(format.key());
        assert!(grown < LIMIT, "{format:?}: {grown} bytes");
    }
    assert!(grown("whole") > LIMIT, "the control: what is held whole is not seen");
}
