//! Verifying, adopting and restoring as the page does it: what is kept beside the files, what is planned, and
//! what is refused.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use crate::support::desk::{Desk, contents_of};
use crate::support::postgres::{Cluster, cluster};
use flate2::Compression;
use flate2::write::GzEncoder;
use holdfast::domain::engines::Target;
use holdfast::model::{Backup, BackupName, FileState, JobState, ListQuery, Proof, Stamp};
use http::StatusCode;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rusqlite::Connection;
use serde_json::Value;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::FileExt;
use std::path::Path;

fn encoded(fields: &[(&str, &str)]) -> String {
    fields.iter().fold(String::new(), |mut form, (name, value)| {
        let _ = write!(form, "&{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC));
        form
    })
}

async fn verify(desk: &Desk, name: &BackupName) -> JobState {
    let answer = desk.tell("/api/verify_backups", &format!("names[]={name}")).await;
    assert_eq!((answer.status, &*answer.body), (StatusCode::OK, r#"{"good":null,"bad":[]}"#));
    desk.last_job().await
}

fn seen(desk: &Desk, name: &BackupName) -> Backup {
    let list = desk.holdfast.catalog().list().unwrap();
    list.iter().find(|backup| backup.name == *name).unwrap().clone()
}

/// Where the page of one backup is led to when the form that plans is sent.
async fn plan(desk: &Desk, file: &BackupName, place: &str, name: &str, url: &str) -> String {
    let form = encoded(&[
        ("entry[file]", file.as_str()),
        ("entry[place]", place),
        ("entry[name]", name),
        ("entry[url]", url),
    ]);
    let answer = desk.form("/api/plan_restore", &form).await;
    assert_eq!(answer.status, StatusCode::FOUND, "{}", answer.body);
    answer.location().to_owned()
}

/// What the page says where the plan was refused.
async fn refusal(desk: &Desk, file: &BackupName, place: &str, name: &str, url: &str) -> String {
    let address = plan(desk, file, place, name, url).await;
    assert!(address.contains("outcome="), "{address}");
    let page = desk.page(&address).await.body;
    let (_, alert) = page.split_once("role=\"alert\"").unwrap_or_else(|| panic!("{page}"));
    alert.split_once("</div>").unwrap().0.to_owned()
}

async fn carry_out(desk: &Desk, file: &BackupName, address: &str, typed: &str) -> String {
    let plan = address.split_once("plan=").unwrap().1;
    let form = encoded(&[("file", file.as_str()), ("plan", plan), ("typed", typed)]);
    let answer = desk.form("/api/start_restore", &form).await;
    assert_eq!(answer.status, StatusCode::FOUND, "{}", answer.body);
    answer.location().to_owned()
}

/// When the newest backup of the only database was made, that counts.
fn newest(desk: &Desk) -> Option<Stamp> {
    desk.holdfast.backups().view(&ListQuery::default(), &[]).unwrap().databases[0].newest
}

fn rows(path: &Path) -> i64 {
    Connection::open(path).unwrap().query_row("SELECT count(*) FROM t", (), |row| row.get(0)).unwrap()
}

fn told(state: JobState) -> String {
    match state {
        JobState::Reported { message, .. } => message,
        other => panic!("{other:?}"),
    }
}

fn failed(state: JobState) -> String {
    match state {
        JobState::Failed { message, .. } => message,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_found_is_kept_beside_the_file_and_outlives_the_state() {
    let desk = Desk::new();
    let name = desk.back_up("ledger");
    assert_eq!(seen(&desk, &name).verified, None);
    let message = told(verify(&desk, &name).await);
    assert!(message.contains(name.as_str()) && message.contains("1 table with 3 rows"), "{message}");
    let verified = seen(&desk, &name).verified.unwrap();
    assert_eq!((verified.proof, verified.tables, verified.rows), (Proof::Restored, Some(1), Some(3)));
    let page = desk.page("/?q=restored").await.body;
    assert!(page.contains(">restored</a>") && page.contains("1 of 1") && page.contains("1–1 of 1"), "{page}");

    for file in ["holdfast.db", "holdfast.db-wal", "holdfast.db-shm"] {
        let _ = fs::remove_file(desk.at("data").join(file));
    }
    let again = desk.reopened();
    assert_eq!(again.catalog().get(&name).unwrap().verified, Some(verified.clone()));

    // It speaks of these bytes: of a file that was written to since, nothing is known.
    File::options().append(true).open(desk.backup(name.as_str())).unwrap().write_all(b"x").unwrap();
    assert_eq!(seen(&desk, &name).verified, None);
    let deleted = desk.tell("/api/delete_backups", &format!("names[]={name}")).await;
    assert_eq!(deleted.status, StatusCode::OK);
    assert_eq!(
        contents_of(desk.holdfast.backup_dir()),
        Vec::<String>::new(),
        "the verdict goes with its backup"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verdict_without_its_backup_is_swept() {
    let desk = Desk::new();
    let name = desk.back_up("ledger");
    verify(&desk, &name).await;
    fs::remove_file(desk.backup(name.as_str())).unwrap();
    assert_eq!(desk.holdfast.sweep().unwrap().manifests, 2);
    assert_eq!(contents_of(desk.holdfast.backup_dir()), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_backup_is_marked_never_counted_as_good_and_not_restored() {
    let desk = Desk::with(&["ledger"]);
    let name = desk.back_up("ledger");
    told(verify(&desk, &name).await);
    assert!(newest(&desk).is_some());

    let path = desk.backup(name.as_str());
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    let file = File::options().read(true).write(true).open(&path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 40).unwrap();
    file.write_all_at(&[byte[0] ^ 1], 40).unwrap();
    // Rot tells nobody: neither the size nor the time shows it, only reading does.
    file.set_modified(modified).unwrap();
    let message = failed(verify(&desk, &name).await);
    assert!(message.contains("is damaged") && message.contains("SHA-256"), "{message}");
    let backup = seen(&desk, &name);
    assert_eq!((backup.state, backup.verified.unwrap().proof), (FileState::Damaged, Proof::Damaged));
    assert_eq!(newest(&desk), None);
    let page = desk.page(&format!("/restore?file={name}")).await.body;
    assert!(page.contains("found damaged"), "{page}");

    let address = plan(&desk, &name, "beside:ledger", "new.db", "").await;
    carry_out(&desk, &name, &address, "").await;
    let message = failed(desk.last_job().await);
    assert!(message.contains("Nothing was restored") && !desk.at("new.db").exists(), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_are_verified_by_one_job_that_names_the_bad_ones() {
    let desk = Desk::new();
    let good = [desk.back_up("ledger"), desk.back_up("shop")];
    let answer = desk.form("/api/verify_backups", "all=on").await;
    assert_eq!(answer.status, StatusCode::FOUND);
    assert!(answer.location().starts_with("/?job="), "{}", answer.location());
    let message = told(desk.last_job().await);
    assert_eq!(message, "2 backups verified, all good: 2 restored for a test, 0 read to the end.");
    desk.put_described("ledger", "backup_bad.dump.gz", 100, 100);
    let names = format!("names[]={}&names[]=backup_bad.dump.gz&names[]={}", good[0], good[1]);
    desk.tell("/api/verify_backups", &names).await;
    let message = failed(desk.last_job().await);
    assert!(message.starts_with("1 of 3 backups failed: backup_bad.dump.gz"), "{message}");
    let refused = desk.tell("/api/verify_backups", "names[]=backup_none.dump.gz").await.json();
    assert!(refused["bad"][0].as_str().unwrap().contains("no backup named backup_none.dump.gz"), "{refused}");
    let refused = desk.tell("/api/verify_backups", "").await.json();
    assert!(refused["bad"][0].as_str().unwrap().contains("Nothing was selected"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_described_is_checked_and_adopted() {
    let desk = Desk::new();
    let made = desk.back_up("ledger");
    let bytes = fs::read(desk.backup(made.as_str())).unwrap();
    let old: BackupName = "backup_2024-02-29_12-00-00.dump.gz".parse().unwrap();
    fs::write(desk.backup(old.as_str()), &bytes).unwrap();
    let cut: BackupName = "backup_cut.dump.gz".parse().unwrap();
    fs::write(desk.backup(cut.as_str()), &bytes[..bytes.len() / 2]).unwrap();
    let mut other = GzEncoder::new(Vec::new(), Compression::fast());
    other.write_all(b"CREATE TABLE t (a);").unwrap();
    let plain: BackupName = "backup_plain-sql.dump.gz".parse().unwrap();
    fs::write(desk.backup(plain.as_str()), other.finish().unwrap()).unwrap();
    assert!(desk.page("/").await.body.contains("3 backups have no manifest"));

    let answer = desk.tell("/api/adopt_backups", "").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let message = failed(desk.last_job().await);
    assert!(message.starts_with("2 of 3 backups failed") && message.contains(cut.as_str()), "{message}");
    let manifest: Value = serde_json::from_slice(&fs::read(desk.backup(&old.manifest())).unwrap()).unwrap();
    let original: Value = serde_json::from_slice(&fs::read(desk.backup(&made.manifest())).unwrap()).unwrap();
    for key in [
        "payload_size",
        "payload_sha256",
        "payload_crc32",
        "content_size",
        "content_sha256",
        "database_engine",
    ] {
        assert_eq!(manifest[key], original[key], "{key}");
    }
    assert_eq!(manifest["created_at"], "2024-02-29T12:00:00.000Z");
    let adopted = seen(&desk, &old);
    assert_eq!((adopted.state, adopted.verified.unwrap().proof), (FileState::Whole, Proof::Restored));
    for bad in [&cut, &plain] {
        assert_eq!(seen(&desk, bad).state, FileState::Damaged, "{bad}");
        assert!(!desk.backup(&bad.manifest()).exists(), "{bad}");
    }
    let again = desk.tell("/api/adopt_backups", "").await.json();
    assert!(again["bad"][0].as_str().unwrap().contains("nothing to adopt"), "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_is_planned_then_made_into_a_new_database() {
    let desk = Desk::new();
    let name = desk.back_up("ledger");
    told(verify(&desk, &name).await);
    let page = desk.page(&format!("/restore?file={name}")).await.body;
    assert!(page.contains("A new database beside ledger") && page.contains("Show the plan"), "{page}");
    assert!(page.contains("sqlite:///") && !page.contains("postgres"), "another engine's fields: {page}");
    let address = plan(&desk, &name, "beside:ledger", "again.db", "").await;
    let page = desk.page(&address).await.body;
    for words in ["The plan", "again.db", "nothing: the database is new", "1 table with 3 rows", "Free space"]
    {
        assert!(page.contains(words), "{words}: {page}");
    }
    assert!(!page.contains("name=\"typed\""), "nothing is replaced, so nothing is to be typed");
    assert!(!desk.at("again.db").exists(), "a plan does nothing");
    let list = carry_out(&desk, &name, &address, "").await;
    assert!(list.starts_with("/?job="), "{list}");
    let message = told(desk.last_job().await);
    assert!(message.contains("is restored into") && message.contains("1 table with 3 rows"), "{message}");
    assert_eq!(rows(&desk.at("again.db")), 3);
    assert!(desk.page(&list).await.body.contains("is restored into"));
    // A plan is carried out once.
    let list = carry_out(&desk, &name, &address, "").await;
    assert!(desk.page(&list).await.body.contains("Plan the restore again"), "{list}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_is_replaced_only_once_its_name_is_typed_and_is_kept() {
    let desk = Desk::with(&["ledger"]);
    let name = desk.back_up("ledger");
    let ledger = desk.at("ledger.db");
    Connection::open(&ledger).unwrap().execute_batch("INSERT INTO t VALUES ('later')").unwrap();
    let address = plan(&desk, &name, "over:ledger", "", "").await;
    let page = desk.page(&address).await.body;
    assert!(
        page.contains("Type ledger.db to replace it") && page.contains("Holdfast backs it up first"),
        "{page}"
    );
    for wrong in ["", "ledger", "LEDGER.DB"] {
        let back = carry_out(&desk, &name, &address, wrong).await;
        assert!(desk.page(&back).await.body.contains("type its name exactly"), "{back}");
        assert_eq!(rows(&ledger), 4);
    }
    desk.pass(1);
    carry_out(&desk, &name, &address, "ledger.db").await;
    let message = told(desk.last_job().await);
    assert_eq!(rows(&ledger), 3);
    let kept: BackupName =
        message.split_once("is kept as ").unwrap().1.trim_end_matches('.').parse().unwrap();
    assert_ne!(kept, name);
    let address = plan(&desk, &kept, "beside:ledger", "undone.db", "").await;
    carry_out(&desk, &kept, &address, "").await;
    told(desk.last_job().await);
    assert_eq!(rows(&desk.at("undone.db")), 4, "what was there before is in the safety backup");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_to_be_after_the_plan_is_not_replaced() {
    let desk = Desk::with(&["ledger"]);
    let name = desk.back_up("ledger");
    let ledger = desk.at("ledger.db");
    let away = desk.at("away.db");
    fs::rename(&ledger, &away).unwrap();
    let address = plan(&desk, &name, "over:ledger", "", "").await;
    assert!(desk.page(&address).await.body.contains("nothing: the database is new"));
    Connection::open(&away).unwrap().execute_batch("INSERT INTO t VALUES ('later')").unwrap();
    fs::rename(&away, &ledger).unwrap();
    carry_out(&desk, &name, &address, "").await;
    let message = failed(desk.last_job().await);
    assert!(message.contains("already exists"), "{message}");
    assert_eq!(rows(&ledger), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_planned_is_refused_in_words_and_shows_no_password() {
    let desk = Desk::with(&["ledger"]);
    let name = desk.back_up("ledger");
    let state = format!("sqlite://{}", desk.at("data/holdfast.db").display());
    let there = format!("sqlite://{}", desk.at("ledger.db").display());
    let key = format!("sqlite://{}", desk.at("data/key").display());
    let backup = format!("sqlite://{}", desk.at("data/backups/new.db").display());
    let nowhere = format!("sqlite://{}", desk.at("no/such/x.db").display());
    for (place, new, url, words) in [
        ("beside:ledger", "", "", "it is empty"),
        ("beside:ledger", "../x.db", "", "does not contain"),
        ("beside:ledger", &"x".repeat(256), "", "at most 255 bytes"),
        ("beside:ledger", "a/", "", "a file name"),
        ("beside:ledger", "ledger.db", "", "already exists"),
        ("beside:nothing", "x.db", "", "Choose where"),
        ("over:nothing", "", "", "Choose where"),
        ("", "", "", "Choose where"),
        ("elsewhere", "", "", "not a database URL"),
        ("elsewhere", "", "postgres://u:c4n4ry@127.0.0.1:1/d", "belongs to another engine"),
        ("elsewhere", "", "mysql://u:c4n4ry@h/d", "scheme"),
        ("elsewhere", "", &state, "state database of this Holdfast"),
        ("elsewhere", "", &key, "is in the data directory of this Holdfast"),
        ("elsewhere", "", &backup, "is in the backup directory of this Holdfast"),
        ("elsewhere", "", &there, "already exists"),
        ("elsewhere", "", &nowhere, "does not exist. Create it"),
    ] {
        let said = refusal(&desk, &name, place, new, url).await;
        assert!(said.contains(words) && !said.contains("c4n4ry"), "{place} {new} {url}: {said}");
    }
    let missing = desk.page("/restore?file=backup_none.dump.gz").await.body;
    assert!(missing.contains("There is no backup named backup_none.dump.gz"), "{missing}");
    let hostile = desk.page("/restore?file=../../etc/passwd").await.body;
    assert!(hostile.contains("not the name of a backup"), "{hostile}");
    assert_eq!(rows(&desk.at("ledger.db")), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_restore_leaves_its_target_as_it_was() {
    let desk = Desk::with(&["ledger"]);
    let ledger = desk.at("ledger.db");
    crate::support::desk::dense_database(&desk.at("dense.db"), 20_000);
    fs::copy(desk.at("dense.db"), &ledger).unwrap();
    let name = desk.back_up("ledger");
    Connection::open(&ledger).unwrap().execute_batch("CREATE TABLE later (a)").unwrap();
    let before = fs::read(&ledger).unwrap();
    let address = plan(&desk, &name, "over:ledger", "", "").await;
    let plan = address.split_once("plan=").unwrap().1;
    let form = encoded(&[("file", name.as_str()), ("plan", plan), ("typed", "ledger.db")]);
    assert_eq!(desk.tell("/api/start_restore", &form).await.status, StatusCode::OK);
    let id = desk.holdfast.jobs().current().last().unwrap().id;
    desk.tell("/api/cancel_job", &format!("id={id}")).await;
    assert_eq!(desk.last_job().await, JobState::Cancelled);
    assert!(fs::read(&ledger).unwrap() == before, "the target changed");
    let left = contents_of(desk.holdfast.backup_dir());
    assert!(left.iter().all(|file| !file.starts_with(".part-")), "{left:?}");
}

fn server(cluster: &Cluster, database: &str) -> Desk {
    Desk::of(vec![("main".parse().unwrap(), Target::parse(&cluster.url(database)).unwrap())])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_backup_is_proved_beside_its_database_and_restored_from_the_page() {
    let cluster = cluster();
    cluster.create_database("page");
    cluster.psql("page", "CREATE TABLE t AS SELECT g AS a FROM generate_series(1, 1234) g");
    let desk = server(&cluster, "page");
    let name = desk.back_up("main");
    let message = told(verify(&desk, &name).await);
    assert!(message.contains("1 table with 1,234 rows"), "{message}");
    let verified = seen(&desk, &name).verified.unwrap();
    assert_eq!((verified.proof, verified.rows), (Proof::Restored, Some(1234)));

    let page = desk.page(&format!("/restore?file={name}")).await.body;
    for field in ["entry[keep_owners]", "entry[act_outside]", "postgres://user:password@host/database"] {
        assert!(page.contains(field), "{field}: {page}");
    }
    let address = plan(&desk, &name, "beside:main", "page again", "").await;
    let page = desk.page(&address).await.body;
    for words in ["PostgreSQL 1", "1 table with 1,234 rows", "is a superuser", "page again"] {
        assert!(page.contains(words), "{words}: {page}");
    }
    carry_out(&desk, &name, &address, "").await;
    told(desk.last_job().await);
    assert_eq!(cluster.psql("page again", "SELECT count(*) FROM t").trim(), "1234");
    assert!(refusal(&desk, &name, "beside:main", "page again", "").await.contains("already exists"));
    assert!(refusal(&desk, &name, "beside:main", "a=b", "").await.contains("not contain = or"));
    assert!(refusal(&desk, &name, "beside:main", &"x".repeat(64), "").await.contains("63 bytes"));

    cluster.psql("page", "INSERT INTO t VALUES (0)");
    let address = plan(&desk, &name, "over:main", "", "").await;
    assert!(desk.page(&address).await.body.contains("Type page to replace it"));
    desk.pass(1);
    carry_out(&desk, &name, &address, "page").await;
    let message = told(desk.last_job().await);
    assert!(message.contains("is kept as backup_main_"), "{message}");
    assert_eq!(cluster.psql("page", "SELECT count(*) FROM t").trim(), "1234");
    let left =
        cluster.psql("postgres", "SELECT datname FROM pg_database WHERE datname ~ '^holdfast_restore'");
    assert_eq!(left.trim(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_cannot_be_restored_is_told_apart_from_one_that_was_not() {
    let cluster = cluster();
    cluster.create_database("odd");
    // A dump is of what is there; what it calls upon is looked for when it is restored.
    cluster.psql("odd", "CREATE TABLE t (a int); INSERT INTO t VALUES (1); CREATE ROLE noted LOGIN");
    cluster.psql(
        "odd",
        "CREATE FUNCTION boom() RETURNS int LANGUAGE plpgsql IMMUTABLE AS
         $$ BEGIN IF current_database() <> 'odd' THEN RAISE EXCEPTION 'not here'; END IF; RETURN 1; END $$;
         ALTER TABLE t ADD b int GENERATED ALWAYS AS (boom()) STORED",
    );
    let desk = server(&cluster, "odd");
    let name = desk.back_up("main");
    let message = failed(verify(&desk, &name).await);
    assert!(message.contains("the test restore failed") && message.contains("not here"), "{message}");
    let backup = seen(&desk, &name);
    assert_eq!((backup.state, backup.verified.unwrap().proof), (FileState::Whole, Proof::Unrestored));

    cluster.psql(
        "odd",
        "ALTER TABLE t DROP COLUMN b; GRANT SELECT ON t TO noted; ALTER ROLE noted PASSWORD 'noted'",
    );
    let url = cluster.url("odd");
    let (_, place) = url.rsplit_once('@').unwrap();
    let poor = Target::parse(&format!("postgres://noted:noted@{place}")).unwrap();
    let desk = Desk::of(vec![("main".parse().unwrap(), poor)]);
    let name = desk.back_up("main");
    let message = told(verify(&desk, &name).await);
    assert!(message.contains("read to its end") && message.contains("may not create databases"), "{message}");
    assert_eq!(seen(&desk, &name).verified.unwrap().proof, Proof::Readable);
    cluster.psql("odd", "REVOKE ALL ON t FROM noted; DROP ROLE noted");
}
