//! `GET /audit.jsonl`: the audit log as it is on disk.

use crate::model::audit::Event;
use crate::server::downloads::send::{AuditEntry, answer, crowded, failed, open};
use crate::server::state::{AppState, OnBehalf};
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, Method};

/// The file name for the browser.
const FILE: &str = "audit.jsonl";

/// `GET` and `HEAD /audit.jsonl`. The download adds an entry to the log, which only later downloads contain.
pub async fn download(
    State(state): State<AppState>,
    OnBehalf(holdfast): OnBehalf,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let Some(permit) = state.download_permit() else { return crowded(&headers) };
    let entry = AuditEntry::new(holdfast.clone(), Event::AuditDownloaded, FILE);
    match open(move || holdfast.audit().open_whole()).await {
        Ok(log) => answer(&method, &headers, FILE, "application/jsonl", log, (permit, entry)),
        Err(error) => failed(&headers, error),
    }
}
