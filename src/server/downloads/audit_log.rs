//! `GET /audit.jsonl`: the audit log as it lies on the disk.

use crate::model::audit::Event;
use crate::server::downloads::backup::{Told, answer, crowded, failed_on, open};
use crate::server::state::{AppState, OnBehalf};
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, Method};

/// The name it is saved under.
const FILE: &str = "audit.jsonl";

/// `GET` and `HEAD /audit.jsonl`. That it was downloaded is in the next one.
pub async fn download(
    State(state): State<AppState>,
    OnBehalf(holdfast): OnBehalf,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let Some(turn) = state.turn_to_download() else { return crowded(&headers) };
    let told = Told::new(holdfast.clone(), Event::AuditDownloaded, FILE);
    match open(move || holdfast.audit().open_whole()).await {
        Ok(log) => answer(&method, &headers, FILE, "application/jsonl", log, (turn, told)),
        Err(error) => failed_on("Download", &headers, error),
    }
}
