//! The second step of a login: a code of the authenticator app, or a recovery code.

use crate::domain::Error;
use crate::domain::audit::Actor;
use crate::model::LoginProblem;
use crate::model::audit::{Ending, Event};
use crate::server::auth::attempts::Attempts;
use crate::server::auth::cookies::{SECOND_STEP, set_cookie, token_in, with_session};
use crate::server::auth::forms::device_of;
use crate::server::auth::redirects::{back_to_login, to_login};
use crate::server::auth::refusals::slow_down;
use crate::server::blocking::blocking;
use crate::server::middleware::forwarded::Forwarded;
use axum::response::{Redirect, Response};
use http::HeaderMap;
use std::sync::Arc;

/// Checks `code` for the account whose password was correct a moment ago, and opens a session.
pub async fn second_step(
    attempts: &Attempts,
    client: Forwarded,
    by: Actor,
    headers: &HeaderMap,
    code: String,
    next: Option<&str>,
) -> Response {
    let Some(halfway) = token_in(headers, SECOND_STEP) else {
        return back_to_login(LoginProblem::Code, next);
    };
    let device = device_of(client, headers);
    let (accounts, token) = (attempts.accounts.clone(), Arc::new(halfway));
    let halfway = Arc::clone(&token);
    // The name is looked up in the state database.
    let who = blocking(move || Ok(accounts.halfway(&token))).await.ok().flatten().unwrap_or_default();
    let outcome = attempts.attempt(client, move |accounts| accounts.second_step(&halfway, &code, &device));
    match outcome.await {
        Ok(Ok(token)) => {
            let by = by.known_as(who.clone());
            attempts.note(by, Event::Login, who, Ending::Ok, "with a second factor").await;
            let mut answer = with_session(Redirect::to(next.unwrap_or("/")), &token, client);
            set_cookie(&mut answer, SECOND_STEP, "", 0, client);
            answer
        }
        Ok(Err(Error::Denied(_))) => {
            let detail = "the code of the second factor is wrong";
            attempts.note(by, Event::Login, who, Ending::Failed, detail).await;
            to_login(&[("step", "code"), ("error", LoginProblem::Code.code())], next)
        }
        Ok(Err(error)) => {
            tracing::error!(%error, "could not check the code of a second factor");
            back_to_login(LoginProblem::Failed, next)
        }
        Err(seconds) => {
            attempts.note_slowed(by, who).await;
            slow_down(headers, seconds)
        }
    }
}
