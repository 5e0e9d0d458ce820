//! An account as it acts: who asks, by a session or an API token, and what it may do.

use crate::domain::state::accounts::Owner;
use crate::model::{LoginProblem, Right, Role};

/// Who asks: an account, by a session or by one of its API tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The account's number.
    pub id: i64,
    /// Its name.
    pub username: String,
    /// How much it may do; by a token, how much that may.
    pub role: Role,
    /// Whether it may download backups.
    pub download: bool,
    /// Whether its user typed the password within the last [`FRESH`](crate::domain::accounts::FRESH) seconds. A
    /// token never did.
    pub fresh: bool,
    /// The label of the API token that asks; `None` where a session does.
    pub token: Option<String>,
}

impl Account {
    /// `owner`, asking by a session.
    pub(super) fn by_session(owner: Owner, fresh: bool) -> Self {
        let Owner { id, username, role, download } = owner;
        Self { id, username, role, download, fresh, token: None }
    }

    /// Whether it may do what needs `right`.
    pub fn may(&self, right: Right) -> bool {
        match right {
            Right::View => true,
            Right::Download => self.download,
            Right::Operate => self.role >= Role::Operator,
            Right::Administer => self.role == Role::Admin && self.token.is_none(),
            Right::Own => self.token.is_none(),
        }
    }

    /// Its name, and the token's where one asks.
    pub fn label(&self) -> String {
        self.token
            .as_ref()
            .map_or_else(|| self.username.clone(), |token| format!("{} (token {token})", self.username))
    }
}

/// Where a session is used, as its owner is shown it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Device {
    /// The network address.
    pub address: String,
    /// The name the browser gives itself.
    pub agent: String,
}

/// What keeps `username` from being chosen. Spaces around it do not count, here or at a login.
pub fn username_problem(username: &str) -> Option<LoginProblem> {
    let username = username.trim();
    let fits = (1..=USERNAME_MAX).contains(&username.chars().count());
    (!fits || username.chars().any(char::is_control)).then_some(LoginProblem::Username)
}

/// Characters of a username.
const USERNAME_MAX: usize = 64;
