//! Changes passwords, and confirms a password before an irreversible action.

use crate::domain::accounts::account::Device;
use crate::domain::accounts::password::password_problem;
use crate::domain::accounts::service::Accounts;
use crate::domain::accounts::token::SessionToken;
use crate::domain::error::{Code, Error, Result};
use crate::domain::state;
use crate::model::LoginProblem;
use secrecy::SecretString;

impl Accounts {
    /// Confirms the password of a session's account. The session continues under a new token, with the same
    /// expiry.
    pub fn prove(&self, token: &SessionToken, password: &SecretString) -> Result<SessionToken> {
        const DENIED: Error = Error::Denied(LoginProblem::Wrong.message());
        let account = self.session(token)?.ok_or(DENIED)?;
        if !self.knows(account.id, password)? {
            return Err(DENIED);
        }
        let new = SessionToken::random()?;
        let renewed = state::sessions::renew(&self.store, &token.hash(), &new.hash(), self.now())?;
        if renewed { Ok(new) } else { Err(DENIED) }
    }

    /// Changes the password of a session's account, and ends all its sessions except a new one.
    pub fn change_password(
        &self,
        account: i64,
        old: &SecretString,
        new: &SecretString,
        device: &Device,
    ) -> Result<SessionToken> {
        if !self.knows(account, old)? {
            return Err(Error::Denied("The current password is wrong; nothing was changed."));
        }
        self.set_password(account, new)?;
        self.begin_session(account, device)
    }

    /// Sets an account's password, and ends all its sessions.
    pub fn set_password(&self, account: i64, new: &SecretString) -> Result<()> {
        if let Some(problem) = password_problem(new) {
            return Err(Error::refusal(Code::InvalidInput, problem.message()));
        }
        let hash = self.hasher.hash(new)?;
        if state::accounts::set_password(&self.store, account, &hash)? { Ok(()) } else { Err(no_account()) }
    }

    /// Whether `password` is the account's password.
    fn knows(&self, account: i64, password: &SecretString) -> Result<bool> {
        let stored = state::accounts::password_hash(&self.store, account)?;
        self.hasher.verify(password, stored.as_deref())
    }
}

/// The account was deleted in the meantime.
pub(super) fn no_account() -> Error {
    Error::refusal(Code::AccountNotFound, "This account no longer exists. Reload the list.")
}
