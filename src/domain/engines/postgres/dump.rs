//! A dump under way: `pg_dump` is believed only when its exit status and its archive agree.

use crate::domain::engines::engine::{Dump, Ended};
use crate::domain::engines::postgres::archive::{Checker, Verdict};
use crate::domain::engines::postgres::database::Postgres;
use crate::domain::engines::postgres::origin::Origin;
use crate::domain::engines::postgres::passfile::Passfile;
use crate::domain::engines::process::{Child, End, some};
use crate::domain::error::{Error, Result};
use crate::model::DatabaseName;
use std::io::{self, Read};
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

/// `pg_dump` at work.
pub(super) struct PostgresDump {
    child: Child,
    checker: Checker,
    database: DatabaseName,
    stall: Duration,
    origin: Option<Origin>,
    _passfile: Passfile,
}

impl PostgresDump {
    /// The dump of `postgres` that `child` makes, which reads its password from `passfile`.
    pub fn of(postgres: &Postgres, child: Child, origin: Option<Origin>, passfile: Passfile) -> Self {
        Self {
            child,
            checker: Checker::new(),
            database: postgres.name.clone(),
            stall: postgres.tools.stall,
            origin,
            _passfile: passfile,
        }
    }
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

fn span(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ ..120 => format!("{seconds} seconds"),
        seconds => format!("{} minutes", seconds / 60),
    }
}
