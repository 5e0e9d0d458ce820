//! What the audit log tells: who did what to which thing, from where, and what came of it.

use serde::{Deserialize, Serialize};

macro_rules! named {
    ($(#[$about:meta])* $kind:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $kind {
            $($(#[$doc])* $variant,)*
        }

        impl $kind {
            /// All there are.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Its name in the log, which never changes.
            pub const fn text(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }
    };
}

named! {
    /// What happened.
    Event {
        /// Somebody logged in, or tried to. A throttled attempt is a refused one.
        Login = "login",
        /// A session was ended by its owner.
        Logout = "logout",
        /// The first account was made.
        Setup = "setup",
        /// An account was made.
        AccountCreated = "account-created",
        /// An account was removed.
        AccountRemoved = "account-removed",
        /// An account got another role.
        RoleChanged = "role-changed",
        /// A password was changed.
        PasswordChanged = "password-changed",
        /// A second factor was switched on.
        SecondFactorOn = "second-factor-on",
        /// A second factor was switched off.
        SecondFactorOff = "second-factor-off",
        /// Sessions were ended by somebody else, or all at once.
        SessionsEnded = "sessions-ended",
        /// An access token was made.
        TokenMade = "token-made",
        /// An access token was revoked.
        TokenRevoked = "token-revoked",
        /// Settings were saved. The detail names the fields that changed, never their values.
        SettingsChanged = "settings-changed",
        /// Settings were forgotten.
        SettingsReset = "settings-reset",
        /// A host key nobody approved was met.
        HostKeySeen = "host-key-seen",
        /// A host key was approved.
        HostKeyApproved = "host-key-approved",
        /// A server showed another host key than the approved one.
        HostKeyMismatch = "host-key-mismatch",
        /// Stored secrets were sealed anew with a new key.
        KeyRotated = "key-rotated",
        /// A key to log in to the off-site server with was made.
        SshKeyMade = "ssh-key-made",
        /// A backup was made.
        BackupCreated = "backup-created",
        /// Backups were verified.
        BackupsVerified = "backups-verified",
        /// Backups without a manifest got one.
        BackupsAdopted = "backups-adopted",
        /// A backup was deleted.
        BackupDeleted = "backup-deleted",
        /// A backup, or a part of it, was downloaded.
        BackupDownloaded = "backup-downloaded",
        /// An archive of several backups was put together.
        ArchiveMade = "archive-made",
        /// Such an archive, or a part of it, was downloaded.
        ArchiveDownloaded = "archive-downloaded",
        /// A backup was sent off-site.
        BackupUploaded = "backup-uploaded",
        /// A backup was brought back from off-site.
        BackupFetched = "backup-fetched",
        /// An off-site copy was deleted.
        OffSiteDeleted = "off-site-deleted",
        /// A file from a browser became a backup.
        BackupImported = "backup-imported",
        /// A restore was planned.
        RestorePlanned = "restore-planned",
        /// A backup was restored into a database.
        BackupRestored = "backup-restored",
        /// Somebody asked a job to stop.
        JobCancelled = "job-cancelled",
        /// Somebody asked for what they may not.
        AccessDenied = "access-denied",
        /// A connection was refused because of where it would have gone.
        EgressDenied = "egress-denied",
        /// A request that another site had a browser make was rejected.
        CrossSiteRejected = "cross-site-rejected",
        /// A browser reported what the content security policy stopped.
        CspViolation = "csp-violation",
        /// The audit log was downloaded.
        AuditDownloaded = "audit-downloaded",
        /// The server began.
        Started = "started",
        /// The server ended as it was asked to.
        Stopped = "stopped",
    }
}

named! {
    /// What came of it.
    Ending {
        /// It was done.
        Ok = "ok",
        /// It was not begun.
        Refused = "refused",
        /// It was begun and not done.
        Failed = "failed",
        /// Somebody stopped it.
        Cancelled = "cancelled",
        /// It ended because the program did.
        Interrupted = "interrupted",
    }
}

/// One line of the log, as it is read. What it does not know is nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// When, in UTC: RFC 3339 with milliseconds.
    pub time: String,
    /// What happened, by the name of an [`Event`].
    pub event: String,
    /// The account; `name (token label)` for an access token, `user 1000` for a shell.
    pub who: Option<String>,
    /// The address; `shell` or `holdfast` where it was not asked for over the network.
    pub from: Option<String>,
    /// The request's own number.
    pub request: Option<String>,
    /// What it was done to.
    pub object: String,
    /// What came of it, by the name of an [`Ending`].
    pub outcome: String,
    /// What else there is to say.
    pub detail: String,
}

/// Which entries to show: all where a field is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditQuery {
    /// Only of this event.
    pub event: String,
    /// Only of this account.
    pub who: String,
    /// Only those that have this anywhere, whatever the case.
    pub text: String,
    /// Which page, from 1.
    pub page: u64,
}

impl AuditQuery {
    /// Whether it lets an entry through.
    pub fn matches(&self, entry: &AuditEntry) -> bool {
        let has = |field: &str| field.to_lowercase().contains(&self.text.to_lowercase());
        let optional = [&entry.who, &entry.from, &entry.request];
        (self.event.is_empty() || entry.event == self.event)
            && (self.who.is_empty() || entry.who.as_deref() == Some(&self.who))
            && (self.text.is_empty()
                || [&entry.event, &entry.object, &entry.outcome, &entry.detail]
                    .iter()
                    .any(|field| has(field))
                || optional.iter().any(|field| field.as_deref().is_some_and(has)))
    }
}

/// A page of the log, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditPage {
    /// Its entries.
    pub entries: Vec<AuditEntry>,
    /// Whether there are older ones.
    pub has_more: bool,
}

/// Whether a character can end a line, command a terminal, hide, or turn around what stands beside it.
pub const fn is_treacherous(c: char) -> bool {
    matches!(c,
        '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
    )
}

/// The same text with nothing in it that could do that: it reads as Rust would write it.
pub fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if is_treacherous(c) { plain.extend(c.escape_default()) } else { plain.push(c) }
    }
    plain
}
