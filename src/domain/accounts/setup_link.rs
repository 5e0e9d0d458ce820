//! The one-time set-up link: its token, while it waits for whoever makes the first account.

use crate::domain::accounts::token::SetupToken;
use crate::model::Stamp;
use parking_lot::{Mutex, MutexGuard};
use subtle::ConstantTimeEq as _;

/// Seconds a set-up link works.
pub const SETUP_LIFE: u64 = 30 * 60;

/// The set-up link that works now, if one does. In memory only: a restart makes another one.
#[derive(Default)]
pub(super) struct SetupLink(Mutex<Option<Link>>);

/// A link, from its making to its use.
pub(super) struct Link {
    token_hash: [u8; 32],
    made: Stamp,
}

impl SetupLink {
    /// Makes `token` the one that works.
    pub(super) fn offer(&self, token: &SetupToken, now: Stamp) {
        *self.0.lock() = Some(Link { token_hash: token.hash(), made: now });
    }

    /// Whether `token` works.
    pub(super) fn admits(&self, token: &SetupToken, now: Stamp) -> bool {
        admits(self.0.lock().as_ref(), token, now)
    }

    /// The link, held so that nobody else can use it meanwhile, where `token` works. Whoever used it sets it to
    /// `None`.
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
