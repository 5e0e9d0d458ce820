//! The cookies of sessions and of logins that still need a second factor.

use crate::domain::accounts::{SESSION_LIFE, SessionToken, Token};
use crate::server::middleware::forwarded::Forwarded;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum_extra::extract::cookie::{Cookie, CookieJar, SameSite};
use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue};
use std::time::Duration;

/// The session cookie's name over plain HTTP. Over TLS it has a prefix.
pub const COOKIE_NAME: &str = "holdfast_session";
/// The cookie between the password and the code of the second factor.
pub const SECOND_STEP: &str = "holdfast_halfway";
/// Seconds to enter the code.
pub const SECOND_STEP_LIFE: u64 = 5 * 60;
/// The prefix of cookies set over TLS: browsers let nobody but this host set them.
const HOST_PREFIX: &str = "__Host-";

/// The token in the cookie called `name`. The one with the prefix counts first: nobody but this host can have set it.
pub fn token_in<For>(headers: &HeaderMap, name: &str) -> Option<Token<For>> {
    let jar = CookieJar::from_headers(headers);
    let cookie = jar.get(&format!("{HOST_PREFIX}{name}")).or_else(|| jar.get(name))?;
    Token::parse(cookie.value())
}

/// Sends the redirect with a new session.
pub fn with_session(redirect: Redirect, token: &SessionToken, client: Forwarded) -> Response {
    let mut answer = redirect.into_response();
    set_cookie(&mut answer, COOKIE_NAME, &token.reveal(), SESSION_LIFE, client);
    answer
}

/// Adds a cookie to the answer; a `life` of 0 seconds removes it. Over TLS it is `Secure` and has the prefix. Over
/// plain HTTP, which is served to this machine only, browsers would reject such a cookie.
pub fn set_cookie(answer: &mut Response, name: &str, value: &str, life: u64, client: Forwarded) {
    let name = if client.tls { format!("{HOST_PREFIX}{name}") } else { name.to_owned() };
    let cookie = Cookie::build((name, value))
        .http_only(true)
        .same_site(SameSite::Strict)
        .path("/")
        .max_age(Duration::from_secs(life).try_into().unwrap_or_default())
        .secure(client.tls)
        .build();
    // Always plain characters: the name is a constant, and a token is base64url.
    if let Ok(mut value) = HeaderValue::try_from(cookie.to_string()) {
        value.set_sensitive(true);
        answer.headers_mut().append(SET_COOKIE, value);
    }
}
