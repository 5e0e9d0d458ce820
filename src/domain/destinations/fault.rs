//! What can go wrong at a destination: each kind of failure, with a sentence that says what to do next.

use std::time::Duration;

/// A failure at a destination or on the way there. Its display is a sentence for the user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub struct Fault {
    /// The kind of failure.
    pub kind: FaultKind,
    /// What happened, where, and what to do.
    pub sentence: String,
    /// The failed step of finishing a file, and whether the destination took long over it; a retry is
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
        /// Whether the file was durable before.
        durable: bool,
    },
    /// Renaming the file to its final name.
    Naming,
}

impl Finishing {
    /// The step's verb in a sentence, before the file's name.
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
    /// The host name has no address, or only addresses that Holdfast must not connect to.
    Resolve,
    /// There is no network route.
    Unreachable,
    /// Nothing listens there.
    Refused,
    /// The destination did not answer in time.
    TimedOut,
    /// The connection was lost.
    Lost,
    /// The server speaks another protocol, or an unsupported version.
    WrongProtocol,
    /// The server's key or certificate is not approved.
    UntrustedServer,
    /// The login was rejected.
    Denied,
    /// The stored key cannot be used to log in.
    UnusableKey,
    /// The login works, but the service for files does not start.
    NoService,
    /// The destination itself is missing: not mounted, replaced by another disk, or removed.
    NotMounted,
    /// The directory or the file does not exist.
    NoSuchPath,
    /// The account lacks permission.
    Permission,
    /// The disk or the account's quota is full.
    Full,
    /// The name is taken.
    Taken,
    /// The content is not what it should be.
    Differs,
    /// The destination refused without a reason, or answered nonsense.
    Other,
}

impl Fault {
    /// A fault of `kind`, described by `sentence`.
    pub fn new(kind: FaultKind, sentence: impl Into<String>) -> Self {
        Self { kind, sentence: sentence.into(), finishing: None }
    }

    /// Whether a retry may succeed soon: the connection failed without an answer.
    pub fn is_passing(&self) -> bool {
        matches!(
            self.kind,
            FaultKind::Unreachable | FaultKind::Refused | FaultKind::TimedOut | FaultKind::Lost
        )
    }

    /// Whether perhaps no server of the expected kind is there at all.
    pub fn is_before_contact(&self) -> bool {
        self.is_passing() || matches!(self.kind, FaultKind::Resolve | FaultKind::WrongProtocol)
    }

    /// `server` did not answer in time. `doing` is the request, as in `Writing /a on host`.
    pub fn timed_out(server: &str, doing: &str) -> Self {
        let words = format!(
            "{server} did not answer in time while {}. Check the network and the server's load.",
            lower(doing)
        );
        Self::new(FaultKind::TimedOut, words)
    }

    /// `server` received a complete file, but did not confirm within `took` that it is finished.
    pub fn too_late(server: &str, doing: &str, took: Duration) -> Self {
        let took = match took.as_secs() {
            seconds @ 0..120 => format!("{seconds} seconds"),
            seconds => format!("{} minutes", seconds / 60),
        };
        let words = format!(
            "{server} did not finish {} within {took}. It may still be working: check the file there, then \
             upload again; Holdfast compares and uses what has arrived by then.",
            lower(doing)
        );
        Self::new(FaultKind::TimedOut, words)
    }

    /// The connection to `server` was lost.
    pub fn lost(server: &str, doing: &str) -> Self {
        let words = format!("The connection to {server} was lost while {}. Try again.", lower(doing));
        Self::new(FaultKind::Lost, words)
    }
}

/// `Writing /a on host`, for use within a sentence.
fn lower(doing: &str) -> String {
    let mut letters = doing.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}
