//! `POST /archives` and `GET /archives/<id>/<file>`: the selected backups as one download.
//!
//! The form is redirected to a separate address for the archive, so that a browser can resume the download.

use crate::api::context::{FlashMessages as _, list_query_of_referer};
use crate::domain::Error;
use crate::domain::accounts::Account;
use crate::model::audit::Event;
use crate::model::{AppError, ArchiveFormat, Bundled, Outcome};
use crate::server::downloads::send::{AuditEntry, answer, crowded, failed, open, refused};
use crate::server::flash::{self, Flash};
use crate::server::state::{AppState, OnBehalf};
use axum::Extension;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum_extra::extract::{Form, FormRejection};
use http::header::SET_COOKIE;
use http::{HeaderMap, Method};
use serde::Deserialize;
use tokio::task::spawn_blocking;

/// The form around the list.
#[derive(Deserialize)]
pub struct Selection {
    #[serde(rename = "names[]", default)]
    names: Vec<String>,
    #[serde(default)]
    format: String,
}

/// `POST /archives`: redirects to the archive, or back to the list if none of the names is a backup.
pub async fn make(
    State(state): State<AppState>,
    OnBehalf(holdfast): OnBehalf,
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
        return unreadable(&headers, "Unknown archive format. Choose zip or tar.gz.");
    };
    let made = spawn_blocking(move || holdfast.backups().bundle(account.id, names, format)).await;
    match made.unwrap_or(Err(Error::Lost)) {
        Ok(bundled) => redirect(&headers, &state.flash, &account, &bundled),
        Err(error) => {
            tracing::warn!(%error, code = %error.code(), cause = error.cause(), "no archive was made");
            failed(&headers, error)
        }
    }
}

/// Redirects to the archive, or back to the list, which shows why there is none. The next page that the browser opens
/// names the backups that were left out: a browser that is redirected to a download stays on its page.
fn redirect(headers: &HeaderMap, flash: &Flash, account: &Account, bundled: &Bundled) -> Response {
    let left_out = Outcome { good: None, bad: bundled.left_out() };
    let told = (!left_out.bad.is_empty()).then(|| flash.keep(account.id, left_out.into())).flatten();
    let Some(address) = &bundled.address else {
        let view = list_query_of_referer(headers);
        let address = told.map_or_else(|| view.href(), |id| view.href_telling(&[("outcome", id)]));
        return Redirect::to(&address).into_response();
    };
    let mut answer = Redirect::to(address).into_response();
    if let Some(cookie) = told.and_then(|id| flash::show_next(&id)) {
        answer.headers_mut().append(SET_COOKIE, cookie);
    }
    answer
}

/// `GET` and `HEAD /archives/<id>/<file>`: the archive, for the account that asked for it.
pub async fn archive(
    State(state): State<AppState>,
    OnBehalf(holdfast): OnBehalf,
    Extension(account): Extension<Account>,
    Path((id, file)): Path<(String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let Some(format) = ArchiveFormat::ALL.into_iter().find(|format| format.file_name() == file) else {
        return failed(&headers, Error::NoArchive);
    };
    let Some(permit) = state.download_permit() else { return crowded(&headers) };
    let entry =
        AuditEntry::new(holdfast.clone(), Event::ArchiveDownloaded, &format!("/archives/{id}/{file}"));
    match open(move || holdfast.backups().open_bundle(account.id, &id, format)).await {
        Ok(bundle) => {
            answer(&method, &headers, format.file_name(), format.content_type(), bundle, (permit, entry))
        }
        Err(error) => failed(&headers, error),
    }
}

fn unreadable(headers: &HeaderMap, sentence: &str) -> Response {
    refused(headers, &AppError::BadRequest(sentence.to_owned()))
}
