//! User administration: an administrator adds, changes, resets and deletes accounts.

use crate::domain::accounts::account::username_problem;
use crate::domain::accounts::credentials::no_account;
use crate::domain::accounts::password::password_problem;
use crate::domain::accounts::second_factor::random_words;
use crate::domain::accounts::service::Accounts;
use crate::domain::error::{Code, Error, Result};
use crate::domain::state::accounts as table;
use crate::domain::state::accounts::{Changed, NewAccount};
use crate::model::Role;
use secrecy::SecretString;

pub use crate::domain::state::accounts::User;

/// The most accounts.
const ACCOUNTS: i64 = 500;

/// The result of [`Accounts::reset`].
#[derive(Debug)]
pub struct Reset {
    /// The new password.
    pub password: SecretString,
    /// Whether the account was made an administrator.
    pub promoted: bool,
}

impl Accounts {
    /// All accounts, sorted by name.
    pub fn users(&self) -> Result<Vec<User>> {
        table::list(&self.store)
    }

    /// The name of an account.
    pub fn username(&self, account: i64) -> Result<String> {
        table::username(&self.store, account)?.ok_or_else(no_account)
    }

    /// Adds an account.
    pub fn add_user(
        &self,
        username: &str,
        password: &SecretString,
        role: Role,
        download: bool,
    ) -> Result<i64> {
        let username = username.trim();
        if let Some(problem) = username_problem(username).or_else(|| password_problem(password)) {
            return Err(Error::refusal(Code::InvalidInput, problem.message()));
        }
        let password_hash = &*self.hasher.hash(password)?;
        if table::count(&self.store)? >= ACCOUNTS {
            return Err(Error::refusal(
                Code::LimitReached,
                "There are already 500 accounts. Delete one first.",
            ));
        }
        let new = NewAccount { username, password_hash, role, download, created: self.now() };
        table::insert(&self.store, &new)?.ok_or_else(|| {
            Error::refusal(
                Code::NameTaken,
                format!("An account named {username} already exists. Choose another name."),
            )
        })
    }

    /// Changes an account's rights, and ends its sessions, so that none keeps the former rights.
    pub fn change_role(&self, account: i64, role: Role, download: bool) -> Result<()> {
        done(table::change_role(&self.store, account, role, download)?)
    }

    /// Sets a new password, turns off the second factor and ends the account's sessions. If there is no
    /// administrator left, the account becomes one.
    pub fn reset(&self, username: &str) -> Result<Reset> {
        let username = username.trim();
        let users = self.users()?;
        let Some(user) = users.iter().find(|user| user.username == username) else {
            let names: Vec<_> = users.iter().map(|user| &*user.username).collect();
            let sentence = match &*names.join(", ") {
                "" => {
                    "There is no account yet. The server's log says how to create the first one.".to_owned()
                }
                names => format!("There is no account named {username}. Existing accounts: {names}."),
            };
            return Err(Error::refusal(Code::AccountNotFound, sentence));
        };
        let password = random_words()?;
        self.set_password(user.id, &password)?;
        self.drop_second_factor(user.id)?;
        let promoted = users.iter().all(|user| user.role != Role::Admin);
        if promoted {
            self.change_role(user.id, Role::Admin, true)?;
        }
        Ok(Reset { password, promoted })
    }

    /// Deletes an account with its sessions, tokens and archives.
    pub fn delete_user(&self, account: i64) -> Result<()> {
        done(table::delete(&self.store, account)?)
    }
}

fn done(changed: Changed) -> Result<()> {
    match changed {
        Changed::Done => Ok(()),
        Changed::NoAccount => Err(no_account()),
        // Without an administrator nobody could appoint one.
        Changed::LastAdmin => Err(Error::refusal(
            Code::LastAdministrator,
            "This is the only administrator. Make another account an administrator first.",
        )),
    }
}
