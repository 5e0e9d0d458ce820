//! Trials of the state database: the program is killed while it writes, or the file is damaged or deleted.

#![expect(clippy::unnecessary_wraps, reason = "trials return a result; this one runs on any machine")]

use crate::home::{count_in, faults_in, home, manifest_of, opened, packed, reset_account, serving, session};
use crate::report::{Line, Outcome, Random, Run};
use crate::support::desk::{ACCOUNT, NOW, names_in};
use crate::support::holdfast::{Home, Server};
use crate::support::http::{exchange, request};
use holdfast::domain::accounts::SessionToken;
use holdfast::domain::destinations::sftp::settings::{Credential, StoredSftp};
use holdfast::domain::state::Store;
use holdfast::domain::state::secrets::Secrets;
use holdfast::model::{BackupName, JobId, Stamp};
use rusqlite::Connection;
use secrecy::ExposeSecret as _;
use std::fs::{self, OpenOptions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::Duration;

/// A4: kills, then damage.
pub fn state(run: Run) -> Outcome {
    Ok(vec![kills(run), damages(run)])
}

/// The requests to a program before it was killed, and its answers.
#[derive(Default)]
struct Told {
    /// The last settings that were sent, and the last that were reported as saved.
    sent: AtomicUsize,
    saved: AtomicUsize,
    sessions: Mutex<Vec<String>>,
    jobs: Mutex<Vec<u64>>,
    /// Refused settings.
    refused: Mutex<Vec<String>>,
    /// Unanswered requests.
    unanswered: AtomicUsize,
}

fn kills(run: Run) -> Line {
    let runs = run.scale.of(300, 60);
    let mut random = Random(run.seed);
    let home = home();
    let session = session(&home);
    let told = Told::default();
    let mut failures = Vec::new();
    let mut landed = 0;
    for turn in 0..runs {
        let mut program = match serving(&home) {
            Ok(program) => program,
            Err(words) => {
                failures.push(format!("kill {turn}: it does not start again: {words}"));
                break;
            }
        };
        told.unanswered.store(0, Ordering::SeqCst);
        let wait = Duration::from_micros(random.below(250_000) as u64);
        write_until_killed(&mut program, &session, &told, wait);
        landed += usize::from(told.unanswered.load(Ordering::SeqCst) > 0);
        failures.extend(broken(&home, &told).into_iter().map(|why| format!("kill {turn}: {why}")));
    }
    failures.append(&mut told.refused.lock().unwrap());
    failures.extend(faults_in(&home.backups()));
    let controls = 20;
    let caught = (0..controls)
        .filter(|_| naive_is_caught(Duration::from_micros(20_000 + random.below(40_000) as u64)));
    Line {
        id: "A4",
        what: "kills during settings, logins and jobs".to_owned(),
        runs,
        failures,
        caught: (caught.count(), controls),
        notes: format!(
            "with a write unanswered {landed}, settings saved {}, sessions {}, jobs {}",
            told.saved.into_inner(),
            told.sessions.into_inner().unwrap().len(),
            told.jobs.into_inner().unwrap().len()
        ),
    }
}

/// Sends settings, logins and jobs as fast as possible until the program is gone.
fn write_until_killed(program: &mut Server, session: &str, told: &Told, wait: Duration) {
    let server = program.address;
    let start = Barrier::new(4);
    let post_as = |session: &str, path: &str, form: &str| {
        let answered = exchange(server, &request("POST", path, session, "", form));
        if answered.is_err() {
            told.unanswered.fetch_add(1, Ordering::SeqCst);
        }
        answered
    };
    let post = |path: &str, form: &str| post_as(session, path, form);
    let settings = || {
        start.wait();
        loop {
            let turn = told.sent.fetch_add(1, Ordering::SeqCst) + 1;
            let form = format!(
                "entry[host]=h{turn}&entry[port]=22&entry[username]=u{turn}&entry[auth]=password\
                 &entry[password]=p{turn}&entry[remote_directory]=d{turn}&entry[private_key]=&entry[passphrase]="
            );
            let form = form.replace('[', "%5B").replace(']', "%5D");
            match post("/api/save_sftp", &form) {
                Ok(reply) if reply.status == 200 => told.saved.store(turn, Ordering::SeqCst),
                Ok(reply) => {
                    let words = String::from_utf8_lossy(&reply.body).into_owned();
                    return told.refused.lock().unwrap().push(format!("settings: {} {words}", reply.status));
                }
                Err(_) => return,
            }
        }
    };
    let logins = || {
        start.wait();
        let form = format!("username={}&password={}", ACCOUNT.0, ACCOUNT.1.replace(' ', "+"));
        // A login ends the session of its request.
        while let Ok(reply) = post_as("", "/login", &form) {
            let given = reply.header("set-cookie").split(['=', ';']).nth(1).unwrap_or_default();
            told.sessions.lock().unwrap().push(given.to_owned());
        }
    };
    let jobs = || {
        start.wait();
        while let Ok(reply) = post("/api/create_backup", "database=ledger") {
            let id = String::from_utf8_lossy(&reply.body).parse::<u64>();
            told.jobs.lock().unwrap().extend(id.ok().filter(|_| reply.status == 200));
            thread::sleep(Duration::from_millis(5));
        }
    };
    thread::scope(|scope| {
        scope.spawn(settings);
        scope.spawn(logins);
        scope.spawn(jobs);
        start.wait();
        thread::sleep(wait);
        program.kill();
    });
}

/// The contradictions between earlier answers and the state after the next start.
fn broken(home: &Home, told: &Told) -> Vec<String> {
    let mut faults = Vec::new();
    let path = home.data().join("holdfast.db");
    // Check before opening Holdfast, which would repair the state.
    let looked_at = Connection::open(&path)
        .and_then(|database| database.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0)));
    if !looked_at.as_ref().is_ok_and(|verdict| verdict == "ok") {
        faults.push(format!("integrity: {looked_at:?}"));
    }
    faults.extend(mixed_settings(&path, &home.data(), told));
    let holdfast = opened(home);
    for session in told.sessions.lock().unwrap().iter().rev().take(3) {
        let known =
            SessionToken::parse(session).and_then(|token| holdfast.accounts().session(&token).unwrap());
        if known.is_none() {
            faults.push("a session that was given is not known".to_owned());
        }
    }
    drop(holdfast.begin_serving());
    for id in told.jobs.lock().unwrap().iter().rev().take(3) {
        match holdfast.jobs().get(JobId(*id)) {
            Some(job) if job.ended.is_some() && !job.state.is_active() => {}
            other => faults.push(format!("job {id} was begun, and is {other:?}")),
        }
    }
    faults.extend(names_in(&home.data()).into_iter().filter(|name| name.contains("damaged")));
    faults
}

/// The stored settings must be the last that were reported as saved, or later ones, and form and password must belong
/// together. Otherwise returns the fault.
fn mixed_settings(path: &Path, data: &Path, told: &Told) -> Option<String> {
    let settings = StoredSftp::new(Store::open(path).unwrap(), Secrets::new(data.join("key")));
    let (saved, sent) = (told.saved.load(Ordering::SeqCst), told.sent.load(Ordering::SeqCst));
    let view = settings.view().unwrap();
    if view.form.host.is_empty() {
        return (saved > 0).then(|| format!("the settings are gone; {saved} were saved"));
    }
    let password = match settings.account() {
        Ok(account) => match account.credential {
            Credential::Password(password) => password.expose_secret().to_owned(),
            Credential::Key(_) => "a key".to_owned(),
        },
        Err(error) => error.to_string(),
    };
    let form = view.form;
    let fields = [&form.host, &form.username, &form.remote_directory, &password];
    let turns: Vec<usize> =
        fields.map(|field| field.get(1..).unwrap_or_default().parse().unwrap_or(0)).to_vec();
    let one = turns.iter().all(|turn| *turn == turns[0]) && (saved..=sent).contains(&turns[0]);
    (!one).then(|| format!("the settings are {fields:?}; {saved} were saved, {sent} sent"))
}

/// Lines in the file of the control, which it rewrites completely each time.
const NAIVE_LINES: usize = 200_000;

/// The control: stores its state by rewriting the file, until it is killed.
pub fn naive_state(path: &str) -> ExitCode {
    for turn in 0.. {
        if fs::write(path, format!("{turn:09}\n").repeat(NAIVE_LINES)).is_err() {
            break;
        }
    }
    ExitCode::FAILURE
}

fn naive_is_caught(wait: Duration) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state");
    let mut child =
        Command::new(std::env::current_exe().unwrap()).arg("--naive-state").arg(&path).spawn().unwrap();
    while !path.exists() {
        thread::sleep(Duration::from_millis(1));
    }
    thread::sleep(wait);
    child.kill().unwrap();
    child.wait().unwrap();
    let text = fs::read_to_string(path).unwrap();
    let first = text.lines().next().unwrap_or_default();
    text.lines().count() != NAIVE_LINES || text.lines().any(|line| line != first)
}

/// Damage to the state database while nothing runs.
#[derive(Debug, Clone, Copy)]
enum Damage {
    Deleted,
    Emptied,
    CutShort,
    HeaderOverwritten,
    MiddleOverwritten,
    OneBitTurned,
    Text,
    Directory,
    LogOverwritten,
}

const DAMAGES: [Damage; 9] = [
    Damage::Deleted,
    Damage::Emptied,
    Damage::CutShort,
    Damage::HeaderOverwritten,
    Damage::MiddleOverwritten,
    Damage::OneBitTurned,
    Damage::Text,
    Damage::Directory,
    Damage::LogOverwritten,
];

impl Damage {
    fn is_done_to(self, path: &Path, random: &mut Random) -> io::Result<()> {
        let size = usize::try_from(fs::metadata(path)?.len()).unwrap();
        let noise: Vec<u8> = (0..1024).flat_map(|_| random.next().to_le_bytes()).collect();
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        match self {
            Self::Deleted => fs::remove_file(path),
            Self::Emptied => file.set_len(0),
            Self::CutShort => file.set_len(1 + random.below(size - 1) as u64),
            Self::HeaderOverwritten => file.write_all_at(&noise[..100], 0),
            Self::MiddleOverwritten => file.write_all_at(&noise, random.below(size) as u64),
            Self::OneBitTurned => {
                let (at, mut byte) = (random.below(size) as u64, [0]);
                file.read_exact_at(&mut byte, at)?;
                file.write_all_at(&[byte[0] ^ (1 << random.below(8))], at)
            }
            Self::Text => fs::write(path, "not a database\n".repeat(1000)),
            Self::Directory => fs::remove_file(path).and_then(|()| fs::create_dir(path)),
            Self::LogOverwritten => fs::write(path.with_extension("db-wal"), noise),
        }
    }
}

fn damages(run: Run) -> Line {
    let runs = run.scale.of(90, 18);
    let mut random = Random(run.seed ^ 4);
    let (mut failures, mut aside, mut reset, mut caught) = (Vec::new(), 0, 0, 0);
    let backups = 5;
    for turn in 0..runs {
        let damage = DAMAGES[turn % DAMAGES.len()];
        let home = home();
        drop(session(&home));
        for i in 0..backups {
            let (name, bytes) = (format!("backup_ledger-{i}.dump.gz"), packed(b"content"));
            fs::write(home.backups().join(&name), &bytes).unwrap();
            let manifest = manifest_of(&name, Stamp::from_millis(NOW), &bytes);
            fs::write(home.backups().join(format!("{name}.manifest.json")), manifest).unwrap();
        }
        let path = home.data().join("holdfast.db");
        naive_index(&path, &home.backups());
        // Killed, so that there is a write-ahead log without a checkpoint.
        let before = serving(&home).and_then(|program| listed(program.address, ACCOUNT.1));
        if before != Ok(backups) {
            failures.push(format!("{before:?} of {backups} backups listed before the damage"));
        }
        damage.is_done_to(&path, &mut random).unwrap();
        // The control stores its list in the state database.
        caught += usize::from(naive_list(&path) != backups);
        match serving(&home) {
            Err(words) => failures.push(format!("{damage:?}: it does not start: {words}")),
            Ok(program) => {
                let log = program.log();
                let set_aside = names_in(&home.data()).iter().any(|name| name.contains(".damaged-"));
                aside += usize::from(set_aside);
                if set_aside != log.contains("it was renamed and a new one created") {
                    failures.push(format!("{damage:?}: set aside {set_aside}, and the log: {log}"));
                }
                if log.contains("created the first account") && !log.contains("a new one") {
                    failures.push(format!("{damage:?}: the accounts are gone without a log entry: {log}"));
                }
                let seen = listed(program.address, ACCOUNT.1).or_else(|refused| {
                    // A damaged password hash looks like any other, but the shell can reset the password.
                    if !refused.contains("to /login?error=") {
                        return Err(refused);
                    }
                    reset += 1;
                    let password = reset_account(&home).map_err(|words| format!("{refused}; {words}"))?;
                    listed(program.address, &password)
                });
                if seen != Ok(backups) {
                    failures.push(format!(
                        "{damage:?}: {seen:?} listed of {backups}; the log: {}",
                        program.log()
                    ));
                }
            }
        }
        if count_in(&home.backups()) != backups {
            failures.push(format!("{damage:?}: backups are gone"));
        }
    }
    Line {
        id: "A4",
        what: "the state database deleted or damaged".to_owned(),
        runs,
        failures,
        caught: (caught, runs),
        notes: format!("set aside {aside}, password reset by the shell {reset}"),
    }
}

/// Number of backups that the page lists after a login.
fn listed(server: SocketAddr, password: &str) -> Result<usize, String> {
    let form = format!("username={}&password={}", ACCOUNT.0, password.replace(' ', "+"));
    let login =
        exchange(server, &request("POST", "/login", "", "", &form)).map_err(|error| error.to_string())?;
    let given = login.header("set-cookie").split(';').next().unwrap_or_default().to_owned();
    let list = "/api/read_backups?query%5Bsort%5D%5Bcolumn%5D=FileName&query%5Bsort%5D%5Bdescending%5D=false\
                &query%5Bpage%5D=1&query%5Bper_page%5D=20&query%5Bfilter%5D=";
    let answer =
        exchange(server, &request("GET", list, &given, "", "")).map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    let view: serde_json::Value =
        serde_json::from_str(&text).map_err(|_| format!("{} {text}", answer.status))?;
    let rows = view["list"]["rows"].as_array().map(Vec::len);
    rows.ok_or_else(|| {
        format!("login {} to {}, list {} {text}", login.status, login.header("location"), answer.status)
    })
}

fn naive_index(path: &Path, backups: &Path) {
    let database = Connection::open(path).unwrap();
    database.execute_batch("CREATE TABLE naive (name TEXT);").unwrap();
    for name in names_in(backups).iter().filter(|name| name.parse::<BackupName>().is_ok()) {
        database.execute("INSERT INTO naive VALUES (?1)", [name]).unwrap();
    }
}

fn naive_list(path: &Path) -> usize {
    let counted = Connection::open(path).and_then(|database| {
        database.query_row("SELECT count(*) FROM naive", [], |row| row.get::<_, i64>(0))
    });
    counted.map_or(0, |count| usize::try_from(count).unwrap())
}
