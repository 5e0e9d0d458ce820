//! Error codes: the stable, machine-readable names of what can go wrong, for scripts and for translation.

use std::fmt;

/// An error code. One code covers all errors to which a script would react alike. Sentences may be
/// improved; codes never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// There is no such account.
    AccountNotFound,
    /// The same operation is running or queued already.
    AlreadyRunning,
    /// There is no such archive, or its address has expired.
    ArchiveNotFound,
    /// A backup was deleted or changed since it was selected.
    BackupChanged,
    /// A backup is damaged, or does not match its manifest.
    BackupDamaged,
    /// There is no such backup.
    BackupNotFound,
    /// The operation was cancelled.
    Cancelled,
    /// The database is damaged.
    DatabaseDamaged,
    /// The database server does not let the role do this, or accepts no writes.
    DatabaseDenied,
    /// Another program uses the database; try again later.
    DatabaseInUse,
    /// No database is configured under that name.
    DatabaseNotFound,
    /// The database does not answer.
    DatabaseUnreachable,
    /// A backup was deleted, but the disk did not confirm it.
    DeletionUnconfirmed,
    /// The password, the code or the link is wrong.
    Denied,
    /// The destination did not let Holdfast log in.
    DestinationDenied,
    /// The destination failed in another way.
    DestinationFailed,
    /// The destination is full.
    DestinationFull,
    /// The destination's host key is not the pinned one.
    DestinationHostKey,
    /// There is no such destination, or something that should be at the destination is missing.
    DestinationNotFound,
    /// No destination is set up, or none is switched on.
    DestinationOff,
    /// The destination does not answer.
    DestinationUnreachable,
    /// A directory that Holdfast needs cannot be used.
    DirectoryUnusable,
    /// Another Holdfast uses the directory or the state database.
    InUse,
    /// The disk is full.
    DiskFull,
    /// The file system failed.
    FileFailed,
    /// Holdfast failed; its log says how.
    Internal,
    /// What was entered is not acceptable; the sentence says what to change.
    InvalidInput,
    /// There is no such job.
    JobNotFound,
    /// The key file is missing or cannot be used.
    KeyUnusable,
    /// The change would leave no administrator.
    LastAdministrator,
    /// A limit is reached, such as the number of accounts or the size of a file.
    LimitReached,
    /// The name is taken.
    NameTaken,
    /// The system provides no random numbers.
    NoRandomness,
    /// The request cannot be carried out; the sentence says why.
    Refused,
    /// A stored secret cannot be decrypted with the current key.
    SecretUnreadable,
    /// The state database failed.
    StateFailed,
    /// The state database was made by a newer Holdfast.
    StateNewer,
    /// There is no such API token.
    TokenNotFound,
    /// Too many logins, failed attempts, downloads or imports; try again later.
    TooBusy,
    /// A program that Holdfast needs is missing or failed.
    ToolFailed,
    /// Holdfast, the database server or the destination does not support it.
    Unsupported,
}

impl Code {
    /// Every code.
    pub const ALL: [Self; 41] = [
        Self::AccountNotFound,
        Self::AlreadyRunning,
        Self::ArchiveNotFound,
        Self::BackupChanged,
        Self::BackupDamaged,
        Self::BackupNotFound,
        Self::Cancelled,
        Self::DatabaseDamaged,
        Self::DatabaseDenied,
        Self::DatabaseInUse,
        Self::DatabaseNotFound,
        Self::DatabaseUnreachable,
        Self::DeletionUnconfirmed,
        Self::Denied,
        Self::DestinationDenied,
        Self::DestinationFailed,
        Self::DestinationFull,
        Self::DestinationHostKey,
        Self::DestinationNotFound,
        Self::DestinationOff,
        Self::DestinationUnreachable,
        Self::DirectoryUnusable,
        Self::InUse,
        Self::DiskFull,
        Self::FileFailed,
        Self::Internal,
        Self::InvalidInput,
        Self::JobNotFound,
        Self::KeyUnusable,
        Self::LastAdministrator,
        Self::LimitReached,
        Self::NameTaken,
        Self::NoRandomness,
        Self::Refused,
        Self::SecretUnreadable,
        Self::StateFailed,
        Self::StateNewer,
        Self::TokenNotFound,
        Self::TooBusy,
        Self::ToolFailed,
        Self::Unsupported,
    ];

    /// The code as it is sent and logged: kebab-case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AccountNotFound => "account-not-found",
            Self::AlreadyRunning => "already-running",
            Self::ArchiveNotFound => "archive-not-found",
            Self::BackupChanged => "backup-changed",
            Self::BackupDamaged => "backup-damaged",
            Self::BackupNotFound => "backup-not-found",
            Self::Cancelled => "cancelled",
            Self::DatabaseDamaged => "database-damaged",
            Self::DatabaseDenied => "database-denied",
            Self::DatabaseInUse => "database-in-use",
            Self::DatabaseNotFound => "database-not-found",
            Self::DatabaseUnreachable => "database-unreachable",
            Self::DeletionUnconfirmed => "deletion-unconfirmed",
            Self::Denied => "denied",
            Self::DestinationDenied => "destination-denied",
            Self::DestinationFailed => "destination-failed",
            Self::DestinationFull => "destination-full",
            Self::DestinationHostKey => "destination-host-key",
            Self::DestinationNotFound => "destination-not-found",
            Self::DestinationOff => "destination-off",
            Self::DestinationUnreachable => "destination-unreachable",
            Self::DirectoryUnusable => "directory-unusable",
            Self::InUse => "in-use",
            Self::DiskFull => "disk-full",
            Self::FileFailed => "file-failed",
            Self::Internal => "internal",
            Self::InvalidInput => "invalid-input",
            Self::JobNotFound => "job-not-found",
            Self::KeyUnusable => "key-unusable",
            Self::LastAdministrator => "last-administrator",
            Self::LimitReached => "limit-reached",
            Self::NameTaken => "name-taken",
            Self::NoRandomness => "no-randomness",
            Self::Refused => "refused",
            Self::SecretUnreadable => "secret-unreadable",
            Self::StateFailed => "state-failed",
            Self::StateNewer => "state-newer",
            Self::TokenNotFound => "token-not-found",
            Self::TooBusy => "too-busy",
            Self::ToolFailed => "tool-failed",
            Self::Unsupported => "unsupported",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
