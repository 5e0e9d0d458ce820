//! PostgreSQL: the server's own `pg_dump`, given nothing secret on its command line, believed only when
//! its exit status and its archive agree.

use super::archive::{Checker, Verdict};
use super::child::{self, Child, End, Launch, redact};
use super::target::Server;
use super::{Cancel, Dump, Engine, Probe};
use crate::model::{DatabaseName, EngineKind, human};
use crate::vault::egress::{Checked, Policy, Refusal};
use crate::vault::error::{Result, VaultError};
use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};
use postgres_openssl::MakeTlsConnector;
use rustix::fs::{FlockOperation, flock};
use secrecy::{ExposeSecret, SecretString};
use std::error::Error as _;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;

/// The longest a question to the server takes, from the connection to the answer.
const ANSWER: Duration = Duration::from_secs(10);
/// What `pg_dump` would stop at: tables and sequences without the right to read them, and tables whose rows
/// a policy hides, which it refuses to leave out.
const CLOSED: &str = "SELECT count(*), min(format('%I.%I', n.nspname, c.relname))
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'S') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
      AND (NOT has_schema_privilege(n.oid, 'USAGE') OR NOT has_table_privilege(c.oid, 'SELECT')
           OR row_security_active(c.oid))";
/// How often the wait for it looks up to see whether it was cancelled.
const GLANCE: Duration = Duration::from_millis(200);
/// The longest a tool takes to say its version.
const VERSION: Duration = Duration::from_secs(10);
/// How long a tool may do nothing before it counts as hung. Reading the catalogue of a database with very
/// many tables is silent for minutes.
const STALL: Duration = Duration::from_mins(10);
/// The first of each version whose tools do what an archive says in restricted mode only, without a hole in it.
const REPAIRED: [(u32, u32); 5] = [(14, 24), (15, 19), (16, 15), (17, 11), (18, 6)];
/// Where Debian keeps the tools of each version.
const VERSIONS: &str = "/usr/lib/postgresql";
/// What the names of password files begin with.
const PASSFILE: &str = "pgpass-";

/// Where PostgreSQL's tools are and where their passwords may lie.
#[derive(Debug, Clone)]
pub struct PostgresTools {
    /// The directory of the tools, where the operator gave one; no other is then looked in.
    pub bin_dir: Option<PathBuf>,
    /// A directory for password files, best in memory; made and closed to others when it is used.
    pub run_dir: PathBuf,
    /// The `PATH` to look for tools in.
    pub path: OsString,
    /// How long a tool may do nothing before it is ended as hung.
    pub stall: Duration,
    /// Which addresses they, and Holdfast itself, connect to.
    pub egress: Policy,
}

impl PostgresTools {
    /// Tools found in `bin_dir` or `path`, with the usual patience and policy.
    pub fn new(bin_dir: Option<PathBuf>, run_dir: PathBuf, path: OsString) -> Self {
        Self { bin_dir, run_dir, path, stall: STALL, egress: Policy::default() }
    }

    /// Removes the password files of runs that were killed; those of living ones are locked and stay.
    pub fn sweep_run_dir(&self) -> Result<()> {
        let failed = |error| VaultError::file("Clearing", &self.run_dir, error);
        let entries = match fs::read_dir(&self.run_dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(failed)?,
        };
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let ours = entry.file_name().as_encoded_bytes().starts_with(PASSFILE.as_bytes());
            if ours && entry.file_type().map_err(failed)?.is_file() {
                let file = File::open(entry.path()).map_err(failed)?;
                if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
                    fs::remove_file(entry.path()).map_err(failed)?;
                }
            }
        }
        Ok(())
    }

    /// Finds one of PostgreSQL's tools, such as `pg_dump`. Debian's own in the `PATH` are a Perl script that
    /// chooses a version by files in the user's home; the newest version is taken instead, since a newer
    /// `pg_dump` reads older servers and an older one does not read newer.
    pub fn find(&self, tool: &str) -> Result<PathBuf> {
        let missing = |why: String| VaultError::Tool { message: why, detail: None };
        if let Some(bin_dir) = &self.bin_dir {
            let file = std::path::absolute(bin_dir).unwrap_or_else(|_| bin_dir.clone()).join(tool);
            return match file {
                file if child::is_executable(&file) => Ok(file),
                file if file.exists() => Err(missing(format!(
                    "{} is there but cannot be executed by this user. Make it executable, or correct the \
                     directory of PostgreSQL's tools.",
                    file.display()
                ))),
                file => Err(missing(format!(
                    "There is no {}. Install it (apt-get install postgresql-client), or correct the directory \
                     of PostgreSQL's tools.",
                    file.display()
                ))),
            };
        }
        let wrapped = |file: &Path| fs::canonicalize(file).is_ok_and(|real| real.ends_with("pg_wrapper"));
        child::find(OsStr::new(tool), &self.path)
            .filter(|file| !wrapped(file))
            .or_else(|| newest(Path::new(VERSIONS), tool))
            .ok_or_else(|| {
                let work = if tool == "pg_restore" { "checked or restored" } else { "backed up" };
                missing(format!(
                    "{tool} is not installed, and PostgreSQL databases cannot be {work} without it. Install \
                     it: apt-get install postgresql-client."
                ))
            })
    }

    /// Warns of tools that are older than the repair of a fault which a hostile server or archive could use. What is
    /// missing is told where it is needed.
    pub(in crate::vault) fn warn_of_faults(&self) {
        for tool in ["pg_dump", "pg_restore"] {
            let version = self.find(tool).and_then(|tool| self.version_of(&tool, &Cancel::default()));
            if let Ok(version) = version
                && let Some(update) = version.update()
            {
                tracing::warn!(
                    tool,
                    version = version.text,
                    "it has known faults that a hostile database could use: update it to {update}"
                );
            }
        }
    }

    /// Which version the tool says it is.
    pub(in crate::vault) fn version_of(&self, tool: &Path, cancel: &Cancel) -> Result<Version> {
        let launch = Launch {
            program: tool,
            args: &["--version"],
            env: environment(tool),
            path: &self.path,
            fed: false,
            stall: VERSION.min(self.stall),
            secrets: Vec::new(),
        };
        let mut child = Child::spawn(launch, cancel).map_err(|error| not_started(tool, &error))?;
        let mut line = Vec::new();
        let began = Instant::now();
        let mut buffer = [0; 256];
        while let Ok(read @ 1..) = child.read(&mut buffer) {
            line.extend_from_slice(&buffer[..read]);
            if line.len() > 1024 || began.elapsed() > VERSION {
                break;
            }
        }
        let line = String::from_utf8_lossy(&line).into_owned();
        let detail = match child.finish() {
            End::Exited(status, _) if status.success() => match Version::of_tool(&line) {
                Some(version) => return Ok(version),
                None => redact(&line, &[]),
            },
            End::Exited(_, words) | End::Hung(words) => words,
            End::Cancelled => return Err(VaultError::Cancelled),
            End::Unread => String::new(),
        };
        Err(VaultError::Tool {
            message: format!(
                "{} does not say which version it is, so it is not a working {}. Install it afresh: \
                 apt-get install --reinstall postgresql-client.",
                tool.display(),
                tool.file_name().unwrap_or_default().display(),
            ),
            detail: some(detail),
        })
    }
}

/// The tool of the highest version below `versions`.
fn newest(versions: &Path, tool: &str) -> Option<PathBuf> {
    fs::read_dir(versions)
        .ok()?
        .flatten()
        .filter_map(|entry| {
            let version = Version::parse(entry.file_name().to_str()?)?;
            let file = entry.path().join("bin").join(tool);
            child::is_executable(&file).then_some((version.major, file))
        })
        .max()
        .map(|(_, file)| file)
}

/// A version of PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::vault) struct Version {
    /// As it is written: `15.18`, `17beta1`.
    pub text: String,
    /// 15 is 1500 and 9.6 is 906: before 10 the second number was of the same weight.
    pub major: u32,
}

impl Version {
    /// Reads `15.18 (Debian 15.18-0+deb12u1)`, what follows the number being left out.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.split_whitespace().next()?;
        let mut numbers = text.split(|c: char| !c.is_ascii_digit());
        let first: u32 = numbers.next()?.parse().ok()?;
        let second: u32 = numbers.next().and_then(|second| second.parse().ok()).unwrap_or(0);
        let major = if first < 10 { first * 100 + second.min(99) } else { first.checked_mul(100)? };
        Some(Self { text: text.to_owned(), major })
    }

    /// What to update to, where this one is older than the repair of a known fault.
    fn update(&self) -> Option<String> {
        let mut numbers = self.text.split(|c: char| !c.is_ascii_digit()).map_while(|part| part.parse().ok());
        let (major, minor): (u32, u32) = (numbers.next()?, numbers.next().unwrap_or(0));
        match REPAIRED.iter().find(|(of, _)| *of == major) {
            Some((_, repaired)) => (minor < *repaired).then(|| format!("{major}.{repaired} or later")),
            None => (major < REPAIRED[0].0).then(|| "a version that is still repaired".to_owned()),
        }
    }

    /// Of `pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`.
    fn of_tool(line: &str) -> Option<Self> {
        Self::parse(line.split_once("(PostgreSQL) ")?.1)
    }
}

/// A database on a PostgreSQL server.
#[derive(Clone)]
pub struct Postgres {
    name: DatabaseName,
    server: Server,
    tools: PostgresTools,
    /// Where its URL is set, for the advice to correct it there.
    setting: &'static str,
}

/// What the server says of itself.
struct Answer {
    version: Version,
    size: u64,
    closed: Closed,
}

/// The tables and sequences a dump would fail on, since the role may not read all of them.
struct Closed {
    tables: i64,
    example: Option<String>,
}

impl Closed {
    /// A sentence with the remedy; nothing where all can be read.
    fn warning(&self, user: &str) -> Option<String> {
        let example = self.example.as_ref()?;
        let tables = human::count(self.tables.unsigned_abs(), "table");
        Some(format!(
            "the role {user} may not read {tables} of it, such as {example}, so a backup would fail. Let its \
             owner or a superuser run: GRANT pg_read_all_data TO \"{user}\"; and, where row-level security hides \
             rows: ALTER ROLE \"{user}\" BYPASSRLS;"
        ))
    }
}

impl Postgres {
    /// The database the operator calls `name`, on `server`.
    pub fn new(name: DatabaseName, server: Server, tools: PostgresTools) -> Self {
        Self { name, server, tools, setting: "HOLDFAST_DATABASES" }
    }

    /// The same role on the same server, in `database`, its URL being set in `setting`.
    pub(in crate::vault) fn elsewhere(&self, database: &str, setting: &'static str) -> Self {
        let server = Server { database: database.to_owned(), ..self.server.clone() };
        Self { server, setting, ..self.clone() }
    }

    /// Finds `pg_dump` and makes sure that it can read a server of that version.
    fn dump_tool(&self, server: &Version, cancel: &Cancel) -> Result<PathBuf> {
        let tool = self.tools.find("pg_dump")?;
        let version = self.tools.version_of(&tool, cancel)?;
        if version.major >= server.major {
            return Ok(tool);
        }
        let (ours, theirs) = (&version.text, &server.text);
        let wanted = server.major / 100;
        Err(VaultError::Tool {
            message: format!(
                "pg_dump {ours} is older than the server of {}, PostgreSQL {theirs}, and cannot read it. Install \
                 version {wanted} or newer: apt-get install postgresql-client-{wanted}.",
                self.name
            ),
            detail: None,
        })
    }

    /// What must appear in no message.
    pub(in crate::vault) fn secrets(&self) -> Vec<SecretString> {
        self.server.password.clone().into_iter().collect()
    }

    /// Looks the server up and makes sure that it may be connected to. All of one piece of work, this program's
    /// part and the tools', goes by one such answer.
    pub(in crate::vault) fn way(&self, timeout: Duration, cancel: &Cancel) -> Result<Checked> {
        let Server { host, port, .. } = &self.server;
        if host.starts_with('/') {
            return Ok(Checked::local());
        }
        self.tools.egress.check(host, *port, timeout, cancel).map_err(|refusal| match refusal {
            Refusal::Cancelled => VaultError::Cancelled,
            refusal => VaultError::Unreachable {
                database: self.name.clone(),
                reason: redact(&refusal.to_string(), &self.secrets()),
            },
        })
    }

    /// Asks the server itself. Gives the way there, too. Blocks for [`ANSWER`] at the most.
    fn ask(&self, cancel: &Cancel) -> Result<(Answer, Checked)> {
        let began = Instant::now();
        let way = self.way(ANSWER, cancel)?;
        let left = ANSWER.saturating_sub(began.elapsed());
        let unreachable = |reason: String| VaultError::Unreachable {
            database: self.name.clone(),
            reason: redact(&reason, &self.secrets()),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| unreachable(format!("no thread could be prepared to ask: {error}.")))?;
        let cancelled = async {
            while !cancel.is_cancelled() {
                tokio::time::sleep(GLANCE).await;
            }
        };
        let answer = runtime.block_on(async {
            tokio::select! {
                answer = tokio::time::timeout(left, self.converse(&way)) => Some(answer),
                () = cancelled => None,
            }
        });
        let Some(answer) = answer else { return Err(VaultError::Cancelled) };
        match answer {
            Ok(Ok(answer)) => {
                let answer =
                    answer.ok_or_else(|| unreachable("the server does not say its version.".into()))?;
                Ok((answer, way))
            }
            Ok(Err(error)) => Err(unreachable(self.explain(&error))),
            Err(_) => Err(unreachable(format!(
                "{} did not answer within {} seconds. Check host and port, and whether a firewall drops the \
                 connection.",
                self.place(),
                ANSWER.as_secs()
            ))),
        }
    }

    /// A connection to it by the way that was checked, encrypted where the server offers that.
    pub(in crate::vault) async fn client(
        &self,
        way: &Checked,
    ) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
        match self.connect(way, SslMode::Prefer).await {
            // As libpq does with `prefer`: a server that will not have us encrypted is asked without.
            Err(error)
                if error.code() == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION)
                    || is_of_tls(&error) =>
            {
                self.connect(way, SslMode::Disable).await.map_err(|_| error)
            }
            outcome => outcome,
        }
    }

    async fn converse(&self, way: &Checked) -> Result<Option<Answer>, tokio_postgres::Error> {
        let client = self.client(way).await?;
        let row = client
            .query_one("SELECT current_setting('server_version'), pg_database_size(current_database())", &[])
            .await?;
        let (version, size): (String, i64) = (row.try_get(0)?, row.try_get(1)?);
        let closed = client.query_one(CLOSED, &[]).await?;
        let closed = Closed { tables: closed.try_get(0)?, example: closed.try_get(1)? };
        Ok(Version::parse(&version).map(|version| Answer {
            version,
            size: u64::try_from(size).unwrap_or(0),
            closed,
        }))
    }

    async fn connect(
        &self,
        way: &Checked,
        ssl: SslMode,
    ) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
        let Server { user, password, host, port, database } = &self.server;
        let mut config = tokio_postgres::Config::new();
        config.user(user).port(*port).dbname(database).application_name("holdfast").ssl_mode(ssl);
        config.options("-c statement_timeout=10s").connect_timeout(ANSWER);
        if host.starts_with('/') {
            config.host_path(host);
        }
        // The host is only what the server is called; without an address beside it, it would be looked up anew.
        for address in way.addresses() {
            config.host(host).hostaddr(address.ip());
        }
        if let Some(password) = password {
            config.password(password.expose_secret());
        }
        let Ok(mut tls) = SslConnector::builder(SslMethod::tls_client()) else {
            let (client, connection) =
                config.ssl_mode(SslMode::Disable).connect(tokio_postgres::NoTls).await?;
            tokio::spawn(connection);
            return Ok(client);
        };
        // `prefer` encrypts where the server offers it and proves nothing about who it is.
        tls.set_verify(SslVerifyMode::NONE);
        let mut tls = MakeTlsConnector::new(tls.build());
        tls.set_callback(|connection, _| {
            connection.set_verify_hostname(false);
            Ok(())
        });
        let (client, connection) = config.connect(tls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// A failed conversation in the reader's words, with the next step.
    pub(in crate::vault) fn explain(&self, error: &tokio_postgres::Error) -> String {
        let Server { user, database, host, .. } = &self.server;
        let (place, setting) = (self.place(), self.setting);
        if let Some(answer) = error.as_db_error() {
            let said = answer.message();
            return match answer.code() {
                code if *code == SqlState::INVALID_PASSWORD => format!(
                    "the server at {place} refused the password of {user}. Correct it in {setting}, \
                     special characters percent-encoded."
                ),
                code if *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION => format!(
                    "the server at {place} does not let {user} in: {said}. Check the role's name and the \
                     server's pg_hba.conf."
                ),
                code if *code == SqlState::INVALID_CATALOG_NAME => format!(
                    "the server at {place} has no database {database:?}. Correct the name in {setting}, \
                     or make the database."
                ),
                code if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
                    format!("the role {user} may not do this: {said}. Grant it CONNECT and SELECT.")
                }
                code if *code == SqlState::TOO_MANY_CONNECTIONS => format!(
                    "the server at {place} takes no more connections: {said}. Try again later, or raise \
                     max_connections."
                ),
                code if *code == SqlState::CANNOT_CONNECT_NOW => {
                    format!("the server at {place} is not ready: {said}. Try again in a moment.")
                }
                _ => format!("the server at {place} answered: {said}."),
            };
        }
        let causes = || std::iter::successors(error.source(), |&cause| cause.source());
        let cause = causes().last();
        let system = causes().find_map(|cause| cause.downcast_ref::<io::Error>());
        match system.map(io::Error::kind) {
            Some(io::ErrorKind::ConnectionRefused) => {
                format!("nothing listens at {place}. Start PostgreSQL, or correct host and port.")
            }
            Some(io::ErrorKind::NotFound) if host.starts_with('/') => format!(
                "there is no PostgreSQL socket in {host} for port {}. Start PostgreSQL, or correct the \
                 directory.",
                self.server.port
            ),
            Some(io::ErrorKind::PermissionDenied) => {
                format!(
                    "this user may not use the PostgreSQL socket in {host}. Give it access to the directory."
                )
            }
            _ if self.server.password.is_none() && error.to_string().contains("configuration") => format!(
                "the server at {place} asks for the password of {user}, and none is set. Put it into \
                 {setting}: postgres://{user}:password@…"
            ),
            _ => match cause {
                Some(cause) => format!("{place} cannot be used ({error}: {cause}). Check host and port."),
                None => format!("{place} cannot be used ({error}). Check host and port."),
            },
        }
    }

    /// What a failed conversation means for whoever wanted this database.
    pub(in crate::vault) fn unreachable(&self, error: &tokio_postgres::Error) -> VaultError {
        let reason = redact(&self.explain(error), &self.secrets());
        VaultError::Unreachable { database: self.name.clone(), reason }
    }

    /// Its password for one of the tools.
    pub(in crate::vault) fn passfile(&self) -> Result<Passfile> {
        Passfile::new(&self.tools.run_dir, &self.server)
    }

    /// The environment in which one of the tools connects to this database, by the way that was checked.
    pub(in crate::vault) fn environment(
        &self,
        tool: &Path,
        passfile: &Passfile,
        way: &Checked,
    ) -> Vec<(&'static str, OsString)> {
        let Server { user, host, port, database, .. } = &self.server;
        let mut env = environment(tool);
        // libpq takes as many names as addresses, dials the addresses and looks no name up.
        let addresses: Vec<_> = way.addresses().iter().map(|address| address.ip().to_string()).collect();
        if !addresses.is_empty() {
            env.push(("PGHOSTADDR", addresses.join(",").into()));
        }
        env.extend([
            ("PGHOST", vec![host.as_str(); addresses.len().max(1)].join(",").into()),
            ("PGPORT", port.to_string().into()),
            ("PGUSER", user.into()),
            // Unlike --dbname, never taken for a whole connection string.
            ("PGDATABASE", database.into()),
            ("PGPASSFILE", passfile.path.clone().into()),
            ("PGSSLMODE", "prefer".into()),
            ("PGGSSENCMODE", "disable".into()),
            ("PGCONNECT_TIMEOUT", "10".into()),
            ("PGAPPNAME", "holdfast".into()),
            ("PGOPTIONS", "-c statement_timeout=0 -c lock_timeout=30s".into()),
            ("PGSERVICEFILE", "/dev/null".into()),
            ("PGSYSCONFDIR", "/dev/null".into()),
        ]);
        env
    }

    fn place(&self) -> String {
        let Server { host, port, .. } = &self.server;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

impl Engine for Postgres {
    fn kind(&self) -> EngineKind {
        EngineKind::Postgresql
    }

    fn address(&self) -> String {
        self.server.to_string()
    }

    fn probe(&self) -> Result<Probe> {
        let cancel = Cancel::default();
        let (Answer { version, size, closed }, _) = self.ask(&cancel)?;
        let warning = match self.dump_tool(&version, &cancel) {
            Ok(_) => closed.warning(&self.server.user),
            Err(error) => Some(error.to_string()),
        };
        Ok(Probe { version: version.text, size, warning })
    }

    fn begin(&self, _scratch: &Path, cancel: &Cancel) -> Result<Box<dyn Dump>> {
        // Missing before unreachable: the first is said at once.
        self.tools.find("pg_dump")?;
        let (answer, way) = self.ask(cancel)?;
        if cancel.is_cancelled() {
            return Err(VaultError::Cancelled);
        }
        let tool = self.dump_tool(&answer.version, cancel)?;
        let passfile = self.passfile()?;
        let env = self.environment(&tool, &passfile, &way);
        let launch = Launch {
            program: &tool,
            args: &["--format=custom", "--compress=0", "--no-password", "--lock-wait-timeout=30000"],
            env,
            path: &self.tools.path,
            fed: false,
            stall: self.tools.stall,
            secrets: self.secrets(),
        };
        let child = Child::spawn(launch, cancel).map_err(|error| not_started(&tool, &error))?;
        Ok(Box::new(PostgresDump {
            child,
            checker: Checker::new(),
            database: self.name.clone(),
            stall: self.tools.stall,
            _passfile: passfile,
        }))
    }
}

/// `pg_dump` at work.
struct PostgresDump {
    child: Child,
    checker: Checker,
    database: DatabaseName,
    stall: Duration,
    _passfile: Passfile,
}

impl Read for PostgresDump {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.child.read(buffer)?;
        self.checker.feed(&buffer[..read]);
        Ok(read)
    }
}

impl Dump for PostgresDump {
    fn total(&self) -> Option<u64> {
        // The server knows its own pages, not the length of their text.
        None
    }

    fn finish(self: Box<Self>) -> Result<Option<String>> {
        let Self { child, checker, database, stall, _passfile } = *self;
        let failed = |what: String, words: String| {
            Err(VaultError::Tool {
                message: format!("The backup of {database} failed: {what}"),
                detail: some(words),
            })
        };
        let (status, words) = match child.finish() {
            End::Exited(status, words) => (status, words),
            End::Cancelled => return Err(VaultError::Cancelled),
            End::Unread => {
                return failed("the output of pg_dump was not read to its end.".into(), String::new());
            }
            End::Hung(words) => {
                let what = format!(
                    "pg_dump did nothing for {} and was ended. Look for long locks on the database or a broken \
                     connection, and try again.",
                    span(stall)
                );
                return failed(what, words);
            }
        };
        if let Some(signal) = status.signal() {
            let hint = if signal == 9 { " The machine may be short of memory." } else { "" };
            return failed(format!("pg_dump was killed by signal {signal}.{hint} Try again."), words);
        }
        if !status.success() {
            let code = status.code().unwrap_or(-1);
            return failed(format!("pg_dump ended with status {code}. Its own words say why."), words);
        }
        match checker.verdict() {
            Verdict::Whole => Ok(some(words)),
            Verdict::Unknown(version) => {
                let note = format!(
                    "The archive is of version {version}, which this Holdfast cannot follow, so only the exit \
                     status of pg_dump says that it is whole."
                );
                Ok(some(format!("{note}\n{words}").trim_end().to_owned()))
            }
            Verdict::Empty => failed("pg_dump ended without an archive: it wrote nothing.".into(), words),
            Verdict::NotAnArchive => {
                failed("pg_dump ended without an archive: what it wrote is something else.".into(), words)
            }
            Verdict::Broken(how) => failed(
                format!("pg_dump reported success, but its archive is incomplete: {how}. Try again."),
                words,
            ),
        }
    }
}

/// The environment of any of the tools, to begin with.
pub(in crate::vault) fn environment(tool: &Path) -> Vec<(&'static str, OsString)> {
    let mut path = tool.parent().unwrap_or(Path::new("/usr/bin")).as_os_str().to_owned();
    path.push(":/usr/bin:/bin");
    vec![("PATH", path), ("LC_ALL", "C.UTF-8".into())]
}

pub(in crate::vault) fn not_started(tool: &Path, error: &io::Error) -> VaultError {
    VaultError::Tool { message: format!("{} could not be started: {error}.", tool.display()), detail: None }
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn span(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ ..120 => format!("{seconds} seconds"),
        seconds => format!("{} minutes", seconds / 60),
    }
}

fn is_of_tls(error: &tokio_postgres::Error) -> bool {
    error.as_db_error().is_none() && error.to_string().contains("TLS")
}

/// A password for libpq alone: in a file only this user can read, gone when this is dropped.
pub(in crate::vault) struct Passfile {
    path: PathBuf,
    /// Locked as long as it is in use, so that a sweep knows.
    _lock: File,
}

impl Passfile {
    fn new(run_dir: &Path, server: &Server) -> Result<Self> {
        let unusable =
            |source| VaultError::Directory { role: "run directory", path: run_dir.to_owned(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(run_dir).map_err(unusable)?;
        if fs::metadata(run_dir).map_err(unusable)?.mode() & 0o077 != 0 {
            fs::set_permissions(run_dir, Permissions::from_mode(0o700)).map_err(unusable)?;
        }
        loop {
            let path = run_dir.join(format!("{PASSFILE}{:016x}", random()?));
            let failed = |error| VaultError::file("Writing", &path, error);
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
            let passfile = Self { path: path.clone(), _lock: file.try_clone().map_err(failed)? };
            flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|error| failed(error.into()))?;
            let found = file.metadata().map_err(failed)?;
            if found.nlink() == 0 {
                // Swept in the instant before it was locked.
                continue;
            }
            // libpq ignores a file that others can read, and would then fail with a riddle.
            if found.mode() & 0o077 != 0 {
                let error = io::Error::other("this file system does not keep files private");
                return Err(VaultError::File { doing: "Writing", path, source: error });
            }
            file.write_all(passlines(server).expose_secret().as_bytes()).map_err(failed)?;
            return Ok(passfile);
        }
    }
}

impl Drop for Passfile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, path = %self.path.display(), "a password file could not be removed");
        }
    }
}

/// The lines of the password file: none without a password. They name the server and the database exactly,
/// so that a client that was led elsewhere has no password to give.
fn passlines(server: &Server) -> SecretString {
    let Server { user, password, host, port, database } = server;
    let Some(password) = password else { return SecretString::default() };
    let escape = |field: &str| field.replace('\\', "\\\\").replace(':', "\\:");
    // libpq looks its default socket directory up as `localhost`.
    let hosts = [Some(host.as_str()), host.starts_with('/').then_some("localhost")];
    let mut lines = String::new();
    for host in hosts.into_iter().flatten() {
        let fields = [host, &port.to_string(), database, user, password.expose_secret()].map(escape);
        lines += &fields.join(":");
        lines.push('\n');
    }
    lines.into()
}

fn random() -> Result<u64> {
    getrandom::u64()
        .map_err(|error| VaultError::Refused(format!("The system gave no random number: {error}.")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(host: &str, password: &str) -> Server {
        Server {
            user: "u:\\".into(),
            password: Some(password.into()),
            host: host.into(),
            port: 5432,
            database: "d".into(),
        }
    }

    #[test]
    fn a_password_line_names_one_server_and_escapes_its_separators() {
        let lines = |host, password| passlines(&server(host, password)).expose_secret().to_owned();
        assert_eq!(lines("::1", "a:b\\c"), "\\:\\:1:5432:d:u\\:\\\\:a\\:b\\\\c\n");
        assert_eq!(
            lines("/run/postgresql", "x"),
            "/run/postgresql:5432:d:u\\:\\\\:x\nlocalhost:5432:d:u\\:\\\\:x\n"
        );
        assert_eq!(passlines(&Server { password: None, ..server("h", "") }).expose_secret(), "");
    }

    #[test]
    fn a_password_file_is_private_and_goes_with_its_owner() {
        let home = tempfile::tempdir().unwrap();
        let tools = PostgresTools::new(None, home.path().join("deep/run"), OsString::new());
        let dir = &tools.run_dir;
        tools.sweep_run_dir().unwrap();
        let passfile = Passfile::new(dir, &server("h", "x")).unwrap();
        assert_eq!(fs::metadata(dir).unwrap().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(&passfile.path).unwrap().mode() & 0o777, 0o600);
        fs::write(dir.join("pgpass-of-the-dead"), "x").unwrap();
        fs::write(dir.join("other"), "x").unwrap();
        tools.sweep_run_dir().unwrap();
        assert!(
            passfile.path.exists() && dir.join("other").exists() && !dir.join("pgpass-of-the-dead").exists()
        );
        drop(passfile);
        assert_eq!(fs::read_dir(dir).unwrap().count(), 1);
        fs::set_permissions(dir, Permissions::from_mode(0o755)).unwrap();
        Passfile::new(dir, &server("h", "x")).unwrap();
        assert_eq!(fs::metadata(dir).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn versions_compare_by_what_counts() {
        let major = |text| Version::parse(text).map(|version| version.major);
        assert_eq!([major("15.18"), major("9.6.24"), major("17beta1")], [Some(1500), Some(906), Some(1700)]);
        assert_eq!([major("10.1"), major(""), major("x")], [Some(1000), None, None]);
        let tool = |line| Version::of_tool(line).map(|version| version.text);
        assert_eq!(tool("pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n").as_deref(), Some("15.18"));
        assert_eq!(tool("pg_dump (PostgreSQL) 18devel\n").as_deref(), Some("18devel"));
        assert_eq!(tool("hello"), None);
    }

    #[test]
    fn a_version_with_known_faults_is_told_what_to_become() {
        let update = |text: &str| Version::parse(text).unwrap().update();
        for (old, new) in
            [("14.23", "14.24"), ("15.18", "15.19"), ("17beta1", "17.11"), ("18.5", "18.6"), ("18", "18.6")]
        {
            assert_eq!(update(old), Some(format!("{new} or later")), "{old}");
        }
        for old in ["9.6.24", "13.23"] {
            assert!(update(old).unwrap().contains("still repaired"), "{old}");
        }
        for good in ["14.24", "15.19", "16.15", "16.20", "17.11", "18.6", "19beta1", "20.1"] {
            assert_eq!(update(good), None, "{good}");
        }
    }

    #[test]
    fn the_newest_installed_tool_is_found() {
        let versions = tempfile::tempdir().unwrap();
        for version in ["9.6", "10", "9.10", "extra", "16"] {
            let bin = versions.path().join(version).join("bin");
            fs::create_dir_all(&bin).unwrap();
            fs::write(bin.join("pg_dump"), "").unwrap();
            let mode = if version == "16" { 0o644 } else { 0o755 };
            fs::set_permissions(bin.join("pg_dump"), Permissions::from_mode(mode)).unwrap();
        }
        assert_eq!(newest(versions.path(), "pg_dump"), Some(versions.path().join("10/bin/pg_dump")));
        assert_eq!(newest(versions.path(), "pg_restore"), None);
        assert_eq!(newest(Path::new("/nonexistent"), "pg_dump"), None);
    }

    #[test]
    fn a_missing_tool_is_named_with_its_remedy() {
        let empty = tempfile::tempdir().unwrap();
        let tools = PostgresTools::new(Some(empty.path().into()), empty.path().into(), OsString::new());
        let said = tools.find("pg_dump").unwrap_err().to_string();
        assert!(said.contains("pg_dump") && said.contains("apt-get install postgresql-client"), "{said}");
        fs::write(empty.path().join("pg_dump"), "").unwrap();
        let said = tools.find("pg_dump").unwrap_err().to_string();
        assert!(said.contains("cannot be executed"), "{said}");
    }

    #[test]
    fn debians_wrapper_is_passed_over() {
        let home = tempfile::tempdir().unwrap();
        let wrapper = home.path().join("pg_wrapper");
        fs::write(&wrapper, "").unwrap();
        fs::set_permissions(&wrapper, Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink(&wrapper, home.path().join("pg_dump")).unwrap();
        let tools = PostgresTools::new(None, home.path().into(), home.path().into());
        if let Ok(found) = tools.find("pg_dump") {
            assert!(found.starts_with(VERSIONS), "{}", found.display());
        }
    }
}
