//! The traits of an engine: everything Holdfast needs from one kind of database.
//!
//! An [`Engine`] is a kind of database and knows its files. A [`Location`] says where one database is, parsed
//! from a URL. A [`Database`] is one database that can be worked with. All calls block and belong on a
//! blocking thread.

pub use crate::domain::engines::ended::{Counts, Ended};
use crate::domain::error::{Error, Result};
use crate::domain::jobs::cancel::Cancel;
use crate::domain::jobs::progress::Progress;
use crate::domain::outbound::Policy;
use crate::domain::repository::content::{Content, Source, Sums};
use crate::model::restore::{Fact, RestoreChoices};
use crate::model::{DatabaseName, EngineKind, Proof};
use std::any::Any;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A kind of database.
pub trait Engine: Send + Sync {
    /// Its identifier in manifests.
    fn kind(&self) -> EngineKind;

    /// Its name for display.
    fn label(&self) -> &'static str;

    /// The content of its backups, for messages: `a PostgreSQL archive`.
    fn content(&self) -> &'static str;

    /// `backup_format` in manifests: the format of the unpacked content.
    fn backup_format(&self) -> &'static str;

    /// The files that can be imported, for messages: `SQLite database files`.
    fn importable(&self) -> &'static str;

    /// The suffix of a new database's name, if databases are files.
    fn file_ending(&self) -> &'static str {
        ""
    }

    /// Its URL schemes, in lower case; the first is the usual one.
    fn schemes(&self) -> &'static [&'static str];

    /// An example URL for error messages.
    fn url_example(&self) -> &'static str;

    /// What can be chosen about a restore on the page. Each choice is a field of [`Manner`].
    fn restore_choices(&self) -> Option<RestoreChoices> {
        None
    }

    /// Parses what follows `scheme://` in a URL. The error says what is wrong and what to do, and never
    /// repeats a password.
    fn locate(&self, rest: &str) -> Result<Target, String>;

    /// Whether content that begins with these bytes is of this engine.
    fn recognises(&self, beginning: &[u8]) -> bool;

    /// Whether these bytes begin a script of SQL statements of this engine. Holdfast does not accept scripts,
    /// because nobody can tell whether one is complete.
    fn is_script(&self, _beginning: &str) -> bool {
        false
    }

    /// Why an archive with an entry of that name is an unsupported dump; `None` if it is not.
    fn foreign_entry(&self, _name: &str) -> Option<&'static str> {
        None
    }

    /// What the first bytes of a backup say about its origin.
    fn facts(&self, _beginning: &[u8]) -> Vec<Fact> {
        Vec::new()
    }

    /// The number of objects in a backup, if its first bytes tell.
    fn objects(&self, _beginning: &[u8]) -> Option<u64> {
        None
    }

    /// Reads a backup to its end and checks its content. Damaged content is part of the result; an error
    /// means that the backup could not be checked.
    fn check(&self, check: &Check<'_>) -> Result<Checked>;

    /// Whether test restores run on a server, by [`Database::test_restore`]. Otherwise [`Engine::check`]
    /// already restores the backup.
    fn is_tested_on_a_server(&self) -> bool {
        false
    }

    /// Removes files that killed runs left on this machine. Those of living runs stay.
    fn sweep(&self, _context: &EngineContext) -> Result<()> {
        Ok(())
    }

    /// Called when a server starts: checks what these databases need, warns in the log, and removes what
    /// killed runs left on their servers. Must not delay the start.
    fn begin_serving(&self, _context: &EngineContext, _databases: &[Served]) {}
}

/// Where a database is, according to its URL. Neither `Debug` nor the address shows a password.
pub trait Location: fmt::Debug + Send + Sync {
    /// Its engine.
    fn kind(&self) -> EngineKind;

    /// Where it is, for pages and logs, without secrets.
    fn address(&self) -> String;

    /// The database's name, without its server or directory.
    fn own_name(&self) -> String;

    /// The database's file, if it is a local file.
    fn file(&self) -> Option<&Path> {
        None
    }

    /// Whether both are the same database, however written. Asks the DNS only if needed.
    fn is_same(&self, other: &dyn Location, context: &EngineContext, cancel: &Cancel) -> bool;

    /// The location of another database on the same server or in the same directory. The error is a phrase
    /// that says what is wrong with the name.
    fn beside(&self, name: &str) -> Result<Target, String>;

    /// The database there, with the configured name `name`. `setting` names the setting with its URL, for
    /// advice.
    fn database(
        &self,
        name: DatabaseName,
        context: &EngineContext,
        setting: &'static str,
    ) -> Arc<dyn Database>;

    /// For its engine, to compare it with another location.
    fn as_any(&self) -> &dyn Any;
}

/// One database that can be worked with.
pub trait Database: Send + Sync {
    /// Its engine.
    fn kind(&self) -> EngineKind;

    /// Where it is, for pages and logs, without secrets.
    fn address(&self) -> String;

    /// Asks whether the database can be read, and for its version and size. Takes about ten seconds at most.
    fn probe(&self) -> Result<Probe>;

    /// Starts a dump of one consistent state, to be read to its end and then finished. `scratch` is a directory for
    /// temporary files on the disk of the backups; the caller removes it.
    fn begin(&self, scratch: &Path, cancel: &Cancel) -> Result<Box<dyn Dump>>;

    /// Finds out what a restore into it would do, and changes nothing.
    fn plan(&self, plan: &Plan<'_>) -> Result<Planned>;

    /// Opens a restore into it: finds out what exists and whether it can be replaced, and changes nothing
    /// yet.
    fn restore<'r>(&'r self, how: &Restoring<'r>) -> Result<Box<dyn Restore<'r> + 'r>>;

    /// Restores a checked backup on its server as a test, reads it back and removes it; the database itself
    /// is not touched. An error means that the test was cancelled, or that the file changed since the check.
    fn test_restore(&self, _backup: Backup<'_>, _test: &Test<'_>) -> Result<Tested> {
        Ok(Tested::NotTried(Error::Refused("the check of such a backup already restores it.".to_owned())))
    }
}

/// Where a database is: a location that an engine parsed from a URL.
#[derive(Clone)]
pub struct Target(Arc<dyn Location>);

impl Target {
    /// Wraps an engine's location.
    pub fn new(location: impl Location + 'static) -> Self {
        Self(Arc::new(location))
    }
}

impl std::ops::Deref for Target {
    type Target = dyn Location;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What engines may use on this machine.
#[derive(Debug, Clone)]
pub struct EngineContext {
    /// Directories with an engine's tools, as set by the operator; the tools are looked for nowhere else.
    pub tool_directories: BTreeMap<EngineKind, PathBuf>,
    /// A directory for secrets that tools read, preferably in memory; created private when needed.
    pub run_dir: PathBuf,
    /// The `PATH` to search for tools.
    pub path: OsString,
    /// The outbound policy.
    pub outbound: Policy,
}

/// A database that a server was started with.
#[derive(Clone)]
pub struct Served {
    /// Its configured name; `None` if it is used for tests only.
    pub name: Option<DatabaseName>,
    /// Where it is.
    pub target: Target,
    /// The setting with its URL, for advice.
    pub setting: &'static str,
}

/// The result of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The server's or the library's version.
    pub version: String,
    /// The size of the database in bytes.
    pub size: u64,
    /// A warning about the next backup.
    pub warning: Option<String>,
}

/// A running dump: the stream, and its result. Reading to the end proves nothing: a stream that was
/// cancelled, hung or broke just ends, and only [`Dump::finish`] says whether it is complete. Dropped before
/// that, it ends whatever it started.
pub trait Dump: Read + Send {
    /// The expected number of bytes, if the engine can tell.
    fn total(&self) -> Option<u64>;

    /// Waits for the engine, and returns whether the stream was complete.
    fn finish(self: Box<Self>) -> Result<Ended>;
}

/// A backup to be checked.
pub struct Check<'c> {
    /// The file.
    pub source: &'c Source,
    /// The first bytes of its content.
    pub beginning: &'c [u8],
    /// The largest unpacked size, in bytes.
    pub limit: u64,
    /// The local file to be replaced, if the check is for a restore: the content is unpacked beside it.
    pub beside: Option<&'c Path>,
    /// Otherwise returns a directory for temporary files, which the caller removes.
    pub scratch: &'c dyn Fn() -> Result<PathBuf>,
    /// What the engine may use.
    pub context: &'c EngineContext,
    /// A stop request.
    pub cancel: &'c Cancel,
    /// Receives the progress.
    pub progress: &'c dyn Progress,
}

impl<'c> Check<'c> {
    /// Starts reading the content: up to the limit, or up to `room` bytes if that is less.
    pub fn content(&self, room: Option<u64>) -> Content<'c> {
        let limit = room.map_or(self.limit, |room| self.limit.min(room));
        self.source.read(limit, self.cancel, self.progress)
    }
}

/// The result of checking a backup's content.
pub struct Checked {
    /// The result of reading the file.
    pub sums: Sums,
    /// What is wrong with the content, as a phrase; `None` if it is good.
    pub fault: Option<String>,
    /// What is proved if nothing is wrong.
    pub proof: Proof,
    /// Tables and rows, if the check counted them.
    pub counted: Option<Counts>,
    /// What is wrong in the database, although the backup is complete: a sentence each.
    pub remarks: Vec<String>,
    /// What the content is and what reads it: a sentence.
    pub sentence: String,
    /// What a restore of these bytes needs from the check.
    pub kept: Kept,
}

/// What a restore needs from the check before it; only the engine knows its type.
pub type Kept = Box<dyn Any + Send>;

/// How a backup is restored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Manner {
    /// Whether to restore owners and grants, if the roles exist.
    pub keep_owners: bool,
    /// Whether to create entries that act outside the database too: subscriptions, event triggers, scheduled
    /// jobs, user mappings.
    pub act_outside: bool,
}

/// A restore to be planned.
pub struct Plan<'p> {
    /// The file; `None` if it is not here yet.
    pub source: Option<&'p Source>,
    /// The first bytes of its content, if it is here.
    pub beginning: &'p [u8],
    /// How to restore it.
    pub manner: Manner,
}

/// What a restore would do.
pub struct Planned {
    /// Facts for the user.
    pub facts: Vec<Fact>,
    /// What to consider first: a sentence each.
    pub warnings: Vec<String>,
    /// The size of the replaced database in bytes; `None` for a new database.
    pub replaces: Option<u64>,
    /// The name to type as confirmation.
    pub typed: String,
}

/// The options of a restore.
#[derive(Clone, Copy)]
pub struct Restoring<'r> {
    /// How to restore.
    pub manner: Manner,
    /// A stop request.
    pub cancel: &'r Cancel,
    /// Receives the progress.
    pub progress: &'r dyn Progress,
}

/// A checked backup to be restored.
pub struct Backup<'b> {
    /// The file.
    pub source: &'b Source,
    /// Its SHA-256 at the check.
    pub sha256: String,
    /// The largest unpacked size, in bytes.
    pub limit: u64,
    /// What the check kept for the restore.
    pub kept: Kept,
}

/// What the check of this engine kept; an error if it was another engine's.
pub fn own<T: 'static>(kept: Kept) -> Result<T> {
    kept.downcast().map(|kept| *kept).map_err(|_| Error::Lost)
}

/// A restore into one database. Dropped before it is complete, it leaves the database unchanged and nothing
/// else.
pub trait Restore<'r> {
    /// The existing database; `None` if the database is new.
    fn existing(&self) -> Option<&Existing>;

    /// A sentence about the next step, once the backup is known to be complete, if that step takes long.
    fn announcement(&self) -> Option<String> {
        None
    }

    /// Restores the backup beside the database, and reads it back.
    fn fill(&mut self, backup: Backup<'r>) -> Result<()>;

    /// Puts the restored database in place, if nothing exists there.
    fn put_new(self: Box<Self>) -> Result<Option<Restored>>;

    /// Replaces the existing database with the restored one.
    fn put_over(self: Box<Self>) -> Result<Option<Restored>>;
}

/// The existing database at a restore's target.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Existing {
    /// Its size in bytes.
    pub size: u64,
    /// Whether it contains nothing to keep.
    pub is_empty: bool,
    /// What is lost when it is replaced: a sentence each.
    pub warnings: Vec<String>,
    /// What prevents replacing it until an operator removes the cause.
    pub obstacle: Option<String>,
}

/// The result of reading back a restored database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restored {
    /// Tables and rows.
    pub counts: Counts,
    /// What could not or should not be created: a phrase each.
    pub exceptions: Vec<String>,
    /// Other remarks: a sentence each.
    pub notes: Vec<String>,
    /// Whether the database is like the original; if not, the meaning of its text may have changed.
    pub is_alike: bool,
}

/// The options of a test restore.
pub struct Test<'t> {
    /// Whether the backup is known to come from one of the operator's databases.
    pub is_trusted: bool,
    /// A stop request.
    pub cancel: &'t Cancel,
    /// Receives the progress.
    pub progress: &'t dyn Progress,
}

/// The result of a test restore.
pub enum Tested {
    /// All data came back.
    Whole(Restored),
    /// The backup does not give back all data on this server: why.
    NotRestorable(Error),
    /// A problem that proves nothing about the backup: the server, the role, the connection.
    NotTried(Error),
}
