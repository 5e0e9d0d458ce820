//! Importing: what was brought along is listed as it was, and nothing else is: no damage, no file elsewhere, no
//! draft left behind.

#![expect(clippy::unwrap_used, reason = "tests")]

use crate::restoring::Random;
use crate::support::desk::{Answer, BROWSER, Desk, NOW, contents_of, dense_database, names_in};
use crate::support::postgres::cluster;
use axum::body::{Body, Bytes};
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use futures::StreamExt as _;
use holdfast::domain::Error;
use holdfast::domain::engines::{Cancel, Target};
use holdfast::domain::jobs::Unwatched;
use holdfast::domain::operations::import::Limits;
use holdfast::domain::operations::restore::RestoreOptions;
use holdfast::domain::repository::manifest::Manifest;
use holdfast::domain::repository::read::Download as _;
use holdfast::model::{ArchiveFormat, BackupName, FileState, Imported, Proof};
use holdfast::server::listener::connections;
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use std::collections::BTreeMap;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use tar::{EntryType, Header};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tower::ServiceExt as _;

/// Mutated files of the whole fuzz.
const MUTANTS: usize = 2000;
/// Memory that an import may take, whatever comes.
const FLAT: u64 = 64 << 20;

/// A desk with a backup of each of its databases.
fn source() -> Desk {
    let desk = Desk::new();
    // Large enough for damage to hit more than headers.
    dense_database(&desk.at("dense.db"), 16);
    fs::rename(desk.at("dense.db"), desk.at("ledger.db")).unwrap();
    for database in ["ledger", "shop"] {
        desk.holdfast.back_up(&database.parse().unwrap(), &Cancel::default(), &Unwatched).unwrap();
    }
    desk
}

/// All that is in a backup directory, but for what verifications found.
fn files_of(desk: &Desk) -> BTreeMap<String, Vec<u8>> {
    let dir = desk.holdfast.backup_dir();
    let names = contents_of(dir).into_iter().filter(|name| !name.ends_with(".verified.json"));
    names.map(|name| (name.clone(), fs::read(dir.join(&name)).unwrap())).collect()
}

/// The first backup of a desk and its manifest.
fn one(desk: &Desk) -> (String, Vec<u8>, Vec<u8>) {
    let files = files_of(desk);
    let (name, bytes) = files.iter().find(|(name, _)| name.ends_with(".dump.gz")).unwrap();
    (name.clone(), bytes.clone(), files[&format!("{name}.manifest.json")].clone())
}

/// What the program itself makes of all backups of a desk.
fn bundle(desk: &Desk, format: ArchiveFormat) -> Vec<u8> {
    let names = files_of(desk).into_keys().filter(|name| name.ends_with(".dump.gz")).collect();
    let address = desk.holdfast.bundle(1, names, format).unwrap().address.unwrap();
    let id = address.split('/').nth(2).unwrap();
    let open = desk.holdfast.open_bundle(1, id, format).unwrap();
    let mut bytes = vec![0; usize::try_from(open.size()).unwrap()];
    open.read_exact_at(0, &mut bytes).unwrap();
    bytes
}

fn import(desk: &Desk, files: &[(&str, &[u8])]) -> Result<Imported, Error> {
    let mut importer = desk.holdfast.importer(&Cancel::default());
    for (name, mut bytes) in files.iter().copied() {
        importer.receive(name, &mut bytes)?;
    }
    importer.finish()
}

/// Imports what is no good, and gives why not.
fn refusal(desk: &Desk, files: &[(&str, &[u8])]) -> String {
    let before = (contents_of(desk.holdfast.backup_dir()), names_in(&desk.at("")));
    let reasons = match import(desk, files) {
        Ok(imported) => {
            assert!(imported.added.is_empty() && imported.here.is_empty(), "{imported:?}");
            imported.refused.into_iter().map(|kept| kept.reason).collect::<Vec<_>>().join(" ")
        }
        Err(error) => error.to_string(),
    };
    assert_eq!((contents_of(desk.holdfast.backup_dir()), names_in(&desk.at(""))), before, "{reasons}");
    assert!(reasons.ends_with('.'), "{reasons}");
    reasons
}

fn added(imported: &Imported) -> Vec<&str> {
    imported.added.iter().map(|added| added.name.as_str()).collect()
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(content).unwrap();
    packed.finish().unwrap()
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    MultiGzDecoder::new(bytes).read_to_end(&mut content).unwrap();
    content
}

/// A zip of stored entries; `flags` and `method` are said of each.
fn zip_with(entries: &[(&str, &[u8])], flags: u16, method: u16) -> Vec<u8> {
    let (mut zip, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in entries {
        let size = u32::try_from(content.len()).unwrap().to_le_bytes();
        let length = u16::try_from(name.len()).unwrap().to_le_bytes();
        let mut common = Vec::new();
        common.extend(20_u16.to_le_bytes());
        common.extend(flags.to_le_bytes());
        common.extend(method.to_le_bytes());
        common.extend([0, 0, 0x21, 0]);
        common.extend(crc32fast::hash(content).to_le_bytes());
        common.extend([size, size].concat());
        common.extend(length);
        common.extend([0, 0]);
        let start = u32::try_from(zip.len()).unwrap();
        zip.extend([b"PK\x03\x04", &common[..], name.as_bytes(), content].concat());
        directory.extend([b"PK\x01\x02", &[20, 3][..], &common, &[0; 10]].concat());
        directory.extend(start.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let (count, at) = (u16::try_from(entries.len()).unwrap().to_le_bytes(), zip.len());
    zip.extend(&directory);
    zip.extend([b"PK\x05\x06\0\0\0\0", &count[..], &count].concat());
    zip.extend(u32::try_from(directory.len()).unwrap().to_le_bytes());
    zip.extend(u32::try_from(at).unwrap().to_le_bytes());
    zip.extend([0, 0]);
    zip
}

fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    zip_with(entries, 0, 0)
}

/// The same zip with the numbers in the records for large ones, as Holdfast's own have from 4 GiB on; `place` is
/// added to where they say the directory is.
fn zip64(small: &[u8], place: u64) -> Vec<u8> {
    let (rest, end) = small.split_at(small.len() - 22);
    let full = |at: usize| u64::from(u32::from_le_bytes(end[at..at + 4].try_into().unwrap()));
    let count = u64::from(end[10]).to_le_bytes();
    let mut zip = rest.to_vec();
    zip.extend(b"PK\x06\x06");
    zip.extend(44_u64.to_le_bytes());
    zip.extend([45, 3, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    zip.extend([count, count, full(12).to_le_bytes(), (full(16) + place).to_le_bytes()].concat());
    zip.extend(b"PK\x06\x07\0\0\0\0");
    zip.extend((rest.len() as u64).to_le_bytes());
    zip.extend([1, 0, 0, 0]);
    zip.extend(&end[..12]);
    zip.extend([0xFF; 8]);
    zip.extend([0, 0]);
    zip
}

/// A tar's entry, its name taken as it is.
fn entry(name: &str, kind: EntryType, said: u64, content: &[u8]) -> Vec<u8> {
    let mut header = Header::new_ustar();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_size(said);
    header.set_mode(0o600);
    if kind == EntryType::Symlink || kind == EntryType::Link {
        header.as_old_mut().linkname[..11].copy_from_slice(b"/etc/passwd");
    }
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn file_entry(name: &str, content: &[u8]) -> Vec<u8> {
    entry(name, EntryType::Regular, content.len() as u64, content)
}

fn tar(entries: &[Vec<u8>]) -> Vec<u8> {
    [&entries.concat()[..], &[0; 1024]].concat()
}

#[test]
fn a_bundle_comes_back_byte_for_byte() {
    let there = source();
    // A backup without a manifest comes back as well, and gets one.
    let (name, bytes, _) = one(&there);
    fs::write(there.backup("backup_old.dump.gz"), &bytes).unwrap();
    let zip = bundle(&there, ArchiveFormat::Zip);
    let packed = bundle(&there, ArchiveFormat::TarGz);
    let plain = gunzip(&packed);
    for (file, bytes) in [("backups.zip", &zip), ("backups.tar.gz", &packed), ("x", &plain)] {
        let here = Desk::new();
        let imported = import(&here, &[(file, bytes)]).unwrap();
        assert!(imported.refused.is_empty(), "{file}: {imported:?}");
        assert_eq!(imported.added.len(), 3, "{file}");
        let mut files = files_of(&here);
        assert!(files.remove("backup_old.dump.gz.manifest.json").is_some());
        assert_eq!(files, files_of(&there), "{file}");
        for backup in here.holdfast.catalog().list().unwrap().iter() {
            assert_eq!(backup.state, FileState::Whole, "{file}");
            assert_eq!(backup.verified.as_ref().unwrap().proof, Proof::Restored, "{file}");
        }
        // Once more, it is all here; and where one is not what it was any more, it comes beside it.
        let again = import(&here, &[(file, bytes)]).unwrap();
        assert!(again.added.is_empty() && again.refused.is_empty() && again.here.len() == 3, "{again:?}");
        fs::write(here.backup(&name), "spoilt").unwrap();
        let again = import(&here, &[(file, bytes)]).unwrap();
        let beside = name.replace("Z.", "Z-2.");
        assert_eq!((added(&again), again.here.len()), (vec![&*beside], 2));
        let manifest = fs::read(here.backup(&format!("{beside}.manifest.json"))).unwrap();
        assert_eq!(Manifest::read(&manifest).unwrap().file.as_str(), beside);
        assert_eq!(fs::read(here.backup(&name)).unwrap(), b"spoilt");
        let restored = here.at("restored.db");
        let target = Target::Sqlite(restored.clone());
        here.holdfast
            .restore(&beside, &target, &RestoreOptions::default(), &Cancel::default(), &Unwatched)
            .unwrap();
        assert!(restored.exists());
    }
}

#[test]
fn one_backup_is_imported_whatever_it_is_called() {
    let there = source();
    let (name, bytes, manifest) = one(&there);
    let beside = format!("{name}.manifest.json");
    for (file, said) in [
        // As it was.
        (&*name, Some(&*beside)),
        // Both renamed; the backup renamed, as a browser does that has one of its name already.
        ("Monday's copy.gz", Some("Monday's copy.gz.manifest.json")),
        ("backup (1).dump.gz", Some(&*beside)),
    ] {
        for manifest_first in [true, false] {
            let here = Desk::new();
            let mut files = vec![(file, &*bytes)];
            files.insert(usize::from(!manifest_first), (said.unwrap(), &*manifest));
            let imported = import(&here, &files).unwrap();
            assert_eq!((added(&imported), &imported.refused[..]), (vec![&*name], &[][..]), "{file}");
            assert_eq!(imported.added[0].from, file);
            assert_eq!(fs::read(here.backup(&beside)).unwrap(), manifest, "{file}");
            assert_eq!(fs::read(here.backup(&name)).unwrap(), bytes, "{file}");
        }
    }
    let here = Desk::new();
    let imported = import(&here, &[("Monday's copy.dump.gz", &bytes), (&name, &bytes)]).unwrap();
    let made = "backup_monday-s-copy_2026-11-23_02-41-07Z.dump.gz";
    assert_eq!(added(&imported), [made, &name]);
    for name in [made, &name] {
        let said = fs::read(here.backup(&format!("{name}.manifest.json"))).unwrap();
        let said = Manifest::read(&said).unwrap();
        assert!(said.created_by.ends_with("(imported)") && said.file.as_str() == name);
        assert_eq!(said.payload_sha256, Manifest::read(&manifest).unwrap().payload_sha256);
        let backup = here.holdfast.catalog().get(&name.parse().unwrap()).unwrap();
        assert_eq!((backup.state, backup.created.millis() / 1000), (FileState::Whole, NOW / 1000));
    }
}

#[test]
fn what_is_not_as_its_manifest_says_is_refused_and_stops_no_other() {
    let there = source();
    let (name, bytes, manifest) = one(&there);
    let beside = format!("{name}.manifest.json");
    let said = Manifest::read(&manifest).unwrap();
    let wrong = |change: &dyn Fn(&mut Manifest)| {
        let mut wrong = said.clone();
        change(&mut wrong);
        wrong.to_bytes()
    };
    let good = gzip(&gunzip(&bytes));
    for (manifest, words) in [
        (wrong(&|it| it.payload_sha256 = "ab".repeat(32)), "its SHA-256 is"),
        (wrong(&|it| it.payload_crc32 = "00000000".to_owned()), "its CRC-32 is"),
        (wrong(&|it| it.payload_size += 1), "its size is"),
        (wrong(&|it| it.content_size += 1), "its content's size is"),
        (wrong(&|it| it.file = "backup_b.dump.gz".parse().unwrap()), "is that of backup_b.dump.gz"),
        (b"{}".to_vec(), "cannot be read"),
        (vec![b' '; 70_000], "cannot be read"),
    ] {
        let here = Desk::new();
        for files in [
            vec![("backup_x.dump.gz", &*good), (&*name, &*bytes), (&*beside, &*manifest)],
            vec![("a.zip", &*zip(&[(&name, &bytes), ("backup_x.dump.gz", &good), (&beside, &manifest)]))],
        ] {
            let imported = import(&here, &files).unwrap();
            assert_eq!(imported.refused.len(), 1, "{imported:?}");
            assert_eq!(imported.refused[0].name, name);
            assert!(imported.refused[0].reason.contains(words), "{words}: {imported:?}");
            assert!(!here.backup(&name).exists() && here.backup("backup_x.dump.gz").exists());
        }
    }
    let said = refusal(&Desk::new(), &[(&beside, &manifest)]);
    assert!(said.contains("did not come with it"), "{said}");
}

#[test]
fn a_postgres_archive_is_imported_and_restored() {
    let cluster = cluster();
    cluster.create_database("imported");
    cluster.psql("imported", "CREATE TABLE t AS SELECT i, md5(i::text) FROM generate_series(1, 2000) i");
    let dumped = cluster.command("pg_dump").args(["-Fc", "-Z0", "imported"]).output().unwrap();
    assert!(dumped.status.success(), "{}", String::from_utf8_lossy(&dumped.stderr));
    let here = Desk::of(vec![("shop".parse().unwrap(), Target::parse(&cluster.url("imported")).unwrap())]);
    let cut = gzip(&dumped.stdout[..dumped.stdout.len() - 100]);
    let said = refusal(&here, &[("shop.dump.gz", &cut)]);
    assert!(said.contains("its archive is incomplete"), "{said}");
    let said = refusal(&here, &[("shop.dump.gz", &gzip(&dumped.stdout)[..2000])]);
    assert!(said.contains("its gzip is damaged"), "{said}");
    let imported = import(&here, &[("shop.dump.gz", &gzip(&dumped.stdout))]).unwrap();
    let name = "backup_shop_2026-11-23_02-41-07Z.dump.gz";
    assert_eq!((added(&imported), &imported.refused[..]), (vec![name], &[][..]));
    let backup = here.holdfast.catalog().get(&name.parse().unwrap()).unwrap();
    assert_eq!(backup.verified.unwrap().proof, Proof::Readable);
    // What nobody vouches for is not carried out as a superuser only because somebody presses “Verify”.
    let proved = here.holdfast.prove(&backup.name, &Cancel::default(), &Unwatched).unwrap();
    assert_eq!(proved.level, Proof::Readable);
    assert!(proved.notes.concat().contains("nothing says where it comes from"), "{:?}", proved.notes);
    let target = Target::parse(&cluster.url("imported-again")).unwrap();
    here.holdfast.restore(name, &target, &RestoreOptions::default(), &Cancel::default(), &Unwatched).unwrap();
    assert_eq!(cluster.psql("imported-again", "SELECT count(*) FROM t").trim(), "2000");
}

/// A backup that would be imported, were it not for what comes with it.
struct Bait {
    name: String,
    bytes: Vec<u8>,
}

impl Bait {
    fn new() -> Self {
        let (name, bytes, _) = one(&source());
        Self { name, bytes }
    }

    fn zip(&self, name: &str, content: &[u8]) -> Vec<u8> {
        zip(&[(&self.name, &self.bytes), (name, content)])
    }

    fn tar(&self, entries: &[u8]) -> Vec<u8> {
        tar(&[file_entry(&self.name, &self.bytes), entries.to_vec()])
    }
}

#[test]
fn names_that_lead_elsewhere_refuse_the_whole_archive() {
    let (here, bait) = (Desk::new(), Bait::new());
    for name in [
        "../../x",
        "../backup_a.dump.gz",
        "/tmp/holdfast-import",
        "/backup_a.dump.gz",
        "C:\\x",
        "C:backup_a.dump.gz",
        "..\\x",
        "sub\\backup_a.dump.gz",
        "sub/backup_a.dump.gz",
        "./backup_a.dump.gz",
        "backup_a.dump.gz/",
        "backup_a.dump.gz/../x",
        "backup_../x.dump.gz",
        "backup_a.dump.gz.manifest.json/x",
        "../SHA256SUMS",
        ".part-0123",
        ".holdfast-server.lock",
        "readme.txt",
        "holdfast.db",
        "BACKUP_A.dump.gz",
        "backup_ä.dump.gz",
        " ",
    ] {
        for content in [&b"x"[..], &bait.bytes] {
            let packed = bait.tar(&file_entry(name, content));
            for archive in [bait.zip(name, content), gzip(&packed), packed] {
                let said = refusal(&here, &[("a", &archive)]);
                let is_kind = said.contains("is no plain file");
                assert!(is_kind || said.contains(&format!("has an entry {name},")), "{name}: {said}");
            }
        }
    }
    let raw = bait.zip("backup_a\0.dump.gz", b"x");
    assert!(refusal(&here, &[("a", &raw)]).contains("has an entry"));
    // The same builders, nothing bad in them.
    for archive in [bait.zip("SHA256SUMS", b"x"), bait.tar(&file_entry("MISSING.txt", b"x"))] {
        let imported = import(&Desk::new(), &[("a", &archive)]).unwrap();
        assert_eq!((added(&imported), imported.refused.len()), (vec![&*bait.name], 0));
    }
}

#[test]
fn a_tar_of_anything_but_plain_files_is_refused() {
    let (here, bait) = (Desk::new(), Bait::new());
    for kind in [
        EntryType::Symlink,
        EntryType::Link,
        EntryType::Char,
        EntryType::Block,
        EntryType::Fifo,
        EntryType::Directory,
        EntryType::Continuous,
        EntryType::XGlobalHeader,
        EntryType::new(b'Q'),
    ] {
        let archive = bait.tar(&entry("backup_a.dump.gz", kind, 0, b""));
        let said = refusal(&here, &[("a", &gzip(&archive))]);
        assert!(said.contains("backup_a.dump.gz is no plain file"), "{kind:?}: {said}");
    }
    // Readers that disagree on an entry's size see different entries after it.
    for (said, own) in [(0, 512), (1024, 512), (512, 1024)] {
        let size = format!("size={said}\n");
        let record = format!("{} {size}", size.len() + 3);
        let archive = bait.tar(
            &[
                entry("x", EntryType::XHeader, record.len() as u64, record.as_bytes()),
                entry("backup_a.dump.gz", EntryType::Regular, own, &file_entry("backup_hidden.dump.gz", b"")),
            ]
            .concat(),
        );
        let said = refusal(&here, &[("a", &archive)]);
        assert!(said.contains("has two sizes"), "{said}");
    }
    // What a name of a tape says before is as good as the header's own.
    let long = entry("L", EntryType::GNULongName, 7, b"../../x");
    let archive = bait.tar(&[long, file_entry("backup_a.dump.gz", b"x")].concat());
    assert!(refusal(&here, &[("a", &archive)]).contains("has an entry ../../x,"));
    let mut sparse = Header::new_gnu();
    sparse.as_old_mut().name[..16].copy_from_slice(b"backup_a.dump.gz");
    sparse.set_entry_type(EntryType::GNUSparse);
    sparse.set_size(0);
    let gnu = sparse.as_gnu_mut().unwrap();
    gnu.realsize.copy_from_slice(b"77777777777\0");
    gnu.sparse[0].offset.copy_from_slice(b"77777777777\0");
    gnu.sparse[0].numbytes.copy_from_slice(b"00000000000\0");
    sparse.set_cksum();
    let said = refusal(&here, &[("a", &bait.tar(sparse.as_bytes()))]);
    assert!(said.contains("is no plain file") || said.contains("sparse"), "{said}");
}

#[test]
fn what_is_no_backup_is_refused_with_a_reason() {
    let (here, bait) = (Desk::new(), Bait::new());
    let (name, good) = (&*bait.name, &*bait.bytes);
    let packed = gzip(&bait.tar(&[]));
    let in_zip = zip(&[(name, good)]);
    let in_tar = tar(&[file_entry(name, good)]);
    let mut empty = GzEncoder::new(Vec::new(), Compression::fast());
    empty.flush().unwrap();
    let members = empty.finish().unwrap().repeat(17);
    let many: Vec<_> = (0..10_001).map(|i| format!("backup_{i}.dump.gz")).collect();
    let many_in_zip: Vec<(&str, &[u8])> = many.iter().map(|name| (&**name, &b""[..])).collect();
    let many_in_tar: Vec<_> = many.iter().map(|name| file_entry(name, b"")).collect();
    let with = |bytes: &[u8], more: &[u8]| [bytes, more].concat();
    let without = |bytes: &[u8], less: usize| bytes[..bytes.len() - less].to_vec();
    let twice = zip(&[(name, good), (name, good)]);
    let twice_in_tar = tar(&[file_entry(name, good), file_entry(name, b"x")]);
    let mut wrong_sum = in_zip.clone();
    wrong_sum[30 + name.len() + 100] ^= 1;
    let mut other_size = in_zip.clone();
    other_size[22] ^= 1;
    for (what, bytes, words) in [
        ("nothing", vec![], "It is empty"),
        ("text", b"hello, world".to_vec(), "It is no backup"),
        ("SQL", b"-- PostgreSQL database dump\n".to_vec(), "It is no backup"),
        ("one byte", vec![0x1F], "It is no backup"),
        ("a gzip's beginning", vec![0x1F, 0x8B], "its gzip is damaged"),
        ("text in gzip", gzip(b"hello, world"), "neither a PostgreSQL archive nor a SQLite database"),
        ("a backup in gzip", gzip(good), "neither a PostgreSQL archive nor a SQLite database"),
        ("a zip in gzip", gzip(&in_zip), "neither a PostgreSQL archive nor a SQLite database"),
        ("a tar.gz in gzip", gzip(&packed), "neither a PostgreSQL archive nor a SQLite database"),
        ("a zip in a zip", zip(&[("backup_a.dump.gz", &in_zip)]), "its gzip is damaged"),
        ("a tar.gz in a zip", zip(&[("backup_a.dump.gz", &packed)]), "neither a PostgreSQL"),
        ("an empty backup in a zip", zip(&[("backup_a.dump.gz", b"")]), "it is empty"),
        ("half a backup", without(good, good.len() / 2), "its gzip is damaged"),
        ("a backup less a byte", without(good, 1), "its gzip is damaged"),
        ("a backup and more", with(good, b"more"), "do not belong to it"),
        ("two backups, one after the other", with(good, good), "its database should have"),
        ("members without end", members, "more than 16 gzip members"),
        ("an empty zip", zip(&[]), "There is no backup in it"),
        ("an empty tar", gzip(&with(&file_entry("SHA256SUMS", b""), &[0; 1024])), "There is no backup in it"),
        ("half a zip", without(&in_zip, in_zip.len() / 2), "cannot be read to its end"),
        ("a zip less a byte", without(&in_zip, 1), "cut off"),
        ("a zip without its directory", without(&in_zip, 22 + 46 + name.len()), "cannot be taken in"),
        ("a zip and more", with(&in_zip, b"more"), "do not belong to it"),
        ("a large zip whose directory is elsewhere", zip64(&in_zip, 1), "cut off"),
        ("two zips", with(&in_zip, &in_zip), "do not belong to it"),
        ("a zip behind something", with(b"more", &in_zip), "It is no backup"),
        ("half a tar", without(&in_tar, in_tar.len() / 2), "cut off"),
        ("a tar without its end", without(&in_tar, 1024), "It is cut off: the end"),
        ("a tar and more", with(&in_tar, b"more"), "do not belong to it"),
        ("a tar.gz less a byte", without(&packed, 1), "its gzip is damaged"),
        ("a tar.gz and more", with(&packed, b"more"), "do not belong to it"),
        ("two tars in gzip", gzip(&with(&in_tar, &in_tar)), "do not belong to it"),
        ("a zip with a wrong sum", wrong_sum, "cannot be read to its end"),
        ("a zip with two sizes", other_size, "has two sizes"),
        ("one name twice in a zip", twice, "two entries named"),
        ("one name twice in a tar", twice_in_tar, "two entries named"),
        ("10,001 entries in a zip", zip(&many_in_zip), "more than 10000 entries"),
        ("10,001 entries in a tar", gzip(&tar(&many_in_tar)), "more than 10000 entries"),
        ("a zip that is deflated", zip_with(&[(name, good)], 0, 8), "compressed or encrypted once more"),
        ("a zip with data descriptors", zip_with(&[(name, good)], 8, 0), "cannot be taken in"),
        ("a zip that is encrypted", zip_with(&[(name, good)], 1, 0), "cannot be taken in"),
    ] {
        let said = refusal(&here, &[("upload", &bytes)]);
        assert!(said.contains(words), "{what}: {said}");
    }
    let large = zip64(&in_zip, 0);
    for (file, bytes) in
        [(name, good), ("a.zip", &in_zip), ("b.zip", &large), ("a.tar", &in_tar), ("a.tar.gz", &packed)]
    {
        let here = Desk::new();
        assert_eq!(added(&import(&here, &[(file, bytes)]).unwrap()), [name], "{file}");
    }
}

/// Set for the children that measure their own memory: other tests share the process otherwise.
const MEASURED: &str = "HOLDFAST_TEST_IMPORT_MEASURED";

/// Whether this is the child that is to do that.
fn is_measured(what: &str) -> bool {
    #[expect(clippy::disallowed_methods, reason = "how the parent speaks to it")]
    std::env::var(MEASURED).is_ok_and(|asked| asked == what)
}

#[test]
fn bombs_and_endless_forms_take_little_memory() {
    let grown = |what: &str| -> u64 {
        let child = Command::new(std::env::current_exe().unwrap())
            .args([&format!("importing::{what}"), "--exact", "--nocapture"])
            .env(MEASURED, what)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout).into_owned();
        assert!(child.status.success(), "{said}{}", String::from_utf8_lossy(&child.stderr));
        let grown = said.split_once("grew by ").unwrap().1.split_once(' ').unwrap().0;
        println!("{what}: {grown} bytes");
        grown.parse().unwrap()
    };
    for what in ["bombs_stop_at_the_limits", "a_form_is_never_held_in_memory"] {
        assert!(grown(what) < FLAT, "{what}");
    }
    assert!(grown("what_is_held_whole_is_seen") > FLAT);
}

/// The control of the measurement.
#[test]
fn what_is_held_whole_is_seen() {
    if !is_measured("what_is_held_whole_is_seen") {
        return;
    }
    let before = forget_memory();
    let mut whole = Vec::new();
    std::io::repeat(1).take(FLAT * 2).read_to_end(&mut whole).unwrap();
    println!("held {}, grew by {} bytes", whole.len(), memory() - before);
}

/// The most memory this process had since [`forget_memory`].
fn memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

fn forget_memory() -> u64 {
    fs::write("/proc/self/clear_refs", "5").unwrap();
    memory()
}

/// A gzip of `start` and so many zeros.
fn bomb(start: &[u8], zeros: u64) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(start).unwrap();
    std::io::copy(&mut std::io::repeat(0).take(zeros), &mut packed).unwrap();
    packed.finish().unwrap()
}

#[test]
fn bombs_stop_at_the_limits() {
    const SIZE: u64 = 256 << 20;
    if !is_measured("bombs_stop_at_the_limits") {
        return;
    }
    let limits = Limits { upload: 8 << 20, content: 1_000_000, ..Limits::default() };
    let here = Desk::limited(&[], limits);
    let sqlite = bomb(b"SQLite format 3\0", SIZE);
    let postgres = bomb(b"PGDMP", SIZE);
    let mut lead = entry("x", EntryType::XHeader, SIZE, b"");
    let long_pax = bomb(&lead, SIZE);
    lead = entry("L", EntryType::GNULongName, SIZE, b"");
    let long_name = bomb(&lead, SIZE);
    let in_tar = bomb(&entry("backup_a.dump.gz", EntryType::Regular, SIZE, b""), SIZE + 1024);
    let tail = bomb(&file_entry("SHA256SUMS", b""), SIZE);
    let in_zip = zip(&[("backup_a.dump.gz", &sqlite)]);
    let before = forget_memory();
    let began = Instant::now();
    for (what, bytes, words) in [
        ("SQLite", &sqlite, "more than 1000000 bytes"),
        ("PostgreSQL", &postgres, "more than 1000000 bytes"),
        ("SQLite in a zip", &in_zip, "raise the limit with --import-max-content"),
        ("a long header", &long_pax, "too large"),
        ("a long name", &long_name, "too large"),
        ("a large entry", &in_tar, "raise the limit with --import-max"),
        ("a long end", &tail, "too large"),
    ] {
        assert!(bytes.len() < 4 << 20, "{what}");
        let said = refusal(&here, &[("a", bytes)]);
        assert!(said.contains(words), "{what}: {said}");
    }
    let endless = here.holdfast.import("a", &mut std::io::repeat(0x1F), &Cancel::default());
    let said = endless.unwrap_err().to_string();
    assert!(said.contains("The upload has more than"), "{said}");
    // All files of one form count together.
    let half = vec![b'x'; 5 << 20];
    assert!(refusal(&here, &[("a", &half), ("b", &half)]).contains("The upload has more than"));
    assert!(contents_of(here.holdfast.backup_dir()).is_empty());
    println!("in {:?}: grew by {} bytes", began.elapsed(), memory().saturating_sub(before));
    // The limit is one of bytes that are there: a manifest may claim what it likes, and a small one goes in.
    let (name, bytes, _) = one(&source());
    assert_eq!(added(&import(&here, &[(&name, &bytes)]).unwrap()), [name]);
}

/// Gives a byte now and then.
struct Drip;

impl Read for Drip {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        std::thread::sleep(Duration::from_millis(20));
        buffer[0] = 0x1F;
        Ok(1)
    }
}

#[test]
fn an_import_ends_in_time_and_when_it_is_cancelled() {
    let here = Desk::limited(&[], Limits { time: Duration::from_millis(200), ..Limits::default() });
    let said = here.holdfast.import("a", &mut Drip, &Cancel::default()).unwrap_err().to_string();
    assert!(said.contains("took longer than 0.2 s"), "{said}");
    let cancel = Cancel::default();
    cancel.cancel();
    let (name, bytes, _) = one(&source());
    let cancelled = Desk::new().holdfast.import(&name, &mut &bytes[..], &cancel);
    assert!(matches!(cancelled, Err(Error::Cancelled)));
    let mut importer = here.holdfast.importer(&Cancel::default());
    importer.receive(&name, &mut &bytes[..]).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let late = importer.finish().unwrap();
    assert!(late.refused[0].reason.contains("took longer") && late.added.is_empty(), "{late:?}");
    assert!(contents_of(here.holdfast.backup_dir()).is_empty());
}

/// Whether a backup is what its manifest says, found out without the program under test.
fn is_as_described(dir: &Path, name: &str) -> bool {
    use sha2::Digest as _;
    let bytes = fs::read(dir.join(name)).unwrap();
    let manifest = fs::read(dir.join(format!("{name}.manifest.json"))).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let sum = data_encoding::HEXLOWER.encode(&sha2::Sha256::digest(&bytes));
    let mut content = Vec::new();
    manifest["payload_sha256"] == *sum
        && manifest["file"] == *name
        && MultiGzDecoder::new(&bytes[..]).read_to_end(&mut content).is_ok()
        && content.starts_with(b"SQLite format 3\0")
}

#[test]
fn nothing_damaged_is_ever_published() {
    let mut random = Random(RandomState::new().hash_one(std::process::id()));
    println!("seed {}", random.0);
    let there = source();
    let (name, bytes, manifest) = one(&there);
    let beside = format!("{name}.manifest.json");
    let originals = [
        ("backups.zip", bundle(&there, ArchiveFormat::Zip)),
        ("backups.tar.gz", bundle(&there, ArchiveFormat::TarGz)),
        ("backups.tar", gunzip(&bundle(&there, ArchiveFormat::TarGz))),
        (&*name, bytes.clone()),
        ("other.gz", bytes),
    ];
    let here = Desk::new();
    let dir = here.holdfast.backup_dir().to_owned();
    let (mut published, mut refused, mut naive) = (0, 0, 0);
    for turn in 0..MUTANTS {
        let (file, original) = &originals[turn % originals.len()];
        let mut mutant = original.clone();
        match random.below(4) {
            0 => mutant.truncate(random.below(original.len())),
            1 => {
                let at = random.below(original.len());
                let piece = original[at..original.len().min(at + 1 + random.below(600))].to_vec();
                let to = random.below(original.len());
                mutant.splice(to..to, piece);
            }
            _ => {
                for _ in 0..=random.below(3) {
                    let at = random.below(original.len());
                    mutant[at] ^= 1 << random.below(8);
                }
            }
        }
        let mut files = vec![(*file, &*mutant)];
        if *file == name && random.below(2) == 0 {
            files.push((&beside, &manifest));
        }
        // An importer that took whatever begins as a backup does would have damaged ones by now.
        let begins_well = !file.starts_with("backups") && mutant.starts_with(&[0x1F, 0x8B]);
        naive += usize::from(begins_well && mutant != *original);
        match import(&here, &files) {
            Ok(imported) => {
                refused += imported.refused.len();
                for backup in &imported.added {
                    published += 1;
                    let name = backup.name.as_str();
                    assert!(is_as_described(&dir, name), "turn {turn}: {name} of {file}");
                    let report = here
                        .holdfast
                        .verify(name, &RestoreOptions::default(), &Cancel::default(), &Unwatched)
                        .unwrap();
                    assert!(!report.is_damaged(), "turn {turn}: {name} of {file}: {:?}", report.damage);
                }
            }
            Err(error) => panic!("turn {turn}: {file}: {error}"),
        }
        let names: Vec<_> =
            here.holdfast.catalog().list().unwrap().iter().map(|it| it.name.to_string()).collect();
        here.holdfast.delete(&names).unwrap();
        assert_eq!(contents_of(&dir), Vec::<String>::new(), "turn {turn}: {file}");
    }
    println!(
        "of {MUTANTS} mutants: {published} backups published, {refused} files refused, {naive} would have"
    );
    assert!(published > 0 && refused > MUTANTS / 2 && naive > MUTANTS / 10);
    for (file, original) in &originals {
        let imported = import(&here, &[(file, original)]).unwrap();
        assert!(imported.refused.is_empty() && imported.added.len() + imported.here.len() > 0, "{file}");
    }
    assert_eq!(names_in(&here.at("")), names_in(&Desk::new().at("")));
}

const BOUNDARY: &str = "----tide";

/// What a browser sends before a file.
fn lead(name: &str, file: &str) -> String {
    format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{file}\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    )
}

fn form(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut form = Vec::new();
    for (name, bytes) in files {
        form.extend(lead("file", name).into_bytes());
        form.extend(*bytes);
        form.extend(b"\r\n");
    }
    form.extend(format!("--{BOUNDARY}--\r\n").into_bytes());
    form
}

fn posted(desk: &Desk, body: Body) -> Request<Body> {
    desk.request("POST", "/imports")
        .header(ACCEPT, BROWSER)
        .header(CONTENT_TYPE, format!("multipart/form-data; boundary={BOUNDARY}"))
        .body(body)
        .unwrap()
}

async fn answered(desk: &Desk, request: Request<Body>) -> Answer {
    let (parts, body) = desk.router.clone().oneshot(request).await.unwrap().into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body: String::from_utf8_lossy(&bytes).into_owned(),
    }
}

async fn post(desk: &Desk, body: impl Into<Body>) -> Answer {
    answered(desk, posted(desk, body.into())).await
}

/// Pieces of a form's body, each there at once.
fn pieces(lead: String, count: usize) -> Body {
    let piece = Bytes::from(vec![b'x'; 1 << 20]);
    let more = futures::stream::repeat(piece).take(count);
    let end = futures::stream::once(async { Bytes::from(format!("\r\n--{BOUNDARY}--\r\n")) });
    let all = futures::stream::once(async move { Bytes::from(lead) }).chain(more).chain(end);
    Body::from_stream(all.map(std::io::Result::Ok))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_s_form_imports_and_the_list_tells() {
    let there = source();
    let (name, bytes, manifest) = one(&there);
    let beside = format!("{name}.manifest.json");
    let here = Desk::new();
    let page = here.page("/import").await;
    for words in [
        "<h1>Import</h1>",
        "action=\"/imports\"",
        "enctype=\"multipart/form-data\"",
        "type=\"file\"",
        "name=\"file\"",
        "multiple",
        ">Import</button>",
        "href=\"/\"",
    ] {
        assert!(page.body.contains(words), "{words}: {}", page.body);
    }
    assert!(here.page("/").await.body.contains("href=\"/import\""));
    let body = form(&[(&name, &bytes), (&beside, &manifest), ("<b>.gz", b"x")]);
    let answer = post(&here, body).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.body);
    assert!(answer.location().starts_with("/?outcome="), "{}", answer.location());
    let told = here.page(answer.location()).await.body;
    assert!(told.contains("Imported 1 backup") && told.contains("Not imported: &lt;b&gt;.gz."), "{told}");
    assert_eq!(files_of(&here).keys().map(String::as_str).collect::<Vec<_>>(), [&*name, &*beside]);
    let again = post(&here, form(&[(&name, &bytes)])).await;
    assert!(here.page(again.location()).await.body.contains("Already here: "));
    // A form nothing was chosen in has one file without a name.
    for nothing in [form(&[("", b"")]), form(&[])] {
        let answer = post(&here, nothing).await;
        assert!(here.page(answer.location()).await.body.contains("No file was chosen"), "{}", answer.status);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_larger_than_any_other_form_is_imported() {
    let there = Desk::with(&["large"]);
    dense_database(&there.at("more.db"), 18_000);
    fs::rename(there.at("more.db"), there.at("large.db")).unwrap();
    there.holdfast.back_up(&"large".parse().unwrap(), &Cancel::default(), &Unwatched).unwrap();
    let (name, bytes, _) = one(&there);
    assert!(bytes.len() > 17 << 20);
    let here = Desk::new();
    let answer = post(&here, form(&[(&name, &bytes)])).await;
    assert!(here.page(answer.location()).await.body.contains("Imported 1 backup"), "{}", answer.body);
    assert_eq!(fs::read(here.backup(&name)).unwrap(), bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_is_never_held_in_memory() {
    if !is_measured("a_form_is_never_held_in_memory") {
        return;
    }
    let here = Desk::limited(&[], Limits { upload: 300 << 20, ..Limits::default() });
    let before = forget_memory();
    let answer = post(&here, pieces(lead("file", "a.gz"), 256)).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.body);
    assert!(here.page(answer.location()).await.body.contains("It is no backup"));
    // Headers without end, a field without end that is none of the form's, no part at all.
    for start in [
        format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\""),
        lead("other", "a.gz"),
        String::new(),
    ] {
        let answer = post(&here, pieces(start, 256)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.body);
    }
    // More than may come, said beforehand and not.
    let answer = post(&here, pieces(lead("file", "a.gz"), 320)).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(answer.body.contains("The upload has more than"), "{}", answer.body);
    let mut request = posted(&here, Body::from("x"));
    request.headers_mut().insert(CONTENT_LENGTH, (400_u64 << 20).into());
    let answer = answered(&here, request).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(answer.body.contains("HOLDFAST_IMPORT_MAX"), "{}", answer.body);
    println!("grew by {} bytes", memory().saturating_sub(before));
    assert!(contents_of(here.holdfast.backup_dir()).is_empty());
}

/// Waits for what is to be so soon.
async fn soon(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(5), "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_breaks_off_leaves_nothing_and_two_run_at_a_time() {
    let (name, bytes, _) = one(&source());
    let here = Desk::new();
    let whole = form(&[(&name, &bytes)]);
    let drafts = || contents_of(here.holdfast.backup_dir()).len();
    // Broken off at any place, the body ends in an error.
    for at in [0, 1, 40, 200, whole.len() / 2, whole.len() - 20, whole.len() - 3] {
        let cut = Bytes::from(whole[..at].to_vec());
        let broken = [Ok(cut), Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset))];
        let answer = post(&here, Body::from_stream(futures::stream::iter(broken))).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{at}: {}", answer.body);
        assert_eq!(drafts(), 0, "{at}");
    }
    // Two that stand still; a third is told to come again.
    let stalled = || {
        let start = futures::stream::iter([Ok(Bytes::from(whole[..whole.len() / 2].to_vec()))]);
        let body = Body::from_stream(start.chain(futures::stream::pending::<std::io::Result<Bytes>>()));
        tokio::spawn(here.router.clone().oneshot(posted(&here, body)))
    };
    let under_way = [stalled(), stalled()];
    soon("both have begun", || drafts() == 2).await;
    let third = post(&here, whole.clone()).await;
    assert_eq!(third.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        third.headers.contains_key(RETRY_AFTER) && third.body.contains("Other imports"),
        "{}",
        third.body
    );
    // Their clients go away, as the server drops what it was doing for them.
    for one in under_way {
        one.abort();
    }
    soon("their drafts are gone", || drafts() == 0).await;
    let began = Instant::now();
    let answer = loop {
        let answer = post(&here, whole.clone()).await;
        if answer.status != StatusCode::SERVICE_UNAVAILABLE || began.elapsed() > Duration::from_secs(5) {
            break answer;
        }
    };
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.body);
    let name: BackupName = name.parse().unwrap();
    assert_eq!(here.holdfast.catalog().get(&name).unwrap().state, FileState::Whole);
}

/// The same on a real connection: the client that closes it, the one that stalls, and the one that sends more
/// than may come and reads only then.
#[tokio::test(flavor = "multi_thread")]
async fn on_a_real_connection_nothing_stays_of_what_broke_off() {
    let (name, bytes, _) = one(&source());
    let here = Desk::limited(&[], Limits { upload: 4 << 20, ..Limits::default() });
    let limits = connections::Limits { body: Duration::from_millis(500), ..connections::Limits::default() };
    let listener = connections::listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let address = listener.local_addr().unwrap();
    let router = here.router.clone();
    tokio::spawn(async move {
        connections::serve(listener, &router, limits, None, std::future::pending()).await;
    });
    let connect = async |length: &str| {
        let mut client = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "POST /imports HTTP/1.1\r\nHost: holdfast.test\r\nCookie: {}\r\nAccept: text/html\r\n\
             Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n{length}\r\n\r\n",
            here.cookie
        );
        client.write_all(head.as_bytes()).await.unwrap();
        client
    };
    let whole = form(&[(&name, &bytes)]);
    let length = format!("Content-Length: {}", whole.len());
    let drafts = || contents_of(here.holdfast.backup_dir()).len();
    let heard = async |mut client: TcpStream| {
        let mut answer = vec![0; 4096];
        let read = tokio::time::timeout(Duration::from_secs(10), client.read(&mut answer)).await.unwrap();
        String::from_utf8_lossy(&answer[..read.unwrap()]).into_owned()
    };

    let mut gone = connect(&length).await;
    gone.write_all(&whole[..whole.len() / 2]).await.unwrap();
    soon("it has begun", || drafts() == 1).await;
    drop(gone);
    soon("its draft is gone", || drafts() == 0).await;

    let mut stalled = connect(&length).await;
    stalled.write_all(&whole[..whole.len() / 2]).await.unwrap();
    soon("it has begun", || drafts() == 1).await;
    let answer = heard(stalled).await;
    assert!(answer.starts_with("HTTP/1.1 400") && drafts() == 0, "{answer}");

    // In chunks, so that nothing says beforehand how much it is.
    let mut endless = connect("Transfer-Encoding: chunked").await;
    let mut body = lead("file", "a.gz").into_bytes();
    body.resize(8 << 20, b'x');
    body.extend(format!("\r\n--{BOUNDARY}--\r\n").into_bytes());
    endless.write_all(format!("{:x}\r\n", body.len()).as_bytes()).await.unwrap();
    endless.write_all(&body).await.unwrap();
    endless.write_all(b"\r\n0\r\n\r\n").await.unwrap();
    let answer = heard(endless).await;
    assert!(answer.starts_with("HTTP/1.1 400") && drafts() == 0, "{answer}");

    let mut good = connect(&length).await;
    good.write_all(&whole).await.unwrap();
    let answer = heard(good).await;
    assert!(answer.starts_with("HTTP/1.1 303") && here.backup(&name).exists(), "{answer}");
}
