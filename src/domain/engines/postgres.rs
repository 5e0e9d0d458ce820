//! PostgreSQL: backed up with `pg_dump`, restored with `pg_restore` into a scratch database that is then
//! renamed to the target.

pub mod archive;
mod check;
mod connection;
pub mod database;
mod dump;
mod encoding;
mod explain;
mod fault;
mod guard;
mod location;
mod origin;
pub mod parameters;
mod passfile;
mod pooler;
mod restore;
pub mod server;
mod serving;
mod tls;
pub mod tools;
mod way;

use crate::domain::engines::engine::{
    Backup, Check, Checked, Database, Dump, Engine, EngineContext, Plan, Planned, Probe, Restore, Restoring,
    Served, Target, Test, Tested,
};
use crate::domain::engines::postgres::archive::head::{MAGIC, entries, origin};
use crate::domain::engines::postgres::connection::KEEPALIVES;
use crate::domain::engines::postgres::database::{Answer, Postgres};
use crate::domain::engines::postgres::dump::PostgresDump;
use crate::domain::engines::postgres::restore::run::PostgresRestore;
use crate::domain::engines::postgres::restore::{plan, test};
use crate::domain::engines::postgres::server::{KIND, Server};
use crate::domain::engines::postgres::tools::{PostgresTools, not_started};
use crate::domain::engines::process::{Child, Launch};
use crate::domain::error::{Error, Result};
use crate::domain::jobs::cancel::Cancel;
use crate::model::EngineKind;
use crate::model::restore::{Fact, RestoreChoice, RestoreChoices};
use std::path::Path;

/// How a plain SQL dump begins: `pg_dump`'s own, or any file that consists of statements only.
const STATEMENTS: [&str; 7] = [
    "-- PostgreSQL database",
    "--\n-- PostgreSQL database",
    "SET statement_timeout",
    "\\restrict ",
    "CREATE TABLE ",
    "DROP TABLE ",
    "INSERT INTO ",
];

/// PostgreSQL.
pub struct PostgresEngine;

impl Engine for PostgresEngine {
    fn kind(&self) -> EngineKind {
        KIND
    }

    fn label(&self) -> &'static str {
        "PostgreSQL"
    }

    fn content(&self) -> &'static str {
        "a PostgreSQL archive"
    }

    fn backup_format(&self) -> &'static str {
        "pg-custom"
    }

    fn importable(&self) -> &'static str {
        "an archive made by pg_dump --format=custom (-Fc)"
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["postgres", "postgresql"]
    }

    fn url_example(&self) -> &'static str {
        "postgres://user:password@host/database"
    }

    fn restore_choices(&self) -> Option<RestoreChoices> {
        const CHOICES: &[RestoreChoice] = &[
            RestoreChoice {
                field: "keep_owners",
                label: "Keep owners and grants",
                explanation: "Works for roles that exist on the server. Without this, the restoring role owns everything.",
            },
            RestoreChoice {
                field: "act_outside",
                label: "Restore objects that act outside the database",
                explanation: "These are subscriptions, event triggers, scheduled jobs and user mappings of foreign servers. Leave \
                              this off if you only want to inspect a copy.",
            },
        ];
        Some(RestoreChoices {
            title: "PostgreSQL: owners, and objects that act outside the database",
            choices: CHOICES,
        })
    }

    fn locate(&self, rest: &str) -> Result<Target, String> {
        Server::parse(rest).map(Target::new)
    }

    fn recognises(&self, beginning: &[u8]) -> bool {
        beginning.starts_with(MAGIC)
    }

    fn is_script(&self, beginning: &str) -> bool {
        STATEMENTS.iter().any(|statement| beginning.starts_with(statement))
    }

    fn foreign_entry(&self, name: &str) -> Option<&'static str> {
        (name == "toc.dat").then_some(
            "It was made by pg_dump --format=tar, which Holdfast does not support. Make it with \
             --format=custom (-Fc) instead.",
        )
    }

    fn facts(&self, beginning: &[u8]) -> Vec<Fact> {
        let made_of =
            |(server, tool)| ("Made from".to_owned(), format!("PostgreSQL {server}, by pg_dump {tool}"));
        origin(beginning).map(made_of).into_iter().collect()
    }

    fn objects(&self, beginning: &[u8]) -> Option<u64> {
        entries(beginning)
    }

    fn check(&self, check: &Check<'_>) -> Result<Checked> {
        check::check(check)
    }

    fn is_tested_on_a_server(&self) -> bool {
        true
    }

    fn sweep(&self, context: &EngineContext) -> Result<()> {
        PostgresTools::of(context).sweep_run_dir()
    }

    fn begin_serving(&self, context: &EngineContext, databases: &[Served]) {
        serving::begin(PostgresTools::of(context), databases);
    }
}

impl Database for Postgres {
    fn kind(&self) -> EngineKind {
        KIND
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
        // Checked before the connection: a missing tool is reported at once, an unreachable server after a
        // timeout.
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
        Ok(Box::new(PostgresDump::of(self, child, answer.origin, passfile)))
    }

    fn plan(&self, plan: &Plan<'_>) -> Result<Planned> {
        plan::plan(self, plan)
    }

    fn restore<'r>(&'r self, how: &Restoring<'r>) -> Result<Box<dyn Restore<'r> + 'r>> {
        Ok(Box::new(PostgresRestore::open(self, how)?))
    }

    fn test_restore(&self, backup: Backup<'_>, test: &Test<'_>) -> Result<Tested> {
        test::test_restore(self, backup, test)
    }
}
