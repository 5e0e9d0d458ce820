//! The door: lets a request through to the pages only with a session, and hands sessions out.

use crate::api::doorway::{SessionId, asker};
use crate::domain::accounts::{
    Account, Accounts, Admitted, ApiToken, Device, SESSION_LIFE, SessionToken, SetupToken, Token, api_tokens,
    password_problem, username_problem,
};
use crate::domain::audit::{Audit, By};
use crate::domain::{Error, Result};
use crate::model::address::{base, lookup};
use crate::model::audit::{Ending, Event};
use crate::model::{AppError, LoginProblem, Right};
use crate::server::auth::throttle::{Throttle, network};
use crate::server::downloads::backup::words_on;
use crate::server::middleware::access::{Access, access};
use crate::server::middleware::forwarded::Arrival;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::post;
use axum::{Extension, Json, Router};
use axum_extra::extract::{CookieJar, Form, FormRejection};
use http::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, SET_COOKIE, USER_AGENT, WWW_AUTHENTICATE,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use leptos::prelude::use_context;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use std::sync::Arc;

/// The session cookie's name, where it did not come by TLS.
pub const COOKIE_NAME: &str = "holdfast_session";
/// The cookie between the password and the code.
const HALFWAY: &str = "holdfast_halfway";
/// Begins the names of cookies that came by TLS.
const HOST_PREFIX: &str = "__Host-";
/// Seconds for the code.
const HALFWAY_LIFE: u64 = 5 * 60;

/// Bytes of a login or set-up form.
const FORM_MAX: usize = 16 * 1024;
/// More of a `next` than this is not followed.
const NEXT_MAX: usize = 2000;

/// Everything but RFC 3986's unreserved characters.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Middleware over the whole router, fallback included: who asks, by a session or an API token, goes along as an
/// [`Account`] among the request's extensions; without one, only what [`access`] calls public passes.
pub async fn guard(State(door): State<Door>, mut request: Request, next: Next) -> Response {
    let right = match access(request.method(), request.uri().path()) {
        Access::Public if door.is_barred_to(&request) => return back_to_setup(LoginProblem::Link, ""),
        Access::Public => return next.run(request).await,
        Access::Needs(right) => right,
    };
    let shown = Shown::by(request.headers());
    let session = match &shown {
        Shown::Session(token) => Some(SessionId(Accounts::session_id(token))),
        Shown::Token(_) | Shown::Nothing => None,
    };
    match account_of(&door.accounts, shown).await {
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
            door.note(by, Event::AccessDenied, asked, Ending::Refused, "").await;
            words_on("Access", request.headers(), &AppError::Forbidden)
        }
        Ok(None) => turn_away(&request),
        Err(error) => {
            tracing::error!(%error, "a session could not be looked up");
            plain_answer(request.headers(), StatusCode::INTERNAL_SERVER_ERROR, &failed(), "/login")
        }
    }
}

/// What [`routes`] answers.
pub const PATHS: [&str; 4] = ["/login", "/setup", "/logout", "/confirm"];

/// `POST /login`, `/setup`, `/logout` and `/confirm`, to be merged with the pages and put behind [`guard`].
/// Failures are counted by the client's address.
pub fn routes<S: Clone + Send + Sync + 'static>(door: Door) -> Router<S> {
    Router::new()
        .route("/login", post(log_in))
        .route("/setup", post(set_up))
        .route("/logout", post(log_out))
        .route("/confirm", post(confirm))
        .layer(DefaultBodyLimit::max(FORM_MAX))
        .with_state(door)
}

/// What the reader of the page being written may do, in words with a space between; nothing where nobody is logged in.
pub fn rights_of_reader() -> Option<String> {
    let parts = use_context::<Parts>()?;
    let account: &Account = parts.extensions.get()?;
    let rights =
        [(Right::Download, "download"), (Right::Operate, "operate"), (Right::Administer, "administer")];
    let may = rights.into_iter().filter(|(right, _)| account.may(*right)).map(|(_, word)| word);
    Some(may.collect::<Vec<_>>().join(" "))
}

/// Where to go after a login: `text` where it is a page of this site, else nothing. Browsers read `\` as
/// `/` and drop tabs and newlines, so only plain characters pass.
pub fn local_path(text: &str) -> Option<&str> {
    let rest = text.strip_prefix('/')?;
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let path = text.split(['?', '#']).next().unwrap_or_default();
    let elsewhere = rest.starts_with('/') || text.len() > NEXT_MAX;
    let of_the_door = matches!(path, "/login" | "/logout" | "/setup");
    (plain && !elsewhere && !of_the_door).then_some(text)
}

/// Where people come in.
#[derive(Clone)]
pub struct Door {
    accounts: Accounts,
    audit: Audit,
    throttle: Arc<Throttle>,
}

impl Door {
    /// The door to these accounts, its events noted in `audit`.
    pub fn new(accounts: Accounts, audit: Audit) -> Self {
        Self { accounts, audit, throttle: Arc::default() }
    }

    /// Whether the request opens a set-up link that makes no account any more: nobody is to fill in its form.
    fn is_barred_to(&self, request: &Request) -> bool {
        let link = (request.uri().path() == "/setup" && request.method() != Method::POST)
            .then(|| lookup(request.uri().query().unwrap_or_default(), "token"))
            .flatten();
        link.is_some_and(|link| self.setup_token(&link).is_none())
    }

    /// What a set-up link carries, where it makes an account.
    fn setup_token(&self, link: &str) -> Option<SetupToken> {
        SetupToken::parse(link).filter(|token| self.accounts.admits(token))
    }

    /// Notes in the audit log and in the program's own what came of something.
    pub async fn note(&self, by: By, event: Event, object: String, outcome: Ending, detail: &'static str) {
        let who = by.who().unwrap_or(&object);
        tracing::info!(who, from = by.from(), outcome = outcome.text(), detail, "{}", event.text());
        let audit = self.audit.clone();
        let noted = blocking(move || {
            audit.note(&by, event, &object, outcome, detail);
            Ok(())
        });
        if let Err(error) = noted.await {
            tracing::error!(%error, "an event could not be noted");
        }
    }

    /// The same of what anybody can have happen as often as they like; see [`Audit::note_of_stranger`].
    async fn note_of_stranger(&self, by: By, event: Event, object: String, detail: &'static str) {
        let audit = self.audit.clone();
        let noted = blocking(move || {
            audit.note_of_stranger(&by, event, &object, Ending::Refused, detail);
            Ok(())
        });
        if let Err(error) = noted.await {
            tracing::error!(%error, "an event could not be noted");
        }
    }

    /// Notes that somebody has to wait before guessing on.
    async fn note_slowed(&self, by: By, username: String) {
        self.note_of_stranger(by, Event::Login, username, "too many failures from this address").await;
    }

    /// Does `work`, which may be denied; a denial counts against the client's address, and once there were too
    /// many, nothing is done but to say how many seconds to wait.
    pub async fn attempt<T: Send + 'static>(
        &self,
        arrival: Arrival,
        work: impl FnOnce(&Accounts) -> Result<T> + Send + 'static,
    ) -> Result<Result<T>, u64> {
        let key = arrival.from.map(network);
        self.throttle.enter(key, self.accounts.now())?;
        let accounts = self.accounts.clone();
        let outcome = blocking(move || work(&accounts)).await;
        if !matches!(outcome, Err(Error::Denied(_))) {
            self.throttle.forgive(key, self.accounts.now());
        }
        Ok(outcome)
    }
}

/// Edge-only, without `Debug`: the passwords become [`SecretString`]s at the doorway.
#[derive(Deserialize)]
struct LoginForm {
    username: Option<String>,
    password: Option<String>,
    code: Option<String>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct SetupForm {
    token: Option<String>,
    username: Option<String>,
    password: Option<String>,
    repeat: Option<String>,
}

#[derive(Deserialize)]
struct ConfirmForm {
    password: Option<String>,
    next: Option<String>,
}

async fn log_in(
    State(door): State<Door>,
    Extension(arrival): Extension<Arrival>,
    Extension(by): Extension<By>,
    headers: HeaderMap,
    form: Result<Form<LoginForm>, FormRejection>,
) -> Response {
    let form = match form {
        Ok(Form(form)) => form,
        Err(rejection) => return back_to_login(unread(&rejection), None),
    };
    let next = form.next.as_deref().and_then(local_path).map(str::to_owned);
    if let Some(code) = filled(form.code) {
        return second_step(&door, arrival, by, &headers, code, next.as_deref()).await;
    }
    let (Some(username), Some(password)) = (filled(form.username), filled(form.password)) else {
        return back_to_login(LoginProblem::Missing, next.as_deref());
    };
    let password = SecretString::from(password);
    let shown = printable(&username);
    let old = token_in(&headers, COOKIE_NAME);
    let device = device_of(arrival, &headers);
    let outcome = door.attempt(arrival, move |accounts| {
        let admitted = accounts.log_in(&username, &password, &device)?;
        // The browser's earlier session would live on unseen.
        if let Some(old) = old {
            accounts.log_out(&old)?;
        }
        Ok(admitted)
    });
    match outcome.await {
        Ok(Ok(Admitted::In(token))) => {
            door.note(by.known_as(shown.clone()), Event::Login, shown, Ending::Ok, "").await;
            with_session(Redirect::to(next.as_deref().unwrap_or("/")), &token, arrival)
        }
        Ok(Ok(Admitted::Halfway(token))) => {
            tracing::info!(username = shown, "the password was right; a code is asked for");
            let mut answer =
                Redirect::to(&login_address(&[("step", "code")], next.as_deref())).into_response();
            set_cookie(&mut answer, cookie(HALFWAY, &token.reveal(), HALFWAY_LIFE, arrival));
            answer
        }
        Ok(Err(Error::Denied(_))) => {
            door.note(by, Event::Login, shown, Ending::Failed, "username or password is wrong").await;
            back_to_login(LoginProblem::Wrong, next.as_deref())
        }
        Ok(Err(error)) if error.is_refusal() => busy(&headers),
        Ok(Err(error)) => {
            tracing::error!(%error, "a login could not be looked at");
            back_to_login(LoginProblem::Failed, next.as_deref())
        }
        Err(seconds) => {
            door.note_slowed(by, shown).await;
            slow_down(&headers, seconds)
        }
    }
}

/// The code after the password.
async fn second_step(
    door: &Door,
    arrival: Arrival,
    by: By,
    headers: &HeaderMap,
    code: String,
    next: Option<&str>,
) -> Response {
    let Some(halfway) = token_in(headers, HALFWAY) else {
        return back_to_login(LoginProblem::Code, next);
    };
    let device = device_of(arrival, headers);
    let who = door.accounts.halfway(&halfway).unwrap_or_default();
    let outcome = door.attempt(arrival, move |accounts| accounts.second_step(&halfway, &code, &device));
    match outcome.await {
        Ok(Ok(token)) => {
            door.note(by.known_as(who.clone()), Event::Login, who, Ending::Ok, "with a second factor").await;
            let mut answer = with_session(Redirect::to(next.unwrap_or("/")), &token, arrival);
            set_cookie(&mut answer, cookie(HALFWAY, "", 0, arrival));
            answer
        }
        Ok(Err(Error::Denied(_))) => {
            door.note(by, Event::Login, who, Ending::Failed, "the code of the second factor is wrong").await;
            let asked = [("step", "code"), ("error", LoginProblem::Code.code())];
            Redirect::to(&login_address(&asked, next)).into_response()
        }
        Ok(Err(error)) => {
            tracing::error!(%error, "a second factor could not be looked at");
            back_to_login(LoginProblem::Failed, next)
        }
        Err(seconds) => {
            door.note_slowed(by, who).await;
            slow_down(headers, seconds)
        }
    }
}

/// The password once more: who is logged in proves to be there still.
async fn confirm(
    State(door): State<Door>,
    Extension(arrival): Extension<Arrival>,
    Extension(by): Extension<By>,
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
    match door.attempt(arrival, move |accounts| accounts.prove(&session, &password)).await {
        Ok(Ok(token)) => {
            door.note(by, Event::Login, name, Ending::Ok, "the password once more").await;
            with_session(Redirect::to(next.as_deref().unwrap_or("/confirm?done=yes")), &token, arrival)
        }
        Ok(Err(Error::Denied(_))) => {
            door.note(by, Event::Login, name, Ending::Failed, "the password typed once more is wrong").await;
            back_to_confirm(LoginProblem::Wrong, next.as_deref())
        }
        Ok(Err(error)) if error.is_refusal() => busy(&headers),
        Ok(Err(error)) => {
            tracing::error!(%error, "a password could not be looked at");
            back_to_confirm(LoginProblem::Failed, next.as_deref())
        }
        Err(seconds) => {
            door.note_slowed(by, name).await;
            slow_down(&headers, seconds)
        }
    }
}

async fn set_up(
    State(door): State<Door>,
    Extension(arrival): Extension<Arrival>,
    Extension(by): Extension<By>,
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
    let Some(token) = door.setup_token(&link) else {
        door.note_of_stranger(by, Event::Setup, String::new(), "the link does not work").await;
        return back_to_setup(LoginProblem::Link, "");
    };
    let differ = (password.expose_secret() != repeat.expose_secret()).then_some(LoginProblem::Repeat);
    let problem = username_problem(&username).or_else(|| password_problem(&password)).or(differ);
    if let Some(problem) = problem {
        return back_to_setup(problem, &link);
    }
    let shown = printable(&username);
    let accounts = door.accounts.clone();
    let device = device_of(arrival, &headers);
    match blocking(move || accounts.set_up(&token, &username, &password, &device)).await {
        Ok(session) => {
            door.note(by.known_as(shown.clone()), Event::Setup, shown, Ending::Ok, "by the set-up link")
                .await;
            with_session(Redirect::to("/"), &session, arrival)
        }
        Err(Error::Denied(_)) => back_to_setup(LoginProblem::Link, ""),
        Err(error) if error.is_refusal() => busy(&headers),
        Err(error) => {
            tracing::error!(%error, "the first account could not be made");
            back_to_setup(LoginProblem::Failed, &link)
        }
    }
}

async fn log_out(
    State(door): State<Door>,
    Extension(arrival): Extension<Arrival>,
    Extension(by): Extension<By>,
    headers: HeaderMap,
) -> Response {
    let accounts = door.accounts.clone();
    if let Some(token) = token_in(&headers, COOKIE_NAME)
        && let Err(error) = blocking(move || accounts.log_out(&token)).await
    {
        // Saying goodbye while the session lives on would be a lie.
        tracing::error!(%error, "a session could not be ended");
        return plain_answer(&headers, StatusCode::INTERNAL_SERVER_ERROR, &failed(), "/");
    }
    let who = by.who().unwrap_or_default().to_owned();
    door.note(by, Event::Logout, who, Ending::Ok, "").await;
    gone(arrival)
}

/// To the login, with nothing left behind in the browser.
pub fn gone(arrival: Arrival) -> Response {
    let mut answer = Redirect::to("/login").into_response();
    set_cookie(&mut answer, cookie(COOKIE_NAME, "", 0, arrival));
    // Not "cache": Chromium takes seconds to clear it, and nothing of ours but the hashed files is cached.
    let site_data = HeaderName::from_static("clear-site-data");
    answer.headers_mut().insert(site_data, HeaderValue::from_static("\"storage\""));
    answer
}

/// What a request shows for whose it is: an API token where there is one, else a session.
enum Shown {
    Session(SessionToken),
    Token(ApiToken),
    Nothing,
}

impl Shown {
    fn by(headers: &HeaderMap) -> Self {
        match bearer_in(headers) {
            Some(shown) => {
                let token = shown.strip_prefix(api_tokens::PREFIX).and_then(ApiToken::parse);
                token.map_or(Self::Nothing, Self::Token)
            }
            None => token_in(headers, COOKIE_NAME).map_or(Self::Nothing, Self::Session),
        }
    }
}

async fn account_of(accounts: &Accounts, shown: Shown) -> Result<Option<Account>> {
    let accounts = accounts.clone();
    match shown {
        Shown::Session(token) => blocking(move || accounts.session(&token)).await,
        Shown::Token(token) => blocking(move || accounts.bearer(&token)).await,
        Shown::Nothing => Ok(None),
    }
}

/// What an `Authorization: Bearer …` shows. Other schemes are for a proxy in front, and none of Holdfast's business.
fn bearer_in(headers: &HeaderMap) -> Option<&str> {
    let shown = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = shown.split_once(' ').unwrap_or((shown, ""));
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The token that the browser sends in one of our cookies. It never has both forms of a cookie: which one, the
/// scheme says, and the one with the prefix is the browser's word that nobody but this host set it.
pub fn token_in<For>(headers: &HeaderMap, name: &str) -> Option<Token<For>> {
    let jar = headers.contains_key(http::header::COOKIE).then(|| CookieJar::from_headers(headers))?;
    let cookie = jar.get(&format!("{HOST_PREFIX}{name}")).or_else(|| jar.get(name))?;
    Token::parse(cookie.value())
}

/// Where a session is used, as its owner will be shown it.
pub fn device_of(arrival: Arrival, headers: &HeaderMap) -> Device {
    let agent = headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    Device {
        address: arrival.from.map_or(String::new(), |from| from.to_string()),
        agent: agent.chars().filter(|c| !c.is_control()).collect(),
    }
}

/// Does blocking work.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(Error::Lost))
}

/// A person is shown the way to the login; a program is told.
fn turn_away(request: &Request) -> Response {
    let accepted = Accepted::of(request.headers());
    let called = request.uri().path().starts_with("/api/") && !accepted.html;
    let by_token = bearer_in(request.headers()).is_some();
    if called || by_token || accepted.json_only() {
        let mut answer = told(StatusCode::UNAUTHORIZED, &AppError::Unauthenticated);
        answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return answer;
    }
    let asked = request.uri().path_and_query().map_or("/", |asked| asked.as_str());
    let page = request.method() == Method::GET && asked != "/";
    let next = if page { local_path(asked) } else { None };
    Redirect::to(&next.map_or("/login".to_owned(), |next| format!("/login?next={}", encoded(next))))
        .into_response()
}

fn back_to_login(problem: LoginProblem, next: Option<&str>) -> Response {
    Redirect::to(&login_address(&[("error", problem.code())], next)).into_response()
}

fn login_address(said: &[(&str, &str)], next: Option<&str>) -> String {
    let said = said.iter().map(|(name, value)| format!("{name}={value}"));
    let next = next.map(|next| format!("next={}", encoded(next)));
    format!("/login?{}", said.chain(next).collect::<Vec<_>>().join("&"))
}

fn back_to_confirm(problem: LoginProblem, next: Option<&str>) -> Response {
    let next = next.map_or(String::new(), |next| format!("&next={}", encoded(next)));
    Redirect::to(&format!("/confirm?error={}{next}", problem.code())).into_response()
}

/// To the page that asks for the password once more, and from there on to `next`.
pub fn ask_to_confirm(next: &str) -> Response {
    Redirect::to(&format!("/confirm?next={}", encoded(next))).into_response()
}

/// Why a form was not read: it was larger than the door takes, or none.
fn unread(rejection: &FormRejection) -> LoginProblem {
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => LoginProblem::Long,
        _ => LoginProblem::Missing,
    }
}

fn back_to_setup(problem: LoginProblem, link: &str) -> Response {
    let kept = SetupToken::parse(link).map_or(String::new(), |token| format!("token={}&", token.reveal()));
    Redirect::to(&format!("/setup?{kept}error={}", problem.code())).into_response()
}

/// For whoever comes while too many log in.
pub fn busy(headers: &HeaderMap) -> Response {
    let error = AppError::Failed(LoginProblem::Busy.message().to_owned());
    let mut answer = plain_answer(headers, StatusCode::SERVICE_UNAVAILABLE, &error, "/login?error=busy");
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
    answer
}

/// For whoever was wrong too often.
pub fn slow_down(headers: &HeaderMap, seconds: u64) -> Response {
    let error = AppError::Failed(LoginProblem::Slow.message().to_owned());
    let mut answer = plain_answer(headers, StatusCode::TOO_MANY_REQUESTS, &error, "/login?error=slow");
    answer.headers_mut().insert(RETRY_AFTER, seconds.into());
    answer
}

fn failed() -> AppError {
    AppError::Failed(LoginProblem::Failed.message().to_owned())
}

/// For the statuses that a redirect cannot have: the sentence and the way `back`, on a page with nothing else on it.
fn plain_answer(headers: &HeaderMap, status: StatusCode, error: &AppError, back: &str) -> Response {
    let accepted = Accepted::of(headers);
    if accepted.json_only() || !accepted.html && !accepted.anything {
        return told(status, error);
    }
    let base = base();
    let page = format!(
        "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Holdfast</title></head>\
         <body><h1>Holdfast</h1><p role=\"alert\">{error}</p><p><a href=\"{base}{back}\">Back</a></p></body></html>"
    );
    (status, [(CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response()
}

/// An error the page's own calls can read, too.
fn told(status: StatusCode, error: &AppError) -> Response {
    (status, Json(error)).into_response()
}

/// Hands a session out.
pub fn with_session(redirect: Redirect, token: &SessionToken, arrival: Arrival) -> Response {
    let mut answer = redirect.into_response();
    set_cookie(&mut answer, cookie(COOKIE_NAME, &token.reveal(), SESSION_LIFE, arrival));
    answer
}

/// `Set-Cookie` for one of our cookies. By TLS it is `Secure` and has the prefix by which browsers let only this
/// host set it; over plain HTTP, which is served on this machine only, a browser would drop such a cookie.
fn cookie(name: &str, value: &str, life: u64, arrival: Arrival) -> String {
    let (prefix, secure) = if arrival.tls { (HOST_PREFIX, "; Secure") } else { ("", "") };
    format!("{prefix}{name}={value}; HttpOnly; SameSite=Strict; Path=/; Max-Age={life}{secure}")
}

fn set_cookie(answer: &mut Response, cookie: String) {
    answer.headers_mut().append(SET_COOKIE, sensitive(cookie));
}

/// A header's value that logs leave out. Made of plain characters only, so that it always is one.
fn sensitive(text: String) -> HeaderValue {
    let mut value = HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

fn filled(field: Option<String>) -> Option<String> {
    field.filter(|text| !text.is_empty())
}

/// A username as the log may have it: on one line and not too long.
fn printable(username: &str) -> String {
    username.trim().chars().take(64).map(|c| if c.is_control() { '\u{FFFD}' } else { c }).collect()
}

/// What the `Accept` header admits. Without one, anything.
struct Accepted {
    json: bool,
    html: bool,
    anything: bool,
}

impl Accepted {
    fn of(headers: &HeaderMap) -> Self {
        let types: Vec<String> = headers
            .get_all(ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(|range| range.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
            .collect();
        let has = |wanted: &str| types.iter().any(|found| found == wanted);
        Self {
            json: has("application/json"),
            html: has("text/html"),
            anything: has("*/*") || types.is_empty(),
        }
    }

    fn json_only(&self) -> bool {
        self.json && !self.html && !self.anything
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::accounts::{FirstAccount, SESSION_IDLE};
    use crate::domain::state::Store;
    use crate::domain::state::secrets::Secrets;
    use crate::model::Stamp;
    use crate::model::login_message;
    use crate::server::auth::session::*;
    use crate::server::auth::throttle::BURST;
    use crate::server::middleware::forwarded;
    use crate::server::middleware::forwarded::{ByTls, Proxies};
    use axum::body::Body;
    use axum::extract::ConnectInfo;
    use axum::middleware::from_fn_with_state;
    use axum::routing::{any, get};
    use http::header::COOKIE;
    use http_body_util::BodyExt as _;
    use proptest::prelude::*;
    use std::net::SocketAddr;
    use std::sync::atomic::{AtomicI64, Ordering};
    use tempfile::TempDir;
    use tower::ServiceExt as _;

    const PASSWORD: &str = "tide marks on the quay";
    const RIGHT: &str = "username=admin&password=tide+marks+on+the+quay";
    const WRONG: &str = "username=admin&password=not+the+password";
    const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

    struct Site {
        router: Router,
        accounts: Accounts,
        millis: Arc<AtomicI64>,
        _directory: TempDir,
    }

    struct Answer {
        status: StatusCode,
        headers: HeaderMap,
        body: String,
    }

    impl Answer {
        fn location(&self) -> &str {
            assert_eq!(self.status, StatusCode::SEE_OTHER, "{}", self.body);
            self.headers["location"].to_str().unwrap()
        }

        fn set_cookie(&self) -> &str {
            self.headers["set-cookie"].to_str().unwrap()
        }

        /// What the browser sends back.
        fn cookie(&self) -> String {
            self.set_cookie().split(';').next().unwrap().to_owned()
        }
    }

    impl Site {
        /// A site without an account.
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let millis = Arc::new(AtomicI64::new(1_795_401_667_000));
            let clock = Arc::clone(&millis);
            let store = Store::open(&directory.path().join("holdfast.db")).unwrap();
            let secrets = Secrets::new(directory.path().join("key"));
            let accounts =
                Accounts::new(store, secrets, move || Stamp::from_millis(clock.load(Ordering::SeqCst)));
            let clock = Arc::clone(&millis);
            let clock = Arc::new(move || Stamp::from_millis(clock.load(Ordering::SeqCst)));
            let door = Door::new(accounts.clone(), Audit::new(directory.path(), clock));
            let router = routes(door.clone())
                .route("/", get(|Extension(account): Extension<Account>| async { account.username }))
                .route("/login", get(|| async { "the login page" }))
                .route("/setup", get(|| async { "the set-up page" }))
                .route("/healthz", get(|| async { "ok" }))
                .route("/theme", post(|| async { "themed" }))
                .route("/pkg/{*file}", get(|| async { "a static file" }))
                .route("/api/{*function}", any(|| async { "secret" }))
                .fallback(|| async { (StatusCode::NOT_FOUND, "secret") })
                .layer(from_fn_with_state(door, guard))
                .layer(from_fn_with_state(Proxies::default(), forwarded::note));
            Self { router, accounts, millis, _directory: directory }
        }

        fn with_account() -> Self {
            let site = Self::new();
            site.accounts.ensure_first("admin", Some(&PASSWORD.into())).unwrap();
            site
        }

        fn pass(&self, seconds: u64) {
            self.millis.fetch_add(i64::try_from(seconds).unwrap() * 1000, Ordering::SeqCst);
        }

        async fn ask(&self, request: http::request::Builder, body: &str) -> Answer {
            let answer =
                self.router.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await;
            let (parts, body) = answer.unwrap().into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let body = String::from_utf8(body.to_vec()).unwrap();
            Answer { status: parts.status, headers: parts.headers, body }
        }

        async fn get(&self, path: &str, cookie: &str) -> Answer {
            let request = http::Request::get(path).header(ACCEPT, BROWSER).header(COOKIE, cookie);
            self.ask(request, "").await
        }

        async fn post(&self, path: &str, form: &str) -> Answer {
            self.ask(form_post(path), form).await
        }
    }

    fn form_post(path: &str) -> http::request::Builder {
        http::Request::post(path)
            .header(ACCEPT, BROWSER)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
    }

    fn from(request: http::request::Builder, address: &str) -> http::request::Builder {
        request.extension(ConnectInfo(SocketAddr::new(address.parse().unwrap(), 4000)))
    }

    #[tokio::test]
    async fn without_a_session_only_the_public_answers() {
        let site = Site::with_account();
        for (path, body) in [("/login", "the login page"), ("/healthz", "ok"), ("/pkg/a.js", "a static file")]
        {
            assert_eq!(site.get(path, "").await.body, body);
        }
        assert_eq!(site.post("/theme", "").await.body, "themed");
        assert_eq!(site.get("/", "").await.location(), "/login");
        assert_eq!(
            site.get("/?page=2&q=a%20b", "").await.location(),
            "/login?next=%2F%3Fpage%3D2%26q%3Da%2520b"
        );
        assert_eq!(site.get("/no/such/page", "").await.location(), "/login?next=%2Fno%2Fsuch%2Fpage");
        assert_eq!(site.get("//evil.example/", "").await.location(), "/login");
        for path in ["/", "/logout", "/archives", "/api/delete"] {
            assert_eq!(site.post(path, "").await.location(), "/login", "{path}");
        }
        for method in ["PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE", "BREW"] {
            let answer = site.ask(http::Request::builder().method(method).uri("/archives"), "").await;
            assert_eq!(answer.location(), "/login", "{method}");
        }
    }

    #[tokio::test]
    async fn programs_are_told_and_people_are_led() {
        let site = Site::with_account();
        let cases = [
            ("/api/list", Some("application/json"), 401),
            ("/api/list", Some("*/*"), 401),
            ("/api/live", Some("text/event-stream"), 401),
            ("/api/list", None, 401),
            ("/api/list", Some(BROWSER), 303),
            ("/", Some("application/json"), 401),
            ("/", Some("Application/JSON; q=0.9, text/plain"), 401),
            ("/", Some("application/json, text/html"), 303),
            ("/", Some("application/json, */*;q=0.1"), 303),
            ("/", Some("*/*"), 303),
            ("/", None, 303),
        ];
        for (path, accept, status) in cases {
            let mut request = http::Request::get(path);
            if let Some(accept) = accept {
                request = request.header(ACCEPT, accept);
            }
            let answer = site.ask(request, "").await;
            assert_eq!(answer.status.as_u16(), status, "{path} {accept:?}");
            if status == 401 {
                assert_eq!(answer.body, r#""Unauthenticated""#);
                assert_eq!(answer.headers[CONTENT_TYPE], "application/json");
            }
        }
    }

    #[tokio::test]
    async fn a_login_opens_the_site_and_a_logout_closes_it() {
        let site = Site::with_account();
        let welcome = site.post("/login", RIGHT).await;
        assert_eq!(welcome.location(), "/");
        let (name, attributes) = welcome.set_cookie().split_once("; ").unwrap();
        assert_eq!(attributes, "HttpOnly; SameSite=Strict; Path=/; Max-Age=43200");
        assert_eq!(name.len(), "holdfast_session=".len() + 43);
        let cookie = welcome.cookie();
        assert_eq!(site.get("/", &cookie).await.body, "admin");
        assert_eq!(site.get("/", &format!("theme=dark; {cookie}")).await.body, "admin");
        assert_eq!(site.get("/nothing", &cookie).await.status, StatusCode::NOT_FOUND);

        let bye = site.ask(form_post("/logout").header(COOKIE, &cookie), "").await;
        assert_eq!(bye.location(), "/login");
        assert!(
            bye.set_cookie().starts_with("holdfast_session=;") && bye.set_cookie().ends_with("Max-Age=0")
        );
        assert_eq!(bye.headers["clear-site-data"], "\"storage\"");
        assert_eq!(site.get("/", &cookie).await.location(), "/login", "the old cookie is worth nothing");
    }

    #[tokio::test]
    async fn the_cookie_is_secure_where_the_browser_came_by_tls() {
        let site = Site::with_account();
        let answer = site.ask(form_post("/login").extension(ByTls), RIGHT).await;
        assert!(answer.set_cookie().starts_with("__Host-holdfast_session="), "{}", answer.set_cookie());
        assert!(answer.set_cookie().ends_with("; HttpOnly; SameSite=Strict; Path=/; Max-Age=43200; Secure"));
        assert_eq!(site.get("/", &answer.cookie()).await.body, "admin");
        let forged = site.ask(form_post("/login").header("x-forwarded-proto", "https"), RIGHT).await;
        assert!(!forged.set_cookie().contains("Secure"), "no proxy is trusted here");
    }

    #[tokio::test]
    async fn a_tampered_or_expired_cookie_opens_nothing() {
        let site = Site::with_account();
        let cookie = site.post("/login", RIGHT).await.cookie();
        let mut tampered = cookie.clone();
        let last = if tampered.pop() == Some('A') { 'E' } else { 'A' };
        tampered.push(last);
        for bad in
            [tampered.as_str(), "holdfast_session=", "holdfast_session=x", "Holdfast_Session=x", "=;;="]
        {
            assert_eq!(site.get("/", bad).await.location(), "/login", "{bad}");
        }
        assert_eq!(site.get("/", &cookie).await.body, "admin");
        site.pass(SESSION_IDLE);
        assert_eq!(site.get("/", &cookie).await.location(), "/login");
    }

    #[tokio::test]
    async fn each_login_gives_a_new_session_and_ends_the_browsers_old_one() {
        let site = Site::with_account();
        let planted = format!("{COOKIE_NAME}={}", "A".repeat(43));
        let first = site.ask(form_post("/login").header(COOKIE, &planted), RIGHT).await.cookie();
        assert_ne!(first, planted, "a planted token is not taken up");
        assert_eq!(site.get("/", &planted).await.location(), "/login");
        let second = site.ask(form_post("/login").header(COOKIE, &first), RIGHT).await.cookie();
        assert_ne!(first, second);
        assert_eq!(site.get("/", &first).await.location(), "/login");
        assert_eq!(site.get("/", &second).await.body, "admin");
    }

    #[tokio::test]
    async fn a_failed_login_leads_back_with_its_reason() {
        let site = Site::with_account();
        let wrong = site.post("/login", &format!("{WRONG}&next=%2F%3Fpage%3D2")).await;
        assert_eq!(wrong.location(), "/login?error=wrong&next=%2F%3Fpage%3D2");
        assert!(!wrong.headers.contains_key(SET_COOKIE));
        assert_eq!(site.post("/login", "username=nobody&password=x").await.location(), "/login?error=wrong");
        for form in [
            "",
            "username=admin",
            "username=&password=x",
            "username=a&password=",
            "%%%",
            "a=1&username=a&username=b&password=x",
        ] {
            assert_eq!(site.post("/login", form).await.location(), "/login?error=missing", "{form}");
        }
        let json = http::Request::post("/login").header(CONTENT_TYPE, "application/json");
        assert_eq!(site.ask(json, r#"{"username":"admin"}"#).await.location(), "/login?error=missing");
        let huge = format!("{RIGHT}&x={}", "x".repeat(FORM_MAX));
        assert_eq!(site.post("/login", &huge).await.location(), "/login?error=long");
        assert!(login_message("wrong").is_some() && login_message("missing").is_some());
    }

    #[tokio::test]
    async fn a_login_leads_on_within_the_site_only() {
        let site = Site::with_account();
        for (next, location) in [
            ("%2F%3Fpage%3D2%26q%3Da%2520b", "/?page=2&q=a%20b"),
            ("https%3A%2F%2Fevil.example", "/"),
            ("%2F%2Fevil.example", "/"),
            ("%2F%5Cevil.example", "/"),
            ("%2F%09%2Fevil.example", "/"),
            ("%2Flogin%3Fnext%3D%2F", "/"),
            ("", "/"),
        ] {
            let answer = site.post("/login", &format!("{RIGHT}&next={next}")).await;
            assert_eq!(answer.location(), location, "{next}");
        }
    }

    proptest! {
        #[test]
        fn no_next_leaves_the_site(text in "[/\\\\\t\n.a]{0,5}|/[/\\\\\t]?[/\\\\a.:@?#%\r é]{0,8}") {
            if let Some(next) = local_path(&text) {
                let here = url::Url::parse("http://holdfast.example/login").unwrap();
                let there = here.join(next).unwrap();
                prop_assert_eq!(there.origin(), here.origin());
            }
        }
    }

    #[tokio::test]
    async fn ten_failures_slow_one_address_and_no_other() {
        let site = Site::with_account();
        let attempt =
            |address: &'static str, form: &'static str| site.ask(from(form_post("/login"), address), form);
        for _ in 0..BURST {
            assert_eq!(attempt("192.0.2.1", WRONG).await.location(), "/login?error=wrong");
            site.pass(1);
        }
        let slow = attempt("192.0.2.1", RIGHT).await;
        assert_eq!(slow.status, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(slow.headers[RETRY_AFTER], "50", "the first of them is a minute old then");
        assert!(
            slow.body.contains(login_message("slow").unwrap()) && slow.body.contains("/login?error=slow")
        );
        let mapped = attempt("::ffff:192.0.2.1", RIGHT).await;
        assert_eq!(mapped.status, StatusCode::TOO_MANY_REQUESTS, "the same address in other clothes");
        assert_eq!(attempt("192.0.2.2", RIGHT).await.location(), "/");
        site.pass(50);
        assert_eq!(attempt("192.0.2.1", RIGHT).await.location(), "/");
    }

    #[tokio::test]
    async fn the_setup_link_makes_the_first_account_once() {
        let site = Site::new();
        let FirstAccount::NeedsSetup(token) = site.accounts.ensure_first("admin", None).unwrap() else {
            panic!("there is an account");
        };
        let token = token.reveal();
        let form = |token: &str, password: &str, repeat: &str| {
            format!("token={token}&username=admin&password={password}&repeat={repeat}")
        };
        let good = "tide+marks+on+the+quay";
        for (password, repeat, code) in [
            ("", "", "missing"),
            ("short", "short", "short"),
            ("password1234", "password1234", "common"),
            (good, "tide+marks", "repeat"),
            (&"x".repeat(129), &"x".repeat(129), "long"),
        ] {
            let answer = site.post("/setup", &form(&token, password, repeat)).await;
            assert_eq!(answer.location(), format!("/setup?token={token}&error={code}"));
            assert!(login_message(code).is_some());
        }
        let forged = "A".repeat(43);
        let answer = site.post("/setup", &form(&forged, good, good)).await;
        assert_eq!(answer.location(), "/setup?error=link");
        assert_eq!(site.get(&format!("/setup?token={forged}"), "").await.location(), "/setup?error=link");
        assert_eq!(site.get("/setup?error=link", "").await.body, "the set-up page");
        assert_eq!(site.get(&format!("/setup?token={token}"), "").await.body, "the set-up page");
        assert_eq!(site.post("/setup", &form("%0d%0aX:", good, good)).await.location(), "/setup?error=link");
        assert_eq!(site.post("/setup", "").await.location(), "/setup?error=missing");

        let welcome = site.post("/setup", &form(&token, good, good)).await;
        assert_eq!(welcome.location(), "/");
        assert_eq!(site.get("/", &welcome.cookie()).await.body, "admin");
        let again = site.post("/setup", &form(&token, good, good)).await;
        assert_eq!(again.location(), "/setup?error=link");
        assert_eq!(site.get(&format!("/setup?token={token}"), "").await.location(), "/setup?error=link");
        assert_eq!(site.post("/login", RIGHT).await.location(), "/");
    }

    #[test]
    fn a_username_stays_on_its_line_in_the_log() {
        assert_eq!(
            printable("a\nlogged in username=root\u{1b}[2J"),
            "a\u{FFFD}logged in username=root\u{FFFD}[2J"
        );
        assert_eq!(printable(&"x".repeat(1000)).len(), 64);
    }
}
