//! PostgreSQL: the server's own `pg_dump`, given nothing secret on its command line, believed only when
//! its exit status and its archive agree.

pub mod archive;
mod connection;
mod fault;
mod guard;
mod origin;
pub mod parameters;
mod passfile;
mod pooler;
pub mod restore;
pub mod server;
mod tls;
mod tools;
mod way;

use crate::domain::engines::postgres::archive::{Checker, Verdict};
use crate::domain::engines::postgres::server::Server;
use crate::domain::engines::process::{Child, End, Launch, redact};
use crate::domain::engines::{Cancel, Dump, Ended, Engine, Probe};
use crate::domain::error::{Error, Result};
use crate::model::{DatabaseName, EngineKind, human};
pub(crate) use connection::KEEPALIVES;
pub(crate) use origin::{Origin, literal, quoted};
use passfile::Passfile;
use secrecy::SecretString;
use std::io::{self, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
pub(crate) use tls::look_over;
use tokio_postgres::Client;
pub use tools::PostgresTools;
pub(crate) use tools::{Version, environment, not_started};
pub(crate) use way::Way;

/// The longest a question to the server takes, from the connection to the answer.
const ANSWER: Duration = Duration::from_secs(10);
/// What `pg_dump` would stop at: tables and sequences without the right to read them, and tables whose rows
/// a policy hides, which it refuses to leave out.
const CLOSED: &str = "SELECT count(*), min(format('%I.%I', n.nspname, c.relname))
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'S') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
      AND (NOT has_schema_privilege(n.oid, 'USAGE') OR NOT has_table_privilege(c.oid, 'SELECT')
           OR row_security_active(c.oid))";
/// The large objects it would stop at: their owner's and superusers' alone, unless they were granted. No role of the
/// server's own may read them all.
const CLOSED_OBJECTS: &str = "SELECT count(*), min(oid::text) FROM pg_largeobject_metadata m
    WHERE NOT pg_has_role(lomowner, 'USAGE')
      AND NOT EXISTS (SELECT FROM aclexplode(lomacl) a WHERE a.privilege_type = 'SELECT'
                      AND (a.grantee = 0 OR pg_has_role(a.grantee, 'USAGE')))";
/// How often the wait for it looks up to see whether it was cancelled.
const GLANCE: Duration = Duration::from_millis(200);

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
    /// What the database is besides its content, as far as the server tells in time.
    origin: Option<Origin>,
}

/// The tables and sequences a dump would fail on, since the role may not read all of them.
struct Closed {
    tables: i64,
    example: Option<String>,
    objects: i64,
    object: Option<String>,
}

impl Closed {
    /// A sentence with the remedy; nothing where all can be read.
    fn warning(&self, user: &str) -> Option<String> {
        let tables = self.example.as_ref().map(|example| {
            let tables = human::count(self.tables.unsigned_abs(), "table");
            format!(
                "the role {user} may not read {tables} of it, such as {example}, so a backup would fail. Let its \
                 owner or a superuser run: GRANT pg_read_all_data TO \"{user}\"; and, where row-level security hides \
                 rows: ALTER ROLE \"{user}\" BYPASSRLS;"
            )
        });
        let objects = self.object.as_ref().map(|object| {
            let objects = human::count(self.objects.unsigned_abs(), "large object");
            format!(
                "the role {user} may not read {objects} of it, so a backup would fail. Let their owner or a superuser \
                 run, for each: GRANT SELECT ON LARGE OBJECT {object} TO \"{user}\";"
            )
        });
        let both: Vec<_> = tables.into_iter().chain(objects).collect();
        (!both.is_empty()).then(|| both.join(" Besides, "))
    }
}

impl Postgres {
    /// The database the operator calls `name`, on `server`.
    pub fn new(name: DatabaseName, server: Server, tools: PostgresTools) -> Self {
        Self { name, server, tools, setting: "HOLDFAST_DATABASES" }
    }

    /// The same role on the same server, in `database`, its URL being set in `setting`.
    pub(crate) fn elsewhere(&self, database: &str, setting: &'static str) -> Self {
        let server = Server { database: database.to_owned(), ..self.server.clone() };
        Self { server, setting, ..self.clone() }
    }

    /// Finds `pg_dump` and makes sure that it can read a server of that version.
    fn dump_tool(&self, server: &Version, cancel: &Cancel) -> Result<PathBuf> {
        let version = match self.tools.choose("pg_dump", Some(server), None, cancel)? {
            Ok((tool, _)) => return Ok(tool),
            Err(newest) => newest,
        };
        let (ours, theirs) = (&version.text, &server.text);
        let wanted = server.major / 100;
        Err(Error::Tool {
            message: format!(
                "pg_dump {ours} is older than the server of {}, PostgreSQL {theirs}, and cannot read it. Install \
                 version {wanted} or newer: apt-get install postgresql-client-{wanted}.",
                self.name
            ),
            detail: None,
        })
    }

    /// What must appear in no message.
    pub(crate) fn secrets(&self) -> Vec<SecretString> {
        self.server.password.clone().into_iter().collect()
    }

    /// Asks the server itself, and where it is for a backup's record also what the database is. Gives the way there, too. Blocks for [`ANSWER`] at the most, unless the URL says
    /// otherwise.
    fn ask(&self, recording: bool, cancel: &Cancel) -> Result<(Answer, Way)> {
        let began = Instant::now();
        let way = self.way(ANSWER, cancel)?;
        let patience = way.patience(&self.server, ANSWER);
        let left = patience.saturating_sub(began.elapsed());
        let unreachable = |reason: String| Error::Unreachable {
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
                answer = tokio::time::timeout(left, self.converse(recording, &way)) => Some(answer),
                () = cancelled => None,
            }
        });
        match answer {
            None => Err(Error::Cancelled),
            Some(Ok(answer)) => {
                let answer =
                    answer?.ok_or_else(|| unreachable("the server does not say its version.".into()))?;
                Ok((answer, way))
            }
            Some(Err(_)) => Err(unreachable(fault::late(&self.server.place(), patience))),
        }
    }

    async fn converse(&self, recording: bool, way: &Way) -> Result<Option<Answer>> {
        let client = self.client(way).await?;
        let answer = self.question(&client).await.map_err(|error| self.unreachable(&error))?;
        let Some(mut answer) = answer else { return Ok(None) };
        if recording {
            // What is recorded beside a backup never decides whether there is one.
            let origin = Origin::of_current(&client, &self.server.database);
            answer.origin = tokio::time::timeout(ANSWER / 2, origin).await.ok().flatten();
        }
        Ok(Some(answer))
    }

    async fn question(&self, client: &Client) -> Result<Option<Answer>, tokio_postgres::Error> {
        let row = client
            .query_one("SELECT current_setting('server_version'), pg_database_size(current_database())", &[])
            .await?;
        let (version, size): (String, i64) = (row.try_get(0)?, row.try_get(1)?);
        let closed = client.query_one(CLOSED, &[]).await?;
        let objects = client.query_one(CLOSED_OBJECTS, &[]).await?;
        let closed = Closed {
            tables: closed.try_get(0)?,
            example: closed.try_get(1)?,
            objects: objects.try_get(0)?,
            object: objects.try_get(1)?,
        };
        Ok(Version::parse(&version).map(|version| Answer {
            version,
            size: u64::try_from(size).unwrap_or(0),
            closed,
            origin: None,
        }))
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
        let (Answer { version, size, closed, .. }, way) = self.ask(false, &cancel)?;
        let tool = self.dump_tool(&version, &cancel).and_then(|tool| self.passfile(&tool, &way, &cancel));
        let warning = match tool {
            Ok(_) => closed.warning(&self.server.user),
            Err(error) => Some(error.to_string()),
        };
        let warnings: Vec<_> = warning.into_iter().chain(way.warning(&self.server.parameters)).collect();
        let warning = (!warnings.is_empty()).then(|| warnings.join(" Also, "));
        Ok(Probe { version: version.text, size, warning })
    }

    fn begin(&self, _scratch: &Path, cancel: &Cancel) -> Result<Box<dyn Dump>> {
        // Missing before unreachable: the first is said at once.
        self.tools.find("pg_dump")?;
        let (answer, way) = self.ask(true, cancel)?;
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let tool = self.dump_tool(&answer.version, cancel)?;
        let passfile = self.passfile(&tool, &way, cancel)?;
        if let Some(warning) = way.warning(&self.server.parameters) {
            tracing::warn!(database = %self.name, "{warning}");
        }
        let env = self.environment(&tool, &passfile, &way);
        let launch = Launch {
            program: &tool,
            args: &[
                "--format=custom",
                "--compress=0",
                "--no-password",
                "--lock-wait-timeout=30000",
                KEEPALIVES,
            ],
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
            origin: answer.origin,
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
    origin: Option<Origin>,
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

    fn finish(self: Box<Self>) -> Result<Ended> {
        let Self { child, checker, database, stall, origin, _passfile } = *self;
        let failed = |what: String, words: String| {
            Err(Error::Tool {
                message: format!("The backup of {database} failed: {what}"),
                detail: some(words),
            })
        };
        let (status, words) = match child.finish() {
            End::Exited(status, words) => (status, words),
            End::Cancelled => return Err(Error::Cancelled),
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
            let hint = hint(&words);
            return failed(format!("pg_dump ended with status {code}. Its own words say why.{hint}"), words);
        }
        match checker.verdict() {
            Verdict::Whole => Ok(Ended {
                warnings: some(words),
                origin: origin.and_then(|origin| serde_json::to_value(origin).ok()),
                counted: checker.counted(),
                ..Ended::default()
            }),
            Verdict::Unknown(version) => {
                let note = format!(
                    "The archive is of version {version}, which this Holdfast cannot follow, so only the exit \
                     status of pg_dump says that it is whole."
                );
                let warnings = some(format!("{note}\n{words}").trim_end().to_owned());
                Ok(Ended { warnings, ..Ended::default() })
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

/// What helps against the commonest of the server's refusals. They are in English where the server speaks it.
fn hint(words: &str) -> &'static str {
    let has = |sign: &str| words.contains(sign);
    if has("conflict with recovery") {
        " The server is a standby, whose replication ended the dump: raise max_standby_streaming_delay there, turn \
         hot_standby_feedback on, or back up from the primary."
    } else if has("row-level security") {
        " A policy hides rows from this role, and a backup without them would be none: let a superuser run ALTER ROLE … \
         BYPASSRLS for it, or use another role."
    } else if has("large object") && has("permission denied") {
        " Large objects can be read by their owner and superusers only: let one run GRANT SELECT ON LARGE OBJECT … TO this \
         role for each."
    } else if has("out of shared memory") {
        " The server has no room for a lock on each table: raise max_locks_per_transaction there, and restart it."
    } else if has("lock timeout") || (has("due to statement timeout") && has("LOCK TABLE")) {
        " Another session holds a lock on a table for too long: end it, or try again later."
    } else if has("due to statement timeout") {
        " The role or the database has a statement_timeout that ends pg_dump before it can lift it: raise it there."
    } else {
        ""
    }
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
