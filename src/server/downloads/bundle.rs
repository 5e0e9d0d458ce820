//! `POST /archives` and `GET /archives/<id>/<file>`: the selected backups as one download.
//!
//! The form is led to an address of its own, since that is what a browser can ask again for the rest.

use crate::api::doorway;
use crate::api::outcomes::{self, Outcomes};
use crate::domain::Error;
use crate::domain::accounts::Account;
use crate::model::audit::Event;
use crate::model::{AppError, ArchiveFormat, Bundled, Outcome};
use crate::server::downloads::backup::{Told, answer, crowded, failed_on, open, words};
use crate::server::state::{AppState, OnBehalf};
use axum::Extension;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum_extra::extract::{Form, FormRejection};
use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue, Method};
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
        return unreadable(&headers, "Backups are bundled as zip or as tar.gz. Choose one of the two.");
    };
    let outcomes = state.outcomes.clone();
    let made = spawn_blocking(move || holdfast.bundle(account.id, names, format)).await;
    match made.unwrap_or(Err(Error::Lost)) {
        Ok(bundled) => lead(&headers, &outcomes, &account, &bundled),
        Err(error) => {
            tracing::warn!(%error, code = %error.code(), cause = ?error, "no archive was made");
            failed_on("Download", &headers, error)
        }
    }
}

/// Leads to the archive; where there is none, back to the list, which tells why. What was left out is told
/// by the next page, since the browser follows to a download and stays where it is.
fn lead(headers: &HeaderMap, outcomes: &Outcomes, account: &Account, bundled: &Bundled) -> Response {
    let left_out = Outcome { good: None, bad: bundled.left_out() };
    let told = (!left_out.bad.is_empty()).then(|| outcomes.keep(account.id, left_out.into())).flatten();
    let Some(address) = &bundled.address else {
        let view = doorway::came_from(headers);
        let address = told.map_or_else(|| view.href(), |id| view.href_telling(&[("outcome", id)]));
        return Redirect::to(&address).into_response();
    };
    let mut answer = Redirect::to(address).into_response();
    if let Some(cookie) = told.and_then(|id| HeaderValue::try_from(outcomes::tell_next(&id)).ok()) {
        answer.headers_mut().append(SET_COOKIE, cookie);
    }
    answer
}

/// `GET` and `HEAD /archives/<id>/<file>`: the archive, to the account it was made for.
pub async fn archive(
    State(state): State<AppState>,
    OnBehalf(holdfast): OnBehalf,
    Extension(account): Extension<Account>,
    Path((id, file)): Path<(String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let Some(format) = ArchiveFormat::ALL.into_iter().find(|format| format.file_name() == file) else {
        return failed_on("Download", &headers, Error::NoArchive);
    };
    let Some(turn) = state.turn_to_download() else { return crowded(&headers) };
    let told = Told::new(holdfast.clone(), Event::ArchiveDownloaded, &format!("/archives/{id}/{file}"));
    match open(move || holdfast.open_bundle(account.id, &id, format)).await {
        Ok(bundle) => {
            answer(&method, &headers, format.file_name(), format.content_type(), bundle, (turn, told))
        }
        Err(error) => failed_on("Download", &headers, error),
    }
}

fn unreadable(headers: &HeaderMap, sentence: &str) -> Response {
    words(headers, &AppError::BadRequest(sentence.to_owned()))
}
