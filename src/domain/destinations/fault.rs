//! What can go wrong between here and the off-site copy, told apart, each with its next step.

use crate::model::HostKeyFound;
use crate::model::sftp::WRITE_ONLY;
use ssh2::ErrorCode;
use std::io;
use std::time::Duration;

/// A failure, its display a sentence for the reader.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub struct Fault {
    /// Which sort.
    pub kind: FaultKind,
    /// What happened, to what, where, and what to do.
    pub sentence: String,
    /// The host key, where that is what it is about.
    pub host_key: Option<Box<HostKeyFound>>,
    /// The step of finishing a file that failed, and whether the server had taken its time over it: then to try
    /// again costs much.
    pub finishing: Option<(Finishing, bool)>,
}

/// The steps that finish a file, for which a server may take minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finishing {
    /// Having it written to the disk.
    Syncing,
    /// Closing it, after it was made durable or not.
    Closing {
        /// Whether it was.
        durable: bool,
    },
    /// Giving it its name.
    Renaming,
}

impl Finishing {
    /// How it is told, before the file's name.
    pub const fn doing(self) -> &'static str {
        match self {
            Self::Syncing => "Syncing",
            Self::Closing { .. } => "Closing",
            Self::Renaming => "Renaming a file to",
        }
    }
}

/// The sorts of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// The host's name has no address, or one that Holdfast does not connect to.
    Resolve,
    /// No way leads there.
    Unreachable,
    /// Nothing listens there.
    Refused,
    /// It did not answer in time.
    TimedOut,
    /// The connection broke.
    Lost,
    /// What listens there is no SSH server, or one of another age.
    NotSsh,
    /// The host key is not pinned.
    HostKey,
    /// The account was not let in.
    Denied,
    /// The private key cannot be used.
    Key,
    /// The account may log in, but not use SFTP.
    NoSftp,
    /// The directory or the file is not there.
    NoSuchPath,
    /// The account may not do that there.
    Permission,
    /// The server's disk or the account's quota is full.
    Full,
    /// Something else has that name there.
    Taken,
    /// What lies there has other content than it should.
    Differs,
    /// The server said no and not why, or something that makes no sense.
    Other,
}

/// What libssh2 calls its own failures: `LIBSSH2_ERROR_*` in libssh2.h.
mod code {
    pub const SOCKET_NONE: i32 = -1;
    pub const BANNER_RECV: i32 = -2;
    pub const BANNER_SEND: i32 = -3;
    pub const KEX_FAILURE: i32 = -5;
    pub const SOCKET_SEND: i32 = -7;
    pub const TIMEOUT: i32 = -9;
    pub const SOCKET_DISCONNECT: i32 = -13;
    pub const PROTO: i32 = -14;
    pub const CHANNEL_CLOSED: i32 = -26;
    pub const CHANNEL_EOF_SENT: i32 = -27;
    pub const SOCKET_TIMEOUT: i32 = -30;
    pub const METHOD_NOT_SUPPORTED: i32 = -33;
    pub const SOCKET_RECV: i32 = -43;
    pub const BAD_SOCKET: i32 = -45;
    pub const PACKET_EXCEEDED: i32 = -25;
    pub const SFTP_PROTOCOL: i32 = -31;
    pub const OUT_OF_BOUNDARY: i32 = -41;
    pub const ALGO_UNSUPPORTED: i32 = -51;
}

/// What is done when it is not known yet who listens there.
const GREETING: &str = "agreeing on keys and ciphers";

impl Fault {
    /// A failure of `kind`, told in `sentence`.
    pub fn new(kind: FaultKind, sentence: impl Into<String>) -> Self {
        Self { kind, sentence: sentence.into(), host_key: None, finishing: None }
    }

    /// The stop at a host key that is not pinned.
    pub fn host_key(found: HostKeyFound) -> Self {
        Self {
            kind: FaultKind::HostKey,
            sentence: found.words(),
            host_key: Some(Box::new(found)),
            finishing: None,
        }
    }

    /// Whether the same may succeed a little later: the way there failed, nothing was answered.
    pub fn is_passing(&self) -> bool {
        matches!(
            self.kind,
            FaultKind::Unreachable | FaultKind::Refused | FaultKind::TimedOut | FaultKind::Lost
        )
    }

    /// Whether it may be that no SSH server is there.
    pub fn is_before_ssh(&self) -> bool {
        self.is_passing() || matches!(self.kind, FaultKind::Resolve | FaultKind::NotSsh)
    }

    /// Reaching `server` failed before anything was said.
    pub fn dialling(server: &str, error: &io::Error) -> Self {
        use io::ErrorKind as K;
        match error.kind() {
            K::ConnectionRefused => Self::new(
                FaultKind::Refused,
                format!(
                    "{server} refuses the connection: nothing listens on that port. Check the port and that its \
                     SSH server runs."
                ),
            ),
            K::TimedOut | K::WouldBlock => Self::timed_out(server, "connecting"),
            K::ConnectionReset | K::ConnectionAborted | K::BrokenPipe => Self::lost(server, "connecting"),
            _ => Self::new(
                FaultKind::Unreachable,
                format!("{server} cannot be reached ({error}). Check the address and the network."),
            ),
        }
    }

    /// Agreeing on keys and ciphers with `server` failed. `banner` is the line it introduced itself with.
    pub fn handshake(server: &str, banner: Option<&[u8]>, error: &ssh2::Error) -> Self {
        match error.code() {
            _ if banner.is_some_and(|banner| !banner.starts_with(b"SSH-")) => Self::not_ssh(server),
            lost if is_lost(lost) && banner.is_none() => Self::new(
                FaultKind::Lost,
                format!(
                    "{server} closed the connection before the SSH handshake. Check that an SSH server listens on this port; a very busy one also refuses connections."
                ),
            ),
            ErrorCode::Session(code::KEX_FAILURE | code::METHOD_NOT_SUPPORTED | code::ALGO_UNSUPPORTED) => {
                Self::new(
                    FaultKind::NotSsh,
                    format!(
                        "{server} and Holdfast have no host key, cipher or key exchange in common. Holdfast takes \
                         none that rest on SHA-1, CBC or DSA: the SSH server there needs an update, or an \
                         Ed25519, ECDSA or RSA host key."
                    ),
                )
            }
            ErrorCode::Session(code::BANNER_RECV | code::PROTO) => Self::not_ssh(server),
            ErrorCode::Session(code::TIMEOUT | code::SOCKET_TIMEOUT) => Self::timed_out(server, GREETING),
            _ if is_lost(error.code()) => Self::lost(server, GREETING),
            _ => Self::new(
                FaultKind::NotSsh,
                format!("The handshake with {server} failed: {}. See the SSH server's log.", error.message()),
            ),
        }
    }

    fn not_ssh(server: &str) -> Self {
        Self::new(FaultKind::NotSsh, format!("What listens on {server} does not speak SSH. Check the port."))
    }

    /// The server did something else than it was asked. `doing` is what, as in `Writing /a/b on host`.
    pub fn ssh(server: &str, doing: &str, error: &ssh2::Error) -> Self {
        match error.code() {
            // An error without one: the library was answered with something it does not know.
            ErrorCode::SFTP(0) => Self::garbled(server, doing),
            ErrorCode::SFTP(status) => Self::status(doing, status),
            ErrorCode::Session(code::TIMEOUT | code::SOCKET_TIMEOUT) => Self::timed_out(server, doing),
            lost if is_lost(lost) => Self::lost(server, doing),
            ErrorCode::Session(code::PACKET_EXCEEDED | code::SFTP_PROTOCOL | code::OUT_OF_BOUNDARY) => {
                Self::garbled(server, doing)
            }
            ErrorCode::Session(_) => Self::new(
                FaultKind::Other,
                format!("{doing} failed: {}. See the server's log.", error.message()),
            ),
        }
    }

    /// Something else than SFTP came from `server`.
    fn garbled(server: &str, doing: &str) -> Self {
        Self::new(
            FaultKind::NoSftp,
            format!(
                "{doing} failed: what {server} sends is no SFTP any more. A start-up script or another program of \
                 the account writes text into the SFTP channel; silence it."
            ),
        )
    }

    /// The same for reading and writing, whose errors come without their code.
    pub fn stream(server: &str, doing: &str, error: &io::Error) -> Self {
        let words = error.to_string();
        // The words ssh2 has for SFTP's own status codes; everything else comes from the connection.
        let status = match words.as_str() {
            "no such file" => 2,
            "permission denied" => 3,
            "failure" | "unknown error" => 4,
            "bad message" => 5,
            "operation unsupported" => 8,
            "invalid handle" => 9,
            "no such path" => 10,
            "file is write protected" => 12,
            "no space on filesystem" => 14,
            "quota exceeded" => 15,
            // And those libssh2 has for what is no SFTP.
            "SFTP packet too large" | "packet exceeded" | "Invalid SFTP packet size" | "out of bounds" => {
                return Self::garbled(server, doing);
            }
            _ if error.kind() == io::ErrorKind::TimedOut => return Self::timed_out(server, doing),
            _ => return Self::lost(server, doing),
        };
        Self::status(doing, status)
    }

    /// SFTP's answer, by its number: `SSH_FX_*` of draft-ietf-secsh-filexfer-13, section 9.1.
    fn status(doing: &str, status: i32) -> Self {
        let (kind, words) = match status {
            2 | 10 | 19 => {
                (FaultKind::NoSuchPath, "there is no such file or directory. Check the remote directory")
            }
            3 | 12 => (
                FaultKind::Permission,
                "the server says permission denied. Check that the account may write there",
            ),
            6 | 7 => (FaultKind::Lost, "the server lost its connection. Try again"),
            8 => (FaultKind::Other, "the server does not offer it"),
            11 => (FaultKind::Taken, "the name is taken there"),
            14 => (FaultKind::Full, "the server's disk is full. Free some space there"),
            15 => (FaultKind::Full, "the account's quota is used up. Free some space there"),
            4 => (
                FaultKind::Other,
                "the server says no more than \"failure\". A full disk or quota is the common cause; see its log",
            ),
            _ => (FaultKind::Other, "the server's answer makes no sense. See its log"),
        };
        Self::new(kind, format!("{doing} failed: {words}."))
    }

    /// `server` did not answer in time.
    pub fn timed_out(server: &str, doing: &str) -> Self {
        let words = format!(
            "{server} did not answer in time while {}. Check the network and the server's load.",
            lower(doing)
        );
        Self::new(FaultKind::TimedOut, words)
    }

    /// `server` took all of a file, but did not say within `took` that it is finished.
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

    /// The same of what a copy needs: reading back. Names the mode that does without.
    #[must_use]
    pub fn unreadable(mut self, server: &str) -> Self {
        if self.kind == FaultKind::Permission {
            // The usual advice is about writing.
            let told = self.sentence.find(". Check that").unwrap_or(self.sentence.len());
            self.sentence.truncate(told);
            self.sentence.push('.');
        }
        let advice = format!(
            " Holdfast needs to read back what it sends, to know that it is whole. Let the account read there; or, \
             where {server} is a write-only drop box by design, tick “{WRITE_ONLY}” on the page SFTP settings: copies \
             are then marked “sent, not read back”."
        );
        self.sentence.push_str(&advice);
        self
    }

    /// The connection to `server` broke.
    pub fn lost(server: &str, doing: &str) -> Self {
        let words = format!("The connection to {server} broke while {}. Try again.", lower(doing));
        Self::new(FaultKind::Lost, words)
    }
}

fn is_lost(error: ErrorCode) -> bool {
    matches!(
        error,
        ErrorCode::Session(
            code::SOCKET_NONE
                | code::BANNER_SEND
                | code::SOCKET_SEND
                | code::SOCKET_DISCONNECT
                | code::CHANNEL_CLOSED
                | code::CHANNEL_EOF_SENT
                | code::SOCKET_RECV
                | code::BAD_SOCKET
        )
    )
}

/// `Writing /a on host` within a sentence.
fn lower(doing: &str) -> String {
    let mut letters = doing.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}
