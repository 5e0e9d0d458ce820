//! Flash messages: results kept between a redirect and the page it leads to. An address carries only a random id, so
//! that no link can make a page say something.

use crate::api::context::FlashMessages;
use crate::domain::random;
use crate::model::ActionResult;
use axum_extra::extract::cookie::{Cookie, CookieJar, SameSite};
use http::{HeaderMap, HeaderValue};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// How many messages are kept; the oldest goes first.
const CAPACITY: usize = 1000;

/// The cookie with the id of a message for the next page, used when the redirect leads to a download.
const COOKIE_NAME: &str = "holdfast_outcome";

/// How long the browser keeps that cookie.
const COOKIE_LIFE: Duration = Duration::from_hours(1);

/// The flash messages of one server. Cheap to clone.
#[derive(Clone, Default)]
pub struct Flash(Arc<Mutex<VecDeque<Message>>>);

struct Message {
    id: String,
    account: i64,
    result: ActionResult,
}

impl FlashMessages for Flash {
    fn keep(&self, account: i64, result: ActionResult) -> Option<String> {
        let id = random::hex::<16>().ok()?;
        let mut messages = self.0.lock();
        if messages.len() == CAPACITY {
            messages.pop_front();
        }
        messages.push_back(Message { id: id.clone(), account, result });
        Some(id)
    }

    fn get(&self, account: i64, id: &str) -> Option<ActionResult> {
        let messages = self.0.lock();
        messages
            .iter()
            .find(|message| message.account == account && message.id == id)
            .map(|message| message.result.clone())
    }

    fn left_in_cookie(&self, headers: &HeaderMap) -> Option<(String, HeaderValue)> {
        let id = CookieJar::from_headers(headers).get(COOKIE_NAME)?.value().to_owned();
        Some((id, header_value(cookie("", Duration::ZERO))?))
    }
}

/// `Set-Cookie` that makes the next page show the message `id`.
pub fn show_next(id: &str) -> Option<HeaderValue> {
    header_value(cookie(id, COOKIE_LIFE))
}

fn cookie(id: &str, life: Duration) -> Cookie<'_> {
    Cookie::build((COOKIE_NAME, id))
        .path("/")
        .http_only(true)
        .same_site(SameSite::Lax)
        .max_age(life.try_into().unwrap_or_default())
        .build()
}

fn header_value(cookie: Cookie<'_>) -> Option<HeaderValue> {
    HeaderValue::try_from(cookie.to_string()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Outcome;
    use http::header::COOKIE;

    #[test]
    fn a_message_is_shown_to_its_own_account_only() {
        let flash = Flash::default();
        let id = flash.keep(1, Outcome::refused("no").into()).unwrap();
        assert_eq!(flash.get(1, &id), Some(Outcome::refused("no").into()));
        assert_eq!(flash.get(2, &id), None);
        assert_eq!(flash.get(1, "0"), None);
    }

    #[test]
    fn the_oldest_is_forgotten_first() {
        let flash = Flash::default();
        let first = flash.keep(1, ActionResult::default()).unwrap();
        for _ in 0..CAPACITY {
            flash.keep(1, ActionResult::default());
        }
        assert_eq!(flash.get(1, &first), None);
        assert_eq!(flash.0.lock().len(), CAPACITY);
    }

    #[test]
    fn the_browser_carries_the_id_back_once() {
        let flash = Flash::default();
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, HeaderValue::from_static("a=b; holdfast_outcome=07f; c=d"));
        let (id, removal) = flash.left_in_cookie(&headers).unwrap();
        assert_eq!(id, "07f");
        assert!(removal.to_str().unwrap().ends_with("Max-Age=0"), "{removal:?}");
        let set = show_next("07f").unwrap();
        assert_eq!(set, "holdfast_outcome=07f; HttpOnly; SameSite=Lax; Path=/; Max-Age=3600");
        headers.insert(COOKIE, HeaderValue::from_static("xholdfast_outcome=1"));
        assert_eq!(flash.left_in_cookie(&headers), None);
    }
}
