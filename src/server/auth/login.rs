//! `POST /login`: username and password, then the code if the account has a second factor.

use crate::domain::Error;
use crate::domain::accounts::Admitted;
use crate::domain::audit::Actor;
use crate::model::LoginProblem;
use crate::model::audit::{Ending, Event};
use crate::server::auth::attempts::Attempts;
use crate::server::auth::cookies::{
    COOKIE_NAME, SECOND_STEP, SECOND_STEP_LIFE, set_cookie, token_in, with_session,
};
use crate::server::auth::forms::{device_of, filled, printable, unread};
use crate::server::auth::next::local_path;
use crate::server::auth::redirects::{back_to_login, to_login};
use crate::server::auth::refusals::{busy, slow_down};
use crate::server::auth::second_step::second_step;
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
pub struct LoginForm {
    username: Option<String>,
    password: Option<String>,
    code: Option<String>,
    next: Option<String>,
}

/// Either step of a login: a form with a code is the second one.
pub async fn log_in(
    State(attempts): State<Attempts>,
    Extension(client): Extension<Forwarded>,
    Extension(by): Extension<Actor>,
    headers: HeaderMap,
    form: Result<Form<LoginForm>, FormRejection>,
) -> Response {
    let form = match form {
        Ok(Form(form)) => form,
        Err(rejection) => return back_to_login(unread(&rejection), None),
    };
    let next = form.next.as_deref().and_then(local_path).map(str::to_owned);
    let next = next.as_deref();
    if let Some(code) = filled(form.code) {
        return second_step(&attempts, client, by, &headers, code, next).await;
    }
    let (Some(username), Some(password)) = (filled(form.username), filled(form.password)) else {
        return back_to_login(LoginProblem::Missing, next);
    };
    let password = SecretString::from(password);
    let shown = printable(&username);
    let old = token_in(&headers, COOKIE_NAME);
    let device = device_of(client, &headers);
    let outcome = attempts.attempt(client, move |accounts| {
        let admitted = accounts.log_in(&username, &password, &device)?;
        // Otherwise the browser's earlier session would stay open unnoticed.
        if let Some(old) = old {
            accounts.log_out(&old)?;
        }
        Ok(admitted)
    });
    match outcome.await {
        Ok(Ok(Admitted::In(token))) => {
            attempts.note(by.known_as(shown.clone()), Event::Login, shown, Ending::Ok, "").await;
            with_session(Redirect::to(next.unwrap_or("/")), &token, client)
        }
        Ok(Ok(Admitted::Halfway(token))) => {
            tracing::info!(
                username = shown,
                "the password is correct; asking for the code of the second factor"
            );
            let mut answer = to_login(&[("step", "code")], next);
            set_cookie(&mut answer, SECOND_STEP, &token.reveal(), SECOND_STEP_LIFE, client);
            answer
        }
        Ok(Err(Error::Denied(_))) => {
            attempts.note(by, Event::Login, shown, Ending::Failed, "username or password is wrong").await;
            back_to_login(LoginProblem::Wrong, next)
        }
        Ok(Err(error)) if error.is_refusal() => busy(&headers),
        Ok(Err(error)) => {
            tracing::error!(%error, "could not check a login");
            back_to_login(LoginProblem::Failed, next)
        }
        Err(seconds) => {
            attempts.note_slowed(by, shown).await;
            slow_down(&headers, seconds)
        }
    }
}
