//! `POST /setup`: creates the first account with the one-time link from the log.

use crate::domain::Error;
use crate::domain::accounts::{password_problem, username_problem};
use crate::domain::audit::Actor;
use crate::model::LoginProblem;
use crate::model::audit::{Ending, Event};
use crate::server::auth::attempts::Attempts;
use crate::server::auth::cookies::with_session;
use crate::server::auth::forms::{device_of, filled, printable, unread};
use crate::server::auth::redirects::back_to_setup;
use crate::server::auth::refusals::busy;
use crate::server::blocking::blocking;
use crate::server::middleware::forwarded::Forwarded;
use axum::Extension;
use axum::extract::State;
use axum::response::{Redirect, Response};
use axum_extra::extract::{Form, FormRejection};
use http::HeaderMap;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

/// Without `Debug`: the passwords become [`SecretString`]s in the handler.
#[derive(Deserialize)]
pub struct SetupForm {
    token: Option<String>,
    username: Option<String>,
    password: Option<String>,
    repeat: Option<String>,
}

/// Creates the first account with the token of a set-up link, and logs it in.
pub async fn set_up(
    State(attempts): State<Attempts>,
    Extension(client): Extension<Forwarded>,
    Extension(by): Extension<Actor>,
    headers: HeaderMap,
    form: Result<Form<SetupForm>, FormRejection>,
) -> Response {
    let form = match form {
        Ok(Form(form)) => form,
        Err(rejection) => return back_to_setup(unread(&rejection), ""),
    };
    let link = form.token.unwrap_or_default();
    let (Some(username), Some(password), Some(repeat)) =
        (filled(form.username), filled(form.password), filled(form.repeat))
    else {
        return back_to_setup(LoginProblem::Missing, &link);
    };
    let (password, repeat) = (SecretString::from(password), SecretString::from(repeat));
    let Some(token) = attempts.setup_token(&link).await else {
        attempts.note_of_stranger(by, Event::Setup, String::new(), "the link does not work").await;
        return back_to_setup(LoginProblem::Link, "");
    };
    let differ = (password.expose_secret() != repeat.expose_secret()).then_some(LoginProblem::Repeat);
    let problem = username_problem(&username).or_else(|| password_problem(&password)).or(differ);
    if let Some(problem) = problem {
        return back_to_setup(problem, &link);
    }
    let shown = printable(&username);
    let accounts = attempts.accounts.clone();
    let device = device_of(client, &headers);
    match blocking(move || accounts.set_up(&token, &username, &password, &device)).await {
        Ok(session) => {
            attempts
                .note(by.known_as(shown.clone()), Event::Setup, shown, Ending::Ok, "by the set-up link")
                .await;
            with_session(Redirect::to("/"), &session, client)
        }
        Err(Error::Denied(_)) => back_to_setup(LoginProblem::Link, ""),
        Err(error) if error.is_refusal() => busy(&headers),
        Err(error) => {
            tracing::error!(%error, "could not create the first account");
            back_to_setup(LoginProblem::Failed, &link)
        }
    }
}
