//! The trait of a destination, which each kind of destination implements in its own folder.

use crate::domain::destinations::attempt::{Attempt, Uploaded};
use crate::domain::destinations::outgoing::Outgoing;
use crate::domain::error::Result;
use crate::model::Stamp;

/// The prefix of an unfinished file's name. The final name follows, so that the next attempt finds the draft.
pub const DRAFT_PREFIX: &str = ".part-";

/// The longest list of names that is read; no backup directory has as many files.
pub const LIST_MAX: usize = 200_000;

/// What a name at a destination is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// A regular file, with its size in bytes.
    File(u64),
    /// A directory.
    Directory,
    /// A link, a pipe or something else that Holdfast does not touch.
    Other,
}

/// A regular file at a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileThere {
    /// Its name.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// When it was last modified, if the destination tells.
    pub modified: Option<Stamp>,
}

/// Whether to continue reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Continue.
    On,
    /// Stop.
    Enough,
}

/// An opened destination: a flat directory of files without paths. A name is a single path component. Every
/// call blocks. Failures are [`Fault`](super::fault::Fault)s.
pub trait Destination {
    /// Where it is, for messages: `/backups on nas.example.org`.
    fn place(&self) -> &str;

    /// Makes it ready to receive files. `true` if a directory was created.
    fn prepare(&self) -> Result<bool>;

    /// What `name` is; `None` if it does not exist. Does not follow links.
    fn stat(&self, name: &str) -> Result<Option<Found>>;

    /// The regular files at the destination.
    fn list(&self) -> Result<Vec<FileThere>>;

    /// Writes `source` to its end into the draft `name`, starting at byte `from`. The draft must not exist if
    /// `from` is 0, and must exist otherwise. `progress` receives the number of the draft's bytes that have
    /// arrived. Returns whether the bytes are durable, which a destination need not offer.
    fn put(
        &self,
        name: &str,
        from: u64,
        source: &mut dyn FnMut(&mut [u8]) -> Result<usize>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<bool>;

    /// Reads `name` from its beginning and passes it on in pieces, until it ends or `sink` stops.
    fn read(&self, name: &str, sink: &mut dyn FnMut(&[u8]) -> Result<Flow>) -> Result<()>;

    /// Renames the complete draft to `name`, in one step. Never overwrites: returns `false`, leaving the
    /// draft, if the name is taken.
    fn commit(&self, draft: &str, name: &str) -> Result<bool>;

    /// Removes a file. `false` if it does not exist.
    fn remove(&self, name: &str) -> Result<bool>;

    /// Bytes this account may still write on the disk of the file `name`; `None` if the destination does not
    /// tell.
    fn free_space(&self, name: &str) -> Result<Option<u64>>;

    /// Uploads a backup: afterwards the complete backup has its final name there, with its manifest beside
    /// it. Most kinds use [`transfer::send`](super::transfer::send).
    fn upload(&self, backup: &Outgoing, attempt: &Attempt<'_>) -> Result<Uploaded>;

    /// Whether files can be written but not read there. Such copies never count as verified.
    fn is_write_only(&self) -> bool {
        false
    }
}
