//! The headers of every answer: security policies for browsers, and honest statuses for scripts.

use crate::model::AppError;
use crate::model::address::at;
use crate::server::middleware::forwarded::Forwarded;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::header::{CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, STRICT_TRANSPORT_SECURITY};
use http::{HeaderMap, StatusCode};
use leptos::nonce::use_nonce;
use leptos::prelude::use_context;
use leptos_axum::ResponseOptions;

/// Bytes of the largest error of a server function, which is a sentence.
const ERROR_MAX: usize = 64 * 1024;

/// Allows the page's own scripts by the nonce of this answer. Call it while a page is prepared.
pub fn allow_own_scripts() {
    let (Some(nonce), Some(response)) = (use_nonce(), use_context::<ResponseOptions>()) else { return };
    let report = at("/csp-report");
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}' 'strict-dynamic' 'wasm-unsafe-eval'; \
         style-src 'self' 'nonce-{nonce}'; img-src 'self' data:; font-src 'self'; connect-src 'self'; \
         form-action 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'; report-uri {report}"
    );
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        response.insert_header(CONTENT_SECURITY_POLICY, policy);
    }
}

/// The headers of an answer that does not set them itself: no framing, sniffing, caching or leaking of addresses.
const DEFAULTS: [(&str, &str); 8] = [
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'; sandbox"),
    ("x-content-type-options", "nosniff"),
    // Not `no-referrer`: a form posted without JavaScript is redirected back by it.
    ("referrer-policy", "same-origin"),
    ("x-frame-options", "DENY"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), microphone=(), geolocation=(), payment=(), usb=()"),
    ("cache-control", "no-store"),
];

/// Added for clients that came over TLS.
const BY_TLS: (HeaderName, &str) = (STRICT_TRANSPORT_SECURITY, "max-age=31536000; includeSubDomains");

/// Middleware that adds the headers that are missing.
pub async fn protect(request: Request, next: Next) -> Response {
    let tls = request.extensions().get::<Forwarded>().is_some_and(|client| client.tls);
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let defaults = DEFAULTS.map(|(name, value)| (HeaderName::from_static(name), value));
    for (name, value) in defaults.into_iter().chain(tls.then_some(BY_TLS)) {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// A whole HTTP answer as text, for clients that are refused before any route.
pub fn parting(status: &str, more: &str, by_tls: bool, sentence: &str) -> String {
    let (name, value) = BY_TLS;
    let lasting = if by_tls { format!("{name}: {value}\r\n") } else { String::new() };
    let defaults = DEFAULTS.map(|(name, value)| format!("{name}: {value}\r\n")).concat();
    let length = sentence.len();
    format!(
        "HTTP/1.1 {status}\r\n{more}connection: close\r\ncontent-type: text/plain; charset=utf-8\r\n\
         content-length: {length}\r\n{defaults}{lasting}\r\n{sentence}"
    )
}

/// Gives a failed server function the status of its error; the framework answers 500 for all.
pub async fn honest_status(response: Response) -> Response {
    let failed =
        response.status() == StatusCode::INTERNAL_SERVER_ERROR && is_server_fn_error(response.headers());
    if !failed {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(body) = axum::body::to_bytes(body, ERROR_MAX).await else {
        return Response::from_parts(parts, Body::empty());
    };
    if let Ok(error) = serde_json::from_slice(&body) {
        parts.status = status_of(&error);
    }
    Response::from_parts(parts, Body::from(body))
}

/// The status of an error.
pub const fn status_of(error: &AppError) -> StatusCode {
    match error {
        AppError::Unauthenticated => StatusCode::UNAUTHORIZED,
        AppError::Forbidden | AppError::Stale => StatusCode::FORBIDDEN,
        AppError::BadRequest(_) => StatusCode::BAD_REQUEST,
        AppError::NotFound(_) => StatusCode::NOT_FOUND,
        AppError::Conflict(_) => StatusCode::CONFLICT,
        AppError::Failed(_) | AppError::Connection(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn is_server_fn_error(headers: &HeaderMap) -> bool {
    headers.contains_key(leptos::server_fn::error::SERVER_FN_ERROR_HEADER)
}
