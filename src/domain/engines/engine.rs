//! What an engine is: everything Holdfast asks of one kind of database.
//!
//! An [`Engine`] is a kind of database and knows its files. A [`Location`] is where one database is, read from a URL. A
//! [`Database`] is one database with everything that is needed to work with it. All calls block; they belong on a
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
    /// The identifier that manifests carry.
    fn kind(&self) -> EngineKind;

    /// What people call it.
    fn label(&self) -> &'static str;

    /// What its backups hold, for messages: `a PostgreSQL archive`.
    fn content(&self) -> &'static str;

    /// `backup_format` in manifests: the form of the content inside the gzip.
    fn backup_format(&self) -> &'static str;

    /// The files that can be imported, for messages: `SQLite database files`.
    fn importable(&self) -> &'static str;

    /// What the name of a new database ends with, where it is a file's name.
    fn file_ending(&self) -> &'static str {
        ""
    }

    /// The schemes of its URLs, in lower case; the first is the usual one.
    fn schemes(&self) -> &'static [&'static str];

    /// A URL to show whoever wrote a wrong one.
    fn url_example(&self) -> &'static str;

    /// What can be chosen about a restore on the page. Each choice is a field of [`Manner`].
    fn restore_choices(&self) -> Option<RestoreChoices> {
        None
    }

    /// Reads what stands behind `scheme://` in a URL. The error says what is wrong and what to do, and never repeats a
    /// password.
    fn locate(&self, rest: &str) -> Result<Target, String>;

    /// Whether the content of a backup that begins with these bytes is this engine's.
    fn recognises(&self, beginning: &[u8]) -> bool;

    /// Whether these bytes begin a dump of this engine that Holdfast takes no backups of: a script of statements, of
    /// which nobody can tell whether all of it is there.
    fn is_script(&self, _beginning: &str) -> bool {
        false
    }

    /// Why an archive with an entry of that name is a dump that Holdfast does not take; nothing where it is none.
    fn foreign_entry(&self, _name: &str) -> Option<&'static str> {
        None
    }

    /// What the first bytes of a backup tell of how it was made.
    fn facts(&self, _beginning: &[u8]) -> Vec<Fact> {
        Vec::new()
    }

    /// How many objects a backup has, as its first bytes tell; nothing where they do not.
    fn objects(&self, _beginning: &[u8]) -> Option<u64> {
        None
    }

    /// Reads a backup to its end and proves its content. What is wrong with the content is in the answer; an error
    /// says that it could not be checked.
    fn check(&self, check: &Check<'_>) -> Result<Checked>;

    /// Whether backups are restored for a test on a server, by [`Database::test_restore`]. Otherwise [`Engine::check`]
    /// restores them already.
    fn is_tested_on_a_server(&self) -> bool {
        false
    }

    /// Clears away files that killed runs left on this machine. Those of living runs stay.
    fn sweep(&self, _context: &EngineContext) -> Result<()> {
        Ok(())
    }

    /// A server starts: looks at what these databases need and warns in the log, and clears away what killed runs
    /// left on their servers. Holds nothing up.
    fn begin_serving(&self, _context: &EngineContext, _databases: &[Served]) {}
}

/// Where a database is, as its URL says. Its `Debug` and its address show no password.
pub trait Location: fmt::Debug + Send + Sync {
    /// Its engine.
    fn kind(&self) -> EngineKind;

    /// Where it is, for the page and the log, without anything secret.
    fn address(&self) -> String;

    /// The database's own name, without the way to it.
    fn own_name(&self) -> String;

    /// The file that is the database, where it is a file of this machine.
    fn file(&self) -> Option<&Path> {
        None
    }

    /// Whether both lead to the same database, however each is written. Asks the DNS only where it has to.
    fn is_same(&self, other: &dyn Location, context: &EngineContext, cancel: &Cancel) -> bool;

    /// The location of another database beside this one. The error is a phrase that says what is wrong with the name.
    fn beside(&self, name: &str) -> Result<Target, String>;

    /// The database there, which the operator calls `name`. `setting` says where its URL was given, for advice.
    fn database(
        &self,
        name: DatabaseName,
        context: &EngineContext,
        setting: &'static str,
    ) -> Arc<dyn Database>;

    /// Itself, for its engine to compare with another.
    fn as_any(&self) -> &dyn Any;
}

/// One database, ready to be worked with.
pub trait Database: Send + Sync {
    /// Its engine.
    fn kind(&self) -> EngineKind;

    /// Where it is, for the page and the log, without anything secret.
    fn address(&self) -> String;

    /// Asks the database whether it can be read, its version and its size. Answers or fails in about ten seconds at
    /// most.
    fn probe(&self) -> Result<Probe>;

    /// Begins a dump: one consistent state of the database, to be read to its end and then finished. `scratch` is a
    /// directory of the caller's for temporary files, on the disk of the backups, removed by the caller.
    fn begin(&self, scratch: &Path, cancel: &Cancel) -> Result<Box<dyn Dump>>;

    /// Looks at what a restore into it would meet, and changes nothing.
    fn plan(&self, plan: &Plan<'_>) -> Result<Planned>;

    /// Opens a restore into it: finds out what is there and whether it can be replaced, and changes nothing yet.
    fn restore<'r>(&'r self, how: &Restoring<'r>) -> Result<Box<dyn Restore<'r> + 'r>>;

    /// Restores a checked backup on its server for a test, reads it back and removes it; the database itself is not
    /// touched. An error means that it was cancelled or that the file changed since it was checked.
    fn test_restore(&self, _backup: Backup<'_>, _test: &Test<'_>) -> Result<Tested> {
        Ok(Tested::NotTried(Error::Refused("the check of such a backup restores it already.".to_owned())))
    }
}

/// Where a database is: the location that an engine read from a URL.
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

/// What engines may use of this machine.
#[derive(Debug, Clone)]
pub struct EngineContext {
    /// Directories of tools that the operator named for an engine; its tools are then looked for nowhere else.
    pub tool_directories: BTreeMap<EngineKind, PathBuf>,
    /// A directory for secrets that tools read, best in memory; made and closed to others when it is used.
    pub run_dir: PathBuf,
    /// The `PATH` to look for tools in.
    pub path: OsString,
    /// Which addresses may be connected to.
    pub outbound: Policy,
}

/// A database that a server was started with.
#[derive(Clone)]
pub struct Served {
    /// What the operator calls it; nothing where it is only for tests.
    pub name: Option<DatabaseName>,
    /// Where it is.
    pub target: Target,
    /// Where its URL was given, for advice.
    pub setting: &'static str,
}

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The server's or the library's version.
    pub version: String,
    /// Bytes the database takes.
    pub size: u64,
    /// What to know before a backup.
    pub warning: Option<String>,
}

/// A dump under way: the stream, and what there is to know at its end. Reading to the end proves nothing: a stream that
/// was cancelled, hung or broke off just ends, and only [`Dump::finish`] says whether and why. Dropped before that, it
/// ends whatever it started.
pub trait Dump: Read + Send {
    /// Bytes there will be, where the engine can tell.
    fn total(&self) -> Option<u64>;

    /// Waits for the engine and says whether the stream was complete.
    fn finish(self: Box<Self>) -> Result<Ended>;
}

/// A backup to be checked.
pub struct Check<'c> {
    /// The file.
    pub source: &'c Source,
    /// The first bytes of its content.
    pub beginning: &'c [u8],
    /// The most bytes it may unpack to.
    pub limit: u64,
    /// The file that the content is to replace, where the check is for a restore into a file of this machine: what is
    /// unpacked goes beside it.
    pub beside: Option<&'c Path>,
    /// Otherwise gives a directory for temporary files, which the caller removes.
    pub scratch: &'c dyn Fn() -> Result<PathBuf>,
    /// What the engine may use.
    pub context: &'c EngineContext,
    /// A request to stop.
    pub cancel: &'c Cancel,
    /// Hears how it gets on.
    pub progress: &'c dyn Progress,
}

impl<'c> Check<'c> {
    /// Begins to read the content: no more than the limit, and no more than `room` bytes where that is less.
    pub fn content(&self, room: Option<u64>) -> Content<'c> {
        let limit = room.map_or(self.limit, |room| self.limit.min(room));
        self.source.read(limit, self.cancel, self.progress)
    }
}

/// What an engine found out about the content of a backup.
pub struct Checked {
    /// What reading the file came to.
    pub sums: Sums,
    /// What is wrong with the content: a phrase; nothing where it is good.
    pub fault: Option<String>,
    /// What is proved where nothing is wrong.
    pub proof: Proof,
    /// Tables and rows, where the check counted them.
    pub counted: Option<Counts>,
    /// What is wrong within the database though the backup is whole: a sentence each.
    pub remarks: Vec<String>,
    /// What the content is and what reads it: a sentence.
    pub sentence: String,
    /// What a restore of these bytes needs of the check.
    pub kept: Kept,
}

/// What a restore needs of the check before it: known to the engine alone.
pub type Kept = Box<dyn Any + Send>;

/// How a backup is restored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Manner {
    /// Whether objects are given to the roles they belonged to, with the rights these had, where the roles are there.
    pub keep_owners: bool,
    /// Whether what acts outside the database is made, too: subscriptions, event triggers, jobs, logins to other servers.
    pub act_outside: bool,
}

/// A restore to be planned.
pub struct Plan<'p> {
    /// The file; nothing where it is not here yet.
    pub source: Option<&'p Source>,
    /// The first bytes of its content, where it is here.
    pub beginning: &'p [u8],
    /// How it is to be restored.
    pub manner: Manner,
}

/// What a restore would meet.
pub struct Planned {
    /// What there is to know.
    pub facts: Vec<Fact>,
    /// What to think of first: a sentence each.
    pub warnings: Vec<String>,
    /// Bytes of what is there now; nothing where it is a new database.
    pub replaces: Option<u64>,
    /// The name that has to be typed to replace it.
    pub typed: String,
}

/// How a restore is done.
#[derive(Clone, Copy)]
pub struct Restoring<'r> {
    /// How.
    pub manner: Manner,
    /// A request to stop.
    pub cancel: &'r Cancel,
    /// Hears how it gets on.
    pub progress: &'r dyn Progress,
}

/// A backup that was checked, to be restored.
pub struct Backup<'b> {
    /// The file.
    pub source: &'b Source,
    /// The SHA-256 it had when it was checked.
    pub sha256: String,
    /// The most bytes it may unpack to.
    pub limit: u64,
    /// What the check kept for this.
    pub kept: Kept,
}

/// What the check of this engine kept; an error where it was another engine's.
pub fn own<T: 'static>(kept: Kept) -> Result<T> {
    kept.downcast().map(|kept| *kept).map_err(|_| Error::Lost)
}

/// A restore into one database. Dropped before it is done, it leaves the database as it was, and nothing else.
pub trait Restore<'r> {
    /// What is there now; nothing where the database is new.
    fn existing(&self) -> Option<&Existing>;

    /// What is done next, once the backup is known to be whole: a sentence, where that takes its time.
    fn announcement(&self) -> Option<String> {
        None
    }

    /// Restores the backup beside the database, and reads it back.
    fn fill(&mut self, backup: Backup<'r>) -> Result<()>;

    /// Gives what was filled its place, where nothing is there.
    fn put_new(self: Box<Self>) -> Result<Option<Restored>>;

    /// Puts what was filled into the place of what is there.
    fn put_over(self: Box<Self>) -> Result<Option<Restored>>;
}

/// What is in the place of a restore.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Existing {
    /// Bytes it takes.
    pub size: u64,
    /// Whether there is nothing in it to keep.
    pub is_empty: bool,
    /// What goes with it when it is replaced: a sentence each.
    pub warnings: Vec<String>,
    /// What keeps it from being replaced until somebody ends that.
    pub obstacle: Option<String>,
}

/// What was found when a restored database was read back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restored {
    /// Tables and rows.
    pub counts: Counts,
    /// What could not be made, or was not to be: a phrase each.
    pub exceptions: Vec<String>,
    /// What else there is to know: a sentence each.
    pub notes: Vec<String>,
    /// Whether it is made like its source; otherwise what its text means may have changed.
    pub is_alike: bool,
}

/// How a restore is tested.
pub struct Test<'t> {
    /// Whether the backup is known to come from a database of the operator's.
    pub is_trusted: bool,
    /// A request to stop.
    pub cancel: &'t Cancel,
    /// Hears how it gets on.
    pub progress: &'t dyn Progress,
}

/// What a test came to.
pub enum Tested {
    /// All data came back.
    Whole(Restored),
    /// The backup does not give all its data back on this server: why.
    NotRestorable(Error),
    /// Something that says nothing of the backup was in the way: the server, the role, the connection.
    NotTried(Error),
}
