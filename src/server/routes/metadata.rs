//! `GET /api/backups/<file>`: one backup's metadata as JSON, for scripts.

use crate::domain::error::Code;
use crate::model::{AppError, BackupName, human};
use crate::server::blocking::blocking;
use crate::server::middleware::headers::with_code;
use crate::server::pages::message;
use crate::server::state::AppState;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// The answer. Times are UTC, `YYYY-MM-DD HH:MM:SS`.
#[derive(Serialize)]
struct Metadata {
    filename: BackupName,
    created_at: String,
    modified_at: String,
    /// Size in KB (1,024 bytes) with one decimal, as text.
    size_kb: String,
    /// Bytes.
    size: u64,
    sha256: Option<String>,
}

/// Answers with the metadata, or with 404 if the name is not exactly that of a listed file.
pub async fn metadata(State(state): State<AppState>, Path(file): Path<String>) -> Response {
    let found = match file.parse::<BackupName>() {
        Ok(name) => blocking(move || state.holdfast.catalog().get(&name)).await.ok(),
        Err(_) => None,
    };
    let Some(backup) = found else {
        let error = AppError::NotFound("There is no backup of that name.".to_owned());
        let answer = message::json(StatusCode::NOT_FOUND, &error);
        return with_code(answer, Code::BackupNotFound.as_str());
    };
    Json(Metadata {
        created_at: backup.created.to_string(),
        modified_at: backup.modified.to_string(),
        size_kb: human::size_kb(backup.size),
        size: backup.size,
        sha256: backup.sha256,
        filename: backup.name,
    })
    .into_response()
}
