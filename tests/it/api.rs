//! What scripts and the live page call: metadata, server functions, and how they say no.

use crate::support::desk::{Desk, FORM, JSON};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Request, StatusCode};
use serde_json::json;
use std::fs;

/// A view as the live page asks for it.
fn view(sort: &str, page: &str, per_page: &str, filter: &str) -> String {
    format!(
        "query[sort][column]={sort}&query[sort][descending]=false&query[page]={page}\
         &query[per_page]={per_page}&query[filter]={filter}"
    )
    .replace('[', "%5B")
    .replace(']', "%5D")
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_is_as_the_contract_says() {
    let desk = Desk::new();
    desk.put_described("ledger", "backup_ledger_2026-11-23_02-41-07Z.dump.gz", 1536, 1536);
    desk.put("backup_2026-01-02_03-04-05.dump.gz", 51, 60);
    desk.put("backup_from-elsewhere.dump.gz", 0, 60);
    let ask = async |name: &str| desk.ask(&format!("/api/backups/{name}")).await;
    let own = ask("backup_ledger_2026-11-23_02-41-07Z.dump.gz").await;
    assert_eq!(own.status, StatusCode::OK);
    assert_eq!(own.header("content-type"), "application/json");
    assert_eq!(
        own.json(),
        json!({
            "filename": "backup_ledger_2026-11-23_02-41-07Z.dump.gz",
            "created_at": "2026-11-23 02:41:07",
            "modified_at": "2026-11-23 02:40:07",
            "size_kb": "1.5",
            "size": 1536,
            "sha256": "ab".repeat(32),
        })
    );
    let older = ask("backup_2026-01-02_03-04-05.dump.gz").await.json();
    assert_eq!(older["created_at"], "2026-01-02 03:04:05");
    assert_eq!(older["modified_at"], "2026-11-23 02:40:07");
    assert_eq!((&older["size"], &older["size_kb"]), (&json!(51), &json!("0.0")));
    assert_eq!(older["sha256"], json!(null));
    let foreign = ask("backup_from-elsewhere.dump.gz").await.json();
    assert_eq!(foreign["created_at"], foreign["modified_at"], "no time in the name");
    assert_eq!(foreign["size"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_of_what_is_not_listed_is_not_found() {
    let desk = Desk::new();
    desk.put_described("ledger", "backup_a.dump.gz", 1, 1);
    fs::create_dir(desk.backup("backup_dir.dump.gz")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", desk.backup("backup_link.dump.gz")).unwrap();
    for name in [
        "backup_none.dump.gz",
        "backup_dir.dump.gz",
        "backup_link.dump.gz",
        "backup_a.dump.gz.manifest.json",
        "..%2Fholdfast.db",
        "%2e%2e%2fbackups%2fbackup_a.dump.gz",
        "backup_a.dump.gz%00",
        "backup_a.dump.gz%2F",
        "backup_a.dump.gz/",
        "BACKUP_a.dump.gz",
        ".holdfast-server.lock",
        "%ff",
        "",
    ] {
        let answer = desk.ask(&format!("/api/backups/{name}")).await;
        // Bytes that are no text are no name, which is as well said by 400.
        let fitting = answer.status == StatusCode::NOT_FOUND
            || (name == "%ff" && answer.status == StatusCode::BAD_REQUEST);
        assert!(fitting, "{name}: {} {}", answer.status, answer.body);
    }
    assert_eq!(desk.ask("/api/backups/backup_a.dump.gz").await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_session_scripts_are_told() {
    let desk = Desk::new();
    let stranger = |method: &str, path: &str| {
        Request::builder().method(method).uri(path).header(ACCEPT, JSON).header(CONTENT_TYPE, FORM)
    };
    for (method, path) in [
        ("GET", "/api/backups/backup_a.dump.gz"),
        ("GET", "/api/databases"),
        ("POST", "/api/create_backup"),
        ("GET", "/"),
        ("GET", "/events"),
    ] {
        let answer = desk.send(stranger(method, path), "database=ledger").await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(answer.json(), json!("Unauthenticated"), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_needs_no_login() {
    let answer = Desk::new().send(Request::get("/healthz"), "").await;
    assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, "ok\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_live_page_s_calls_are_answered() {
    let desk = Desk::new();
    desk.put("backup_one.dump.gz", 1, 0);
    desk.put("backup_two.dump.gz", 2, 0);
    let list = desk.ask(&format!("/api/read_backups?{}", view("Size", "1", "20", ""))).await;
    assert_eq!(list.status, StatusCode::OK, "{}", list.body);
    assert_eq!(list.json()["list"]["rows"][1]["name"], "backup_two.dump.gz");
    assert_eq!(list.json()["databases"].as_array().unwrap().len(), 2);
    let matching = desk.ask(&format!("/api/matching_backups?{}", view("FileName", "1", "20", "two"))).await;
    assert_eq!(matching.json(), json!([{ "name": "backup_two.dump.gz", "size": 2 }]));
    let created = desk.tell("/api/create_backup", "database=shop").await;
    assert_eq!((created.status, created.json()), (StatusCode::OK, json!(1)), "{}", created.body);
    desk.holdfast.jobs().all_ended().await;
    let history = desk.ask("/api/job_history").await.json();
    assert_eq!(history[0]["state"]["is"], "done", "{history}");
    assert_eq!(desk.ask("/api/databases").await.json()["databases"][1]["backups"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_argument_is_the_caller_s_fault() {
    let desk = Desk::new();
    desk.put("backup_one.dump.gz", 1, 0);
    for (path, form, status) in [
        ("/api/create_backup", "", 400),
        ("/api/create_backup", "database=", 400),
        ("/api/create_backup", "database=..%2F..%2Fetc", 400),
        ("/api/create_backup", "database=Ledger", 400),
        ("/api/create_backup", "database=ledger&database=shop", 400),
        ("/api/create_backup", "%ff%fe=%00", 400),
        ("/api/create_backup", "{\"database\":\"ledger\"}", 400),
        ("/api/create_backup", "database=nosuch", 404),
        ("/api/cancel_job", "id=x", 400),
        ("/api/cancel_job", "id=-1", 400),
        ("/api/cancel_job", "id=99999999999999999999", 400),
        ("/api/cancel_job", "id=7", 404),
    ] {
        let answer = desk.tell(path, form).await;
        assert_eq!(answer.status.as_u16(), status, "{path} {form}: {}", answer.body);
        let said = answer.json();
        let sentence = said["BadRequest"].as_str().or(said["NotFound"].as_str()).unwrap();
        assert!(sentence.ends_with('.') && sentence.contains(' '), "{path} {form}: {sentence}");
    }
    assert_eq!(desk.holdfast.jobs().history().unwrap(), []);
    for query in [
        String::new(),
        "query=x".to_owned(),
        view("Password", "1", "20", ""),
        view("Size", "x", "20", ""),
        view("Size", "-1", "20", ""),
    ] {
        let answer = desk.ask(&format!("/api/read_backups?{query}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}: {}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_cannot_be_is_shown_as_the_nearest_that_can() {
    let desk = Desk::new();
    desk.put("backup_one.dump.gz", 1, 0);
    let max = u64::MAX.to_string();
    let long = "x".repeat(5000);
    for (page, per_page, filter) in
        [("0", "20", ""), ("1", "0", ""), (&*max, &*max, ""), ("1", "7", ""), ("1", "20", &*long)]
    {
        let answer = desk.ask(&format!("/api/read_backups?{}", view("Size", page, per_page, filter))).await;
        assert_eq!(answer.status, StatusCode::OK, "page {page} of {per_page}: {}", answer.body);
        let query = &answer.json()["list"]["query"];
        assert_eq!(
            (&query["page"], &query["per_page"]),
            (&json!(1), &json!(20)),
            "page {page} of {per_page}"
        );
    }
}
