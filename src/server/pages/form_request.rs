//! A form posted from a server-written page: the user who sends it, its fields, and the redirect back with the result.

use crate::api::context::FlashMessages as _;
use crate::domain::accounts::{Account, Accounts};
use crate::domain::audit::Actor;
use crate::domain::{Error, Result};
use crate::model::audit::{Ending, Event};
use crate::model::{LoginProblem, Outcome, Role};
use crate::server::auth::redirects::ask_to_confirm;
use crate::server::blocking::blocking;
use crate::server::middleware::forwarded::Forwarded;
use crate::server::state::AppState;
use axum::Extension;
use axum::extract::FromRequestParts;
use axum::extract::rejection::ExtensionRejection;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum_extra::extract::{Form, FormRejection};
use http::HeaderMap;
use http::request::Parts;
use secrecy::SecretString;
use serde::Deserialize;

/// The fields of all these forms together. Without `Debug`, because the passwords are plain strings until a handler
/// wraps them in [`SecretString`].
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Fields {
    pub(super) id: String,
    pub(super) username: String,
    pub(super) old: String,
    password: String,
    repeat: String,
    role: String,
    pub(super) download: Option<String>,
    pub(super) operate: Option<String>,
    pub(super) label: String,
    pub(super) days: String,
    pub(super) code: String,
    pub(super) typed: String,
}

impl Fields {
    /// The new password, which has to be typed twice.
    pub(super) fn new_password(&self) -> Result<SecretString> {
        if self.password != self.repeat {
            return Err(Error::Refused(LoginProblem::Repeat.message().to_owned()));
        }
        Ok(self.password.clone().into())
    }

    /// The id and the username of the account that the form changes.
    pub(super) fn user(&self, accounts: &Accounts) -> Result<(i64, String)> {
        let gone = || Error::Refused("The form has no known account. Reload the page.".to_owned());
        let id = self.id.parse().map_err(|_| gone())?;
        Ok((id, accounts.username(id)?))
    }

    /// The role that was chosen.
    pub(super) fn role(&self) -> Result<Role> {
        Role::parse(&self.role).ok_or_else(|| Error::Refused("Choose one of the roles.".to_owned()))
    }
}

/// A form as it arrived: its fields, or why they could not be read.
pub type Sent = std::result::Result<Form<Fields>, FormRejection>;

/// A posted form: the user who sends it, and the ways to answer it.
pub struct FormRequest {
    pub(super) account: Account,
    pub(super) client: Forwarded,
    by: Actor,
    pub(super) headers: HeaderMap,
    pub(super) state: AppState,
}

impl FromRequestParts<AppState> for FormRequest {
    type Rejection = ExtensionRejection;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &AppState,
    ) -> std::result::Result<Self, Self::Rejection> {
        let Extension(account) = Extension::from_request_parts(parts, state).await?;
        let Extension(client) = Extension::from_request_parts(parts, state).await?;
        let Extension(by) = Extension::from_request_parts(parts, state).await?;
        Ok(Self { account, client, by, headers: parts.headers.clone(), state: state.clone() })
    }
}

impl FormRequest {
    /// Runs `work` if the user confirmed the password recently. `work` returns the object for the audit entry of
    /// `event` and the sentence that `page` shows after the redirect.
    pub(super) async fn run(
        self,
        page: &'static str,
        event: Event,
        form: Sent,
        work: impl FnOnce(&Accounts, &Account, Fields) -> Result<(String, String)> + Send + 'static,
    ) -> Response {
        if !self.account.fresh {
            return ask_to_confirm(page);
        }
        match self.work(form, work).await {
            Ok((object, words)) => {
                self.note(event, object).await;
                self.tell(page, words)
            }
            Err(error) => self.refuse(page, event, error).await,
        }
    }

    /// Writes an audit entry: `event` happened to `object`.
    pub(super) async fn note(&self, event: Event, object: String) {
        self.state.attempts.note(self.by.clone(), event, object, Ending::Ok, "").await;
    }

    /// Reads the form and runs `work` on a blocking thread.
    pub(super) async fn work<T: Send + 'static>(
        &self,
        form: Sent,
        work: impl FnOnce(&Accounts, &Account, Fields) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let unreadable = |_| Error::Refused("The form could not be read. Fill it in again.".to_owned());
        let Form(fields) = form.map_err(unreadable)?;
        let (accounts, account) = (self.state.holdfast.accounts().clone(), self.account.clone());
        blocking(move || work(&accounts, &account, fields)).await
    }

    /// Writes an audit entry for a failed or refused change, and redirects to `page`, which shows the reason.
    pub(super) async fn refuse(&self, page: &str, event: Event, error: Error) -> Response {
        let ending = match error {
            Error::Refused(_) | Error::Refusal(_) | Error::Denied(_) => Ending::Refused,
            _ => Ending::Failed,
        };
        tracing::warn!(%error, code = %error.code(), cause = error.cause(), "an account was not changed");
        let object = self.account.username.clone();
        self.state.attempts.note(self.by.clone(), event, object, ending, error.to_string()).await;
        self.redirect(page, Outcome::refused(error.to_string())).into_response()
    }

    /// Redirects to `page`, which shows the sentence `words`.
    pub(super) fn tell(&self, page: &str, words: String) -> Response {
        self.redirect(page, Outcome::done(words)).into_response()
    }

    /// The redirect to `page`, which shows `outcome`.
    pub(super) fn redirect(&self, page: &str, outcome: Outcome) -> Redirect {
        let id = self.state.flash.keep(self.account.id, outcome.into()).unwrap_or_default();
        Redirect::to(&format!("{page}?outcome={id}"))
    }
}
