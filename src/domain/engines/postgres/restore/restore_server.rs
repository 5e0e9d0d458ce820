//! A server to restore on: connected, checked for the right to create databases, and asked about the target.

use crate::domain::engines::engine;
use crate::domain::engines::engine::{Counts, Restored};
use crate::domain::engines::postgres::database::Postgres;
use crate::domain::engines::postgres::origin::{Origin, quoted};
use crate::domain::engines::postgres::restore::scratch_names::{self, Note};
use crate::domain::engines::postgres::restore::session::{CONNECT, Session};
use crate::domain::engines::postgres::tools::{PostgresTools, Version};
use crate::domain::engines::postgres::way::Way;
use crate::domain::error::{Code, Error, Result};
use crate::domain::jobs::cancel::Cancel;
use crate::domain::jobs::progress::Progress;
use std::cell::RefCell;

/// The result of filling the scratch database.
pub enum Filled {
    /// All data is there and was read back.
    Whole(Content),
    /// The archive does not give back all data on this server: a sentence, and the server's messages.
    NotRestorable(Error),
    /// A problem that proves nothing about the backup: the server, the role, the connection.
    NotTried(Error),
}

/// The content of the scratch database.
#[derive(Debug, Default)]
pub struct Content {
    /// The rows counted when reading back.
    pub counts: Counts,
    /// Objects that could not or should not be created: a sentence each.
    pub exceptions: Vec<String>,
    /// Other remarks.
    pub notes: Vec<String>,
    /// How the database differs from the original in a way that affects text.
    pub differs: Option<String>,
    /// The archive entries left for the final database.
    pub left: Vec<i64>,
}

impl Content {
    /// The result for the user, restored on a server of that version.
    pub fn told(self, version: &str) -> Restored {
        let Self { counts, exceptions, notes, differs, .. } = self;
        let is_alike = differs.is_none();
        let first = match differs {
            None => format!("It was restored on PostgreSQL {version}."),
            Some(differs) => format!(
                "All rows were restored and read back on PostgreSQL {version}, but not exactly as they \
                 were: {differs}."
            ),
        };
        let notes = std::iter::once(first).chain(notes).collect();
        Restored { counts, exceptions, notes, is_alike }
    }
}

/// A server to restore on.
pub struct RestoreServer<'a> {
    pub(super) postgres: Postgres,
    pub(super) cancel: &'a Cancel,
    pub(super) progress: &'a dyn Progress,
    /// The checked way, shared by everything done here.
    pub(super) way: Way,
    /// Held to the end: its name shows other runs that our scratch database is in use.
    pub(super) session: Session,
    pub(super) scratch: String,
    pub(super) note: RefCell<Option<Note>>,
    pub(super) version: Version,
    pub(super) role: String,
    is_superuser: bool,
}

/// What is known about an existing target.
pub struct Existing {
    /// Its properties.
    pub origin: Origin,
    /// What the user is told about it.
    pub told: engine::Existing,
}

impl<'a> RestoreServer<'a> {
    /// Connects to the server of `postgres`, never to that database itself, and checks that databases may be
    /// created there. `progress` hears of leftovers.
    pub fn open(
        postgres: &Postgres,
        database: &str,
        cancel: &'a Cancel,
        progress: &'a dyn Progress,
    ) -> Result<Self> {
        if ["postgres", "template0", "template1"].contains(&database) {
            return Err(Error::refusal(
                Code::InvalidInput,
                format!(
                    "The database {database} is one of PostgreSQL's own and is never replaced. Name another \
                     one in the URL."
                ),
            ));
        }
        let scratch = scratch_names::name()?;
        let way = postgres.way(CONNECT, cancel)?;
        let session =
            Session::open(&postgres.elsewhere("postgres"), &way, &scratch, cancel).or_else(|error| {
                match error {
                    Error::Cancelled => Err(error),
                    // The database `postgres` may be closed to the role, or missing. The first error is
                    // reported.
                    _ => Session::open(&postgres.elsewhere("template1"), &way, &scratch, cancel)
                        .or_else(|_| match database {
                            // Nothing is replaced, so the session may use the URL's database.
                            "" => Session::open(postgres, &way, &scratch, cancel),
                            _ => Err(Error::Cancelled),
                        })
                        .map_err(|_| error),
                }
            })?;
        let rows = session.rows(
            "Asking the server for its version",
            "SELECT current_setting('server_version'), rolcreatedb OR rolsuper, rolname::text, rolsuper,
                    pg_is_in_recovery(), current_setting('transaction_read_only') = 'on'
             FROM pg_roles WHERE rolname = current_user",
            &[],
        )?;
        let unsupported = |what: &str| Error::refusal(Code::Unsupported, what);
        let row =
            rows.first().ok_or_else(|| unsupported("The server does not know the role that logged in."))?;
        let version: String = row.try_get(0).unwrap_or_default();
        let version =
            Version::parse(&version).ok_or_else(|| unsupported("The server does not say its version."))?;
        let role: String = row.try_get(2).unwrap_or_default();
        let is = |at: usize| row.try_get(at).unwrap_or(false);
        if is(4) {
            return Err(Error::refusal(
                Code::DatabaseDenied,
                "The server is a standby and accepts no writes. Restore on its primary, or name another \
                 server.",
            ));
        }
        if is(5) {
            return Err(Error::refusal(
                Code::DatabaseDenied,
                format!(
                    "The server accepts no writes from the role {role}: its transactions are read-only \
                 (default_transaction_read_only). Use another role to restore."
                ),
            ));
        }
        if !is(1) {
            return Err(Error::refusal(
                Code::DatabaseDenied,
                format!(
                    "The role {role} may not create databases, and a backup is restored into a new one \
                     first. Ask a superuser to run: ALTER ROLE {} CREATEDB;",
                    quoted(&role)
                ),
            ));
        }
        let is_superuser = is(3);
        let server = Self {
            postgres: postgres.clone(),
            cancel,
            progress,
            way,
            session,
            scratch,
            note: RefCell::new(None),
            version,
            role,
            is_superuser,
        };
        server.sweep();
        Ok(server)
    }

    /// The tools for this server.
    pub(super) fn tools(&self) -> &PostgresTools {
        &self.postgres.tools
    }

    /// The server's version.
    pub fn version(&self) -> &str {
        &self.version.text
    }

    /// The server's version, to be compared.
    pub fn parsed_version(&self) -> &Version {
        &self.version
    }

    /// The role, if it is a superuser: all statements in a backup run with its rights.
    pub fn superuser(&self) -> Option<&str> {
        self.is_superuser.then_some(&*self.role)
    }

    /// The database with the target's name.
    pub fn existing(&self, database: &str) -> Result<Option<Existing>> {
        let found = self.session.rows(
            "Looking up the target",
            "SELECT pg_has_role(datdba, 'USAGE'),
                    CASE WHEN has_database_privilege(oid, 'CONNECT') THEN pg_database_size(oid) ELSE 0 END
             FROM pg_database d WHERE datname = $1",
            &[&database],
        )?;
        let Some(row) = found.first() else { return Ok(None) };
        if !row.try_get::<_, bool>(0).unwrap_or(false) {
            return Err(Error::refusal(
                Code::DatabaseDenied,
                format!(
                    "The database {database:?} belongs to another role, so this one may not replace it. Use \
                     its owner in the URL."
                ),
            ));
        }
        let size: i64 = row.try_get(1).unwrap_or(0);
        let origin = self.session.ask(async |client| Origin::of(client, database).await)?;
        let origin = origin.ok_or_else(|| {
            Error::refusal(
                Code::Unsupported,
                format!("The server does not describe the database {database:?}."),
            )
        })?;
        let warnings = self.lost_with(database);
        let obstacle = self.obstacle(database);
        let told = engine::Existing { size: size.unsigned_abs(), is_empty: false, warnings, obstacle };
        Ok(Some(Existing { origin, told }))
    }

    /// Those of these roles that do not exist on the server. Empty if the server does not answer.
    pub fn missing_roles(&self, roles: &[String]) -> Vec<String> {
        let found = self.session.try_rows(
            "SELECT r FROM unnest($1::text[]) r WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = r)",
            &[&roles],
        );
        match found {
            Ok(Ok(rows)) => rows.iter().filter_map(|row| row.try_get(0).ok()).collect(),
            _ => Vec::new(),
        }
    }
}
