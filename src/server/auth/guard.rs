//! Middleware that identifies the account behind a request, by its session or API token, and refuses requests that
//! this account has no right to.

use crate::api::context::{SessionId, asker};
use crate::domain::Result;
use crate::domain::accounts::{Account, Accounts, ApiToken, SessionToken, api_tokens};
use crate::model::address::lookup;
use crate::model::audit::{Ending, Event};
use crate::model::{AppError, LoginProblem, Right};
use crate::server::auth::attempts::Attempts;
use crate::server::auth::cookies::{COOKIE_NAME, token_in};
use crate::server::auth::next::{encoded, local_path};
use crate::server::auth::redirects::back_to_setup;
use crate::server::auth::refusals::failed;
use crate::server::blocking::blocking;
use crate::server::middleware::access::{Access, access};
use crate::server::negotiate::{Wanted, wanted};
use crate::server::pages::message;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Redirect, Response};
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use leptos::prelude::use_context;

/// Middleware around the whole router, fallback included. Adds the [`Account`] to the request's extensions. Without
/// an account, only addresses that [`access`] calls public pass.
pub async fn guard(State(attempts): State<Attempts>, mut request: Request, next: Next) -> Response {
    let right = match access(request.method(), request.uri().path()) {
        Access::Public => {
            // Turn an expired set-up link away before somebody fills in its form.
            return match setup_link(&request) {
                Some(link) if attempts.setup_token(&link).await.is_none() => {
                    back_to_setup(LoginProblem::Link, "")
                }
                _ => next.run(request).await,
            };
        }
        Access::Needs(right) => right,
    };
    let credential = Credential::of(request.headers());
    let session = match &credential {
        Credential::Session(token) => Some(SessionId(Accounts::session_id(token))),
        Credential::Token(_) | Credential::None => None,
    };
    match account_of(&attempts.accounts, credential).await {
        Ok(Some(account)) if account.may(right) => {
            let by = asker(request.extensions()).known_as(account.label());
            request.extensions_mut().insert(by);
            request.extensions_mut().insert(account);
            if let Some(session) = session {
                request.extensions_mut().insert(session);
            }
            next.run(request).await
        }
        Ok(Some(account)) => {
            let asked = format!("{} {}", request.method(), request.uri().path());
            let by = asker(request.extensions()).known_as(account.label());
            attempts.note(by, Event::AccessDenied, asked, Ending::Refused, "").await;
            message::refusal("Request", request.headers(), &AppError::Forbidden)
        }
        Ok(None) => unauthenticated(&request),
        Err(error) => {
            tracing::error!(%error, "a session could not be looked up");
            failed(request.headers(), "/login")
        }
    }
}

/// The current user's rights, separated by spaces, for the style sheet; `None` if nobody is logged in.
pub fn rights_of_reader() -> Option<String> {
    let parts = use_context::<Parts>()?;
    let account: &Account = parts.extensions.get()?;
    let rights = Right::ALL.into_iter().filter(|right| account.may(*right));
    Some(rights.filter_map(Right::word).collect::<Vec<_>>().join(" "))
}

/// The token in the address, if the request opens a set-up link.
fn setup_link(request: &Request) -> Option<String> {
    let opens = request.uri().path() == "/setup" && request.method() != Method::POST;
    opens.then(|| lookup(request.uri().query().unwrap_or_default(), "token")).flatten()
}

/// The credential in a request: an API token if there is one, otherwise a session.
enum Credential {
    Session(SessionToken),
    Token(ApiToken),
    None,
}

impl Credential {
    fn of(headers: &HeaderMap) -> Self {
        match bearer_in(headers) {
            Some(shown) => {
                let token = shown.strip_prefix(api_tokens::PREFIX).and_then(ApiToken::parse);
                token.map_or(Self::None, Self::Token)
            }
            None => token_in(headers, COOKIE_NAME).map_or(Self::None, Self::Session),
        }
    }
}

async fn account_of(accounts: &Accounts, credential: Credential) -> Result<Option<Account>> {
    let accounts = accounts.clone();
    match credential {
        Credential::Session(token) => blocking(move || accounts.session(&token)).await,
        Credential::Token(token) => blocking(move || accounts.bearer(&token)).await,
        Credential::None => Ok(None),
    }
}

/// The token in `Authorization: Bearer …`. Other schemes are ignored: they are meant for a reverse proxy.
fn bearer_in(headers: &HeaderMap) -> Option<&str> {
    let shown = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = shown.split_once(' ').unwrap_or((shown, ""));
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Redirects browsers to the login page; answers programs with 401.
fn unauthenticated(request: &Request) -> Response {
    let wanted = wanted(request.headers());
    let called = request.uri().path().starts_with("/api/") && wanted != Wanted::Page;
    let by_token = bearer_in(request.headers()).is_some();
    if called || by_token || wanted == Wanted::Json {
        let mut answer = message::json(StatusCode::UNAUTHORIZED, &AppError::Unauthenticated);
        answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return answer;
    }
    let asked = request.uri().path_and_query().map_or("/", |asked| asked.as_str());
    let page = request.method() == Method::GET && asked != "/";
    let next = if page { local_path(asked) } else { None };
    Redirect::to(&next.map_or("/login".to_owned(), |next| format!("/login?next={}", encoded(next))))
        .into_response()
}
