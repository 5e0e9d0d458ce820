//! The audit log: everything that is done is one line of it, with who did it and what came of it; and no line can be
//! forged, torn or mixed with another.

#![expect(clippy::unwrap_used, reason = "tests")]

use crate::planted_jobs::{Work, backup, start_for, upload};
use crate::support::desk::{ACCOUNT, BROWSER, Desk, FORM, JSON, small_database};
use crate::support::holdfast::program;
use crate::support::sshd::Sshd;
use axum::body::Body;
use axum::extract::ConnectInfo;
use holdfast::domain::Error;
use holdfast::domain::audit::Actor;
use holdfast::domain::engines::Cancel;
use holdfast::domain::jobs::JobResult;
use holdfast::model::audit::{AuditQuery, Ending, Event, is_treacherous};
use holdfast::model::{BackupName, JobId};
use http::header::{ACCEPT, CONTENT_TYPE, ORIGIN, RANGE};
use http::request::Builder;
use http_body_util::BodyExt as _;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rustix::process::{Pid, Signal, getuid, kill_process};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tower::ServiceExt as _;

/// Where the reader's requests come from.
const FROM: &str = "192.0.2.7";

/// Texts of somebody hostile.
const TEXTS: usize = 500;

/// Everything in the log, parsed.
fn log(desk: &Desk) -> Vec<Value> {
    entries(&desk.at("data/audit.jsonl"))
}

fn entries(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A reader whose every act is looked up in the log.
struct Watched {
    desk: Desk,
    seen: usize,
}

impl Watched {
    fn over(desk: Desk) -> Self {
        let seen = log(&desk).len();
        Self { desk, seen }
    }

    fn request(&self, method: &str, path: &str) -> Builder {
        let peer: SocketAddr = format!("{FROM}:4711").parse().unwrap();
        self.desk.request(method, path).extension(ConnectInfo(peer))
    }

    async fn post(&self, path: &str, form: &str) -> Value {
        let request = self.request("POST", path).header(ACCEPT, JSON).header(CONTENT_TYPE, FORM);
        let answer = self.desk.send(request, form).await;
        serde_json::from_str(&answer.body).unwrap_or(Value::Null)
    }

    async fn plain(&self, path: &str, form: &str) -> String {
        let request = self.request("POST", path).header(ACCEPT, BROWSER).header(CONTENT_TYPE, FORM);
        self.desk.send(request, form).await.location().to_owned()
    }

    /// What was noted since the last look: exactly these, each with its event, its object and its outcome, by the
    /// reader. Gives the details.
    async fn noted(&mut self, wanted: &[(Event, &str, Ending)]) -> Vec<String> {
        tokio::time::timeout(Duration::from_secs(20), self.desk.holdfast.jobs().all_ended()).await.unwrap();
        let until = Instant::now() + Duration::from_secs(5);
        while log(&self.desk).len() < self.seen + wanted.len() && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let new = log(&self.desk).split_off(self.seen);
        self.seen += new.len();
        let found: Vec<_> = new
            .iter()
            .map(|entry| ["event", "object", "outcome"].map(|key| entry[key].as_str().unwrap().to_owned()))
            .collect();
        let wanted: Vec<_> = wanted
            .iter()
            .map(|(event, object, outcome)| [event.text(), object, outcome.text()].map(str::to_owned))
            .collect();
        assert_eq!(found, wanted, "{new:#?}");
        for entry in &new {
            assert_eq!((&entry["who"], &entry["from"]), (&json!(ACCOUNT.0), &json!(FROM)), "{entry}");
            assert!(entry["time"].as_str().unwrap().ends_with('Z'), "{entry}");
        }
        new.iter().map(|entry| entry["detail"].as_str().unwrap().to_owned()).collect()
    }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// The newest backup of the desk.
fn newest(desk: &Desk) -> BackupName {
    let list = desk.holdfast.catalog().list().unwrap();
    list.iter().max_by_key(|backup| backup.created).unwrap().name.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_done_with_backups_is_noted_once_with_who_and_what_came_of_it() {
    let mut watched = Watched::over(Desk::new());
    watched.post("/api/create_backup", "database=ledger").await;
    let told = watched.noted(&[(Event::BackupCreated, "ledger", Ending::Ok)]).await;
    let file = newest(&watched.desk);
    assert!(told[0].starts_with(file.as_str()) && told[0].ends_with(" bytes"), "{told:?}");
    watched.post("/api/create_backup", "database=nowhere").await;
    watched.noted(&[(Event::BackupCreated, "nowhere", Ending::Refused)]).await;

    let path = format!("/backups/{file}");
    watched.desk.send(watched.request("HEAD", &path), "").await;
    watched.desk.send(watched.request("GET", "/backups/backup_none.dump.gz"), "").await;
    watched.noted(&[]).await;
    let whole = watched.desk.send(watched.request("GET", &path), "").await;
    let told = watched.noted(&[(Event::BackupDownloaded, file.as_str(), Ending::Ok)]).await;
    assert_eq!(told[0], format!("{} bytes, complete", whole.header("content-length")));
    watched.desk.send(watched.request("GET", &path).header(RANGE, "bytes=2-5"), "").await;
    let told = watched.noted(&[(Event::BackupDownloaded, file.as_str(), Ending::Ok)]).await;
    assert!(told[0].starts_with("bytes 2 to 5 of ") && told[0].ends_with(", complete"), "{told:?}");
    let large = "backup_large.dump.gz";
    watched.desk.put(large, 3 << 20, 60);
    let request = watched.request("GET", &format!("/backups/{large}")).body(Body::empty()).unwrap();
    let mut body = watched.desk.router.clone().oneshot(request).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    drop(body);
    let told = watched.noted(&[(Event::BackupDownloaded, large, Ending::Failed)]).await;
    assert!(told[0].starts_with("3145728 bytes, cut off after "), "{told:?}");

    watched.plain("/archives", "names[]=none&format=zip").await;
    watched.noted(&[(Event::ArchiveMade, "backups.zip", Ending::Refused)]).await;
    let names = format!("names[]={file}&names[]={large}&names[]=none");
    let address = watched.plain("/archives", &format!("{names}&format=zip")).await;
    let told = watched.noted(&[(Event::ArchiveMade, "backups.zip", Ending::Ok)]).await;
    assert!(told[0].contains(&format!("{address}, 2 backups")) && told[0].contains(large), "{told:?}");
    watched.desk.send(watched.request("GET", &address), "").await;
    watched.noted(&[(Event::ArchiveDownloaded, &address, Ending::Ok)]).await;

    watched.post("/api/verify_backups", &format!("names[]={file}")).await;
    watched.noted(&[(Event::BackupsVerified, file.as_str(), Ending::Ok)]).await;
    watched.post("/api/adopt_backups", "").await;
    watched.noted(&[(Event::BackupsAdopted, large, Ending::Failed)]).await;
    watched.post("/api/adopt_backups", "").await;
    let told = watched.noted(&[(Event::BackupsAdopted, "backups without a manifest", Ending::Refused)]).await;
    assert_eq!(told[0], "There is nothing to adopt: every backup has a manifest, or was found damaged.");

    let answer = watched.post("/api/delete_backups", &names).await;
    assert_eq!(answer["gone"].as_array().unwrap().len(), 2);
    let told = watched
        .noted(&[
            (Event::BackupDeleted, "none", Ending::Refused),
            (Event::BackupDeleted, file.as_str(), Ending::Ok),
            (Event::BackupDeleted, large, Ending::Ok),
        ])
        .await;
    assert_eq!(told[0], "Names without a backup: 1.");
    watched.post("/api/verify_backups", "all=on").await;
    let told = watched.noted(&[(Event::BackupsVerified, "all backups", Ending::Refused)]).await;
    assert_eq!(told[0], "There is no backup to verify yet. Create one first.");
}

#[tokio::test(flavor = "multi_thread")]
async fn restores_imports_and_cancelled_jobs_are_noted() {
    let mut watched = Watched::over(Desk::new());
    watched.post("/api/create_backup", "database=ledger").await;
    watched.noted(&[(Event::BackupCreated, "ledger", Ending::Ok)]).await;
    let file = newest(&watched.desk);

    let into = format!("{file} into {}", watched.desk.at("ledger.db").display());
    let form = format!("entry[file]={file}&entry[place]=over:ledger");
    let planned = watched.plain("/api/plan_restore", &form).await;
    watched.noted(&[(Event::RestorePlanned, &into, Ending::Ok)]).await;
    let plan = planned.split_once("plan=").unwrap().1;
    watched.plain("/api/start_restore", &format!("file={file}&plan={plan}&typed=other")).await;
    watched.noted(&[(Event::BackupRestored, &into, Ending::Refused)]).await;
    watched.plain("/api/start_restore", &format!("file={file}&plan={plan}&typed=ledger.db")).await;
    let told = watched
        .noted(&[(Event::BackupCreated, "ledger", Ending::Ok), (Event::BackupRestored, &into, Ending::Ok)])
        .await;
    assert!(told[0].ends_with("before it is replaced"), "{told:?}");
    let form =
        format!("entry[file]={file}&entry[place]=elsewhere&entry[url]=postgres://u:canary@127.0.0.1:1/x");
    watched.plain("/api/plan_restore", &form).await;
    let told = log(&watched.desk).pop().unwrap().to_string();
    assert!(told.contains("restore-planned") && !told.contains("canary"), "{told}");
    watched.seen += 1;

    // An import of one that is good and one that is none; and one that breaks off.
    let bytes = fs::read(watched.desk.backup(file.as_str())).unwrap();
    watched.post("/api/delete_backups", &format!("names[]={file}")).await;
    watched.noted(&[(Event::BackupDeleted, file.as_str(), Ending::Ok)]).await;
    let part = |name: &str, bytes: &[u8]| {
        let head =
            format!("--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\r\n");
        [head.as_bytes(), bytes, b"\r\n"].concat()
    };
    let body = [part(file.as_str(), &bytes), part("notes.txt", b"no backup"), b"--b--\r\n".to_vec()].concat();
    let import = |body: Vec<u8>| {
        let request =
            watched.request("POST", "/imports").header(CONTENT_TYPE, "multipart/form-data; boundary=b");
        watched.desk.router.clone().oneshot(request.body(Body::from(body)).unwrap())
    };
    let broken = body[..body.len() / 2].to_vec();
    import(body).await.unwrap();
    import(broken).await.unwrap();
    watched
        .noted(&[
            (Event::BackupImported, file.as_str(), Ending::Ok),
            (Event::BackupImported, "notes.txt", Ending::Refused),
            (Event::BackupImported, "Import", Ending::Cancelled),
        ])
        .await;

    // A job, cancelled by somebody else than who asked for it.
    let mara = Actor::reader(Some("mara".to_owned()), FROM.parse().ok(), None);
    let work: Work = Box::new(|cancel, _| {
        while !cancel.is_cancelled() {
            std::thread::sleep(Duration::from_millis(2));
        }
        Err(Error::Cancelled)
    });
    let JobId(id) = start_for(watched.desk.holdfast.jobs(), mara, backup("shop"), work).unwrap();
    watched.post("/api/cancel_job", &format!("id={id}")).await;
    watched.desk.last_job().await;
    watched.post("/api/cancel_job", &format!("id={id}")).await;
    let new = log(&watched.desk).split_off(watched.seen);
    let mut told: Vec<_> = new.iter().map(|e| [&e["event"], &e["who"], &e["outcome"]]).collect();
    told.sort_by_key(|told| told[0].to_string());
    let (ended, cancelled) = (json!("backup-created"), json!("job-cancelled"));
    assert_eq!(
        told,
        [[&ended, &json!("mara"), &json!("cancelled")], [&cancelled, &json!(ACCOUNT.0), &json!("ok")],]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_site_asks_for_is_noted_with_where_it_came_from() {
    let desk = Desk::new();
    let request = desk
        .request("POST", "/api/delete_backups")
        .header(ORIGIN, "https://evil.example")
        .header("sec-fetch-site", "cross-site")
        .header(CONTENT_TYPE, FORM)
        .extension(ConnectInfo::<SocketAddr>(format!("{FROM}:1").parse().unwrap()));
    let answer = desk.send(request, "names[]=x").await;
    assert_eq!(answer.status, 403);
    let told = log(&desk).pop().unwrap();
    assert_eq!(told["event"], "cross-site-rejected");
    assert_eq!((&told["object"], &told["from"]), (&json!("POST /api/delete_backups"), &json!(FROM)));
    assert_eq!(told["detail"], "from https://evil.example");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_done_off_site_is_noted_and_no_secret_with_it() {
    let mut watched = Watched::over(Desk::with(&["ledger"]));
    let mut sshd = Sshd::start();
    let server = format!("127.0.0.1 port {}", sshd.port);
    watched.post("/api/generate_sftp_key", "").await;
    watched.noted(&[(Event::SshKeyMade, "SFTP settings", Ending::Ok)]).await;
    let page = watched.desk.ask("/api/sftp_settings").await.json();
    sshd.authorize(page["settings"]["public_key"].as_str().unwrap());
    let form = format!(
        "entry[enabled]=on&entry[host]=127.0.0.1&entry[port]={}&entry[username]={}&entry[auth]=ssh-key&entry[remote_directory]=copies&entry[password]=canary-one",
        sshd.port,
        Sshd::user()
    );
    let tested = watched.post("/api/test_sftp", &form).await;
    let told = watched.noted(&[(Event::HostKeySeen, &server, Ending::Refused)]).await;
    let found = &tested["checklist"]["host_key"];
    let (kind, sum) = (found["key_type"].as_str().unwrap(), found["fingerprint"].as_str().unwrap());
    assert_eq!(told[0], format!("{kind} {sum}"));
    let approval =
        format!("host=127.0.0.1&port={}&key_type={}&fingerprint={}", sshd.port, encoded(kind), encoded(sum));
    watched.post("/api/approve_host_key", &approval).await;
    let told = watched.noted(&[(Event::HostKeyApproved, &server, Ending::Ok)]).await;
    assert_eq!(told[0], sum);
    watched.post("/api/save_sftp", &form).await;
    let told = watched.noted(&[(Event::SettingsChanged, "SFTP settings", Ending::Ok)]).await;
    assert_eq!(told[0], "auth, enabled, host, port, remote directory, username, password");
    watched.post("/api/save_sftp", &form.replace("canary-one", "").replace("copies", "copies/2")).await;
    let told = watched.noted(&[(Event::SettingsChanged, "SFTP settings", Ending::Ok)]).await;
    assert_eq!(told[0], "remote directory");

    watched.post("/api/create_backup", "database=ledger").await;
    watched.noted(&[(Event::BackupCreated, "ledger", Ending::Ok)]).await;
    let file = newest(&watched.desk);
    let names = format!("names[]={file}");
    watched.post("/api/upload_backups", &names).await;
    watched.noted(&[(Event::BackupUploaded, file.as_str(), Ending::Ok)]).await;
    watched.post("/api/delete_backups", &names).await;
    watched.noted(&[(Event::BackupDeleted, file.as_str(), Ending::Ok)]).await;
    watched.post("/api/fetch_backups", &names).await;
    watched.noted(&[(Event::BackupFetched, file.as_str(), Ending::Ok)]).await;
    watched.post("/api/delete_remote", &names).await;
    watched.noted(&[(Event::OffSiteDeleted, file.as_str(), Ending::Ok)]).await;
    sshd.stop();
    sshd.serve(&["rsa"]);
    watched.post("/api/upload_backups", &names).await;
    let told = watched
        .noted(&[
            (Event::HostKeyMismatch, &server, Ending::Refused),
            (Event::BackupUploaded, file.as_str(), Ending::Failed),
        ])
        .await;
    assert!(told[0].contains("ssh-rsa SHA256:") && told[0].contains(sum), "{told:?}");
    watched.post("/api/reset_sftp", "").await;
    watched.noted(&[(Event::SettingsReset, "SFTP settings", Ending::Ok)]).await;
    let all = fs::read_to_string(watched.desk.at("data/audit.jsonl")).unwrap();
    assert!(!all.contains("canary") && !all.contains("PRIVATE KEY"), "{all}");
}

#[test]
fn a_job_that_a_stop_left_running_is_noted_at_the_next_start_as_whose_it_was() {
    let desk = Desk::new();
    let (release, held) = std::sync::mpsc::channel::<()>();
    let by = Actor::reader(Some("mara".to_owned()), FROM.parse().ok(), Some("r1".to_owned()));
    let spec = upload("backup_ledger_2026-11-22_00-00-00Z.dump.gz", "nas");
    let work: Work = Box::new(move |_, _| {
        let _ = held.recv();
        Ok(JobResult::Report("It went on.".to_owned()))
    });
    start_for(desk.holdfast.jobs(), by, spec, work).unwrap();
    assert!(log(&desk).is_empty());
    let again = desk.reopened();
    let _lock = again.begin_serving().unwrap();
    let told = log(&desk);
    assert_eq!(told.len(), 1);
    for (key, value) in [
        ("event", "backup-uploaded"),
        ("who", "mara"),
        ("from", FROM),
        ("request", "r1"),
        ("object", "backup_ledger_2026-11-22_00-00-00Z.dump.gz"),
        ("outcome", "interrupted"),
    ] {
        assert_eq!(told[0][key], value, "{key}");
    }
    drop(release);
}

/// The program over the directories in `home`, in a shell.
fn shell(home: &Path, arguments: &[&str]) -> Command {
    program(home, &format!("ledger=sqlite://{}", home.join("ledger.db").display()), arguments)
}

#[test]
fn commands_are_noted_as_the_shells_user() {
    let home = tempfile::tempdir().unwrap();
    small_database(&home.path().join("ledger.db"));
    let made = shell(home.path(), &["backup", "ledger"]).output().unwrap();
    let file = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    let target = home.path().join("back.db").display().to_string();
    fs::remove_file(home.path().join(format!("data/backups/{file}.manifest.json"))).unwrap();
    for arguments in [
        &["list"][..],
        &["verify", &file],
        &["verify", "none.dump.gz"],
        &["adopt", &file],
        &["restore", &file, "--into", &format!("sqlite://{target}")],
        &["restore", &file, "--into", &format!("sqlite://{target}")],
    ] {
        shell(home.path(), arguments).output().unwrap();
    }
    // Where a cloud keeps its secrets nobody is connected to.
    let database = "far=postgres://u:canary@169.254.169.254/x";
    shell(home.path(), &["backup", "far"]).env("HOLDFAST_DATABASES", database).output().unwrap();
    shell(home.path(), &["rotate-key"]).output().unwrap();
    let path = home.path().join("data/audit.jsonl");
    let told = entries(&path);
    assert!(!fs::read_to_string(&path).unwrap().contains("canary"), "{told:#?}");
    let found: Vec<_> = told
        .iter()
        .map(|entry| ["event", "object", "outcome"].map(|key| entry[key].as_str().unwrap().to_owned()))
        .collect();
    let into = format!("{file} into {target}");
    let wanted = [
        ["backup-created", "ledger", "ok"],
        ["backups-verified", &file, "ok"],
        ["backups-verified", "none.dump.gz", "refused"],
        ["backups-adopted", &file, "ok"],
        ["backup-restored", &into, "ok"],
        ["backup-restored", &into, "refused"],
        ["egress-denied", "169.254.169.254 port 5432", "refused"],
        ["backup-created", "far", "failed"],
        ["key-rotated", "stored secrets", "refused"],
    ];
    assert_eq!(found, wanted.map(|line| line.map(str::to_owned)), "{told:#?}");
    let user = format!("user {}", getuid().as_raw());
    for entry in told.iter().filter(|entry| entry["event"] != "egress-denied") {
        assert_eq!((&entry["who"], &entry["from"]), (&json!(user), &json!("shell")), "{entry}");
    }
}

/// Texts with everything that breaks lines, commands terminals, or is longer than it should be.
fn hostile() -> Vec<String> {
    let evil = [
        "\r\n{\"event\":\"login\",\"outcome\":\"ok\"}",
        "\n\n\n",
        "\u{1b}[2J\u{1b}]0;title\u{7}",
        "\u{2028}\u{2029}\u{85}",
        "\u{202e}gz.pmud\u{202c}\u{2066}\u{2069}\u{200f}",
        "\"},{\"event\":\"login\"}",
        "\0\u{8}\u{7f}\u{9b}31m",
        "\\ud800\\u000a\\n%0a",
        "Ä😀\u{fffd}\u{feff}\u{200b}",
    ];
    let lone = String::from_utf8_lossy(b"\xed\xa0\x80\xff\xfe\xc0\x8a").into_owned();
    (0..TEXTS)
        .map(|i| match i {
            0 => format!("{}\n{}", "x".repeat(1 << 20), "\u{1b}".repeat(1000)),
            _ => format!("{i}{}{}{lone}", evil[i % 9], evil[i / 9 % 9].repeat(1 + i / 100)),
        })
        .collect()
}

/// What is wrong with a log of so many events, where anything is.
fn faults(text: &str, events: usize) -> Vec<String> {
    let mut faults = Vec::new();
    let lines: Vec<_> = text.split_terminator('\n').collect();
    if lines.len() != events || !text.ends_with('\n') {
        faults.push(format!("{} lines for {events} events", lines.len()));
    }
    for line in lines {
        if line.chars().any(is_treacherous) {
            faults.push("a character that is no good on a line".to_owned());
        }
        match serde_json::from_str::<Value>(line) {
            Ok(Value::Object(fields)) if fields.len() == 8 => {
                // As it stands in the line.
                let long = fields.values().filter(|value| value.to_string().len() > 1024 + 2);
                faults.extend(long.map(|value| format!("a field of {} bytes", value.to_string().len())));
            }
            _ => faults.push("no event".to_owned()),
        }
    }
    faults
}

#[tokio::test(flavor = "multi_thread")]
async fn no_name_and_no_word_of_an_error_can_forge_a_line_of_the_audit_log() {
    let desk = Desk::new();
    let texts = hostile();
    for (i, text) in texts.iter().enumerate() {
        match i % 4 {
            // As a username, a request's number and an error's words.
            0 => {
                let by = Actor::reader(Some(text.clone()), None, Some(text.clone()));
                desk.holdfast.on_behalf_of(by).notes().note(Event::Login, text, Ending::Failed, text);
            }
            1 => drop(desk.tell("/api/delete_backups", &format!("names[]={}", encoded(text))).await),
            2 => drop(
                desk.holdfast.imports().import(text, &mut &b"no backup"[..], &Cancel::default()).unwrap(),
            ),
            _ => drop(desk.tell("/api/verify_backups", &format!("names[]={}", encoded(text))).await),
        }
    }
    let written = fs::read_to_string(desk.at("data/audit.jsonl")).unwrap();
    assert_eq!(faults(&written, TEXTS), [""; 0]);
    // Nothing is lost of what is short enough.
    for (entry, text) in log(&desk).iter().zip(&texts).skip(1) {
        let object = entry["object"].as_str().unwrap();
        assert!(object == text || object.ends_with('…') && text.starts_with(object.trim_end_matches('…')));
    }
    assert_eq!(desk.holdfast.audit().read(&AuditQuery::default()).unwrap().entries.len(), 100);

    // The control: the same as somebody writes it who thinks of nothing.
    let naive = texts.iter().fold(String::new(), |mut naive, text| {
        let _ = writeln!(naive, "{{\"event\":\"login\",\"object\":\"{text}\",\"outcome\":\"failed\"}}");
        naive
    });
    assert!(faults(&naive, TEXTS).len() > TEXTS);
}

#[test]
fn lines_of_several_programs_never_mix_and_a_kill_leaves_whole_ones() {
    const EACH: usize = 200;
    let home = tempfile::tempdir().unwrap();
    small_database(&home.path().join("ledger.db"));
    let names: Vec<_> = (0..EACH).map(|i| format!("{}-{i}", "n".repeat(150))).collect();
    let verify = || {
        let mut arguments = vec!["verify"];
        arguments.extend(names.iter().map(String::as_str));
        let mut command = shell(home.path(), &arguments);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    // One alone makes the state database.
    assert!(shell(home.path(), &["list"]).status().unwrap().success());
    let running = [verify(), verify(), verify()];
    for mut child in running {
        assert_eq!(child.wait().unwrap().code(), Some(1), "none of the files is there");
    }
    let path = home.path().join("data/audit.jsonl");
    let written = fs::read_to_string(&path).unwrap();
    assert_eq!(faults(&written, 3 * EACH), [""; 0]);
    for name in &names {
        assert_eq!(written.matches(&format!("\"{name}\"")).count(), 3);
    }
    // Killed in the middle of it, at several moments.
    for run in 0..8 {
        let before = fs::metadata(&path).unwrap().len();
        let mut child = verify();
        let until = Instant::now() + Duration::from_secs(10);
        while fs::metadata(&path).unwrap().len() < before + 1 + 4000 * run && Instant::now() < until {
            std::thread::sleep(Duration::from_micros(50));
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let written = fs::read_to_string(&path).unwrap();
    // The kernel may take a write of several pages in part, where it is killed: such a line stands alone.
    let (whole, torn): (Vec<&str>, Vec<&str>) =
        written.lines().partition(|line| serde_json::from_str::<Value>(line).is_ok());
    let events = whole.len();
    assert!((3 * EACH + 8..11 * EACH).contains(&events), "{events} events: no kill came in between");
    assert_eq!(faults(&(whole.join("\n") + "\n"), events), [""; 0]);
    assert!(torn.len() <= 8, "{torn:?}");
    assert!(
        torn.iter().all(|line| line.starts_with("{\"time\":\"") && line.matches("\"time\":").count() == 1)
    );

    // The control: two that write their lines piece by piece, in turns.
    let torn = home.path().join("torn.jsonl");
    let line = format!("{}\n", written.lines().next().unwrap());
    let open = || OpenOptions::new().append(true).create(true).open(&torn).unwrap();
    let mut writers = [open(), open()];
    for piece in line.as_bytes().chunks(40) {
        for writer in &mut writers {
            writer.write_all(piece).unwrap();
        }
    }
    assert_ne!(faults(&fs::read_to_string(&torn).unwrap(), writers.len()), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_cannot_be_written_stops_no_deletion_and_goes_on_later() {
    let desk = Desk::new();
    let path = desk.at("data/audit.jsonl");
    let _ = fs::remove_file(&path);
    std::os::unix::fs::symlink("/dev/full", &path).unwrap();
    assert!(OpenOptions::new().append(true).open(&path).unwrap().write_all(b"x").is_err(), "the control");
    desk.put("backup_a.dump.gz", 10, 0);
    desk.put("backup_b.dump.gz", 10, 0);
    let gone = desk.tell("/api/delete_backups", "names[]=backup_a.dump.gz").await.json();
    assert_eq!(gone["gone"][0]["name"], "backup_a.dump.gz");
    assert!(!desk.backup("backup_a.dump.gz").exists());
    fs::remove_file(&path).unwrap();
    desk.tell("/api/delete_backups", "names[]=backup_b.dump.gz").await;
    let told = log(&desk);
    assert_eq!((told.len(), &told[0]["object"]), (1, &json!("backup_b.dump.gz")));
}

/// What the real program says on standard error, and what it noted, between its start and its stop.
#[test]
fn the_program_notes_its_start_and_its_stop_and_nobody_forges_its_log() {
    let home = tempfile::tempdir().unwrap();
    small_database(&home.path().join("ledger.db"));
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    // Whatever is no control character may be in a name.
    let name = "mara\u{2028}2026-11-23T02:41:07.123456Z  INFO \u{202e}forged";
    let mut server = shell(home.path(), &["serve"])
        .env("HOLDFAST_LISTEN", format!("127.0.0.1:{port}"))
        .env("HOLDFAST_ADMIN_USER", name)
        .env("HOLDFAST_ADMIN_PASSWORD", ACCOUNT.1)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(("127.0.0.1", port)).is_err() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(10));
    }
    for text in hostile().iter().skip(1).step_by(60) {
        let form = format!("username={}&password=wrong", encoded(text));
        let mut peer = TcpStream::connect(("127.0.0.1", port)).unwrap();
        write!(
            peer,
            "POST /login HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: \u{9b}2J{}\r\nConnection: close\r\n\
             Content-Type: {FORM}\r\nContent-Length: {}\r\n\r\n{form}",
            text.replace(char::is_control, ""),
            form.len()
        )
        .unwrap();
        let _ = peer.read_to_end(&mut Vec::new());
    }
    kill_process(Pid::from_child(&server), Signal::TERM).unwrap();
    let mut said = String::new();
    server.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(server.wait().unwrap().success(), "{said}");
    assert!(said.contains("mara\\u{2028}2026"), "{said}");
    for line in said.split_terminator('\n') {
        let is_stamped = line.starts_with("20") && line.as_bytes()[10] == b'T';
        assert!(
            is_stamped && !line.chars().any(is_treacherous) && !line.starts_with("2026-11-23T02"),
            "{line:?}"
        );
    }
    let told = entries(&home.path().join("data/audit.jsonl"));
    let is = |event: Event| told.iter().filter(|entry| entry["event"] == event.text()).collect::<Vec<_>>();
    for event in [Event::Started, Event::Stopped] {
        let found = is(event);
        assert_eq!(found.len(), 1, "{told:#?}");
        assert_eq!((&found[0]["who"], &found[0]["from"]), (&Value::Null, &json!("holdfast")));
        assert_eq!(found[0]["outcome"], "ok");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_shown_newest_first_page_by_page_and_downloaded_whole() {
    let desk = Desk::new();
    let before = log(&desk).len();
    let mara = desk.holdfast.on_behalf_of(Actor::reader(Some("mara".to_owned()), FROM.parse().ok(), None));
    for i in 0..120 {
        mara.notes().note(Event::BackupDeleted, &format!("number-{i}."), Ending::Ok, "");
    }
    desk.holdfast.notes().note(
        Event::SettingsReset,
        "\u{202e}<b>turned</b>\u{202c}",
        Ending::Refused,
        "the & that",
    );
    let page = desk.page("/audit").await;
    assert_eq!(page.status, 200);
    let body = page.body;
    assert!(
        body.contains("<h1>Audit log</h1>") && body.contains("number-119.") && !body.contains("number-20.")
    );
    assert!(body.contains("\\u{202e}&lt;b&gt;turned&lt;/b&gt;") && !body.contains('\u{202e}'), "{body}");
    assert!(body.find("number-119.").unwrap() < body.find("number-118.").unwrap());
    let older = desk.page("/audit?page=2").await.body;
    assert!(
        older.contains("number-20.") && !older.contains("number-119.") && older.contains("Newer entries")
    );
    let filtered = desk.page("/audit?event=settings-reset&who=&q=THAT").await.body;
    assert!(filtered.contains("turned") && !filtered.contains("number-"), "{filtered}");
    let filtered = desk.page("/audit?who=mara&q=umber-1").await.body;
    assert!(
        filtered.contains("number-119.")
            && filtered.contains("number-1.")
            && !filtered.contains("number-20.")
    );
    let kept = desk.page("/audit?who=mara&q=a%26b%3D+%22").await.body;
    assert!(
        kept.contains("value=\"a&amp;b= &quot;\"") && kept.contains("No entries match this filter"),
        "{kept}"
    );
    assert!(desk.page("/audit?who=mara").await.body.contains("/audit?who=mara&amp;page=2"));
    assert!(desk.page("/activity").await.body.contains("<a href=\"/audit\">Audit log</a>"));

    let written = fs::read_to_string(desk.at("data/audit.jsonl")).unwrap();
    assert_eq!(written.lines().count(), before + 121);
    let whole = desk.send(desk.request("GET", "/audit.jsonl"), "").await;
    assert_eq!(whole.body, written);
    assert_eq!(whole.header("content-disposition"), "attachment; filename=\"audit.jsonl\"");
    let until = Instant::now() + Duration::from_secs(5);
    while log(&desk).last().unwrap()["event"] != "audit-downloaded" && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(log(&desk).last().unwrap()["who"], ACCOUNT.0);
}
