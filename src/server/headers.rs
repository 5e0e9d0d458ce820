//! What every answer says beside its body: to the browser about what it may do, to scripts how it went.

use crate::model::AppError;
use crate::server::arrival::Arrival;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderMap, StatusCode};
use leptos::nonce::use_nonce;
use leptos::prelude::use_context;
use leptos_axum::ResponseOptions;

/// The error body of a server function is a sentence; one larger than this is none of ours.
const ERROR_MAX: usize = 64 * 1024;

/// Allows the page's own scripts, by the nonce of this one answer. To be called while a page is prepared.
pub fn allow_own_scripts() {
    let (Some(nonce), Some(response)) = (use_nonce(), use_context::<ResponseOptions>()) else { return };
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}' 'strict-dynamic' 'wasm-unsafe-eval'; style-src 'self'; \
         img-src 'self' data:; font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; \
         object-src 'none'; frame-ancestors 'none'"
    );
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        response.insert_header(CONTENT_SECURITY_POLICY, policy);
    }
}

/// Adds what is not there yet: nothing may be framed, sniffed, cached or sent elsewhere unless it says so.
pub async fn protect(request: Request, next: Next) -> Response {
    let tls = request.extensions().get::<Arrival>().is_some_and(|arrival| arrival.tls);
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let mut default = |name: HeaderName, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    default(CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'; sandbox");
    default(X_CONTENT_TYPE_OPTIONS, "nosniff");
    // Not `no-referrer`: a form posted without JavaScript is led back by it.
    default(REFERRER_POLICY, "same-origin");
    default(X_FRAME_OPTIONS, "DENY");
    default(HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    default(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    default(
        HeaderName::from_static("permissions-policy"),
        "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    );
    default(CACHE_CONTROL, "no-store");
    if tls {
        default(STRICT_TRANSPORT_SECURITY, "max-age=31536000; includeSubDomains");
    }
    response
}

/// Gives a failed server function the status its error deserves; the framework answers 500 to all.
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

/// The status an error deserves.
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
