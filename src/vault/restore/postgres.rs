//! PostgreSQL backups: restored into a scratch database of a generated name, counted there, and then given the
//! target's name in one transaction. Whatever stops this in between, the target is the old one or the new one.

use super::check::{feed, restore_tool, tool_fault};
use super::content::Source;
use crate::model::Phase;
use crate::vault::dump::child::{Child, Launch, redact};
use crate::vault::dump::postgres::{KEEPALIVES, Postgres, Version, Way, not_started};
use crate::vault::dump::{Cancel, Counts, PostgresTools};
use crate::vault::error::{Result, VaultError};
use crate::vault::jobs::Progress;
use std::future::Future;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, Row};

/// What the names of scratch databases begin with; twelve of `a-z0-9` follow.
const PREFIX: &str = "holdfast_restore_";
/// The comment on a scratch database. One of such a name without it is a stranger's, and never dropped.
const MARK: &str = "A scratch database of Holdfast, half restored or replaced. It may be dropped.";
/// The longest a connection takes to come about.
const CONNECT: Duration = Duration::from_secs(12);
/// How often a wait looks up to see whether it was cancelled.
const GLANCE: Duration = Duration::from_millis(200);
/// How long `pg_restore` may do nothing: as long as the server needs for its longest index.
const STALL: Duration = Duration::from_hours(24);
/// How often a database is tried to be taken out of use.
const ATTEMPTS: u32 = 5;

/// A server to restore on.
pub struct Site<'a> {
    postgres: Postgres,
    tools: &'a PostgresTools,
    setting: &'static str,
    cancel: &'a Cancel,
    progress: &'a dyn Progress,
    /// Found once, for this and all that is done there.
    way: Way,
    /// Held to the end: by its name other runs see that our scratch database is in use.
    session: Session,
    scratch: String,
    version: Version,
    role: String,
    is_superuser: bool,
}

/// What is known of a target that is there.
pub struct Existing {
    encoding: String,
    collate: String,
    ctype: String,
    /// Of the provider ICU, where it is not the C library.
    icu: Option<String>,
    /// Bytes it takes.
    pub size: u64,
}

impl<'a> Site<'a> {
    /// Connects to the server of `postgres`, and never to that database itself, and makes sure that databases
    /// may be made there. `setting` is where its URL was given; `progress` hears of leftovers.
    pub fn open(
        postgres: &Postgres,
        database: &str,
        tools: &'a PostgresTools,
        setting: &'static str,
        cancel: &'a Cancel,
        progress: &'a dyn Progress,
    ) -> Result<Self> {
        if ["postgres", "template0", "template1"].contains(&database) {
            return Err(VaultError::Refused(format!(
                "The database {database} is one of the server's own and is not replaced. Name another in the URL."
            )));
        }
        let scratch = scratch_name()?;
        let way = postgres.way(CONNECT, cancel)?;
        let session = Session::open(&postgres.elsewhere("postgres", setting), &way, &scratch, cancel)
            .or_else(|error| {
                match error {
                    VaultError::Cancelled => Err(error),
                    // The usual database for this may be closed to the role, or gone. The first answer counts.
                    _ => Session::open(&postgres.elsewhere("template1", setting), &way, &scratch, cancel)
                        .map_err(|_| error),
                }
            })?;
        let row = session.row(
            "Asking the server for its version",
            "SELECT current_setting('server_version'), rolcreatedb OR rolsuper, rolname::text, rolsuper FROM pg_roles WHERE rolname = current_user",
            &[],
        )?;
        let version: String = row.try_get(0).unwrap_or_default();
        let version = Version::parse(&version)
            .ok_or_else(|| VaultError::Refused("The server does not say its version.".to_owned()))?;
        let role: String = row.try_get(2).unwrap_or_default();
        let is_superuser = row.try_get(3).unwrap_or(false);
        if !row.try_get::<_, bool>(1).unwrap_or(false) {
            return Err(VaultError::Refused(format!(
                "The role {role} may not make databases, and a backup is restored into a new one first. Let a \
                 superuser run: ALTER ROLE {} CREATEDB;",
                quoted(&role)
            )));
        }
        let site = Self {
            postgres: postgres.clone(),
            tools,
            setting,
            cancel,
            progress,
            way,
            session,
            scratch,
            version,
            role,
            is_superuser,
        };
        site.sweep()?;
        Ok(site)
    }

    /// The server's version.
    pub fn version(&self) -> &str {
        &self.version.text
    }

    /// The role, where it is a superuser: whatever a backup says is done with its rights.
    pub fn superuser(&self) -> Option<&str> {
        self.is_superuser.then_some(&*self.role)
    }

    /// Drops the scratch databases of runs that died, and tells of those that only look like ones.
    fn sweep(&self) -> Result<()> {
        let tell = |text: &str| self.progress.tell(text);
        let found = self.session.rows(
            "Looking for what earlier runs left",
            "SELECT d.datname::text, coalesce(shobj_description(d.oid, 'pg_database') = $1, false)
                    AND pg_has_role(d.datdba, 'USAGE')
             FROM pg_database d WHERE d.datname ~ '^holdfast_restore_[a-z0-9]{12}$'
               AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.application_name = d.datname)",
            &[&MARK],
        )?;
        for row in found {
            let name: String = row.try_get(0).unwrap_or_default();
            if row.try_get(1).unwrap_or(false) && self.drop_database(&name).is_ok() {
                tell(&format!("Dropped the scratch database {name}, which an earlier run left."));
            } else {
                tell(&format!(
                    "The database {name} has the name of a scratch database and is not known to be one that this role may drop; it stays."
                ));
            }
        }
        Ok(())
    }

    /// What there is under the target's name.
    pub fn existing(&self, database: &str) -> Result<Option<Existing>> {
        let found = self.session.rows(
            "Looking for the target",
            "SELECT pg_encoding_to_char(encoding)::text, datcollate::text, datctype::text,
                    pg_has_role(datdba, 'USAGE'),
                    CASE WHEN has_database_privilege(oid, 'CONNECT') THEN pg_database_size(oid) ELSE 0 END,
                    CASE WHEN to_jsonb(d) ->> 'datlocprovider' = 'i'
                         THEN coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale') END
             FROM pg_database d WHERE datname = $1",
            &[&database],
        )?;
        let Some(row) = found.first() else { return Ok(None) };
        if !row.try_get::<_, bool>(3).unwrap_or(false) {
            return Err(VaultError::Refused(format!(
                "The database {database:?} belongs to another role, so this one may not replace it. Use its owner \
                 in the URL."
            )));
        }
        let text = |at: usize| row.try_get(at).unwrap_or_default();
        let size: i64 = row.try_get(4).unwrap_or(0);
        Ok(Some(Existing {
            encoding: text(0),
            collate: text(1),
            ctype: text(2),
            // Under other names and not at all in other versions, hence by way of JSON.
            icu: row.try_get(5).unwrap_or_default(),
            size: size.unsigned_abs(),
        }))
    }

    /// Restores the checked file `source` into the scratch database and counts what is in it. `like` is what it
    /// is to replace; `sha256` the sum it had when it was checked. The inner error is why the server or
    /// `pg_restore` would not take it.
    pub fn fill(
        &self,
        source: &Source,
        like: Option<&Existing>,
        limit: u64,
        sha256: &str,
    ) -> Result<Result<Counts, VaultError>> {
        let beginning = source.beginning(self.cancel)?;
        let tool = restore_tool(self.tools, &beginning, self.cancel)?;
        let name = quoted(&self.scratch);
        let like = like.map_or(String::new(), |Existing { encoding, collate, ctype, icu, .. }| {
            let literal = |text: &String| format!("'{}'", text.replace('\'', "''"));
            let [encoding, collate, ctype] = [encoding, collate, ctype].map(literal);
            let icu = icu.as_ref().map(literal);
            let icu = icu.map_or(String::new(), |icu| format!(" LOCALE_PROVIDER icu ICU_LOCALE {icu}"));
            format!(" ENCODING {encoding} LC_COLLATE {collate} LC_CTYPE {ctype}{icu}")
        });
        // Not to be cancelled in between: the server would go on, and nobody would know of what it made.
        self.session
            .run("Making a scratch database", &format!("CREATE DATABASE {name} TEMPLATE template0{like}"))?;
        self.session.run("Marking it", &format!("COMMENT ON DATABASE {name} IS '{MARK}'"))?;

        let target = self.postgres.elsewhere(&self.scratch, self.setting);
        let passfile = target.passfile(&tool, &self.way, self.cancel)?;
        let launch = Launch {
            program: &tool,
            args: &[
                "--no-password",
                "--exit-on-error",
                "--single-transaction",
                "--no-owner",
                "--no-privileges",
                KEEPALIVES,
            ],
            env: target.environment(&tool, &passfile, &self.way),
            path: &self.tools.path,
            fed: true,
            stall: STALL,
            secrets: target.secrets(),
        };
        let mut child = Child::spawn(launch, self.cancel).map_err(|error| not_started(&tool, &error))?;
        self.progress.phase(Phase::Restoring);
        let mut content = source.read(limit, self.cancel, self.progress);
        feed(&mut content, &mut child, &tool, |_| ())?;
        let end = child.finish();
        drop(passfile);
        let sums = content.finish()?;
        if let Some(fault) = tool_fault(end)? {
            let made_on = crate::vault::dump::archive::origin(&beginning)
                .map(|(server, _)| format!(" The backup was made of PostgreSQL {server}."))
                .unwrap_or_default();
            return Ok(Err(VaultError::Tool {
                message: format!(
                    "The backup could not be restored on this server, PostgreSQL {}, and nothing was \
                     changed.{made_on}",
                    self.version.text
                ),
                detail: Some(fault),
            }));
        }
        if sums.sha256 != sha256 || sums.fault.is_some() {
            return Err(VaultError::Refused(format!(
                "{} was changed while it was restored, so nothing was put into place. Try again.",
                source.path.display()
            )));
        }
        self.count(&target).map(Ok)
    }

    fn count(&self, scratch: &Postgres) -> Result<Counts> {
        let session = Session::open(scratch, &self.way, &self.scratch, self.cancel)?;
        let questions = session.rows(
            "Counting rows",
            "SELECT format('SELECT count(*) FROM ONLY %I.%I', n.nspname, c.relname)
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'",
            &[],
        )?;
        let mut counts = Counts { tables: 0, rows: 0 };
        for question in questions {
            let question: String = question.try_get(0).unwrap_or_default();
            let answer = session.wait(async {
                tokio::select! {
                    answer = session.client.query_one(&question, &[]) => Some(answer),
                    // The server would count on; it is stopped when the scratch database is dropped.
                    () = cancelled(self.cancel) => None,
                }
            });
            let row = answer.ok_or(VaultError::Cancelled)?;
            let row = row.map_err(|error| session.failed("Counting rows", &error))?;
            counts.tables += 1;
            counts.rows += row.try_get::<_, i64>(0).unwrap_or(0).unsigned_abs();
        }
        Ok(counts)
    }

    /// Gives the scratch database the target's name, where nothing has it.
    pub fn put_new(&self, database: &str) -> Result<()> {
        let (scratch, target) = (quoted(&self.scratch), quoted(database));
        let renamed = self.session.wait(self.session.client.batch_execute(&format!(
            "BEGIN; ALTER DATABASE {scratch} RENAME TO {target}; COMMENT ON DATABASE {target} IS NULL; COMMIT"
        )));
        renamed.map_err(|error| match error.code() {
            Some(&SqlState::DUPLICATE_DATABASE) => VaultError::Refused(format!(
                "The database {database:?} came to be while the backup was restored, and was not replaced. Look \
                 at it, and use --overwrite if it is to go."
            )),
            _ => self.session.failed("Naming the restored database", &error),
        })
    }

    /// Puts the scratch database into the target's place, in one transaction, and drops the old one. Whoever
    /// is connected to the old one is disconnected.
    pub fn put_over(&self, database: &str) -> Result<()> {
        let away = scratch_name()?;
        let (scratch, target, old) = (quoted(&self.scratch), quoted(database), quoted(&away));
        let swap = format!(
            "BEGIN; ALTER DATABASE {target} RENAME TO {old}; COMMENT ON DATABASE {old} IS '{MARK}';
             ALTER DATABASE {scratch} RENAME TO {target}; COMMENT ON DATABASE {target} IS NULL; COMMIT"
        );
        let mut attempt = 1;
        loop {
            self.disconnect(database)?;
            // The server waits some seconds for the disconnected to be gone, and lets no new ones in meanwhile.
            match self.session.wait(self.session.client.batch_execute(&swap)) {
                Ok(()) => break,
                Err(error) => {
                    self.session.run("Going back", "ROLLBACK")?;
                    if error.code() != Some(&SqlState::OBJECT_IN_USE) {
                        return Err(self.session.failed("Putting the restored database into place", &error));
                    }
                    if attempt == ATTEMPTS {
                        return Err(VaultError::Refused(format!(
                            "Other programs keep connecting to {database:?}, so it was left as it was. Stop \
                             them and try again."
                        )));
                    }
                    attempt += 1;
                }
            }
        }
        if let Err(error) = self.drop_database(&away) {
            self.progress.tell(&format!(
                "The database is restored. The old one could not be dropped and is now called {away}: {error} The \
                 next restore on this server drops it."
            ));
        }
        Ok(())
    }

    /// Drops the scratch database, where it is there.
    pub fn discard(&self) -> Result<()> {
        self.drop_database(&self.scratch)
    }

    fn disconnect(&self, database: &str) -> Result<()> {
        self.session.rows(
            "Ending other connections",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()",
            &[&database],
        )?;
        Ok(())
    }

    fn drop_database(&self, database: &str) -> Result<()> {
        let mut attempt = 1;
        loop {
            self.disconnect(database)?;
            let dropped = self
                .session
                .run("Dropping a scratch database", &format!("DROP DATABASE IF EXISTS {}", quoted(database)));
            if dropped.is_ok() || attempt == ATTEMPTS {
                return dropped;
            }
            attempt += 1;
        }
    }
}

/// A connection with a thread of its own to wait on.
struct Session {
    runtime: Runtime,
    client: Client,
    postgres: Postgres,
}

impl Session {
    fn open(postgres: &Postgres, way: &Way, name: &str, cancel: &Cancel) -> Result<Self> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
                VaultError::Refused(format!("No thread could be prepared to connect: {error}."))
            })?;
        let connected = runtime.block_on(async {
            tokio::select! {
                client = tokio::time::timeout(CONNECT, postgres.client(way)) => Some(client),
                () = cancelled(cancel) => None,
            }
        });
        let client = match connected {
            None => return Err(VaultError::Cancelled),
            Some(Ok(client)) => client?,
            Some(Err(_)) => {
                return Err(VaultError::Refused(format!(
                    "The server did not answer within {} seconds. Check host and port.",
                    CONNECT.as_secs()
                )));
            }
        };
        let session = Self { runtime, client, postgres: postgres.clone() };
        // What is done here takes as long as it takes; the name tells other runs that we live.
        session.run(
            "Beginning the session",
            &format!("SET statement_timeout = 0; SET lock_timeout = '30s'; SET application_name = '{name}'"),
        )?;
        Ok(session)
    }

    fn wait<T>(&self, answer: impl Future<Output = T>) -> T {
        self.runtime.block_on(answer)
    }

    fn run(&self, what: &str, sql: &str) -> Result<()> {
        self.wait(self.client.batch_execute(sql)).map_err(|error| self.failed(what, &error))
    }

    fn rows(&self, what: &str, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>> {
        self.wait(self.client.query(sql, values)).map_err(|error| self.failed(what, &error))
    }

    fn row(&self, what: &str, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Row> {
        self.wait(self.client.query_one(sql, values)).map_err(|error| self.failed(what, &error))
    }

    fn failed(&self, what: &str, error: &Error) -> VaultError {
        match error.as_db_error() {
            Some(said) => VaultError::Refused(redact(
                &format!("{what} failed; the server answered: {}.", said.message()),
                &self.postgres.secrets(),
            )),
            None => self.postgres.unreachable(error),
        }
    }
}

/// Comes back once it is cancelled.
async fn cancelled(cancel: &Cancel) {
    while !cancel.is_cancelled() {
        tokio::time::sleep(GLANCE).await;
    }
}

/// `PREFIX` and twelve random characters.
fn scratch_name() -> Result<String> {
    const LETTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut random = [0; 12];
    getrandom::fill(&mut random)
        .map_err(|error| VaultError::Refused(format!("The system gives no random numbers: {error}.")))?;
    Ok(PREFIX.chars().chain(random.map(|byte| char::from(LETTERS[usize::from(byte) % 36]))).collect())
}

/// A name as SQL takes it, whatever is in it.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_of_their_form_and_any_name_can_be_quoted() {
        let name = scratch_name().unwrap();
        let random = name.strip_prefix(PREFIX).unwrap();
        assert!(random.len() == 12 && random.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()));
        assert_ne!(name, scratch_name().unwrap());
        assert_eq!(quoted("a\"; DROP"), "\"a\"\"; DROP\"");
    }
}
