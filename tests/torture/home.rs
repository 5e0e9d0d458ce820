//! A Holdfast with an account for trials over HTTP, and the checks of its backup directory.

use crate::support::desk::{ACCOUNT, contents_of};
use crate::support::holdfast::{Home, Server, system_clock};
use data_encoding::HEXLOWER;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use holdfast::domain::accounts::{Device, FirstAccount, SessionToken};
use holdfast::domain::repository::manifest;
use holdfast::domain::repository::manifest::Manifest;
use holdfast::domain::{Holdfast, Options};
use holdfast::model::{BackupName, DatabaseName, EngineKind, Stamp};
use sha2::{Digest as _, Sha256};
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// The directories of a Holdfast with the small database `ledger` and a backup directory.
pub fn home() -> Home {
    let home = Home::with_ledger();
    fs::create_dir_all(home.backups()).unwrap();
    home
}

/// The account's new password from `holdfast reset-account`, or its refusal.
pub fn reset_account(home: &Home) -> Result<String, String> {
    let ended = home.program(&["reset-account", ACCOUNT.0]).output().unwrap();
    let said = String::from_utf8_lossy(&ended.stdout);
    match said.lines().nth(1) {
        Some(password) if ended.status.success() => Ok(password.to_owned()),
        _ => Err(String::from_utf8_lossy(&ended.stderr).into_owned()),
    }
}

/// A Holdfast in this process, with the system's clock.
pub fn opened(home: &Home) -> Holdfast {
    Holdfast::open(Options { clock: system_clock(), ..home.options() }).unwrap()
}

/// The server on a home, with the account of the tests.
pub fn serving(home: &Home) -> Result<Server, String> {
    let mut command = home.program(&["serve"]);
    command.env("HOLDFAST_ADMIN_PASSWORD", ACCOUNT.1);
    Server::start(command)
}

/// A session of the account as a `Cookie` header. Creates the account if there is none.
pub fn session(home: &Home) -> String {
    let accounts = opened(home).accounts().clone();
    let made = accounts.ensure_first(ACCOUNT.0, Some(&ACCOUNT.1.into())).unwrap();
    assert!(!matches!(made, FirstAccount::NeedsSetup(_)));
    let admitted = accounts.log_in(ACCOUNT.0, &ACCOUNT.1.into(), &Device::default()).unwrap();
    cookie(&admitted.session().unwrap())
}

/// A session as a `Cookie` header.
pub fn cookie(session: &SessionToken) -> String {
    format!("{}={}", holdfast::server::auth::cookies::COOKIE_NAME, session.reveal())
}

/// Polls until `is_so`. Returns how long that took, or `None` after `patience`.
pub fn eventually(patience: Duration, mut is_so: impl FnMut() -> bool) -> Option<Duration> {
    let begun = Instant::now();
    while !is_so() {
        if begun.elapsed() > patience {
            return None;
        }
        thread::sleep(Duration::from_millis(20));
    }
    Some(begun.elapsed())
}

/// SHA-256 in lower-case hexadecimal.
pub fn sum(bytes: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(bytes))
}

/// `content`, gzipped.
pub fn packed(content: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(content).unwrap();
    gzip.finish().unwrap()
}

fn unpacked(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut content)?;
    Ok(content)
}

/// The manifest that belongs to these bytes.
pub fn manifest_of(name: &str, created: Stamp, bytes: &[u8]) -> Vec<u8> {
    let name: BackupName = name.parse().unwrap();
    let database = name.database().unwrap_or_else(|| "ledger".parse::<DatabaseName>().unwrap());
    let content = unpacked(bytes).unwrap_or_default();
    let manifest = Manifest {
        manifest_version: manifest::VERSION,
        file: name,
        created_at: created.rfc3339(),
        database,
        database_engine: EngineKind::new("sqlite"),
        backup_format: "sqlite-database".to_owned(),
        payload_size: bytes.len() as u64,
        payload_sha256: sum(bytes),
        payload_crc32: format!("{:08x}", crc32fast::hash(bytes)),
        content_size: content.len() as u64,
        content_sha256: sum(&content),
        created_by: "the torture program".to_owned(),
        warnings: None,
        remarks: Vec::new(),
        tables: None,
        rows: None,
        origin: None,
    };
    manifest.to_bytes()
}

/// Why a backup is not whole (P1 and P2), by reading all of it.
pub fn why_not_whole(dir: &Path, name: &str) -> Option<String> {
    let whole = || -> Result<(), String> {
        let bytes = fs::read(dir.join(name)).map_err(|error| error.to_string())?;
        let manifest = fs::read(dir.join(format!("{name}.manifest.json"))).map_err(|_| "no manifest")?;
        let manifest = Manifest::read(&manifest).ok_or("unreadable manifest")?;
        if (manifest.payload_size, &manifest.payload_sha256) != (bytes.len() as u64, &sum(&bytes)) {
            return Err("its bytes are not those its manifest names".to_owned());
        }
        let content = unpacked(&bytes).map_err(|error| error.to_string())?;
        if sum(&content) == manifest.content_sha256 { Ok(()) } else { Err("another content".to_owned()) }
    };
    whole().err().map(|why| format!("{name}: {why}"))
}

/// The faults of a backup directory while nothing runs: files that are not whole, manifests without a file, drafts.
pub fn faults_in(dir: &Path) -> Vec<String> {
    let names = contents_of(dir);
    let fault_of = |name: &String| match name.strip_suffix(".manifest.json") {
        Some(payload) => (!names.iter().any(|name| name == payload)).then(|| format!("{name}: no file")),
        None if name.parse::<BackupName>().is_ok() => why_not_whole(dir, name),
        None => Some(format!("{name}: left behind")),
    };
    names.iter().filter_map(fault_of).collect()
}

/// Number of backups in a directory.
pub fn count_in(dir: &Path) -> usize {
    let names = contents_of(dir);
    names.iter().filter(|name| name.parse::<BackupName>().is_ok()).count()
}
