//! The theme, dark or light, in a cookie. The live page sets the cookie itself; without JavaScript, `POST /theme` does.

use crate::model::address::base;
use crate::server::auth::next::local_path;
use axum::response::{IntoResponse, Redirect, Response};
use axum_extra::extract::cookie::{Cookie, CookieJar, SameSite};
use http::HeaderMap;
use http::header::REFERER;
use http::request::Parts;
use leptos::prelude::use_context;
use std::time::Duration;

const COOKIE: &str = "holdfast_theme";

/// The theme that the user chose; `None` to follow the operating system.
pub fn chosen() -> Option<&'static str> {
    let parts = use_context::<Parts>()?;
    known(CookieJar::from_headers(&parts.headers).get(COOKIE)?.value())
}

/// `POST /theme`: switches from the operating system's theme to dark, to light, and back.
pub async fn switch(jar: CookieJar, headers: HeaderMap) -> Response {
    let next = match jar.get(COOKIE).and_then(|cookie| known(cookie.value())) {
        None => "dark",
        Some("dark") => "light",
        Some(_) => "",
    };
    let year = Duration::from_hours(365 * 24);
    let cookie = Cookie::build((COOKIE, next))
        .path("/")
        .same_site(SameSite::Lax)
        .max_age(year.try_into().unwrap_or_default());
    let back = headers
        .get(REFERER)
        .and_then(|value| value.to_str().ok())
        .and_then(|from| url::Url::parse(from).ok());
    let back = back.map_or_else(
        || "/".to_owned(),
        |from| from[url::Position::BeforePath..url::Position::AfterQuery].to_owned(),
    );
    let back = back.strip_prefix(base()).and_then(local_path);
    (jar.add(cookie), Redirect::to(back.unwrap_or("/"))).into_response()
}

fn known(theme: &str) -> Option<&'static str> {
    ["dark", "light"].into_iter().find(|each| *each == theme)
}
