//! Logging in, out and up to the guard, over a small router.

use crate::domain::accounts::{Account, Accounts};
use crate::domain::accounts::{FirstAccount, SESSION_IDLE};
use crate::domain::audit::Audit;
use crate::domain::state::Store;
use crate::domain::state::secrets::Secrets;
use crate::domain::state::settings;
use crate::model::Stamp;
use crate::model::login_message;
use crate::server::auth::attempts::Attempts;
use crate::server::auth::cookies::COOKIE_NAME;
use crate::server::auth::guard::guard;
use crate::server::auth::routes::{FORM_MAX, routes};
use crate::server::auth::throttle::BURST;
use crate::server::middleware::forwarded;
use crate::server::middleware::forwarded::{ByTls, Proxies};
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::middleware::from_fn_with_state;
use axum::routing::{any, get, post};
use axum::{Extension, Router};
use http::header::{ACCEPT, CONTENT_TYPE, COOKIE, RETRY_AFTER, SET_COOKIE};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt as _;
use rusqlite::Connection;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;
use tempfile::TempDir;
use tower::ServiceExt as _;

const PASSWORD: &str = "tide marks on the quay";
const RIGHT: &str = "username=admin&password=tide+marks+on+the+quay";
const WRONG: &str = "username=admin&password=not+the+password";
const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

struct Site {
    router: Router,
    accounts: Accounts,
    store: Store,
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

    /// The `Cookie` header that the browser sends next.
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
            Accounts::new(store.clone(), secrets, move || Stamp::from_millis(clock.load(Ordering::SeqCst)));
        let clock = Arc::clone(&millis);
        let clock = Arc::new(move || Stamp::from_millis(clock.load(Ordering::SeqCst)));
        let attempts = Attempts::new(accounts.clone(), Audit::new(directory.path(), clock));
        let router = routes(attempts.clone())
            .route("/", get(|Extension(account): Extension<Account>| async { account.username }))
            .route("/login", get(|| async { "the login page" }))
            .route("/setup", get(|| async { "the set-up page" }))
            .route("/healthz", get(|| async { "ok" }))
            .route("/theme", post(|| async { "themed" }))
            .route("/pkg/{*file}", get(|| async { "a static file" }))
            .route("/api/{*function}", any(|| async { "secret" }))
            .fallback(|| async { (StatusCode::NOT_FOUND, "secret") })
            .layer(from_fn_with_state(attempts, guard))
            .layer(from_fn_with_state(Proxies::default(), forwarded::note));
        Self { router, accounts, store, millis, _directory: directory }
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
        let answer = self.router.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await;
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
async fn without_a_session_only_public_addresses_answer() {
    let site = Site::with_account();
    for (path, body) in [("/login", "the login page"), ("/healthz", "ok"), ("/pkg/a.js", "a static file")] {
        assert_eq!(site.get(path, "").await.body, body);
    }
    assert_eq!(site.post("/theme", "").await.body, "themed");
    assert_eq!(site.get("/", "").await.location(), "/login");
    assert_eq!(site.get("/?page=2&q=a%20b", "").await.location(), "/login?next=%2F%3Fpage%3D2%26q%3Da%2520b");
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
async fn programs_get_401_and_browsers_are_redirected_to_the_login() {
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
async fn a_login_starts_a_session_and_a_logout_ends_it() {
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
    assert!(bye.set_cookie().starts_with("holdfast_session=;") && bye.set_cookie().ends_with("Max-Age=0"));
    assert_eq!(bye.headers["clear-site-data"], "\"storage\"");
    assert_eq!(site.get("/", &cookie).await.location(), "/login", "the old cookie is worth nothing");
}

#[tokio::test]
async fn the_cookie_is_secure_if_the_browser_uses_tls() {
    let site = Site::with_account();
    let answer = site.ask(form_post("/login").extension(ByTls), RIGHT).await;
    assert!(answer.set_cookie().starts_with("__Host-holdfast_session="), "{}", answer.set_cookie());
    assert!(answer.set_cookie().ends_with("; HttpOnly; SameSite=Strict; Secure; Path=/; Max-Age=43200"));
    assert_eq!(site.get("/", &answer.cookie()).await.body, "admin");
    let forged = site.ask(form_post("/login").header("x-forwarded-proto", "https"), RIGHT).await;
    assert!(!forged.set_cookie().contains("Secure"), "no proxy is trusted here");
}

#[tokio::test]
async fn a_tampered_or_expired_cookie_is_refused() {
    let site = Site::with_account();
    let cookie = site.post("/login", RIGHT).await.cookie();
    let mut tampered = cookie.clone();
    let last = if tampered.pop() == Some('A') { 'E' } else { 'A' };
    tampered.push(last);
    for bad in [tampered.as_str(), "holdfast_session=", "holdfast_session=x", "Holdfast_Session=x", "=;;="] {
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
async fn a_failed_login_redirects_back_with_the_reason() {
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
async fn a_login_redirects_within_the_site_only() {
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

#[tokio::test]
async fn ten_failures_slow_down_one_address_and_no_other() {
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
    assert!(slow.body.contains(login_message("slow").unwrap()) && slow.body.contains("/login?error=slow"));
    let mapped = attempt("::ffff:192.0.2.1", RIGHT).await;
    assert_eq!(mapped.status, StatusCode::TOO_MANY_REQUESTS, "the same address in other clothes");
    assert_eq!(attempt("192.0.2.2", RIGHT).await.location(), "/");
    site.pass(50);
    assert_eq!(attempt("192.0.2.1", RIGHT).await.location(), "/");
}

#[tokio::test]
async fn the_setup_link_creates_the_first_account_once() {
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

/// Holds the store's lock while `work` runs, at most two seconds. Returns whether it was still held at the end.
async fn with_held_store<T>(site: &Site, work: impl Future<Output = T>) -> (T, bool) {
    let store = site.store.clone();
    let (locked, is_locked) = channel();
    let (finish, told_to_finish) = channel::<()>();
    let was_released = Arc::new(AtomicBool::new(false));
    let marks = Arc::clone(&was_released);
    let holder = std::thread::spawn(move || {
        let hold = |_: &settings::Rows<'_>| {
            locked.send(()).unwrap();
            let _ = told_to_finish.recv_timeout(Duration::from_secs(2));
            marks.store(true, Ordering::SeqCst);
            Ok(())
        };
        settings::read(&store, hold).unwrap();
    });
    is_locked.recv().unwrap();
    let result = work.await;
    let still_held = !was_released.load(Ordering::SeqCst);
    drop(finish);
    holder.join().unwrap();
    (result, still_held)
}

#[tokio::test(flavor = "current_thread")]
async fn a_second_step_that_waits_for_the_store_delays_nobody_else() {
    let site = Site::with_account();
    let state = Connection::open(site.store.path()).unwrap();
    state.execute("UPDATE accounts SET totp = 'sealed'", []).unwrap();
    drop(state);
    let halfway = site.post("/login", RIGHT).await;
    assert_eq!(halfway.location(), "/login?step=code");
    let second = site.ask(form_post("/login").header(COOKIE, halfway.cookie()), "code=123456");
    let first = async {
        tokio::task::yield_now().await;
        site.get("/healthz", "").await
    };
    let work = async {
        tokio::select! {
            biased;
            _ = second => panic!("the second step answered without the store"),
            health = first => health,
        }
    };
    let (health, still_held) = with_held_store(&site, work).await;
    assert_eq!(health.body, "ok");
    assert!(still_held, "the whole runtime waited for the store");
}
