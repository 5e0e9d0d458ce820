//! API tokens for programs: limited by the token's scope and by the account's current rights.

use crate::domain::accounts::account::Account;
use crate::domain::accounts::service::Accounts;
use crate::domain::accounts::sessions::TOUCH_EVERY;
use crate::domain::accounts::token::ApiToken;
use crate::domain::error::{Code, Error, Result};
use crate::domain::state::api_tokens as table;
use crate::domain::state::api_tokens::NewToken;
use crate::model::{Role, Stamp};

pub use crate::domain::state::api_tokens::Token;

/// The prefix of every token, by which a token in a file or a log is recognised as Holdfast's.
pub const PREFIX: &str = "holdfast_";

/// The most tokens of one account.
const TOKENS: i64 = 50;
/// The length of a label, in characters.
const LABEL_MAX: usize = 64;
/// Milliseconds of a day.
const DAY: i64 = 24 * 60 * 60 * 1000;

/// What a token allows besides viewing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scope {
    /// Downloading backups.
    pub download: bool,
    /// Creating, verifying, uploading, importing and deleting backups.
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

impl Accounts {
    /// Creates a token that expires in `days`, or never. The token is returned only this once; [`PREFIX`]
    /// goes before it.
    pub fn make_token(&self, account: i64, label: &str, scope: Scope, days: Option<u32>) -> Result<ApiToken> {
        let label = label.trim();
        if !(1..=LABEL_MAX).contains(&label.chars().count()) || label.chars().any(char::is_control) {
            return Err(Error::refusal(
                Code::InvalidInput,
                "Give the token a name of 1 to 64 printable characters, such as the name of the script.",
            ));
        }
        let token = ApiToken::random()?;
        let created = self.now();
        let expires = days.map(|days| i64::from(days).saturating_mul(DAY));
        let new = NewToken {
            token_hash: token.hash(),
            account,
            label,
            scope: &scope.name(),
            created,
            expires: expires.map(|life| Stamp::from_millis(created.millis().saturating_add(life))),
        };
        if !table::insert(&self.store, &new, TOKENS)? {
            return Err(Error::refusal(Code::LimitReached, "You already have 50 tokens. Revoke one first."));
        }
        Ok(token)
    }

    /// The account and rights of a token, if it is valid and has not expired.
    pub fn bearer(&self, token: &ApiToken) -> Result<Option<Account>> {
        let now = self.now();
        let Some(found) = table::find(&self.store, &token.hash(), now)? else { return Ok(None) };
        let since = found.last_used.map_or(u64::MAX, |last| now.millis().abs_diff(last.millis()) / 1000);
        if since >= TOUCH_EVERY
            && let Err(error) = table::touch(&self.store, found.id, now)
        {
            tracing::warn!(%error, "the use of a token could not be recorded");
        }
        let scope = Scope::parse(&found.scope);
        let most = if scope.operate { Role::Operator } else { Role::Viewer };
        Ok(Some(Account {
            id: found.owner.id,
            username: found.owner.username,
            role: found.owner.role.min(most),
            download: found.owner.download && scope.download,
            fresh: false,
            token: Some(found.label),
        }))
    }

    /// The tokens of an account, newest first.
    pub fn tokens(&self, account: i64) -> Result<Vec<Token>> {
        table::list(&self.store, account)
    }

    /// Revokes a token of an account; returns its label.
    pub fn revoke_token(&self, account: i64, id: i64) -> Result<String> {
        table::remove(&self.store, account, id)?
            .ok_or_else(|| Error::refusal(Code::TokenNotFound, "This token no longer exists."))
    }
}
