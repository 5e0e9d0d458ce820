//! Why a connection to a PostgreSQL server did not come about.

use crate::domain::engines::postgres::parameters::{Methods, Wanted};
use std::io;
use std::time::Duration;
use tokio_postgres::error::SqlState;

/// Why a connection did not come about.
pub(super) enum Fault {
    /// Nobody could be reached there.
    Dial(io::Error),
    /// It took too long.
    Late(Duration),
    /// The server hung up, or answered with what is no answer.
    Odd(&'static str),
    /// The server has no TLS, and it is to be used.
    NoTls,
    /// TLS did not come up, or what it takes is not there: a sentence.
    Tls(String),
    /// The server asked for what it may not have.
    Unwelcome(Methods),
    /// It is not of the kind that is wanted.
    Unsuited(Wanted),
    /// It is a pooler that lends sessions out.
    Lent,
    /// The server or the client said no; whether over TLS.
    Said(tokio_postgres::Error, bool),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Dial(error)
    }
}

impl Fault {
    /// Whether another server of several may do better: as with libpq, one that answers and refuses is the last.
    pub fn lets_others_try(&self) -> bool {
        match self {
            Self::Dial(_) | Self::Late(_) | Self::Odd(_) | Self::Unsuited(_) => true,
            Self::Said(error, _) => error.code() == Some(&SqlState::CANNOT_CONNECT_NOW),
            Self::NoTls | Self::Tls(_) | Self::Unwelcome(_) | Self::Lent => false,
        }
    }
}

/// That nobody answered.
pub(super) fn late(place: &str, wait: Duration) -> String {
    format!(
        "{place} did not answer within {} seconds. Check host and port, and whether a firewall drops the connection.",
        wait.as_secs()
    )
}
