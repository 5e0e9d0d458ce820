//! Engines: what each kind of database needs to be looked at and copied out, as one stream of bytes.

pub mod postgres;
pub mod process;
pub mod sqlite;
pub mod target;

use crate::domain::error::Result;
pub use crate::domain::jobs::cancel::Cancel;
use crate::model::EngineKind;
pub use postgres::PostgresTools;
use std::io::Read;
use std::path::Path;
pub use target::Target;

/// A kind of database. All calls block; they belong on a blocking thread.
pub trait Engine: Send + Sync {
    /// Which kind.
    fn kind(&self) -> EngineKind;

    /// Where it is, with nothing secret in it, for the page and the log.
    fn address(&self) -> String;

    /// Asks the database whether it can be read, its version and its size. Answers or fails in about ten
    /// seconds at most.
    fn probe(&self) -> Result<Probe>;

    /// Begins a dump: one consistent state of the database, to be read to its end and then finished.
    /// `scratch` is a directory of the caller's for temporary files, on the disk of the backups, removed
    /// by the caller.
    fn begin(&self, scratch: &Path, cancel: &Cancel) -> Result<Box<dyn Dump>>;
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

/// A dump under way: the stream, and what there is to know at its end. Reading to the end proves nothing:
/// a stream that was cancelled, hung or broke off just ends, and only [`Dump::finish`] says whether and why.
/// Dropped before that, it ends whatever it started.
pub trait Dump: Read + Send {
    /// Bytes there will be, where the engine can tell.
    fn total(&self) -> Option<u64>;

    /// Waits for the engine and says whether the stream was complete.
    fn finish(self: Box<Self>) -> Result<Ended>;
}

/// What there is to know at the end of a complete dump.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Ended {
    /// What the tool warned of, in its own words.
    pub warnings: Option<String>,
    /// What is wrong within the database though its copy is whole: a sentence each, with the remedy.
    pub remarks: Vec<String>,
    /// What the database is besides its content, in the engine's own form, for the manifest.
    pub origin: Option<serde_json::Value>,
    /// Tables and rows in the stream, where they were counted.
    pub counted: Option<Counts>,
}

/// Tables and rows.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// How many tables.
    pub tables: u64,
    /// How many rows in all of them.
    pub rows: u64,
}
