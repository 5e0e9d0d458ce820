//! The account behind a request, by session or API token, and its rights.

use crate::domain::state::owner::Owner;
use crate::model::{LoginProblem, Right, Role};

/// The account behind a request, authenticated by a session or an API token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The account's number.
    pub id: i64,
    /// Its name.
    pub username: String,
    /// Its role; with a token, limited by the token.
    pub role: Role,
    /// Whether it may download backups.
    pub download: bool,
    /// Whether the user typed the password within the last [`FRESH`](crate::domain::accounts::FRESH) seconds.
    /// Never true for a token.
    pub fresh: bool,
    /// The label of the API token; `None` for a session.
    pub token: Option<String>,
}

impl Account {
    /// `owner`, authenticated by a session.
    pub(super) fn by_session(owner: Owner, fresh: bool) -> Self {
        let Owner { id, username, role, download } = owner;
        Self { id, username, role, download, fresh, token: None }
    }

    /// Whether the account has the right `right`.
    pub fn may(&self, right: Right) -> bool {
        match right {
            Right::View => true,
            Right::Download => self.download,
            Right::Operate => self.role >= Role::Operator,
            Right::Administer => self.role == Role::Admin && self.token.is_none(),
            Right::Own => self.token.is_none(),
        }
    }

    /// The account's name, with the token's label.
    pub fn label(&self) -> String {
        self.token
            .as_ref()
            .map_or_else(|| self.username.clone(), |token| format!("{} (token {token})", self.username))
    }
}

/// Where a session is used, as shown to its owner.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Device {
    /// The network address.
    pub address: String,
    /// The browser's user agent.
    pub agent: String,
}

/// Why `username` cannot be chosen. Surrounding spaces do not count, here or at a login.
pub fn username_problem(username: &str) -> Option<LoginProblem> {
    let username = username.trim();
    let fits = (1..=USERNAME_MAX).contains(&username.chars().count());
    (!fits || username.chars().any(char::is_control)).then_some(LoginProblem::Username)
}

/// The length of a username, in characters.
const USERNAME_MAX: usize = 64;
