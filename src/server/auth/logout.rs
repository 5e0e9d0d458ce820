//! `POST /logout`: ends the session.

use crate::domain::audit::Actor;
use crate::model::audit::{Ending, Event};
use crate::server::auth::attempts::Attempts;
use crate::server::auth::cookies::{COOKIE_NAME, set_cookie, token_in};
use crate::server::auth::refusals::failed;
use crate::server::blocking::blocking;
use crate::server::middleware::forwarded::Forwarded;
use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use http::{HeaderMap, HeaderName, HeaderValue};

/// Ends the session and removes its cookie.
pub async fn log_out(
    State(attempts): State<Attempts>,
    Extension(client): Extension<Forwarded>,
    Extension(by): Extension<Actor>,
    headers: HeaderMap,
) -> Response {
    let accounts = attempts.accounts.clone();
    if let Some(token) = token_in(&headers, COOKIE_NAME)
        && let Err(error) = blocking(move || accounts.log_out(&token)).await
    {
        // Do not claim that the session has ended.
        tracing::error!(%error, "a session could not be ended");
        return failed(&headers, "/");
    }
    let who = by.who().unwrap_or_default().to_owned();
    attempts.note(by, Event::Logout, who, Ending::Ok, "").await;
    logged_out(client)
}

/// To the login page, with the cookie and the site's storage removed from the browser.
pub fn logged_out(client: Forwarded) -> Response {
    let mut answer = Redirect::to("/login").into_response();
    set_cookie(&mut answer, COOKIE_NAME, "", 0, client);
    // Not "cache": Chromium takes seconds to clear it, and only the files with a hash in their name are cached.
    let site_data = HeaderName::from_static("clear-site-data");
    answer.headers_mut().insert(site_data, HeaderValue::from_static("\"storage\""));
    answer
}
