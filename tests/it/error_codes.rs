//! Error codes: what scripts are told beside the sentence, which must never change unnoticed.

use crate::support::desk::{Desk, JSON};
use holdfast::domain::error::{Code, Error};
use holdfast::model::AppError;
use holdfast::server::middleware::headers::status_of;
use http::header::{ACCEPT, HOST};
use http::{Request, StatusCode};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Every code with the HTTP status of an answer that has it. In a shell each of them is exit status 1.
const CODES: &str = "\
account-not-found 400
already-running 409
archive-not-found 404
backup-changed 409
backup-damaged 400
backup-not-found 404
cancelled 500
database-damaged 500
database-denied 400
database-in-use 409
database-not-found 404
database-unreachable 500
deletion-unconfirmed 500
denied 400
destination-denied 500
destination-failed 500
destination-full 500
destination-host-key 500
destination-not-found 404
destination-off 400
destination-unreachable 500
directory-unusable 500
in-use 500
disk-full 500
file-failed 500
internal 500
invalid-input 400
job-not-found 404
key-unusable 400
last-administrator 400
limit-reached 400
name-taken 400
no-randomness 500
refused 400
secret-unreadable 400
state-failed 500
state-newer 400
token-not-found 400
too-busy 400
tool-failed 500
unsupported 400
";

#[test]
fn every_code_has_its_name_and_its_status() {
    let mut told = String::new();
    for code in Code::ALL {
        let error = AppError::from(Error::refusal(code, "x"));
        writeln!(told, "{code} {}", status_of(&error).as_u16()).unwrap();
    }
    assert_eq!(told, CODES, "scripts rely on these: add codes, and never rename one");
    let names: BTreeSet<_> = Code::ALL.map(Code::as_str).into();
    assert_eq!(names.len(), Code::ALL.len());
}

#[test]
fn every_code_is_documented_with_its_status() {
    let page = include_str!("../../docs/http-api.md");
    for line in CODES.lines() {
        let (code, status) = line.split_once(' ').unwrap();
        assert!(page.contains(&format!("| `{code}` | {status} | ")), "docs/http-api.md lacks {line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_names_the_code_of_its_error() {
    let desk = Desk::with(&["ledger"]);
    let code = "holdfast-error";
    let unknown = desk.tell("/api/cancel_job", "id=999").await;
    assert_eq!((unknown.status, unknown.header(code)), (StatusCode::NOT_FOUND, "job-not-found"));
    let unknown = desk.tell("/api/create_backup", "database=nowhere").await;
    assert_eq!((unknown.status, unknown.header(code)), (StatusCode::NOT_FOUND, "database-not-found"));
    let unreadable = desk.tell("/api/create_backup", "database=..%2Fx").await;
    assert_eq!((unreadable.status, unreadable.header(code)), (StatusCode::BAD_REQUEST, "invalid-input"));
    for path in ["/backups/backup_none.dump.gz", "/backups/none", "/api/backups/backup_none.dump.gz"] {
        for accept in [JSON, "text/html"] {
            let answer = desk.send(desk.request("GET", path).header(ACCEPT, accept), "").await;
            assert_eq!(answer.header(code), "backup-not-found", "{path} as {accept}");
        }
    }
    let archive = desk.ask("/archives/0123456789abcdef0123456789abcdef/backups.zip").await;
    assert_eq!((archive.status, archive.header(code)), (StatusCode::NOT_FOUND, "archive-not-found"));
    let nothing = desk.ask("/api/nothing").await;
    assert_eq!((nothing.status, nothing.header(code)), (StatusCode::NOT_FOUND, "not-found"));
    let stranger = Request::get("/api/databases").header(HOST, "holdfast.test").header(ACCEPT, JSON);
    let stranger = desk.send(stranger, "").await;
    assert_eq!((stranger.status, stranger.header(code)), (StatusCode::UNAUTHORIZED, "not-logged-in"));
    // Whoever guesses too often is told to wait, on a page or not.
    let mut guess = desk.tell("/login", "username=a&password=b").await;
    for _ in 0..50 {
        if guess.status == StatusCode::TOO_MANY_REQUESTS {
            break;
        }
        guess = desk.tell("/login", "username=a&password=b").await;
    }
    assert_eq!((guess.status, guess.header(code)), (StatusCode::TOO_MANY_REQUESTS, "too-busy"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_no_error_names_no_code() {
    let desk = Desk::with(&["ledger"]);
    for path in ["/", "/databases", "/api/databases", "/healthz"] {
        let answer = if path.starts_with("/api/") { desk.ask(path).await } else { desk.page(path).await };
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        assert!(!answer.headers.contains_key("holdfast-error"), "{path}");
    }
    // Without JavaScript the page that is led to tells the error.
    let form = desk.form("/api/create_backup", "database=nowhere").await;
    assert!(form.status.is_redirection(), "{} {}", form.status, form.body);
    assert!(!form.headers.contains_key("holdfast-error"));
}
