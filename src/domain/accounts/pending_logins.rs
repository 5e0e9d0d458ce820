//! Logins between the password and the code of the second factor.

use crate::domain::accounts::token::HalfwayToken;
use crate::model::Stamp;
use parking_lot::Mutex;
use subtle::ConstantTimeEq as _;

/// The time for entering the code, in seconds.
const LIFE: u64 = 5 * 60;
/// The number of codes that may be tried after one password.
const TRIES: u8 = 5;
/// The most pending logins; beyond that, the oldest has to start again.
const MOST: usize = 1000;

/// The pending logins. In memory only: after a restart they have to start again.
#[derive(Default)]
pub(super) struct PendingLogins(Mutex<Vec<Pending>>);

struct Pending {
    token_hash: [u8; 32],
    account: i64,
    began: Stamp,
    tries: u8,
}

impl PendingLogins {
    /// Records that a user of `account` entered its password.
    pub(super) fn begin(&self, token: &HalfwayToken, account: i64, now: Stamp) {
        let mut all = self.0.lock();
        all.retain(|pending| pending.is_alive(now));
        if all.len() >= MOST {
            all.remove(0);
        }
        all.push(Pending { token_hash: token.hash(), account, began: now, tries: 0 });
    }

    /// The account, even if the time or the attempts are used up.
    pub(super) fn account(&self, token: &HalfwayToken) -> Option<i64> {
        let hash = token.hash();
        self.0.lock().iter().find(|pending| pending.has(&hash)).map(|pending| pending.account)
    }

    /// Counts an attempt, and returns the account if the attempt is allowed.
    pub(super) fn try_code(&self, token: &HalfwayToken, now: Stamp) -> Option<i64> {
        let hash = token.hash();
        let mut all = self.0.lock();
        let found = all.iter_mut().find(|pending| pending.has(&hash))?;
        // The counter saturates, so that it can never wrap around.
        found.tries = found.tries.saturating_add(1);
        (found.tries <= TRIES && found.is_alive(now)).then_some(found.account)
    }

    /// Removes a login whose code was right.
    pub(super) fn finish(&self, token: &HalfwayToken) {
        let hash = token.hash();
        self.0.lock().retain(|pending| pending.token_hash != hash);
    }
}

impl Pending {
    fn has(&self, hash: &[u8; 32]) -> bool {
        bool::from(self.token_hash.ct_eq(hash))
    }

    fn is_alive(&self, now: Stamp) -> bool {
        self.began <= now && now.seconds_since(self.began) < LIFE
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::accounts::pending_logins::*;

    #[test]
    fn the_tries_never_begin_again_however_many_are_made() {
        let (pending, token) = (PendingLogins::default(), HalfwayToken::random().unwrap());
        let now = Stamp::from_millis(1_795_401_667_000);
        pending.begin(&token, 7, now);
        let tries = (0..600).map(|_| pending.try_code(&token, now));
        assert_eq!(tries.flatten().count(), usize::from(TRIES));
        assert_eq!(pending.account(&token), Some(7), "the page can still name the account");
    }
}
