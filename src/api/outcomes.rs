//! What a request that was answered with another address came to, kept until the page there tells it. An
//! address carries only a number, so that nobody can make the page say things by a link.

use crate::model::ActionResult;
use data_encoding::HEXLOWER;
use http::HeaderMap;
use http::header::COOKIE;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Outcomes kept; the oldest goes first.
const KEPT: usize = 1000;

/// Carries the number where the answer is a download, so that no address can.
const COOKIE_NAME: &str = "holdfast_outcome";

/// The outcomes of one server. Cheap to clone.
#[derive(Clone, Default)]
pub struct Outcomes(Arc<Mutex<VecDeque<Kept>>>);

struct Kept {
    id: String,
    account: i64,
    told: ActionResult,
}

impl Outcomes {
    /// Keeps `told` for `account` and gives its number; nothing where the system has no random numbers.
    pub fn keep(&self, account: i64, told: ActionResult) -> Option<String> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).ok()?;
        let id = HEXLOWER.encode(&random);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(Kept { id: id.clone(), account, told });
        Some(id)
    }

    /// What was kept under that number, where it is for `account`.
    pub fn get(&self, account: i64, id: &str) -> Option<ActionResult> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|kept| kept.account == account && kept.id == id).map(|kept| kept.told.clone())
    }
}

/// `Set-Cookie` for the next page to tell the outcome `id`.
pub fn tell_next(id: &str) -> String {
    format!("{COOKIE_NAME}={id}; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax")
}

/// `Set-Cookie` once it was told.
pub fn told() -> String {
    format!("{COOKIE_NAME}=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax")
}

/// The number that [`tell_next`] left with the browser.
pub fn to_tell(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|cookies| cookies.split(';'))
        .find_map(|pair| pair.trim().strip_prefix(COOKIE_NAME)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Outcome;
    use http::HeaderValue;

    #[test]
    fn an_outcome_is_told_to_its_own_account_only() {
        let outcomes = Outcomes::default();
        let id = outcomes.keep(1, Outcome::refused("no").into()).unwrap();
        assert_eq!(outcomes.get(1, &id), Some(Outcome::refused("no").into()));
        assert_eq!(outcomes.get(2, &id), None);
        assert_eq!(outcomes.get(1, "0"), None);
    }

    #[test]
    fn the_oldest_is_forgotten_first() {
        let outcomes = Outcomes::default();
        let first = outcomes.keep(1, ActionResult::default()).unwrap();
        for _ in 0..KEPT {
            outcomes.keep(1, ActionResult::default());
        }
        assert_eq!(outcomes.get(1, &first), None);
        assert_eq!(outcomes.0.lock().unwrap().len(), KEPT);
    }

    #[test]
    fn the_browser_carries_the_number_back() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, HeaderValue::from_static("a=b; holdfast_outcome=07f; c=d"));
        assert_eq!(to_tell(&headers), Some("07f"));
        assert!(tell_next("07f").starts_with("holdfast_outcome=07f;"));
        headers.insert(COOKIE, HeaderValue::from_static("xholdfast_outcome=1"));
        assert_eq!(to_tell(&headers), None);
    }
}
