//! `GET /audit.jsonl`: the audit log as it is on the disk.

use crate::model::audit::Event;
use crate::server::downloads::send::{AuditEntry, answer, crowded, open, refused};
use crate::server::state::{AppState, OnBehalf};
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, Method};

/// The name that the browser saves it under.
const FILE: &str = "audit.jsonl";

/// `GET` and `HEAD /audit.jsonl`. The download itself is an entry of the next one.
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
        Err(error) => refused(&headers, &error),
    }
}
