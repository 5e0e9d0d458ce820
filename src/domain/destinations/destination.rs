//! What Holdfast asks of a place for copies: one trait, which each kind of destination implements in its own folder.

use crate::domain::destinations::attempt::{Attempt, Uploaded};
use crate::domain::destinations::outgoing::Outgoing;
use crate::domain::error::Result;
use crate::model::Stamp;

/// How the name of an unfinished file at a destination begins. The file's final name follows, so that the next try
/// finds what a broken upload left.
pub const DRAFT_PREFIX: &str = ".part-";

/// Names in a longer list than this are not read to the end: no backup directory holds as many.
pub const LIST_MAX: usize = 200_000;

/// What a name at a destination stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// A regular file, of so many bytes.
    File(u64),
    /// A directory.
    Directory,
    /// A link, a pipe or something else that Holdfast leaves alone.
    Other,
}

/// A regular file at a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileThere {
    /// Its name.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// When it was last modified, where the destination tells.
    pub modified: Option<Stamp>,
}

/// Whether reading goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// More, please.
    On,
    /// Enough.
    Enough,
}

/// One opened place for copies, flat: it holds files by name and has no paths. A name is a single path component.
/// Every call blocks. What goes wrong there is a [`Fault`](super::fault::Fault).
pub trait Destination {
    /// Where it is, for messages: `/backups on nas.example.org`.
    fn place(&self) -> &str;

    /// Makes it ready to take files. `true` where something had to be made first.
    fn prepare(&self) -> Result<bool>;

    /// What `name` stands for; nothing where the name is free. Does not follow links.
    fn stat(&self, name: &str) -> Result<Option<Found>>;

    /// The regular files there.
    fn list(&self) -> Result<Vec<FileThere>>;

    /// Writes `source` to its end into the draft `name`, from byte `from` on. The draft must be new where `from` is
    /// 0, and must exist where it is not. `progress` hears how many bytes of the draft have arrived. Gives whether
    /// the bytes are durable; a destination need not offer that.
    fn put(
        &self,
        name: &str,
        from: u64,
        source: &mut dyn FnMut(&mut [u8]) -> Result<usize>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<bool>;

    /// Reads `name` from its beginning and passes it on in pieces, until it ends or `sink` has enough.
    fn read(&self, name: &str, sink: &mut dyn FnMut(&[u8]) -> Result<Flow>) -> Result<()>;

    /// Makes the complete draft the file `name`, in one step. Never overwrites: `false`, with the draft left as it
    /// is, where that name is taken.
    fn commit(&self, draft: &str, name: &str) -> Result<bool>;

    /// Removes a file. `false` where there is none.
    fn remove(&self, name: &str) -> Result<bool>;

    /// Bytes this account may still write where the file `name` lies; nothing where the destination does not tell.
    fn free_space(&self, name: &str) -> Result<Option<u64>>;

    /// Uploads a backup: when this returns, the backup has its name there, whole, with its manifest beside it. Most
    /// kinds do that with [`transfer::send`](super::transfer::send); one that works another way has its own.
    fn upload(&self, backup: &Outgoing, attempt: &Attempt<'_>) -> Result<Uploaded>;

    /// Whether it takes files but lets nobody read them. Copies there are never called verified.
    fn is_write_only(&self) -> bool {
        false
    }
}
