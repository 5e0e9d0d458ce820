//! The queue and what the pages hear of it: waiting, cancelling, failing, a restart, the event stream.

#![expect(clippy::unwrap_used, reason = "tests")]

use crate::planted_jobs::{FILE, Work, backup, began, done, fetch, held, start, upload};
use crate::support::desk::{Desk, contents_of};
use axum::body::Body;
use futures::StreamExt;
use holdfast::domain::audit::Actor;
use holdfast::model::{DatabaseName, JobId, JobState, Phase};
use http::StatusCode;
use serde_json::{Value, json};
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tower::ServiceExt;

fn system() -> Arc<Actor> {
    Arc::new(Actor::system())
}

fn database(name: &str) -> DatabaseName {
    name.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_job_ends_and_says_so() {
    let desk = Desk::new();
    let jobs = desk.holdfast.jobs();
    let (work, begins, _end) = held();
    let id = start(jobs, backup("ledger"), work).unwrap();
    began(&begins);
    assert_eq!(
        jobs.get(id).unwrap().state,
        JobState::Running {
            phase: Phase::Compressing,
            read: 400,
            written: 100,
            total: Some(1000),
            told: None
        }
    );
    let answer = desk.tell("/api/cancel_job", &format!("id={id}")).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let ended = tokio::time::timeout(Duration::from_secs(2), jobs.ended(id)).await.unwrap().unwrap();
    assert_eq!(ended.state, JobState::Cancelled);
    assert!(ended.ended.is_some());
    let again = desk.tell("/api/cancel_job", &format!("id={id}")).await;
    assert_eq!(again.status, StatusCode::OK, "whoever comes too late has what they wanted");
    let unknown = desk.tell("/api/cancel_job", "id=999").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    assert_eq!(unknown.json(), json!({ "NotFound": "There is no such job." }));
    assert!(jobs.failing().is_empty(), "a cancelled backup is no failure");
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_wait_for_uploads_and_not_for_backups() {
    let desk = Desk::with(&["ledger"]);
    let jobs = desk.holdfast.jobs();
    let file = |i: usize| format!("backup_{i}.dump.gz");
    let tasks =
        [backup("a"), backup("b"), upload(&file(1), "nas"), fetch(&file(2), "nas"), upload(&file(3), "nas")];
    let (mut ids, mut ends) = (Vec::new(), Vec::new());
    for task in tasks {
        let (work, begun, end) = held();
        ids.push(start(jobs, task, work).unwrap());
        ends.push((begun, end));
    }
    for (begun, _) in &ends[..4] {
        began(begun);
    }
    assert_eq!(jobs.get(ids[4]).unwrap().state, JobState::Queued, "two transfers run at a time");
    assert!(jobs.queue(system(), upload(&file(1), "nas")).is_err(), "the same is on its way already");
    ends[0].1.send(()).unwrap();
    assert!(ends[4].0.try_recv().is_err(), "a backup's end is no turn for an upload");
    ends[3].1.send(()).unwrap();
    began(&ends[4].0);
    for (_, end) in [&ends[1], &ends[2], &ends[4]] {
        end.send(()).unwrap();
    }
    tokio::time::timeout(Duration::from_secs(5), jobs.all_ended()).await.unwrap();
    let words: Vec<_> = ids.iter().map(|id| jobs.get(*id).unwrap().word()).collect();
    assert_eq!(words, ["created", "created", "uploaded", "fetched", "uploaded"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_third_backup_waits_for_one_of_two() {
    let desk = Desk::new();
    let jobs = desk.holdfast.jobs();
    let held: Vec<_> = (0..4).map(|_| held()).collect();
    let mut ids = Vec::new();
    let mut ends = Vec::new();
    for (i, (work, begins, end)) in held.into_iter().enumerate() {
        ids.push(start(jobs, backup(&format!("d{i}")), work).unwrap());
        ends.push((begins, end));
    }
    began(&ends[0].0);
    began(&ends[1].0);
    assert_eq!(jobs.get(ids[2]).unwrap().state, JobState::Queued);
    assert_eq!(jobs.get(ids[3]).unwrap().state, JobState::Queued);
    let waiting = desk.page("/").await;
    assert!(waiting.body.contains("waiting for another job"));
    // The one that never began is gone at once, and its turn goes to nobody.
    jobs.cancel(ids[2]).unwrap();
    assert_eq!(jobs.get(ids[2]).unwrap().state, JobState::Cancelled);
    assert!(ends[3].0.try_recv().is_err(), "three ran at a time");
    ends[0].1.send(()).unwrap();
    began(&ends[3].0);
    assert!(ends[2].0.try_recv().is_err(), "a cancelled job ran");
    ends[1].1.send(()).unwrap();
    ends[3].1.send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(5), jobs.all_ended()).await.unwrap();
    let states: Vec<_> = ids.iter().map(|id| jobs.get(*id).unwrap().word()).collect();
    assert_eq!(states, ["created", "created", "cancelled", "created"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_backup_of_the_same_database_is_refused() {
    let desk = Desk::new();
    let (work, begins, end) = held();
    start(desk.holdfast.jobs(), backup("ledger"), work).unwrap();
    began(&begins);
    let refused = desk.tell("/api/create_backup", "database=ledger").await;
    assert_eq!(refused.status, StatusCode::CONFLICT, "{}", refused.body);
    let words = "A backup of ledger is already under way. Wait for it to end, or cancel it.";
    assert_eq!(refused.json(), json!({ "Conflict": words }));
    assert_eq!(desk.tell("/api/create_backup", "database=shop").await.status, StatusCode::OK);
    end.send(()).unwrap();
    desk.holdfast.jobs().all_ended().await;
    assert_eq!(desk.tell("/api/create_backup", "database=ledger").await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_breaks_fails_and_the_next_one_runs() {
    let desk = Desk::new();
    let jobs = desk.holdfast.jobs();
    let id = start(jobs, backup("ledger"), Box::new(|_, _| panic!("planted"))).unwrap();
    let broken = tokio::time::timeout(Duration::from_secs(5), jobs.ended(id)).await.unwrap().unwrap();
    assert!(matches!(broken.state, JobState::Failed { .. }), "{broken:?}");
    assert!(jobs.failing().contains(&database("ledger")));
    let next = desk.holdfast.creations().start(&database("ledger"), false).unwrap();
    let next = tokio::time::timeout(Duration::from_secs(5), jobs.ended(next)).await.unwrap().unwrap();
    assert!(matches!(next.state, JobState::Done { .. }), "{next:?}");
    assert!(jobs.failing().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_backup_leaves_no_file() {
    let desk = Desk::new();
    // Locked, so that the backup waits for it.
    let writer = rusqlite::Connection::open(desk.at("ledger.db")).unwrap();
    writer.execute_batch("BEGIN EXCLUSIVE; INSERT INTO t VALUES ('four');").unwrap();
    let id = desk.holdfast.creations().start(&database("ledger"), false).unwrap();
    let since = Instant::now();
    while !contents_of(desk.holdfast.backup_dir()).iter().any(|name| name.starts_with(".part-")) {
        assert!(since.elapsed() < Duration::from_secs(5), "the backup never began");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    desk.holdfast.jobs().cancel(id).unwrap();
    let ended =
        tokio::time::timeout(Duration::from_secs(3), desk.holdfast.jobs().ended(id)).await.unwrap().unwrap();
    assert_eq!(ended.state, JobState::Cancelled);
    assert_eq!(contents_of(desk.holdfast.backup_dir()), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_marks_what_was_running_as_interrupted() {
    let desk = Desk::new();
    let finished = desk.holdfast.creations().start(&database("shop"), false).unwrap();
    desk.holdfast.jobs().all_ended().await;
    let (work, begins, _end) = held();
    let running = start(desk.holdfast.jobs(), backup("ledger"), work).unwrap();
    began(&begins);
    // As after a crash: the first holdfast says nothing more.
    let restarted = desk.reopened();
    let _claim = restarted.begin_serving().unwrap();
    let jobs = restarted.jobs();
    assert!(jobs.current().is_empty());
    let interrupted = jobs.get(running).unwrap();
    assert_eq!(interrupted.state, JobState::Interrupted);
    assert!(interrupted.ended.is_some());
    assert!(matches!(jobs.get(finished).unwrap().state, JobState::Done { .. }));
    assert_eq!(jobs.failing().into_iter().collect::<Vec<_>>(), [database("ledger")]);
    let next = restarted.creations().start(&database("shop"), false).unwrap();
    assert!(next > running, "a number was given twice");
    let ids: Vec<JobId> = jobs.history().unwrap().iter().map(|job| job.id).collect();
    assert_eq!(ids, [next, running, finished]);
    jobs.all_ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_interrupts_what_runs_and_what_waits() {
    let desk = Desk::new();
    let jobs = desk.holdfast.jobs();
    let ran = Arc::new(AtomicBool::new(false));
    let (first, first_begins, _end_first) = held();
    let (second, second_begins, _end_second) = held();
    start(jobs, backup("a"), first).unwrap();
    start(jobs, backup("b"), second).unwrap();
    let third = Arc::clone(&ran);
    let waits: Work = Box::new(move |_, _| {
        third.store(true, Ordering::SeqCst);
        Ok(done().into())
    });
    start(jobs, backup("c"), waits).unwrap();
    began(&first_begins);
    began(&second_begins);
    jobs.interrupt_all();
    tokio::time::timeout(Duration::from_secs(5), jobs.all_ended()).await.unwrap();
    let states: Vec<_> = jobs.history().unwrap().into_iter().map(|job| job.state).collect();
    assert_eq!(states, [JobState::Interrupted, JobState::Interrupted, JobState::Interrupted]);
    assert!(!ran.load(Ordering::SeqCst), "a waiting job began while the program stopped");
}

/// One open page: it listens all the time, as a browser does.
struct Page {
    messages: UnboundedReceiver<Value>,
}

impl Page {
    async fn open(desk: &Desk) -> Self {
        let request = desk.request("GET", "/events").body(Body::empty()).unwrap();
        let answer = desk.router.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        let (heard, messages) = unbounded_channel();
        let mut stream = answer.into_body().into_data_stream();
        tokio::spawn(async move {
            let mut text = String::new();
            while let Some(piece) = stream.next().await {
                text.push_str(std::str::from_utf8(&piece.unwrap()).unwrap());
                while let Some((message, rest)) = text.split_once("\n\n") {
                    // What is no data keeps the line open.
                    if let Some(data) = message.strip_prefix("data: ")
                        && heard.send(serde_json::from_str(data).unwrap()).is_err()
                    {
                        return;
                    }
                    text = rest.to_owned();
                }
            }
        });
        Self { messages }
    }

    /// The next message; it has to come within three seconds.
    async fn next(&mut self) -> Value {
        tokio::time::timeout(Duration::from_secs(3), self.messages.recv()).await.unwrap().unwrap()
    }

    /// The first message that is as wanted; it has to come within three seconds.
    async fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        let within = async {
            loop {
                let message = self.next().await;
                if wanted(&message) {
                    return message;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(3), within).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_open_page_hears_of_a_backup_and_its_progress() {
    let desk = Desk::new();
    let (mut first, mut second) = (Page::open(&desk).await, Page::open(&desk).await);
    for page in [&mut first, &mut second] {
        assert_eq!(page.next().await["jobs"], json!([]), "something is said at once");
    }
    let (work, begins, end) = held();
    let id = start(desk.holdfast.jobs(), backup("ledger"), work).unwrap();
    began(&begins);
    for page in [&mut first, &mut second] {
        let running = page.until(|live| live["jobs"][0]["state"]["read"] == 400).await;
        let state =
            json!({ "is": "running", "phase": "compressing", "read": 400, "written": 100, "total": 1000 });
        assert_eq!(running["jobs"][0]["state"], state);
        assert_eq!(running["jobs"][0]["id"], id.0);
    }
    end.send(()).unwrap();
    for page in [&mut first, &mut second] {
        let ended = page.until(|live| live["jobs"][0]["state"]["is"] == "done").await;
        assert_eq!(ended["jobs"][0]["state"]["file"], FILE);
    }
    // A page opened after it hears of it, too.
    let late = Page::open(&desk).await.next().await;
    assert_eq!(late["jobs"][0]["state"]["is"], "done");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_somebody_else_made_is_heard() {
    let desk = Desk::new();
    let mut page = Page::open(&desk).await;
    let mut known = page.next().await["catalog"].clone();
    let file = desk.backup("backup_put-here.dump.gz");
    let renamed = desk.backup("backup_renamed.dump.gz");
    let changes: [&dyn Fn() -> std::io::Result<()>; 3] =
        [&|| fs::write(&file, "put here"), &|| fs::rename(&file, &renamed), &|| fs::remove_file(&renamed)];
    for change in changes {
        // Not while the page is just being told something.
        tokio::time::sleep(Duration::from_millis(200)).await;
        change().unwrap();
        known = page.until(|live| live["catalog"] != known).await["catalog"].clone();
    }
}
