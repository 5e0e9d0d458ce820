//! Files that a stranger made: names that lead elsewhere, bombs, files cut and changed. None of it is published.

use super::*;

/// Mutated files of the whole fuzz.
const MUTANTS: usize = 2000;

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
                let is_kind = said.contains("is not a regular file");
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
        assert!(said.contains("backup_a.dump.gz of the archive is not a regular file"), "{kind:?}: {said}");
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
    assert!(said.contains("is not a regular file") || said.contains("sparse"), "{said}");
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
        ("nothing", vec![], "The file is empty"),
        ("text", b"hello, world".to_vec(), "neither a backup nor an archive of backups"),
        ("SQL", b"-- PostgreSQL database dump\n".to_vec(), "a plain SQL dump"),
        ("one byte", vec![0x1F], "neither a backup nor an archive of backups"),
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
        ("a backup and more", with(good, b"more"), "other bytes follow its gzip"),
        ("two backups, one after the other", with(good, good), "it should have"),
        ("members without end", members, "more than 16 gzip members"),
        ("an empty zip", zip(&[]), "The archive contains no backup"),
        (
            "an empty tar",
            gzip(&with(&file_entry("SHA256SUMS", b""), &[0; 1024])),
            "The archive contains no backup",
        ),
        ("half a zip", without(&in_zip, in_zip.len() / 2), "cannot be read to its end"),
        ("a zip less a byte", without(&in_zip, 1), "This zip is truncated"),
        (
            "a zip without its directory",
            without(&in_zip, 22 + 46 + name.len()),
            "This zip cannot be imported",
        ),
        ("a zip and more", with(&in_zip, b"more"), "or other bytes follow it"),
        ("a large zip whose directory is elsewhere", zip64(&in_zip, 1), "This zip is truncated"),
        ("two zips", with(&in_zip, &in_zip), "or other bytes follow it"),
        ("a zip behind something", with(b"more", &in_zip), "neither a backup nor an archive of backups"),
        ("half a tar", without(&in_tar, in_tar.len() / 2), "The archive is truncated within"),
        ("a tar without its end", without(&in_tar, 1024), "This tar is truncated: its end"),
        ("a tar and more", with(&in_tar, b"more"), "Other bytes follow the end"),
        ("a tar.gz less a byte", without(&packed, 1), "its gzip is damaged"),
        (
            "a tar.gz and more",
            with(&packed, b"more"),
            "This tar.gz cannot be imported: other bytes follow its gzip",
        ),
        ("two tars in gzip", gzip(&with(&in_tar, &in_tar)), "Other bytes follow the end"),
        ("a zip with a wrong sum", wrong_sum, "cannot be read to its end"),
        ("a zip with two sizes", other_size, "has two sizes"),
        ("one name twice in a zip", twice, "two entries named"),
        ("one name twice in a tar", twice_in_tar, "two entries named"),
        ("10,001 entries in a zip", zip(&many_in_zip), "more than 10000 entries"),
        ("10,001 entries in a tar", gzip(&tar(&many_in_tar)), "more than 10000 entries"),
        ("a zip that is deflated", zip_with(&[(name, good)], 0, 8), "is compressed or encrypted, but"),
        ("a zip with data descriptors", zip_with(&[(name, good)], 8, 0), "This zip cannot be imported"),
        ("a zip that is encrypted", zip_with(&[(name, good)], 1, 0), "This zip cannot be imported"),
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
        ("SQLite", &sqlite, "more than the limit of 1000000 bytes"),
        ("PostgreSQL", &postgres, "more than the limit of 1000000 bytes"),
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
    let endless = here.holdfast.imports().import("a", &mut std::io::repeat(0x1F), &Cancel::default());
    let said = endless.unwrap_err().to_string();
    assert!(said.contains("The upload is larger than"), "{said}");
    // All files of one form count together.
    let half = vec![b'x'; 5 << 20];
    assert!(refusal(&here, &[("a", &half), ("b", &half)]).contains("The upload is larger than"));
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
    let said = here.holdfast.imports().import("a", &mut Drip, &Cancel::default()).unwrap_err().to_string();
    assert!(said.contains("took longer than 0.2 s"), "{said}");
    let cancel = Cancel::default();
    cancel.cancel();
    let (name, bytes, _) = one(&source());
    let cancelled = Desk::new().holdfast.imports().import(&name, &mut &bytes[..], &cancel);
    assert!(matches!(cancelled, Err(Error::Cancelled)));
    let imports = here.holdfast.imports();
    let mut importer = imports.begin(&Cancel::default());
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
                        .verifications()
                        .verify(name, &RestoreOptions::default(), &Cancel::default(), &Unwatched)
                        .unwrap();
                    assert!(!report.is_damaged(), "turn {turn}: {name} of {file}: {:?}", report.damage);
                }
            }
            Err(error) => panic!("turn {turn}: {file}: {error}"),
        }
        let names: Vec<_> =
            here.holdfast.catalog().list().unwrap().iter().map(|it| it.name.to_string()).collect();
        here.holdfast.backups().delete(&names).unwrap();
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
