//! The door: lets a request through to the pages only with a session, and hands sessions out.

use crate::model::{AppError, LoginProblem, Stamp};
use crate::vault::accounts::{
    Account, Accounts, SESSION_LIFE, SessionToken, SetupToken, password_problem, username_problem,
};
use crate::vault::{Result, VaultError};
use axum::extract::{ConnectInfo, DefaultBodyLimit, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::post;
use axum::{Extension, Json, Router};
use axum_extra::extract::{CookieJar, Form, FormRejection};
use http::header::{ACCEPT, CONTENT_TYPE, COOKIE, RETRY_AFTER, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The session cookie's name.
pub const COOKIE_NAME: &str = "holdfast_session";

/// Failures within [`WINDOW`] after which an address has to wait.
const FAILURES: usize = 10;
/// Seconds.
const WINDOW: u64 = 60;
/// Addresses remembered at most, so that nobody fills the memory with them.
const ADDRESSES: usize = 10_000;
/// Bytes of a login or set-up form.
const FORM_MAX: usize = 16 * 1024;
/// More of a `next` than this is not followed.
const NEXT_MAX: usize = 2000;

/// Everything but RFC 3986's unreserved characters.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What a request needs to be let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing.
    Public,
    /// A session.
    Session,
}

/// What a request with this method and path needs. Whatever is not named here needs a session, also what
/// no route answers.
pub fn access(method: &Method, path: &str) -> Access {
    let reads = method == Method::GET || method == Method::HEAD;
    let posts = method == Method::POST;
    let public = match path {
        "/login" | "/setup" => reads || posts,
        "/healthz" | "/favicon.svg" | "/robots.txt" => reads,
        "/theme" => posts,
        _ => reads && path.strip_prefix("/pkg/").is_some_and(is_plain),
    };
    if public { Access::Public } else { Access::Session }
}

/// Middleware over the whole router, fallback included: with a session, the [`Account`] goes along as a
/// request extension; without one, only what [`access`] calls public passes.
pub async fn guard(State(accounts): State<Accounts>, mut request: Request, next: Next) -> Response {
    if access(request.method(), request.uri().path()) == Access::Public {
        return next.run(request).await;
    }
    match account_of(&accounts, request.headers()).await {
        Ok(Some(account)) => {
            request.extensions_mut().insert(account);
            next.run(request).await
        }
        Ok(None) => turn_away(&request),
        Err(error) => {
            tracing::error!(%error, "a session could not be looked up");
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            plain_answer(request.headers(), status, LoginProblem::Failed)
        }
    }
}

/// What [`routes`] answers.
pub const PATHS: [&str; 3] = ["/login", "/setup", "/logout"];

/// `POST /login`, `POST /setup` and `POST /logout`, to be merged with the pages and put behind [`guard`].
/// Failures are counted by the peer's address, where the server puts `ConnectInfo<SocketAddr>` into the
/// request; behind a proxy all its clients count as one.
pub fn routes<S: Clone + Send + Sync + 'static>(accounts: Accounts) -> Router<S> {
    Router::new()
        .route("/login", post(log_in))
        .route("/setup", post(set_up))
        .route("/logout", post(log_out))
        .layer(DefaultBodyLimit::max(FORM_MAX))
        .with_state(Door { accounts, throttle: Arc::default() })
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

#[derive(Clone)]
struct Door {
    accounts: Accounts,
    throttle: Arc<Throttle>,
}

/// Edge-only, without `Debug`: the passwords become [`SecretString`]s at the doorway.
#[derive(Deserialize)]
struct LoginForm {
    username: Option<String>,
    password: Option<String>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct SetupForm {
    token: Option<String>,
    username: Option<String>,
    password: Option<String>,
    repeat: Option<String>,
}

type Peer = Option<Extension<ConnectInfo<SocketAddr>>>;

async fn log_in(
    State(door): State<Door>,
    peer: Peer,
    headers: HeaderMap,
    form: Result<Form<LoginForm>, FormRejection>,
) -> Response {
    let Ok(Form(form)) = form else {
        return back_to_login(LoginProblem::Missing, None);
    };
    let next = form.next.as_deref().and_then(local_path).map(str::to_owned);
    let (Some(username), Some(password)) = (filled(form.username), filled(form.password)) else {
        return back_to_login(LoginProblem::Missing, next.as_deref());
    };
    let password = SecretString::from(password);
    let shown = printable(&username);
    let peer = peer.map(|Extension(ConnectInfo(address))| address.ip());
    let key = peer.map(network);
    let now = door.accounts.now();
    if let Err(seconds) = door.throttle.enter(key, now) {
        tracing::info!(username = shown, ?peer, "login refused: too many failures from this address");
        let mut answer = plain_answer(&headers, StatusCode::TOO_MANY_REQUESTS, LoginProblem::Slow);
        answer.headers_mut().insert(RETRY_AFTER, seconds.into());
        return answer;
    }
    let accounts = door.accounts.clone();
    let old = token_in(&headers);
    let outcome = blocking(move || {
        let token = accounts.log_in(&username, &password)?;
        // The browser's earlier session would live on unseen.
        if let Some(old) = old {
            accounts.log_out(&old)?;
        }
        Ok(token)
    })
    .await;
    if !matches!(outcome, Err(VaultError::Denied(_))) {
        door.throttle.forgive(key, now);
    }
    match outcome {
        Ok(token) => {
            tracing::info!(username = shown, ?peer, "logged in");
            with_cookie(Redirect::to(next.as_deref().unwrap_or("/")), &token, &headers)
        }
        Err(VaultError::Denied(_)) => {
            tracing::info!(username = shown, ?peer, "login failed");
            back_to_login(LoginProblem::Wrong, next.as_deref())
        }
        Err(VaultError::Refused(_)) => busy(&headers),
        Err(error) => {
            tracing::error!(%error, "a login could not be looked at");
            back_to_login(LoginProblem::Failed, next.as_deref())
        }
    }
}

async fn set_up(
    State(door): State<Door>,
    headers: HeaderMap,
    form: Result<Form<SetupForm>, FormRejection>,
) -> Response {
    let Ok(Form(form)) = form else {
        return back_to_setup(LoginProblem::Missing, "");
    };
    let link = form.token.unwrap_or_default();
    let (Some(username), Some(password), Some(repeat)) =
        (filled(form.username), filled(form.password), filled(form.repeat))
    else {
        return back_to_setup(LoginProblem::Missing, &link);
    };
    let (password, repeat) = (SecretString::from(password), SecretString::from(repeat));
    let Some(token) = SetupToken::parse(&link).filter(|token| door.accounts.admits(token)) else {
        tracing::info!("set-up refused: the link does not work");
        return back_to_setup(LoginProblem::Link, &link);
    };
    let differ = (password.expose_secret() != repeat.expose_secret()).then_some(LoginProblem::Repeat);
    let problem = username_problem(&username).or_else(|| password_problem(&password)).or(differ);
    if let Some(problem) = problem {
        return back_to_setup(problem, &link);
    }
    let shown = printable(&username);
    let accounts = door.accounts.clone();
    match blocking(move || accounts.set_up(&token, &username, &password)).await {
        Ok(session) => {
            tracing::info!(
                username = shown,
                "the first account was made by the set-up link, and is logged in"
            );
            with_cookie(Redirect::to("/"), &session, &headers)
        }
        Err(VaultError::Denied(_)) => back_to_setup(LoginProblem::Link, &link),
        Err(VaultError::Refused(_)) => busy(&headers),
        Err(error) => {
            tracing::error!(%error, "the first account could not be made");
            back_to_setup(LoginProblem::Failed, &link)
        }
    }
}

async fn log_out(
    State(door): State<Door>,
    account: Option<Extension<Account>>,
    headers: HeaderMap,
) -> Response {
    if let Some(token) = token_in(&headers)
        && let Err(error) = blocking(move || door.accounts.log_out(&token)).await
    {
        // Saying goodbye while the session lives on would be a lie.
        tracing::error!(%error, "a session could not be ended");
        return plain_answer(&headers, StatusCode::INTERNAL_SERVER_ERROR, LoginProblem::Failed);
    }
    let username = account.map(|Extension(account)| printable(&account.username));
    tracing::info!(username, "logged out");
    let gone = format!("{COOKIE_NAME}=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0");
    let mut answer = Redirect::to("/login").into_response();
    answer.headers_mut().insert(SET_COOKIE, sensitive(gone));
    // Not "cache": Chromium takes seconds to clear it, and nothing of ours but the hashed files is cached.
    let site_data = HeaderName::from_static("clear-site-data");
    answer.headers_mut().insert(site_data, HeaderValue::from_static("\"storage\""));
    answer
}

async fn account_of(accounts: &Accounts, headers: &HeaderMap) -> Result<Option<Account>> {
    let Some(token) = token_in(headers) else { return Ok(None) };
    let accounts = accounts.clone();
    blocking(move || accounts.session(&token)).await
}

fn token_in(headers: &HeaderMap) -> Option<SessionToken> {
    headers
        .contains_key(COOKIE)
        .then(|| CookieJar::from_headers(headers))?
        .get(COOKIE_NAME)
        .and_then(|cookie| SessionToken::parse(cookie.value()))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(VaultError::Lost))
}

/// A person is shown the way to the login; a program is told.
fn turn_away(request: &Request) -> Response {
    let accepted = Accepted::of(request.headers());
    let called = request.uri().path().starts_with("/api/") && !accepted.html;
    if called || accepted.json_only() {
        return told(StatusCode::UNAUTHORIZED, &AppError::Unauthenticated);
    }
    let asked = request.uri().path_and_query().map_or("/", |asked| asked.as_str());
    let page = request.method() == Method::GET && asked != "/";
    let next = if page { local_path(asked) } else { None };
    Redirect::to(&next.map_or("/login".to_owned(), |next| format!("/login?next={}", encoded(next))))
        .into_response()
}

fn back_to_login(problem: LoginProblem, next: Option<&str>) -> Response {
    let next = next.map_or(String::new(), |next| format!("&next={}", encoded(next)));
    Redirect::to(&format!("/login?error={}{next}", problem.code())).into_response()
}

fn back_to_setup(problem: LoginProblem, link: &str) -> Response {
    let kept = SetupToken::parse(link).map_or(String::new(), |token| format!("token={}&", token.reveal()));
    Redirect::to(&format!("/setup?{kept}error={}", problem.code())).into_response()
}

fn busy(headers: &HeaderMap) -> Response {
    let mut answer = plain_answer(headers, StatusCode::SERVICE_UNAVAILABLE, LoginProblem::Busy);
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
    answer
}

/// For the statuses that a redirect cannot have: the sentence, on a page with nothing else on it.
fn plain_answer(headers: &HeaderMap, status: StatusCode, problem: LoginProblem) -> Response {
    let (sentence, code) = (problem.message(), problem.code());
    if Accepted::of(headers).json_only() {
        return told(status, &AppError::Failed(sentence.to_owned()));
    }
    let page = format!(
        "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Log in · Holdfast</title></head>\
         <body><h1>Holdfast</h1><p role=\"alert\">{sentence}</p>\
         <p><a href=\"/login?error={code}\">Back to the login</a></p></body></html>"
    );
    (status, [(CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response()
}

/// An error the page's own calls can read, too.
fn told(status: StatusCode, error: &AppError) -> Response {
    (status, Json(error)).into_response()
}

/// `Secure` only where a proxy says that the browser came by TLS: over plain HTTP the browser would drop
/// the cookie. A client that makes the header up hurts itself alone.
fn with_cookie(redirect: Redirect, token: &SessionToken, headers: &HeaderMap) -> Response {
    let tls =
        headers.get("x-forwarded-proto").is_some_and(|proto| proto.as_bytes().eq_ignore_ascii_case(b"https"));
    let secure = if tls { "; Secure" } else { "" };
    let cookie = format!(
        "{COOKIE_NAME}={}; HttpOnly; SameSite=Strict; Path=/; Max-Age={SESSION_LIFE}{secure}",
        token.reveal()
    );
    let mut answer = redirect.into_response();
    answer.headers_mut().insert(SET_COOKIE, sensitive(cookie));
    answer
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

/// The path of a static file as the build makes them, so that none can be taken for another.
fn is_plain(path: &str) -> bool {
    let segment = |text: &str| {
        !text.is_empty()
            && !text.starts_with('.')
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
    };
    path.split('/').all(segment)
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

/// Counts failed logins by address. An attempt counts from its beginning, so that many at once do not slip
/// through, and is forgiven when it turns out to be no failure.
#[derive(Default)]
struct Throttle(Mutex<HashMap<Option<IpAddr>, VecDeque<Stamp>>>);

impl Throttle {
    /// Admits an attempt, or says how many seconds to wait.
    fn enter(&self, address: Option<IpAddr>, now: Stamp) -> Result<(), u64> {
        let mut attempts = self.attempts();
        if attempts.len() >= ADDRESSES && !attempts.contains_key(&address) {
            // Whoever comes from that many addresses gets one more guess; nobody else is kept waiting for it.
            let stalest = attempts.iter().min_by_key(|(_, times)| times.back().copied()).map(|(&key, _)| key);
            stalest.and_then(|key| attempts.remove(&key));
        }
        let times = attempts.entry(address).or_default();
        // A time still to come is left from before the clock was set back.
        times.retain(|&time| time <= now && now.seconds_since(time) < WINDOW);
        match times.front() {
            Some(&first) if times.len() >= FAILURES => Err((WINDOW - now.seconds_since(first)).max(1)),
            _ => {
                times.push_back(now);
                Ok(())
            }
        }
    }

    /// Takes back the attempt begun at `then`.
    fn forgive(&self, address: Option<IpAddr>, then: Stamp) {
        let mut attempts = self.attempts();
        let Some(times) = attempts.get_mut(&address) else { return };
        if let Some(at) = times.iter().position(|&time| time == then) {
            times.remove(at);
        }
        if times.is_empty() {
            attempts.remove(&address);
        }
    }

    fn attempts(&self) -> MutexGuard<'_, HashMap<Option<IpAddr>, VecDeque<Stamp>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What counts as one client: an IPv4 address, or the /64 that an IPv6 client has to itself.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::login_message;
    use crate::vault::accounts::{FirstAccount, SESSION_IDLE};
    use crate::vault::store::Store;
    use axum::body::Body;
    use axum::middleware::from_fn_with_state;
    use axum::routing::{any, get};
    use http_body_util::BodyExt as _;
    use proptest::prelude::*;
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
            let accounts = Accounts::new(store, move || Stamp::from_millis(clock.load(Ordering::SeqCst)));
            let router = routes(accounts.clone())
                .route("/", get(|Extension(account): Extension<Account>| async { account.username }))
                .route("/login", get(|| async { "the login page" }))
                .route("/setup", get(|| async { "the set-up page" }))
                .route("/healthz", get(|| async { "ok" }))
                .route("/theme", post(|| async { "themed" }))
                .route("/pkg/{*file}", get(|| async { "a static file" }))
                .route("/api/{*function}", any(|| async { "secret" }))
                .fallback(|| async { (StatusCode::NOT_FOUND, "secret") })
                .layer(from_fn_with_state(accounts.clone(), guard));
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

    #[test]
    fn only_the_named_is_public() {
        let public = [
            ("GET", "/login"),
            ("HEAD", "/login"),
            ("POST", "/login"),
            ("GET", "/setup"),
            ("POST", "/setup"),
            ("GET", "/healthz"),
            ("GET", "/favicon.svg"),
            ("GET", "/robots.txt"),
            ("GET", "/pkg/holdfast.0a1b-2_c.wasm"),
            ("GET", "/pkg/fonts/a.woff2"),
            ("POST", "/theme"),
        ];
        for (method, path) in public {
            assert_eq!(access(&method.parse().unwrap(), path), Access::Public, "{method} {path}");
        }
        let closed = [
            ("GET", "/"),
            ("POST", "/"),
            ("GET", ""),
            ("GET", "*"),
            ("DELETE", "/login"),
            ("GET", "/login/"),
            ("GET", "//login"),
            ("GET", "/Login"),
            ("GET", "/%6cogin"),
            ("GET", "/login;x"),
            ("POST", "/healthz"),
            ("GET", "/theme"),
            ("POST", "/logout"),
            ("GET", "/pkg"),
            ("GET", "/pkg/"),
            ("POST", "/pkg/a.js"),
            ("GET", "/pkg/../backups/x"),
            ("GET", "/pkg/%2e%2e/backups/x"),
            ("GET", "/pkg/a//b"),
            ("GET", "/pkg/.hidden"),
            ("GET", "/pkg/a\\b"),
            ("GET", "/api/create_backup"),
            ("GET", "/backups/x"),
        ];
        for (method, path) in closed {
            assert_eq!(access(&method.parse().unwrap(), path), Access::Session, "{method} {path}");
        }
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
        let answer = site.ask(form_post("/login").header("x-forwarded-proto", "https"), RIGHT).await;
        assert!(answer.set_cookie().ends_with("; Secure"));
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
        assert_eq!(site.post("/login", &huge).await.location(), "/login?error=missing");
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
        for _ in 0..FAILURES {
            assert_eq!(attempt("192.0.2.1", WRONG).await.location(), "/login?error=wrong");
            site.pass(1);
        }
        let slow = attempt("192.0.2.1", RIGHT).await;
        assert_eq!(slow.status, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(slow.headers[RETRY_AFTER], "50");
        assert!(
            slow.body.contains(login_message("slow").unwrap()) && slow.body.contains("/login?error=slow")
        );
        let mapped = attempt("::ffff:192.0.2.1", RIGHT).await;
        assert_eq!(mapped.status, StatusCode::TOO_MANY_REQUESTS, "the same address in other clothes");
        assert_eq!(attempt("192.0.2.2", RIGHT).await.location(), "/");
        site.pass(50);
        assert_eq!(attempt("192.0.2.1", RIGHT).await.location(), "/");
    }

    #[test]
    fn successes_do_not_count_and_many_addresses_lock_out_nobody() {
        let throttle = Throttle::default();
        let now = Stamp::from_millis(1_000_000);
        let one = Some(network("2001:db8::1".parse().unwrap()));
        assert_eq!(one, Some(network("2001:db8::ffff:2".parse().unwrap())), "one client has a whole /64");
        for _ in 0..3 * FAILURES {
            throttle.enter(one, now).unwrap();
            throttle.forgive(one, now);
        }
        assert!(throttle.attempts().is_empty());
        for i in 0..ADDRESSES {
            throttle.enter(Some(Ipv6Addr::from_bits((i as u128) << 64).into()), now).unwrap();
        }
        assert_eq!(throttle.enter(one, now), Ok(()));
        assert_eq!(throttle.attempts().len(), ADDRESSES);
        for _ in 1..FAILURES {
            throttle.enter(one, now).unwrap();
        }
        assert_eq!(throttle.enter(one, now), Err(WINDOW));
        let set_back = Stamp::from_millis(0);
        assert_eq!(throttle.enter(one, set_back), Ok(()), "a clock set back locks out nobody");
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
        assert_eq!(answer.location(), format!("/setup?token={forged}&error=link"));
        assert_eq!(site.post("/setup", &form("%0d%0aX:", good, good)).await.location(), "/setup?error=link");
        assert_eq!(site.post("/setup", "").await.location(), "/setup?error=missing");

        let welcome = site.post("/setup", &form(&token, good, good)).await;
        assert_eq!(welcome.location(), "/");
        assert_eq!(site.get("/", &welcome.cookie()).await.body, "admin");
        let again = site.post("/setup", &form(&token, good, good)).await;
        assert_eq!(again.location(), format!("/setup?token={token}&error=link"));
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
