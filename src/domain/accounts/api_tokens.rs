//! API tokens: for programs, which have no password to type. Each may do what its scope says, and never more than
//! its account may at the time.

use crate::domain::accounts::sessions::role_in;
use crate::domain::accounts::{Account, Accounts, ApiToken, TOUCH_EVERY};
use crate::domain::error::{Error, Result};
use crate::model::{Role, Stamp};
use rusqlite::OptionalExtension as _;

/// Tokens of one account.
const TOKENS: i64 = 50;
/// Characters of a label.
const LABEL_MAX: usize = 64;
/// Begins every token, so that one that lies about is recognised for what it is.
pub const PREFIX: &str = "holdfast_";
/// Milliseconds of a day.
const DAY: i64 = 24 * 60 * 60 * 1000;

/// What a token is for, beside looking.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scope {
    /// The content of backups.
    pub download: bool,
    /// Making, verifying, sending, importing and deleting backups.
    pub operate: bool,
}

impl Scope {
    fn name(self) -> String {
        ["view"]
            .into_iter()
            .chain(self.download.then_some("download"))
            .chain(self.operate.then_some("operate"))
            .collect::<Vec<_>>()
            .join(" ")
    }

    fn parse(text: &str) -> Self {
        let has = |word| text.split(' ').any(|each| each == word);
        Self { download: has("download"), operate: has("operate") }
    }
}

/// A token as its owner is shown it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its number.
    pub id: i64,
    /// What its owner calls it.
    pub label: String,
    /// `view`, and what else it is for.
    pub scope: String,
    /// When it was made.
    pub created: Stamp,
    /// When it ends, where it does.
    pub expires: Option<Stamp>,
    /// When it was used last, to a minute.
    pub last_used: Option<Stamp>,
}

impl Accounts {
    /// Makes a token, good for `days` where it is not for ever. It is told this once, with [`PREFIX`] before it.
    pub fn make_token(&self, account: i64, label: &str, scope: Scope, days: Option<u32>) -> Result<ApiToken> {
        let label = label.trim();
        if !(1..=LABEL_MAX).contains(&label.chars().count()) || label.chars().any(char::is_control) {
            return Err(Error::Refused(
                "Give the token a name of 1 to 64 printable characters, such as the script's.".to_owned(),
            ));
        }
        let token = ApiToken::random()?;
        let now = self.now().millis();
        let expires = days.map(|days| now.saturating_add(i64::from(days).saturating_mul(DAY)));
        self.store.with(|conn| {
            let made = conn.execute(
                "INSERT INTO api_tokens (token_hash, account, label, scope, created, expires)
                 SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE (SELECT count(*) FROM api_tokens WHERE account = ?2) < ?7",
                (token.hash(), account, label, scope.name(), now, expires, TOKENS),
            )?;
            if made == 0 {
                return Err(Error::Refused("You already have 50 tokens. Revoke one first.".to_owned()));
            }
            Ok(())
        })?;
        Ok(token)
    }

    /// Whose token this is and what it may do, where it is one and has not ended.
    pub fn bearer(&self, token: &ApiToken) -> Result<Option<Account>> {
        let now = self.now().millis();
        self.store.with(|conn| {
            let mut find = conn.prepare_cached(
                "SELECT a.id, a.username, a.role, a.download, t.label, t.scope, t.id, t.last_used
                 FROM api_tokens t JOIN accounts a ON a.id = t.account
                 WHERE t.token_hash = ?1 AND (t.expires IS NULL OR t.expires > ?2)",
            )?;
            let found = find.query_row((token.hash(), now), |row| {
                let scope = Scope::parse(&row.get::<_, String>(5)?);
                let most = if scope.operate { Role::Operator } else { Role::Viewer };
                let account = Account {
                    id: row.get(0)?,
                    username: row.get(1)?,
                    role: role_in(row, 2)?.min(most),
                    download: row.get::<_, bool>(3)? && scope.download,
                    fresh: false,
                    token: Some(row.get(4)?),
                };
                Ok((account, row.get::<_, i64>(6)?, row.get::<_, Option<i64>>(7)?))
            });
            let Some((account, id, last_used)) = found.optional()? else { return Ok(None) };
            let since = last_used.map_or(u64::MAX, |last| now.abs_diff(last) / 1000);
            if since >= TOUCH_EVERY
                && let Err(error) =
                    conn.execute("UPDATE api_tokens SET last_used = ?2 WHERE id = ?1", (id, now))
            {
                tracing::warn!(%error, "the use of a token could not be noted");
            }
            Ok(Some(account))
        })
    }

    /// The tokens of an account, the newest first.
    pub fn tokens(&self, account: i64) -> Result<Vec<Token>> {
        self.store.with(|conn| {
            let mut find = conn.prepare_cached(
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

    /// Ends a token of an account's; gives its label.
    pub fn revoke_token(&self, account: i64, id: i64) -> Result<String> {
        self.store.with(|conn| {
            let sql = "DELETE FROM api_tokens WHERE account = ?1 AND id = ?2 RETURNING label";
            let label = conn.query_row(sql, (account, id), |row| row.get(0)).optional()?;
            label.ok_or_else(|| Error::Refused("This token no longer exists.".to_owned()))
        })
    }
}
