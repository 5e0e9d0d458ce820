//! Login errors that need a status of their own instead of a redirect: 429, 503 and 500.

use crate::domain::error::Code;
use crate::model::{AppError, LoginProblem};
use crate::server::middleware::headers::with_code;
use crate::server::pages::message;
use axum::response::Response;
use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderValue, StatusCode};

/// `Retry-After` of [`busy`], in seconds.
const BUSY_SECONDS: HeaderValue = HeaderValue::from_static("5");

/// 503: the server is already checking as many passwords as it can.
pub fn busy(headers: &HeaderMap) -> Response {
    let mut answer =
        refuse(headers, StatusCode::SERVICE_UNAVAILABLE, LoginProblem::Busy, "/login?error=busy");
    answer.headers_mut().insert(RETRY_AFTER, BUSY_SECONDS);
    with_code(answer, Code::TooBusy.as_str())
}

/// 429: too many attempts from this address failed; the next one is allowed in `seconds`.
pub fn slow_down(headers: &HeaderMap, seconds: u64) -> Response {
    let mut answer = refuse(headers, StatusCode::TOO_MANY_REQUESTS, LoginProblem::Slow, "/login?error=slow");
    answer.headers_mut().insert(RETRY_AFTER, seconds.into());
    with_code(answer, Code::TooBusy.as_str())
}

/// 500: the accounts could not be read. `back` is the address of the "Back" link.
pub fn failed(headers: &HeaderMap, back: &str) -> Response {
    refuse(headers, StatusCode::INTERNAL_SERVER_ERROR, LoginProblem::Failed, back)
}

fn refuse(headers: &HeaderMap, status: StatusCode, problem: LoginProblem, back: &str) -> Response {
    let error = AppError::Failed(problem.message().to_owned());
    message::refusal_with(status, "Login", headers, &error, (back, "Back"))
}
