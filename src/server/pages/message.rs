//! Errors as answers: a page with one sentence for people, JSON for programs, and the error's code in a header.

use crate::domain::Error;
use crate::model::AppError;
use crate::model::address::at;
use crate::server::middleware::headers::{status_of, with_code};
use crate::server::negotiate::{Wanted, wanted};
use crate::server::pages::html_document::card_page;
use axum::Json;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, StatusCode};
use leptos::prelude::*;

/// Answers with `error` and its status. `what`, such as "Download", names the request that failed.
pub fn refusal(what: &str, headers: &HeaderMap, error: &AppError) -> Response {
    refusal_with(status_of(error), what, headers, error, ("/", "Back to the backups"))
}

/// Like [`refusal`], for a domain error, whose code is more exact.
pub fn failure(what: &str, headers: &HeaderMap, error: Error) -> Response {
    let code = error.code().as_str();
    with_code(refusal(what, headers, &error.into()), code)
}

/// Like [`refusal`], with a given status and a given link (address, text).
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
    let heading = format!("{what} failed");
    let page = message_page(&format!("{what} · Holdfast"), heading, error.to_string(), link);
    with_code((status, page).into_response(), error.code())
}

/// Answers with `error` as JSON, for programs and for the live page.
pub fn json(status: StatusCode, error: &AppError) -> Response {
    with_code((status, Json(error)).into_response(), error.code())
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
    use crate::model::error::CODE_HEADER;
    use http::HeaderValue;
    use http::header::{ACCEPT, CONTENT_TYPE};
    use http_body_util::BodyExt as _;

    fn code_of(answer: &Response) -> &str {
        answer.headers()[CODE_HEADER].to_str().unwrap()
    }

    async fn answer(accept: &'static str) -> (StatusCode, String, String) {
        let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
        let error = AppError::NotFound("No <script>alert('&')</script> here.".to_owned());
        let (parts, body) = refusal("Download", &headers, &error).into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let kind = parts.headers[CONTENT_TYPE].to_str().unwrap().to_owned();
        (parts.status, kind, String::from_utf8(body.to_vec()).unwrap())
    }

    #[test]
    fn a_page_and_json_have_the_most_exact_code_that_is_known() {
        for accept in ["text/html", "application/json"] {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(code_of(&refusal("Request", &headers, &AppError::Forbidden)), "forbidden");
            let answer = failure("Download", &headers, Error::NoArchive);
            assert_eq!((answer.status(), code_of(&answer)), (StatusCode::NOT_FOUND, "archive-not-found"));
        }
    }

    #[tokio::test]
    async fn a_sentence_is_text_on_a_page_and_json_for_a_program() {
        let (status, kind, page) = answer("text/html,*/*;q=0.8").await;
        assert_eq!((status, kind.as_str()), (StatusCode::NOT_FOUND, "text/html; charset=utf-8"));
        assert!(page.starts_with("<!DOCTYPE html><html lang=\"en\">"), "{page}");
        assert!(page.contains("<title>Download · Holdfast</title>"), "{page}");
        assert!(page.contains("<h1>Download failed</h1>"), "{page}");
        assert!(!page.contains("<script>") && page.contains("&lt;script&gt;"), "{page}");
        for accept in ["application/json", "*/*"] {
            let (status, kind, body) = answer(accept).await;
            assert_eq!((status, kind.as_str()), (StatusCode::NOT_FOUND, "application/json"));
            assert!(body.contains("<script>"), "{body}");
        }
    }
}
