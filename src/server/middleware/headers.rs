//! Response headers: security policies for browsers, and the real status of a failed server function for scripts.

use crate::model::AppError;
use crate::model::address::at;
use crate::model::error::CODE_HEADER;
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

/// Largest error of a server function, in bytes. An error is one sentence.
const ERROR_MAX: usize = 64 * 1024;

/// Sets the policy that allows the page's own scripts by nonce. Call it while a page is rendered.
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

/// Default headers: no framing, no sniffing, no caching, no addresses leaked to other sites.
const DEFAULTS: [(&str, &str); 8] = [
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'; sandbox"),
    ("x-content-type-options", "nosniff"),
    // Not `no-referrer`: without JavaScript, the redirect after a form needs the referring page.
    ("referrer-policy", "same-origin"),
    ("x-frame-options", "DENY"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), microphone=(), geolocation=(), payment=(), usb=()"),
    ("cache-control", "no-store"),
];

/// Added for clients that use TLS.
const BY_TLS: (HeaderName, &str) = (STRICT_TRANSPORT_SECURITY, "max-age=31536000; includeSubDomains");

/// Middleware that adds missing default headers.
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

/// A complete HTTP response as text, for clients that are refused before a request is read.
pub fn final_response(status: &str, more: &str, by_tls: bool, sentence: &str) -> String {
    let (name, value) = BY_TLS;
    let lasting = if by_tls { format!("{name}: {value}\r\n") } else { String::new() };
    let defaults = DEFAULTS.map(|(name, value)| format!("{name}: {value}\r\n")).concat();
    let length = sentence.len();
    format!(
        "HTTP/1.1 {status}\r\n{more}connection: close\r\ncontent-type: text/plain; charset=utf-8\r\n\
         content-length: {length}\r\n{defaults}{lasting}\r\n{sentence}"
    )
}

/// Middleware that gives a failed server function the status and code of its error; the framework always answers 500.
pub async fn honest_status(mut response: Response) -> Response {
    let failed =
        response.status() == StatusCode::INTERNAL_SERVER_ERROR && is_server_fn_error(response.headers());
    if !failed {
        // A page that shows an error is not itself an error, nor is a redirect to such a page.
        if response.status().as_u16() < 400 {
            response.headers_mut().remove(CODE_HEADER);
        }
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(body) = axum::body::to_bytes(body, ERROR_MAX).await else {
        return Response::from_parts(parts, Body::empty());
    };
    if let Ok(error) = serde_json::from_slice::<AppError>(&body) {
        parts.status = status_of(&error);
        let code = HeaderValue::from_static(error.code());
        parts.headers.entry(HeaderName::from_static(CODE_HEADER)).or_insert(code);
    }
    Response::from_parts(parts, Body::from(body))
}

/// Sets the header that carries the error code for scripts, replacing any earlier code.
pub fn with_code(mut response: Response, code: &'static str) -> Response {
    let header = HeaderName::from_static(CODE_HEADER);
    response.headers_mut().insert(header, HeaderValue::from_static(code));
    response
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
