//! Every address, from outside: what is closed stays closed, what comes from another site changes nothing,
//! and every answer says what the browser may do with it.

#![expect(clippy::unwrap_used, reason = "tests")]

use crate::support::desk::{ACCOUNT, Answer, BROWSER, Desk, FORM, JSON};
use Right::{Administer, Download, Operate, Own, View};
use holdfast::model::Right;
use holdfast::server::router::addresses;
use holdfast::server::session::COOKIE_NAME;
use holdfast::vault::accounts::{Device, SESSION_IDLE, SESSION_LIFE};
use http::header::{ACCEPT, CONTENT_TYPE, COOKIE, HOST, ORIGIN, REFERER, SET_COOKIE};
use http::{Method, Request, StatusCode};
use std::collections::{BTreeMap, BTreeSet};

/// Every address and the right it needs, if any. A route that is not here fails a test, so that nobody adds one without
/// deciding.
pub const ADDRESSES: [(&str, Option<Right>); 67] = [
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
    ("/api/read_sheet", Some(Own)),
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
const OPEN: [(&str, &[&str]); 7] = [
    ("/login", &["GET", "HEAD", "POST"]),
    ("/setup", &["GET", "HEAD", "POST"]),
    ("/healthz", &["GET", "HEAD"]),
    ("/pkg/holdfast.js", &["GET", "HEAD"]),
    ("/favicon.svg", &["GET", "HEAD"]),
    ("/robots.txt", &["GET", "HEAD"]),
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
    let admitted = desk.vault.accounts().log_in(ACCOUNT.0, &ACCOUNT.1.into(), &Device::default()).unwrap();
    let ended = admitted.session().unwrap();
    let ended_cookie = format!("{COOKIE_NAME}={}", ended.reveal());
    assert!(desk.vault.accounts().session(&ended).unwrap().is_some());
    desk.vault.accounts().log_out(&ended).unwrap();
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
    assert_eq!(desk.vault.jobs().history().unwrap(), [], "{who} began something");
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
    assert_eq!(desk.vault.jobs().history().unwrap(), []);
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
                desk.vault.jobs().all_ended().await;
            }
            // A login ends the session it comes with, which is still needed.
            if path == "/login" {
                request.headers_mut().unwrap().remove(COOKIE);
            }
            let answer = desk.send(request, form).await;
            assert_eq!(answer.status.as_u16(), status, "{path} from {who}: {}", answer.body);
        }
        assert_eq!(desk.vault.jobs().history().unwrap().len(), 1, "{who}");
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
    assert_eq!(desk.vault.jobs().history().unwrap(), []);
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
            desk.vault.jobs().all_ended().await;
            assert!(answer.status.is_redirection(), "{path}: {} {}", answer.status, answer.body);
            let from = url::Url::parse("http://holdfast.test/here").unwrap();
            let to = from.join(answer.location()).unwrap();
            assert_eq!(to.origin(), from.origin(), "{path} from {referer} leads to {to}");
        }
    }
}

/// One of each kind of answer.
async fn answers(desk: &Desk) -> Vec<(&'static str, u16, Answer)> {
    desk.put(SECRET, 10, 60);
    let stranger = |path: &'static str, accept| {
        desk.send(Request::get(path).header(HOST, "holdfast.test").header(ACCEPT, accept), "")
    };
    let foreign = desk.request("POST", "/logout").header(ORIGIN, "null");
    vec![
        ("page", 200, desk.page("/").await),
        ("login page", 200, stranger("/login", BROWSER).await),
        ("no such page", 404, desk.page("/no/such/page").await),
        ("no such api", 404, desk.ask("/api/nothing").await),
        ("no such backup", 404, desk.ask("/api/backups/backup_none.dump.gz").await),
        ("no such file", 404, desk.page("/nothing.txt").await),
        ("led to the login", 303, stranger("/", BROWSER).await),
        ("told to log in", 401, stranger("/", JSON).await),
        ("from another site", 403, desk.send(foreign, "").await),
        ("wrong method", 405, desk.tell("/healthz", "").await),
        ("json", 200, desk.ask(&format!("/api/backups/{SECRET}")).await),
        ("server function", 200, desk.ask("/api/databases").await),
        ("bad argument", 400, desk.tell("/api/create_backup", "database=..%2Fx").await),
        ("too large", 400, desk.tell("/api/create_backup", &"x".repeat(2_000_000)).await),
        ("plain", 200, stranger("/healthz", BROWSER).await),
        ("backup", 200, desk.page(&format!("/backups/{SECRET}")).await),
        ("no such download", 404, desk.page("/backups/backup_none.dump.gz").await),
        ("archive", 303, desk.tell("/archives", &format!("names[]={SECRET}&format=zip")).await),
        ("no such archive", 404, desk.page(&format!("/archives/{ID}/backups.zip")).await),
        ("style or script", 404, stranger("/pkg/nothing.js", BROWSER).await),
        ("theme", 303, desk.tell("/theme", "").await),
        ("login", 303, desk.tell("/login", "username=a&password=b").await),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_answer_says_what_may_be_done_with_it() {
    let desk = Desk::new();
    let mut answers = answers(&desk).await;
    let static_file = desk.page("/favicon.svg").await;
    if static_file.status == StatusCode::NOT_FOUND {
        println!("the site is not built, so its files are not looked at");
    } else {
        answers.push(("static file", 200, static_file));
    }
    for (kind, status, answer) in answers {
        assert_eq!(answer.status.as_u16(), status, "{kind}: {}", answer.body);
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{kind}");
        assert_eq!(answer.header("x-frame-options"), "DENY", "{kind}");
        assert_eq!(answer.header("referrer-policy"), "same-origin", "{kind}");
        assert_eq!(answer.header("cross-origin-opener-policy"), "same-origin", "{kind}");
        assert_eq!(answer.header("cross-origin-resource-policy"), "same-origin", "{kind}");
        assert!(answer.header("permissions-policy").contains("camera=()"), "{kind}");
        let policy = answer.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; "), "{kind}: {policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{kind}: {policy}");
        assert!(!policy.contains("unsafe-inline") && !policy.contains("'unsafe-eval'"), "{kind}: {policy}");
        assert_eq!(answer.headers.get_all("content-security-policy").iter().count(), 1, "{kind}");
        if kind != "static file" {
            assert_eq!(answer.header("cache-control"), "no-store", "{kind}");
        }
    }
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
