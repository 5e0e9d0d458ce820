//! Concurrency trials: simultaneous creates, programs, readers and deletions.

#![expect(clippy::unnecessary_wraps, reason = "trials return a result; this one runs on any machine")]

use crate::home::{count_in, faults_in, home, manifest_of, packed, serving};
use crate::report::{Line, Outcome, Run};
use crate::support::desk::{Desk, NOW, contents_of};
use crate::support::holdfast::PATIENCE;
use holdfast::domain::Error;
use holdfast::domain::engines::Cancel;
use holdfast::domain::jobs::Progress;
use holdfast::model::{BackupName, DatabaseName, JobState, Phase, Stamp};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// C1, P5, P14: simultaneous creates of one database and of twenty; two programs on one directory.
pub fn creates(run: Run) -> Outcome {
    Ok(vec![at_once(run, 1), at_once(run, 20), asked_at_once(run), two_programs(run)])
}

/// Counts how many backups of one database are made at the same time.
#[derive(Default)]
struct AtWork {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Progress for AtWork {
    fn phase(&self, phase: Phase) {
        match phase {
            Phase::Compressing => {
                let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
                self.most.fetch_max(now, Ordering::SeqCst);
            }
            Phase::Publishing => drop(self.now.fetch_sub(1, Ordering::SeqCst)),
            _ => {}
        }
    }
    fn total(&self, _: u64) {}
    fn bytes(&self, _: u64, _: u64) {}
}

/// Many simultaneous creates, each on a thread that retries, while the clock stands still.
fn at_once(run: Run, databases: usize) -> Line {
    let creates = run.scale.of(200, 100);
    let names: Vec<DatabaseName> = (0..databases).map(|i| format!("db-{i}").parse().unwrap()).collect();
    let desk = Desk::with(&names.iter().map(DatabaseName::as_str).collect::<Vec<_>>());
    let at_work: Vec<_> = names.iter().map(|_| AtWork::default()).collect();
    let (failures, made) = (Mutex::new(Vec::new()), Mutex::new(BTreeSet::new()));
    let busy = AtomicUsize::new(0);
    let start = Barrier::new(creates);
    thread::scope(|scope| {
        for i in 0..creates {
            let (names, at_work, failures, made, start) = (&names, &at_work, &failures, &made, &start);
            let (holdfast, busy) = (&desk.holdfast, &busy);
            scope.spawn(move || {
                start.wait();
                loop {
                    match holdfast.creations().back_up(
                        &names[i % databases],
                        &Cancel::default(),
                        &at_work[i % databases],
                    ) {
                        Ok(finished) if made.lock().unwrap().insert(finished.file.clone()) => return,
                        Ok(finished) => {
                            return failures
                                .lock()
                                .unwrap()
                                .push(format!("{} was given twice", finished.file));
                        }
                        Err(Error::Busy(_)) => drop(busy.fetch_add(1, Ordering::Relaxed)),
                        Err(error) => return failures.lock().unwrap().push(error.to_string()),
                    }
                    thread::sleep(Duration::from_millis(2));
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap();
    failures.extend(missing_or_broken(desk.holdfast.backup_dir(), creates));
    let most = at_work.iter().map(|at_work| at_work.most.load(Ordering::SeqCst)).max().unwrap();
    if most > 1 {
        failures.push(format!("{most} backups of one database at the same time"));
    }
    let caught = (0..5).filter(|_| naive_creates(&names, creates)).count();
    Line {
        id: "P14/C1",
        what: format!("simultaneous creates, {databases} DBs, frozen clock"),
        runs: creates,
        failures,
        caught: (caught, 5),
        notes: format!("refused as busy and retried {}", busy.into_inner()),
    }
}

/// The faults of a directory that should have this many backups.
fn missing_or_broken(dir: &Path, creates: usize) -> Vec<String> {
    let there = count_in(dir);
    let short = (there != creates).then(|| format!("{there} files of {creates} creates"));
    faults_in(dir).into_iter().chain(short).collect()
}

/// The control: takes the name from the clock and writes straight to that file. Returns whether it was caught.
fn naive_creates(databases: &[DatabaseName], creates: usize) -> bool {
    let dir = tempfile::tempdir().unwrap();
    thread::scope(|scope| {
        for i in 0..creates {
            let (dir, database) = (dir.path(), &databases[i % databases.len()]);
            scope.spawn(move || {
                let (now, bytes) = (Stamp::from_millis(NOW), packed(&vec![b'x'; 1000 + i]));
                let name = BackupName::new(database, now, 1);
                fs::write(dir.join(name.as_str()), &bytes).unwrap();
                fs::write(dir.join(name.manifest()), manifest_of(name.as_str(), now, &bytes)).unwrap();
            });
        }
    });
    !missing_or_broken(dir.path(), creates).is_empty()
}

/// Many simultaneous requests to create a backup: each is accepted or refused, and accepted backups are made.
fn asked_at_once(run: Run) -> Line {
    let asked = run.scale.of(200, 100);
    let desk = Desk::new();
    let mut failures = Vec::new();
    let (mut taken, mut refused) = (0, 0);
    Runtime::new().unwrap().block_on(async {
        let ask = |i: usize| {
            let database = ["ledger", "shop"][i % 2];
            let body = format!("database={database}");
            let desk = &desk;
            async move { desk.tell("/api/create_backup", &body).await.status.as_u16() }
        };
        for status in futures::future::join_all((0..asked).map(ask)).await {
            match status {
                200 => taken += 1,
                409 => refused += 1,
                other => failures.push(format!("answered {other}")),
            }
        }
        if tokio::time::timeout(PATIENCE, desk.holdfast.jobs().all_ended()).await.is_err() {
            failures.push("jobs did not end".to_owned());
        }
    });
    let jobs = desk.holdfast.jobs().history().unwrap();
    let undone = jobs.iter().filter(|job| !matches!(job.state, JobState::Done { .. }));
    failures.extend(undone.map(|job| format!("job {}: {:?}", job.id, job.state)));
    failures.extend(missing_or_broken(desk.holdfast.backup_dir(), taken));
    let databases = desk.holdfast.databases().now().names();
    let caught = (0..5).filter(|_| naive_creates(&databases, asked)).count();
    Line {
        id: "C1",
        what: "simultaneous creates over HTTP, 2 databases".to_owned(),
        runs: asked,
        failures,
        caught: (caught, 5),
        notes: format!("accepted {taken}, refused as already under way {refused}"),
    }
}

/// Two programs at a time are started on one directory: one serves, the other says why it does not. When the serving
/// one is killed, no lock remains.
fn two_programs(run: Run) -> Line {
    let runs = run.scale.of(20, 6);
    let home = home();
    let mut failures = Vec::new();
    for turn in 0..runs {
        let other = thread::scope(|scope| {
            let other = scope.spawn(|| serving(&home));
            let one = serving(&home);
            match (one, other.join().unwrap()) {
                (Ok(program), Err(words)) | (Err(words), Ok(program)) => Ok((program, words)),
                (Ok(_), Ok(_)) => Err("both serve".to_owned()),
                (Err(one), Err(other)) => Err(format!("neither serves: {one} {other}")),
            }
        });
        match other {
            Err(why) => failures.push(format!("turn {turn}: {why}")),
            Ok((mut program, words)) => {
                if !words.contains("Another Holdfast already uses") {
                    failures.push(format!("turn {turn}: refused with {words:?}"));
                }
                program.kill();
            }
        }
    }
    Line {
        id: "C1",
        what: "two programs on one directory, the first killed".to_owned(),
        runs,
        failures,
        caught: (usize::from(naive_lock_is_caught()), 1),
        notes: String::new(),
    }
}

/// The control: a lock file whose existence is the lock outlives its holder.
fn naive_lock_is_caught() -> bool {
    let dir = tempfile::tempdir().unwrap();
    let claim = || OpenOptions::new().write(true).create_new(true).open(dir.path().join("lock")).is_ok();
    // The second program is refused, as it should be. Then the first dies, and no program can serve any more.
    claim() && !claim() && !claim()
}

/// P18: several clients delete the same backups at once. Each backup is reported as deleted once, and no file of it is
/// left.
fn deleters(run: Run) -> Line {
    let runs = run.scale.of(50, 10);
    let mut failures = Vec::new();
    let each = 20;
    for _ in 0..runs {
        let desk = Desk::with(&[]);
        let names = fill(&desk, each, &packed(b"content"));
        let gone: usize = thread::scope(|scope| {
            let deleters: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| desk.holdfast.backups().delete(&names).unwrap().gone.len()))
                .collect();
            deleters.into_iter().map(|deleter| deleter.join().unwrap()).sum()
        });
        failures.extend(wrongly_deleted(desk.holdfast.backup_dir(), gone, each));
    }
    let desk = Desk::with(&[]);
    let names = fill(&desk, each, &packed(b"content"));
    // The control deletes only the payload.
    let gone = names.iter().filter(|name| fs::remove_file(desk.backup(name)).is_ok()).count();
    let caught = !wrongly_deleted(desk.holdfast.backup_dir(), gone, each).is_empty();
    Line {
        id: "P18",
        what: format!("{each} backups deleted by four clients at once"),
        runs,
        failures,
        caught: (usize::from(caught), 1),
        notes: String::new(),
    }
}

fn wrongly_deleted(dir: &Path, gone: usize, of: usize) -> Vec<String> {
    let left = contents_of(dir);
    let left = (!left.is_empty()).then(|| format!("{left:?} are left"));
    let told = (gone != of).then(|| format!("{gone} were said to be gone, of {of}"));
    left.into_iter().chain(told).collect()
}

/// Puts `count` backups of these bytes into the backup directory, each with its manifest. Returns their names.
fn fill(desk: &Desk, count: usize, bytes: &[u8]) -> Vec<String> {
    let first = desk.at("first");
    fs::write(&first, bytes).unwrap();
    let names: Vec<_> = (0..count).map(|i| format!("backup_ledger-{i:05}.dump.gz")).collect();
    for name in &names {
        put(desk, name, &first, bytes);
    }
    names
}

/// Puts one backup there, as a hard link to `first`.
pub fn put(desk: &Desk, name: &str, first: &Path, bytes: &[u8]) {
    fs::hard_link(first, desk.backup(name)).unwrap();
    let manifest = manifest_of(name, Stamp::from_millis(NOW), bytes);
    fs::write(desk.backup(&format!("{name}.manifest.json")), manifest).unwrap();
}

/// The address from which the live page reads a page of the list.
pub fn page_address(sort: &str, descending: bool, page: u64, rows: usize) -> String {
    format!(
        "/api/read_backups?query[sort][column]={sort}&query[sort][descending]={descending}\
         &query[page]={page}&query[per_page]={rows}&query[filter]="
    )
    .replace('[', "%5B")
    .replace(']', "%5D")
}

/// P18: simultaneous deletions of the same backups.
pub fn deletes(run: Run) -> Outcome {
    Ok(vec![deleters(run)])
}

/// C4, P19: pages of the list while files appear and disappear.
pub fn list(run: Run) -> Outcome {
    let (files, seconds) = run.scale.of((10_000, 60), (1_000, 6));
    let desk = Desk::with(&[]);
    let bytes = packed(b"content");
    let stable = fill(&desk, files, &bytes);
    let stop = AtomicBool::new(false);
    let runtime = Runtime::new().unwrap();
    let churned = AtomicUsize::new(0);
    let walks = thread::scope(|scope| {
        for writer in 0..2 {
            let (desk, bytes, stop, churned) = (&desk, &bytes, &stop, &churned);
            scope.spawn(move || {
                for turn in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    churn(desk, &format!("{writer}-{}", turn % 50), bytes);
                    churned.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let until = Instant::now() + Duration::from_secs(seconds);
        let readers = (0..4).map(|_| async {
            let mut walks = Vec::new();
            while Instant::now() < until {
                walks.push(all_pages(&desk).await);
            }
            walks
        });
        let walks: Vec<_> =
            runtime.block_on(futures::future::join_all(readers)).into_iter().flatten().collect();
        stop.store(true, Ordering::Relaxed);
        walks
    });
    let failures: Vec<_> = walks.iter().flat_map(|walk| walk.misses(&stable)).collect();
    let mut took: Vec<_> = walks.iter().flat_map(|walk| walk.took.iter().copied()).collect();
    took.sort_unstable();
    let worst = took.get(took.len() * 95 / 100).copied().unwrap_or_default();
    let caught = !naive_walk(&desk, &bytes).misses(&stable).is_empty();
    Ok(vec![Line {
        id: "C4",
        what: format!("pages of {files} backups, 4 readers, 2 writers"),
        runs: took.len(),
        failures,
        caught: (usize::from(caught), 1),
        notes: format!(
            "walks through all pages {}, files made and deleted {}, p95 {} ms",
            walks.len(),
            churned.into_inner(),
            worst.as_millis()
        ),
    }])
}

/// Adds and removes one backup by way of a draft. It sorts after all stable ones.
fn churn(desk: &Desk, which: &str, bytes: &[u8]) {
    let name = format!("backup_zz-{which}.dump.gz");
    let (draft, file) = (desk.backup(&format!(".part-{which}")), desk.backup(&name));
    fs::write(
        desk.backup(&format!("{name}.manifest.json")),
        manifest_of(&name, Stamp::from_millis(NOW), bytes),
    )
    .unwrap();
    fs::write(&draft, bytes).unwrap();
    fs::rename(&draft, &file).unwrap();
    desk.holdfast.backups().delete(&[name]).unwrap();
}

/// The rows that one reader saw on all pages.
#[derive(Default)]
struct Seen {
    names: Vec<String>,
    took: Vec<Duration>,
    answers: BTreeSet<u16>,
}

impl Seen {
    fn misses(&self, stable: &[String]) -> Vec<String> {
        let mut misses: Vec<_> = self
            .answers
            .iter()
            .filter(|status| **status != 200)
            .map(|status| format!("answered {status}"))
            .collect();
        let mut times = BTreeMap::new();
        for name in &self.names {
            *times.entry(name.as_str()).or_insert(0) += 1;
            if name.parse::<BackupName>().is_err() {
                misses.push(format!("{name} is listed"));
            }
        }
        let twice = times.values().filter(|times| **times > 1).count();
        let missing = stable.iter().filter(|name| !times.contains_key(name.as_str())).count();
        if twice > 0 || missing > 0 {
            misses.push(format!("{twice} seen twice, {missing} not at all"));
        }
        misses
    }
}

async fn all_pages(desk: &Desk) -> Seen {
    let mut seen = Seen::default();
    for page in 1.. {
        let asked = Instant::now();
        let answer = desk.ask(&page_address("FileName", false, page, 100)).await;
        seen.took.push(asked.elapsed());
        seen.answers.insert(answer.status.as_u16());
        let view: serde_json::Value = serde_json::from_str(&answer.body).unwrap_or_default();
        // If a page no longer exists, the answer is the last page, and says so.
        if view["list"]["query"]["page"].as_u64().is_some_and(|answered| answered < page) {
            break;
        }
        let rows = view["list"]["rows"].as_array().cloned().unwrap_or_default();
        seen.names.extend(rows.iter().map(|row| row["name"].as_str().unwrap_or_default().to_owned()));
        if view["list"]["pages"].as_u64().is_none_or(|pages| pages <= page) {
            break;
        }
    }
    seen
}

/// The control: a list that reads the directory name by name, and fails if a file disappears in between.
fn naive_walk(desk: &Desk, bytes: &[u8]) -> Seen {
    let draft = desk.backup(".part-of-somebody");
    fs::write(&draft, bytes).unwrap();
    let names: Vec<_> = fs::read_dir(desk.holdfast.backup_dir())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.contains(".manifest."))
        .collect();
    fs::remove_file(draft).unwrap();
    let all_there = names.iter().all(|name| desk.backup(name).metadata().is_ok());
    Seen { names, took: Vec::new(), answers: BTreeSet::from([if all_there { 200 } else { 500 }]) }
}
