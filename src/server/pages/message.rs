//! Errors as answers: a page with one sentence for people, JSON for programs.

use crate::model::AppError;
use crate::model::address::at;
use crate::server::middleware::headers::status_of;
use crate::server::negotiate::{Wanted, wanted};
use crate::server::pages::shell::card_page;
use axum::Json;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, StatusCode};
use leptos::prelude::*;

/// Answers with `error` and its status. `what`, such as "Download", is what the client did not get.
pub fn refusal(what: &str, headers: &HeaderMap, error: &AppError) -> Response {
    refusal_with(status_of(error), what, headers, error, ("/", "Back to the backups"))
}

/// The same with another status, and another link: its address and its words.
pub fn refusal_with(
    status: StatusCode,
    what: &str,
    headers: &HeaderMap,
    error: &AppError,
    link: (&str, &'static str),
) -> Response {
    if wanted(headers) != Wanted::Page {
        return json(status, error);
    }
    let heading = format!("No {}", what.to_lowercase());
    let page = message_page(&format!("{what} · Holdfast"), heading, error.to_string(), link);
    (status, page).into_response()
}

/// Answers with `error` as JSON, which the live page reads, too.
pub fn json(status: StatusCode, error: &AppError) -> Response {
    (status, Json(error)).into_response()
}

/// A page with a heading, a sentence and a link.
fn message_page(
    title: &str,
    heading: String,
    sentence: String,
    (to, words): (&str, &'static str),
) -> Response {
    let to = at(to);
    card_page(
        title,
        view! {
            <h1>{heading}</h1>
            <p role="alert">{sentence}</p>
            <p><a href=to>{words}</a></p>
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use http::header::{ACCEPT, CONTENT_TYPE};
    use http_body_util::BodyExt as _;

    async fn answer(accept: &'static str) -> (StatusCode, String, String) {
        let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
        let error = AppError::NotFound("No <script>alert('&')</script> here.".to_owned());
        let (parts, body) = refusal("Download", &headers, &error).into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let kind = parts.headers[CONTENT_TYPE].to_str().unwrap().to_owned();
        (parts.status, kind, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_sentence_is_text_on_a_page_and_json_for_a_program() {
        let (status, kind, page) = answer("text/html,*/*;q=0.8").await;
        assert_eq!((status, kind.as_str()), (StatusCode::NOT_FOUND, "text/html; charset=utf-8"));
        assert!(page.starts_with("<!DOCTYPE html><html lang=\"en\">"), "{page}");
        assert!(page.contains("<title>Download · Holdfast</title>"), "{page}");
        assert!(page.contains("<h1>No download</h1>"), "{page}");
        assert!(!page.contains("<script>") && page.contains("&lt;script&gt;"), "{page}");
        for accept in ["application/json", "*/*"] {
            let (status, kind, body) = answer(accept).await;
            assert_eq!((status, kind.as_str()), (StatusCode::NOT_FOUND, "application/json"));
            assert!(body.contains("<script>"), "{body}");
        }
    }
}
