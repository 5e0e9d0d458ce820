//! A connection for work that takes hours: it switches off timeouts, and reconnects if the connection is lost
//! nevertheless.

use crate::domain::engines::postgres::database::Postgres;
use crate::domain::engines::postgres::origin::literal;
use crate::domain::engines::postgres::way::Way;
use crate::domain::engines::process::redact;
use crate::domain::error::{Code, Error, Result};
use crate::domain::jobs::cancel::Cancel;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error as PostgresError, Row};

/// The time limit for connecting.
pub const CONNECT: Duration = Duration::from_secs(12);
/// How often a waiting thread checks whether it was cancelled.
const GLANCE: Duration = Duration::from_millis(200);
/// How long a connection may be idle before it is tested; nothing on the network ends it earlier.
const FRESH: Duration = Duration::from_secs(20);
/// How long to wait for a lost server: a failover or a restart takes a minute or two.
const RETURN: Duration = Duration::from_mins(3);
/// The same after cancellation, when only clean-up is left.
const CANCELLED: Duration = Duration::from_secs(5);
/// How long to wait between two attempts.
const AGAIN: Duration = Duration::from_secs(1);
/// Settings that would end a session, hide rows from it, or change the meaning of its statements. Older
/// servers lack some of them.
const SETTINGS: [(&str, &str); 10] = [
    ("statement_timeout", "0"),
    ("lock_timeout", "30s"),
    ("idle_session_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    ("transaction_timeout", "0"),
    ("search_path", "pg_catalog"),
    ("standard_conforming_strings", "on"),
    ("row_security", "off"),
    ("default_transaction_isolation", "read committed"),
    ("client_min_messages", "error"),
];

/// A connection with its own runtime to wait on.
pub struct Session {
    runtime: Runtime,
    client: RefCell<Rc<Client>>,
    used: Cell<Instant>,
    postgres: Postgres,
    way: Way,
    name: String,
    cancel: Cancel,
}

impl Session {
    /// Connects to `postgres` by `way`. `name` shows other runs that this one is alive.
    pub fn open(postgres: &Postgres, way: &Way, name: &str, cancel: &Cancel) -> Result<Self> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
                Error::refusal(Code::Internal, format!("No thread could be started to connect: {error}."))
            })?;
        let client = connect(&runtime, postgres, way, name, Some(cancel))?;
        Ok(Self {
            runtime,
            client: RefCell::new(Rc::new(client)),
            used: Cell::new(Instant::now()),
            postgres: postgres.clone(),
            way: way.clone(),
            name: name.to_owned(),
            cancel: cancel.clone(),
        })
    }

    /// Waits for the result of a question to the server.
    pub fn ask<T>(&self, question: impl AsyncFnOnce(&Client) -> T) -> Result<T> {
        self.ready()?;
        let client = Rc::clone(&self.client.borrow());
        let answer = self.runtime.block_on(question(&client));
        self.used.set(Instant::now());
        Ok(answer)
    }

    /// Executes a statement; an error of the server is a result. It is not retried: whether it was executed
    /// may be unknown.
    pub fn try_run(&self, sql: &str) -> Result<Result<(), PostgresError>> {
        self.ask(async |client| client.batch_execute(sql).await)
    }

    /// Queries rows; retried if the connection was lost.
    pub fn rows(&self, what: &str, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>> {
        self.try_rows(sql, values)?.map_err(|error| self.failed(what, &error))
    }

    /// The same, with an error of the server as a result.
    pub fn try_rows(
        &self,
        sql: &str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Result<Vec<Row>, PostgresError>> {
        let ask = || self.ask(async |client| client.query(sql, values).await);
        match ask()? {
            Err(error) if is_lost(&error) => ask(),
            answer => Ok(answer),
        }
    }

    /// Runs a long query, and stops waiting when cancelled. The server goes on until its session is ended.
    pub fn try_long(&self, sql: &str) -> Result<Result<Vec<Row>, PostgresError>> {
        self.long(async |client| client.query(sql, &[]).await)
    }

    /// The same for a statement without rows.
    pub fn try_long_run(&self, sql: &str) -> Result<Result<(), PostgresError>> {
        self.long(async |client| client.batch_execute(sql).await)
    }

    fn long<T>(
        &self,
        question: impl AsyncFn(&Client) -> Result<T, PostgresError>,
    ) -> Result<Result<T, PostgresError>> {
        let ask = || {
            let answer = self.ask(async |client| {
                tokio::select! {
                    answer = question(client) => Some(answer),
                    () = cancelled(&self.cancel) => None,
                }
            });
            answer?.ok_or(Error::Cancelled)
        };
        match ask()? {
            Err(error) if is_lost(&error) => ask(),
            answer => Ok(answer),
        }
    }

    /// A failed query as an error for the user.
    pub fn failed(&self, what: &str, error: &PostgresError) -> Error {
        match error.as_db_error() {
            Some(_) => Error::Refused(format!("{what} failed; the server answered: {}.", self.said(error))),
            None => self.postgres.unreachable(error),
        }
    }

    /// The server's message, with its detail and hint.
    pub fn said(&self, error: &PostgresError) -> String {
        let words = match error.as_db_error() {
            Some(said) => [Some(said.message()), said.detail(), said.hint()]
                .into_iter()
                .flatten()
                .map(|part| part.trim_end_matches('.'))
                .collect::<Vec<_>>()
                .join(". "),
            None => error.to_string(),
        };
        redact(&words, &self.postgres.secrets())
    }

    /// Makes sure that the connection works.
    fn ready(&self) -> Result<()> {
        let client = Rc::clone(&self.client.borrow());
        if !client.is_closed() {
            if self.used.get().elapsed() < FRESH {
                return Ok(());
            }
            let tried =
                self.runtime.block_on(async { tokio::time::timeout(CONNECT, client.simple_query("")).await });
            if matches!(tried, Ok(Ok(_))) {
                return Ok(());
            }
        }
        let began = Instant::now();
        loop {
            let is_cancelled = self.cancel.is_cancelled();
            let cancel = (!is_cancelled).then_some(&self.cancel);
            match connect(&self.runtime, &self.postgres, &self.way, &self.name, cancel) {
                Ok(client) => {
                    *self.client.borrow_mut() = Rc::new(client);
                    self.used.set(Instant::now());
                    return Ok(());
                }
                Err(error) => {
                    let patience = if self.cancel.is_cancelled() { CANCELLED } else { RETURN };
                    if began.elapsed() >= patience {
                        return Err(error);
                    }
                }
            }
            std::thread::sleep(AGAIN);
        }
    }
}

fn connect(
    runtime: &Runtime,
    postgres: &Postgres,
    way: &Way,
    name: &str,
    cancel: Option<&Cancel>,
) -> Result<Client> {
    let patience = postgres.patience(way, CONNECT);
    let pause = async {
        match cancel {
            Some(cancel) => cancelled(cancel).await,
            None => std::future::pending().await,
        }
    };
    let connected = runtime.block_on(async {
        tokio::select! {
            client = tokio::time::timeout(patience, prepared(postgres, way, name)) => Some(client),
            () = pause => None,
        }
    });
    match connected {
        None => Err(Error::Cancelled),
        Some(Ok(client)) => client,
        Some(Err(_)) => Err(Error::refusal(
            Code::DatabaseUnreachable,
            format!("The server did not answer within {} seconds. Check host and port.", patience.as_secs()),
        )),
    }
}

async fn prepared(postgres: &Postgres, way: &Way, name: &str) -> Result<Client> {
    let client = postgres.client(way).await?;
    let wanted: Vec<_> =
        SETTINGS.iter().map(|(name, value)| format!("({}, {})", literal(name), literal(value))).collect();
    // A refused setting, such as by a managed server, does not stop the restore.
    let set = format!(
        "SELECT pg_catalog.set_config(s.name, w.value, false) FROM pg_catalog.pg_settings s
         JOIN (VALUES {}) w (name, value) ON s.name = w.name::pg_catalog.text",
        wanted.join(", ")
    );
    let name = format!("SELECT pg_catalog.set_config('application_name', {}, false)", literal(name));
    for statement in [&set, &name] {
        client.batch_execute(statement).await.map_err(|error| postgres.unreachable(&error))?;
    }
    Ok(client)
}

/// Whether an error means that the connection is gone, for whatever reason.
pub fn is_lost(error: &PostgresError) -> bool {
    match error.code() {
        Some(code) => {
            [SqlState::ADMIN_SHUTDOWN, SqlState::CRASH_SHUTDOWN, SqlState::CANNOT_CONNECT_NOW].contains(code)
                || code.code().starts_with("08")
        }
        None => true,
    }
}

/// Returns when cancelled.
async fn cancelled(cancel: &Cancel) {
    while !cancel.is_cancelled() {
        tokio::time::sleep(GLANCE).await;
    }
}
