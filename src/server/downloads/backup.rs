//! `GET /backups/<file>`: one backup.

use crate::domain::error::Code;
use crate::model::audit::Event;
use crate::model::{AppError, BackupName};
use crate::server::downloads::send::{AuditEntry, answer, crowded, failed, open, refused};
use crate::server::middleware::headers::with_code;
use crate::server::state::{AppState, OnBehalf};
use axum::extract::{Path, State};
use axum::response::Response;
use http::{HeaderMap, Method};

/// `GET` and `HEAD /backups/<file>`: 404 for anything that is not exactly a listed file.
pub async fn backup(
    State(state): State<AppState>,
    OnBehalf(holdfast): OnBehalf,
    Path(file): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let Ok(name) = file.parse::<BackupName>() else {
        let error = AppError::NotFound("There is no backup of that name.".to_owned());
        return with_code(refused(&headers, &error), Code::BackupNotFound.as_str());
    };
    let Some(permit) = state.download_permit() else { return crowded(&headers) };
    let (file, opening) = (name.clone(), holdfast.clone());
    match open(move || opening.backups().open(&file)).await {
        Ok(backup) => {
            let entry = AuditEntry::new(holdfast, Event::BackupDownloaded, name.as_str());
            answer(&method, &headers, name.as_str(), "application/gzip", backup, (permit, entry))
        }
        Err(error) => failed(&headers, error),
    }
}
