//! Answers to log-ins with a status that a redirect cannot have: too many attempts, too busy, failed.

use crate::model::{AppError, LoginProblem};
use crate::server::pages::message;
use axum::response::Response;
use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderValue, StatusCode};

/// Seconds after which a client that came while too many logged in may try again.
const BUSY_SECONDS: HeaderValue = HeaderValue::from_static("5");

/// The server is checking as many passwords as it can.
pub fn busy(headers: &HeaderMap) -> Response {
    let mut answer =
        refuse(headers, StatusCode::SERVICE_UNAVAILABLE, LoginProblem::Busy, "/login?error=busy");
    answer.headers_mut().insert(RETRY_AFTER, BUSY_SECONDS);
    answer
}

/// Too many attempts from this address failed; the next is allowed in `seconds`.
pub fn slow_down(headers: &HeaderMap, seconds: u64) -> Response {
    let mut answer = refuse(headers, StatusCode::TOO_MANY_REQUESTS, LoginProblem::Slow, "/login?error=slow");
    answer.headers_mut().insert(RETRY_AFTER, seconds.into());
    answer
}

/// The accounts could not be read. `back` is the address to go back to.
pub fn failed(headers: &HeaderMap, back: &str) -> Response {
    refuse(headers, StatusCode::INTERNAL_SERVER_ERROR, LoginProblem::Failed, back)
}

fn refuse(headers: &HeaderMap, status: StatusCode, problem: LoginProblem, back: &str) -> Response {
    let error = AppError::Failed(problem.message().to_owned());
    message::refusal_with(status, "Log-in", headers, &error, (back, "Back"))
}
