//! A running Holdfast server, used with `curl`.

use holdfast::domain::repository::manifest;
use holdfast::domain::repository::manifest::Manifest;
use holdfast::model::{EngineKind, Stamp};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const PASSWORD: &str = "tide marks on the quay";

/// A running server and a session.
pub struct Server {
    // Declared first, so that it is dropped before its directory.
    serving: Serving,
    home: TempDir,
    /// Scheme, host and port.
    pub origin: String,
    /// Time from the start to the log line that says where it listens.
    pub started_in: Duration,
}

impl Server {
    /// Starts a server on the backups that `fill` creates.
    pub fn start(fill: impl FnOnce(&Path)) -> Self {
        let home = tempfile::tempdir().expect("a temporary directory");
        let backups = home.path().join("backups");
        fs::create_dir(&backups).expect("a backup directory");
        fill(&backups);
        // The first start creates the account, which is not part of a race.
        drop(serve(home.path()));
        let (serving, origin, started_in) = serve(home.path());
        let server = Self { serving, home, origin, started_in };
        server.curl(&["-d", &format!("username=admin&password={PASSWORD}"), &server.at("/login")]);
        server
    }

    /// The process.
    pub fn process(&self) -> String {
        self.serving.0.id().to_string()
    }

    /// The full address of a path.
    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    /// A `curl` with the session.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("curl");
        let jar = self.home.path().join("cookies");
        command.args(["-sS", "--fail", "-b"]).arg(&jar).arg("-c").arg(&jar).args(arguments);
        command
    }

    /// The output of a `curl`.
    pub fn curl(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().expect("curl");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The address of an archive of `names`.
    pub fn archive(&self, names: &[String], format: &str) -> String {
        let mut form = format!("format={format}");
        for name in names {
            let _ = write!(form, "&names%5B%5D={name}");
        }
        let path =
            self.curl(&["-o", "/dev/null", "-w", "%{redirect_url}", "-d", &form, &self.at("/archives")]);
        assert!(path.contains("/archives/"), "no archive: {path}");
        path
    }
}

/// A process that is killed when it is dropped.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn serve(home: &Path) -> (Serving, String, Duration) {
    let began = Instant::now();
    let child = Command::new(env!("CARGO_BIN_EXE_holdfast"))
        .arg("serve")
        .env("HOLDFAST_LISTEN", "127.0.0.1:0")
        .env("HOLDFAST_DATA_DIR", home)
        .env("HOLDFAST_ADMIN_PASSWORD", PASSWORD)
        .stderr(Stdio::piped())
        .spawn()
        .expect("holdfast");
    let mut serving = Serving(child);
    let mut log = BufReader::new(serving.0.stderr.take().expect("a log")).lines();
    let line = log.find_map(|line| line.ok().filter(|line| line.contains("http://"))).expect("an address");
    let took = began.elapsed();
    let from = line.find("http://").expect("an address");
    let end = |c: char| c.is_whitespace() || c == '"' || c == '\u{1b}';
    let origin = line[from..].split(end).next().expect("an address").trim_end_matches(['/', '.']).to_owned();
    std::thread::spawn(move || log.for_each(drop));
    (serving, origin, took)
}

/// A backup of `content`, with only those manifest fields that lists and bundles need.
pub fn put(backups: &Path, number: usize, content: &[u8]) -> String {
    let stamp = Stamp::from_millis(1_795_401_667_123 - i64::try_from(number).expect("a number") * 60_000);
    let name = format!("backup_shop_{}Z.dump.gz", stamp.for_file_name());
    let crc32 = crc32fast::hash(content);
    let manifest = Manifest {
        manifest_version: manifest::VERSION,
        file: name.parse().expect("a name"),
        created_at: stamp.rfc3339(),
        database: "shop".parse().expect("a name"),
        database_engine: EngineKind::new("sqlite"),
        backup_format: "sqlite-database".to_owned(),
        payload_size: content.len() as u64,
        payload_sha256: "ab".repeat(32),
        payload_crc32: format!("{crc32:08x}"),
        content_size: content.len() as u64,
        content_sha256: "cd".repeat(32),
        created_by: "a bench".to_owned(),
        warnings: None,
        remarks: Vec::new(),
        tables: None,
        rows: None,
        origin: None,
    };
    fs::write(backups.join(format!("{name}.manifest.json")), manifest.to_bytes()).expect("a manifest");
    let mut file = File::create(backups.join(&name)).expect("a backup");
    file.write_all(content).expect("room for a backup");
    name
}
