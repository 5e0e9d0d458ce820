//! Table `accounts`: names, password hashes, roles, and the sealed keys of second factors.

use crate::domain::error::Result;
use crate::domain::state::{Store, columns, recovery_codes, sessions};
use crate::model::{Role, Stamp};
use rusqlite::{Connection, OptionalExtension as _};

/// What a login is checked against.
#[derive(Debug)]
pub struct Login {
    /// The account's number.
    pub id: i64,
    /// The hash of its password, as a PHC string.
    pub password_hash: String,
    /// Whether a code is needed after the password.
    pub second_factor: bool,
}

/// An account in the list of users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Its number.
    pub id: i64,
    /// Its name.
    pub username: String,
    /// Its role.
    pub role: Role,
    /// Whether it may download backups.
    pub download: bool,
    /// Whether it has a second factor.
    pub second_factor: bool,
    /// When it was created.
    pub created: Stamp,
    /// When one of its sessions was last used; `None` without a session.
    pub last_seen: Option<Stamp>,
    /// How many API tokens it has.
    pub tokens: i64,
}

/// An account to be added.
#[derive(Debug)]
pub struct NewAccount<'a> {
    /// Its name.
    pub username: &'a str,
    /// The hash of its password, as a PHC string.
    pub password_hash: &'a str,
    /// Its role.
    pub role: Role,
    /// Whether it may download backups.
    pub download: bool,
    /// When it is created.
    pub created: Stamp,
}

/// The result of changing an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// The account was changed.
    Done,
    /// The account does not exist; nothing was changed.
    NoAccount,
    /// The account is the only administrator, so nothing was changed.
    LastAdmin,
}

/// An active second factor.
#[derive(Debug)]
pub struct SecondFactor {
    /// Its sealed key.
    pub sealed: String,
    /// The 30-second step of the last used code.
    pub last_step: i64,
}

/// The name and the stored role of every account, even if the role is invalid.
pub fn names_and_roles(store: &Store) -> Result<Vec<(String, String)>> {
    store.with(|db| {
        let mut find = db.prepare("SELECT username, role FROM accounts")?;
        let rows = find.query_map([], |row| Ok((row.get(0)?, columns::text(row, 1)?)))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    })
}

/// What a login under this name is checked against.
pub fn login(store: &Store, username: &str) -> Result<Option<Login>> {
    store.with(|db| {
        let sql = "SELECT id, password_hash, totp IS NOT NULL FROM accounts WHERE username = ?1";
        let found = db.query_row(sql, [username], |row| {
            Ok(Login { id: row.get(0)?, password_hash: columns::text(row, 1)?, second_factor: row.get(2)? })
        });
        Ok(found.optional()?)
    })
}

/// The hash of an account's password.
pub fn password_hash(store: &Store, account: i64) -> Result<Option<String>> {
    store.with(|db| {
        let sql = "SELECT password_hash FROM accounts WHERE id = ?1";
        Ok(db.query_row(sql, [account], |row| columns::text(row, 0)).optional()?)
    })
}

/// The name of an account.
pub fn username(store: &Store, account: i64) -> Result<Option<String>> {
    store.with(|db| {
        let sql = "SELECT username FROM accounts WHERE id = ?1";
        Ok(db.query_row(sql, [account], |row| row.get(0)).optional()?)
    })
}

/// Every account, sorted by name.
pub fn list(store: &Store) -> Result<Vec<User>> {
    store.with(|db| {
        let mut find = db.prepare_cached(
            "SELECT id, username, role, download, totp IS NOT NULL, created,
             (SELECT max(last_seen) FROM sessions s WHERE s.account = a.id),
             (SELECT count(*) FROM api_tokens t WHERE t.account = a.id)
             FROM accounts a ORDER BY username",
        )?;
        let rows = find.query_map([], |row| {
            Ok(User {
                id: row.get(0)?,
                username: row.get(1)?,
                role: columns::role(row, 2)?,
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

/// The number of accounts.
pub fn count(store: &Store) -> Result<i64> {
    store.with(|db| Ok(db.query_row("SELECT count(*) FROM accounts", [], |row| row.get(0))?))
}

/// Adds the first account, an administrator. Returns its number; `None` if there is an account already.
pub fn insert_first(
    store: &Store,
    username: &str,
    password_hash: &str,
    created: Stamp,
) -> Result<Option<i64>> {
    store.with(|db| {
        let made = db.execute(
            "INSERT INTO accounts (username, password_hash, created)
             SELECT ?1, ?2, ?3 WHERE NOT EXISTS (SELECT 1 FROM accounts)",
            (username, password_hash, created.millis()),
        )?;
        Ok((made == 1).then(|| db.last_insert_rowid()))
    })
}

/// Adds an account. Returns its number; `None` if the name is taken.
pub fn insert(store: &Store, new: &NewAccount<'_>) -> Result<Option<i64>> {
    store.with(|db| {
        let made = db.execute(
            "INSERT OR IGNORE INTO accounts (username, password_hash, created, role, download)
             VALUES (?1, ?2, ?3, ?4, ?5)",
            (new.username, new.password_hash, new.created.millis(), new.role.name(), new.download),
        )?;
        Ok((made == 1).then(|| db.last_insert_rowid()))
    })
}

/// Stores `new` as an account's password hash, unless it is no longer `old`.
pub fn replace_hash(store: &Store, account: i64, old: &str, new: &str) -> Result<()> {
    store.with(|db| {
        let sql = "UPDATE accounts SET password_hash = ?3 WHERE id = ?1 AND password_hash = ?2";
        Ok(db.execute(sql, (account, old, new)).map(drop)?)
    })
}

/// Stores an account's new password hash and ends its sessions. `false` if the account does not exist.
pub fn set_password(store: &Store, account: i64, hash: &str) -> Result<bool> {
    store.with(|db| {
        let transaction = db.transaction()?;
        let sql = "UPDATE accounts SET password_hash = ?2 WHERE id = ?1";
        if transaction.execute(sql, (account, hash))? == 0 {
            return Ok(false);
        }
        sessions::remove_all_of(&transaction, account)?;
        transaction.commit()?;
        Ok(true)
    })
}

/// Changes an account's role and ends its sessions, so that none keeps the former rights.
pub fn change_role(store: &Store, account: i64, role: Role, download: bool) -> Result<Changed> {
    store.with(|db| {
        let transaction = db.transaction()?;
        let sql = "UPDATE accounts SET role = ?2, download = ?3 WHERE id = ?1";
        if transaction.execute(sql, (account, role.name(), download))? == 0 {
            return Ok(Changed::NoAccount);
        }
        if !has_admin(&transaction)? {
            return Ok(Changed::LastAdmin);
        }
        sessions::remove_all_of(&transaction, account)?;
        transaction.commit()?;
        Ok(Changed::Done)
    })
}

/// Deletes an account, with its sessions, tokens, recovery codes and archives.
pub fn delete(store: &Store, account: i64) -> Result<Changed> {
    store.with(|db| {
        let transaction = db.transaction()?;
        if transaction.execute("DELETE FROM accounts WHERE id = ?1", [account])? == 0 {
            return Ok(Changed::NoAccount);
        }
        if !has_admin(&transaction)? {
            return Ok(Changed::LastAdmin);
        }
        transaction.commit()?;
        Ok(Changed::Done)
    })
}

fn has_admin(db: &Connection) -> rusqlite::Result<bool> {
    db.query_row("SELECT count(*) > 0 FROM accounts WHERE role = 'admin'", [], |row| row.get(0))
}

/// The active second factor of an account.
pub fn second_factor(store: &Store, account: i64) -> Result<Option<SecondFactor>> {
    store.with(|db| {
        let sql = "SELECT totp, totp_step FROM accounts WHERE id = ?1 AND totp IS NOT NULL";
        let found = db.query_row(sql, [account], |row| {
            Ok(SecondFactor { sealed: row.get(0)?, last_step: row.get(1)? })
        });
        Ok(found.optional()?)
    })
}

/// Marks the code of the 30-second step `step` as used. `false` if it, or a later one, was used before.
pub fn spend_step(store: &Store, account: i64, step: i64) -> Result<bool> {
    store.with(|db| {
        let sql = "UPDATE accounts SET totp_step = ?2 WHERE id = ?1 AND totp_step < ?2";
        Ok(db.execute(sql, (account, step))? == 1)
    })
}

/// Stores the sealed key of a second factor that is offered, but not turned on yet.
pub fn offer_second_factor(store: &Store, account: i64, sealed: &str) -> Result<()> {
    store.with(|db| {
        let sql = "UPDATE accounts SET totp_offered = ?2 WHERE id = ?1";
        Ok(db.execute(sql, (account, sealed)).map(drop)?)
    })
}

/// The sealed key that was last offered and is not turned on yet.
pub fn offered_second_factor(store: &Store, account: i64) -> Result<Option<String>> {
    store.with(|db| {
        let sql = "SELECT totp_offered FROM accounts WHERE id = ?1";
        Ok(db.query_row(sql, [account], |row| row.get(0)).optional()?.flatten())
    })
}

/// Turns on a second factor, with new recovery codes; `step` is that of the confirming code.
pub fn turn_on_second_factor(
    store: &Store,
    account: i64,
    sealed: &str,
    step: i64,
    recovery_hashes: &[[u8; 32]],
) -> Result<()> {
    store.with(|db| {
        let transaction = db.transaction()?;
        transaction.execute(
            "UPDATE accounts SET totp = ?2, totp_offered = NULL, totp_step = ?3 WHERE id = ?1",
            (account, sealed, step),
        )?;
        recovery_codes::replace(&transaction, account, recovery_hashes)?;
        Ok(transaction.commit()?)
    })
}

/// Turns off an account's second factor and deletes its recovery codes.
pub fn turn_off_second_factor(store: &Store, account: i64) -> Result<()> {
    store.with(|db| {
        let transaction = db.transaction()?;
        let sql = "UPDATE accounts SET totp = NULL, totp_offered = NULL, totp_step = 0 WHERE id = ?1";
        transaction.execute(sql, [account])?;
        recovery_codes::replace(&transaction, account, &[])?;
        Ok(transaction.commit()?)
    })
}
