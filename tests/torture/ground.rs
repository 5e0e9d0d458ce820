//! The setting of a trial: databases, a data directory, the real program, and the checks of the files that it leaves.

use crate::support::desk::{ACCOUNT, contents_of, dense_database};
use crate::support::holdfast::{PATIENCE, Server, kill, options, program_under, system_clock};
use crate::support::http::{Reply, reply_of};
use crate::support::postgres::Cluster;
use data_encoding::HEXLOWER;
use flate2::read::GzDecoder;
use holdfast::domain::accounts::{Device, FirstAccount};
use holdfast::domain::{Holdfast, Options};
use holdfast::model::{JobId, JobView};
use rusqlite::Connection;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The configured names of the SQLite database and of the PostgreSQL database.
pub const SQLITE: &str = "crash";
pub const POSTGRES: &str = "dump";
/// How long a restart may take to clear up after the previous run.
pub const RESTART: Duration = Duration::from_secs(5);
/// Most files kept during a trial. Older ones that were found whole are removed.
const KEPT: usize = 8;

/// Databases, a data directory and a backup directory.
pub struct Ground {
    pub data: PathBuf,
    pub backups: PathBuf,
    rows: u32,
    databases: String,
    cookie: String,
    /// Backups that were found whole, with their checksums.
    pub known: BTreeMap<String, String>,
    /// Known backups that the trial itself removed.
    removed: BTreeSet<String>,
    outside: TempDir,
}

impl Ground {
    /// With a SQLite database of about `rows` kilobytes, and a user who is logged in.
    pub fn new(rows: u32) -> Self {
        let outside = tempfile::Builder::new().prefix("holdfast-torture-").tempdir().unwrap();
        let data = outside.path().join("data");
        Self::within(outside, data, rows)
    }

    /// Like [`Ground::new`], with the data directory at `data`, on another file system.
    pub fn at(data: &Path, rows: u32) -> Self {
        let outside = tempfile::Builder::new().prefix("holdfast-torture-").tempdir().unwrap();
        Self::within(outside, data.to_owned(), rows)
    }

    fn within(outside: TempDir, data: PathBuf, rows: u32) -> Self {
        let source = outside.path().join("crash.db");
        dense_database(&source, rows);
        let databases = format!("{SQLITE}=sqlite://{}", source.display());
        let backups = data.join("backups");
        let mut ground = Self {
            data,
            backups,
            rows,
            databases,
            cookie: String::new(),
            known: BTreeMap::new(),
            removed: BTreeSet::new(),
            outside,
        };
        ground.log_in();
        ground
    }

    /// Creates the first account and a session.
    pub fn log_in(&mut self) {
        let accounts = self.holdfast().accounts().clone();
        if let FirstAccount::NeedsSetup(token) = accounts.ensure_first(ACCOUNT.0, None).unwrap() {
            let session = accounts.set_up(&token, ACCOUNT.0, &ACCOUNT.1.into(), &Device::default()).unwrap();
            self.cookie = format!("holdfast_session={}", session.reveal());
        }
    }

    /// Adds a PostgreSQL database of about `rows` kilobytes.
    pub fn add_postgres(&mut self, cluster: &Cluster, database: &str, rows: u32) {
        cluster.create_database(database);
        cluster.psql(
            database,
            &format!(
                "CREATE TABLE t (i int, a text);
                 INSERT INTO t SELECT i, (SELECT string_agg(md5(random()::text), '')
                     FROM generate_series(1, 30) WHERE i = i) FROM generate_series(1, {rows}) i;"
            ),
        );
        let _ = write!(self.databases, " {POSTGRES}={}", cluster.url(database));
    }

    /// The path of the SQLite database.
    pub fn source(&self) -> PathBuf {
        self.outside.path().join("crash.db")
    }

    /// A path next to the database and the data directory.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.outside.path().join(name)
    }

    /// The program as an operator starts it.
    pub fn program(&self, arguments: &[&str]) -> Command {
        self.program_under(&[], arguments)
    }

    /// The program with these arguments, started by another program.
    pub fn program_under(&self, outer: &[&str], arguments: &[&str]) -> Command {
        let mut command = program_under(outer, self.outside.path(), &self.databases, arguments);
        command.env("HOLDFAST_DATA_DIR", &self.data).env("HOLDFAST_BACKUP_DIR", &self.backups);
        command
    }

    /// A control, which breaks a rule on purpose: see `naive`.
    pub fn naive(&self, what: &str) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["naive", what]).arg(self.source()).arg(&self.backups).stdin(Stdio::null());
        command
    }

    /// A Holdfast in this process, opened like a server.
    pub fn holdfast(&self) -> Holdfast {
        let (data_dir, backup_dir) = (self.data.clone(), self.backups.clone());
        let options = options(self.outside.path(), &self.databases);
        Holdfast::open(Options { data_dir, backup_dir, clock: system_clock(), ..options }).unwrap()
    }

    /// Starts the server and waits until it listens. Otherwise fails with its log.
    pub fn serve(&self) -> Result<Server, String> {
        self.started(self.program(&["serve"]))
    }

    /// Like [`Ground::serve`], with a command that starts the server.
    pub fn started(&self, command: Command) -> Result<Server, String> {
        let mut server = Server::start(command)?;
        server.cookie.clone_from(&self.cookie);
        Ok(server)
    }

    /// A server that something else started, at this address.
    pub fn listening(&self, child: Child, address: SocketAddr) -> Server {
        let mut server = Server::of(child, address);
        server.cookie.clone_from(&self.cookie);
        server
    }

    /// Backs up the SQLite database. Returns the file name or the reason.
    pub fn back_up(&self) -> Result<String, String> {
        told(&self.program(&["backup", SQLITE]).output().unwrap())
    }

    /// Whether a killed run left files that it had not yet published.
    pub fn has_half_made(&self) -> bool {
        let has_bytes =
            |path: &Path| fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() > 0);
        let drafts = names_in(&self.backups).into_iter().filter(|name| name.starts_with(".part-"));
        drafts.map(|name| self.backups.join(name)).any(|path| {
            has_bytes(&path) || names_in(&path).into_iter().any(|name| has_bytes(&path.join(name)))
        })
    }

    /// The listed backups that are not whole, with the reason. Remembers the whole ones.
    pub fn faults(&mut self) -> Vec<String> {
        let listed = names_in(&self.backups).into_iter().filter(|name| is_listed(name));
        let new: Vec<_> = listed.filter(|name| !self.known.contains_key(name)).collect();
        let mut faults = Vec::new();
        for name in new {
            match self.sum_if_whole(&name) {
                Ok(sum) => drop(self.known.insert(name, sum)),
                Err(why) => faults.push(format!("{name}: {why}")),
            }
        }
        faults
    }

    /// Whether a backup was found whole before.
    pub fn has_known(&self, name: &str) -> bool {
        self.known.contains_key(name) || self.removed.contains(name)
    }

    /// Like [`Ground::faults`], for all known backups, which must not have changed. Then removes the oldest if there
    /// are too many.
    pub fn faults_of_known(&mut self) -> Vec<String> {
        let known = std::mem::take(&mut self.known);
        let mut faults = self.faults();
        let changed = known.into_iter().filter(|(name, sum)| self.known.get(name) != Some(sum));
        faults.extend(changed.map(|(name, _)| format!("{name}: it is not what it was")));
        while self.known.len() > KEPT {
            if let Some((name, _)) = self.known.pop_first() {
                // Payload first, so that a power cut never leaves a payload without its manifest.
                fs::remove_file(self.backups.join(&name)).unwrap();
                File::open(&self.backups).unwrap().sync_all().unwrap();
                fs::remove_file(self.backups.join(format!("{name}.manifest.json"))).unwrap();
                self.removed.insert(name);
            }
        }
        faults
    }

    /// Creates the leftovers of killed runs: a draft, its temporary files, a manifest without its payload.
    pub fn leave_litter(&self) {
        let at = |name: &str| self.backups.join(name);
        fs::write(at(".part-000000000000000000000000"), "half").unwrap();
        fs::create_dir_all(at(".part-000000000000000000000000-scratch")).unwrap();
        fs::write(at(".part-000000000000000000000000-scratch/sqlite-copy.db"), "half").unwrap();
        fs::write(at("backup_crash_2026-01-01_00-00-00Z.dump.gz.manifest.json"), "{}").unwrap();
    }

    /// Adds a whole backup, `backup_<which>.dump.gz`.
    pub fn copy_of_a_backup(&mut self, which: &str) -> String {
        let name = format!("backup_{which}.dump.gz");
        self.known.remove(&name);
        let whole = self.known.last_key_value().unwrap().0;
        let at = |name: &str| self.backups.join(name);
        let manifest = fs::read_to_string(at(&format!("{whole}.manifest.json"))).unwrap();
        fs::write(at(&format!("{name}.manifest.json")), manifest.replace(whole, &name)).unwrap();
        fs::copy(at(whole), at(&name)).unwrap();
        name
    }

    /// Removes every file in the backup directory.
    pub fn clear(&mut self) {
        for name in names_in(&self.backups) {
            let _ = fs::remove_file(self.backups.join(name));
        }
        self.known.clear();
    }

    /// Leftovers that a restart should have removed: files that do not belong to a whole backup.
    pub fn litter(&self) -> Vec<String> {
        let mut litter = contents_of(&self.backups);
        litter.retain(|name| {
            name != "filler" && !self.known.contains_key(name.strip_suffix(".manifest.json").unwrap_or(name))
        });
        litter
    }

    fn sum_if_whole(&self, name: &str) -> Result<String, String> {
        let bytes = fs::read(self.backups.join(name)).map_err(|error| error.to_string())?;
        let manifest =
            fs::read(self.backups.join(format!("{name}.manifest.json"))).map_err(|_| "it has no manifest")?;
        let manifest: serde_json::Value =
            serde_json::from_slice(&manifest).map_err(|error| format!("its manifest is damaged: {error}"))?;
        let sum = HEXLOWER.encode(&Sha256::digest(&bytes));
        if manifest["file"] != name || manifest["payload_sha256"] != sum.as_str() {
            return Err("its sum is not its manifest's".to_owned());
        }
        let mut content = Vec::new();
        GzDecoder::new(&bytes[..])
            .read_to_end(&mut content)
            .map_err(|error| format!("it does not decompress: {error}"))?;
        let restored = tempfile::NamedTempFile::new().unwrap();
        fs::write(restored.path(), &content).unwrap();
        match manifest["backup_format"].as_str() {
            Some("pg-custom") => reads_as_archive(restored.path())?,
            _ => self.is_the_source(restored.path())?,
        }
        Ok(sum)
    }

    fn is_the_source(&self, copy: &Path) -> Result<(), String> {
        let database = Connection::open(copy).unwrap();
        let check = database.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0));
        let rows = database.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, u32>(0));
        match (check, rows) {
            (Ok(check), Ok(rows)) if check == "ok" && rows == self.rows => Ok(()),
            other => Err(format!("the database in it is damaged: {other:?}")),
        }
    }
}

/// Reads the whole archive with `pg_restore`.
fn reads_as_archive(archive: &Path) -> Result<(), String> {
    let read = Command::new("pg_restore").args(["-f", "/dev/null"]).arg(archive).output().unwrap();
    read.status.success().then_some(()).ok_or_else(|| String::from_utf8_lossy(&read.stderr).into_owned())
}

impl Server {
    /// Sends a request without waiting for the response.
    pub fn send(&self, method: &str, path: &str, form: &str) -> io::Result<TcpStream> {
        let mut connection = TcpStream::connect(self.address)?;
        connection.set_read_timeout(Some(PATIENCE))?;
        // With HTTP/1.0, responses are not chunked.
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: {}\r\nCookie: {}\r\nAccept: application/json\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
            self.address,
            self.cookie,
            form.len()
        );
        connection.write_all(head.as_bytes())?;
        Ok(connection)
    }

    /// Sends a request and waits for the response.
    pub fn ask(&self, method: &str, path: &str, form: &str) -> Result<Reply, String> {
        let connection = self.send(method, path, form).map_err(|error| error.to_string())?;
        answer(connection).ok_or_else(|| format!("{path} was not answered"))
    }

    /// Starts a backup. Returns the job's id or the refusal.
    pub fn create(&self, database: &str) -> Result<JobId, String> {
        let answer = self.ask("POST", "/api/create_backup", &format!("database={database}"))?;
        answer.job().ok_or_else(|| answer.text())
    }

    /// Waits until a job has ended.
    pub fn ended(&self, id: JobId) -> Result<JobView, String> {
        let deadline = Instant::now() + 2 * PATIENCE;
        while Instant::now() < deadline {
            let job = self.history()?.into_iter().find(|job| job.id == id);
            match job {
                Some(job) if !job.state.is_active() => return Ok(job),
                Some(_) => thread::sleep(Duration::from_millis(5)),
                None => return Err(format!("job {id} is not in the history")),
            }
        }
        Err(format!("job {id} did not end"))
    }

    /// The jobs as the page shows them.
    pub fn history(&self) -> Result<Vec<JobView>, String> {
        let answer = self.ask("GET", "/api/job_history", "")?;
        serde_json::from_slice(&answer.body).map_err(|_| answer.text())
    }

    /// Kills a program that strace started, which would outlive strace.
    pub fn end_under_strace(&mut self) {
        let strace = self.child.id();
        let children = fs::read_to_string(format!("/proc/{strace}/task/{strace}/children"));
        for child in children.unwrap_or_default().split_whitespace() {
            kill(child.as_ref());
        }
        let _ = self.child.wait();
    }
}

/// Reads responses of the API.
impl Reply {
    /// The id of the started job, if any.
    pub fn job(&self) -> Option<JobId> {
        (self.status == 200).then(|| serde_json::from_slice(&self.body).ok()).flatten()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        format!("{} {}", self.status, String::from_utf8_lossy(&self.body))
    }
}

/// Reads a response to its end; `None` if it is incomplete.
pub fn answer(mut connection: TcpStream) -> Option<Reply> {
    let mut bytes = Vec::new();
    connection.read_to_end(&mut bytes).ok()?;
    reply_of(&bytes).filter(Reply::is_whole)
}

/// The printed file name, or the exit status and the output.
pub fn told(output: &std::process::Output) -> Result<String, String> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim()))
}

/// Whether a name is that of a backup.
pub fn is_listed(name: &str) -> bool {
    name.starts_with("backup_") && name.ends_with(".dump.gz")
}

/// The names in a directory; none if it does not exist.
pub fn names_in(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// The dump tools whose environment contains `ours`.
pub fn dump_tools(ours: &str) -> Vec<String> {
    let has_ours = |pid: &String| {
        let read = |what: &str| fs::read(format!("/proc/{pid}/{what}")).unwrap_or_default();
        let environment = read("environ");
        environment.windows(ours.len()).any(|part| part == ours.as_bytes())
            && environment.windows(11).any(|part| part == b"PGPASSFILE=")
    };
    let processes = names_in("/proc".as_ref()).into_iter();
    processes.filter(|name| name.bytes().all(|b| b.is_ascii_digit())).filter(has_ours).collect()
}

/// A little more than the shortest of three runs takes, so that random kills also hit the last moment.
pub fn duration(mut run: impl FnMut()) -> Duration {
    let timed = |_| {
        let begun = Instant::now();
        run();
        begun.elapsed()
    };
    (0..3).map(timed).min().unwrap().mul_f64(1.1)
}
