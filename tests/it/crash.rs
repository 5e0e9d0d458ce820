//! The crash loop: the real program, killed at random points of a backup, never leaves a file that lies.
//! Its control publishes without draft and rename, and has to be caught.

#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests, told by their environment")]

use crate::support::desk::{contents_of, dense_database};
use data_encoding::HEXLOWER;
use flate2::read::GzDecoder;
use holdfast::model::{BackupName, DatabaseName, EngineKind, FileState, JobState, Stamp};
use holdfast::vault::catalog::Catalog;
use holdfast::vault::compress::{Effort, compress};
use holdfast::vault::dump::{Cancel, Target};
use holdfast::vault::manifest::{self, Manifest};
use holdfast::vault::publish::BackupDir;
use holdfast::vault::{Vault, VaultOptions};
use rusqlite::Connection;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// Kills of the real program; more with `HOLDFAST_CRASH_RUNS`.
const RUNS: usize = 50;
/// Kills of the control.
const CONTROL_RUNS: usize = 20;
/// Of seven kills, one at least has to land between the first write and the commit.
const LANDED: usize = 7;
/// Tells the test binary that it is the naive publisher, and where it works.
const NAIVE: &str = "HOLDFAST_TEST_NAIVE";
/// One moment for all, so that names are taken again and again.
const CREATED: i64 = 1_795_401_667_123;

/// Where a loop runs: a source and a backup directory.
struct Ground {
    home: tempfile::TempDir,
}

impl Ground {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir_all(home.path().join("data/backups")).unwrap();
        dense_database(&home.path().join("crash.db"), 4000);
        Self { home }
    }

    fn source(&self) -> PathBuf {
        self.home.path().join("crash.db")
    }

    fn backups(&self) -> PathBuf {
        self.home.path().join("data/backups")
    }

    fn program(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
        command
            .args(arguments.split(' '))
            .env_clear()
            .env("HOLDFAST_DATA_DIR", self.home.path().join("data"))
            .env("HOLDFAST_DATABASES", format!("crash=sqlite://{}", self.source().display()));
        command
    }

    fn naive(&self) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["crash::the_naive_publisher", "--exact", "--test-threads=1"]);
        command.env_clear().env(NAIVE, self.home.path());
        command
    }

    /// A vault as a server opens it.
    fn vault(&self) -> Vault {
        Vault::open(VaultOptions {
            data_dir: self.home.path().join("data"),
            backup_dir: self.backups(),
            databases: vec![("crash".parse().unwrap(), Target::Sqlite(self.source()))],
            postgres_bin: None,
            path: "/usr/bin:/bin".into(),
            clock: Arc::new(|| Stamp::from_millis(CREATED)),
            effort: Effort::default(),
            sftp: holdfast::vault::sftp::Options::default(),
        })
        .unwrap()
    }

    /// Whether a run that died had begun to write and not yet published: something of it lies there.
    fn has_half_made(&self) -> bool {
        let mut left = vec![self.backups()];
        while let Some(directory) = left.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let entry = entry.unwrap();
                let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
                let is_draft = path != self.backups() && path.to_str().unwrap().contains("/.part-");
                if path.is_dir() && name.starts_with(".part-") {
                    left.push(path);
                } else if is_draft && fs::metadata(&path).unwrap().len() > 0 {
                    return true;
                }
            }
        }
        false
    }

    /// Whatever is listed and is not whole, and why. `known` remembers what was found whole, by its sum.
    fn faults(&self, known: &mut BTreeMap<BackupName, String>) -> Vec<String> {
        let catalog = Catalog::new(Arc::new(BackupDir::open(&self.backups()).unwrap()));
        let mut faults = Vec::new();
        for backup in catalog.list().unwrap().iter().cloned() {
            if known.contains_key(&backup.name) {
                continue;
            }
            let fault = match (backup.state, &backup.sha256) {
                (FileState::Whole, Some(sum)) => {
                    why_not_whole(&self.backups().join(backup.name.as_str()), sum)
                }
                (state, _) => Some(state.label().to_owned()),
            };
            match fault {
                Some(fault) => faults.push(format!("{}: {fault}", backup.name)),
                None => drop(known.insert(backup.name, backup.sha256.unwrap())),
            }
        }
        faults
    }
}

fn why_not_whole(path: &Path, sum: &str) -> Option<String> {
    let bytes = fs::read(path).unwrap();
    if HEXLOWER.encode(&Sha256::digest(&bytes)) != sum {
        return Some("its sum is not its manifest's".to_owned());
    }
    let mut content = Vec::new();
    if let Err(error) = GzDecoder::new(&bytes[..]).read_to_end(&mut content) {
        return Some(format!("it does not decompress: {error}"));
    }
    let restored = tempfile::NamedTempFile::new().unwrap();
    fs::write(restored.path(), &content).unwrap();
    let database = Connection::open(restored.path()).unwrap();
    let check = database.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0));
    let rows = database.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0));
    match (check, rows) {
        (Ok(check), Ok(4000)) if check == "ok" => None,
        other => Some(format!("the database in it is damaged: {other:?}")),
    }
}

/// A little more than the shortest of three runs takes, so that the last moment of one is hit, too.
fn duration(mut command: impl FnMut() -> Command) -> Duration {
    let run = |_| {
        let begun = Instant::now();
        let output = command().output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        begun.elapsed()
    };
    (0..3).map(run).min().unwrap().mul_f64(1.1)
}

/// Starts it and kills it after `wait`. Gives the name it printed, where it was done by then.
fn kill_after(mut command: Command, wait: Duration) -> Option<String> {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    thread::sleep(wait);
    // It may have ended by itself, which is one of the random points.
    child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap().trim().to_owned())
}

/// Uniform in 0..1 (`SplitMix64`).
fn uniform(seed: &mut u64) -> f64 {
    *seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    f64::from(u32::try_from((z ^ (z >> 31)) >> 32).unwrap()) / f64::from(u32::MAX)
}

fn from_environment<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn a_program_killed_at_any_point_leaves_no_file_that_lies() {
    let seed: u64 = from_environment("HOLDFAST_CRASH_SEED").unwrap_or_else(|| RandomState::new().hash_one(1));
    let runs = from_environment("HOLDFAST_CRASH_RUNS").unwrap_or(RUNS);
    let mut random = seed;
    let mut failures = Vec::new();

    let ground = Ground::new();
    let whole = duration(|| ground.program("backup crash"));
    let (mut landed, mut known) = (0, BTreeMap::new());
    for run in 0..runs {
        let done = kill_after(ground.program("backup crash"), whole.mul_f64(uniform(&mut random)));
        landed += usize::from(done.is_none() && ground.has_half_made());
        failures.extend(ground.faults(&mut known).into_iter().map(|fault| format!("run {run}: {fault}")));
        let promised = done.filter(|name| !known.keys().any(|known| known.as_str() == name));
        failures
            .extend(promised.map(|name| format!("run {run}: {name} was called created and is not whole")));
        drop(ground.vault().begin_serving().unwrap());
        for name in contents_of(&ground.backups()) {
            let backup = name.strip_suffix(".manifest.json").unwrap_or(&name);
            if !backup.parse::<BackupName>().is_ok_and(|backup| known.contains_key(&backup)) {
                failures.push(format!("run {run}: {name} was still there after a restart"));
            }
        }
    }
    for (name, sum) in &known {
        let fault = why_not_whole(&ground.backups().join(name.as_str()), sum);
        failures.extend(fault.map(|fault| format!("at the end, {name}: {fault}")));
    }

    let control = Ground::new();
    let whole_control = duration(|| control.naive());
    let (mut caught, mut known_control) = (0, BTreeMap::new());
    for _ in 0..CONTROL_RUNS {
        kill_after(control.naive(), whole_control.mul_f64(uniform(&mut random)));
        caught += usize::from(!control.faults(&mut known_control).is_empty());
        for entry in fs::read_dir(control.backups()).unwrap() {
            let path = entry.unwrap().path();
            drop(fs::remove_file(path));
        }
        known_control.clear();
    }

    println!(
        "crash-loop: runs {runs}, failures {}, landed-mid-write {landed}, whole-files {}, control-caught {caught}/{CONTROL_RUNS}, \
         run-takes {whole:?}, seed {seed} (HOLDFAST_CRASH_SEED)",
        failures.len(),
        known.len(),
    );
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(landed * LANDED >= runs, "only {landed} of {runs} kills landed in the middle of writing");
    assert!(caught > 0, "the loop does not see what it is there to see");
}

/// A server that dies in the middle of a backup, and what its successor makes of it.
#[test]
fn a_server_that_is_killed_leaves_an_interrupted_job_and_nothing_else() {
    let ground = Ground::new();
    // Locked, so that the backup is still under way when the server dies.
    let writer = Connection::open(ground.source()).unwrap();
    writer.execute_batch("BEGIN EXCLUSIVE;").unwrap();
    let mut command = ground.program("serve");
    command.env("HOLDFAST_LISTEN", "127.0.0.1:0").env("HOLDFAST_ADMIN_PASSWORD", "tide marks on the quay");
    let mut server = Server(command.stderr(Stdio::piped()).spawn().unwrap());
    let mut log = BufReader::new(server.0.stderr.take().unwrap()).lines();
    let line = log.find(|line| line.as_ref().is_ok_and(|line| line.contains("listens on"))).unwrap().unwrap();
    let address = line.rsplit_once("http://").unwrap().1;
    let address: String =
        address.chars().take_while(|c| c.is_ascii_digit() || matches!(c, '.' | ':')).collect();
    thread::spawn(move || log.for_each(drop));

    let welcome = post(&address, "/login", "", "username=admin&password=tide+marks+on+the+quay");
    let (_, cookie) = welcome.split_once("holdfast_session=").unwrap();
    let cookie = format!("holdfast_session={}", cookie.split(';').next().unwrap());
    let begun = post(&address, "/api/create_backup", &cookie, "database=crash");
    assert!(begun.starts_with("HTTP/1.1 200"), "{begun}");
    let since = Instant::now();
    while contents_of(&ground.backups()).is_empty() {
        assert!(since.elapsed() < Duration::from_secs(5), "the backup never began");
        thread::sleep(Duration::from_millis(5));
    }
    drop(server);
    assert!(!contents_of(&ground.backups()).is_empty(), "the server cleared away after its death");

    let successor = ground.vault();
    let _claim = successor.begin_serving().unwrap();
    assert_eq!(contents_of(&ground.backups()), [""; 0]);
    let history: Vec<_> = successor.jobs().history().unwrap().into_iter().map(|job| job.state).collect();
    assert_eq!(history, [JobState::Interrupted]);
}

/// Killed with the test at the latest.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn post(address: &str, path: &str, cookie: &str, form: &str) -> String {
    let mut connection = TcpStream::connect(address).unwrap();
    let length = form.len();
    write!(
        connection,
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nCookie: {cookie}\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n{form}"
    )
    .unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer
}

/// What the loop's control runs in a process of its own: straight to the final name, then the manifest.
#[test]
fn the_naive_publisher() {
    let Some(home) = from_environment::<PathBuf>(NAIVE) else { return };
    let database: DatabaseName = "crash".parse().unwrap();
    let name = BackupName::new(&database, Stamp::from_millis(CREATED), 1);
    let path = home.join("data/backups").join(name.as_str());
    let file = OpenOptions::new().write(true).create(true).truncate(true).open(&path).unwrap();
    let mut source = File::open(home.join("crash.db")).unwrap();
    let summary =
        compress(&mut source, &file, &path, Effort::default(), &Cancel::default(), &|_, _| ()).unwrap();
    let manifest = Manifest {
        manifest_version: manifest::VERSION,
        file: name.clone(),
        created_at: Stamp::from_millis(CREATED).rfc3339(),
        database,
        database_engine: EngineKind::Sqlite,
        backup_format: EngineKind::Sqlite.backup_format().to_owned(),
        payload_size: summary.payload_size,
        payload_sha256: summary.payload_sha256,
        payload_crc32: summary.payload_crc32,
        content_size: summary.content_size,
        content_sha256: summary.content_sha256,
        created_by: "the control".to_owned(),
        warnings: None,
    };
    fs::write(path.with_file_name(name.manifest()), manifest.to_bytes()).unwrap();
}
