//! The actor: who does something, and from where.

use std::net::IpAddr;

/// Who does something: an account, a token, the user of a shell, or Holdfast itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    who: Option<String>,
    from: Option<String>,
    request: Option<String>,
}

impl Actor {
    /// A network client: the account, or a token's `name (token label)`; the address; the request's number.
    pub fn reader(who: Option<String>, from: Option<IpAddr>, request: Option<String>) -> Self {
        Self { who, from: from.map(|address| address.to_canonical().to_string()), request }
    }

    /// Holdfast itself: a schedule, a start, a stop.
    pub fn system() -> Self {
        Self { who: None, from: Some("holdfast".to_owned()), request: None }
    }

    /// The user of a shell.
    pub fn shell() -> Self {
        let user = rustix::process::getuid();
        Self { who: Some(format!("user {}", user.as_raw())), from: Some("shell".to_owned()), request: None }
    }

    /// As stored with a job: who, from where, by which request.
    pub(crate) fn kept(who: Option<String>, from: Option<String>, request: Option<String>) -> Self {
        Self { who, from, request }
    }

    /// The same actor, after authentication.
    #[must_use]
    pub fn known_as(&self, who: String) -> Self {
        Self { who: Some(who), ..self.clone() }
    }

    /// The account, or its equivalent.
    pub fn who(&self) -> Option<&str> {
        self.who.as_deref()
    }

    /// The address, or its equivalent.
    pub fn from(&self) -> Option<&str> {
        self.from.as_deref()
    }

    /// The request's number.
    pub fn request(&self) -> Option<&str> {
        self.request.as_deref()
    }
}
