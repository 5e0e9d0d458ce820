//! Downloads and archives, as browsers, curl and other people's unpackers see them: exact, resumable, flat in
//! memory, and never a part that passes for the whole.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use crate::support::desk::{BROWSER, Desk, FORM, JSON, NOW, names_in};
use axum::body::Body;
use data_encoding::HEXLOWER;
use holdfast::model::{ArchiveFormat, EngineKind, Stamp};
use holdfast::vault::bundle::plan::{Content, Files, Member, Plan};
use holdfast::vault::bundle::{LIFE, tar, zip};
use holdfast::vault::download::Download;
use holdfast::vault::error::VaultError;
use holdfast::vault::manifest::{self, Manifest};
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, RANGE, REFERER};
use http::request::Builder;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
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

/// Bytes that look like nothing in particular and are the same each time.
fn noise(size: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761).max(1);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[1]
    };
    (0..size).map(|_| next()).collect()
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
        database_engine: EngineKind::Sqlite,
        backup_format: EngineKind::Sqlite.backup_format().to_owned(),
        payload_size: size,
        payload_sha256: sha256.to_owned(),
        payload_crc32: format!("{crc32:08x}"),
        content_size: size,
        content_sha256: "cd".repeat(32),
        created_by: "the tests".to_owned(),
        warnings: None,
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
    desk.vault.bundle(OWNER, names.iter().map(|&name| name.to_owned()).collect(), format).unwrap().address
}

fn form(names: &[&str], format: &str) -> String {
    let encoded = |text: &str| percent_encode(text.as_bytes(), NON_ALPHANUMERIC).to_string();
    let names: String = names.iter().map(|name| format!("names%5B%5D={}&", encoded(name))).collect();
    format!("{names}format={format}")
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
    for (i, (name, size)) in sizes.into_iter().enumerate() {
        put(&desk, name, &noise(size, i as u32 + 1));
    }
    fs::write(desk.backup("backup_empty.dump.gz"), "").unwrap();
    fs::write(desk.backup(FOREIGN), noise(200_000, 77)).unwrap();
    let names = sizes.map(|(name, _)| name).into_iter().chain(["backup_empty.dump.gz", FOREIGN]).collect();
    (desk, names)
}

/// What an archive of these holds, besides SHA256SUMS and MISSING.txt.
fn expected(desk: &Desk, names: &[&str]) -> BTreeSet<String> {
    let there = names_in(desk.vault.backup_dir());
    there
        .into_iter()
        .filter(|file| names.iter().any(|name| file == name || *file == format!("{name}.manifest.json")))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn both_archives_open_in_other_people_s_tools_and_hold_the_files() {
    let (desk, names) = filled();
    let missing = ["backup_gone.dump.gz", "../holdfast.db"];
    let selected: Vec<_> = names.iter().chain(&missing).chain(&names[..2]).copied().collect();
    for format in ArchiveFormat::ALL {
        let request = desk.request("POST", "/archives").header(ACCEPT, BROWSER).header(CONTENT_TYPE, FORM);
        let led = desk.send(request, &form(&selected, format.key())).await;
        assert_eq!(led.status, StatusCode::SEE_OTHER, "{}", led.body);
        assert!(led.location().ends_with(format.file_name()), "{}", led.location());
        let got = get(&desk, led.location(), &[]).await;
        assert_eq!(got.status, StatusCode::OK);
        assert_eq!(got.header(CONTENT_TYPE), format.content_type());
        assert_eq!(got.header(CONTENT_LENGTH), got.body.len().to_string());
        let disposition = got.header("content-disposition");
        assert_eq!(disposition, format!("attachment; filename=\"{}\"", format.file_name()));

        let place = tempfile::tempdir().unwrap();
        let at = place.path();
        fs::write(at.join(format.file_name()), &got.body).unwrap();
        fs::create_dir(at.join("out")).unwrap();
        let script = at.join("look.py");
        let listed: Vec<String> = match format {
            Zip => {
                content("unzip", &["-tq", "backups.zip"], at);
                content("unzip", &["-q", "backups.zip", "-d", "out"], at);
                fs::write(&script, ZIP_LOOK).unwrap();
                content("python3", &["look.py"], at).lines().map(str::to_owned).collect()
            }
            TarGz => {
                content("gzip", &["-t", "backups.tar.gz"], at);
                content("tar", &["-xzf", "backups.tar.gz", "-C", "out"], at);
                fs::write(&script, TAR_LOOK).unwrap();
                let by_python: Vec<_> =
                    content("python3", &["look.py"], at).lines().map(str::to_owned).collect();
                let by_tar = content("tar", &["-tzf", "backups.tar.gz"], at);
                assert_eq!(by_tar.lines().collect::<Vec<_>>(), by_python);
                by_python
            }
        };
        if is_installed("bsdtar") {
            let by_bsdtar = content("bsdtar", &["-tf", format.file_name()], at);
            assert_eq!(by_bsdtar.lines().collect::<Vec<_>>(), listed);
        }
        let mut held = expected(&desk, &names);
        let mut in_order: Vec<_> = held.iter().cloned().collect();
        in_order.extend(["SHA256SUMS".to_owned(), "MISSING.txt".to_owned()]);
        assert_eq!(listed, in_order, "each backup, its manifest, and what says about them");
        held.extend(["SHA256SUMS".to_owned(), "MISSING.txt".to_owned()]);
        let out = at.join("out");
        assert_eq!(names_in(&out).into_iter().collect::<BTreeSet<_>>(), held);
        for name in expected(&desk, &names) {
            assert_eq!(fs::read(out.join(&name)).unwrap(), fs::read(desk.backup(&name)).unwrap(), "{name}");
            let (there, here) =
                (fs::metadata(desk.backup(&name)).unwrap(), fs::metadata(out.join(&name)).unwrap());
            assert_eq!(here.permissions().mode() & 0o777, 0o600, "{name}");
            assert_eq!(here.mtime(), there.mtime(), "{name}");
        }
        let checked = content("sha256sum", &["-c", "--strict", "SHA256SUMS"], &out);
        assert_eq!(checked.lines().count(), expected(&desk, &names).len());
        let told = fs::read_to_string(out.join("MISSING.txt")).unwrap();
        assert_eq!(
            told,
            "../holdfast.db: not the name of a backup: it must look like backup_….dump.gz\n\
             backup_gone.dump.gz: there is no such backup\n"
        );
    }
}

const ZIP_LOOK: &str = "
import zipfile
z = zipfile.ZipFile('backups.zip')
assert z.testzip() is None
for i in z.infolist():
    assert i.compress_type == zipfile.ZIP_STORED and i.flag_bits & 0x800 and not i.flag_bits & 8
    assert i.external_attr >> 16 == 0o100600
    print(i.filename)
";

const TAR_LOOK: &str = "
import tarfile
t = tarfile.open('backups.tar.gz', 'r:gz')
for m in t:
    assert m.isreg() and m.mode == 0o600 and len(t.extractfile(m).read()) == m.size
    print(m.name)
";

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_told_the_address_the_size_and_what_is_missing() {
    let (desk, names) = filled();
    let ask = async |body: &str| {
        let request =
            desk.request("POST", "/api/bundle_backups").header(ACCEPT, JSON).header(CONTENT_TYPE, JSON);
        desk.send(request, body).await
    };
    let told = ask(&format!(r#"{{"names":["{}","nothing","{FOREIGN}"],"format":"tar.gz"}}"#, names[0])).await;
    assert_eq!(told.status, StatusCode::OK, "{}", told.body);
    let told = told.json();
    assert_eq!((&told["files"], &told["missing"]), (&2.into(), &serde_json::json!(["nothing"])));
    let got = get(&desk, told["address"].as_str().unwrap(), &[]).await;
    assert_eq!(told["size"], got.body.len());
    let none = ask(r#"{"names":["backup_gone.dump.gz"],"format":"zip"}"#).await;
    assert_eq!(none.status, StatusCode::NOT_FOUND);
    assert!(none.body.contains("backup_gone.dump.gz"), "{}", none.body);
    assert_eq!(ask(r#"{"names":[],"format":"zip"}"#).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(ask(r#"{"names":["x"],"format":"rar"}"#).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_name_is_a_backup_s_there_is_no_archive() {
    let desk = Desk::new();
    let post = async |body: &str| {
        let request = desk.request("POST", "/archives").header(ACCEPT, BROWSER).header(CONTENT_TYPE, FORM);
        desk.send(request.header(REFERER, "http://holdfast.test/?page=2&q=led"), body).await
    };
    for body in [form(&["backup_gone.dump.gz", "x"], "zip"), form(&[], "tar.gz")] {
        let answer = post(&body).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.body);
        assert_eq!(answer.location(), "/?page=2&q=led&problem=no-files");
    }
    for format in ["", "rar", "ZIP", "zip%00"] {
        let answer = post(&form(&["x"], format)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{format}");
        assert!(answer.body.contains("zip or as tar.gz"), "{}", answer.body);
    }
    let archives: i64 =
        state(&desk).query_row("SELECT count(*) FROM archives", [], |row| row.get(0)).unwrap();
    assert_eq!(archives, 0);
}

fn state(desk: &Desk) -> rusqlite::Connection {
    rusqlite::Connection::open(desk.at("data/holdfast.db")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_lives_a_day_through_restarts_and_is_its_account_s_alone() {
    let (desk, names) = filled();
    let another = "INSERT INTO accounts VALUES (2, 'another', 'x', 0)";
    state(&desk).execute(another, []).unwrap();
    let address = bundled(&desk, &names, Zip);
    let id = address.split('/').nth(2).unwrap();
    assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    let open =
        |account, format| desk.reopened().open_bundle(account, id, format).map(|open| open.mark().to_owned());
    let mark = open(OWNER, Zip).unwrap();
    assert_eq!(
        get(&desk, &address, &[]).await.header(ETAG),
        format!("\"{mark}\""),
        "the same after a restart"
    );
    assert!(matches!(open(2, Zip), Err(VaultError::NoArchive)), "another account's");
    assert!(matches!(open(OWNER, TarGz), Err(VaultError::NoArchive)), "another format");
    for path in [
        address.replace("backups.zip", "backups.tar.gz"),
        address.replace("backups.zip", "BACKUPS.zip"),
        format!("/archives/{}/backups.zip", "0".repeat(32)),
        "/archives/x/backups.zip".to_owned(),
    ] {
        let answer = desk.page(&path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert!(answer.body.contains("There is no such archive."), "{}", answer.body);
    }
    desk.pass(LIFE - 1);
    assert!(open(OWNER, Zip).is_ok());
    desk.pass(1);
    assert!(matches!(open(OWNER, Zip), Err(VaultError::NoArchive)), "expired");
    bundled(&desk, &names, TarGz);
    let kept: i64 = state(&desk).query_row("SELECT count(*) FROM archives", [], |row| row.get(0)).unwrap();
    assert_eq!(kept, 1, "what expired is dropped when another is made");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_files_give_the_same_bytes() {
    let (desk, names) = filled();
    for format in ArchiveFormat::ALL {
        let first = get(&desk, &bundled(&desk, &names, format), &[]).await;
        let reopened = desk.reopened();
        let mut turned: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        turned.reverse();
        let again = reopened.bundle(OWNER, turned, format).unwrap().address;
        let open = reopened.open_bundle(OWNER, again.split('/').nth(2).unwrap(), format).unwrap();
        let mut bytes = vec![0; usize::try_from(open.size()).unwrap()];
        open.read_exact_at(0, &mut bytes).unwrap();
        assert!(bytes == first.body, "{format:?}");
        assert_eq!(first.header(ETAG), format!("\"{}\"", open.mark()));
        // The control: other bytes, another mark.
        let fewer = get(&desk, &bundled(&desk, &names[1..], format), &[]).await;
        assert_ne!(fewer.header(ETAG), first.header(ETAG));
    }
}

#[test]
fn sums_no_manifest_has_are_taken_once() {
    let desk = Desk::new();
    fs::write(desk.backup(FOREIGN), noise(100_000, 5)).unwrap();
    let described = "backup_wrong-size.dump.gz";
    put(&desk, described, &noise(1000, 1));
    describe(&desk, described, 999, 7, &"ef".repeat(32));
    let mark = || {
        let address = bundled(&desk, &[FOREIGN, described], Zip);
        let open = desk.vault.open_bundle(OWNER, address.split('/').nth(2).unwrap(), Zip).unwrap();
        open.mark().to_owned()
    };
    let first = mark();
    let kept: i64 = state(&desk).query_row("SELECT count(*) FROM digests", [], |row| row.get(0)).unwrap();
    assert_eq!(kept, 2);
    state(&desk).execute("UPDATE digests SET crc32 = crc32 + 1", []).unwrap();
    assert_ne!(mark(), first, "what is kept is used");
    state(&desk).execute("UPDATE digests SET modified = modified + 1", []).unwrap();
    assert_eq!(mark(), first, "what is of another state of the file is not");
    state(&desk).execute_batch("DROP TABLE digests").unwrap();
    assert_eq!(mark(), first, "without the state database they are taken anew");
}

/// Files in memory.
struct Here(Vec<Vec<u8>>);

impl Files for Here {
    fn read_exact_at(&self, file: usize, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        buf.copy_from_slice(&self.0[file][offset..offset + buf.len()]);
        Ok(())
    }
}

fn naive(format: ArchiveFormat, members: &[Member], files: &Here) -> Vec<u8> {
    let (mut whole, mut starts) = (Vec::new(), Vec::new());
    for member in members {
        starts.push(whole.len() as u64);
        let lead = if format == Zip { zip::local_header(member) } else { tar::header(member) };
        whole.extend(lead);
        match &member.content {
            Content::Bytes(bytes) => whole.extend(bytes),
            Content::File(file) => whole.extend(&files.0[*file]),
        }
        if format == TarGz {
            whole.resize(whole.len().next_multiple_of(512), 0);
        }
    }
    let at = whole.len() as u64;
    whole.extend(if format == Zip { zip::directory(members, &starts, at) } else { tar::END.to_vec() });
    whole
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(50))]
    /// 20 ranges a case: 1,000.
    #[test]
    fn any_part_of_a_plan_is_that_part_of_the_naive_whole(
        sizes in proptest::collection::vec((0_usize..200_000, any::<bool>(), "[a-z]{1,150}", -9_000_000_000_000_i64..9_000_000_000_000), 0..6),
        zipped: bool,
        ranges in proptest::collection::vec((0.0..1.0, 0.0..1.0), 20)
    ) {
        let format = if zipped { Zip } else { TarGz };
        let (mut files, mut members) = (Here(Vec::new()), Vec::new());
        for (i, (size, here, name, modified)) in sizes.into_iter().enumerate() {
            let mut member = Member::of_bytes(name, Stamp::from_millis(modified), noise(size, i as u32));
            if !here {
                let content = std::mem::replace(&mut member.content, Content::File(files.0.len()));
                let Content::Bytes(bytes) = content else { panic!() };
                files.0.push(bytes);
            }
            members.push(member);
        }
        let naive = naive(format, &members, &files);
        let plan = Plan::new(format, members).unwrap();
        let mut whole = vec![0xAA; usize::try_from(plan.len()).unwrap()];
        plan.read_exact_at(0, &mut whole, &files).unwrap();
        if zipped {
            prop_assert!(whole == naive);
        } else {
            let mut unpacked = Vec::new();
            let mut decoder = flate2::read::GzDecoder::new(&whole[..]);
            decoder.read_to_end(&mut unpacked).unwrap();
            prop_assert!(unpacked == naive);
            prop_assert!(decoder.into_inner().is_empty());
        }
        for (a, b) in ranges {
            let place = |x: f64| (x * whole.len() as f64) as usize;
            let (start, end) = (place(a).min(place(b)), place(a).max(place(b)));
            let mut part = vec![0xAA; end - start];
            plan.read_exact_at(start as u64, &mut part, &files).unwrap();
            prop_assert!(part == whole[start..end], "{start}..{end} of {}", whole.len());
        }
        prop_assert!(plan.read_exact_at(plan.len(), &mut [0], &files).is_err());
        prop_assert!(plan.read_exact_at(u64::MAX, &mut [0, 0], &files).is_err());
    }
}

/// Writes what of a download is not zeros for certain: the first and the last of it.
fn write_ends(open: &impl Download, path: &Path) {
    const END: u64 = 1 << 20;
    let file = File::create(path).unwrap();
    file.set_len(open.size()).unwrap();
    let mut end = vec![0; usize::try_from(END).unwrap()];
    for at in [0, open.size() - END] {
        open.read_exact_at(at, &mut end).unwrap();
        file.write_all_at(&end, at).unwrap();
    }
}

#[test]
fn a_member_of_nine_gigabytes_is_laid_out_for_other_people_s_tools() {
    const SIZE: u64 = 9 << 30;
    let desk = Desk::new();
    put_zeros(&desk, "backup_large.dump.gz", SIZE);
    put(&desk, "backup_small.dump.gz", b"what comes after it");
    let place = tempfile::tempdir().unwrap();
    for (format, script) in [(Zip, ZIP_LARGE), (TarGz, TAR_LARGE)] {
        let address = bundled(&desk, &["backup_large.dump.gz", "backup_small.dump.gz"], format);
        let open = desk.vault.open_bundle(OWNER, address.split('/').nth(2).unwrap(), format).unwrap();
        assert!(open.size() > SIZE);
        write_ends(&open, &place.path().join(format.file_name()));
        fs::write(place.path().join("look.py"), script).unwrap();
        let said = content("python3", &["look.py"], place.path());
        let sizes: Vec<_> = said.lines().map(|line| line.split_once(' ').unwrap()).collect();
        assert_eq!(sizes.len(), 5, "{said}");
        assert_eq!(sizes[0], ("backup_large.dump.gz", &*SIZE.to_string()));
        assert_eq!(sizes[2], ("backup_small.dump.gz", "19"));
    }
    // unzip goes by the directory and the local headers, and tells both when they differ.
    let listed = content("unzip", &["-l", "backups.zip"], place.path());
    assert!(listed.contains(&SIZE.to_string()), "{listed}");
    content("unzip", &["-tq", "backups.zip", "backup_small*", "SHA256SUMS", "*large*.json"], place.path());
    let beyond = run("unzip", &["-tq", "backups.zip", "backup_gone*"], place.path());
    assert!(!beyond.status.success(), "unzip is content with what is not there");
}

const ZIP_LARGE: &str = "
import zipfile
z = zipfile.ZipFile('backups.zip')
for i in z.infolist():
    print(i.filename, i.file_size)
    z.open(i).read(100)
assert z.read('backup_small.dump.gz') == b'what comes after it'
assert b'backup_small.dump.gz\\n' in z.read('SHA256SUMS')
";

/// Reads the tar through gzip's stored blocks without unpacking gigabytes of zeros.
const TAR_LARGE: &str = "
import io, os, struct, tarfile
class Stored(io.RawIOBase):
    def __init__(self, f):
        self.f, self.at = f, 0
        end = os.fstat(f.fileno()).st_size
        f.seek(end - 4)
        self.low = struct.unpack('<I', f.read(4))[0]
        body = end - 18
        blocks = -(-body // 65540)
        self.size = body - 5 * blocks
        f.seek(10 + (blocks - 1) * 65540)
        last, length, complement = struct.unpack('<BHH', f.read(5))
        assert last == 1 and length ^ complement == 0xffff
        assert length == self.size - (blocks - 1) * 65535
        assert self.low == self.size % 2**32
    def seekable(self): return True
    def tell(self): return self.at
    def seek(self, to, whence=0):
        self.at = to + (0, self.at, self.size)[whence]
        return self.at
    def read(self, n=-1):
        out = b''
        n = self.size - self.at if n < 0 else min(n, self.size - self.at)
        while n:
            block, within = divmod(self.at, 65535)
            take = min(n, 65535 - within)
            self.f.seek(10 + block * 65540 + 5 + within)
            out += self.f.read(take)
            self.at, n = self.at + take, n - take
        return out
t = tarfile.open(fileobj=Stored(open('backups.tar.gz', 'rb')), mode='r:')
for m in t:
    print(m.name, m.size)
assert t.extractfile('backup_small.dump.gz').read() == b'what comes after it'
";

struct Same;

impl Files for Same {
    fn read_exact_at(&self, _: usize, _: u64, buf: &mut [u8]) -> io::Result<()> {
        buf.fill(b'x');
        Ok(())
    }
}

#[test]
fn seventy_thousand_members_are_read_back() {
    const COUNT: usize = 70_000;
    let place = tempfile::tempdir().unwrap();
    for (format, script) in [(Zip, ZIP_MANY), (TarGz, TAR_MANY)] {
        let member = |i| Member {
            name: format!("backup_ledger-{i:06}.dump.gz"),
            modified: Stamp::from_millis(NOW),
            size: 3,
            crc32: crc32fast::hash(b"xxx"),
            content: Content::File(i),
        };
        let plan = Plan::new(format, (0..COUNT).map(member).collect()).unwrap();
        let mut bytes = vec![0; usize::try_from(plan.len()).unwrap()];
        plan.read_exact_at(0, &mut bytes, &Same).unwrap();
        fs::write(place.path().join(format.file_name()), bytes).unwrap();
        fs::write(place.path().join("look.py"), script).unwrap();
        assert_eq!(content("python3", &["look.py"], place.path()).trim(), COUNT.to_string());
    }
    content("unzip", &["-tqq", "backups.zip"], place.path());
}

const ZIP_MANY: &str = "
import zipfile
z = zipfile.ZipFile('backups.zip')
assert z.read('backup_ledger-069999.dump.gz') == b'xxx'
print(len(z.namelist()))
";

const TAR_MANY: &str = "
import subprocess
print(len(subprocess.check_output(['tar', '-tzf', 'backups.tar.gz']).splitlines()))
";

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
        put(&desk, name, &noise(2000 + i, i as u32));
    }
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    for format in ArchiveFormat::ALL {
        let address = bundled(&desk, &names, format);
        let request = desk.request("GET", &address).body(Body::empty()).unwrap();
        let mut body = desk.router.clone().oneshot(request).await.unwrap().into_body();
        let mut got = body.frame().await.unwrap().unwrap().into_data().unwrap().to_vec();
        let held = descriptors_in(desk.vault.backup_dir());
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
    let open = || descriptors_in(desk.vault.backup_dir());
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
    let (desk, names) = filled();
    let to = listening(&desk).await;
    let place = tempfile::tempdir().unwrap();
    let mut any = numbers(11);
    for path in three_ways(&desk, &[names[3], names[2], FOREIGN]) {
        let whole = get(&desk, &path, &[]).await.body;
        for _ in 0..12 {
            let cut = usize::try_from(any(whole.len() as u64)).unwrap();
            fs::write(place.path().join("part"), &whole[..cut]).unwrap();
            let cookie = format!("Cookie: {}", desk.cookie);
            let url = format!("http://{to}{path}");
            let arguments =
                ["-sS", "--fail", "-C", "-", "-o", "part", "-w", "%{http_code} %{size_download}", "-H"];
            let arguments = [&arguments[..], &[&cookie, &url]].concat();
            let at = place.path().to_owned();
            let (arguments, at): (Vec<String>, _) = (arguments.iter().map(|&a| a.to_owned()).collect(), at);
            let run = move || {
                let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
                content("curl", &arguments, &at)
            };
            let said = tokio::task::spawn_blocking(run).await.unwrap();
            let code = if cut == 0 { 200 } else { 206 };
            assert_eq!(said, format!("{code} {}", whole.len() - cut), "{path} from {cut}");
            assert!(fs::read(place.path().join("part")).unwrap() == whole, "{path} from {cut}");
        }
    }
}

/// Set for the child that measures its own memory.
const MEASURED: &str = "HOLDFAST_TEST_MEASURED";

/// Bytes of memory this process had at most so far.
fn most_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Runs only as the child of the test below: other tests share the process otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn measured_in_a_process_of_its_own() {
    #[expect(clippy::disallowed_methods, reason = "how the parent speaks to it")]
    let Ok(how) = std::env::var(MEASURED) else { return };
    const EACH: u64 = 1 << 30;
    let desk = Desk::new();
    put_zeros(&desk, "backup_a.dump.gz", EACH);
    put_zeros(&desk, "backup_b.dump.gz", EACH);
    put(&desk, "backup_small.dump.gz", b"small");
    get(&desk, &bundled(&desk, &["backup_small.dump.gz"], Zip), &[]).await;
    let before = most_memory();
    if how == "whole" {
        let mut whole = Vec::new();
        File::open(desk.backup("backup_a.dump.gz")).unwrap().take(256 << 20).read_to_end(&mut whole).unwrap();
        println!("held {} at once", whole.len());
    } else {
        let format = ArchiveFormat::parse(&how).unwrap();
        let address = bundled(&desk, &["backup_a.dump.gz", "backup_b.dump.gz"], format);
        let request = desk.request("GET", &address).body(Body::empty()).unwrap();
        let answer = desk.router.clone().oneshot(request).await.unwrap();
        let length: u64 = answer.headers()[CONTENT_LENGTH].to_str().unwrap().parse().unwrap();
        let (mut body, mut got) = (answer.into_body(), 0);
        while let Some(frame) = body.frame().await {
            got += frame.unwrap().into_data().unwrap().len() as u64;
        }
        assert!(got == length && got > 2 * EACH);
    }
    println!("grew by {} bytes", most_memory() - before);
}

#[test]
fn two_gigabytes_stream_through_little_memory() {
    let grown = |how: &str| -> u64 {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["downloads::measured_in_a_process_of_its_own", "--exact", "--nocapture"])
            .env(MEASURED, how)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout).into_owned();
        assert!(child.status.success(), "{said}{}", String::from_utf8_lossy(&child.stderr));
        let grown = said.split_once("grew by ").unwrap().1.split_once(' ').unwrap().0;
        println!("{how}: {grown} bytes");
        grown.parse().unwrap()
    };
    const LIMIT: u64 = 64 << 20;
    for format in ArchiveFormat::ALL {
        let grown = grown(format.key());
        assert!(grown < LIMIT, "{format:?}: {grown} bytes");
    }
    assert!(grown("whole") > LIMIT, "the control: what is held whole is not seen");
}

/// What nobody may be served: bytes of files outside the directory, or of ones that are not listed.
const SECRET: &str = "the words that must never leave";

/// Two thousand names that are no backup's.
fn hostile_names() -> Vec<Vec<u8>> {
    let long = format!("backup_{}.dump.gz", "a".repeat(300));
    let seeds: [&[u8]; 40] = [
        b"..",
        b".",
        b"",
        b"/",
        b"//",
        b"../",
        b"../holdfast.db",
        b"../../holdfast.db",
        b"..\\holdfast.db",
        b"../secret",
        b"../backups/backup_a.dump.gz",
        b"./backup_a.dump.gz",
        b"%2e%2e%2f",
        b"%2e%2e%2fsecret",
        b"%252e%252e%252fsecret",
        b"..%c0%af..%c0%afsecret",
        b"\xc0\xae\xc0\xae\xc0\xafsecret",
        b"\xe0\x80\xae\xe0\x80\xae/secret",
        b"\xff\xfe",
        b"backup_a.dump.gz\0",
        b"backup_a.dump.gz\0.txt",
        b"\0",
        b"backup_a.dump.gz\r\nX-Injected: yes",
        b"backup_a\n.dump.gz",
        "\u{202e}zg.pmud.a_pukcab".as_bytes(),
        "backup_\u{202e}a.dump.gz".as_bytes(),
        long.as_bytes(),
        b"-rf",
        b"--help",
        b"CON",
        b"C:\\boot.ini",
        b"backup_a.dump.gz::$DATA",
        b"backup_a.dump.gz.manifest.json",
        b".part-0123456789abcdef01234567",
        b".holdfast-server.lock",
        b"holdfast.db",
        b"holdfast.db-wal",
        b"backup_a.dump.gz;ls",
        b"$(id)",
        b"/proc/self/environ",
    ];
    let affixes: [(&[u8], &[u8]); 10] = [
        (b"", b""),
        (b"../", b""),
        (b"", b"\0"),
        (b"", b".dump.gz"),
        (b"backup_", b".dump.gz"),
        (b"backup_../", b".dump.gz"),
        (b"%2e%2e/", b""),
        (b"", b"/"),
        (b"", b"\r\nSet-Cookie: x=1"),
        (b"", b"?x"),
    ];
    let mut names = Vec::new();
    for seed in seeds {
        for (before, after) in affixes {
            let plain = [before, seed, after].concat();
            let doubled = plain.repeat(2);
            let upper = plain.to_ascii_uppercase();
            let encoded = percent_encode(&plain, NON_ALPHANUMERIC).to_string().into_bytes();
            let twice = percent_encode(&encoded, NON_ALPHANUMERIC).to_string().into_bytes();
            names.extend([plain, doubled, upper, encoded, twice]);
        }
    }
    names
}

fn url(name: &[u8]) -> String {
    percent_encode(name, NON_ALPHANUMERIC).to_string()
}

fn name_of(headers: &HeaderMap) -> BTreeSet<&str> {
    headers.keys().map(http::HeaderName::as_str).collect()
}

fn guarded_desk() -> Desk {
    let desk = Desk::new();
    for path in
        ["secret", "data/secret", "data/backups/secret", "data/backups/.part-0123456789abcdef01234567"]
    {
        fs::write(desk.at(path), SECRET).unwrap();
    }
    put(&desk, "backup_a.dump.gz", b"the one that may be had");
    desk
}

/// Nothing that must not leave, and nothing of the state database.
fn is_clean(body: &[u8]) -> bool {
    let has = |what: &str| body.windows(what.len()).any(|window| window == what.as_bytes());
    !has(SECRET) && !has("SQLite format 3") && !has("payload_sha256") && !has("root:x:")
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_hostile_names_reach_nothing() {
    let desk = guarded_desk();
    let names = hostile_names();
    assert!(names.len() >= 2000, "{}", names.len());
    let id = bundled(&desk, &["backup_a.dump.gz"], Zip).split('/').nth(2).unwrap().to_owned();
    let routes: [fn(&str, &str) -> String; 4] = [
        |name, _| format!("/backups/{name}"),
        |name, _| format!("/api/backups/{name}"),
        |name, _| format!("/archives/{name}/backups.zip"),
        |name, id| format!("/archives/{id}/{name}"),
    ];
    for route in routes {
        let control = get(&desk, &route("backup_gone.dump.gz", &id), &[]).await;
        assert_eq!(control.status, StatusCode::NOT_FOUND);
        for name in &names {
            // As it is, where an address may hold it, and encoded.
            let raw = String::from_utf8(name.clone()).ok().map(|name| route(&name, &id));
            let raw = raw.filter(|path| path.parse::<http::Uri>().is_ok_and(|uri| uri.path().len() > 1));
            for path in raw.into_iter().chain([route(&url(name), &id)]) {
                let got = get(&desk, &path, &[("accept", JSON)]).await;
                assert!(matches!(got.status.as_u16(), 400 | 404 | 405), "{path}: {}", got.status);
                assert!(is_clean(&got.body), "{path}: {}", String::from_utf8_lossy(&got.body));
                assert!(
                    name_of(&got.headers).is_subset(&name_of(&control.headers)) || got.status != 404,
                    "{path}"
                );
                assert!(!got.headers.contains_key("x-injected"), "{path}");
                assert!(!got.headers.contains_key("set-cookie"), "{path}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_names_in_a_selection_are_left_out_and_told_one_a_line() {
    let desk = guarded_desk();
    let names = hostile_names();
    let distinct: BTreeSet<_> = names.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    let fields: String = names.iter().map(|name| format!("names%5B%5D={}&", url(name))).collect();
    for format in ArchiveFormat::ALL {
        let key = format.key();
        let none = desk.tell("/archives", &format!("{fields}format={key}")).await;
        assert_eq!((none.status, none.location()), (StatusCode::SEE_OTHER, "/?problem=no-files"));
        let led = desk.tell("/archives", &format!("{fields}names%5B%5D=backup_a.dump.gz&format={key}")).await;
        assert_eq!(led.status, StatusCode::SEE_OTHER, "{}", led.body);
        assert!(!led.headers.contains_key("x-injected") && !led.headers.contains_key("set-cookie"));
        let place = tempfile::tempdir().unwrap();
        let got = get(&desk, led.location(), &[]).await;
        fs::write(place.path().join(format.file_name()), got.body).unwrap();
        match format {
            Zip => content("unzip", &["-q", "backups.zip"], place.path()),
            TarGz => content("tar", &["-xzf", "backups.tar.gz"], place.path()),
        };
        let held = names_in(place.path());
        let own = [
            "MISSING.txt",
            "SHA256SUMS",
            "backup_a.dump.gz",
            "backup_a.dump.gz.manifest.json",
            format.file_name(),
        ];
        assert_eq!(held.into_iter().collect::<BTreeSet<_>>(), own.map(str::to_owned).into());
        let told = fs::read_to_string(place.path().join("MISSING.txt")).unwrap();
        assert_eq!(told.lines().count(), distinct.len());
        assert!(!told.contains(['\0', '\r', '\u{202e}']), "unprintable characters");
    }
    for name in names.iter().step_by(20) {
        let body = format!("names%5B%5D={}&format=zip", url(name));
        let alone = desk.tell("/archives", &body).await;
        assert_eq!(alone.location(), "/?problem=no-files", "{body}");
        let json =
            serde_json::json!({ "names": [String::from_utf8_lossy(name)], "format": "zip" }).to_string();
        let request =
            desk.request("POST", "/api/bundle_backups").header(ACCEPT, JSON).header(CONTENT_TYPE, JSON);
        assert_eq!(desk.send(request, &json).await.status, StatusCode::NOT_FOUND, "{json}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_no_address_may_hold_are_refused_at_the_socket() {
    let desk = guarded_desk();
    let to = listening(&desk).await;
    let mut looked_at = 0;
    for name in hostile_names().into_iter().filter(|name| !name.contains(&b'\n')).step_by(15) {
        let mut stream = TcpStream::connect(to).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let end = format!(" HTTP/1.1\r\nHost: x\r\nCookie: {}\r\nConnection: close\r\n\r\n", desk.cookie);
        stream.write_all(&[b"GET /backups/", &name[..], end.as_bytes()].concat()).unwrap();
        let mut got = Vec::new();
        // A reset after a refusal is as good as an end.
        let _ = stream.read_to_end(&mut got);
        let head = String::from_utf8_lossy(&got[..got.len().min(12)]).into_owned();
        assert!(["HTTP/1.1 400", "HTTP/1.1 404", "HTTP/1.1 414"].contains(&&*head), "{name:?}: {head}");
        assert!(is_clean(&got), "{name:?}");
        looked_at += 1;
    }
    assert!(looked_at > 60, "{looked_at}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_looks_like_a_backup_is_neither_served_nor_bundled() {
    let desk = guarded_desk();
    let at = |name: &str| desk.backup(&format!("backup_{name}.dump.gz"));
    symlink(desk.at("secret"), at("link-out")).unwrap();
    symlink("backup_a.dump.gz", at("link-in")).unwrap();
    symlink("nowhere", at("link-nowhere")).unwrap();
    fs::create_dir(at("directory")).unwrap();
    fs::write(at("directory").join("x"), SECRET).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    content("mkfifo", &[at("pipe").to_str().unwrap()], Path::new("/"));
    symlink(desk.at("secret"), desk.backup("backup_a.dump.gz.manifest.json.new")).unwrap();
    let kinds = ["link-out", "link-in", "link-nowhere", "directory", "socket", "pipe"];
    let names = kinds.map(|kind| format!("backup_{kind}.dump.gz"));
    let asked = async {
        for name in &names {
            for route in ["/backups/", "/api/backups/"] {
                let got = get(&desk, &format!("{route}{name}"), &[]).await;
                assert_eq!(got.status, StatusCode::NOT_FOUND, "{route}{name}");
                assert!(is_clean(&got.body));
            }
            assert_eq!(desk.tell("/archives", &form(&[name], "zip")).await.location(), "/?problem=no-files");
        }
        let all: Vec<_> = names.iter().map(String::as_str).chain(["backup_a.dump.gz"]).collect();
        let got = get(&desk, desk.tell("/archives", &form(&all, "tar.gz")).await.location(), &[]).await;
        assert_eq!(got.status, StatusCode::OK);
        assert!(!got.body.windows(SECRET.len()).any(|window| window == SECRET.as_bytes()));
    };
    tokio::time::timeout(Duration::from_secs(10), asked).await.expect("something hangs on a pipe");
    // A manifest that is a link is none, and where it leads to does not go along.
    fs::remove_file(desk.backup("backup_a.dump.gz.manifest.json")).unwrap();
    symlink(desk.at("secret"), desk.backup("backup_a.dump.gz.manifest.json")).unwrap();
    let got = get(&desk, &bundled(&desk, &["backup_a.dump.gz"], Zip), &[]).await;
    assert!(is_clean(&got.body) && got.body.windows(10).any(|window| window == b"SHA256SUMS"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_swaps_for_a_link_serve_the_file_or_nothing() {
    let desk = guarded_desk();
    let (name, bytes) = ("backup_swap.dump.gz", b"what may be had".to_vec());
    let (at, stop) = (desk.backup(name), AtomicBool::new(false));
    let (kept, secret) = (desk.at("kept"), desk.at("secret"));
    fs::write(&kept, &bytes).unwrap();
    let mut seen = [0_u32; 3];
    let runtime = tokio::runtime::Handle::current();
    tokio::task::block_in_place(|| {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    // Each appears by a rename, so that there is always one or the other.
                    let (link, file) = (desk.at("link"), desk.at("file"));
                    symlink(&secret, &link).unwrap();
                    fs::rename(&link, &at).unwrap();
                    fs::hard_link(&kept, &file).unwrap();
                    fs::rename(&file, &at).unwrap();
                }
            });
            runtime.block_on(async {
                for _ in 0..1000 {
                    let got = get(&desk, &format!("/backups/{name}"), &[]).await;
                    assert!(is_clean(&got.body));
                    match got.status.as_u16() {
                        200 => assert_eq!(got.body, bytes),
                        404 => {}
                        other => panic!("{other}"),
                    }
                    seen[usize::from(got.status == 200)] += 1;
                    if let Ok(bundled) = desk.vault.bundle(OWNER, vec![name.to_owned()], Zip) {
                        let got = get(&desk, &bundled.address, &[]).await;
                        assert!(is_clean(&got.body));
                        assert!(matches!(got.status.as_u16(), 200 | 409), "{}", got.status);
                        seen[2] += 1;
                    }
                }
            });
            stop.store(true, Ordering::Relaxed);
        });
    });
    assert!(seen.iter().all(|&times| times > 10), "the race was not run: {seen:?}");
}
