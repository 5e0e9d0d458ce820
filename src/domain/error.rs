//! Errors: each has a sentence for the user, a code for scripts, and its cause for the log.

mod code;

use crate::domain::destinations::fault::{Fault, FaultKind};
use crate::model::{AppError, BackupName, DatabaseName, Task};
use std::io;
use std::path::{Path, PathBuf};
use tracing::field::{DebugValue, debug};

pub use code::Code;

/// The result of a domain operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error; its display is a sentence for the user.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A directory that Holdfast needs cannot be created or used.
    #[error("The {role} {} cannot be used: {source}. Check that it exists, is a directory and belongs to Holdfast's user.", path.display())]
    Directory {
        /// Its purpose: `backup directory`, `data directory`.
        role: &'static str,
        /// Its path.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The disk is full.
    #[error("The disk that holds {} is full. Free some space and try again; the backups already there are untouched.", path.display())]
    DiskFull {
        /// What was being written.
        path: PathBuf,
    },
    /// Another error of the file system.
    #[error("{doing} {} failed: {source}.", path.display())]
    File {
        /// The operation, as the beginning of the sentence: `Writing`, `Reading`.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Another Holdfast uses this directory.
    #[error("Another Holdfast already uses {}. Stop it first, or give this one another directory.", path.display())]
    DirectoryTaken {
        /// The directory.
        path: PathBuf,
    },
    /// No backup with this name is listed.
    #[error("There is no backup named {0}. It may have been deleted; reload the list.")]
    NoBackup(BackupName),
    /// A backup was deleted, but the disk did not confirm it.
    #[error(
        "It is no longer listed, but the disk did not confirm the deletion: {reason} It may reappear after a power cut; check the disk."
    )]
    DeletionUnsure {
        /// The backup.
        backup: BackupName,
        /// The disk's error.
        reason: String,
    },
    /// The account has no archive with that address, or the archive has expired.
    #[error(
        "There is no such archive, or it has expired after a day. Select the backups and download them again."
    )]
    NoArchive,
    /// A backup in an archive changed after the archive was requested.
    #[error(
        "{0} was deleted or changed since this archive was created. Select the backups and download them again."
    )]
    Changed(BackupName),
    /// No database is configured under that name.
    #[error("There is no database named {0}. The databases are set in HOLDFAST_DATABASES.")]
    NoDatabase(String),
    /// There is no job with that number.
    #[error("There is no such job.")]
    NoJob,
    /// The same task is running or waiting already.
    #[error("{}", .0.already_under_way())]
    Busy(Task),
    /// The database did not answer.
    #[error("{database} cannot be reached: {reason}")]
    Unreachable {
        /// Its configured name.
        database: DatabaseName,
        /// Cause and remedy, in one or two sentences.
        reason: String,
    },
    /// A program Holdfast needs is not installed, too old, or failed.
    #[error("{message}")]
    Tool {
        /// Cause and remedy.
        message: String,
        /// The tool's output, capped and without secrets.
        detail: Option<String>,
    },
    /// The database itself is damaged.
    #[error(
        "{database} is damaged, so no backup of it was kept: {reason}. Restore it from an earlier backup, or repair it."
    )]
    SourceDamaged {
        /// Its configured name.
        database: DatabaseName,
        /// What the engine found.
        reason: String,
    },
    /// A failure at a destination: its server, the connection, or the files there.
    #[error("{0}")]
    OffSite(#[from] Fault),
    /// The operation was cancelled.
    #[error("Cancelled.")]
    Cancelled,
    /// The request cannot be carried out, and scripts need not tell this from other refusals; the sentence says why.
    /// Its code is [`Code::Refused`].
    #[error("{0}")]
    Refused(String),
    /// The request cannot be carried out, for a reason with a code of its own.
    #[error("{}", .0.sentence)]
    Refusal(Refusal),
    /// The username, password, code or set-up link is wrong.
    #[error("{0}")]
    Denied(&'static str),
    /// The state database failed.
    #[error("Holdfast's own state database failed ({0}). The backups are not affected; see the log.")]
    State(#[from] rusqlite::Error),
    /// The system provides no random numbers.
    #[error("The system provides no random numbers: {0}.")]
    NoRandomness(String),
    /// A thread of Holdfast ended without a result.
    #[error("The work stopped unexpectedly; see the log.")]
    Lost,
}

/// Why a request cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// For scripts.
    pub code: Code,
    /// For the user: cause and next step.
    pub sentence: String,
}

impl Error {
    /// A refusal with a code of its own.
    pub fn refusal(code: Code, sentence: impl Into<String>) -> Self {
        Self::Refusal(Refusal { code, sentence: sentence.into() })
    }

    /// Whether the request was refused, as opposed to tried and failed.
    pub const fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Refusal(_))
    }

    /// What is behind the sentence, for the program's log; nothing if the sentence says it all.
    pub fn cause(&self) -> Option<DebugValue<&Self>> {
        (!matches!(self, Self::Refused(_) | Self::Refusal(_))).then(|| debug(self))
    }

    /// The error's code, for scripts and for translation.
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

    /// The error for a failed file operation; a full disk has its own.
    pub fn file(doing: &'static str, path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::DiskFull { path: path.to_owned() }
            }
            _ => Self::File { doing, path: path.to_owned(), source },
        }
    }

    /// The tool's output, if there is any.
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
            Code::AlreadyRunning | Code::BackupChanged | Code::DatabaseInUse => Self::Conflict(sentence),
            Code::AccountNotFound
            | Code::BackupDamaged
            | Code::DatabaseDenied
            | Code::Denied
            | Code::DestinationOff
            | Code::InvalidInput
            | Code::KeyUnusable
            | Code::LastAdministrator
            | Code::LimitReached
            | Code::NameTaken
            | Code::Refused
            | Code::SecretUnreadable
            | Code::StateNewer
            | Code::TokenNotFound
            | Code::TooBusy
            | Code::Unsupported => Self::BadRequest(sentence),
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
