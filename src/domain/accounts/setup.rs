//! The first account: created from the settings at start, or with the one-time set-up link.

use crate::domain::accounts::account::{Device, username_problem};
use crate::domain::accounts::password::password_problem;
use crate::domain::accounts::service::Accounts;
use crate::domain::accounts::token::{SessionToken, SetupToken};
use crate::domain::error::{Code, Error, Result};
use crate::domain::state::accounts as table;
use crate::model::{LoginProblem, Role};
use secrecy::{ExposeSecret as _, SecretString};

/// The state of the first account when the program starts.
#[derive(Debug)]
pub enum FirstAccount {
    /// An account existed already.
    Exists,
    /// The account was created, with the given password.
    Made,
    /// No account exists: this token allows creating one on the set-up page.
    NeedsSetup(SetupToken),
}

impl Accounts {
    /// Makes sure that there is an account, or a way to create one. If there is none, `password` creates
    /// `username`; without a password, returns a set-up token that works once within
    /// [`SETUP_LIFE`](crate::domain::accounts::SETUP_LIFE) seconds.
    ///
    /// The operator's password may be of any length, but not empty.
    pub fn ensure_first(&self, username: &str, password: Option<&SecretString>) -> Result<FirstAccount> {
        let username = username.trim();
        self.forget_expired()?;
        let known = table::names_and_roles(&self.store)?;
        for (username, role) in known.iter().filter(|(_, role)| Role::parse(role).is_none()) {
            tracing::error!(
                username,
                role,
                "the stored role of an account is damaged, so the account has a viewer's rights only; an \
                 administrator can set the role, and `holdfast reset-account` makes an administrator if \
                 none is left"
            );
        }
        if !known.is_empty() {
            if password.is_some() && known.iter().any(|(name, _)| name == username) {
                tracing::info!(
                    username,
                    "the account exists and keeps its password; the configured one is not used"
                );
            } else if password.is_some() {
                tracing::info!(
                    username,
                    "an account with another name exists; the configured one is not created"
                );
            }
            return Ok(FirstAccount::Exists);
        }
        let Some(password) = password else {
            let token = SetupToken::random()?;
            self.setup_link.offer(&token, self.now());
            return Ok(FirstAccount::NeedsSetup(token));
        };
        if let Some(problem) = username_problem(username) {
            let sentence = format!("The first account: {}", problem.message());
            return Err(Error::refusal(Code::InvalidInput, sentence));
        }
        if password.expose_secret().is_empty() {
            return Err(Error::refusal(
                Code::InvalidInput,
                "HOLDFAST_ADMIN_PASSWORD is empty. Set a password, or remove the variable to get a set-up \
                 link.",
            ));
        }
        if let Some(problem) = password_problem(password) {
            tracing::warn!(username, problem = problem.code(), "the configured password is weak");
        }
        let hash = self.hasher.hash(password)?;
        let made = table::insert_first(&self.store, username, &hash, self.now())?;
        Ok(if made.is_some() { FirstAccount::Made } else { FirstAccount::Exists })
    }

    /// Creates the first account, given the set-up token, and logs in. Only success uses up the token: it
    /// still works after a password was refused.
    pub fn set_up(
        &self,
        token: &SetupToken,
        username: &str,
        password: &SecretString,
        device: &Device,
    ) -> Result<SessionToken> {
        const DENIED: Error = Error::Denied(LoginProblem::Link.message());
        let username = username.trim();
        if !self.admits(token) {
            return Err(DENIED);
        }
        if let Some(problem) = username_problem(username).or_else(|| password_problem(password)) {
            return Err(Error::refusal(Code::InvalidInput, problem.message()));
        }
        let hash = self.hasher.hash(password)?;
        // Held until the account exists: of two simultaneous requests, the second finds the token used up.
        let mut link = self.setup_link.hold(token, self.now()).ok_or(DENIED)?;
        let account = table::insert_first(&self.store, username, &hash, self.now())?;
        *link = None;
        self.begin_session(account.ok_or(DENIED)?, device)
    }

    /// Whether [`Accounts::set_up`] would accept `token` now.
    pub fn admits(&self, token: &SetupToken) -> bool {
        self.setup_link.admits(token, self.now())
    }
}
