//! A Holdfast for tests: as the program that operators run, and as a library in this process. `desk` adds a user who is
//! logged in, and calls the router without a network.

#![expect(clippy::unwrap_used, reason = "a test harness")]

use super::desk::{NOW, small_database};
use super::postgres::PASSWORD;
use axum::Router;
use holdfast::domain::databases::list::parse_databases;
use holdfast::domain::engines::Engines;
use holdfast::domain::jobs::Clock;
use holdfast::domain::operations::compress::Effort;
use holdfast::domain::operations::import::limits::Limits as ImportLimits;
use holdfast::domain::outbound::Policy;
use holdfast::domain::{Holdfast, Options, destinations};
use holdfast::model::Stamp;
use holdfast::server::listener::connections::{self, Limits};
use holdfast::server::listener::tls::Tls;
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Time limit for anything that should happen at once.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_holdfast");

/// The program on the directories in `home`, with only the environment variables named here.
pub fn program(home: &Path, databases: &str, arguments: &[&str]) -> Command {
    program_under(&[], home, databases, arguments)
}

/// Like [`program`], started by the program and arguments `outer`.
pub fn program_under(outer: &[&str], home: &Path, databases: &str, arguments: &[&str]) -> Command {
    let words = [outer, &[PROGRAM], arguments].concat();
    let mut command = Command::new(words[0]);
    command
        .args(&words[1..])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOLDFAST_LISTEN", "127.0.0.1:0")
        .env("HOLDFAST_DATA_DIR", home.join("data"))
        .env("HOLDFAST_DATABASES", databases)
        .stdin(Stdio::null());
    command
}

/// The options of a Holdfast in this process on the directories in `home`, for most tests: its clock stands still, and
/// failed uploads are not retried.
pub fn options(home: &Path, databases: &str) -> Options {
    Options {
        data_dir: home.join("data"),
        backup_dir: home.join("data/backups"),
        databases: parse_databases(&Engines::default(), databases).named,
        broken: Vec::new(),
        restore_on: None,
        engines: Engines::default(),
        path: "/usr/bin:/bin".into(),
        clock: Arc::new(|| Stamp::from_millis(NOW)),
        effort: Effort::default(),
        destinations: destinations::Options {
            retries: 0,
            strangers: 10_000,
            ..destinations::Options::default()
        },
        import: ImportLimits::default(),
        egress: Policy::default(),
    }
}

/// The system's clock.
pub fn system_clock() -> Clock {
    Arc::new(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Stamp::from_millis(i64::try_from(now.as_millis()).unwrap())
    })
}

/// The directories of one Holdfast, and its databases.
pub struct Home {
    directory: TempDir,
    databases: String,
}

impl Home {
    /// With these databases, as in `HOLDFAST_DATABASES`.
    pub fn new(databases: &str) -> Self {
        Self { directory: tempfile::tempdir().unwrap(), databases: databases.to_owned() }
    }

    /// With the small SQLite database `ledger`.
    pub fn with_ledger() -> Self {
        let mut home = Self::new("");
        small_database(&home.at("ledger.db"));
        home.databases = format!("ledger=sqlite://{}", home.at("ledger.db").display());
        home
    }

    /// The same home with other databases.
    pub fn told(self, databases: String) -> Self {
        Self { databases, ..self }
    }

    /// The directory with the data directory and test files.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A path next to the data directory.
    pub fn at(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.at("data")
    }

    /// The backup directory.
    pub fn backups(&self) -> PathBuf {
        self.at("data/backups")
    }

    /// The program with these arguments, for the caller to start.
    pub fn program(&self, arguments: &[&str]) -> Command {
        program(self.path(), &self.databases, arguments)
    }

    /// Runs the program, which must succeed, and returns its standard output.
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = self.program(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", words(&output));
        assert!(!words(&output).contains("c4n"), "{}", words(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs the program, which must fail, and returns its output.
    pub fn refused(&self, arguments: &[&str]) -> String {
        bad(self.program(arguments))
    }

    /// Backs up a database and returns the file name.
    pub fn backup(&self, database: &str) -> String {
        self.run(&["backup", database]).trim().to_owned()
    }

    /// A restore with the URL in the environment, because it may have a password.
    pub fn restore(&self, file: &str, into: &str, more: &[&str]) -> Command {
        let mut command = self.program(&[&["restore", file][..], more].concat());
        command.env("HOLDFAST_RESTORE_INTO", into);
        command
    }

    /// Starts the server. Fails with its log if it does not listen.
    pub fn serve(&self) -> Result<Server, String> {
        Server::start(self.program(&["serve"]))
    }

    /// The options of a Holdfast in this process on the same directories.
    pub fn options(&self) -> Options {
        options(self.path(), &self.databases)
    }

    /// A Holdfast in this process on the same directories.
    pub fn holdfast(&self) -> Holdfast {
        Holdfast::open(self.options()).unwrap()
    }
}

/// Standard output and standard error of a program.
pub fn words(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Runs a command that must succeed, and returns its output.
pub fn good(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", words(&output));
    words(&output)
}

/// Runs a command that must fail and show no password, and returns its output.
pub fn bad(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert!(!output.status.success(), "{}", words(&output));
    let said = words(&output);
    assert!(!said.contains("c4n") && !said.contains("c5n") && !said.contains(PASSWORD), "{said}");
    said
}

/// A running server. Dropping it kills it.
pub struct Server {
    /// The process.
    pub child: Child,
    /// `http` or `https`, from its log.
    pub scheme: String,
    /// Its address on this machine.
    pub address: SocketAddr,
    /// A user's session as a `Cookie` header; empty if nobody is logged in.
    pub cookie: String,
    log: Arc<Mutex<Vec<u8>>>,
}

impl Server {
    /// Starts a server and waits until it listens. Otherwise fails with its exit status and its log.
    pub fn start(mut command: Command) -> Result<Self, String> {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let log = Arc::new(Mutex::new(Vec::new()));
        let found = loop {
            let mut line = Vec::new();
            if lines.read_until(b'\n', &mut line).unwrap_or_default() == 0 {
                break None;
            }
            locked(&log).extend(&line);
            let found = listens(&String::from_utf8_lossy(&line));
            if found.is_some() {
                break found;
            }
        };
        let Some((scheme, address)) = found else {
            let status = child.wait().unwrap();
            return Err(format!("{status}: {}", String::from_utf8_lossy(&locked(&log))));
        };
        let kept = Arc::clone(&log);
        thread::spawn(move || {
            let mut line = Vec::new();
            while lines.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                locked(&kept).append(&mut line);
            }
        });
        Ok(Self { child, scheme, address, cookie: String::new(), log })
    }

    /// A server that something else started, at this address.
    pub fn of(child: Child, address: SocketAddr) -> Self {
        let (scheme, cookie) = ("http".to_owned(), String::new());
        Self { child, scheme, address, cookie, log: Arc::default() }
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&locked(&self.log)).into_owned()
    }

    /// Its log so far, as bytes. Tests may append to it.
    pub fn log_bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        locked(&self.log)
    }

    /// The rest of a log line after `words`. Waits for the line.
    pub fn in_log(&self, words: &str) -> String {
        let deadline = Instant::now() + 3 * PATIENCE;
        loop {
            let log = self.log();
            if let Some((_, rest)) = log.split_once(words)
                && let Some((line, _)) = rest.split_once('\n')
            {
                return line.to_owned();
            }
            assert!(Instant::now() < deadline, "no {words} in {log}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Number of its open file descriptors.
    pub fn descriptors(&self) -> usize {
        descriptors_of(&self.child.id().to_string())
    }

    /// Sends SIGTERM, as an operator does.
    pub fn ask_to_stop(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Kills it, as the kernel's out-of-memory killer would.
    pub fn kill(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn locked(log: &Mutex<Vec<u8>>) -> MutexGuard<'_, Vec<u8>> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The scheme and address in a log line, if the line says that the server listens.
fn listens(line: &str) -> Option<(String, SocketAddr)> {
    let (scheme, rest) = line.split_once("listens on ")?.1.split_once("://")?;
    let address: String = rest.chars().take_while(|c| c.is_ascii_digit() || ".:[]".contains(*c)).collect();
    let mut address: SocketAddr = address.parse().unwrap();
    if address.ip().is_unspecified() {
        address.set_ip([127, 0, 0, 1].into());
    }
    Some((scheme.to_owned(), address))
}

/// Number of open file descriptors of a process; `self` is this process.
pub fn descriptors_of(process: &str) -> usize {
    std::fs::read_dir(format!("/proc/{process}/fd")).map_or(0, Iterator::count)
}

/// Kills a process. Returns whether it existed.
pub fn kill(process: &OsStr) -> bool {
    let process = process.to_str().and_then(|number| number.parse().ok()).and_then(Pid::from_raw);
    process.is_some_and(|process| kill_process(process, Signal::KILL).is_ok())
}

/// A router that this process serves over TCP, as the program does.
pub struct Served {
    /// The address.
    pub address: SocketAddr,
    runtime: Option<Runtime>,
    stop: Option<oneshot::Sender<()>>,
    ended: Option<JoinHandle<()>>,
}

impl Served {
    /// Serves `router` on a free port.
    pub fn new(router: Router, limits: Limits, tls: Option<Tls>) -> Self {
        let runtime = Runtime::new().unwrap();
        let listener = {
            let _within = runtime.enter();
            connections::listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap()
        };
        let address = listener.local_addr().unwrap();
        let (stop, asked) = oneshot::channel();
        let ended = runtime.spawn(async move {
            let stopped = async { asked.await.unwrap_or_default() };
            connections::serve(listener, &router, limits, tls, stopped).await.ended().await;
        });
        Self { address, runtime: Some(runtime), stop: Some(stop), ended: Some(ended) }
    }

    /// Runs `work` on the runtime of the server.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.runtime.as_ref().unwrap().spawn(work);
    }

    /// Stops it, and returns how long that took.
    pub fn stop(mut self) -> Duration {
        let begun = Instant::now();
        self.stop.take().unwrap().send(()).unwrap();
        let ended = self.ended.take().unwrap();
        let runtime = self.runtime.as_ref().unwrap();
        runtime.block_on(async { tokio::time::timeout(PATIENCE, ended).await.unwrap().unwrap() });
        begun.elapsed()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // A normal shutdown would wait for downloads that nobody reads.
        self.runtime.take().unwrap().shutdown_background();
    }
}
