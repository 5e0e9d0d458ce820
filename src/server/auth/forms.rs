//! Shared code of the login forms: reading fields, and describing the client for the session list.

use crate::domain::accounts::Device;
use crate::model::LoginProblem;
use crate::server::middleware::forwarded::Forwarded;
use axum_extra::extract::FormRejection;
use http::header::USER_AGENT;
use http::{HeaderMap, StatusCode};

/// The field's text, unless it is absent or empty.
pub fn filled(field: Option<String>) -> Option<String> {
    field.filter(|text| !text.is_empty())
}

/// Why a form could not be read.
pub fn unread(rejection: &FormRejection) -> LoginProblem {
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => LoginProblem::Long,
        _ => LoginProblem::Missing,
    }
}

/// A username for the log: one line, at most 64 characters.
pub fn printable(username: &str) -> String {
    username.trim().chars().take(64).map(|c| if c.is_control() { '\u{FFFD}' } else { c }).collect()
}

/// The client's address and browser, as the list of sessions shows them.
pub fn device_of(client: Forwarded, headers: &HeaderMap) -> Device {
    let agent = headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    Device {
        address: client.from.map_or(String::new(), |from| from.to_string()),
        agent: agent.chars().filter(|c| !c.is_control()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_username_stays_on_its_line_in_the_log() {
        assert_eq!(
            printable("a\nlogged in username=root\u{1b}[2J"),
            "a\u{FFFD}logged in username=root\u{FFFD}[2J"
        );
        assert_eq!(printable(&"x".repeat(1000)).len(), 64);
    }
}
