//! What a server's answers say: attributes, which may leave out most, and refusals.

use crate::model::Stamp;
use ssh2::{ErrorCode, FileStat};

/// The bits of a mode that say what a name stands for: `S_IFMT`.
const TYPE_BITS: u32 = 0o170_000;

/// What the attributes say a name stands for.
pub(super) enum TypeTold {
    File,
    Directory,
    Other,
}

/// What the type bits say; nothing where the server sends none.
pub(super) fn told(stat: &FileStat) -> Option<TypeTold> {
    if stat.perm.is_none_or(|mode| mode & TYPE_BITS == 0) {
        None
    } else if stat.is_file() {
        Some(TypeTold::File)
    } else if stat.is_dir() {
        Some(TypeTold::Directory)
    } else {
        Some(TypeTold::Other)
    }
}

/// Whether the server said that there is no such thing.
pub(super) fn is_missing(error: &ssh2::Error) -> bool {
    matches!(error.code(), ErrorCode::SFTP(2 | 10))
}

/// Whether the server said no to a question: permission denied, failure, or not offered.
pub(super) fn is_no(error: &ssh2::Error) -> bool {
    matches!(error.code(), ErrorCode::SFTP(3 | 4 | 8))
}

/// When a file was modified, where the server says.
pub(super) fn modified(stat: &FileStat) -> Option<Stamp> {
    let seconds = i64::try_from(stat.mtime?).ok()?;
    Some(Stamp::from_millis(seconds.saturating_mul(1000)))
}
