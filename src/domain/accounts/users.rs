//! The accounts beside one's own: made, changed and deleted by an administrator.

use crate::domain::accounts::second_factor::random_words;
use crate::domain::accounts::sessions::role_in;
use crate::domain::accounts::{Accounts, password_problem, username_problem};
use crate::domain::error::{Error, Result};
use crate::model::{Role, Stamp};
use rusqlite::{Connection, OptionalExtension as _};
use secrecy::SecretString;

/// Accounts there may be; a desk has a handful.
const ACCOUNTS: i64 = 500;

/// An account as it is administered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Its number.
    pub id: i64,
    /// Its name.
    pub username: String,
    /// How much it may do.
    pub role: Role,
    /// Whether the content of backups may leave the desk for it.
    pub download: bool,
    /// Whether it has a second factor.
    pub second_factor: bool,
    /// When it was made.
    pub created: Stamp,
    /// When one of its sessions was used last; nothing where it has none.
    pub last_seen: Option<Stamp>,
    /// How many API tokens it has.
    pub tokens: i64,
}

/// What [`Accounts::reset`] did.
#[derive(Debug)]
pub struct Reset {
    /// The new password.
    pub password: SecretString,
    /// Whether the account was made an administrator.
    pub promoted: bool,
}

impl Accounts {
    /// All accounts, by name.
    pub fn people(&self) -> Result<Vec<Person>> {
        self.store.with(|conn| {
            let mut find = conn.prepare_cached(
                "SELECT id, username, role, download, totp IS NOT NULL, created,
                 (SELECT max(last_seen) FROM sessions s WHERE s.account = a.id),
                 (SELECT count(*) FROM api_tokens t WHERE t.account = a.id)
                 FROM accounts a ORDER BY username",
            )?;
            let rows = find.query_map([], |row| {
                Ok(Person {
                    id: row.get(0)?,
                    username: row.get(1)?,
                    role: role_in(row, 2)?,
                    download: row.get(3)?,
                    second_factor: row.get(4)?,
                    created: Stamp::from_millis(row.get(5)?),
                    last_seen: row.get::<_, Option<i64>>(6)?.map(Stamp::from_millis),
                    tokens: row.get(7)?,
                })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// The name of an account.
    pub fn username(&self, account: i64) -> Result<String> {
        self.store.with(|conn| {
            let sql = "SELECT username FROM accounts WHERE id = ?1";
            conn.query_row(sql, [account], |row| row.get(0)).optional()?.ok_or_else(no_account)
        })
    }

    /// Makes an account.
    pub fn add_person(
        &self,
        username: &str,
        password: &SecretString,
        role: Role,
        download: bool,
    ) -> Result<i64> {
        let username = username.trim();
        if let Some(problem) = username_problem(username).or_else(|| password_problem(password)) {
            return Err(Error::Refused(problem.message().to_owned()));
        }
        let hash = self.hash(password)?;
        let now = self.now().millis();
        let full = self.store.with(|conn| {
            Ok(conn
                .query_row("SELECT count(*) >= ?1 FROM accounts", [ACCOUNTS], |row| row.get::<_, bool>(0))?)
        })?;
        if full {
            return Err(Error::Refused("There are already 500 accounts. Delete one first.".to_owned()));
        }
        self.store.with(|conn| {
            let made = conn.execute(
                "INSERT OR IGNORE INTO accounts (username, password_hash, created, role, download)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
                (username, hash, now, role.name(), download),
            )?;
            if made == 0 {
                return Err(Error::Refused(format!(
                    "An account named {username} already exists. Choose another name."
                )));
            }
            Ok(conn.last_insert_rowid())
        })
    }

    /// Changes what an account may do, and ends its sessions, so that nothing goes on under the former rights.
    pub fn change_role(&self, account: i64, role: Role, download: bool) -> Result<()> {
        self.store.with(|conn| {
            let transaction = conn.transaction()?;
            let sql = "UPDATE accounts SET role = ?2, download = ?3 WHERE id = ?1";
            if transaction.execute(sql, (account, role.name(), download))? == 0 {
                return Err(no_account());
            }
            needs_an_admin(&transaction)?;
            transaction.execute("DELETE FROM sessions WHERE account = ?1", [account])?;
            Ok(transaction.commit()?)
        })
    }

    /// Gives an account a new password, turns its second factor off and ends its sessions. Where no account is an
    /// administrator any more, it becomes one.
    pub fn reset(&self, username: &str) -> Result<Reset> {
        let username = username.trim();
        let people = self.people()?;
        let Some(person) = people.iter().find(|person| person.username == username) else {
            let names: Vec<_> = people.iter().map(|person| &*person.username).collect();
            return Err(Error::Refused(match &*names.join(", ") {
                "" => "There is no account yet. The server's log says how the first one is made.".to_owned(),
                names => format!("There is no account named {username}. These there are: {names}."),
            }));
        };
        let password = random_words()?;
        self.set_password(person.id, &password)?;
        self.drop_second_factor(person.id)?;
        let promoted = people.iter().all(|person| person.role != Role::Admin);
        if promoted {
            self.change_role(person.id, Role::Admin, true)?;
        }
        Ok(Reset { password, promoted })
    }

    /// Deletes an account with its sessions, tokens and archives' addresses.
    pub fn delete_person(&self, account: i64) -> Result<()> {
        self.store.with(|conn| {
            let transaction = conn.transaction()?;
            if transaction.execute("DELETE FROM accounts WHERE id = ?1", [account])? == 0 {
                return Err(no_account());
            }
            needs_an_admin(&transaction)?;
            Ok(transaction.commit()?)
        })
    }
}

/// Without an administrator nobody could ever make one again.
fn needs_an_admin(conn: &Connection) -> Result<()> {
    let some = "SELECT count(*) FROM accounts WHERE role = 'admin'";
    if conn.query_row(some, [], |row| row.get::<_, i64>(0))? == 0 {
        return Err(Error::Refused(
            "This is the only administrator. Make another account an administrator first.".to_owned(),
        ));
    }
    Ok(())
}

pub(super) fn no_account() -> Error {
    Error::Refused("This account no longer exists. Reload the list.".to_owned())
}
