//! Sessions: begun by a log-in, proved anew by the password, ended by time, by leaving, or from afar.

use crate::domain::accounts::{
    Account, Accounts, Device, FRESH, SESSION_IDLE, SESSION_LIFE, SessionToken, TOUCH_EVERY,
    password_problem, text_in,
};
use crate::domain::error::{Error, Result};
use crate::model::{LoginProblem, Role, Stamp};
use data_encoding::HEXLOWER;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use secrecy::SecretString;

/// Milliseconds by which a session may have begun after now. Further ahead, the clock was set back since, and how
/// long it has lived cannot be told.
const AHEAD: i64 = 60 * 60 * 1000;

/// What of a browser's name for itself is kept, in characters.
const AGENT_MAX: usize = 200;

/// A session as its owner is shown it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Names it, and admits to nothing.
    pub id: String,
    /// When it began.
    pub created: Stamp,
    /// When it was used last, to a minute.
    pub last_seen: Stamp,
    /// Where.
    pub device: Device,
}

impl Accounts {
    /// Whose session this is, where it is one and has not ended. Asking keeps it from idling.
    pub fn session(&self, token: &SessionToken) -> Result<Option<Account>> {
        let now = self.now();
        let hash = token.hash();
        self.store.with(|conn| {
            let mut find = conn.prepare_cached(
                "SELECT a.id, a.username, a.role, a.download, s.created, s.last_seen, s.proved
                 FROM sessions s JOIN accounts a ON a.id = s.account WHERE s.token_hash = ?1",
            )?;
            let row = find.query_row([hash], |row| {
                let stamp = |column| Ok::<_, rusqlite::Error>(Stamp::from_millis(row.get(column)?));
                let proved = stamp(6)?;
                let account = Account {
                    id: row.get(0)?,
                    username: row.get(1)?,
                    role: role_in(row, 2)?,
                    download: row.get(3)?,
                    fresh: proved <= now && now.seconds_since(proved) < FRESH,
                    token: None,
                };
                Ok((account, stamp(4)?, stamp(5)?))
            });
            let Some((account, created, last_seen)) = row.optional()? else {
                return Ok(None);
            };
            if now.seconds_since(created) >= SESSION_LIFE
                || now.seconds_since(last_seen) >= SESSION_IDLE
                || created.millis() > now.millis().saturating_add(AHEAD)
            {
                forget_expired(conn, now)?;
                return Ok(None);
            }
            if now.seconds_since(last_seen) >= TOUCH_EVERY {
                let touched = conn.execute(
                    "UPDATE sessions SET last_seen = ?2 WHERE token_hash = ?1",
                    (hash, now.millis()),
                );
                // A full disk must not lock out who comes to free it.
                if let Err(error) = touched {
                    tracing::warn!(%error, "the use of a session could not be noted");
                }
            }
            Ok(Some(account))
        })
    }

    /// Ends the session, if it is one.
    pub fn log_out(&self, token: &SessionToken) -> Result<()> {
        let hash = token.hash();
        self.store.with(|conn| {
            conn.execute("DELETE FROM sessions WHERE token_hash = ?1", [hash])?;
            Ok(())
        })
    }

    pub(super) fn begin_session(&self, account: i64, device: &Device) -> Result<SessionToken> {
        let token = SessionToken::random()?;
        let now = self.now();
        let agent: String = device.agent.chars().take(AGENT_MAX).collect();
        self.store.with(|conn| {
            forget_expired(conn, now)?;
            conn.execute(
                "INSERT INTO sessions (token_hash, account, created, last_seen, proved, address, agent)
                 VALUES (?1, ?2, ?3, ?3, ?3, ?4, ?5)",
                (token.hash(), account, now.millis(), &device.address, agent),
            )?;
            Ok(())
        })?;
        Ok(token)
    }

    /// Notes that whoever has this session has just proved who they are, by the password of its account. The
    /// session goes on under another token, and lives no longer for it.
    pub fn prove(&self, token: &SessionToken, password: &SecretString) -> Result<SessionToken> {
        const DENIED: Error = Error::Denied(LoginProblem::Wrong.message());
        let account = self.session(token)?.ok_or(DENIED)?;
        if !self.knows(account.id, password)? {
            return Err(DENIED);
        }
        let new = SessionToken::random()?;
        let renewed = self.store.with(|conn| {
            let sql = "UPDATE sessions SET token_hash = ?2, proved = ?3 WHERE token_hash = ?1";
            Ok(conn.execute(sql, (token.hash(), new.hash(), self.now().millis()))?)
        })?;
        if renewed == 0 { Err(DENIED) } else { Ok(new) }
    }

    /// Gives the account of this session another password, and ends all its sessions but a new one.
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

    /// Gives an account another password, and ends all its sessions.
    pub fn set_password(&self, account: i64, new: &SecretString) -> Result<()> {
        if let Some(problem) = password_problem(new) {
            return Err(Error::Refused(problem.message().to_owned()));
        }
        let hash = self.hash(new)?;
        self.store.with(|conn| {
            let transaction = conn.transaction()?;
            let sql = "UPDATE accounts SET password_hash = ?2 WHERE id = ?1";
            if transaction.execute(sql, (account, hash))? == 0 {
                return Err(crate::domain::accounts::users::no_account());
            }
            transaction.execute("DELETE FROM sessions WHERE account = ?1", [account])?;
            Ok(transaction.commit()?)
        })
    }

    /// The sessions of an account, the one used last first.
    pub fn sessions(&self, account: i64) -> Result<Vec<Session>> {
        let now = self.now();
        self.store.with(|conn| {
            forget_expired(conn, now)?;
            let mut find = conn.prepare_cached(
                "SELECT token_hash, created, last_seen, address, agent FROM sessions WHERE account = ?1
                 ORDER BY last_seen DESC, created DESC",
            )?;
            let rows = find.query_map([account], |row| {
                Ok(Session {
                    id: id_of(&row.get::<_, [u8; 32]>(0)?),
                    created: Stamp::from_millis(row.get(1)?),
                    last_seen: Stamp::from_millis(row.get(2)?),
                    device: Device { address: row.get(3)?, agent: row.get(4)? },
                })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// Which of [`Accounts::sessions`] this one is.
    pub fn session_id(token: &SessionToken) -> String {
        id_of(&token.hash())
    }

    /// Ends one session of an account, or all of them; says how many.
    pub fn end_sessions(&self, account: i64, id: Option<&str>) -> Result<usize> {
        self.store.with(|conn| {
            let sql = "DELETE FROM sessions WHERE account = ?1 AND (?2 IS NULL OR lower(hex(substr(token_hash, 1, 8))) = ?2)";
            Ok(conn.execute(sql, params![account, id])?)
        })
    }
}

/// The first 64 bits of what is kept of its token, which was hashed for that.
fn id_of(token_hash: &[u8; 32]) -> String {
    HEXLOWER.encode(&token_hash[..8])
}

/// A role that is none leaves the least: damage must neither give rights nor take the list away.
pub(super) fn role_in(row: &Row<'_>, column: usize) -> rusqlite::Result<Role> {
    Ok(Role::parse(&text_in(row, column)?).unwrap_or(Role::Viewer))
}

pub(super) fn forget_expired(conn: &Connection, now: Stamp) -> Result<()> {
    let before = |seconds: u64| now.millis().saturating_sub_unsigned(seconds * 1000);
    let sql = "DELETE FROM sessions WHERE created <= ?1 OR last_seen <= ?2 OR created > ?3";
    conn.execute(sql, (before(SESSION_LIFE), before(SESSION_IDLE), now.millis().saturating_add(AHEAD)))?;
    Ok(())
}
