//! Trial: the real program is killed once at every system call of creating, deleting and starting.

use crate::ground::{Ground, SQLITE, names_in};
use crate::inject::{CALLS, Fault, Held, Trace, Tracer};
use crate::report::{Line, Outcome, Run};
use crate::support::holdfast::Server;
use crate::support::http::names_form;
use crate::support::postgres::cluster;
use holdfast::model::JobState;
use std::process::{Command, Stdio};

/// Fewer points than this mean that the calls were missed.
const POINTS: usize = 60;
/// More calls of one kind than any operation makes. A sweep that gets this far would not end.
const ENDLESS: usize = 2000;
/// The PostgreSQL database.
const DATABASE: &str = "points";
/// Kills the program at the call.
const KILL: &str = "signal=SIGKILL";

/// Kills at every point, in the short run too: a skipped point proves nothing.
pub fn run(_: Run) -> Outcome {
    let cluster = cluster();
    let mut ground = Ground::new(60);
    ground.add_postgres(&cluster, DATABASE, 300);
    ground.back_up()?;
    let faults = ground.faults();
    if !faults.is_empty() {
        return Err(faults.join("; "));
    }
    let mut failures = Vec::new();
    let scenes: [(&str, Scene, &[&str]); 5] = [
        ("SQLite", creating, &CALLS),
        ("PostgreSQL", creating_postgres, &CALLS),
        ("begin", beginning, &["openat", "mkdir", "flock"]),
        ("delete", deleting, &["openat", "flock", "unlinkat", "fsync", "close"]),
        (
            "start",
            starting,
            &["openat", "mkdir", "getdents64", "flock", "unlinkat", "rmdir", "fsync", "close"],
        ),
    ];
    let mut points = Vec::new();
    for (name, scene, calls) in scenes {
        let mut hit = 0;
        for call in calls {
            for at in 1..ENDLESS {
                let when = at.to_string();
                let fault = Fault { call, what: KILL, when: &when, path: None };
                if !scene(&mut ground, &fault, &mut failures)? {
                    break;
                }
                hit += 1;
                after(&mut ground, &format!("{name}, {call} {at}"), &mut failures)?;
            }
        }
        failures.extend((hit == 0).then(|| format!("{name}: no point was met")));
        points.push((name, hit));
    }
    let runs = points.iter().map(|(_, hit)| hit).sum();
    if runs < POINTS {
        failures.push(format!("only {runs} points were hit"));
    }
    let notes: Vec<_> = points.iter().map(|(name, hit)| format!("{name} {hit}")).collect();
    Ok(vec![Line {
        id: "P2",
        what: "killed at every system call: list right, swept (A2)".to_owned(),
        runs,
        failures,
        caught: caught()?,
        notes: notes.join(", "),
    }])
}

/// An operation during which the program is killed. Returns whether it was.
type Scene = fn(&mut Ground, &Fault<'_>, &mut Vec<String>) -> Result<bool, String>;

/// Kills from the first call of the copy to the recorded end, on the job's thread.
fn creating(ground: &mut Ground, fault: &Fault<'_>, _: &mut Vec<String>) -> Result<bool, String> {
    let server = ground.serve()?;
    die_in(Held::begin(ground, &server)?, &server, fault, ground)
}

/// Like [`creating`], for PostgreSQL.
fn creating_postgres(ground: &mut Ground, fault: &Fault<'_>, _: &mut Vec<String>) -> Result<bool, String> {
    let server = ground.serve()?;
    die_in(Held::begin_postgres(ground, &server, &cluster(), DATABASE)?, &server, fault, ground)
}

fn die_in(held: Held, server: &Server, fault: &Fault<'_>, ground: &Ground) -> Result<bool, String> {
    let tracer = Tracer::attach(held.thread, false, fault, &ground.beside("trace"))?;
    let job = held.release();
    // A response means that the program lives and the job has ended.
    let lives = server.ended(job).is_ok();
    drop(tracer);
    Ok(!lives)
}

/// Kills from the request to the copy: the lock, the draft and its directory. In all threads; strace counts the calls
/// of each thread separately, so only calls on the backup directory are counted if there are others.
fn beginning(ground: &mut Ground, fault: &Fault<'_>, _: &mut Vec<String>) -> Result<bool, String> {
    let server = ground.serve()?;
    let path = ground.backups.clone();
    let fault = Fault { path: (fault.call == "openat").then_some(&path), ..*fault };
    let tracer = Tracer::attach(server.child.id(), true, &fault, &ground.beside("trace"))?;
    let lives = server.create(SQLITE).and_then(|job| server.ended(job)).is_ok();
    drop(tracer);
    Ok(!lives)
}

/// Kills while two backups are deleted. Each backup that is left has its manifest.
fn deleting(ground: &mut Ground, fault: &Fault<'_>, failures: &mut Vec<String>) -> Result<bool, String> {
    let server = ground.serve()?;
    let names = ["a", "b"].map(|which| ground.copy_of_a_backup(which));
    let path = ground.backups.clone();
    let fault = Fault { path: Some(&path), ..*fault };
    let tracer = Tracer::attach(server.child.id(), true, &fault, &ground.beside("trace"))?;
    let answer = server.ask("POST", "/api/delete_backups", &names_form(&names));
    drop(tracer);
    let there = names_in(&ground.backups);
    if answer.is_ok() && names.iter().any(|name| there.contains(name)) {
        failures.push(format!("delete, {} {}: still there", fault.call, fault.when));
    }
    Ok(answer.is_err())
}

/// Kills during a start with leftovers to sweep.
fn starting(ground: &mut Ground, fault: &Fault<'_>, _: &mut Vec<String>) -> Result<bool, String> {
    ground.leave_litter();
    let path = ground.backups.clone();
    // Creating and removing directories uses absolute paths.
    let path = (!matches!(fault.call, "mkdir" | "rmdir")).then_some(path.as_path());
    let line = Fault { path, ..*fault }.strace(&ground.beside("trace"));
    let line: Vec<_> = line.iter().map(String::as_str).collect();
    match ground.started(ground.program_under(&line, &["serve"])) {
        Ok(mut server) => {
            server.end_under_strace();
            Ok(false)
        }
        Err(_) if Trace::read(&ground.beside("trace")).was_killed() => Ok(true),
        Err(why) => Err(why),
    }
}

/// The checks after every kill: the list is right, and the next start sweeps and reports the end of the job.
fn after(ground: &mut Ground, point: &str, failures: &mut Vec<String>) -> Result<(), String> {
    let faults = ground.faults();
    failures.extend(faults.into_iter().map(|fault| format!("{point}: {fault}")));
    let server = ground.serve()?;
    let litter = ground.litter();
    if !litter.is_empty() {
        failures.push(format!("{point}: still there after a restart: {}", litter.join(", ")));
    }
    for job in server.history()? {
        match job.state {
            JobState::Done { file, .. } if ground.has_known(file.as_str()) => {}
            JobState::Interrupted => {}
            other => failures.push(format!("{point}: job {} is shown as {}", job.id, other.label())),
        }
    }
    drop(server);
    let faults = ground.faults_of_known();
    failures.extend(faults.into_iter().map(|fault| format!("{point}: {fault}")));
    Ok(())
}

/// The control: a publisher without draft and rename, killed at every write.
fn caught() -> Result<(usize, usize), String> {
    let mut ground = Ground::new(400);
    let (mut caught, mut of) = (0, 0);
    for at in 1..ENDLESS {
        let when = at.to_string();
        let line =
            Fault { call: "write", what: KILL, when: &when, path: None }.strace(&ground.beside("trace"));
        let naive = ground.naive("publisher");
        let mut command = Command::new(&line[0]);
        command.args(&line[1..]).arg(naive.get_program()).args(naive.get_args());
        let ended = command.stderr(Stdio::null()).status().map_err(|error| format!("strace: {error}"))?;
        if ended.success() {
            break;
        }
        of += 1;
        caught += usize::from(!ground.faults().is_empty());
        ground.clear();
    }
    Ok((caught, of))
}
