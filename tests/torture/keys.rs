//! Trial: the real program is killed while it changes the key of the stored secrets. Afterwards every secret still
//! opens.

#![expect(clippy::unnecessary_wraps, reason = "trials return a result; this one runs on any machine")]

use crate::home::{home, serving};
use crate::report::{Line, Outcome, Random, Run};
use holdfast::domain::state::Store;
use holdfast::domain::state::secrets::Secrets;
use rusqlite::Connection;
use secrecy::ExposeSecret as _;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Number of stored secrets.
const ROWS: i64 = 1000;
/// Number of kills of the program.
const RUNS: (usize, usize) = (100, 30);
/// Number of kills of the control.
const CONTROLS: usize = 5;

/// H9: the program is killed while it changes the key.
pub fn keys(run: Run) -> Outcome {
    let mut random = Random(run.seed);
    let home = home();
    fill(&home.data());
    let begun = Instant::now();
    let mut failures = Vec::new();
    let rotated = home.program(&["rotate-key"]).output().unwrap();
    let length = begun.elapsed();
    if !rotated.status.success() {
        failures.push(format!("without a kill, it fails: {}", String::from_utf8_lossy(&rotated.stderr)));
    }
    let runs = run.scale.of(RUNS.0, RUNS.1);
    let (mut between, mut ended) = (0, 0);
    for turn in 0..runs {
        let before = fs::read(home.data().join("key")).unwrap();
        // From the start of the work to a little after its end.
        let status = kill_after(home.program(&["rotate-key"]), length.mul_f64(0.2 + random.uniform()));
        between += usize::from(home.data().join("key.new").exists());
        ended += usize::from(fs::read(home.data().join("key")).unwrap() != before);
        let opened = opened(&home.data());
        if opened != ROWS {
            failures.push(format!("kill {turn} ({status}): {opened} of {ROWS} open"));
            break;
        }
    }
    if between == 0 || ended == 0 {
        failures.push(format!("too few kills at the right time: {between} between, {ended} after"));
    }
    // A server completes the interrupted change and removes leftovers.
    let served = serving(&home);
    let left = fs::read_dir(home.data()).unwrap().flatten().map(|entry| entry.file_name());
    let left: Vec<_> =
        left.filter(|name| name == "key.new" || name.to_string_lossy().starts_with(".part-")).collect();
    if served.is_err() || !left.is_empty() || opened(&home.data()) != ROWS {
        failures.push(format!("after a start: {left:?}, {} of {ROWS} open", opened(&home.data())));
    }
    let refused = home.program(&["rotate-key"]).output().unwrap();
    if refused.status.success() {
        failures.push("it changes the key while a server runs".to_owned());
    }
    drop(served);
    let caught = (0..CONTROLS).filter(|_| naive_is_caught(&mut random)).count();
    Ok(vec![Line {
        id: "H9",
        what: format!("changing the key, killed: {ROWS} secrets open"),
        runs,
        failures,
        caught: (caught, CONTROLS),
        notes: format!(
            "killed between the keys {between}, after the end {ended}, one change takes {length:.0?}"
        ),
    }])
}

fn fill(data: &Path) {
    let mut db = state(data);
    let secrets = Secrets::new(data.join("key"));
    let rows: Vec<_> = (0..ROWS).map(|row| secrets.seal(&place(row), &words(row).into()).unwrap()).collect();
    let transaction = db.transaction().unwrap();
    for (row, sealed) in rows.iter().enumerate() {
        transaction.execute("INSERT INTO settings VALUES (?1, ?2)", (row.to_string(), sealed)).unwrap();
    }
    transaction.commit().unwrap();
}

/// A connection to the state database, after opening and checking it as the program does.
fn state(data: &Path) -> Connection {
    let store = Store::open(&data.join("holdfast.db")).unwrap();
    let db = Connection::open(store.path()).unwrap();
    db.busy_timeout(Duration::from_secs(5)).unwrap();
    db
}

fn place(row: i64) -> String {
    format!("settings/{row}")
}

fn words(row: i64) -> String {
    format!("secret {row}")
}

/// How many secrets open with the stored key and have their original values.
fn opened(data: &Path) -> i64 {
    let db = state(data);
    let secrets = Secrets::new(data.join("key"));
    let mut values = db.prepare("SELECT CAST(key AS INTEGER), value FROM settings").unwrap();
    let values = values.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let values = values.collect::<Result<Vec<(i64, String)>, _>>();
    let opens = |(row, sealed): &(i64, String)| {
        let opened = secrets.open(&place(*row), "It", sealed);
        opened.is_ok_and(|opened| opened.expose_secret() == words(*row))
    };
    i64::try_from(values.unwrap().iter().filter(|value| opens(value)).count()).unwrap()
}

fn kill_after(mut command: Command, wait: Duration) -> String {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    thread::sleep(wait);
    child.kill().unwrap();
    child.wait().unwrap().to_string()
}

/// The control: switches to the new key first, then re-encrypts the secrets row by row.
pub fn naive_keys(data: &str) -> ExitCode {
    let data = Path::new(data);
    let db = state(data);
    let former = Secrets::new(data.join("former"));
    fs::rename(data.join("key"), data.join("former")).unwrap();
    let new = Secrets::new(data.join("key"));
    for row in 0..ROWS {
        let get = "SELECT value FROM settings WHERE key = ?1";
        let sealed: String = db.query_row(get, [row.to_string()], |row| row.get(0)).unwrap();
        let sealed = new.seal(&place(row), &former.open(&place(row), "It", &sealed).unwrap()).unwrap();
        db.execute("UPDATE settings SET value = ?2 WHERE key = ?1", (row.to_string(), sealed)).unwrap();
    }
    ExitCode::SUCCESS
}

fn naive_is_caught(random: &mut Random) -> bool {
    let home = home();
    fill(&home.data());
    let mut naive = Command::new(std::env::current_exe().unwrap());
    naive.arg("--naive-keys").arg(home.data());
    let mut child = naive.spawn().unwrap();
    while !home.data().join("former").exists() {
        thread::sleep(Duration::from_millis(1));
    }
    thread::sleep(Duration::from_micros(random.below(20_000) as u64));
    child.kill().unwrap();
    child.wait().unwrap();
    opened(&home.data()) != ROWS
}
