//! The one-time set-up link for creating the first account.

use crate::domain::accounts::token::SetupToken;
use crate::model::Stamp;
use parking_lot::{Mutex, MutexGuard};
use subtle::ConstantTimeEq as _;

/// How long a set-up link works, in seconds.
pub const SETUP_LIFE: u64 = 30 * 60;

/// The current set-up link, if there is one. In memory only: a restart creates another one.
#[derive(Default)]
pub(super) struct SetupLink(Mutex<Option<Link>>);

/// A set-up link.
pub(super) struct Link {
    token_hash: [u8; 32],
    made: Stamp,
}

impl SetupLink {
    /// Makes `token` the current one.
    pub(super) fn offer(&self, token: &SetupToken, now: Stamp) {
        *self.0.lock() = Some(Link { token_hash: token.hash(), made: now });
    }

    /// Whether `token` is valid.
    pub(super) fn admits(&self, token: &SetupToken, now: Stamp) -> bool {
        admits(self.0.lock().as_ref(), token, now)
    }

    /// The link, locked against concurrent use, if `token` is valid. The caller sets it to `None` once it is
    /// used.
    pub(super) fn hold(&self, token: &SetupToken, now: Stamp) -> Option<MutexGuard<'_, Option<Link>>> {
        let link = self.0.lock();
        admits(link.as_ref(), token, now).then_some(link)
    }
}

fn admits(link: Option<&Link>, token: &SetupToken, now: Stamp) -> bool {
    link.is_some_and(|link| {
        now.seconds_since(link.made) < SETUP_LIFE && bool::from(link.token_hash.ct_eq(&token.hash()))
    })
}
