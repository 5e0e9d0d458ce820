//! `POST /archives` and `GET /archives/<id>/<file>`: the selected backups as one download.
//!
//! The form is led to an address of its own, since that is what a browser can ask again for the rest.

use crate::api::doorway;
use crate::model::{AppError, ArchiveFormat, Bundled};
use crate::server::download::{answer, open, words};
use crate::server::state::AppState;
use crate::vault::VaultError;
use crate::vault::accounts::Account;
use axum::Extension;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum_extra::extract::{Form, FormRejection};
use http::{HeaderMap, Method};
use serde::Deserialize;
use tokio::task::spawn_blocking;

/// What the list's form sends.
#[derive(Deserialize)]
pub struct Selection {
    #[serde(rename = "names[]", default)]
    names: Vec<String>,
    #[serde(default)]
    format: String,
}

/// `POST /archives`: leads to the archive, or back to the list where none of the names is a backup's.
pub async fn make(
    State(state): State<AppState>,
    Extension(account): Extension<Account>,
    headers: HeaderMap,
    form: Result<Form<Selection>, FormRejection>,
) -> Response {
    let Ok(Form(Selection { names, format })) = form else {
        return unreadable(
            &headers,
            "The selection could not be read, or it is too large. Select fewer backups.",
        );
    };
    let Some(format) = ArchiveFormat::parse(&format) else {
        return unreadable(&headers, "Backups are bundled as zip or as tar.gz. Choose one of the two.");
    };
    let made = spawn_blocking(move || state.vault.bundle(account.id, names, format)).await;
    match made.unwrap_or(Err(VaultError::Lost)) {
        Ok(bundled) => {
            tell_missing(&bundled);
            Redirect::to(&bundled.address).into_response()
        }
        Err(error) => refuse(&headers, error),
    }
}

/// `GET` and `HEAD /archives/<id>/<file>`: the archive, to the account it was made for.
pub async fn archive(
    State(state): State<AppState>,
    Extension(account): Extension<Account>,
    Path((id, file)): Path<(String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let Some(format) = ArchiveFormat::ALL.into_iter().find(|format| format.file_name() == file) else {
        return words(&headers, &VaultError::NoArchive.into());
    };
    match open(move || state.vault.open_bundle(account.id, &id, format)).await {
        Ok(bundle) => answer(&method, &headers, format.file_name(), format.content_type(), bundle),
        Err(error) => words(&headers, &error),
    }
}

/// Leads back to the list where there is nothing to download.
fn refuse(headers: &HeaderMap, error: VaultError) -> Response {
    tracing::warn!(%error, cause = ?error, "no archive was made");
    match error {
        VaultError::NothingToBundle(_) | VaultError::Refused(_) => {
            let href = doorway::came_from(headers).href();
            let separator = if href.contains('?') { '&' } else { '?' };
            Redirect::to(&format!("{href}{separator}problem=no-files")).into_response()
        }
        other => words(headers, &other.into()),
    }
}

/// Says which of the selected names were left out.
fn tell_missing(bundled: &Bundled) {
    if !bundled.missing.is_empty() {
        tracing::info!(missing = bundled.missing.len(), files = bundled.files, "an archive lacks some names");
    }
}

fn unreadable(headers: &HeaderMap, sentence: &str) -> Response {
    words(headers, &AppError::BadRequest(sentence.to_owned()))
}
