//! One PostgreSQL database, and what Holdfast asks its server before a backup.

use crate::domain::engines::postgres::fault;
use crate::domain::engines::postgres::origin::Origin;
use crate::domain::engines::postgres::passfile::escaped;
use crate::domain::engines::postgres::server::Server;
use crate::domain::engines::postgres::tools::{PostgresTools, Version};
use crate::domain::engines::postgres::way::Way;
use crate::domain::engines::process::redact;
use crate::domain::error::{Error, Result};
use crate::domain::jobs::cancel::Cancel;
use crate::model::{DatabaseName, human};
use secrecy::{ExposeSecret, SecretString};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio_postgres::Client;

/// The time limit for asking the server, from connecting to the answer.
pub(super) const ANSWER: Duration = Duration::from_secs(10);
/// What makes `pg_dump` fail: tables and sequences that the role may not read, and tables with a row-level
/// security policy that hides rows, which `pg_dump` refuses to leave out.
const CLOSED: &str = "SELECT count(*), min(format('%I.%I', n.nspname, c.relname))
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'S') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
      AND (NOT has_schema_privilege(n.oid, 'USAGE') OR NOT has_table_privilege(c.oid, 'SELECT')
           OR row_security_active(c.oid))";
/// Large objects that make `pg_dump` fail: only their owner and superusers may read them, unless granted. No
/// predefined role may read them all.
const CLOSED_OBJECTS: &str = "SELECT count(*), min(oid::text) FROM pg_largeobject_metadata m
    WHERE NOT pg_has_role(lomowner, 'USAGE')
      AND NOT EXISTS (SELECT FROM aclexplode(lomacl) a WHERE a.privilege_type = 'SELECT'
                      AND (a.grantee = 0 OR pg_has_role(a.grantee, 'USAGE')))";
/// How often a waiting thread checks whether it was cancelled.
const GLANCE: Duration = Duration::from_millis(200);

/// A database on a PostgreSQL server.
#[derive(Clone)]
pub struct Postgres {
    pub(super) name: DatabaseName,
    pub(super) server: Server,
    pub(super) tools: PostgresTools,
    /// The setting that holds its URL, named in advice to correct it.
    pub(super) setting: &'static str,
}

/// The server's answers.
pub(super) struct Answer {
    pub version: Version,
    pub size: u64,
    pub closed: Closed,
    /// The database's properties apart from its content, if the server gave them in time.
    pub origin: Option<Origin>,
}

/// Tables, sequences and large objects that the role may not read, so a dump would fail.
pub(super) struct Closed {
    tables: i64,
    example: Option<String>,
    objects: i64,
    object: Option<String>,
}

impl Closed {
    /// A warning with the remedy; `None` if everything can be read.
    pub fn warning(&self, user: &str) -> Option<String> {
        let tables = self.example.as_ref().map(|example| {
            let tables = human::count(self.tables.unsigned_abs(), "table");
            format!(
                "the role {user} may not read {tables} in it, such as {example}, so a backup would fail. \
                 Ask the owner or a superuser to run: GRANT pg_read_all_data TO \"{user}\"; and, if \
                 row-level security hides rows: ALTER ROLE \"{user}\" BYPASSRLS;"
            )
        });
        let objects = self.object.as_ref().map(|object| {
            let objects = human::count(self.objects.unsigned_abs(), "large object");
            format!(
                "the role {user} may not read {objects} in it, so a backup would fail. Ask their owner or a \
                 superuser to run, for each: GRANT SELECT ON LARGE OBJECT {object} TO \"{user}\";"
            )
        });
        let both: Vec<_> = tables.into_iter().chain(objects).collect();
        (!both.is_empty()).then(|| both.join(" Also, "))
    }
}

impl Postgres {
    /// The database with the configured name `name` on `server`, whose URL is in the setting `setting`.
    pub fn new(name: DatabaseName, server: Server, tools: PostgresTools, setting: &'static str) -> Self {
        Self { name, server, tools, setting }
    }

    /// The same role on the same server, in `database`.
    pub(crate) fn elsewhere(&self, database: &str) -> Self {
        let server = Server { database: database.to_owned(), ..self.server.clone() };
        Self { server, ..self.clone() }
    }

    /// Finds a `pg_dump` that can dump a server of that version.
    pub(super) fn dump_tool(&self, server: &Version, cancel: &Cancel) -> Result<PathBuf> {
        let version = match self.tools.choose("pg_dump", Some(server), None, cancel)? {
            Ok((tool, _)) => return Ok(tool),
            Err(newest) => newest,
        };
        let (ours, theirs) = (&version.text, &server.text);
        let wanted = server.major / 100;
        Err(Error::Tool {
            message: format!(
                "pg_dump {ours} is older than the server of {}, PostgreSQL {theirs}, and cannot dump it. \
                 Install version {wanted} or newer: apt-get install postgresql-client-{wanted}.",
                self.name
            ),
            detail: None,
        })
    }

    /// Secrets to remove from messages: the password, plain and as a password file writes it.
    pub(crate) fn secrets(&self) -> Vec<SecretString> {
        let Some(password) = &self.server.password else { return Vec::new() };
        vec![password.clone(), escaped(password.expose_secret()).into()]
    }

    /// Asks the server for its version and the database's size and, if `recording`, for the properties that a
    /// backup records. Also returns the way to the server. Blocks for at most [`ANSWER`], unless the URL sets a
    /// timeout.
    pub(super) fn ask(&self, recording: bool, cancel: &Cancel) -> Result<(Answer, Way)> {
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
            .map_err(|error| unreachable(format!("no thread could be started to connect: {error}.")))?;
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
            // The record is optional: a backup is made without it too.
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
