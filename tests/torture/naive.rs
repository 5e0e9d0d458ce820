//! The controls: programs that break a rule on purpose, as sub-commands of this program. A trial that does not catch
//! its control proves nothing.

use flate2::Compression;
use flate2::write::GzEncoder;
use holdfast::domain::engines::Cancel;
use holdfast::domain::operations::compress::{Effort, compress};
use holdfast::domain::repository::manifest;
use holdfast::domain::repository::manifest::Manifest;
use holdfast::model::{BackupName, DatabaseName, EngineKind, Stamp};
use sha2::{Digest, Sha256};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// One fixed time, so that names collide.
const CREATED: i64 = 1_795_401_667_123;

/// Runs a control: `naive <what> <source> <directory>`.
pub fn run(arguments: &[String]) {
    let [what, source, directory] = arguments else { return };
    let (source, directory) = (PathBuf::from(source), PathBuf::from(directory));
    match what.as_str() {
        "publisher" => publish(&source, &directory),
        "careless" => publish_whatever_fails(&source, &directory),
        "deleter" => delete(&directory),
        _ => {}
    }
}

/// Writes straight to the final name, then writes the manifest, and syncs nothing.
fn publish(source: &Path, directory: &Path) {
    let name = name();
    let path = directory.join(name.as_str());
    let file = OpenOptions::new().write(true).create(true).truncate(true).open(&path).unwrap();
    let mut source = File::open(source).unwrap();
    let summary =
        compress(&mut source, &file, &path, Effort::default(), &Cancel::default(), &|_, _| ()).unwrap();
    let manifest = Manifest {
        payload_size: summary.payload_size,
        payload_sha256: summary.payload_sha256,
        payload_crc32: summary.payload_crc32,
        content_size: summary.content_size,
        content_sha256: summary.content_sha256,
        ..blank(name.clone())
    };
    fs::write(path.with_file_name(name.manifest()), manifest.to_bytes()).unwrap();
}

/// Uses a draft and a rename, but ignores errors, and retries a failed sync until it succeeds.
fn publish_whatever_fails(source: &Path, directory: &Path) {
    let mut bytes = Vec::new();
    File::open(source).unwrap().read_to_end(&mut bytes).unwrap();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::new(1));
    gzip.write_all(&bytes).unwrap();
    let payload = gzip.finish().unwrap();
    let name = name();
    let manifest = Manifest {
        payload_size: payload.len() as u64,
        payload_sha256: data_encoding::HEXLOWER.encode(&Sha256::digest(&payload)),
        ..blank(name.clone())
    };
    let draft = directory.join(".part-naive");
    if let Ok(mut file) = File::create(&draft) {
        for block in payload.chunks(16 << 10) {
            let _ = file.write(block);
        }
        for _ in 0..100 {
            if file.sync_all().is_ok() {
                break;
            }
        }
    }
    let _ = fs::write(directory.join(name.manifest()), manifest.to_bytes());
    let _ = fs::rename(&draft, directory.join(name.as_str()));
}

/// Deletes the manifests before the payloads.
fn delete(directory: &Path) {
    let names = crate::ground::names_in(directory);
    for name in names.iter().filter(|name| name.ends_with(".manifest.json")) {
        fs::remove_file(directory.join(name)).unwrap();
        File::open(directory).unwrap().sync_all().unwrap();
    }
    for name in names.iter().filter(|name| crate::ground::is_listed(name)) {
        fs::remove_file(directory.join(name)).unwrap();
    }
}

fn name() -> BackupName {
    BackupName::new(&database(), Stamp::from_millis(CREATED), 1)
}

fn database() -> DatabaseName {
    crate::ground::SQLITE.parse().unwrap()
}

fn blank(file: BackupName) -> Manifest {
    Manifest {
        manifest_version: manifest::VERSION,
        file,
        created_at: Stamp::from_millis(CREATED).rfc3339(),
        database: database(),
        database_engine: EngineKind::new("sqlite"),
        backup_format: "sqlite-database".to_owned(),
        payload_size: 0,
        payload_sha256: String::new(),
        payload_crc32: String::new(),
        content_size: 0,
        content_sha256: String::new(),
        created_by: "the control".to_owned(),
        warnings: None,
        remarks: Vec::new(),
        tables: None,
        rows: None,
        origin: None,
    }
}
