//! What a program that was killed leaves beside its database.

use super::*;
use std::thread;
use std::time::{Duration, Instant};

/// Moves the files as they are, so that nothing is tidied up.
fn killed(path: &Path, open: Connection, endings: &[&str]) {
    let at = path.with_extension("cut");
    for ending in
        ["", "-journal", "-wal"].iter().filter(|ending| ending.is_empty() || endings.contains(ending))
    {
        fs::copy(beside(path, ending), beside(&at, ending)).unwrap();
    }
    drop(open);
    for ending in ["", "-journal", "-wal"] {
        if beside(&at, ending).exists() {
            fs::rename(beside(&at, ending), beside(path, ending)).unwrap();
        }
    }
}

fn backed_up(desk: &Desk) -> (Manifest, Vec<u8>) {
    let database = "app".parse().unwrap();
    match desk.holdfast.databases().test(&database).unwrap().health {
        DatabaseHealth::Reachable { .. } => {}
        other @ DatabaseHealth::Unreachable(_) => panic!("{other:?}"),
    }
    let made = desk.holdfast.creations().back_up(&database, &Cancel::default(), &Unwatched).unwrap();
    let file = made.file.as_str();
    let manifest = Manifest::read(&fs::read(desk.backup(&format!("{file}.manifest.json"))).unwrap()).unwrap();
    let mut content = Vec::new();
    GzDecoder::new(fs::File::open(desk.backup(file)).unwrap()).read_to_end(&mut content).unwrap();
    (manifest, content)
}

#[test]
fn an_unfinished_transaction_is_undone_in_the_copy_only() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("app.db");
    drop(run(&path, ROWS));
    let committed = comparable(&path);
    let open = run(
        &path,
        "PRAGMA cache_size = 2; BEGIN; UPDATE t SET b = zeroblob(900); DELETE FROM t WHERE a > 3;",
    );
    killed(&path, open, &["-journal"]);
    let (before, names) = (fs::read(&path).unwrap(), names_in(home.path()));
    assert_ne!(comparable(&path), committed);
    let desk = Desk::of(vec![("app".parse().unwrap(), Target::of_file(path.clone()))]);
    let (manifest, content) = backed_up(&desk);
    assert_eq!((manifest.tables, manifest.rows), (Some(1), Some(500)));
    assert!(manifest.remarks.join(" ").contains("in the middle of a transaction"), "{:?}", manifest.remarks);
    let copy = home.path().join("copy.db");
    fs::write(&copy, content).unwrap();
    assert_eq!(comparable(&copy), committed);
    fs::remove_file(copy).unwrap();
    assert_eq!((fs::read(&path).unwrap(), names_in(home.path())), (before, names));
}

#[test]
fn a_log_that_nobody_has_open_is_read_without_a_file_beside_it() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("app.db");
    let open = run(&path, &format!("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; {ROWS}"));
    killed(&path, open, &["-wal"]);
    let (before, names) = (fs::read(&path).unwrap(), names_in(home.path()));
    assert_eq!(names.len(), 2, "{names:?}");
    let desk = Desk::of(vec![("app".parse().unwrap(), Target::of_file(path.clone()))]);
    let (manifest, _) = backed_up(&desk);
    assert_eq!((manifest.tables, manifest.rows), (Some(1), Some(500)));
    assert_eq!((fs::read(&path).unwrap(), names_in(home.path())), (before, names));
}

#[test]
fn a_check_that_takes_minutes_is_let_go_of_when_asked_to() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("app.db");
    drop(run(
        &path,
        "PRAGMA ignore_check_constraints = ON; CREATE TABLE t (a CHECK (hex(zeroblob(30000)) NOT LIKE '%b'));
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400000) INSERT INTO t SELECT i FROM n;",
    ));
    let desk = Desk::of(vec![("app".parse().unwrap(), Target::of_file(path))]);
    let cancel = Cancel::default();
    let canceller = cancel.clone();
    let asked = thread::spawn(move || {
        thread::sleep(Duration::from_secs(1));
        canceller.cancel();
    });
    let began = Instant::now();
    let error = desk.holdfast.creations().back_up(&"app".parse().unwrap(), &cancel, &Unwatched).unwrap_err();
    assert!(matches!(error, Error::Cancelled), "{error}");
    assert!((1..10).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    asked.join().unwrap();
}
