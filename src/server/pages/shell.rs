//! The HTML document around every page that the server answers with.

use crate::model::address::at;
use crate::server::routes::assets;
use axum::response::{Html, IntoResponse, Response};
use http::header::CONTENT_SECURITY_POLICY;
use leptos::prelude::*;

/// The document: what `head` and `body` have in common. The attributes of the root say which theme the user chose,
/// under which path the site is, and what the user may do.
pub fn document(
    theme: Option<&'static str>,
    base: Option<&'static str>,
    may: Option<String>,
    head: impl IntoView,
    body: impl IntoView,
) -> impl IntoView {
    view! {
        <!DOCTYPE html>
        <html lang="en" data-theme=theme data-base=base data-may=may>
            <head>
                <meta charset="utf-8" />
                <meta name="viewport" content="width=device-width, initial-scale=1" />
                <meta name="color-scheme" content="light dark" />
                <link rel="icon" href=at("/favicon.svg") type="image/svg+xml" />
                {head}
            </head>
            <body>{body}</body>
        </html>
    }
}

/// What a page without a script may load and where its forms may go. Without it, the default policy would put the
/// page into a sandbox, without its style sheet.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// A page without a script: one card in the middle.
pub fn card_page(title: &str, card: impl IntoView) -> Response {
    let title = title.to_owned();
    let style =
        assets::site().map(|site| view! { <link rel="stylesheet" href=at(&format!("/pkg/{}", site.css)) /> });
    let head = view! { <title>{title}</title> {style} };
    let body = view! {
        <main class="door" id="main">
            <div class="card">{card}</div>
        </main>
    };
    let page = to_html(document(None, None, None, head, body));
    ([(CONTENT_SECURITY_POLICY, POLICY)], Html(page)).into_response()
}

/// The HTML of a view that no browser code takes over, so without the markers for that.
pub fn to_html(view: impl IntoView) -> String {
    view.to_html().replace("<!>", "")
}
