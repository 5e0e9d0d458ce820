//! Table `sessions`: hashes of session tokens, with when and where each session is used.

use crate::domain::error::Result;
use crate::domain::state::Store;
use crate::domain::state::owner::Owner;
use crate::model::Stamp;
use rusqlite::{Connection, OptionalExtension as _};

/// A session, found by the hash of its token.
#[derive(Debug)]
pub struct Found {
    /// Its owner.
    pub owner: Owner,
    /// When it was started.
    pub created: Stamp,
    /// When it was last used, to the minute.
    pub last_seen: Stamp,
    /// When its user last typed the password.
    pub proved: Stamp,
}

/// A session that starts, its user having just typed the password.
#[derive(Debug)]
pub struct NewSession<'a> {
    /// The hash of its token.
    pub token_hash: [u8; 32],
    /// The account's number.
    pub account: i64,
    /// When it starts.
    pub now: Stamp,
    /// The network address it is used from.
    pub address: &'a str,
    /// The browser's user agent.
    pub agent: &'a str,
}

/// A session of an account.
#[derive(Debug)]
pub struct Listed {
    /// The hash of its token.
    pub token_hash: [u8; 32],
    /// When it was started.
    pub created: Stamp,
    /// When it was last used, to the minute.
    pub last_seen: Stamp,
    /// The network address it is used from.
    pub address: String,
    /// The browser's user agent.
    pub agent: String,
}

/// Which sessions have expired.
#[derive(Debug, Clone, Copy)]
pub struct Expired {
    /// Those started at this time or before.
    pub created_until: i64,
    /// Those last used at this time or before.
    pub seen_until: i64,
    /// Those started after this time, which is in the future.
    pub created_after: i64,
}

/// The session with this token hash, expired or not.
pub fn find(store: &Store, token_hash: &[u8; 32]) -> Result<Option<Found>> {
    store.with(|db| {
        let mut find = db.prepare_cached(
            "SELECT a.id, a.username, a.role, a.download, s.created, s.last_seen, s.proved
             FROM sessions s JOIN accounts a ON a.id = s.account WHERE s.token_hash = ?1",
        )?;
        let found = find.query_row([token_hash], |row| {
            Ok(Found {
                owner: Owner::in_row(row)?,
                created: Stamp::from_millis(row.get(4)?),
                last_seen: Stamp::from_millis(row.get(5)?),
                proved: Stamp::from_millis(row.get(6)?),
            })
        });
        Ok(found.optional()?)
    })
}

/// Adds a session.
pub fn insert(store: &Store, new: &NewSession<'_>) -> Result<()> {
    store.with(|db| {
        db.execute(
            "INSERT INTO sessions (token_hash, account, created, last_seen, proved, address, agent)
             VALUES (?1, ?2, ?3, ?3, ?3, ?4, ?5)",
            (new.token_hash, new.account, new.now.millis(), new.address, new.agent),
        )?;
        Ok(())
    })
}

/// Records that a session is in use.
pub fn touch(store: &Store, token_hash: &[u8; 32], now: Stamp) -> Result<()> {
    store.with(|db| {
        let sql = "UPDATE sessions SET last_seen = ?2 WHERE token_hash = ?1";
        Ok(db.execute(sql, (token_hash, now.millis())).map(drop)?)
    })
}

/// Gives a session a new token, its user having just typed the password. `false` if the session does not
/// exist.
pub fn renew(store: &Store, old_hash: &[u8; 32], new_hash: &[u8; 32], proved: Stamp) -> Result<bool> {
    store.with(|db| {
        let sql = "UPDATE sessions SET token_hash = ?2, proved = ?3 WHERE token_hash = ?1";
        Ok(db.execute(sql, (old_hash, new_hash, proved.millis()))? > 0)
    })
}

/// The sessions of an account, most recently used first.
pub fn list(store: &Store, account: i64) -> Result<Vec<Listed>> {
    store.with(|db| {
        let mut find = db.prepare_cached(
            "SELECT token_hash, created, last_seen, address, agent FROM sessions WHERE account = ?1
             ORDER BY last_seen DESC, created DESC",
        )?;
        let rows = find.query_map([account], |row| {
            Ok(Listed {
                token_hash: row.get(0)?,
                created: Stamp::from_millis(row.get(1)?),
                last_seen: Stamp::from_millis(row.get(2)?),
                address: row.get(3)?,
                agent: row.get(4)?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    })
}

/// Removes the session with this token hash, if it exists.
pub fn remove(store: &Store, token_hash: &[u8; 32]) -> Result<()> {
    store.with(|db| Ok(db.execute("DELETE FROM sessions WHERE token_hash = ?1", [token_hash]).map(drop)?))
}

/// Removes sessions of an account: the one whose token hash begins with the 16 lower-case hexadecimal digits
/// `id`, or all of them. Returns their number.
pub fn remove_of(store: &Store, account: i64, id: Option<&str>) -> Result<usize> {
    store.with(|db| match id {
        Some(id) => {
            let sql = "DELETE FROM sessions WHERE account = ?1 AND lower(hex(substr(token_hash, 1, 8))) = ?2";
            Ok(db.execute(sql, (account, id))?)
        }
        None => Ok(remove_all_of(db, account)?),
    })
}

/// Removes expired sessions.
pub fn remove_expired(store: &Store, expired: Expired) -> Result<()> {
    store.with(|db| {
        let sql = "DELETE FROM sessions WHERE created <= ?1 OR last_seen <= ?2 OR created > ?3";
        db.execute(sql, (expired.created_until, expired.seen_until, expired.created_after))?;
        Ok(())
    })
}

/// Removes all sessions of an account. Returns their number.
pub(super) fn remove_all_of(db: &Connection, account: i64) -> rusqlite::Result<usize> {
    db.execute("DELETE FROM sessions WHERE account = ?1", [account])
}
