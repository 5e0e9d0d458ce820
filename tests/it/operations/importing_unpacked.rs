//! Importing what came without its gzip, or under any name: browsers unpack what they download, and other programs
//! never packed it.

#![expect(clippy::unwrap_used, reason = "tests")]

use crate::support::desk::{BROWSER, Desk, contents_of, dense_database};
use crate::support::postgres::cluster;
use axum::body::Body;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use holdfast::domain::engines::{Cancel, Target};
use holdfast::domain::error::Error;
use holdfast::domain::jobs::Unwatched;
use holdfast::domain::operations::import::limits::Limits;
use holdfast::domain::operations::restore::RestoreOptions;
use holdfast::domain::repository::manifest::Manifest;
use holdfast::model::{EngineKind, FileState, Imported, Proof};
use http::StatusCode;
use http::header::{ACCEPT, CONTENT_TYPE};
use http_body_util::BodyExt as _;
use sha2::{Digest, Sha256};
use std::fs;
use std::io::{Read as _, Write as _};
use tower::ServiceExt as _;

/// What says that it was packed.
const PACKED: &str = "The file was not compressed, so Holdfast compressed it.";

fn import(desk: &Desk, files: &[(&str, &[u8])]) -> Result<Imported, Error> {
    let imports = desk.holdfast.imports();
    let mut importer = imports.begin(&Cancel::default());
    for (name, mut bytes) in files.iter().copied() {
        importer.receive(name, &mut bytes)?;
    }
    importer.finish()
}

fn refusal(desk: &Desk, name: &str, bytes: &[u8]) -> String {
    let before = contents_of(desk.holdfast.backup_dir());
    let imported = import(desk, &[(name, bytes)]).unwrap();
    assert!(imported.added.is_empty() && imported.refused.len() == 1, "{name}: {imported:?}");
    assert_eq!(contents_of(desk.holdfast.backup_dir()), before, "{name}");
    imported.refused[0].reason.clone()
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut content).unwrap();
    content
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(content).unwrap();
    packed.finish().unwrap()
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(bytes))
}

/// A backup of another desk: its name, its manifest's bytes and its content.
fn unpacked() -> (String, Vec<u8>, Vec<u8>) {
    let there = Desk::with(&["ledger"]);
    let made = there
        .holdfast
        .creations()
        .back_up(&"ledger".parse().unwrap(), &Cancel::default(), &Unwatched)
        .unwrap();
    let name = made.file.to_string();
    let manifest = fs::read(there.backup(&format!("{name}.manifest.json"))).unwrap();
    let content = gunzip(&fs::read(there.backup(&name)).unwrap());
    (name, manifest, content)
}

/// What is listed is what its own manifest says, and its content is what was brought.
fn is_as_brought(desk: &Desk, name: &str, content: &[u8]) -> Manifest {
    let bytes = fs::read(desk.backup(name)).unwrap();
    let manifest = Manifest::read(&fs::read(desk.backup(&format!("{name}.manifest.json"))).unwrap()).unwrap();
    assert!(gunzip(&bytes) == content, "{name}");
    assert_eq!(
        (manifest.payload_size, &*manifest.payload_sha256),
        (bytes.len() as u64, &*hex(&bytes)),
        "{name}"
    );
    assert_eq!(
        (manifest.content_size, &*manifest.content_sha256),
        (content.len() as u64, &*hex(content)),
        "{name}"
    );
    assert_eq!(manifest.payload_crc32, format!("{:08x}", crc32fast::hash(&bytes)), "{name}");
    let backup = desk.holdfast.catalog().get(&name.parse().unwrap()).unwrap();
    assert_eq!(backup.state, FileState::Whole, "{name}");
    assert_eq!(backup.verified.map(|verified| verified.proof), Some(Proof::Restored), "{name}");
    manifest
}

#[test]
fn what_a_browser_unpacked_is_packed_again_and_keeps_its_manifest() {
    let (name, manifest, content) = unpacked();
    let said = Manifest::read(&manifest).unwrap();
    let beside = format!("{name}.manifest.json");
    // As Safari names it; as it was named before; renamed.
    for file in [name.strip_suffix(".gz").unwrap(), &name, "ledger of monday.dump"] {
        let here = Desk::with(&["shop"]);
        let imported = import(&here, &[(file, &content), (&beside, &manifest)]).unwrap();
        assert_eq!((imported.added.len(), &imported.refused[..]), (1, &[][..]), "{file}");
        let added = &imported.added[0];
        assert_eq!((added.name.as_str(), &*added.from), (&*name, file));
        assert_eq!(added.notes, [PACKED, "Its content matches its manifest."]);
        let kept = is_as_brought(&here, &name, &content);
        assert_eq!((&kept.database, &kept.created_at), (&said.database, &said.created_at));
        let told = imported.outcome().good.unwrap();
        assert!(told.contains(PACKED) && told.contains(&name), "{told}");
        let restored = here.at("restored.db");
        let options = RestoreOptions::default();
        here.holdfast
            .restores()
            .restore(&name, &Target::of_file(restored.clone()), &options, &Cancel::default(), &Unwatched)
            .unwrap();
        assert!(fs::read(&restored).unwrap() == content);
        // Once more, it is there already: the same content is packed into the same file.
        let again = import(&here, &[(file, &content), (&beside, &manifest)]).unwrap();
        assert_eq!((again.added.len(), again.here.len()), (0, 1), "{again:?}");
    }
    // A manifest that speaks of another content.
    let mut other = content.clone();
    let last = other.len() - 1;
    other[last] ^= 1;
    let here = Desk::with(&["shop"]);
    let imported = import(&here, &[(&name, &other), (&beside, &manifest)]).unwrap();
    assert!(imported.added.is_empty(), "{imported:?}");
    assert!(imported.refused[0].reason.contains("its manifest says"), "{imported:?}");
    assert_eq!(contents_of(here.holdfast.backup_dir()), [""; 0]);
}

#[test]
fn a_raw_database_file_of_any_name_becomes_a_backup() {
    let (name, _, content) = unpacked();
    for (file, database) in [
        (name.strip_suffix(".gz").unwrap(), "ledger"),
        ("notes.sqlite3", "notes"),
        ("Places.db", "places"),
        ("default-2024-04-28.dump", "default-2024-04-28"),
        ("no ending at all", "no-ending-at-all"),
    ] {
        for bytes in [content.clone(), gzip(&content)] {
            let here = Desk::with(&["shop"]);
            let imported = import(&here, &[(file, &bytes)]).unwrap();
            assert_eq!((imported.added.len(), &imported.refused[..]), (1, &[][..]), "{file}");
            let added = imported.added[0].name.to_string();
            let kept = is_as_brought(&here, &added, &content);
            assert!(
                kept.is_of_import() && kept.database_engine == EngineKind::new("sqlite"),
                "{file}: {kept:?}"
            );
            let is_raw = bytes == content;
            assert_eq!(imported.added[0].notes.iter().any(|note| note == PACKED), is_raw, "{file}");
            // A gzip whose name ends as none of a backup's has no name of its own to read the database from.
            if is_raw || !file.starts_with("backup_") {
                assert_eq!(kept.database.as_str(), database, "{file}");
            }
        }
    }
}

#[test]
fn what_is_wrong_with_the_rows_is_told_and_stops_no_import() {
    let here = Desk::with(&["shop"]);
    let path = here.at("rules.db");
    let made =
        "CREATE TABLE t (a CHECK (a > 0)); PRAGMA ignore_check_constraints = ON; INSERT INTO t VALUES (-1);";
    rusqlite::Connection::open(&path).unwrap().execute_batch(made).unwrap();
    let imported = import(&here, &[("rules.db", &fs::read(&path).unwrap())]).unwrap();
    let told = imported.outcome().good.unwrap();
    assert!(told.contains(PACKED) && told.contains("CHECK constraint failed in t"), "{told}");
    let kept = fs::read(here.backup(&format!("{}.manifest.json", imported.added[0].name))).unwrap();
    assert!(Manifest::read(&kept).unwrap().remarks[0].contains("CHECK constraint failed in t"));

    // And where a file is adopted that nobody described.
    let bare = "backup_bare_2026-11-20_00-00-00Z.dump.gz";
    fs::write(here.backup(bare), gzip(&fs::read(&path).unwrap())).unwrap();
    let report = here.holdfast.verifications().adopt(
        &bare.parse().unwrap(),
        &RestoreOptions::default(),
        &Cancel::default(),
        &Unwatched,
    );
    assert!(report.unwrap().notes[0].contains("CHECK constraint failed in t"));
    let kept = Manifest::read(&fs::read(here.backup(&format!("{bare}.manifest.json"))).unwrap()).unwrap();
    assert!(kept.remarks[0].contains("CHECK constraint failed in t"), "{kept:?}");
    let view = here.holdfast.restore_plans().view(1, &bare.parse().unwrap(), None).unwrap();
    let shown = view.facts.iter().any(|(name, text)| name == "Remarks" && text.contains("CHECK constraint"));
    assert!(shown, "{:?}", view.facts);
}

#[test]
fn a_raw_postgres_archive_of_any_compression_is_taken_in() {
    let cluster = cluster();
    cluster.create_database("raw");
    cluster
        .psql("raw", "CREATE TABLE t AS SELECT g AS a, repeat('x', 50) AS b FROM generate_series(1, 500) g");
    let here = Desk::with(&["shop"]);
    for (file, compress) in
        [("default.psql.bin", "--compress=6"), ("raw.dump", "--compress=0"), ("raw2.backup", "-Z9")]
    {
        let archive = here.at(file);
        let made = cluster
            .command("pg_dump")
            .args(["--format=custom", compress, "--file"])
            .arg(&archive)
            .arg("raw")
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let bytes = fs::read(&archive).unwrap();
        let imported = import(&here, &[(file, &bytes)]).unwrap();
        assert_eq!((imported.added.len(), &imported.refused[..]), (1, &[][..]), "{file}");
        assert!(imported.added[0].notes.iter().any(|note| note == PACKED), "{file}");
        let name = imported.added[0].name.as_str();
        assert!(gunzip(&fs::read(here.backup(name)).unwrap()) == bytes, "{file}");
        // Half of it is no backup.
        let said = refusal(&here, file, &bytes[..bytes.len() / 2]);
        assert!(said.contains("The backup is damaged"), "{said}");
    }
    for (what, arguments, words) in [
        ("plain", &["--format=plain"][..], "a plain SQL dump"),
        ("tar", &["--format=tar"], "pg_dump --format=tar"),
    ] {
        let archive = here.at(what);
        let made = cluster
            .command("pg_dump")
            .args(arguments)
            .arg("--file")
            .arg(&archive)
            .arg("raw")
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let bytes = fs::read(&archive).unwrap();
        for bytes in [bytes.clone(), gzip(&bytes)] {
            let said = refusal(&here, what, &bytes);
            assert!(said.contains(words) && said.contains("-Fc"), "{what}: {said}");
        }
    }
}

#[test]
fn the_limits_hold_for_what_is_packed_again() {
    let (name, _, _) = unpacked();
    let raw = Desk::with(&["shop"]);
    dense_database(&raw.at("dense.db"), 200);
    let content = fs::read(raw.at("dense.db")).unwrap();
    let size = content.len() as u64;
    for (upload, limit, words) in
        [(size + size / 2, 1 << 40, "--import-max."), (size * 3, size - 1, "--import-max-content.")]
    {
        let here = Desk::limited(&["shop"], Limits { upload, content: limit, ..Limits::default() });
        let said = refusal(&here, &name, &content);
        assert!(said.contains(words), "{said}");
    }
    let here = Desk::limited(&["shop"], Limits { upload: size * 3, content: size, ..Limits::default() });
    assert_eq!(import(&here, &[("dense.db", &content)]).unwrap().added.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_without_javascript_takes_it_and_says_that_it_was_packed() {
    let (name, manifest, content) = unpacked();
    let here = Desk::with(&["shop"]);
    let file = name.strip_suffix(".gz").unwrap();
    let mut body = Vec::new();
    for (file, bytes) in [(file, &content), (&*format!("{name}.manifest.json"), &manifest)] {
        body.extend(format!("--edge\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{file}\"\r\nContent-Type: application/octet-stream\r\n\r\n").into_bytes());
        body.extend(bytes);
        body.extend(b"\r\n");
    }
    body.extend(b"--edge--\r\n");
    let request = here
        .request("POST", "/imports")
        .header(ACCEPT, BROWSER)
        .header(CONTENT_TYPE, "multipart/form-data; boundary=edge")
        .body(Body::from(body))
        .unwrap();
    let answer = here.router.clone().oneshot(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    let address = answer.headers()["location"].to_str().unwrap().to_owned();
    answer.into_body().collect().await.unwrap();
    let page = here.page(&address).await;
    assert!(page.body.contains(PACKED) && page.body.contains(&name), "{}", page.body);
    is_as_brought(&here, &name, &content);
}
