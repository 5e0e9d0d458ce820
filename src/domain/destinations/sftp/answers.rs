//! Interprets a server's answers: attributes, which may be incomplete, and refusals.

use crate::model::Stamp;
use ssh2::{ErrorCode, FileStat};

/// The bits of a mode with the type of a file: `S_IFMT`.
const TYPE_BITS: u32 = 0o170_000;

/// The type of a file, according to its attributes.
pub(super) enum TypeTold {
    File,
    Directory,
    Other,
}

/// The type, from the mode's type bits; `None` if the server sends none.
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

/// Whether the server says that the file does not exist.
pub(super) fn is_missing(error: &ssh2::Error) -> bool {
    matches!(error.code(), ErrorCode::SFTP(2 | 10))
}

/// Whether the server refuses: permission denied, failure, or not supported.
pub(super) fn is_no(error: &ssh2::Error) -> bool {
    matches!(error.code(), ErrorCode::SFTP(3 | 4 | 8))
}

/// When a file was modified, if the server tells.
pub(super) fn modified(stat: &FileStat) -> Option<Stamp> {
    let seconds = i64::try_from(stat.mtime?).ok()?;
    Some(Stamp::from_millis(seconds.saturating_mul(1000)))
}
