//! Fault injection at the n-th system call, by strace attached to the program or to one of its threads.

use crate::ground::{Ground, POSTGRES, SQLITE, dump_tools};
use crate::support::holdfast::Server;
use crate::support::postgres::Cluster;
use holdfast::model::JobId;
use rusqlite::Connection;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The system calls that create, change, rename and remove files.
pub const CALLS: [&str; 12] = [
    "openat",
    "mkdir",
    "write",
    "pwrite64",
    "ftruncate",
    "fsync",
    "fdatasync",
    "renameat2",
    "linkat",
    "unlinkat",
    "rmdir",
    "close",
];
/// How long strace may take to attach.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long strace may take to detach.
const GOES: Duration = Duration::from_millis(300);

/// A fault: what happens, and at which call.
pub struct Fault<'a> {
    /// The system call.
    pub call: &'a str,
    /// What happens, in the syntax of strace: `signal=SIGKILL`, `error=EIO`.
    pub what: &'a str,
    /// At which calls, in the syntax of strace: `3`, `3+`.
    pub when: &'a str,
    /// Only calls on this path.
    pub path: Option<&'a Path>,
}

impl Fault<'_> {
    /// The beginning of a command line that runs a program under strace, which writes to `log`.
    pub fn strace(&self, log: &Path) -> Vec<String> {
        let Self { call, what, when, path } = self;
        // Always record syncs and renames, to see what follows a failed sync.
        let traced = format!("trace={call},fsync,fdatasync,renameat2");
        let inject = format!("inject={call}:{what}:when={when}");
        let mut line: Vec<_> =
            ["strace", "-f", "-y", "-e", &traced, "-e", &inject, "-o"].map(String::from).into();
        line.push(log.to_str().unwrap().to_owned());
        if let Some(path) = path {
            line.extend(["-P".to_owned(), path.to_str().unwrap().to_owned()]);
        }
        line
    }
}

/// An strace that is attached to a running process.
pub struct Tracer {
    strace: Child,
    log: PathBuf,
}

impl Tracer {
    /// Attaches to a thread, or with `all` to a process with all current and future threads. strace counts the calls of
    /// each thread separately.
    pub fn attach(thread: u32, all: bool, fault: &Fault<'_>, log: &Path) -> Result<Self, String> {
        let line = fault.strace(log);
        let mut command = Command::new("strace");
        command.args(line[1..].iter().filter(|argument| all || *argument != "-f"));
        let strace = command.args(["-p", &thread.to_string()]).stderr(Stdio::null()).spawn();
        let tracer =
            Self { strace: strace.map_err(|error| format!("strace: {error}"))?, log: log.to_owned() };
        let since = Instant::now();
        while !is_traced(thread) {
            if since.elapsed() > PATIENCE {
                return Err("strace did not attach; this machine may forbid it".to_owned());
            }
            thread::sleep(Duration::from_millis(1));
        }
        // After attaching, strace needs one more stop of the thread before it sees calls.
        thread::sleep(Duration::from_millis(20));
        Ok(tracer)
    }

    /// Detaches and returns the trace.
    pub fn seen(mut self) -> Trace {
        self.detach();
        Trace::read(&self.log)
    }

    fn detach(&mut self) {
        // Asked, it lets go and ends its log. One whose process was killed may wait for a thread that is gone.
        let _ = kill_process(Pid::from_child(&self.strace), Signal::TERM);
        let since = Instant::now();
        while since.elapsed() < GOES && matches!(self.strace.try_wait(), Ok(None)) {
            thread::sleep(Duration::from_millis(1));
        }
        let _ = self.strace.kill();
        let _ = self.strace.wait();
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        self.detach();
    }
}

fn is_traced(thread: u32) -> bool {
    fs::read_to_string(format!("/proc/{thread}/status")).is_ok_and(|status| {
        status.lines().any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0"))
    })
}

/// The calls that strace recorded.
pub struct Trace(String);

impl Trace {
    /// Reads the log of strace.
    pub fn read(log: &Path) -> Self {
        Self(fs::read_to_string(log).unwrap_or_default())
    }

    /// Whether a fault was injected.
    pub fn was_injected(&self) -> bool {
        self.0.contains("(INJECTED)")
    }

    /// Whether the program was killed.
    pub fn was_killed(&self) -> bool {
        self.0.contains("+++ killed by SIGKILL")
    }

    /// Number of syncs and renames of a file after one of its syncs failed.
    pub fn retried_syncs(&self) -> usize {
        let path = |line: &str| Some(line.split_once('<')?.1.split_once('>')?.0.to_owned());
        let is_sync = |line: &str| {
            line.contains(" fsync(") || line.contains(" fdatasync(") || line.starts_with("fsync(")
        };
        let mut failed: Option<String> = None;
        let mut retried = 0;
        for line in self.0.lines() {
            match &failed {
                None if is_sync(line) && line.contains("(INJECTED)") => failed = path(line),
                Some(file)
                    if is_sync(line) && path(line).as_ref() == Some(file) && file.contains(".part-") =>
                {
                    retried += 1;
                }
                Some(_)
                    if line.contains("renameat2(")
                        && line.contains("\"backup_")
                        && line.contains(") = 0") =>
                {
                    retried += 1;
                }
                _ => {}
            }
        }
        retried
    }
}

/// A running backup in the server, paused by a lock on its database just before the first byte is copied. The next
/// calls of its thread are the first of the copy.
pub struct Held {
    pub job: JobId,
    pub thread: u32,
    /// The lock; dropping it releases the lock.
    hold: Hold,
}

enum Hold {
    Sqlite(#[expect(dead_code, reason = "held, not read")] Connection),
    Postgres(#[expect(dead_code, reason = "held, not read")] Lock),
}

impl Held {
    /// Starts the backup and waits until the lock pauses it.
    pub fn begin(ground: &Ground, server: &Server) -> Result<Self, String> {
        let writer = Connection::open(ground.source()).unwrap();
        writer.execute_batch("BEGIN EXCLUSIVE;").unwrap();
        let job = server.create(SQLITE)?;
        let thread = thread_of(server.child.id(), job)?;
        let since = Instant::now();
        while !ground.litter().iter().any(|name| name.ends_with("-scratch")) {
            if since.elapsed() > PATIENCE {
                return Err("the backup never began".to_owned());
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(Self { job, thread, hold: Hold::Sqlite(writer) })
    }

    /// Like [`Held::begin`], for the PostgreSQL database `database`.
    pub fn begin_postgres(
        ground: &Ground,
        server: &Server,
        cluster: &Cluster,
        database: &str,
    ) -> Result<Self, String> {
        let lock = Lock::on(cluster, database);
        let job = server.create(POSTGRES)?;
        let thread = thread_of(server.child.id(), job)?;
        let since = Instant::now();
        while dump_tools(ground.data.to_str().unwrap()).is_empty() {
            if since.elapsed() > PATIENCE {
                return Err("the backup never began".to_owned());
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(Self { job, thread, hold: Hold::Postgres(lock) })
    }

    /// Lets the backup continue.
    pub fn release(self) -> JobId {
        drop(self.hold);
        self.job
    }
}

/// A table that is locked until it is released.
pub struct Lock(Child);

impl Lock {
    /// Locks the table `t` of a database against reading.
    pub fn on(cluster: &Cluster, database: &str) -> Self {
        let mut command = cluster.command("psql");
        command.env("PGDATABASE", database).args(["-X", "-q", "-A", "-t"]);
        let mut psql = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let locked = psql.stdin.as_mut().unwrap();
        locked.write_all(b"BEGIN; LOCK TABLE t; SELECT 'locked';\n").unwrap();
        let mut line = String::new();
        BufReader::new(psql.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line.trim(), "locked");
        Self(psql)
    }

    /// Releases the lock.
    pub fn release(&mut self) {
        // At the end of its input, psql ends, and the transaction with it.
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.release();
    }
}

/// The thread a job runs on.
pub fn thread_of(process: u32, job: JobId) -> Result<u32, String> {
    let tasks = format!("/proc/{process}/task");
    let since = Instant::now();
    while since.elapsed() < PATIENCE {
        for entry in fs::read_dir(&tasks).map_err(|error| error.to_string())?.flatten() {
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            if name.trim() == format!("job-{job}") {
                return entry.file_name().to_string_lossy().parse().map_err(|_| "no thread".to_owned());
            }
        }
        thread::sleep(Duration::from_millis(1));
    }
    Err(format!("job {job} has no thread"))
}
