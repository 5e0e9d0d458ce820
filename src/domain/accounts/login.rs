//! Logging in: first the password, then a code if the account has a second factor.

use crate::domain::accounts::account::Device;
use crate::domain::accounts::password::is_weak;
use crate::domain::accounts::service::Accounts;
use crate::domain::accounts::token::{HalfwayToken, SessionToken};
use crate::domain::error::{Error, Result};
use crate::domain::state::accounts as table;
use crate::model::LoginProblem;
use secrecy::SecretString;

/// The result of a correct password.
#[derive(Debug)]
pub enum Admitted {
    /// A session.
    In(SessionToken),
    /// A code of the second factor is needed.
    Halfway(HalfwayToken),
}

impl Admitted {
    /// The session, if no code is needed.
    pub fn session(self) -> Option<SessionToken> {
        match self {
            Self::In(session) => Some(session),
            Self::Halfway(_) => None,
        }
    }
}

impl Accounts {
    /// Checks a username and password. Starts a session, or the second step if the account has a second
    /// factor. An unknown username takes as long as a wrong password and gets the same answer.
    pub fn log_in(&self, username: &str, password: &SecretString, device: &Device) -> Result<Admitted> {
        const DENIED: Error = Error::Denied(LoginProblem::Wrong.message());
        let found = table::login(&self.store, username.trim())?;
        let stored = found.as_ref().map(|login| &*login.password_hash);
        let right = self.hasher.verify(password, stored)?;
        let login = found.filter(|_| right).ok_or(DENIED)?;
        if is_weak(&login.password_hash)
            && let Err(error) = self.rehash(login.id, &login.password_hash, password)
        {
            tracing::warn!(%error, "a password's hash could not be strengthened; the login continues");
        }
        if login.second_factor {
            return self.ask_for_code(login.id).map(Admitted::Halfway);
        }
        self.begin_session(login.id, device).map(Admitted::In)
    }

    /// Starts a session for a pending login with a valid code or recovery code.
    pub fn second_step(&self, token: &HalfwayToken, code: &str, device: &Device) -> Result<SessionToken> {
        const DENIED: Error = Error::Denied(LoginProblem::Code.message());
        let account = self.pending_logins.try_code(token, self.now()).ok_or(DENIED)?;
        if !self.takes_code(account, code)? {
            return Err(DENIED);
        }
        self.pending_logins.finish(token);
        self.begin_session(account, device)
    }

    /// The name of the account of a pending login.
    pub fn halfway(&self, token: &HalfwayToken) -> Option<String> {
        let account = self.pending_logins.account(token)?;
        self.username(account).ok()
    }

    fn ask_for_code(&self, account: i64) -> Result<HalfwayToken> {
        let token = HalfwayToken::random()?;
        self.pending_logins.begin(&token, account, self.now());
        Ok(token)
    }

    fn rehash(&self, account: i64, old: &str, password: &SecretString) -> Result<()> {
        let new = self.hasher.hash(password)?;
        table::replace_hash(&self.store, account, old, &new)
    }
}
