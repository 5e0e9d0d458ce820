//! The error that pages and programs get: a sentence with the cause and the next step, and a code.

use serde::{Deserialize, Serialize};

/// The refusal if the last login is too long ago. A page shows a link to confirm the password next to it.
pub const STALE: &str =
    "Enter your password again: your last login was more than five minutes ago. Nothing was done.";

/// The response header with the error's code, for scripts. The sentence is in the body.
pub const CODE_HEADER: &str = "holdfast-error";

/// An error for the page. Its causes stay in the server's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum AppError {
    /// Nobody is logged in.
    #[error("Log in first.")]
    Unauthenticated,
    /// The account has no right to do this.
    #[error("Your account is not allowed to do this. Ask an administrator.")]
    Forbidden,
    /// The action needs a recently confirmed password.
    #[error("{STALE}")]
    Stale,
    /// The request is invalid; the sentence names the invalid part.
    #[error("{0}")]
    BadRequest(String),
    /// The named object does not exist.
    #[error("{0}")]
    NotFound(String),
    /// The action is not possible now, for the reason given.
    #[error("{0}")]
    Conflict(String),
    /// The action failed; the sentence has the cause and the next step.
    #[error("{0}")]
    Failed(String),
    /// The server did not answer as expected.
    #[error("The server could not be reached ({0}). Check the connection and try again.")]
    Connection(String),
}

impl AppError {
    /// A stable code for scripts, used if the domain gives no more exact one.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unauthenticated => "not-logged-in",
            Self::Forbidden => "forbidden",
            Self::Stale => "password-needed",
            Self::BadRequest(_) => "invalid-input",
            Self::NotFound(_) => "not-found",
            Self::Conflict(_) => "conflict",
            Self::Failed(_) | Self::Connection(_) => "internal",
        }
    }
}
