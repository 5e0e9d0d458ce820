//! Entries of the audit log: who did what, to which object, from where, and with what result.

use serde::{Deserialize, Serialize};

macro_rules! named {
    ($(#[$about:meta])* $kind:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $kind {
            $($(#[$doc])* $variant,)*
        }

        impl $kind {
            /// All values.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name in the log, which never changes.
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
        /// A user ended a session.
        Logout = "logout",
        /// The first account was created.
        Setup = "setup",
        /// An account was created.
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
        /// An API token was created.
        TokenMade = "token-made",
        /// An API token was revoked.
        TokenRevoked = "token-revoked",
        /// Settings were saved. The detail names the fields that changed, never their values.
        SettingsChanged = "settings-changed",
        /// Settings were deleted.
        SettingsReset = "settings-reset",
        /// A server showed an unknown host key.
        HostKeySeen = "host-key-seen",
        /// A host key was approved.
        HostKeyApproved = "host-key-approved",
        /// A server showed a different host key than the approved one.
        HostKeyMismatch = "host-key-mismatch",
        /// Stored secrets were re-encrypted with a new key.
        KeyRotated = "key-rotated",
        /// An SSH key for the off-site server was generated.
        SshKeyMade = "ssh-key-made",
        /// A backup was created.
        BackupCreated = "backup-created",
        /// Backups were verified.
        BackupsVerified = "backups-verified",
        /// Manifests were written for backups without one.
        BackupsAdopted = "backups-adopted",
        /// A backup was deleted.
        BackupDeleted = "backup-deleted",
        /// A backup, or a part of it, was downloaded.
        BackupDownloaded = "backup-downloaded",
        /// An archive of several backups was made.
        ArchiveMade = "archive-made",
        /// Such an archive, or a part of it, was downloaded.
        ArchiveDownloaded = "archive-downloaded",
        /// A backup was uploaded to a destination.
        BackupUploaded = "backup-uploaded",
        /// A copy was fetched from a destination.
        BackupFetched = "backup-fetched",
        /// A copy at a destination was deleted.
        OffSiteDeleted = "off-site-deleted",
        /// A file uploaded by a browser became a backup.
        BackupImported = "backup-imported",
        /// A restore was planned.
        RestorePlanned = "restore-planned",
        /// A backup was restored into a database.
        BackupRestored = "backup-restored",
        /// A user cancelled a job.
        JobCancelled = "job-cancelled",
        /// A user tried something that the account has no right to.
        AccessDenied = "access-denied",
        /// An outbound connection was refused because of its address.
        EgressDenied = "egress-denied",
        /// A cross-site request was rejected.
        CrossSiteRejected = "cross-site-rejected",
        /// A browser reported a violation of the content security policy.
        CspViolation = "csp-violation",
        /// The audit log was downloaded.
        AuditDownloaded = "audit-downloaded",
        /// The server started.
        Started = "started",
        /// The server stopped as requested.
        Stopped = "stopped",
    }
}

named! {
    /// The result of an event.
    Ending {
        /// It succeeded.
        Ok = "ok",
        /// It was refused and did not begin.
        Refused = "refused",
        /// It began and failed.
        Failed = "failed",
        /// A user cancelled it.
        Cancelled = "cancelled",
        /// It ended because the program stopped.
        Interrupted = "interrupted",
    }
}

/// One entry of the log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// When, in UTC: RFC 3339 with milliseconds.
    pub time: String,
    /// The name of an [`Event`].
    pub event: String,
    /// The account; `name (token label)` for an API token, `user 1000` for the shell.
    pub who: Option<String>,
    /// The client's address; `shell` or `holdfast` if the event did not come over the network.
    pub from: Option<String>,
    /// The number of the request.
    pub request: Option<String>,
    /// The object, such as a backup or an account.
    pub object: String,
    /// The name of an [`Ending`].
    pub outcome: String,
    /// Further details.
    pub detail: String,
}

/// A filter for entries. An empty field matches all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditQuery {
    /// Only entries of this event.
    pub event: String,
    /// Only entries of this account.
    pub who: String,
    /// Only entries that contain this text in any field, ignoring case.
    pub text: String,
    /// The page, from 1.
    pub page: u64,
}

impl AuditQuery {
    /// Whether an entry matches.
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
    /// The entries.
    pub entries: Vec<AuditEntry>,
    /// Whether there are older entries.
    pub has_more: bool,
}

/// Whether a character can end a line, control a terminal, hide, or reverse the text around it.
pub const fn is_treacherous(c: char) -> bool {
    matches!(c,
        '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
    )
}

/// `text` with all [treacherous](is_treacherous) characters escaped as in Rust.
pub fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if is_treacherous(c) { plain.extend(c.escape_default()) } else { plain.push(c) }
    }
    plain
}
