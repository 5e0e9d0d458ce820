//! The HTML document around every page.

use crate::model::address::at;
use crate::server::routes::assets;
use axum::response::{Html, IntoResponse, Response};
use http::header::CONTENT_SECURITY_POLICY;
use leptos::prelude::*;

/// The document around `head` and `body`. Attributes of `<html>` carry the user's theme, the base path and the user's
/// rights.
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

/// The content security policy of a page without a script. The default policy would put the page into a sandbox without
/// its style sheet.
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

/// The HTML of a view that is not hydrated, without the markers for hydration.
pub fn to_html(view: impl IntoView) -> String {
    view.to_html().replace("<!>", "")
}
