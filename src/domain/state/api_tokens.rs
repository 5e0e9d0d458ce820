//! Table `api_tokens`: hashes and scopes of the tokens with which programs log in.

use crate::domain::error::Result;
use crate::domain::state::Store;
use crate::domain::state::owner::Owner;
use crate::model::Stamp;
use rusqlite::OptionalExtension as _;

/// A token of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its number.
    pub id: i64,
    /// The name chosen by its owner.
    pub label: String,
    /// Its scope: `view`, and further rights.
    pub scope: String,
    /// When it was created.
    pub created: Stamp,
    /// When it expires; `None` for never.
    pub expires: Option<Stamp>,
    /// When it was last used, to the minute.
    pub last_used: Option<Stamp>,
}

/// A token to be added.
#[derive(Debug)]
pub struct NewToken<'a> {
    /// The hash of the token.
    pub token_hash: [u8; 32],
    /// The account's number.
    pub account: i64,
    /// The name chosen by its owner.
    pub label: &'a str,
    /// Its scope: `view`, and further rights.
    pub scope: &'a str,
    /// When it is created.
    pub created: Stamp,
    /// When it expires; `None` for never.
    pub expires: Option<Stamp>,
}

/// A token, found by its hash.
#[derive(Debug)]
pub struct Found {
    /// Its number.
    pub id: i64,
    /// Its owner.
    pub owner: Owner,
    /// The name chosen by its owner.
    pub label: String,
    /// Its scope: `view`, and further rights.
    pub scope: String,
    /// When it was last used, to the minute.
    pub last_used: Option<Stamp>,
}

/// Adds a token, unless the account has `most` tokens. `false` if it has.
pub fn insert(store: &Store, new: &NewToken<'_>, most: i64) -> Result<bool> {
    store.with(|db| {
        let made = db.execute(
            "INSERT INTO api_tokens (token_hash, account, label, scope, created, expires)
             SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE (SELECT count(*) FROM api_tokens WHERE account = ?2) < ?7",
            (
                new.token_hash,
                new.account,
                new.label,
                new.scope,
                new.created.millis(),
                new.expires.map(Stamp::millis),
                most,
            ),
        )?;
        Ok(made == 1)
    })
}

/// The token with this hash, unless it expired before `now`.
pub fn find(store: &Store, token_hash: &[u8; 32], now: Stamp) -> Result<Option<Found>> {
    store.with(|db| {
        let mut find = db.prepare_cached(
            "SELECT a.id, a.username, a.role, a.download, t.id, t.label, t.scope, t.last_used
             FROM api_tokens t JOIN accounts a ON a.id = t.account
             WHERE t.token_hash = ?1 AND (t.expires IS NULL OR t.expires > ?2)",
        )?;
        let found = find.query_row((token_hash, now.millis()), |row| {
            Ok(Found {
                owner: Owner::in_row(row)?,
                id: row.get(4)?,
                label: row.get(5)?,
                scope: row.get(6)?,
                last_used: row.get::<_, Option<i64>>(7)?.map(Stamp::from_millis),
            })
        });
        Ok(found.optional()?)
    })
}

/// Records that a token is in use.
pub fn touch(store: &Store, id: i64, now: Stamp) -> Result<()> {
    store.with(|db| {
        let sql = "UPDATE api_tokens SET last_used = ?2 WHERE id = ?1";
        Ok(db.execute(sql, (id, now.millis())).map(drop)?)
    })
}

/// The tokens of an account, newest first.
pub fn list(store: &Store, account: i64) -> Result<Vec<Token>> {
    store.with(|db| {
        let mut find = db.prepare_cached(
            "SELECT id, label, scope, created, expires, last_used FROM api_tokens WHERE account = ?1
             ORDER BY created DESC, id DESC",
        )?;
        let rows = find.query_map([account], |row| {
            Ok(Token {
                id: row.get(0)?,
                label: row.get(1)?,
                scope: row.get(2)?,
                created: Stamp::from_millis(row.get(3)?),
                expires: row.get::<_, Option<i64>>(4)?.map(Stamp::from_millis),
                last_used: row.get::<_, Option<i64>>(5)?.map(Stamp::from_millis),
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    })
}

/// Removes a token of an account. Returns its label; `None` if it does not exist.
pub fn remove(store: &Store, account: i64, id: i64) -> Result<Option<String>> {
    store.with(|db| {
        let sql = "DELETE FROM api_tokens WHERE account = ?1 AND id = ?2 RETURNING label";
        Ok(db.query_row(sql, (account, id), |row| row.get(0)).optional()?)
    })
}
