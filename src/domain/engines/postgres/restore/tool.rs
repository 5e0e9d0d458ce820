//! One run of `pg_restore`: restores some entries of an archive as far as possible.

use crate::domain::engines::postgres::check::feed;
use crate::domain::engines::postgres::connection::KEEPALIVES;
use crate::domain::engines::postgres::database::Postgres;
use crate::domain::engines::postgres::restore::complaints::Complaints;
use crate::domain::engines::postgres::restore::restore_server::RestoreServer;
use crate::domain::engines::postgres::tools::not_started;
use crate::domain::engines::process::{Child, End, Launch};
use crate::domain::error::{Error, Result};
use crate::domain::random;
use crate::domain::repository::content::Source;
use rustix::fs::{FlockOperation, flock};
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long `pg_restore` may be silent: as long as the server needs to build its largest index.
const STALL: Duration = Duration::from_hours(24);
/// The prefix of list files' names: like password files, they are removed after a kill.
const LIST: &str = "pgpass-list-";

/// What one run restores.
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of pg_restore")]
pub struct Pass<'p> {
    /// The numbers of the entries, in the archive's order.
    pub entries: &'p [i64],
    /// Whether owners and grants are restored.
    pub keep_owners: bool,
    /// Whether objects go to the tablespaces they were in.
    pub keep_tablespaces: bool,
    /// Whether everything is one transaction that fails with its first error.
    pub is_one_transaction: bool,
    /// Whether the archive has to be read to its end.
    pub has_data: bool,
}

/// The result of reading an archive to its end.
pub struct Read {
    /// The SHA-256 of the backup file.
    pub sha256: String,
    /// Why it could not be decompressed to its end.
    pub fault: Option<String>,
}

impl RestoreServer<'_> {
    /// Restores some entries into `target`. What the server refuses is among the complaints; an error proves
    /// nothing about the archive.
    pub(super) fn pass(
        &self,
        source: &Source,
        limit: u64,
        tool: &Path,
        target: &Postgres,
        pass: &Pass<'_>,
    ) -> Result<(Complaints, Option<Read>)> {
        if pass.entries.is_empty() && !pass.has_data {
            return Ok((Complaints::default(), None));
        }
        // Creating the password file also creates the directory, private, if missing.
        let passfile = target.passfile(tool, &self.way, self.cancel)?;
        let list = List::of(&self.tools().run_dir, pass.entries)?;
        let use_list = format!("--use-list={}", list.path.display());
        // The tool names the entry of a complaint only with --verbose.
        let mut args = vec!["--no-password", "--verbose", &use_list, KEEPALIVES];
        if !pass.keep_owners {
            args.extend(["--no-owner", "--no-privileges"]);
        }
        if !pass.keep_tablespaces {
            args.push("--no-tablespaces");
        }
        if pass.is_one_transaction {
            args.push("--single-transaction");
        }
        let mut env = target.environment(tool, &passfile, &self.way);
        // The name shows other runs that the scratch database is in use, even while our own session is lost.
        env.retain(|(name, _)| *name != "PGAPPNAME");
        env.push(("PGAPPNAME", self.scratch.clone().into()));
        let launch = Launch {
            program: tool,
            args: &args,
            env,
            path: &self.tools().path,
            fed: true,
            stall: STALL,
            secrets: target.secrets(),
        };
        let heard = Arc::new(Mutex::new(Complaints::default()));
        let listener = Arc::clone(&heard);
        let mut child = Child::spawn_heard(launch, self.cancel, move |bytes| {
            listener.lock().unwrap_or_else(PoisonError::into_inner).feed(bytes);
        })
        .map_err(|error| not_started(tool, &error))?;
        let mut content = source.read(limit, self.cancel, self.progress);
        feed(&mut content, &mut child, tool, pass.has_data, |_| ())?;
        let end = child.finish();
        drop((passfile, list));
        let read = if pass.has_data {
            let sums = content.finish()?;
            Some(Read { sha256: sums.sha256, fault: sums.fault })
        } else {
            None
        };
        let mut complaints = std::mem::take(&mut *heard.lock().unwrap_or_else(PoisonError::into_inner));
        complaints.end(&target.secrets());
        self.judge(end, &complaints)?;
        Ok((complaints, read))
    }

    /// Whether the tool ended normally, and the server was available all the time.
    fn judge(&self, end: End, complaints: &Complaints) -> Result<()> {
        let failed = |message: String, words: String| {
            Err(Error::Tool { message, detail: (!words.is_empty()).then_some(words) })
        };
        let (status, words) = match end {
            End::Exited(status, words) => (status, words),
            End::Cancelled => return Err(Error::Cancelled),
            End::Hung(words) => {
                return failed(
                    "pg_restore made no progress for too long and was stopped. Try \
                     again."
                        .into(),
                    words,
                );
            }
            End::Unread => {
                return failed("pg_restore wrote unexpected output.".into(), String::new());
            }
        };
        if self.cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        if let Some(signal) = status.signal() {
            return failed(
                format!(
                    "pg_restore was killed by signal {signal}. Is the machine short of memory? Try again."
                ),
                words,
            );
        }
        if let Some(words) = &complaints.of_surroundings {
            return failed(
                "The server had a problem while the backup was restored, which says nothing about the \
                 backup. Fix the problem on the server, and try again."
                    .to_owned(),
                words.to_owned(),
            );
        }
        if !status.success() && complaints.passed_over.is_none() && complaints.count == 0 {
            return failed(format!("pg_restore ended with {status}."), words);
        }
        Ok(())
    }
}

/// A file that lists the entries to restore, removed when this value is dropped.
struct List {
    path: PathBuf,
    /// Locked while in use, so that a sweep leaves it alone.
    _lock: File,
}

impl List {
    fn of(directory: &Path, entries: &[i64]) -> Result<Self> {
        let path = directory.join(format!("{LIST}{}", random::hex::<8>()?));
        let failed = |error| Error::file("Writing", &path, error);
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|error| failed(error.into()))?;
        let list = Self { path: path.clone(), _lock: file.try_clone().map_err(failed)? };
        // A line without an entry is skipped with a warning, so an empty list restores nothing.
        let mut lines = String::from(";\n");
        for entry in entries {
            let _ = writeln!(lines, "{entry};");
        }
        file.write_all(lines.as_bytes()).map_err(failed)?;
        Ok(list)
    }
}

impl Drop for List {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "a list of entries could not be removed");
        }
    }
}
