//! A running dump: a backup counts only if both the exit status of `pg_dump` and the archive say that it is
//! complete.

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

/// A running `pg_dump`.
pub(super) struct PostgresDump {
    child: Child,
    checker: Checker,
    database: DatabaseName,
    stall: Duration,
    origin: Option<Origin>,
    _passfile: Passfile,
}

impl PostgresDump {
    /// The dump of `postgres` by `child`, which reads its password from `passfile`.
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
        // The server knows the size of its pages, not of the dump.
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
                    "pg_dump made no progress for {} and was stopped. Look for long-held locks in the \
                     database or a broken connection, and try again.",
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
            return failed(format!("pg_dump ended with status {code}; see its output.{hint}"), words);
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
                    "The archive is of version {version}, which this Holdfast cannot parse, so only the exit \
                     status of pg_dump says that it is complete."
                );
                let warnings = some(format!("{note}\n{words}").trim_end().to_owned());
                Ok(Ended { warnings, ..Ended::default() })
            }
            Verdict::Empty => failed("pg_dump ended without an archive: it wrote nothing.".into(), words),
            Verdict::NotAnArchive => {
                failed("pg_dump ended without an archive: its output is something else.".into(), words)
            }
            Verdict::Broken(how) => failed(
                format!("pg_dump reported success, but its archive is incomplete: {how}. Try again."),
                words,
            ),
        }
    }
}

/// The remedy for the most common errors of the server, recognised by their English text.
fn hint(words: &str) -> &'static str {
    let has = |sign: &str| words.contains(sign);
    if has("conflict with recovery") {
        " The server is a standby, and replication cancelled the dump: raise max_standby_streaming_delay \
         there, set hot_standby_feedback = on, or back up from the primary."
    } else if has("row-level security") {
        " A policy hides rows from this role, so the backup would be incomplete: ask a superuser to run \
         ALTER ROLE … BYPASSRLS for it, or use another role."
    } else if has("large object") && has("permission denied") {
        " Only their owner and superusers can read large objects: ask one of them to run GRANT SELECT ON \
         LARGE OBJECT … TO this role for each."
    } else if has("out of shared memory") {
        " The server has too few lock slots for all tables: raise max_locks_per_transaction there, and \
         restart it."
    } else if has("lock timeout") || (has("due to statement timeout") && has("LOCK TABLE")) {
        " Another session holds a lock on a table for too long: end that session, or try again later."
    } else if has("due to statement timeout") {
        " The statement_timeout of the role or the database cancels pg_dump before pg_dump can switch it \
         off: raise it there."
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
