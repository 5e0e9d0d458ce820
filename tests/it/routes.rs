//! Every address, from outside: what is closed stays closed, what comes from another site changes nothing,
//! and every answer says what the browser may do with it.

#![expect(clippy::unwrap_used, reason = "tests")]

use crate::support::desk::{ACCOUNT, Answer, BROWSER, Desk, FORM, JSON};
use Policy::{Closed, Page, Paper, Words};
use Right::{Administer, Download, Operate, Own, View};
use axum::body::Body;
use axum::routing::get;
use axum::{Extension, Router};
use holdfast::domain::accounts::{Device, SESSION_IDLE, SESSION_LIFE};
use holdfast::model::Right;
use holdfast::server::auth::cookies::COOKIE_NAME;
use holdfast::server::middleware::forwarded::ByTls;
use holdfast::server::router::{Front, addresses, within};
use holdfast::server::routes::assets;
use holdfast::server::state::{AppState, DOWNLOADS};
use http::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, COOKIE, HOST, HeaderName, HeaderValue, ORIGIN, RANGE, REFERER,
    SET_COOKIE,
};
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use std::collections::{BTreeMap, BTreeSet};
use tower::ServiceExt as _;

/// Every address and the right it needs, if any. A route that is not here fails a test, so that nobody adds one without
/// deciding.
pub const ADDRESSES: [(&str, Option<Right>); 68] = [
    ("/csp-report", None),
    ("/", Some(View)),
    ("/account", Some(Own)),
    ("/account/password", Some(Own)),
    ("/account/second-factor", Some(Own)),
    ("/account/second-factor/confirm", Some(Own)),
    ("/account/second-factor/off", Some(Own)),
    ("/account/sessions/end", Some(Own)),
    ("/account/tokens", Some(Own)),
    ("/account/tokens/revoke", Some(Own)),
    ("/activity", Some(View)),
    ("/api/adopt_backups", Some(Operate)),
    ("/api/approve_host_key", Some(Administer)),
    ("/api/backups/{file}", Some(View)),
    ("/api/bundle_backups", Some(Download)),
    ("/api/cancel_job", Some(Operate)),
    ("/api/create_backup", Some(Operate)),
    ("/api/databases", Some(View)),
    ("/api/delete_backups", Some(Operate)),
    ("/api/delete_remote", Some(Operate)),
    ("/api/fetch_backups", Some(Operate)),
    ("/api/generate_sftp_key", Some(Administer)),
    ("/api/job_history", Some(View)),
    ("/api/matching_backups", Some(View)),
    ("/api/named_backups", Some(View)),
    ("/api/plan_restore", Some(Administer)),
    ("/api/read_backups", Some(View)),
    ("/api/read_page", Some(Own)),
    ("/api/remote_backups", Some(View)),
    ("/api/reset_sftp", Some(Administer)),
    ("/api/save_sftp", Some(Administer)),
    ("/api/sftp_settings", Some(Administer)),
    ("/api/start_restore", Some(Administer)),
    ("/api/test_sftp", Some(Administer)),
    ("/api/trust_host_key", Some(Administer)),
    ("/api/try_database", Some(Operate)),
    ("/api/upload_backups", Some(Operate)),
    ("/api/verify_backups", Some(Operate)),
    ("/archives", Some(Download)),
    ("/archives/{id}/{file}", Some(Download)),
    ("/backups/{file}", Some(Download)),
    ("/confirm", Some(Own)),
    ("/databases", Some(View)),
    ("/delete", Some(Operate)),
    ("/events", Some(View)),
    ("/favicon.svg", None),
    ("/healthz", None),
    ("/import", Some(Operate)),
    ("/imports", Some(Operate)),
    ("/login", None),
    ("/logout", Some(Own)),
    ("/pkg/{file}", None),
    ("/remote", Some(View)),
    ("/restore", Some(View)),
    ("/robots.txt", None),
    ("/settings/sftp", Some(Administer)),
    ("/settings/sftp/reset", Some(Administer)),
    ("/setup", None),
    ("/theme", None),
    ("/audit", Some(Administer)),
    ("/audit.jsonl", Some(Administer)),
    ("/users", Some(Administer)),
    ("/users/add", Some(Administer)),
    ("/users/change", Some(Administer)),
    ("/users/delete", Some(Administer)),
    ("/users/password", Some(Administer)),
    ("/users/second-factor/off", Some(Administer)),
    ("/users/sessions/end", Some(Administer)),
];

/// Everything that is answered without a session, method by method.
const OPEN: [(&str, &[&str]); 8] = [
    ("/login", &["GET", "HEAD", "POST"]),
    ("/setup", &["GET", "HEAD", "POST"]),
    ("/healthz", &["GET", "HEAD"]),
    ("/pkg/holdfast.js", &["GET", "HEAD"]),
    ("/favicon.svg", &["GET", "HEAD"]),
    ("/robots.txt", &["GET", "HEAD"]),
    ("/csp-report", &["POST"]),
    ("/theme", &["POST"]),
];

/// The server functions that change something or make others work. All others only read.
pub const CHANGING_FUNCTIONS: [&str; 18] = [
    "/api/adopt_backups",
    "/api/approve_host_key",
    "/api/bundle_backups",
    "/api/cancel_job",
    "/api/create_backup",
    "/api/delete_backups",
    "/api/delete_remote",
    "/api/fetch_backups",
    "/api/generate_sftp_key",
    "/api/plan_restore",
    "/api/reset_sftp",
    "/api/save_sftp",
    "/api/start_restore",
    "/api/test_sftp",
    "/api/trust_host_key",
    "/api/try_database",
    "/api/upload_backups",
    "/api/verify_backups",
];

/// What is posted to change something: address, form, what the answer's status is when it did.
const CHANGING: [(&str, &str, u16); 6] = [
    ("/login", "username=admin&password=tide+marks+on+the+quay", 303),
    ("/theme", "", 303),
    ("/api/create_backup", "database=ledger", 200),
    ("/api/cancel_job", "id=1", 200),
    ("/api/delete_backups", DELETION, 200),
    ("/logout", "", 303),
];

const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"];

/// A file that is there, and whose name is in no answer to a stranger.
const SECRET: &str = "backup_ledger_2026-11-22_00-00-00Z.dump.gz";

/// A form that asks for [`SECRET`] to be deleted.
const DELETION: &str = "names[]=backup_ledger_2026-11-22_00-00-00Z.dump.gz";

/// The fields of every form that changes something.
const CHANGES: &str = "database=ledger&id=1&file=backup_ledger_2026-11-22_00-00-00Z.dump.gz&plan=1&names[]=backup_ledger_2026-11-22_00-00-00Z.dump.gz";

/// An archive's, as they look.
const ID: &str = "0123456789abcdef0123456789abcdef";

/// The addresses to knock at: each as it is routed, and those of [`OPEN`].
fn doors() -> BTreeSet<String> {
    let routed = addresses().into_iter().map(|address| match address.as_str() {
        "/pkg/{file}" => "/pkg/holdfast.js".to_owned(),
        other => other.replace("{file}", SECRET).replace("{id}", ID),
    });
    let nowhere = ["/no/such/page", "/api/no_such_function", "/backups/x", "/LOGIN", "/login/", "//login"];
    routed.chain(OPEN.map(|(path, _)| path.to_owned())).chain(nowhere.map(str::to_owned)).collect()
}

fn is_open(method: &str, path: &str) -> bool {
    OPEN.iter().any(|(open, methods)| *open == path && methods.contains(&method))
}

#[test]
fn every_address_is_classified() {
    let classified: BTreeMap<_, _> = ADDRESSES.into_iter().collect();
    let there: BTreeSet<_> = addresses().into_iter().collect();
    let known: BTreeSet<_> = classified.keys().map(|address| (*address).to_owned()).collect();
    let unclassified: Vec<_> = there.difference(&known).collect();
    assert!(unclassified.is_empty(), "decide what these need, and say so in ADDRESSES: {unclassified:?}");
    let gone: Vec<_> = known.difference(&there).collect();
    assert!(gone.is_empty(), "no longer there: {gone:?}");
    for (open, _) in OPEN {
        let class = classified.get(open).copied().flatten();
        assert_eq!(class, None, "{open} is open and classified as closed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_session_nothing_but_the_named_is_answered() {
    let desk = Desk::new();
    desk.put(SECRET, 10, 60);
    let admitted = desk.holdfast.accounts().log_in(ACCOUNT.0, &ACCOUNT.1.into(), &Device::default()).unwrap();
    let ended = admitted.session().unwrap();
    let ended_cookie = format!("{COOKIE_NAME}={}", ended.reveal());
    assert!(desk.holdfast.accounts().session(&ended).unwrap().is_some());
    desk.holdfast.accounts().log_out(&ended).unwrap();
    let mut tampered = desk.cookie.clone();
    let last = if tampered.pop() == Some('A') { 'E' } else { 'A' };
    tampered.push(last);
    let strangers = [
        ("no cookie", String::new()),
        ("a tampered cookie", tampered),
        ("an ended session", ended_cookie),
        ("an empty cookie", format!("{COOKIE_NAME}=")),
    ];
    for (who, cookie) in &strangers {
        knock(&desk, who, cookie).await;
    }
    assert_eq!(desk.page("/").await.status, StatusCode::OK, "the reader is still let in");
    const { assert!(SESSION_IDLE < SESSION_LIFE) };
    desk.pass(SESSION_IDLE);
    knock(&desk, "an expired session", &desk.cookie).await;
}

async fn knock(desk: &Desk, who: &str, cookie: &str) {
    let mut answered = 0;
    for path in doors() {
        for method in METHODS {
            for accept in [BROWSER, JSON] {
                let request = Request::builder()
                    .method(method)
                    .uri(&path)
                    .header(HOST, "holdfast.test")
                    .header(ACCEPT, accept)
                    .header(COOKIE, cookie)
                    .header(CONTENT_TYPE, FORM);
                let answer = desk.send(request, CHANGES).await;
                let what = format!("{method} {path} with {who}, accepting {accept}: {}", answer.status);
                let to_login = answer.location() == "/login" || answer.location().starts_with("/login?next=");
                let turned_away = match answer.status {
                    StatusCode::SEE_OTHER => to_login && !answer.location().contains("error="),
                    StatusCode::UNAUTHORIZED => !answer.headers.contains_key(SET_COOKIE),
                    _ => false,
                };
                if is_open(method, &path) {
                    answered += 1;
                    assert!(!turned_away, "{what}");
                    assert_ne!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{what}");
                } else {
                    assert!(turned_away, "{what}, {}", answer.body);
                    assert!(!answer.body.contains(SECRET), "{what}");
                }
            }
        }
    }
    assert_eq!(answered, 2 * OPEN.iter().map(|(_, methods)| methods.len()).sum::<usize>());
    assert_eq!(desk.holdfast.jobs().history().unwrap(), [], "{who} began something");
    assert!(desk.backup(SECRET).exists(), "{who} deleted something");
}

/// As `CONNECT host:443` and `OPTIONS *` do; pages cannot be rendered for them.
#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_no_path_is_refused() {
    let desk = Desk::new();
    for target in ["host.test:443", "host", "*"] {
        let request = desk.request("OPTIONS", target);
        let answer = desk.send(request, "").await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{target}: {}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_root_only_the_named_files_are_to_be_had() {
    let desk = Desk::new();
    desk.put(SECRET, 10, 60);
    for name in [SECRET, "holdfast.db", "manifest.json", "Cargo.toml", "..%2f..%2fetc%2fpasswd", ".env"] {
        assert_eq!(desk.page(&format!("/{name}")).await.status, StatusCode::NOT_FOUND, "{name}");
        let below = desk.page(&format!("/pkg/{name}")).await;
        assert_eq!(below.status, StatusCode::NOT_FOUND, "pkg/{name}");
    }
}

/// What a browser says of a request that another site made.
const FOREIGN: [(&str, &[(&str, &str)]); 7] = [
    ("another site", &[("sec-fetch-site", "cross-site")]),
    ("a sibling site", &[("sec-fetch-site", "same-site")]),
    ("another site, with an origin", &[("sec-fetch-site", "cross-site"), ("origin", "http://holdfast.test")]),
    ("a foreign origin", &[("origin", "https://evil.example")]),
    ("an origin that hides", &[("origin", "null")]),
    ("another port", &[("origin", "http://holdfast.test:8080")]),
    ("a lookalike", &[("origin", "http://holdfast.test.evil.example")]),
];

#[tokio::test(flavor = "multi_thread")]
async fn nothing_changes_at_the_word_of_another_site() {
    let desk = Desk::new();
    desk.put(SECRET, 10, 60);
    let paths: BTreeSet<_> =
        addresses().iter().map(|address| address.replace("{file}", SECRET).replace("{id}", ID)).collect();
    for (who, headers) in FOREIGN {
        for path in &paths {
            for (method, kind, body) in [
                ("POST", FORM, CHANGES),
                ("POST", "text/plain", CHANGES),
                ("POST", "multipart/form-data; boundary=x", "--x--"),
                ("PUT", FORM, ""),
                ("DELETE", FORM, ""),
                ("PATCH", FORM, ""),
            ] {
                let mut request =
                    desk.request(method, path).header(ACCEPT, BROWSER).header(CONTENT_TYPE, kind);
                for (name, value) in headers {
                    request = request.header(*name, *value);
                }
                let answer = desk.send(request, body).await;
                let what = format!("{method} {path} as {kind} from {who}");
                assert_eq!(answer.status, StatusCode::FORBIDDEN, "{what}");
                assert!(!answer.headers.contains_key(SET_COOKIE), "{what}");
            }
        }
    }
    assert_eq!(desk.holdfast.jobs().history().unwrap(), []);
    assert!(desk.backup(SECRET).exists());
    assert_eq!(desk.page("/").await.status, StatusCode::OK, "the reader was logged out");
}

/// The control of the test above: the same requests do change something when they are the reader's own.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_reader_posts_is_done() {
    let own: [(&str, &[(&str, &str)]); 3] = [
        ("a browser", &[("sec-fetch-site", "same-origin"), ("origin", "http://holdfast.test")]),
        ("an older browser", &[("origin", "http://holdfast.test")]),
        ("a script", &[]),
    ];
    for (who, headers) in own {
        let desk = Desk::new();
        desk.put(SECRET, 10, 60);
        for (path, form, status) in CHANGING {
            let mut request = desk.request("POST", path).header(ACCEPT, JSON).header(CONTENT_TYPE, FORM);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            if path == "/api/cancel_job" {
                // Ended by then, so that there is nothing to cancel.
                desk.holdfast.jobs().all_ended().await;
            }
            // A login ends the session it comes with, which is still needed.
            if path == "/login" {
                request.headers_mut().unwrap().remove(COOKIE);
            }
            let answer = desk.send(request, form).await;
            assert_eq!(answer.status.as_u16(), status, "{path} from {who}: {}", answer.body);
        }
        assert_eq!(desk.holdfast.jobs().history().unwrap().len(), 1, "{who}");
        assert!(!desk.backup(SECRET).exists(), "{who}");
        assert_eq!(desk.page("/").await.location(), "/login", "{who} is logged out");
    }
}

#[test]
fn functions_that_change_something_are_posted() {
    let functions: BTreeMap<_, _> = leptos::server_fn::axum::server_fn_paths().collect();
    assert!(functions.len() >= 6, "{functions:?}");
    for (path, method) in &functions {
        let right = if CHANGING_FUNCTIONS.contains(path) { Method::POST } else { Method::GET };
        assert_eq!(*method, right, "{path}");
    }
    for path in CHANGING_FUNCTIONS {
        assert!(functions.contains_key(path), "{path} is gone");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_changes_nothing() {
    let desk = Desk::new();
    desk.put(SECRET, 10, 60);
    for (path, form, _) in CHANGING {
        for method in ["GET", "HEAD"] {
            for url in [format!("{path}?{form}"), format!("{path}?{form}&_method=POST")] {
                let request = desk
                    .request(method, &url)
                    .header(ACCEPT, BROWSER)
                    .header("x-http-method-override", "POST")
                    .header(REFERER, "http://holdfast.test/");
                let answer = desk.send(request, form).await;
                assert!(!answer.headers.contains_key(SET_COOKIE), "{method} {url}");
            }
        }
    }
    assert_eq!(desk.holdfast.jobs().history().unwrap(), []);
    assert!(desk.backup(SECRET).exists());
    assert_eq!(desk.page("/").await.status, StatusCode::OK, "the reader was logged out");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_referer_leads_away_from_the_site() {
    let desk = Desk::new();
    for referer in [
        "https://evil.example/",
        "https://evil.example//evil.example/x",
        "https://evil.example/\\evil.example",
        "https://evil.example/?next=//evil.example",
        "javascript:alert(1)",
        "data:text/html,x",
        "//evil.example",
    ] {
        for (path, form) in
            [("/theme", ""), ("/api/create_backup", "database=ledger"), ("/archives", "names[]=x&format=zip")]
        {
            let request = desk.request("POST", path).header(ACCEPT, BROWSER).header(CONTENT_TYPE, FORM);
            let answer = desk.send(request.header(REFERER, referer), form).await;
            desk.holdfast.jobs().all_ended().await;
            assert!(answer.status.is_redirection(), "{path}: {} {}", answer.status, answer.body);
            let from = url::Url::parse("http://holdfast.test/here").unwrap();
            let to = from.join(answer.location()).unwrap();
            assert_eq!(to.origin(), from.origin(), "{path} from {referer} leads to {to}");
        }
    }
}

/// What a browser may do with an answer.
#[derive(Debug, Clone, Copy)]
pub enum Policy {
    /// A page of ours, its scripts by their nonce.
    Page,
    /// A page without scripts.
    Words,
    /// A page that shows something once.
    Paper,
    /// Nothing.
    Closed,
}

/// One of each kind of answer: what it is, its status, its policy, and the headers it has of its own.
type Kinds = Vec<(&'static str, u16, Policy, &'static str, Answer)>;

const TEXT: &str = "content-type content-length";
const FILE: &str = "content-type content-length accept-ranges etag last-modified content-disposition";
const PART: &str =
    "content-type content-length accept-ranges etag last-modified content-disposition content-range";
const NO_PART: &str = "content-length accept-ranges etag last-modified content-range";
const FAILED: &str = "content-type content-length serverfnerror";

async fn answers(desk: &Desk) -> Kinds {
    desk.put(SECRET, 10, 60);
    let stranger = |method: &'static str, path: &'static str, accept: &'static str| {
        let request = Request::builder().method(method).uri(path).header(HOST, "holdfast.test");
        desk.send(request.header(ACCEPT, accept), "")
    };
    let ranged = |range| desk.request("GET", &format!("/backups/{SECRET}")).header(RANGE, range);
    let report = |kind| desk.request("POST", "/csp-report").header(CONTENT_TYPE, kind);
    let (foreign, known) = (desk.request("POST", "/logout").header(ORIGIN, "null"), "application/csp-report");
    let violation = r#"{"csp-report":{"blocked-uri":"inline"}}"#;
    vec![
        ("page", 200, Page, "content-type", desk.page("/").await),
        ("page, asked for its head", 200, Page, "content-type", stranger("HEAD", "/login", BROWSER).await),
        ("login page", 200, Page, "content-type", stranger("GET", "/login", BROWSER).await),
        ("no such page", 404, Page, "content-type", desk.page("/no/such/page").await),
        ("no such file", 404, Page, "content-type", desk.page("/nothing.txt").await),
        ("no such api", 404, Closed, TEXT, desk.ask("/api/nothing").await),
        ("no such backup", 404, Closed, TEXT, desk.ask("/api/backups/backup_none.dump.gz").await),
        ("led to the login", 303, Closed, "location content-length", stranger("GET", "/", BROWSER).await),
        (
            "told to log in",
            401,
            Closed,
            "content-type content-length www-authenticate",
            stranger("GET", "/", JSON).await,
        ),
        ("from another site", 403, Closed, TEXT, desk.send(foreign, "").await),
        ("wrong method", 405, Closed, "allow content-length", desk.tell("/healthz", "").await),
        ("no path", 400, Closed, TEXT, desk.send(desk.request("OPTIONS", "*"), "").await),
        ("json", 200, Closed, TEXT, desk.ask(&format!("/api/backups/{SECRET}")).await),
        ("server function", 200, Closed, TEXT, desk.ask("/api/databases").await),
        ("bad argument", 400, Closed, FAILED, desk.tell("/api/create_backup", "database=..%2Fx").await),
        ("too large", 400, Closed, FAILED, desk.tell("/api/create_backup", &"x".repeat(2_000_000)).await),
        ("plain", 200, Closed, TEXT, stranger("GET", "/healthz", BROWSER).await),
        ("backup", 200, Closed, FILE, desk.page(&format!("/backups/{SECRET}")).await),
        ("part", 206, Closed, PART, desk.send(ranged("bytes=1-2"), "").await),
        ("no such part", 416, Closed, NO_PART, desk.send(ranged("bytes=99-"), "").await),
        ("no such download", 404, Words, TEXT, desk.page("/backups/backup_none.dump.gz").await),
        (
            "archive",
            303,
            Closed,
            "location content-length",
            desk.tell("/archives", &format!("names[]={SECRET}&format=zip")).await,
        ),
        ("no such archive", 404, Words, TEXT, desk.page(&format!("/archives/{ID}/backups.zip")).await),
        ("no such script", 404, Closed, "content-length", stranger("GET", "/pkg/nothing.js", BROWSER).await),
        ("theme", 303, Closed, "location content-length set-cookie", desk.tell("/theme", "").await),
        ("login", 303, Closed, "location content-length", desk.tell("/login", "username=a&password=b").await),
        ("shown once", 200, Paper, TEXT, desk.form("/account/tokens", "label=x").await),
        ("not allowed", 403, Closed, TEXT, forbidden(desk).await),
        ("report", 204, Closed, "content-length", desk.send(report(known), violation).await),
        ("no report", 400, Closed, "content-length", desk.send(report(known), "x").await),
        ("report in no form", 415, Closed, "content-length", desk.send(report(FORM), violation).await),
        ("report too large", 413, Closed, TEXT, desk.send(report(known), &"x".repeat(17_000)).await),
    ]
}

/// What a token is told that may not do what it asks for.
async fn forbidden(desk: &Desk) -> Answer {
    let made = desk.form("/account/tokens", "label=looks").await;
    let token = between(&made.body, "<pre class=\"once\">", "</pre>").unwrap();
    let request = Request::get(format!("/backups/{SECRET}")).header(HOST, "holdfast.test");
    desk.send(request.header("authorization", format!("Bearer {token}")), "").await
}

/// One that is refused because there are too many: by an address that guesses, and of downloads.
async fn refusals(desk: &Desk) -> Kinds {
    let mut slow = desk.form("/login", "username=a&password=b").await;
    for _ in 0..50 {
        if slow.status != StatusCode::TOO_MANY_REQUESTS {
            slow = desk.form("/login", "username=a&password=b").await;
        }
    }
    let download = || {
        let request = desk.request("GET", &format!("/backups/{SECRET}")).body(Body::empty());
        desk.router.clone().oneshot(request.unwrap())
    };
    let mut held = Vec::new();
    for _ in 0..DOWNLOADS {
        held.push(download().await.unwrap());
    }
    let busy = desk.page(&format!("/backups/{SECRET}")).await;
    vec![
        ("too many guesses", 429, Words, "content-type content-length retry-after", slow),
        ("too many downloads", 503, Words, "content-type content-length retry-after", busy),
    ]
}

/// A route that panics, with around it what stands around all.
async fn panic(desk: &Desk, by_tls: bool) -> Answer {
    #[expect(clippy::panic, reason = "it is to")]
    let route = || async { panic!("on purpose") as &str };
    let state = AppState::new(desk.holdfast.clone(), tokio::sync::watch::channel(false).1);
    let mut router = within(Router::new().route("/", get(route)), state, Front::default());
    if by_tls {
        router = router.layer(Extension(ByTls));
    }
    let request = desk.request("GET", "/").body(Body::empty()).unwrap();
    let (parts, body) = router.oneshot(request).await.unwrap().into_parts();
    let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    Answer { status: parts.status, headers: parts.headers, body }
}

/// What an answer has to say about itself, to the letter.
pub fn headers_of(policy: Policy, kept: &str, by_tls: bool, nonce: &str) -> BTreeMap<&'static str, String> {
    let policy = match policy {
        Page => format!(
            "default-src 'none'; script-src 'nonce-{nonce}' 'strict-dynamic' 'wasm-unsafe-eval'; \
             style-src 'self' 'nonce-{nonce}'; img-src 'self' data:; font-src 'self'; connect-src 'self'; \
             form-action 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'; \
             report-uri /csp-report"
        ),
        Paper | Words => "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; \
                  frame-ancestors 'none'"
            .to_owned(),
        Closed => "default-src 'none'; frame-ancestors 'none'; sandbox".to_owned(),
    };
    let mut headers = BTreeMap::from([
        ("content-security-policy", policy),
        ("x-content-type-options", "nosniff".to_owned()),
        ("referrer-policy", "same-origin".to_owned()),
        ("x-frame-options", "DENY".to_owned()),
        ("cross-origin-opener-policy", "same-origin".to_owned()),
        ("cross-origin-resource-policy", "same-origin".to_owned()),
        ("permissions-policy", "camera=(), microphone=(), geolocation=(), payment=(), usb=()".to_owned()),
        ("cache-control", kept.to_owned()),
    ]);
    if by_tls {
        headers.insert("strict-transport-security", "max-age=31536000; includeSubDomains".to_owned());
    }
    headers
}

/// What an answer's headers have too much, too little or otherwise.
fn wrong_headers(answer: &Answer, expected: &BTreeMap<&str, String>, own: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, value) in expected {
        let said: Vec<_> = answer.headers.get_all(*name).iter().collect();
        if said != [value] {
            wrong.push(format!("{name}: {said:?} instead of {value}"));
        }
    }
    let unmeant = |name: &str| !expected.contains_key(name) && !own.split(' ').any(|own| own == name);
    wrong.extend(
        answer.headers.keys().map(HeaderName::as_str).filter(|name| unmeant(name)).map(str::to_owned),
    );
    wrong
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_answer_says_to_the_letter_what_may_be_done_with_it() {
    for by_tls in [false, true] {
        let mut desk = Desk::new();
        if by_tls {
            desk.router = desk.router.layer(Extension(ByTls));
        }
        let mut answers = answers(&desk).await;
        answers.extend(refusals(&desk).await);
        answers.push(("panic", 500, Closed, TEXT, panic(&desk, by_tls).await));
        for (kind, status, policy, own, answer) in &answers {
            assert_eq!(answer.status.as_u16(), *status, "{kind}: {}", answer.body);
            let nonce = between(answer.header("content-security-policy"), "'nonce-", "'");
            let expected = headers_of(*policy, "no-store", by_tls, nonce.unwrap_or_default());
            let wrong = wrong_headers(answer, &expected, own);
            assert!(wrong.is_empty(), "{kind}, TLS {by_tls}: {wrong:#?}");
        }
        let Some(site) = assets::site() else {
            println!("the site is not built, so its files are not looked at");
            continue;
        };
        let files = [site.js, site.css, site.wasm]
            .map(|file| (format!("/pkg/{file}"), "public, max-age=31536000, immutable"));
        let kept = |path: &str| (path.to_owned(), "public, max-age=86400");
        for (path, kept) in files.into_iter().chain([kept("/favicon.svg"), kept("/robots.txt")]) {
            for coding in ["identity", "br"] {
                let request =
                    Request::get(&path).header(HOST, "holdfast.test").header(ACCEPT_ENCODING, coding);
                let answer = desk.send(request, "").await;
                assert_eq!(answer.status, StatusCode::OK, "{path}");
                let own = "content-type content-length content-encoding vary";
                let wrong = wrong_headers(&answer, &headers_of(Closed, kept, by_tls, ""), own);
                assert!(wrong.is_empty(), "{path}: {wrong:#?}");
            }
        }
    }
}

#[tokio::test]
async fn a_header_that_is_wrong_missing_or_too_many_is_found_out() {
    let expected = headers_of(Closed, "no-store", true, "");
    let good = || Answer {
        status: StatusCode::OK,
        headers: expected
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()))
            .collect(),
        body: String::new(),
    };
    assert_eq!(wrong_headers(&good(), &expected, ""), [""; 0]);
    for name in expected.keys().chain(&["server"]) {
        let (mut without, mut twice, mut otherwise) = (good(), good(), good());
        without.headers.remove(*name);
        twice.headers.append(*name, HeaderValue::from_static("x"));
        otherwise.headers.insert(*name, HeaderValue::from_static("x"));
        for (answer, found) in [(without, usize::from(*name != "server")), (twice, 1), (otherwise, 1)] {
            assert_eq!(wrong_headers(&answer, &expected, "").len(), found, "{name}: {:?}", answer.headers);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_nonce_comes_twice_and_each_is_its_page_s_own() {
    let desk = Desk::with(&[]);
    let mut nonces = BTreeSet::new();
    for _ in 0..1000 {
        let answer = desk.page("/login").await;
        let nonce = between(answer.header("content-security-policy"), "script-src 'nonce-", "'").unwrap();
        for (at, _) in answer.body.match_indices("nonce=\"") {
            assert_eq!(between(&answer.body[at..], "\"", "\""), Some(nonce));
        }
        assert!(answer.body.contains("nonce=\"") && nonce.len() >= 22, "{nonce}");
        nonces.insert(nonce.to_owned());
    }
    assert_eq!(nonces.len(), 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_page_s_own_scripts_run() {
    let desk = Desk::new();
    desk.put(SECRET, 10, 60);
    let mut nonces = BTreeSet::new();
    let paths = ["/", "/", "/databases", "/activity", "/login", "/setup", "/no/such/page"];
    for path in paths {
        let answer = desk.page(path).await;
        let policy = answer.header("content-security-policy");
        let nonce = between(policy, "'nonce-", "'").unwrap_or_else(|| panic!("{path}: {policy}"));
        assert!(nonce.len() >= 20, "{nonce}");
        let scripts: Vec<_> =
            answer.body.split("<script").skip(1).map(|rest| rest.split('>').next().unwrap()).collect();
        assert!(!scripts.is_empty(), "{path} has no script to look at");
        for script in scripts {
            assert_eq!(between(script, "nonce=\"", "\""), Some(nonce), "{path}: <script{script}>");
        }
        for inline in [" style=", " onclick=", " onload=", " onsubmit=", "javascript:", "<style"] {
            assert!(!answer.body.contains(inline), "{path} has{inline}");
        }
        nonces.insert(nonce.to_owned());
    }
    assert_eq!(nonces.len(), paths.len(), "a nonce came twice");
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    text.split_once(start)?.1.split_once(end).map(|(inside, _)| inside)
}
