//! What can go wrong: each error has a sentence for the reader, a code for scripts, and its cause for the log.

mod code;

use crate::domain::destinations::fault::{Fault, FaultKind};
use crate::model::{AppError, BackupName, DatabaseName, Task};
use std::io;
use std::path::{Path, PathBuf};

pub use code::Code;

/// The result of a domain operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure, its display a sentence for the reader.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A directory Holdfast needs cannot be made or used.
    #[error("The {role} {} cannot be used: {source}. Check that it exists, is a directory and belongs to this user.", path.display())]
    Directory {
        /// What it is for: `backup directory`, `data directory`.
        role: &'static str,
        /// Where it should be.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The file system has no room left.
    #[error("The disk that holds {} is full. Free some space and try again; the backups already there are untouched.", path.display())]
    DiskFull {
        /// What was being written.
        path: PathBuf,
    },
    /// Any other failure of the file system.
    #[error("{doing} {} failed: {source}.", path.display())]
    File {
        /// What was being done, as the sentence's beginning: `Writing`, `Reading`.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Another Holdfast serves this directory.
    #[error("Another Holdfast already works on {}. Stop it first, or give this one a directory of its own.", path.display())]
    DirectoryTaken {
        /// The directory.
        path: PathBuf,
    },
    /// No such backup is listed.
    #[error("There is no backup named {0}. It may have been deleted; reload the list.")]
    NoBackup(BackupName),
    /// Its name is gone, but the disk did not confirm that.
    #[error(
        "It is no longer listed, but the disk did not confirm it: {reason} It may be back after a power cut; look at the disk."
    )]
    DeletionUnsure {
        /// The backup.
        backup: BackupName,
        /// What the disk said.
        reason: String,
    },
    /// No archive of this account has that address, or not any more.
    #[error(
        "There is no such archive. Its address works for a day; select the backups and download them again."
    )]
    NoArchive,
    /// A backup of an archive is not what it was when the archive was asked for.
    #[error(
        "{0} was deleted or changed since this archive was put together. Select the backups and download them again."
    )]
    Changed(BackupName),
    /// No database is configured under that name.
    #[error("There is no database named {0}. The databases are set in HOLDFAST_DATABASES.")]
    NoDatabase(String),
    /// No job has that number.
    #[error("There is no such job.")]
    NoJob,
    /// The same already runs or waits.
    #[error("{}", .0.already_under_way())]
    Busy(Task),
    /// The database did not answer.
    #[error("{database} cannot be reached: {reason}")]
    Unreachable {
        /// The operator's name for it.
        database: DatabaseName,
        /// Cause and remedy, one or two sentences.
        reason: String,
    },
    /// A program Holdfast needs is not installed, too old, or failed.
    #[error("{message}")]
    Tool {
        /// Cause and remedy.
        message: String,
        /// The tool's own words, capped and without secrets.
        detail: Option<String>,
    },
    /// The database itself is damaged.
    #[error(
        "{database} is damaged, so no backup of it was kept: {reason}. Restore it from an earlier backup, or repair it."
    )]
    SourceDamaged {
        /// The operator's name for it.
        database: DatabaseName,
        /// What the engine found.
        reason: String,
    },
    /// Something about the off-site copy: the server, the way there, or what lies there.
    #[error("{0}")]
    OffSite(#[from] Fault),
    /// Somebody cancelled it.
    #[error("Cancelled.")]
    Cancelled,
    /// The request cannot be carried out as it stands, and a script has no reason to tell this from other refusals;
    /// the sentence says why. Its code is [`Code::Refused`].
    #[error("{0}")]
    Refused(String),
    /// The request cannot be carried out as it stands, for a reason that a script can tell from others.
    #[error("{}", .0.sentence)]
    Refusal(Refusal),
    /// Username or password is wrong, or the set-up link is.
    #[error("{0}")]
    Denied(&'static str),
    /// The state database failed.
    #[error("Holdfast's own state database failed ({0}). The backups are not affected; see the log.")]
    State(#[from] rusqlite::Error),
    /// The system has no random numbers to give.
    #[error("The system gives no random numbers: {0}.")]
    NoRandomness(String),
    /// A thread of ours ended without an answer.
    #[error("The work stopped unexpectedly; see the log.")]
    Lost,
}

/// Why a request cannot be carried out as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// For scripts.
    pub code: Code,
    /// For the reader: cause and next step.
    pub sentence: String,
}

impl Error {
    /// A refusal that a script can tell from others by its `code`.
    pub fn refusal(code: Code, sentence: impl Into<String>) -> Self {
        Self::Refusal(Refusal { code, sentence: sentence.into() })
    }

    /// Whether the request was refused as it stands, as opposed to tried and failed.
    pub const fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Refusal(_))
    }

    /// What went wrong, for scripts and for translation.
    pub const fn code(&self) -> Code {
        match self {
            Self::Directory { .. } => Code::DirectoryUnusable,
            Self::DiskFull { .. } => Code::DiskFull,
            Self::File { .. } => Code::FileFailed,
            Self::DirectoryTaken { .. } => Code::InUse,
            Self::NoBackup(_) => Code::BackupNotFound,
            Self::DeletionUnsure { .. } => Code::DeletionUnconfirmed,
            Self::NoArchive => Code::ArchiveNotFound,
            Self::Changed(_) => Code::BackupChanged,
            Self::NoDatabase(_) => Code::DatabaseNotFound,
            Self::NoJob => Code::JobNotFound,
            Self::Busy(_) => Code::AlreadyRunning,
            Self::Unreachable { .. } => Code::DatabaseUnreachable,
            Self::Tool { .. } => Code::ToolFailed,
            Self::SourceDamaged { .. } => Code::DatabaseDamaged,
            Self::OffSite(fault) => match fault.kind {
                FaultKind::Resolve
                | FaultKind::Unreachable
                | FaultKind::Refused
                | FaultKind::TimedOut
                | FaultKind::Lost
                | FaultKind::WrongProtocol
                | FaultKind::NotMounted => Code::DestinationUnreachable,
                FaultKind::UntrustedServer => Code::DestinationHostKey,
                FaultKind::Denied | FaultKind::UnusableKey | FaultKind::Permission => Code::DestinationDenied,
                FaultKind::NoSuchPath => Code::DestinationNotFound,
                FaultKind::Full => Code::DestinationFull,
                FaultKind::NoService | FaultKind::Taken | FaultKind::Differs | FaultKind::Other => {
                    Code::DestinationFailed
                }
            },
            Self::Cancelled => Code::Cancelled,
            Self::Refused(_) => Code::Refused,
            Self::Refusal(refusal) => refusal.code,
            Self::Denied(_) => Code::Denied,
            Self::State(_) => Code::StateFailed,
            Self::NoRandomness(_) => Code::NoRandomness,
            Self::Lost => Code::Internal,
        }
    }

    /// A file system's answer, told apart where the reader can do something particular about it.
    pub fn file(doing: &'static str, path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::DiskFull { path: path.to_owned() }
            }
            _ => Self::File { doing, path: path.to_owned(), source },
        }
    }

    /// The tool's own words, where there are any.
    pub fn detail(&self) -> Option<&str> {
        match self {
            Self::Tool { detail, .. } => detail.as_deref(),
            _ => None,
        }
    }
}

impl From<Error> for AppError {
    fn from(error: Error) -> Self {
        let sentence = error.to_string();
        match error.code() {
            Code::ArchiveNotFound
            | Code::BackupNotFound
            | Code::DatabaseNotFound
            | Code::DestinationNotFound
            | Code::JobNotFound => Self::NotFound(sentence),
            Code::AlreadyRunning | Code::BackupChanged => Self::Conflict(sentence),
            Code::AccountNotFound
            | Code::Denied
            | Code::InvalidInput
            | Code::KeyUnusable
            | Code::LastAdministrator
            | Code::LimitReached
            | Code::NameTaken
            | Code::Refused
            | Code::SecretUnreadable
            | Code::StateNewer
            | Code::TokenNotFound
            | Code::TooBusy => Self::BadRequest(sentence),
            Code::Cancelled
            | Code::DatabaseDamaged
            | Code::DatabaseUnreachable
            | Code::DeletionUnconfirmed
            | Code::DestinationDenied
            | Code::DestinationFailed
            | Code::DestinationFull
            | Code::DestinationHostKey
            | Code::DestinationUnreachable
            | Code::DirectoryUnusable
            | Code::InUse
            | Code::DiskFull
            | Code::FileFailed
            | Code::Internal
            | Code::NoRandomness
            | Code::StateFailed
            | Code::ToolFailed => Self::Failed(sentence),
        }
    }
}
