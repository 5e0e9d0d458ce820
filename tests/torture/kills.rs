//! Trials: the real program is killed at random moments while it creates, deletes or starts. It never leaves a broken
//! file in the list, reports the end of each job, and leaves no dump tool running.

use crate::ground::{
    Ground, POSTGRES, RESTART, SQLITE, answer, dump_tools, duration, is_listed, names_in, told,
};
use crate::inject::Lock;
use crate::report::{Line, Outcome, Random, Run};
use crate::support::holdfast::{Server, kill};
use crate::support::http::names_form;
use crate::support::postgres::{Cluster, cluster};
use data_encoding::HEXLOWER;
use holdfast::model::{JobId, JobState};
use sha2::{Digest, Sha256};
use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Number of kills of the program.
const RUNS: (usize, usize) = (1000, 200);
/// Number of kills of each control.
const CONTROL_RUNS: usize = 20;
/// At least one in this many kills of a running backup must land between its first write and its commit.
const LANDED: usize = 7;
/// How long a dump tool may outlive the program.
const OUTLIVES: Duration = Duration::from_secs(2);
/// Number of backups deleted at once, so that a kill can land in the middle.
const AT_ONCE: usize = 200;

/// The results of all runs.
#[derive(Default)]
struct Seen {
    creates: usize,
    landed: usize,
    deletions: usize,
    half_deleted: usize,
    starts: usize,
    jobs: usize,
    interrupted: usize,
    dumps: usize,
    tools_alive: usize,
    slowest_restart: Duration,
    slowest_tool: Duration,
    wrong_files: Vec<String>,
    wrong_deletions: Vec<String>,
    wrong_starts: Vec<String>,
    wrong_jobs: Vec<String>,
    outliving: Vec<String>,
}

/// How long each operation takes without a kill.
struct Lengths {
    sqlite: Duration,
    postgres: Duration,
    shell: Duration,
    deletion: Duration,
    start: Duration,
}

/// Kills the program over and over.
pub fn run(run: Run) -> Outcome {
    let mut random = Random(run.seed);
    let cluster = cluster();
    let mut ground = Ground::new(4000);
    ground.add_postgres(&cluster, "torture", 3000);
    let lengths = lengths(&ground)?;
    let mut seen = Seen::default();
    let mut server = ground.serve()?;
    let runs = run.scale.of(RUNS.0, RUNS.1);
    for at in 0..runs {
        let mut job = None;
        // In twenty turns: eight PostgreSQL, four SQLite and two shell backups, four deletions, two starts.
        match at % 20 {
            0..8 => {
                let wait = lengths.postgres.mul_f64(random.uniform());
                job = kill_in_create(&ground, &mut server, POSTGRES, wait, &mut seen);
                dump_tools_are_gone(&ground, &cluster, at, &mut seen);
            }
            8..12 => {
                let wait = lengths.sqlite.mul_f64(random.uniform());
                job = kill_in_create(&ground, &mut server, SQLITE, wait, &mut seen);
            }
            12..14 => {
                server.kill();
                let command = ground.program(&["backup", SQLITE]);
                let made = kill_after(command, lengths.shell.mul_f64(random.uniform()));
                seen.note_create(&ground, made.is_none());
                let promised = made.filter(|name| !names_in(&ground.backups).contains(name));
                seen.wrong_files
                    .extend(promised.map(|name| format!("run {at}: {name} was promised and is not there")));
            }
            14..18 => kill_in_deletion(
                &mut ground,
                &mut server,
                lengths.deletion.mul_f64(random.uniform()),
                at,
                &mut seen,
            )?,
            _ => {
                let wait = lengths.postgres.mul_f64(random.uniform());
                job = kill_in_create(&ground, &mut server, POSTGRES, wait, &mut seen);
                ground.leave_litter();
                drop(kill_after(ground.program(&["serve"]), lengths.start.mul_f64(random.uniform())));
                seen.starts += 1;
            }
        }
        let faults = ground.faults();
        seen.wrong_files.extend(faults.into_iter().map(|fault| format!("run {at}: {fault}")));
        server = restarted(&ground, job, at, &mut seen)?;
        if at % 20 == 19 {
            let faults = ground.faults_of_known();
            seen.wrong_files.extend(faults.into_iter().map(|fault| format!("run {at}: {fault}")));
        }
    }
    seen.wrong_files.extend(ground.faults_of_known());
    drop(server);
    if seen.landed * LANDED < seen.creates {
        let spread =
            format!("only {} of {} kills landed between first write and commit", seen.landed, seen.creates);
        seen.wrong_files.push(spread);
    }
    Ok(seen.lines(&mut random, &cluster))
}

impl Seen {
    fn note_create(&mut self, ground: &Ground, unfinished: bool) {
        self.creates += 1;
        self.landed += usize::from(unfinished && ground.has_half_made());
    }

    fn lines(self, random: &mut Random, cluster: &Cluster) -> Vec<Line> {
        let (unswept, uninterrupted) = caught_unswept();
        vec![
            Line {
                id: "P1",
                what: "creating, killed: listed backups are whole (A1)".to_owned(),
                runs: self.creates,
                failures: self.wrong_files,
                caught: caught_publishing(random),
                notes: format!("landed mid-write {}", self.landed),
            },
            Line {
                id: "P18",
                what: "deleting, killed: file and manifest, or neither (A1)".to_owned(),
                runs: self.deletions,
                failures: self.wrong_deletions,
                caught: caught_deleting(random),
                notes: format!("landed with some deleted {}", self.half_deleted),
            },
            Line {
                id: "P7",
                what: "starting, killed: the next start sweeps all (A1)".to_owned(),
                runs: self.starts,
                failures: self.wrong_starts,
                caught: unswept,
                notes: format!("slowest start {:.0?}", self.slowest_restart),
            },
            Line {
                id: "P7",
                what: "a killed job is shown as interrupted".to_owned(),
                runs: self.jobs,
                failures: self.wrong_jobs,
                caught: uninterrupted,
                notes: format!("shown as interrupted {}", self.interrupted),
            },
            Line {
                id: "P7",
                what: "no dump tool outlives Holdfast by 2 s (A5)".to_owned(),
                runs: self.dumps,
                failures: self.outliving,
                caught: caught_outliving(cluster),
                notes: format!(
                    "alive at the kill {}, gone after {:.0?} at most",
                    self.tools_alive, self.slowest_tool
                ),
            },
        ]
    }
}

fn lengths(ground: &Ground) -> Result<Lengths, String> {
    let server = ground.serve()?;
    let create = |database| {
        duration(|| {
            let id = server.create(database).unwrap();
            while server.ended(id).is_err() {}
        })
    };
    let (sqlite, postgres) = (create(SQLITE), create(POSTGRES));
    let shell = duration(|| drop(ground.back_up().unwrap()));
    let delete = |_| {
        let names = clone_backups(ground);
        let begun = Instant::now();
        assert_eq!(server.ask("POST", "/api/delete_backups", &names_form(&names)).unwrap().status, 200);
        begun.elapsed()
    };
    let deletion = (0..3).map(delete).min().unwrap();
    drop(server);
    let start = duration(|| drop(ground.serve().unwrap()));
    Ok(Lengths { sqlite, postgres, shell, deletion, start })
}

/// Starts a backup and kills the server `wait` after the request. Returns the job, if the response named it.
fn kill_in_create(
    ground: &Ground,
    server: &mut Server,
    database: &str,
    wait: Duration,
    seen: &mut Seen,
) -> Option<JobId> {
    let asked = server.send("POST", "/api/create_backup", &format!("database={database}")).unwrap();
    thread::sleep(wait);
    if database == POSTGRES {
        seen.dumps += 1;
        seen.tools_alive += usize::from(!dump_tools(ground.data.to_str().unwrap()).is_empty());
    }
    server.kill();
    seen.note_create(ground, true);
    answer(asked).and_then(|answer| answer.job())
}

/// Requests a deletion and kills the server during it. Backups that are left must be whole, and reported deletions
/// done.
fn kill_in_deletion(
    ground: &mut Ground,
    server: &mut Server,
    wait: Duration,
    at: usize,
    seen: &mut Seen,
) -> Result<(), String> {
    let names = clone_backups(ground);
    let asked =
        server.send("POST", "/api/delete_backups", &names_form(&names)).map_err(|error| error.to_string())?;
    thread::sleep(wait);
    server.kill();
    seen.deletions += 1;
    let told = answer(asked).filter(|answer| answer.status == 200);
    let there = names_in(&ground.backups);
    let left = names.iter().filter(|name| there.contains(name)).count();
    let orphans = there.iter().filter(|name| is_orphan(name, &there)).count();
    seen.half_deleted += usize::from(orphans > 0 || (0 < left && left < names.len()));
    if told.is_some() && left > 0 {
        seen.wrong_deletions.push(format!("run {at}: {left} are there that were said to be deleted"));
    }
    for name in names {
        if there.contains(&name) && !there.contains(&format!("{name}.manifest.json")) {
            seen.wrong_deletions.push(format!("run {at}: {name} lost its manifest first"));
        }
        ground.known.remove(&name);
        // Remove the survivors, so that the next deletion starts from scratch.
        let _ = fs::remove_file(ground.backups.join(&name));
    }
    Ok(())
}

/// Whether a name is that of a manifest without its payload.
fn is_orphan(name: &str, there: &[String]) -> bool {
    name.strip_suffix(".manifest.json").is_some_and(|payload| !there.iter().any(|name| name == payload))
}

/// Adds small whole backups to delete.
fn clone_backups(ground: &Ground) -> Vec<String> {
    let name = |at: usize| format!("backup_{SQLITE}_2026-01-01_00-{:02}-{:02}Z.dump.gz", at / 60, at % 60);
    let names: Vec<_> = (0..AT_ONCE).map(name).collect();
    for name in &names {
        let manifest = format!(
            "{{\"manifest_version\":1,\"file\":\"{name}\",\"created_at\":\"2026-01-01T00:00:00.000Z\",\
             \"database\":\"{SQLITE}\",\"database_engine\":\"sqlite\",\"backup_format\":\"sqlite-database\",\
             \"payload_size\":1,\"payload_sha256\":\"x\",\"payload_crc32\":\"x\",\"content_size\":1,\
             \"content_sha256\":\"x\",\"created_by\":\"the trial\"}}"
        );
        fs::write(ground.backups.join(format!("{name}.manifest.json")), manifest).unwrap();
        fs::write(ground.backups.join(name), "x").unwrap();
    }
    names
}

/// Restarts the server and checks the promises of a start.
fn restarted(ground: &Ground, job: Option<JobId>, at: usize, seen: &mut Seen) -> Result<Server, String> {
    let begun = Instant::now();
    let server = ground.serve()?;
    let history = server.history()?;
    seen.slowest_restart = seen.slowest_restart.max(begun.elapsed());
    if begun.elapsed() > RESTART {
        seen.wrong_starts.push(format!("run {at}: it took {:?}", begun.elapsed()));
    }
    let litter = ground.litter();
    if !litter.is_empty() {
        seen.wrong_starts.push(format!("run {at}: still there after a restart: {}", litter.join(", ")));
    }
    let passwords: Vec<_> = names_in(&ground.data.join("run"));
    if !passwords.is_empty() {
        seen.wrong_starts
            .push(format!("run {at}: passwords on disk after a restart: {}", passwords.join(", ")));
    }
    for job in history.iter().filter(|job| job.state.is_active()) {
        seen.wrong_jobs.push(format!("run {at}: job {} is shown as {}", job.id, job.state.label()));
    }
    if let Some(id) = job {
        seen.jobs += 1;
        match history.iter().find(|job| job.id == id).map(|job| &job.state) {
            Some(JobState::Interrupted) => seen.interrupted += 1,
            Some(JobState::Done { file, .. }) if ground.known.contains_key(file.as_str()) => {}
            Some(other) => seen.wrong_jobs.push(format!("run {at}: job {id} is shown as {}", other.label())),
            None => seen.wrong_jobs.push(format!("run {at}: job {id} is not shown")),
        }
    }
    Ok(server)
}

/// Starts a command and kills it after `wait`. Returns the printed name, if it was done by then.
fn kill_after(mut command: Command, wait: Duration) -> Option<String> {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    thread::sleep(wait);
    // It may have ended by itself.
    child.kill().unwrap();
    told(&child.wait_with_output().unwrap()).ok()
}

fn dump_tools_are_gone(ground: &Ground, cluster: &Cluster, at: usize, seen: &mut Seen) {
    let died = Instant::now();
    let ours = ground.data.to_str().unwrap();
    let connected = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'holdfast'";
    loop {
        let tools = dump_tools(ours);
        if tools.is_empty() {
            seen.slowest_tool = seen.slowest_tool.max(died.elapsed());
            break;
        }
        if died.elapsed() > OUTLIVES {
            seen.outliving.push(format!("run {at}: pg_dump {tools:?} still runs"));
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
    while cluster.psql("postgres", connected).trim() != "0" {
        if died.elapsed() > OUTLIVES {
            seen.outliving.push(format!("run {at}: the database still has a connection of ours"));
            return;
        }
    }
}

/// How often a publisher without draft and rename is caught.
fn caught_publishing(random: &mut Random) -> (usize, usize) {
    let mut ground = Ground::new(4000);
    let whole = duration(|| assert!(ground.naive("publisher").status().unwrap().success()));
    let mut caught = 0;
    for _ in 0..CONTROL_RUNS {
        kill_after(ground.naive("publisher"), whole.mul_f64(random.uniform()));
        caught += usize::from(!ground.faults().is_empty());
        ground.clear();
    }
    (caught, CONTROL_RUNS)
}

/// How often a program that deletes manifests before payloads is caught.
fn caught_deleting(random: &mut Random) -> (usize, usize) {
    let ground = Ground::new(10);
    let delete = |_| {
        clone_backups(&ground);
        let begun = Instant::now();
        assert!(ground.naive("deleter").status().unwrap().success());
        begun.elapsed()
    };
    let whole = (0..3).map(delete).min().unwrap();
    let mut caught = 0;
    for _ in 0..CONTROL_RUNS {
        clone_backups(&ground);
        kill_after(ground.naive("deleter"), whole.mul_f64(random.uniform()));
        let there = names_in(&ground.backups);
        let mut listed = there.iter().filter(|name| is_listed(name));
        caught += usize::from(listed.any(|name| !there.contains(&format!("{name}.manifest.json"))));
    }
    (caught, CONTROL_RUNS)
}

/// How often the checks find leftovers, and a job that still seems to run, without a restart.
fn caught_unswept() -> ((usize, usize), (usize, usize)) {
    let (mut unswept, mut uninterrupted) = (0, 0);
    for _ in 0..CONTROL_RUNS {
        let ground = Ground::new(10);
        let writer = rusqlite::Connection::open(ground.source()).unwrap();
        // Locked, so that the backup is still running when the server is killed.
        writer.execute_batch("BEGIN EXCLUSIVE;").unwrap();
        let mut server = ground.serve().unwrap();
        let id = server.create(SQLITE).unwrap();
        while ground.litter().is_empty() {
            thread::sleep(Duration::from_millis(1));
        }
        server.kill();
        assert!(ground.program(&["list"]).status().unwrap().success());
        unswept += usize::from(!ground.litter().is_empty());
        let job = ground.holdfast().jobs().get(id);
        uninterrupted += usize::from(job.is_some_and(|job| job.state != JobState::Interrupted));
    }
    ((unswept, CONTROL_RUNS), (uninterrupted, CONTROL_RUNS))
}

/// How often a tool that is not tied to its parent is caught.
fn caught_outliving(cluster: &Cluster) -> (usize, usize) {
    const RUNS: usize = 3;
    let mut seen = Seen::default();
    for at in 0..RUNS {
        let ground = Ground::new(10);
        // It waits for a lock forever, and as the child of a shell it stays behind.
        cluster.psql("postgres", "DROP DATABASE IF EXISTS locked");
        cluster.create_database("locked");
        cluster.psql("locked", "CREATE TABLE t (i int)");
        let mut lock = Lock::on(cluster, "locked");
        let tool = cluster.bin().join("pg_dump");
        let mut parent = Command::new("sh")
            .args(["-c", "\"$0\" >/dev/null & echo started; wait"])
            .arg(&tool)
            .envs([("PGHOST", cluster.socket().to_str().unwrap()), ("PGPORT", &cluster.port.to_string())])
            .envs([
                ("PGUSER", crate::support::postgres::USER),
                ("PGDATABASE", "locked"),
                ("PGAPPNAME", "holdfast"),
            ])
            .env("PGPASSFILE", ground.data.join("run/none"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        while cluster
            .psql("postgres", "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'holdfast'")
            .trim()
            == "0"
        {}
        parent.kill().unwrap();
        parent.wait().unwrap();
        dump_tools_are_gone(&ground, cluster, at, &mut seen);
        for pid in dump_tools(ground.data.to_str().unwrap()) {
            kill(pid.as_ref());
        }
        lock.release();
    }
    (seen.outliving.len(), RUNS)
}

/// Number of kills of the dump tool.
const TOOL_RUNS: (usize, usize) = (100, 30);

/// Kills the dump tool instead of the program. Its partial output is never published.
pub fn tools(run: Run) -> Outcome {
    let mut random = Random(run.seed);
    let cluster = cluster();
    let mut ground = Ground::new(10);
    ground.add_postgres(&cluster, "tools", 3000);
    let server = ground.serve()?;
    let whole = duration(|| {
        let id = server.create(POSTGRES).unwrap();
        assert!(matches!(server.ended(id).unwrap().state, JobState::Done { .. }));
    });
    let ours = ground.data.to_str().unwrap().to_owned();
    let (mut killed, mut failures) = (0, Vec::new());
    let runs = run.scale.of(TOOL_RUNS.0, TOOL_RUNS.1);
    for at in 0..runs {
        let id = server.create(POSTGRES)?;
        thread::sleep(whole.mul_f64(random.uniform()));
        let hit = kill_tools(&ours);
        let state = server.ended(id)?.state;
        let mut found = ground.faults();
        match state {
            JobState::Failed { message, .. } if hit && message.contains("pg_dump") => killed += 1,
            // The tool may already have written its last byte.
            JobState::Done { .. } => {}
            other => found.push(format!("{other:?}")),
        }
        found.extend(ground.litter());
        found.extend(ground.faults_of_known());
        failures.extend(found.into_iter().map(|fault| format!("run {at}: {fault}")));
    }
    failures.extend((killed == 0).then(|| "no tool was alive to be killed".to_owned()));
    Ok(vec![Line {
        id: "P6",
        what: "the dump tool killed: nothing is published (B4)".to_owned(),
        runs,
        failures,
        caught: caught_piping(&cluster)?,
        notes: format!("killed while dumping {killed}"),
    }])
}

/// Kills every `pg_dump` that was started for `ours`.
fn kill_tools(ours: &str) -> bool {
    let is_tool = |pid: &String| {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "pg_dump")
    };
    dump_tools(ours).into_iter().filter(is_tool).filter(|pid| kill(pid.as_ref())).count() > 0
}

/// The control: a pipe into gzip, whose exit status hides the failure of the tool, and a manifest of the output.
fn caught_piping(cluster: &Cluster) -> Result<(usize, usize), String> {
    const RUNS: usize = 3;
    let mut ground = Ground::new(10);
    let ours = ground.data.to_str().unwrap().to_owned();
    let mut caught = 0;
    for _ in 0..RUNS {
        let mut lock = Lock::on(cluster, "tools");
        let name = "backup_naive.dump.gz";
        let connected = cluster.command("pg_dump");
        let mut shell = Command::new("/bin/sh");
        shell.envs(connected.get_envs().filter_map(|(name, value)| Some((name, value?))));
        shell
            .args(["-c", "\"$0\" -Fc -Z0 | gzip > \"$1\""])
            .arg(cluster.bin().join("pg_dump"))
            .arg(ground.backups.join(name));
        shell.env("PGDATABASE", "tools").env("PGPASSFILE", ground.data.join("none"));
        let mut piping = shell.stderr(Stdio::null()).spawn().map_err(|error| error.to_string())?;
        while !kill_tools(&ours) {
            thread::sleep(Duration::from_millis(5));
        }
        let status = piping.wait().map_err(|error| error.to_string())?;
        lock.release();
        let bytes = fs::read(ground.backups.join(name)).map_err(|error| error.to_string())?;
        let sum = HEXLOWER.encode(&Sha256::digest(&bytes));
        let manifest =
            format!("{{\"file\":\"{name}\",\"payload_sha256\":\"{sum}\",\"backup_format\":\"pg-custom\"}}");
        fs::write(ground.backups.join(format!("{name}.manifest.json")), manifest)
            .map_err(|error| error.to_string())?;
        caught += usize::from(status.success() && !ground.faults().is_empty());
        ground.clear();
    }
    Ok((caught, RUNS))
}
