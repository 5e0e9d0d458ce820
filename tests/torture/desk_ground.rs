//! The real program on a ground of its own, a plain client for it, and what a directory of backups may hold.

use crate::support::desk::{ACCOUNT, small_database};
use axum::Router;
use data_encoding::HEXLOWER;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use holdfast::domain::accounts::{Device, FirstAccount, SessionToken};
use holdfast::domain::engines::Target;
use holdfast::domain::repository::manifest;
use holdfast::domain::repository::manifest::Manifest;
use holdfast::domain::{Holdfast, Options, destinations};
use holdfast::model::{BackupName, DatabaseName, EngineKind, Stamp};
use holdfast::server::listener::connections;
use holdfast::server::listener::connections::Limits;
use rustix::process::{Pid, Signal};
use sha2::{Digest as _, Sha256};
use socket2::{Domain, Socket, Type};
use std::fmt::Write as _;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::runtime::Runtime;

/// How long anything may take that is to happen at once.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The directories of one Holdfast, with the small database `ledger`.
pub struct Ground {
    home: tempfile::TempDir,
}

/// A program that serves, killed when it is dropped.
pub struct Program {
    child: Child,
    pub address: SocketAddr,
    log: Arc<Mutex<String>>,
}

impl Ground {
    pub fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        small_database(&home.path().join("ledger.db"));
        fs::create_dir_all(home.path().join("data/backups")).unwrap();
        Self { home }
    }

    pub fn data(&self) -> PathBuf {
        self.home.path().join("data")
    }

    pub fn backups(&self) -> PathBuf {
        self.data().join("backups")
    }

    /// The program, to be started with these arguments.
    pub fn program(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
        command
            .args(arguments.split(' '))
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOLDFAST_LISTEN", "127.0.0.1:0")
            .env("HOLDFAST_DATA_DIR", self.data())
            .env("HOLDFAST_BACKUP_DIR", self.backups())
            .env("HOLDFAST_DATABASES", format!("ledger=sqlite://{}/ledger.db", self.home.path().display()))
            .env("HOLDFAST_ADMIN_PASSWORD", ACCOUNT.1);
        command
    }

    /// Serves, or says in whose words it does not.
    pub fn serve(&self) -> Result<Program, String> {
        Program::start(self.program("serve"))
    }

    /// A holdfast as a server opens it, by the system's clock.
    pub fn holdfast(&self) -> Holdfast {
        let now = || {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            Stamp::from_millis(i64::try_from(since.as_millis()).unwrap())
        };
        let ledger = Target::Sqlite(self.home.path().join("ledger.db"));
        Holdfast::open(Options {
            data_dir: self.data(),
            backup_dir: self.backups(),
            databases: vec![("ledger".parse().unwrap(), ledger)],
            broken: Vec::new(),
            restore_on: None,
            postgres_bin: None,
            path: "/usr/bin:/bin".into(),
            clock: Arc::new(now),
            effort: holdfast::domain::operations::compress::Effort::default(),
            destinations: destinations::Options { retries: 0, ..destinations::Options::default() },
            import: holdfast::domain::operations::import::Limits::default(),
            egress: holdfast::domain::outbound::Policy::default(),
        })
        .unwrap()
    }

    /// The account's new password by `holdfast reset-account`, or the words of its refusal.
    pub fn reset_account(&self) -> Result<String, String> {
        let ended = self.program(&format!("reset-account {}", ACCOUNT.0)).output().unwrap();
        let said = String::from_utf8_lossy(&ended.stdout);
        match said.lines().nth(1) {
            Some(password) if ended.status.success() => Ok(password.to_owned()),
            _ => Err(String::from_utf8_lossy(&ended.stderr).into_owned()),
        }
    }

    /// A session of the account, made where there is none, as a `Cookie` header.
    pub fn session(&self) -> String {
        let holdfast = self.holdfast();
        let made = holdfast.accounts().ensure_first(ACCOUNT.0, Some(&ACCOUNT.1.into())).unwrap();
        assert!(!matches!(made, FirstAccount::NeedsSetup(_)));
        let admitted = holdfast.accounts().log_in(ACCOUNT.0, &ACCOUNT.1.into(), &Device::default()).unwrap();
        cookie(&admitted.session().unwrap())
    }
}

/// A session as a `Cookie` header.
pub fn cookie(session: &SessionToken) -> String {
    format!("{}={}", holdfast::server::auth::session::COOKIE_NAME, session.reveal())
}

impl Program {
    /// Starts it and waits until it listens.
    pub fn start(mut command: Command) -> Result<Self, String> {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (log, mut address) = (Arc::new(Mutex::new(String::new())), None);
        while address.is_none() {
            let Some(Ok(line)) = lines.next() else {
                child.wait().unwrap();
                return Err(log.lock().unwrap().clone());
            };
            address = line.split_once("listens on http://").map(|(_, address)| {
                let address: String =
                    address.chars().take_while(|c| c.is_ascii_digit() || ".:".contains(*c)).collect();
                address.parse().unwrap()
            });
            let _ = writeln!(log.lock().unwrap(), "{line}");
        }
        let told = Arc::clone(&log);
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let _ = writeln!(told.lock().unwrap(), "{line}");
            }
        });
        Ok(Self { child, address: address.unwrap(), log })
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// How many descriptors it has open.
    pub fn descriptors(&self) -> usize {
        descriptors_of(&self.child.id().to_string())
    }

    /// Asks it to stop, as an operator does.
    pub fn ask_to_stop(&self) {
        let process = Pid::from_child(&self.child);
        rustix::process::kill_process(process, Signal::TERM).unwrap();
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Ends it as a lost power cable does, as far as a program goes.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

/// How many descriptors a process has open; `self` for this one.
pub fn descriptors_of(process: &str) -> usize {
    fs::read_dir(format!("/proc/{process}/fd")).map_or(0, Iterator::count)
}

/// Looks again and again until it is so. Gives how long that took, or nothing where it never was.
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

/// A router that is served in this program, as the real one serves it.
pub struct Served {
    pub address: SocketAddr,
    runtime: Option<Runtime>,
}

impl Served {
    pub fn new(router: Router, limits: Limits) -> Self {
        let runtime = Runtime::new().unwrap();
        let listener =
            runtime.block_on(async { connections::listen(SocketAddr::from(([127, 0, 0, 1], 0))) }).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move {
            connections::serve(listener, &router, limits, None, std::future::pending()).await;
        });
        Self { address, runtime: Some(runtime) }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // Downloads that nobody reads would be waited for.
        self.runtime.take().unwrap().shutdown_background();
    }
}

/// A connection on which little is on its way at a time.
pub fn connect_narrow(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_recv_buffer_size(64 * 1024)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect(&address.into())?;
    Ok(socket.into())
}

/// An answer as it came over the wire.
pub struct Reply {
    pub status: u16,
    /// Headers as they came.
    pub head: String,
    pub body: Vec<u8>,
}

impl Reply {
    /// A header's value; empty where it is not there.
    pub fn header(&self, name: &str) -> &str {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value.trim())
    }

    /// Whether as many bytes came as were announced; where nothing was, the end is the end.
    pub fn is_whole(&self) -> bool {
        let announced = self.header("content-length");
        announced.is_empty() || announced.parse() == Ok(self.body.len())
    }
}

/// A request of one line and some headers, after which the connection is closed.
pub fn request(method: &str, path: &str, cookie: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nHost: holdfast.test\r\nCookie: {cookie}\r\nConnection: close\r\n\
         Accept: application/json\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {length}\r\n{headers}\r\n{body}"
    )
}

/// Sends and reads to the end. A connection that breaks off gives what had come until then.
pub fn exchange(address: SocketAddr, request: &str) -> io::Result<Reply> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request.as_bytes())?;
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Err(error) if error.kind() != io::ErrorKind::ConnectionReset => return Err(error),
        _ => {}
    }
    reply_of(&bytes).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// Takes an answer apart.
pub fn reply_of(bytes: &[u8]) -> Option<Reply> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let status = head.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
    Some(Reply { status, head, body: bytes[end + 4..].to_vec() })
}

/// `SHA-256`, lower-case hexadecimal.
pub fn sum(bytes: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(bytes))
}

/// What gzip makes of it.
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
        database_engine: EngineKind::Sqlite,
        backup_format: EngineKind::Sqlite.backup_format().to_owned(),
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

/// Why the backup of that name is not whole: P1 and P2, by reading every byte of it.
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

/// Whatever in a directory of backups is not as it has to be when nothing runs: files that are not whole,
/// manifests without a file, drafts.
pub fn faults_in(dir: &Path) -> Vec<String> {
    let names = crate::support::desk::contents_of(dir);
    let fault_of = |name: &String| match name.strip_suffix(".manifest.json") {
        Some(payload) => (!names.iter().any(|name| name == payload)).then(|| format!("{name}: no file")),
        None if name.parse::<BackupName>().is_ok() => why_not_whole(dir, name),
        None => Some(format!("{name}: left behind")),
    };
    names.iter().filter_map(fault_of).collect()
}

/// How many backups a directory holds.
pub fn count_in(dir: &Path) -> usize {
    let names = crate::support::desk::contents_of(dir);
    names.iter().filter(|name| name.parse::<BackupName>().is_ok()).count()
}
