//! A Holdfast of the tests' own: as the program that operators run, and as a library in this process. `desk` adds a
//! reader who is logged in, and asks the router without a network.

#![expect(clippy::unwrap_used, reason = "a harness that fails has nothing better to do")]

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

/// How long anything may take that is to happen at once.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_holdfast");

/// The program over the directories in `home`, with nothing of our environment but what is named here.
pub fn program(home: &Path, databases: &str, arguments: &[&str]) -> Command {
    program_under(&[], home, databases, arguments)
}

/// The same, started by the program and arguments `outer`.
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

/// A library's Holdfast over the directories in `home`, as most tests open it: its clock stands still, and failed
/// uploads are reported at once.
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

/// The directories of one Holdfast and the databases it is told of.
pub struct Home {
    directory: TempDir,
    databases: String,
}

impl Home {
    /// With these databases, as `HOLDFAST_DATABASES` names them.
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

    /// Where data directory and test files lie.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A path beside the data directory.
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

    /// The program, to be started with these arguments.
    pub fn program(&self, arguments: &[&str]) -> Command {
        program(self.path(), &self.databases, arguments)
    }

    /// Runs the program, which must succeed, and gives what it printed.
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = self.program(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", words(&output));
        assert!(!words(&output).contains("c4n"), "{}", words(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs the program, which must fail, and gives what it said.
    pub fn refused(&self, arguments: &[&str]) -> String {
        bad(self.program(arguments))
    }

    /// Backs a database up and gives the file's name.
    pub fn backup(&self, database: &str) -> String {
        self.run(&["backup", database]).trim().to_owned()
    }

    /// A restore whose target, with its password, is in the environment, where it belongs.
    pub fn restore(&self, file: &str, into: &str, more: &[&str]) -> Command {
        let mut command = self.program(&[&["restore", file][..], more].concat());
        command.env("HOLDFAST_RESTORE_INTO", into);
        command
    }

    /// Starts the server; its log where it does not listen.
    pub fn serve(&self) -> Result<Server, String> {
        Server::start(self.program(&["serve"]))
    }

    /// What a Holdfast in this process is opened with over the same directories.
    pub fn options(&self) -> Options {
        options(self.path(), &self.databases)
    }

    /// A Holdfast in this process over the same directories.
    pub fn holdfast(&self) -> Holdfast {
        Holdfast::open(self.options()).unwrap()
    }
}

/// What a program printed, and what it complained of.
pub fn words(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Runs a command that must succeed, and gives its words.
pub fn good(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", words(&output));
    words(&output)
}

/// Runs a command that must fail and show no password, and gives its words.
pub fn bad(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert!(!output.status.success(), "{}", words(&output));
    let said = words(&output);
    assert!(!said.contains("c4n") && !said.contains("c5n") && !said.contains(PASSWORD), "{said}");
    said
}

/// The program, serving; killed when it is dropped.
pub struct Server {
    /// Its process.
    pub child: Child,
    /// `http` or `https`, as its log says.
    pub scheme: String,
    /// Where it is reached from this machine.
    pub address: SocketAddr,
    /// A reader's session as a `Cookie` header; empty where nobody is logged in.
    pub cookie: String,
    log: Arc<Mutex<Vec<u8>>>,
}

impl Server {
    /// Starts a command that serves and waits until it listens; where it does not, its status and its log.
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

    /// A server that was started otherwise, and is to listen there.
    pub fn of(child: Child, address: SocketAddr) -> Self {
        let (scheme, cookie) = ("http".to_owned(), String::new());
        Self { child, scheme, address, cookie, log: Arc::default() }
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&locked(&self.log)).into_owned()
    }

    /// Its log so far, byte for byte; what is added to it counts as logged.
    pub fn log_bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        locked(&self.log)
    }

    /// What follows `words` in a line of the log, as soon as it is there.
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

    /// How many descriptors it has open.
    pub fn descriptors(&self) -> usize {
        descriptors_of(&self.child.id().to_string())
    }

    /// Asks it to stop, as an operator does.
    pub fn ask_to_stop(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Ends it without a word, as a power cut or the system's memory killer would.
    pub fn kill(&mut self) {
        // It may be dead already, which is as good.
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

/// The scheme and address that a line of the log names, where it says that the server listens.
fn listens(line: &str) -> Option<(String, SocketAddr)> {
    let (scheme, rest) = line.split_once("listens on ")?.1.split_once("://")?;
    let address: String = rest.chars().take_while(|c| c.is_ascii_digit() || ".:[]".contains(*c)).collect();
    let mut address: SocketAddr = address.parse().unwrap();
    if address.ip().is_unspecified() {
        address.set_ip([127, 0, 0, 1].into());
    }
    Some((scheme.to_owned(), address))
}

/// How many descriptors a process has open; `self` for this one.
pub fn descriptors_of(process: &str) -> usize {
    std::fs::read_dir(format!("/proc/{process}/fd")).map_or(0, Iterator::count)
}

/// Ends a process at once, and says whether there was one.
pub fn kill(process: &OsStr) -> bool {
    let process = process.to_str().and_then(|number| number.parse().ok()).and_then(Pid::from_raw);
    process.is_some_and(|process| kill_process(process, Signal::KILL).is_ok())
}

/// A router that is served in this process, on a connection, as the program serves it.
pub struct Served {
    /// Where it listens.
    pub address: SocketAddr,
    runtime: Option<Runtime>,
    stop: Option<oneshot::Sender<()>>,
    ended: Option<JoinHandle<()>>,
}

impl Served {
    /// Listens on a port of its own.
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

    /// Does something beside serving.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.runtime.as_ref().unwrap().spawn(work);
    }

    /// Asks it to stop, and gives how long that takes.
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
        // Downloads that nobody reads would be waited for.
        self.runtime.take().unwrap().shutdown_background();
    }
}
