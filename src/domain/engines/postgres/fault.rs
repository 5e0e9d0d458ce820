//! Why a connection to a PostgreSQL server failed.

use crate::domain::engines::postgres::parameters::{Methods, Wanted};
use std::io;
use std::time::Duration;
use tokio_postgres::error::SqlState;

/// Why a connection failed.
pub(super) enum Fault {
    /// The TCP connection or the socket failed.
    Dial(io::Error),
    /// The server did not answer in time.
    Late(Duration),
    /// The server closed the connection, or does not speak the protocol.
    Odd(&'static str),
    /// TLS is required, and the server does not support it.
    NoTls,
    /// TLS failed, or its files are unusable: a sentence.
    Tls(String),
    /// The server asked for a login method that it is not allowed.
    Unwelcome(Methods),
    /// The server is not of the wanted kind.
    Unsuited(Wanted),
    /// A pooler in transaction mode: sessions are shared.
    Lent,
    /// The server or the client library reported an error; whether over TLS.
    Said(tokio_postgres::Error, bool),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Dial(error)
    }
}

impl Fault {
    /// Whether the next host may be tried. As with libpq, a host that answers and refuses ends the attempt.
    pub fn lets_others_try(&self) -> bool {
        match self {
            Self::Dial(_) | Self::Late(_) | Self::Odd(_) | Self::Unsuited(_) => true,
            Self::Said(error, _) => error.code() == Some(&SqlState::CANNOT_CONNECT_NOW),
            Self::NoTls | Self::Tls(_) | Self::Unwelcome(_) | Self::Lent => false,
        }
    }
}

/// The sentence for a server that does not answer.
pub(super) fn late(place: &str, wait: Duration) -> String {
    format!(
        "{place} did not answer within {} seconds. Check host and port, and whether a firewall drops the connection.",
        wait.as_secs()
    )
}
