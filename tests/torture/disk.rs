//! Disk trials: system calls fail, or the disk is full. A backup fails with a reason, nothing is reported wrongly, and
//! later backups work.

use crate::ground::{Ground, SQLITE, names_in, told};
use crate::inject::{CALLS, Fault, Held, Trace, Tracer};
use crate::mounts::Mount;
use crate::report::{Line, Outcome, Random, Run, Scale};
use crate::support::holdfast::Server;
use crate::support::http::names_form;
use crate::support::postgres::cluster;
use data_encoding::HEXLOWER;
use holdfast::model::{JobState, JobView};
use sha2::{Digest, Sha256};
use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// The errors that the disk returns.
const ERRORS: [&str; 4] = ["EIO", "ENOSPC", "EDQUOT", "EROFS"];
/// The PostgreSQL database.
const DATABASE: &str = "disk";
/// More calls of one kind than any operation makes. A sweep that gets this far would not end.
const ENDLESS: usize = 2000;

/// The results of all runs of [`errors`].
#[derive(Default)]
struct Seen {
    runs: usize,
    syncs: usize,
    failures: Vec<String>,
    retried: Vec<String>,
}

/// Whether the fault was injected.
type Scene = fn(&mut Bench, &Fault<'_>, &mut Vec<String>) -> Result<bool, String>;

/// A ground and its server, which runs through all faults.
struct Bench {
    ground: Ground,
    server: Server,
    trace: Option<Trace>,
    /// Jobs and commands that failed with a reason.
    failed: usize,
}

/// Makes every system call of every operation fail, once and permanently.
pub fn errors(run: Run) -> Outcome {
    let cluster = cluster();
    let mut ground = Ground::new(60);
    ground.add_postgres(&cluster, DATABASE, 300);
    ground.back_up()?;
    let server = ground.serve()?;
    let mut bench = Bench { ground, server, trace: None, failed: 0 };
    let mut random = Random(run.seed);
    let mut seen = Seen::default();
    // Not `close`: strace skips the call, so locks would stay, which no real system does.
    let calls: Vec<_> = CALLS.into_iter().filter(|call| *call != "close").collect();
    let scenes: [(&str, Scene, &[&str]); 6] = [
        ("SQLite", creating, &calls),
        ("PostgreSQL", creating_postgres, &calls),
        ("begin", beginning, &["openat", "mkdir", "flock"]),
        ("shell", from_a_shell, &["openat", "mkdir", "pwrite64", "fsync", "renameat2", "unlinkat", "flock"]),
        ("delete", deleting, &["openat", "flock", "unlinkat", "fsync"]),
        ("start", starting, &["openat", "getdents64", "flock", "unlinkat", "fsync"]),
    ];
    let mut points = Vec::new();
    for (name, scene, calls) in scenes {
        let before = seen.runs;
        for call in calls {
            for at in 1..ENDLESS {
                let mut was_hit = false;
                for (error, sticky) in variants(run.scale, &mut random) {
                    let what = format!("error={error}");
                    let when = format!("{at}{}", if sticky { "+" } else { "" });
                    let fault = Fault { call, what: &what, when: &when, path: None };
                    let hit =
                        seen.hold(&mut bench, scene, &format!("{name}, {error} at {call} {when}"), &fault)?;
                    was_hit |= hit;
                    if !hit {
                        break;
                    }
                }
                if !was_hit {
                    break;
                }
            }
        }
        points.push(format!("{name} {}", seen.runs - before));
    }
    let [careless, retrying] = caught()?;
    Ok(vec![
        Line {
            id: "P4",
            what: "a call fails: reason, no false success, recovery (B1)".to_owned(),
            runs: seen.runs,
            failures: seen.failures,
            caught: careless,
            notes: format!("{}; reported as failed {}", points.join(", "), bench.failed),
        },
        Line {
            id: "P4",
            what: "a failed sync is not retried (B1)".to_owned(),
            runs: seen.syncs,
            failures: seen.retried,
            caught: retrying,
            notes: String::new(),
        },
    ])
}

/// All errors, each once and permanently; in the short run one of them.
fn variants(scale: Scale, random: &mut Random) -> Vec<(&'static str, bool)> {
    let all: Vec<_> = ERRORS.into_iter().flat_map(|error| [(error, false), (error, true)]).collect();
    match scale {
        Scale::Full => all,
        Scale::Cut => vec![all[random.below(all.len())]],
    }
}

impl Seen {
    /// Runs the scene and checks the promises. Returns whether the fault was injected.
    fn hold(
        &mut self,
        bench: &mut Bench,
        scene: Scene,
        point: &str,
        fault: &Fault<'_>,
    ) -> Result<bool, String> {
        let mut failures = Vec::new();
        let hit = scene(bench, fault, &mut failures)?;
        if !hit {
            return Ok(false);
        }
        self.runs += 1;
        if let Some(trace) = bench.trace.take()
            && fault.call.ends_with("sync")
        {
            self.syncs += 1;
            let retried = trace.retried_syncs();
            self.retried.extend((retried > 0).then(|| format!("{point}: {retried} more")));
        }
        failures.extend(bench.ground.faults());
        // If clearing up is what fails, the next start clears up.
        let clears = matches!(fault.call, "unlinkat" | "rmdir" | "openat" | "flock" | "getdents64")
            // A deletion that could not be synced keeps the manifest, because the payload may come back after a power
            // cut.
            || point.starts_with("delete");
        let litter = bench.ground.litter();
        if !litter.is_empty() && !clears {
            failures.push(format!("left behind: {}", litter.join(", ")));
        }
        if bench.server.log().contains("panicked") {
            failures.push("it panicked".to_owned());
        }
        let next = bench.server.create(SQLITE).and_then(|job| bench.server.ended(job));
        match next.map(|job| job.state) {
            Ok(JobState::Done { .. }) => {}
            Ok(other) => failures.push(format!("the next backup is {other:?}")),
            Err(why) => failures.push(format!("the next backup is refused: {why}")),
        }
        failures.extend(bench.ground.faults_of_known());
        if !failures.is_empty() || !litter.is_empty() {
            bench.server.kill();
            bench.server = bench.ground.serve()?;
            let litter = bench.ground.litter();
            failures.extend((!litter.is_empty()).then(|| format!("after a restart: {}", litter.join(", "))));
        }
        self.failures.extend(failures.into_iter().map(|failure| format!("{point}: {failure}")));
        Ok(true)
    }
}

/// Faults from the first call of the copy to the recorded end, on the job's thread.
fn creating(bench: &mut Bench, fault: &Fault<'_>, failures: &mut Vec<String>) -> Result<bool, String> {
    let held = Held::begin(&bench.ground, &bench.server)?;
    fail_in(held, bench, fault, failures)
}

/// Like [`creating`], for PostgreSQL.
fn creating_postgres(
    bench: &mut Bench,
    fault: &Fault<'_>,
    failures: &mut Vec<String>,
) -> Result<bool, String> {
    let held = Held::begin_postgres(&bench.ground, &bench.server, &cluster(), DATABASE)?;
    fail_in(held, bench, fault, failures)
}

fn fail_in(
    held: Held,
    bench: &mut Bench,
    fault: &Fault<'_>,
    failures: &mut Vec<String>,
) -> Result<bool, String> {
    let draft = names_in(&bench.ground.backups)
        .into_iter()
        .find_map(|name| name.strip_suffix("-scratch").map(|draft| bench.ground.backups.join(draft)));
    // A job also writes to the log and to wake other threads, which no disk error affects.
    let fault = Fault { path: draft.as_deref().filter(|_| fault.call == "write"), ..*fault };
    let tracer = Tracer::attach(held.thread, false, &fault, &bench.ground.beside("trace"))?;
    let job = bench.server.ended(held.release());
    judge_job(job, bench, failures);
    let trace = tracer.seen();
    let hit = trace.was_injected();
    bench.trace = Some(trace);
    Ok(hit)
}

/// Faults from the request to the copy: the lock, the draft and its directory.
fn beginning(bench: &mut Bench, fault: &Fault<'_>, failures: &mut Vec<String>) -> Result<bool, String> {
    let path = bench.ground.backups.clone();
    let fault = Fault { path: (fault.call == "openat").then_some(&path), ..*fault };
    let tracer = Tracer::attach(bench.server.child.id(), true, &fault, &bench.ground.beside("trace"))?;
    let job = bench.server.create(SQLITE).and_then(|job| bench.server.ended(job));
    judge_job(job, bench, failures);
    Ok(tracer.seen().was_injected())
}

/// Checks that a job ends, and that a failed one names the problem.
fn judge_job(job: Result<JobView, String>, bench: &mut Bench, failures: &mut Vec<String>) {
    match job.map(|job| job.state) {
        Ok(JobState::Done { file, .. }) => {
            let faults = bench.ground.faults();
            if !bench.ground.known.contains_key(file.as_str()) {
                failures.push(format!("{file} was reported as created: {faults:?}"));
            }
        }
        Ok(JobState::Failed { message, .. }) => {
            bench.failed += 1;
            if !names_the_thing(&bench.ground, &message) {
                failures.push(format!("the reason names no path and no database: {message}"));
            }
        }
        Ok(other) => failures.push(format!("the job is {other:?}")),
        Err(why) => failures.push(why),
    }
}

/// Whether a reason names a path or the database.
pub fn names_the_thing(ground: &Ground, reason: &str) -> bool {
    [
        ground.backups.to_str(),
        ground.data.to_str(),
        ground.source().to_str(),
        Some("dump is"),
        Some("state database"),
    ]
    .into_iter()
    .flatten()
    .any(|thing| reason.contains(thing))
}

/// Faults in `holdfast backup`, from its first access to the directory.
fn from_a_shell(bench: &mut Bench, fault: &Fault<'_>, failures: &mut Vec<String>) -> Result<bool, String> {
    let path = bench.ground.backups.clone();
    let path = matches!(fault.call, "openat" | "unlinkat" | "flock").then_some(path.as_path());
    let log = bench.ground.beside("trace");
    let line = Fault { path, ..*fault }.strace(&log);
    let line: Vec<_> = line.iter().map(String::as_str).collect();
    let output =
        bench.ground.program_under(&line, &["backup", SQLITE]).output().map_err(|error| error.to_string())?;
    let faults = bench.ground.faults();
    match told(&output) {
        Ok(name) if bench.ground.known.contains_key(&name) => {}
        Ok(name) => failures.push(format!("{name} was reported as created: {faults:?}")),
        Err(why)
            if why.contains("holdfast: ")
                && !why.contains("panicked")
                && names_the_thing(&bench.ground, &why) => {}
        Err(why) => failures.push(format!("no reason given: {why}")),
    }
    let trace = Trace::read(&log);
    let hit = trace.was_injected();
    bench.trace = Some(trace);
    Ok(hit)
}

/// Deletes two backups.
fn deleting(bench: &mut Bench, fault: &Fault<'_>, failures: &mut Vec<String>) -> Result<bool, String> {
    let names = ["a", "b"].map(|which| bench.ground.copy_of_a_backup(which));
    let path = bench.ground.backups.clone();
    let fault = Fault { path: Some(&path), ..*fault };
    let tracer = Tracer::attach(bench.server.child.id(), true, &fault, &bench.ground.beside("trace"))?;
    let answer = bench.server.ask("POST", "/api/delete_backups", &names_form(&names))?;
    let hit = tracer.seen().was_injected();
    let there = names_in(&bench.ground.backups);
    if answer.status == 200 {
        let said: serde_json::Value =
            serde_json::from_slice(&answer.body).map_err(|error| error.to_string())?;
        for gone in said["gone"].as_array().into_iter().flatten() {
            let name = gone["name"].as_str().unwrap_or_default();
            // A manifest without its payload is not a backup, and the next start removes it.
            let is_left = |there: &String| there == name || there.starts_with(name) && !hit;
            if there.iter().any(is_left) {
                failures.push(format!("{name} was reported as deleted"));
            }
        }
    } else if !names_the_thing(&bench.ground, &answer.text()) {
        failures.push(format!("no reason given: {}", answer.text()));
    }
    Ok(hit)
}

/// A start with leftovers to sweep: it succeeds or gives a reason, and the next start succeeds.
fn starting(bench: &mut Bench, fault: &Fault<'_>, failures: &mut Vec<String>) -> Result<bool, String> {
    bench.server.kill();
    bench.ground.leave_litter();
    let log = bench.ground.beside("trace");
    let path = bench.ground.backups.clone();
    let line = Fault { path: Some(&path), ..*fault }.strace(&log);
    let line: Vec<_> = line.iter().map(String::as_str).collect();
    match bench.ground.started(bench.ground.program_under(&line, &["serve"])) {
        Ok(mut server) => server.end_under_strace(),
        Err(why)
            if why.contains("holdfast: ")
                && !why.contains("panicked")
                && names_the_thing(&bench.ground, &why) => {}
        Err(why) => failures.push(format!("no reason given: {why}")),
    }
    bench.server = bench.ground.serve()?;
    let litter = bench.ground.litter();
    failures.extend((!litter.is_empty()).then(|| format!("after the next start: {}", litter.join(", "))));
    Ok(Trace::read(&log).was_injected())
}

/// The control: a publisher that ignores errors. It is caught by the file it lists, and by its second sync.
fn caught() -> Result<[(usize, usize); 2], String> {
    let mut ground = Ground::new(200);
    let log = ground.beside("trace");
    let (mut listed, mut retried, mut of) = (0, 0, 0);
    for at in 1..=3 {
        for error in ERRORS {
            let (what, when) = (format!("error={error}"), at.to_string());
            for call in ["write", "fsync"] {
                // Only the first sync fails: otherwise a retry could not succeed.
                let when = if call == "fsync" { "1" } else { &when };
                let line = Fault { call, what: &what, when, path: None }.strace(&log);
                let naive = ground.naive("careless");
                let mut command = Command::new(&line[0]);
                command.args(&line[1..]).arg(naive.get_program()).args(naive.get_args());
                command.output().map_err(|error| format!("strace: {error}"))?;
                if call == "fsync" {
                    retried += usize::from(Trace::read(&log).retried_syncs() > 0);
                } else {
                    listed += usize::from(!ground.faults().is_empty());
                }
                ground.clear();
            }
            of += 1;
        }
    }
    Ok([(listed, of), (retried, of)])
}

/// Sizes of a full disk in megabytes. The full run tries all, the short run every fourth.
const SIZES: std::ops::RangeInclusive<u64> = 1..=64;
/// Bytes per megabyte.
const MEGABYTE: u64 = 1 << 20;
/// Disk space that a running backup needs at most: the copy, the draft and a margin.
const ENOUGH: u64 = 10 * MEGABYTE;

/// Fills a disk to various degrees, makes backups on it, and frees it again, all with one server that keeps running.
pub fn full(run: Run) -> Outcome {
    let mut random = Random(run.seed);
    let mut ground = Ground::new(4000);
    let (mut runs, mut short, mut failures) = (0, 0, Vec::new());
    for size in SIZES.step_by(run.scale.of(1, 4)) {
        let _disk = Mount::tmpfs(&ground.backups, size * MEGABYTE)?;
        let server = ground.serve()?;
        let mut found = Vec::new();
        // Room for one backup or none, then an odd rest, then no room at all.
        let rest = random.next() % ENOUGH;
        for left in [None, Some(rest), Some(0)] {
            if let Some(left) = left {
                fill(&ground.backups, left);
            }
            runs += 1;
            let room = room(&ground.backups);
            match server.create(SQLITE).and_then(|job| server.ended(job)).map(|job| job.state) {
                Ok(JobState::Done { .. }) => {}
                Ok(JobState::Failed { message, .. }) if room < ENOUGH && message.contains("is full") => {
                    short += 1;
                }
                other => found.push(format!("with {room} bytes: {other:?}")),
            }
            found.extend(ground.faults());
            found.extend(ground.litter());
        }
        found.extend(still_serves(&mut ground, &server));
        let _ = fs::remove_file(ground.backups.join(FILLER));
        if size * MEGABYTE >= 2 * ENOUGH {
            match server.create(SQLITE).and_then(|job| server.ended(job)).map(|job| job.state) {
                Ok(JobState::Done { .. }) => found.extend(ground.faults()),
                other => found.push(format!("once there is room: {other:?}")),
            }
        }
        found.extend(server.log().contains("panicked").then(|| "it panicked".to_owned()));
        failures.extend(found.into_iter().map(|fault| format!("{size} MiB: {fault}")));
        ground.known.clear();
    }
    let state = full_state()?;
    failures.extend(state);
    Ok(vec![Line {
        id: "P8",
        what: "full disk: reason, old backups whole and served (B2)".to_owned(),
        runs: runs + 1,
        failures,
        caught: caught_on_full()?,
        notes: format!("backups refused for lack of space {short}"),
    }])
}

/// Lists, downloads and deletes; whole backups must stay as they are.
fn still_serves(ground: &mut Ground, server: &Server) -> Vec<String> {
    let mut found = ground.faults_of_known();
    match server.ask("GET", LIST, "") {
        Ok(answer) => {
            let listed: Vec<serde_json::Value> = serde_json::from_slice(&answer.body).unwrap_or_default();
            if listed.len() != ground.known.len() {
                found.push(format!(
                    "{} are listed of {}: {}",
                    listed.len(),
                    ground.known.len(),
                    answer.text()
                ));
            }
        }
        Err(why) => found.push(why),
    }
    let Some((name, sum)) = ground.known.pop_first() else { return found };
    match server.ask("GET", &format!("/backups/{name}"), "") {
        Ok(answer) if HEXLOWER.encode(&Sha256::digest(&answer.body)) == sum => {}
        Ok(answer) => found.push(format!("{name} was downloaded otherwise: {}", answer.status)),
        Err(why) => found.push(why),
    }
    match server.ask("POST", "/api/delete_backups", &names_form(std::slice::from_ref(&name))) {
        Ok(answer) if answer.status == 200 && !names_in(&ground.backups).contains(&name) => {}
        Ok(answer) => found.push(format!("{name} was not deleted: {}", answer.text())),
        Err(why) => found.push(why),
    }
    found
}

/// With the state database on the full disk too, and a log that cannot be written.
fn full_state() -> Result<Vec<String>, String> {
    let home = tempfile::Builder::new().prefix("holdfast-full-").tempdir().unwrap();
    let _disk = Mount::tmpfs(home.path(), 24 * MEGABYTE)?;
    let mut ground = Ground::at(&home.path().join("data"), 1000);
    ground.back_up()?;
    let mut found = ground.faults();
    let server = ground.serve()?;
    fill(&ground.data, 0);
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(server.create(SQLITE).and_then(|job| server.ended(job)).map(|job| job.state));
    }
    for answer in answers {
        let is_told = match &answer {
            Ok(JobState::Failed { message, .. }) => message.contains("is full"),
            Err(refused) => refused.contains("full"),
            _ => false,
        };
        found.extend((!is_told).then(|| format!("with a full state database: {answer:?}")));
    }
    found.extend(ground.faults());
    found.extend(still_serves(&mut ground, &server));
    let _ = fs::remove_file(ground.data.join(FILLER));
    match server.create(SQLITE).and_then(|job| server.ended(job)).map(|job| job.state) {
        Ok(JobState::Done { .. }) => found.extend(ground.faults()),
        other => found.push(format!("once there is room for the state database: {other:?}")),
    }
    found.extend(server.log().contains("panicked").then(|| "it panicked".to_owned()));
    drop(server);
    found.extend(full_log(&mut ground)?);
    Ok(found)
}

/// An unwritable log must not make anything fail.
fn full_log(ground: &mut Ground) -> Result<Vec<String>, String> {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let address = free.map_err(|error| error.to_string())?;
    let mut command = ground.program(&["serve"]);
    command.env("HOLDFAST_LISTEN", address.to_string()).env("HOLDFAST_LOG", "debug");
    command.stderr(fs::OpenOptions::new().write(true).open("/dev/full").map_err(|error| error.to_string())?);
    let server = ground.listening(command.spawn().map_err(|error| error.to_string())?, address);
    let since = Instant::now();
    while server.ask("GET", "/healthz", "").is_err() {
        if since.elapsed() > Duration::from_secs(5) {
            return Ok(vec!["it does not serve when its log cannot be written".to_owned()]);
        }
        thread::sleep(Duration::from_millis(10));
    }
    match server.create(SQLITE).and_then(|job| server.ended(job)).map(|job| job.state) {
        Ok(JobState::Done { .. }) => Ok(ground.faults()),
        other => Ok(vec![format!("when the log cannot be written: {other:?}")]),
    }
}

/// All that is listed.
const LIST: &str = "/api/matching_backups?query%5Bsort%5D%5Bcolumn%5D=Size&query%5Bsort%5D%5Bdescending%5D=false\
                    &query%5Bpage%5D=1&query%5Bper_page%5D=20&query%5Bfilter%5D=";
/// The file that fills the disk.
const FILLER: &str = "filler";

/// Fills the disk until `left` bytes are free.
fn fill(directory: &Path, left: u64) {
    let take = room(directory).saturating_sub(left);
    let mut filler = fs::OpenOptions::new().append(true).create(true).open(directory.join(FILLER)).unwrap();
    let block = vec![7; 1 << 20];
    let mut to_write = if left == 0 { u64::MAX } else { take };
    while to_write > 0 {
        let next = usize::try_from(to_write.min(block.len() as u64)).unwrap();
        match filler.write(&block[..next]) {
            Ok(written) => to_write -= written as u64,
            Err(_) => break,
        }
    }
}

/// Free space in bytes.
fn room(directory: &Path) -> u64 {
    let found = rustix::fs::statvfs(directory).unwrap();
    found.f_bavail * found.f_frsize
}

/// The control: a publisher that ignores errors, on a disk that is too full.
fn caught_on_full() -> Result<(usize, usize), String> {
    let mut ground = Ground::new(4000);
    let mut caught = 0;
    for size in 1..=3 {
        let _disk = Mount::tmpfs(&ground.backups, size * MEGABYTE)?;
        let _ = ground.naive("careless").output();
        caught += usize::from(!ground.faults().is_empty());
        ground.known.clear();
    }
    Ok((caught, 3))
}
