//! Sessions: started by a login, ended by expiry, by logging out, or from another session.

use crate::domain::accounts::account::{Account, Device};
use crate::domain::accounts::service::Accounts;
use crate::domain::accounts::token::SessionToken;
use crate::domain::error::Result;
use crate::domain::state::sessions as table;
use crate::domain::state::sessions::{Expired, Listed, NewSession};
use crate::model::Stamp;
use data_encoding::HEXLOWER;

/// How long an unused session lives, in seconds.
pub const SESSION_IDLE: u64 = 30 * 60;
/// How long any session lives, in seconds.
pub const SESSION_LIFE: u64 = 12 * 60 * 60;
/// How long after a login irreversible actions need no password, in seconds.
pub const FRESH: u64 = 5 * 60;

/// The time between two records that a session or token is in use, in seconds: each record is a disk write.
pub(super) const TOUCH_EVERY: u64 = 60;

/// How far in the future a session may have started, in milliseconds. Beyond that, the clock was set back,
/// and the session's age is unknown.
const AHEAD: i64 = 60 * 60 * 1000;

/// How many characters of a user agent are stored.
const AGENT_MAX: usize = 200;

/// A session as shown to its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Identifies the session, and gives no access.
    pub id: String,
    /// When it was started.
    pub created: Stamp,
    /// When it was last used, to the minute.
    pub last_seen: Stamp,
    /// Where it is used.
    pub device: Device,
}

impl Accounts {
    /// The account of a session, if it is valid and has not expired. Asking counts as use.
    pub fn session(&self, token: &SessionToken) -> Result<Option<Account>> {
        let now = self.now();
        let hash = token.hash();
        let Some(found) = table::find(&self.store, &hash)? else { return Ok(None) };
        if now.seconds_since(found.created) >= SESSION_LIFE
            || now.seconds_since(found.last_seen) >= SESSION_IDLE
            || found.created.millis() > now.millis().saturating_add(AHEAD)
        {
            self.forget_expired()?;
            return Ok(None);
        }
        // A full disk must not lock out the administrator who comes to free space.
        if now.seconds_since(found.last_seen) >= TOUCH_EVERY
            && let Err(error) = table::touch(&self.store, &hash, now)
        {
            tracing::warn!(%error, "the use of a session could not be recorded");
        }
        let fresh = found.proved <= now && now.seconds_since(found.proved) < FRESH;
        Ok(Some(Account::by_session(found.owner, fresh)))
    }

    /// Ends the session, if it exists.
    pub fn log_out(&self, token: &SessionToken) -> Result<()> {
        table::remove(&self.store, &token.hash())
    }

    /// Starts a session for an account that was just authenticated.
    pub(super) fn begin_session(&self, account: i64, device: &Device) -> Result<SessionToken> {
        let token = SessionToken::random()?;
        let agent: String = device.agent.chars().take(AGENT_MAX).collect();
        self.forget_expired()?;
        let new = NewSession {
            token_hash: token.hash(),
            account,
            now: self.now(),
            address: &device.address,
            agent: &agent,
        };
        table::insert(&self.store, &new)?;
        Ok(token)
    }

    /// The sessions of an account, most recently used first.
    pub fn sessions(&self, account: i64) -> Result<Vec<Session>> {
        self.forget_expired()?;
        let shown = |Listed { token_hash, created, last_seen, address, agent }| Session {
            id: id_of(&token_hash),
            created,
            last_seen,
            device: Device { address, agent },
        };
        Ok(table::list(&self.store, account)?.into_iter().map(shown).collect())
    }

    /// The id of this session in [`Accounts::sessions`].
    pub fn session_id(token: &SessionToken) -> String {
        id_of(&token.hash())
    }

    /// Ends one session of an account, or all of them; returns their number.
    pub fn end_sessions(&self, account: i64, id: Option<&str>) -> Result<usize> {
        table::remove_of(&self.store, account, id)
    }

    /// Removes expired sessions.
    pub(super) fn forget_expired(&self) -> Result<()> {
        let now = self.now().millis();
        let before = |seconds: u64| now.saturating_sub_unsigned(seconds * 1000);
        let expired = Expired {
            created_until: before(SESSION_LIFE),
            seen_until: before(SESSION_IDLE),
            created_after: now.saturating_add(AHEAD),
        };
        table::remove_expired(&self.store, expired)
    }
}

/// The first 64 bits of the token's hash, which reveal nothing about the token.
fn id_of(token_hash: &[u8; 32]) -> String {
    HEXLOWER.encode(&token_hash[..8])
}
