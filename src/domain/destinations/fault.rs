//! What can go wrong between a backup and its copy: each kind of failure, with a sentence that says what to do next.

use std::time::Duration;

/// A failure at a destination or on the way there. It displays as a sentence for the reader.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub struct Fault {
    /// Which kind of failure.
    pub kind: FaultKind,
    /// What happened, to what, where, and what to do.
    pub sentence: String,
    /// The step of finishing a file that failed, and whether the destination took long over it: another try is
    /// expensive then.
    pub finishing: Option<(Finishing, bool)>,
}

/// The steps that finish a file. A destination may need minutes for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finishing {
    /// Writing the file to the disk.
    Syncing,
    /// Closing the file.
    Closing {
        /// Whether the file was made durable before.
        durable: bool,
    },
    /// Giving the file its final name.
    Naming,
}

impl Finishing {
    /// The step's words in a sentence, before the file's name.
    pub const fn doing(self) -> &'static str {
        match self {
            Self::Syncing => "Syncing",
            Self::Closing { .. } => "Closing",
            Self::Naming => "Renaming a file to",
        }
    }
}

/// The kinds of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// The host name has no address, or one that Holdfast does not connect to.
    Resolve,
    /// No network route leads there.
    Unreachable,
    /// Nothing listens there.
    Refused,
    /// The destination did not answer in time.
    TimedOut,
    /// The connection broke.
    Lost,
    /// The server there speaks another protocol, or a version Holdfast does not use.
    WrongProtocol,
    /// Nobody has approved the key or certificate by which the server identifies itself.
    UntrustedServer,
    /// The account was not let in.
    Denied,
    /// The stored key cannot be used to log in.
    UnusableKey,
    /// The account may log in, but the service that takes files does not start.
    NoService,
    /// The destination itself is not there: it is not mounted, another disk is mounted, or it was removed.
    NotMounted,
    /// The directory or the file is not there.
    NoSuchPath,
    /// The account may not do that there.
    Permission,
    /// The disk or the account's quota is full.
    Full,
    /// Something else has that name there.
    Taken,
    /// The content there is not what it should be.
    Differs,
    /// The destination refused without a reason, or gave an answer that makes no sense.
    Other,
}

impl Fault {
    /// A failure of `kind`, told in `sentence`.
    pub fn new(kind: FaultKind, sentence: impl Into<String>) -> Self {
        Self { kind, sentence: sentence.into(), finishing: None }
    }

    /// Whether the same may succeed a little later: the way there failed, nothing was answered.
    pub fn is_passing(&self) -> bool {
        matches!(
            self.kind,
            FaultKind::Unreachable | FaultKind::Refused | FaultKind::TimedOut | FaultKind::Lost
        )
    }

    /// Whether it may be that no server of the expected kind is there at all.
    pub fn is_before_contact(&self) -> bool {
        self.is_passing() || matches!(self.kind, FaultKind::Resolve | FaultKind::WrongProtocol)
    }

    /// `server` did not answer in time. `doing` is what Holdfast asked for, as in `Writing /a on host`.
    pub fn timed_out(server: &str, doing: &str) -> Self {
        let words = format!(
            "{server} did not answer in time while {}. Check the network and the server's load.",
            lower(doing)
        );
        Self::new(FaultKind::TimedOut, words)
    }

    /// `server` took all of a file, but did not say within `took` that the file is finished.
    pub fn too_late(server: &str, doing: &str, took: Duration) -> Self {
        let took = match took.as_secs() {
            seconds @ 0..120 => format!("{seconds} seconds"),
            seconds => format!("{} minutes", seconds / 60),
        };
        let words = format!(
            "{server} did not finish {} within {took}. It may still be working: look there, then upload again; Holdfast compares and uses what has arrived by then.",
            lower(doing)
        );
        Self::new(FaultKind::TimedOut, words)
    }

    /// The connection to `server` broke.
    pub fn lost(server: &str, doing: &str) -> Self {
        let words = format!("The connection to {server} broke while {}. Try again.", lower(doing));
        Self::new(FaultKind::Lost, words)
    }
}

/// `Writing /a on host` within a sentence.
fn lower(doing: &str) -> String {
    let mut letters = doing.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}
