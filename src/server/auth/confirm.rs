//! `POST /confirm`: confirms the password again, which actions that cannot be undone require.

use crate::domain::Error;
use crate::domain::accounts::Account;
use crate::domain::audit::Actor;
use crate::model::LoginProblem;
use crate::model::audit::{Ending, Event};
use crate::server::auth::attempts::Attempts;
use crate::server::auth::cookies::{COOKIE_NAME, token_in, with_session};
use crate::server::auth::forms::{filled, unread};
use crate::server::auth::next::local_path;
use crate::server::auth::redirects::back_to_confirm;
use crate::server::auth::refusals::{busy, slow_down};
use crate::server::middleware::forwarded::Forwarded;
use axum::Extension;
use axum::extract::State;
use axum::response::{Redirect, Response};
use axum_extra::extract::{Form, FormRejection};
use http::HeaderMap;
use secrecy::SecretString;
use serde::Deserialize;

/// Without `Debug`: the password becomes a [`SecretString`] in the handler.
#[derive(Deserialize)]
pub struct ConfirmForm {
    password: Option<String>,
    next: Option<String>,
}

/// Checks the password of the user who is logged in, and makes the session "fresh" for a few minutes.
pub async fn confirm(
    State(attempts): State<Attempts>,
    Extension(client): Extension<Forwarded>,
    Extension(by): Extension<Actor>,
    Extension(account): Extension<Account>,
    headers: HeaderMap,
    form: Result<Form<ConfirmForm>, FormRejection>,
) -> Response {
    let form = match form {
        Ok(Form(form)) => form,
        Err(rejection) => return back_to_confirm(unread(&rejection), None),
    };
    let next = form.next.as_deref().and_then(local_path).map(str::to_owned);
    let (Some(password), Some(session)) = (filled(form.password), token_in(&headers, COOKIE_NAME)) else {
        return back_to_confirm(LoginProblem::Missing, next.as_deref());
    };
    let password = SecretString::from(password);
    let name = account.username;
    match attempts.attempt(client, move |accounts| accounts.prove(&session, &password)).await {
        Ok(Ok(token)) => {
            attempts.note(by, Event::Login, name, Ending::Ok, "password confirmed again").await;
            with_session(Redirect::to(next.as_deref().unwrap_or("/confirm?done=yes")), &token, client)
        }
        Ok(Err(Error::Denied(_))) => {
            attempts
                .note(by, Event::Login, name, Ending::Failed, "wrong password when asked to confirm it")
                .await;
            back_to_confirm(LoginProblem::Wrong, next.as_deref())
        }
        Ok(Err(error)) if error.is_refusal() => busy(&headers),
        Ok(Err(error)) => {
            tracing::error!(%error, "could not check a password");
            back_to_confirm(LoginProblem::Failed, next.as_deref())
        }
        Err(seconds) => {
            attempts.note_slowed(by, name).await;
            slow_down(&headers, seconds)
        }
    }
}
