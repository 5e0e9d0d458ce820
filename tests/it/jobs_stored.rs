//! Jobs as data: which are the same, what the history keeps of them, and what subscribers hear.

#![expect(clippy::unwrap_used, reason = "tests")]

use crate::planted_jobs::{Work, backup, began, fetch, held, plant, start, upload};
use crate::support::desk::Desk;
use holdfast::domain::audit::{Actor, Audit};
use holdfast::domain::events::{Happened, What};
use holdfast::domain::jobs::{Clock, JobResult, JobSpec, Jobs};
use holdfast::domain::state::Store;
use holdfast::model::audit::{Ending, Event};
use holdfast::model::{BackupName, JobId, JobState, Proof, Stamp, Task};
use http::StatusCode;
use rusqlite::Connection;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::broadcast::Receiver;

/// Backups in the directory, of which Holdfast made none.
fn put(desk: &Desk, names: &[&str]) -> Vec<BackupName> {
    for name in names {
        desk.put(name, 10, 60);
    }
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn form(names: &[BackupName]) -> String {
    names.iter().map(|name| format!("names[]={name}")).collect::<Vec<_>>().join("&")
}

/// What waits or runs.
fn under_way(desk: &Desk) -> Vec<Task> {
    let jobs = desk.holdfast.jobs().current();
    jobs.into_iter().filter(|job| job.state.is_active()).map(|job| job.task).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn selections_of_as_many_backups_are_different_jobs_and_no_backup_is_verified_twice_at_once() {
    let desk = Desk::new();
    let files = put(
        &desk,
        &["backup_a.dump.gz", "backup_b.dump.gz", "backup_c.dump.gz", "backup_d.dump.gz", "backup_e.dump.gz"],
    );
    let (work, begins, end) = held();
    let first = JobSpec::Verify { files: files[..2].to_vec() };
    start(desk.holdfast.jobs(), first, work).unwrap();
    began(&begins);

    // As many, and none of the same.
    let other = desk.tell("/api/verify_backups", &form(&files[2..4])).await;
    assert_eq!((other.status, &*other.body), (StatusCode::OK, r#"{"good":null,"bad":[]}"#));
    assert_eq!(
        under_way(&desk),
        [Task::Verify("2 backups".to_owned()), Task::Verify("2 backups".to_owned())]
    );

    // The same ones in another order, and one of them alone: the refusal names what is under way.
    let same = desk.tell("/api/verify_backups", &form(&[files[1].clone(), files[0].clone()])).await;
    let words = "Verification of backup_b.dump.gz, backup_a.dump.gz is already under way. Wait for it to end, or \
                 cancel it.";
    assert_eq!(same.json(), json!({ "good": null, "bad": [words] }));
    let one = desk.tell("/api/verify_backups", &form(&files[3..4])).await;
    assert!(one.body.contains("Verification of backup_d.dump.gz is already under way."), "{}", one.body);

    // Of all of them, one is left.
    let all = desk.tell("/api/verify_backups", "all=on").await;
    assert_eq!((all.status, &*all.body), (StatusCode::OK, r#"{"good":null,"bad":[]}"#));
    assert_eq!(under_way(&desk)[2], Task::Verify("backup_e.dump.gz".to_owned()));
    let all = desk.tell("/api/verify_backups", "all=on").await;
    assert!(all.body.contains("is already under way"), "{}", all.body);
    assert_eq!(under_way(&desk).len(), 3);

    // Adopting is something else than verifying, and the same rules are its own.
    let adopt = desk.tell("/api/adopt_backups", "").await;
    assert_eq!((adopt.status, &*adopt.body), (StatusCode::OK, r#"{"good":null,"bad":[]}"#));
    assert_eq!(under_way(&desk)[3], Task::Adopt("5 backups".to_owned()));
    let again = desk.tell("/api/adopt_backups", "").await;
    assert!(again.body.contains("Adoption of backup_"), "{}", again.body);
    desk.put("backup_f.dump.gz", 10, 60);
    let more = desk.tell("/api/adopt_backups", "").await;
    assert_eq!((more.status, &*more.body), (StatusCode::OK, r#"{"good":null,"bad":[]}"#));
    assert_eq!(under_way(&desk)[4], Task::Adopt("backup_f.dump.gz".to_owned()));

    end.send(()).unwrap();
    desk.last_job().await;
    // What was left out is told with what came of the rest.
    let jobs = desk.holdfast.jobs().history().unwrap();
    let rest = jobs.iter().find(|job| job.task == Task::Verify("backup_e.dump.gz".to_owned())).unwrap();
    let JobState::Failed { detail: Some(detail), .. } = &rest.state else { panic!("{rest:?}") };
    assert!(detail.starts_with("Left out, because another job is working on them: "), "{detail}");
    assert_eq!(detail.matches(".dump.gz").count() + detail.matches(" more").count(), 4, "{detail}");
    // Once they have ended, they may be verified again.
    let again = desk.tell("/api/verify_backups", &form(&files[..2])).await;
    assert_eq!((again.status, &*again.body), (StatusCode::OK, r#"{"good":null,"bad":[]}"#));
    desk.last_job().await;
}

#[test]
fn one_target_is_not_restored_into_twice_at_once() {
    let desk = Desk::new();
    let jobs = desk.holdfast.jobs();
    let restore = |file: &str, into: &str| JobSpec::Restore {
        file: format!("backup_{file}.dump.gz").parse().unwrap(),
        into: into.to_owned(),
        plan: format!("{file}{into}"),
    };
    let (work, begins, end) = held();
    start(jobs, restore("a", "one"), work).unwrap();
    began(&begins);
    let refused = |spec| jobs.queue(Arc::new(Actor::system()), spec).unwrap_err().to_string();
    let words = "Restore of backup_a.dump.gz is already under way. Wait for it to end, or cancel it.";
    assert_eq!(refused(restore("b", "one")), words);
    assert_eq!(refused(restore("a", "two")), words);
    assert!(start(jobs, restore("b", "two"), Box::new(|_, _| Ok(JobResult::Report(String::new())))).is_ok());
    end.send(()).unwrap();
}

#[test]
fn what_a_job_does_is_written_as_json_that_reads_back() {
    let file = || "backup_a.dump.gz".parse().unwrap();
    let all = [
        (backup("ledger"), json!({ "does": "backup", "database": "ledger", "upload": null })),
        (
            JobSpec::Backup { database: "ledger".parse().unwrap(), upload: Some("nas".parse().unwrap()) },
            json!({ "does": "backup", "database": "ledger", "upload": "nas" }),
        ),
        (
            upload("backup_a.dump.gz", "nas"),
            json!({ "does": "upload", "file": "backup_a.dump.gz", "destination": "nas" }),
        ),
        (
            fetch("backup_a.dump.gz", "nas"),
            json!({ "does": "fetch", "file": "backup_a.dump.gz", "destination": "nas" }),
        ),
        (JobSpec::Verify { files: vec![file()] }, json!({ "does": "verify", "files": ["backup_a.dump.gz"] })),
        (JobSpec::Adopt { files: vec![file()] }, json!({ "does": "adopt", "files": ["backup_a.dump.gz"] })),
        (
            JobSpec::Restore { file: file(), into: "shop".to_owned(), plan: "7".to_owned() },
            json!({ "does": "restore", "file": "backup_a.dump.gz", "into": "shop", "plan": "7" }),
        ),
    ];
    for (spec, written) in all {
        assert_eq!(serde_json::to_value(&spec).unwrap(), written);
        assert_eq!(serde_json::from_value::<JobSpec>(written).unwrap(), spec);
    }
}

#[test]
fn a_stored_transfer_without_a_destination_is_about_the_one_there_was() {
    for (does, spec) in [("upload", upload as fn(&str, &str) -> JobSpec), ("fetch", fetch)] {
        let read = |more: Value| {
            let mut stored = json!({ "does": does, "file": "backup_a.dump.gz" });
            stored.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            serde_json::from_value::<JobSpec>(stored)
        };
        assert_eq!(read(json!({})).unwrap(), spec("backup_a.dump.gz", "sftp"));
        // The controls.
        assert_eq!(read(json!({ "destination": "nas" })).unwrap(), spec("backup_a.dump.gz", "nas"));
        assert!(read(json!({ "destination": "../nas" })).is_err());
    }
}

#[test]
fn one_backup_goes_to_two_destinations_at_once_but_not_twice_to_one() {
    let desk = Desk::new();
    let jobs = desk.holdfast.jobs();
    let mut ends = Vec::new();
    for destination in ["one", "two"] {
        let (work, begins, end) = held();
        start(jobs, upload("backup_a.dump.gz", destination), work).unwrap();
        began(&begins);
        ends.push(end);
    }
    let again = jobs.queue(Arc::new(Actor::system()), upload("backup_a.dump.gz", "two")).unwrap_err();
    let words = "backup_a.dump.gz is already being transferred. Wait for that job to end, or cancel it.";
    assert_eq!(again.to_string(), words);
    for end in ends {
        end.send(()).unwrap();
    }
}

#[test]
fn a_kill_leaves_in_the_history_what_each_job_was_to_do() {
    let desk = Desk::new();
    let files = put(&desk, &["backup_a.dump.gz", "backup_b.dump.gz"]);
    let (work, begins, _end) = held();
    let verify = JobSpec::Verify { files: files.clone() };
    let running = start(desk.holdfast.jobs(), verify.clone(), work).unwrap();
    began(&begins);
    let waits = JobSpec::Adopt { files };
    let waiting = desk.holdfast.jobs().queue(Arc::new(Actor::system()), waits.clone()).unwrap();
    // As after a kill: the first Holdfast says nothing more.
    let restarted = desk.reopened();
    let mut events = restarted.events().subscribe();
    let _claim = restarted.begin_serving().unwrap();
    let mut told = Vec::new();
    while let Ok(Happened { what: What::JobEnded { job, spec, state }, .. }) = events.try_recv() {
        told.push((job, (*spec).clone(), state));
    }
    assert_eq!(told, [(running, verify, JobState::Interrupted), (waiting, waits, JobState::Interrupted)]);
    assert_eq!(restarted.jobs().get(waiting).unwrap().state, JobState::Interrupted);
}

/// A queue over the state database in `home`, whose clock stands at `now`.
fn queue_in(home: &Path, now: i64) -> (Jobs, Store) {
    let clock: Clock = Arc::new(move || Stamp::from_millis(now));
    let store = Store::open(&home.join("holdfast.db")).unwrap();
    (Jobs::new(store.clone(), Arc::clone(&clock), Audit::new(home, clock)), store)
}

/// Has a job of that database fail or succeed, and gives its number.
async fn run(jobs: &Jobs, database: &str, message: &str) -> JobId {
    let message = message.to_owned();
    let id = start(jobs, backup(database), Box::new(|_, _| Ok(JobResult::Report(message)))).unwrap();
    tokio::time::timeout(Duration::from_secs(5), jobs.ended(id)).await.unwrap().unwrap();
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn no_old_job_is_overwritten_where_the_history_could_not_be_read_at_the_start() {
    const NOW: i64 = 1_795_401_667_123;
    let home = tempfile::tempdir().unwrap();
    let sql =
        |text: &str| Connection::open(home.path().join("holdfast.db")).unwrap().execute_batch(text).unwrap();
    let rows = |jobs: &Jobs| -> Vec<_> {
        let history = jobs.history().unwrap().into_iter().rev();
        history.map(|job| (job.id, job.task.subject().to_owned(), job.state)).collect()
    };
    let (jobs, store) = queue_in(home.path(), NOW);
    for database in ["a", "b", "c"] {
        run(&jobs, database, "the first run").await;
    }
    let old = rows(&jobs);
    assert_eq!(old.iter().map(|(id, ..)| id.0).collect::<Vec<_>>(), [1, 2, 3]);
    drop((jobs, store));

    // It opens, and then its history cannot be read: neither at the start, nor for the first job.
    let store = Store::open(&home.path().join("holdfast.db")).unwrap();
    sql("ALTER TABLE jobs RENAME TO elsewhere");
    let clock: Clock = Arc::new(|| Stamp::from_millis(NOW + 5000));
    let jobs = Jobs::new(store, Arc::clone(&clock), Audit::new(home.path(), clock));
    let fourth = run(&jobs, "d", "the second run").await;
    assert!(jobs.history().is_err(), "the history can be read");
    sql("ALTER TABLE elsewhere RENAME TO jobs");
    // Now it can be read again, and takes in what it missed.
    let fifth = run(&jobs, "e", "the second run").await;
    assert_eq!(jobs.history().unwrap().len(), 5);
    let (again, _store) = queue_in(home.path(), NOW + 6000);
    let now = rows(&again);
    assert_eq!(now[..3], old);
    assert_eq!((now[3].0, &*now[3].1, now[4].0, &*now[4].1), (fourth, "d", fifth, "e"));
    assert!(fifth > fourth && fourth.0 > 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_go_on_where_the_history_is_readable_again_before_the_first_job() {
    const NOW: i64 = 1_795_401_667_123;
    let home = tempfile::tempdir().unwrap();
    let (jobs, _store) = queue_in(home.path(), NOW);
    let old = run(&jobs, "a", "the first run").await;
    let sql =
        |text: &str| Connection::open(home.path().join("holdfast.db")).unwrap().execute_batch(text).unwrap();
    let store = Store::open(&home.path().join("holdfast.db")).unwrap();
    sql("ALTER TABLE jobs RENAME TO elsewhere");
    let clock: Clock = Arc::new(|| Stamp::from_millis(NOW));
    let jobs = Jobs::new(store, Arc::clone(&clock), Audit::new(home.path(), clock));
    sql("ALTER TABLE elsewhere RENAME TO jobs");
    let next = run(&jobs, "a", "the second run").await;
    assert_eq!((old, next), (JobId(1), JobId(2)));
    assert_eq!(jobs.history().unwrap().len(), 2);
}

#[test]
fn pages_do_not_wait_for_a_slow_disk() {
    let desk = Desk::new();
    let jobs = desk.holdfast.jobs();
    let (work, begins, end) = held();
    let running = start(jobs, backup("a"), work).unwrap();
    began(&begins);

    // Another program writes to the state database, and does not get on. SQLite waits for it for five seconds.
    let slow = Connection::open(desk.at("data/holdfast.db")).unwrap();
    slow.execute_batch("BEGIN IMMEDIATE; INSERT INTO settings VALUES ('slow', 'disk')").unwrap();
    std::thread::scope(|scope| {
        // One job ends, one begins and one is cancelled meanwhile.
        end.send(()).unwrap();
        let queued = scope.spawn(|| jobs.queue(Arc::new(Actor::system()), backup("b")).unwrap());
        let since = Instant::now();
        while desk.holdfast.backups().live().jobs.len() < 2 {
            assert!(since.elapsed() < Duration::from_secs(2), "the queued job is not shown");
            std::thread::sleep(Duration::from_millis(5));
        }
        let waiting = jobs.current()[1].id;
        let cancelled = scope.spawn(move || jobs.cancel(waiting));
        std::thread::sleep(Duration::from_millis(200));
        let (asked, since) = (100, Instant::now());
        for _ in 0..asked {
            assert_eq!(desk.holdfast.backups().live().jobs.len(), 2);
            assert_eq!(jobs.current().len(), 2);
        }
        assert!(since.elapsed() < Duration::from_secs(1), "{asked} looks took {:?}", since.elapsed());
        // Nothing is told as done before it is in the history.
        assert!(jobs.current().iter().all(|job| job.state.is_active()), "{:?}", jobs.current());
        slow.execute_batch("COMMIT").unwrap();
        assert_eq!(queued.join().unwrap(), waiting);
        cancelled.join().unwrap().unwrap();
        let since = Instant::now();
        while jobs.current().iter().any(|job| job.state.is_active()) {
            assert!(since.elapsed() < Duration::from_secs(5), "{:?}", jobs.current());
            std::thread::sleep(Duration::from_millis(5));
        }
        let history = jobs.history().unwrap();
        let states: Vec<_> = history.iter().map(|job| (job.id, job.state.label())).collect();
        assert_eq!(states, [(waiting, "cancelled"), (running, "done")]);
    });
}

/// The next event; it has to come within five seconds.
async fn next(events: &mut Receiver<Happened>) -> Happened {
    tokio::time::timeout(Duration::from_secs(5), events.recv()).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribers_hear_what_happens_in_order_and_by_whom() {
    let desk = Desk::with(&["ledger"]);
    let mut events = desk.holdfast.events().subscribe();
    let mara = desk.holdfast.on_behalf_of(Actor::reader(Some("mara".to_owned()), None, None));

    let id = mara.creations().start(&"ledger".parse().unwrap(), false).unwrap();
    let spec = Arc::new(backup("ledger"));
    let queued = next(&mut events).await;
    assert_eq!(queued.by.who(), Some("mara"));
    assert_eq!(queued.what, What::JobQueued { job: id, spec: Arc::clone(&spec) });
    assert_eq!(next(&mut events).await.what, What::JobStarted { job: id, spec: Arc::clone(&spec) });
    let ended = next(&mut events).await;
    let What::JobEnded { job, spec: done, state: JobState::Done { file, size, .. } } = ended.what else {
        panic!("{ended:?}")
    };
    assert_eq!((ended.by.who(), job, done), (Some("mara"), id, spec));
    // Whoever hears of the end finds it in the history.
    assert!(!desk.holdfast.jobs().get(id).unwrap().state.is_active());

    let id = mara.verifications().start(&[file.to_string()]).unwrap();
    let spec = Arc::new(JobSpec::Verify { files: vec![file.clone()] });
    assert_eq!(next(&mut events).await.what, What::JobQueued { job: id, spec: Arc::clone(&spec) });
    assert_eq!(next(&mut events).await.what, What::JobStarted { job: id, spec });
    let verified = next(&mut events).await;
    assert_eq!(verified.by.who(), Some("mara"));
    assert_eq!(verified.what, What::BackupVerified { file: file.clone(), proof: Proof::Restored });
    assert!(matches!(next(&mut events).await.what, What::JobEnded { state: JobState::Reported { .. }, .. }));

    // A job that fails, and one that is refused.
    let broken: Work = Box::new(|_, _| panic!("planted"));
    plant(desk.holdfast.jobs(), &backup("ledger"), broken);
    mara.creations().start(&"ledger".parse().unwrap(), false).unwrap();
    next(&mut events).await;
    next(&mut events).await;
    assert!(matches!(next(&mut events).await.what, What::JobEnded { state: JobState::Failed { .. }, .. }));
    assert!(mara.verifications().start(&["none".to_owned()]).is_err());
    let What::Noted(refused) = next(&mut events).await.what else { panic!("a refusal is not told") };
    assert_eq!((refused.event, refused.outcome), (Event::BackupsVerified, Ending::Refused));

    mara.backups().delete(&[file.to_string()]).unwrap();
    assert_eq!(next(&mut events).await.what, What::BackupDeleted { file, size });

    let login = format!("username={}&password=wrong-password", crate::support::desk::ACCOUNT.0);
    desk.form("/login", &login).await;
    let What::Noted(refused) = next(&mut events).await.what else { panic!("a login is not told") };
    assert_eq!((refused.event, refused.outcome), (Event::Login, Ending::Failed));
}

#[test]
fn a_subscriber_that_does_not_listen_holds_nobody_up_and_learns_what_it_missed() {
    let desk = Desk::new();
    let mut events = desk.holdfast.events().subscribe();
    for number in 0..1030 {
        let what = What::BackupVerified {
            file: format!("backup_{number}.dump.gz").parse().unwrap(),
            proof: Proof::Readable,
        };
        let by = Arc::new(Actor::system());
        desk.holdfast.events().send(Happened { at: desk.holdfast.now(), by, what });
    }
    assert!(matches!(events.try_recv(), Err(tokio::sync::broadcast::error::TryRecvError::Lagged(6))));
}
