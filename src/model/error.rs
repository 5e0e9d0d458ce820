//! The one error a reader sees: a sentence that names the thing and the next step.

use serde::{Deserialize, Serialize};

/// Said where the last log-in is too long ago; a page puts the way to prove it again beside it.
pub const STALE: &str =
    "Enter your password again: your last log-in was more than five minutes ago. Nothing was done.";

/// What went wrong, for the page. The causes stay in the server's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum AppError {
    /// Nobody is logged in.
    #[error("Log in first.")]
    Unauthenticated,
    /// Whoever asks may not do this.
    #[error("Your account is not allowed to do this. Ask an administrator.")]
    Forbidden,
    /// The last log-in is too long ago for this.
    #[error("{STALE}")]
    Stale,
    /// The request made no sense; the sentence says which part.
    #[error("{0}")]
    BadRequest(String),
    /// The named thing is not there.
    #[error("{0}")]
    NotFound(String),
    /// It cannot be done now, for the reason given.
    #[error("{0}")]
    Conflict(String),
    /// It failed; the sentence names what and the next step.
    #[error("{0}")]
    Failed(String),
    /// The server did not answer as expected.
    #[error("The server could not be reached ({0}). Check the connection and try again.")]
    Connection(String),
}
