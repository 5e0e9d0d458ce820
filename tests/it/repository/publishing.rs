//! How a file gets its name, and what is left where it does not: nothing.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

use crate::support::desk::{Desk, NOW, contents_of, dense_database, names_in, small_database};
use crate::support::holdfast::program_under;
use holdfast::domain::engines::{Cancel, Ended};
use holdfast::domain::error::Error;
use holdfast::domain::jobs::Progress;
use holdfast::domain::operations::compress::{Effort, compress};
use holdfast::domain::operations::create::Made;
use holdfast::domain::repository::catalog::Catalog;
use holdfast::domain::repository::directory::BackupDir;
use holdfast::domain::repository::sweep::Swept;
use holdfast::model::{BackupName, EngineKind, FileState, Phase, Stamp};
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The name a backup of `ledger` gets at NOW.
const PLAIN: &str = "backup_ledger_2026-11-23_02-41-07Z.dump.gz";

struct Silent;

impl Progress for Silent {
    fn phase(&self, _: Phase) {}
    fn total(&self, _: u64) {}
    fn bytes(&self, _: u64, _: u64) {}
}

fn take(n: u32) -> String {
    PLAIN.replace("Z.", &format!("Z-{n}."))
}

/// Publishes `content` as a backup of `ledger` made at NOW.
fn publish(dir: &BackupDir, content: &[u8]) -> Result<BackupName, Error> {
    let draft = dir.draft()?;
    let summary = compress(
        &mut &content[..],
        draft.file(),
        &draft.path(),
        Effort::default(),
        &Cancel::default(),
        &|_, _| (),
    )?;
    let database = "ledger".parse().unwrap();
    let created = Stamp::from_millis(NOW);
    let made = Made {
        database: &database,
        engine: EngineKind::new("sqlite"),
        format: "sqlite-database",
        created,
        summary: &summary,
        ended: &Ended::default(),
    };
    draft.publish(&database, created, |name| made.manifest(name))
}

fn back_up(desk: &Desk, database: &str) -> Result<BackupName, Error> {
    let database = database.parse().unwrap();
    desk.holdfast.creations().back_up(&database, &Cancel::default(), &Silent).map(|created| created.file)
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn nothing_is_ever_overwritten() {
    let home = tempfile::tempdir().unwrap();
    let dir = BackupDir::open(home.path()).unwrap();
    let at = |name: &str| home.path().join(name);
    // A file from elsewhere without a manifest, a lone manifest, a link to nowhere: each takes its name.
    fs::write(at(PLAIN), "from elsewhere").unwrap();
    fs::write(at(&format!("{}.manifest.json", take(2))), "not ours").unwrap();
    std::os::unix::fs::symlink("/nowhere", at(&take(3))).unwrap();
    fs::create_dir(at(&take(4))).unwrap();
    let first = publish(&dir, b"first").unwrap();
    assert_eq!(first.as_str(), take(5));
    let bytes = fs::read(at(&take(5))).unwrap();
    let second = publish(&dir, b"second").unwrap();
    assert_eq!(second.as_str(), take(6));
    assert_eq!(fs::read(at(PLAIN)).unwrap(), b"from elsewhere");
    assert_eq!(fs::read(at(&format!("{}.manifest.json", take(2)))).unwrap(), b"not ours");
    assert!(fs::symlink_metadata(at(&take(3))).unwrap().is_symlink());
    assert_eq!(fs::read(at(&take(5))).unwrap(), bytes);
    let listed = Catalog::new(Arc::new(dir)).list().unwrap();
    let states: Vec<_> = listed.iter().map(|backup| backup.state).collect();
    assert_eq!(states, [FileState::Whole, FileState::Whole, FileState::NoManifest]);
    assert!(!contents_of(home.path()).iter().any(|name| name.starts_with(".part-")));
}

#[test]
fn many_at_once_get_a_name_each() {
    const WRITERS: usize = 8;
    let home = tempfile::tempdir().unwrap();
    let dir = BackupDir::open(home.path()).unwrap();
    let start = Barrier::new(WRITERS);
    let names: Vec<_> = thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|i| {
                let (dir, start) = (&dir, &start);
                scope.spawn(move || {
                    start.wait();
                    (publish(dir, &[b'0' + u8::try_from(i).unwrap(); 999]).unwrap(), i)
                })
            })
            .collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    let catalog = Catalog::new(Arc::new(dir));
    assert_eq!(catalog.list().unwrap().len(), WRITERS);
    for (name, i) in names {
        assert_eq!(catalog.get(&name).unwrap().state, FileState::Whole, "{name}");
        let mut content = Vec::new();
        let file = catalog.open(&name).unwrap();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(file), &mut content).unwrap();
        assert_eq!(content, vec![b'0' + u8::try_from(i).unwrap(); 999], "{name}");
    }
}

#[test]
fn only_the_owner_may_read_what_is_made() {
    let home = tempfile::tempdir().unwrap();
    small_database(&home.path().join("ledger.db"));
    // The program itself, since a test must not change the mask of its neighbours.
    let run = holdfast(&home, &["sh", "-c", "umask 000; exec \"$0\" \"$@\""]);
    assert!(run.status.success(), "{}", said(&run));
    let data = home.path().join("data");
    let backups = data.join("backups");
    for directory in [&data, &backups, &data.join("run")] {
        assert_eq!(mode(directory), 0o700, "{}", directory.display());
    }
    let files: Vec<_> = names_in(&backups).iter().map(|name| backups.join(name)).collect();
    assert!(files.len() >= 3, "{files:?}");
    for file in files.iter().chain([&data.join("holdfast.db")]) {
        assert_eq!(mode(file), 0o600, "{}", file.display());
    }
}

#[test]
fn a_sweep_takes_what_the_dead_left_and_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    let dir = BackupDir::open(home.path()).unwrap();
    let at = |name: &str| home.path().join(name);
    let published = publish(&dir, b"kept").unwrap();
    let live = dir.draft().unwrap();
    let scratch = live.scratch().unwrap();
    fs::write(scratch.join("copy.db"), "in use").unwrap();
    fs::write(at(".part-dead"), "half").unwrap();
    fs::create_dir(at(".part-dead-scratch")).unwrap();
    fs::write(at(".part-dead-scratch/copy.db"), "half").unwrap();
    fs::create_dir(at(".part-alone-scratch")).unwrap();
    fs::write(at(".part-alone-scratch/copy.db"), "half").unwrap();
    fs::write(at("backup_gone.dump.gz.manifest.json"), "{}").unwrap();
    fs::write(at("backup_elsewhere.dump.gz"), "kept").unwrap();
    fs::write(at("notes.txt"), "kept").unwrap();
    fs::write(at("notes.manifest.json"), "kept").unwrap();
    let before = names_in(home.path()).len();
    // Another program's eyes: a handle of its own.
    let swept = BackupDir::open(home.path()).unwrap().sweep().unwrap();
    assert_eq!(swept, Swept { drafts: 1, manifests: 1 });
    let after = names_in(home.path());
    let gone =
        ["backup_gone.dump.gz.manifest.json", ".part-dead", ".part-dead-scratch", ".part-alone-scratch"];
    assert!(gone.iter().all(|name| !at(name).exists()), "{after:?}");
    // The sweep's own lock may be new.
    assert!(after.len() >= before - gone.len(), "{after:?}");
    assert_eq!(fs::read(scratch.join("copy.db")).unwrap(), b"in use");
    assert!(live.path().exists());
    for kept in [
        published.as_str(),
        &published.manifest(),
        "backup_elsewhere.dump.gz",
        "notes.txt",
        "notes.manifest.json",
    ] {
        assert!(at(kept).exists(), "{kept}");
    }
    drop(live);
    assert!(!scratch.exists());
    assert_eq!(BackupDir::open(home.path()).unwrap().sweep().unwrap(), Swept::default());
}

#[test]
fn a_sweep_goes_round_what_is_no_file() {
    let home = tempfile::tempdir().unwrap();
    let dir = BackupDir::open(home.path()).unwrap();
    let odd = [".part-directory", "backup_directory.dump.gz.manifest.json"];
    for name in odd {
        fs::create_dir(home.path().join(name)).unwrap();
    }
    let pipe = home.path().join(".part-pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    std::os::unix::fs::symlink("/etc/passwd", home.path().join(".part-link")).unwrap();
    fs::write(home.path().join(".part-dead"), "half").unwrap();
    assert_eq!(dir.sweep().unwrap(), Swept { drafts: 1, manifests: 0 });
    assert!(odd.iter().all(|name| home.path().join(name).is_dir()));
    assert!(Path::new("/etc/passwd").exists());
}

#[test]
fn a_draft_that_is_dropped_leaves_nothing() {
    let home = tempfile::tempdir().unwrap();
    let dir = BackupDir::open(home.path()).unwrap();
    let draft = dir.draft().unwrap();
    draft.file().write_all(b"half").unwrap();
    fs::write(draft.scratch().unwrap().join("x"), "half").unwrap();
    assert_eq!(mode(&draft.path()), 0o600);
    assert_eq!(contents_of(home.path()).len(), 2);
    assert!(Catalog::new(Arc::new(BackupDir::open(home.path()).unwrap())).list().unwrap().is_empty());
    drop(draft);
    assert_eq!(contents_of(home.path()), [""; 0]);
}

#[test]
fn a_second_server_on_the_directory_is_refused_in_words() {
    let desk = Desk::new();
    let claim = desk.holdfast.begin_serving().unwrap();
    let second = desk.reopened();
    let refused = second.begin_serving().unwrap_err().to_string();
    assert!(refused.starts_with("Another Holdfast already works on "), "{refused}");
    assert!(refused.contains(desk.holdfast.backup_dir().to_str().unwrap()), "{refused}");
    // The shell's `backup` is no second server: it may work beside one.
    second.sweep().unwrap();
    back_up(&desk, "ledger").unwrap();
    drop(claim);
    second.begin_serving().unwrap();
}

#[test]
fn a_second_program_s_backup_of_the_same_database_is_refused_in_words() {
    let home = tempfile::tempdir().unwrap();
    let source = home.path().join("ledger.db");
    small_database(&source);
    // Locked, so that the first one waits for it.
    let writer = rusqlite::Connection::open(&source).unwrap();
    writer.execute_batch("BEGIN EXCLUSIVE;").unwrap();
    let mut first = command(&home, &[]);
    let first = first.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let backups = home.path().join("data/backups");
    let since = Instant::now();
    while !backups.join(".holdfast-ledger.lock").exists() {
        assert!(since.elapsed() < Duration::from_secs(10), "the first one never began");
        thread::sleep(Duration::from_millis(5));
    }
    let second = holdfast(&home, &[]);
    assert_eq!(second.status.code(), Some(1), "{}", said(&second));
    assert!(said(&second).contains("A backup of ledger is already under way."), "{}", said(&second));
    writer.execute_batch("COMMIT;").unwrap();
    let first = first.wait_with_output().unwrap();
    assert!(first.status.success(), "{}", said(&first));
    assert_eq!(Catalog::new(Arc::new(BackupDir::open(&backups).unwrap())).list().unwrap().len(), 1);
}

#[test]
fn a_database_that_vanished_is_named_and_nothing_is_left() {
    let desk = Desk::new();
    let whole = back_up(&desk, "ledger").unwrap();
    let before = contents_of(desk.holdfast.backup_dir());
    let gone = desk.at("shop.db");
    fs::remove_file(&gone).unwrap();
    let error = back_up(&desk, "shop").unwrap_err().to_string();
    assert!(error.contains("shop") && error.contains(gone.to_str().unwrap()), "{error}");
    assert!(!gone.exists(), "the source was made");
    fs::write(&gone, "this is not a database, whatever its name says").unwrap();
    let error = back_up(&desk, "shop").unwrap_err().to_string();
    assert!(error.contains("not a SQLite database"), "{error}");
    fs::write(&gone, "").unwrap();
    let error = back_up(&desk, "shop").unwrap_err().to_string();
    assert!(error.contains("empty"), "{error}");
    assert_eq!(contents_of(desk.holdfast.backup_dir()), before);
    assert!(before.contains(&whole.to_string()));
}

/// The program itself, backing `ledger` up, started through `through`.
fn command(home: &TempDir, through: &[&str]) -> Command {
    command_with(home, through, &home.path().join("data/backups"))
}

fn command_with(home: &TempDir, through: &[&str], backups: &Path) -> Command {
    let databases = format!("ledger=sqlite://{}", home.path().join("ledger.db").display());
    let mut command = program_under(through, home.path(), &databases, &["backup", "ledger"]);
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("HOLDFAST_BACKUP_DIR", backups);
    command
}

fn holdfast(home: &TempDir, through: &[&str]) -> Output {
    command(home, through).output().unwrap()
}

fn said(run: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    format!("{}: {out}{err}", run.status)
}

#[test]
fn a_backup_directory_that_cannot_be_used_is_named_with_the_reason() {
    let home = tempfile::tempdir().unwrap();
    small_database(&home.path().join("ledger.db"));
    let file = home.path().join("file");
    fs::write(&file, "a file").unwrap();
    let long = home.path().join("x".repeat(300));
    for (backups, reason) in [
        (file.clone(), "File exists"),
        (file.join("below"), "File exists"),
        ("/proc/holdfast".into(), "No such file or directory"),
        (long, "File name too long"),
    ] {
        let run = command_with(&home, &[], &backups).output().unwrap();
        assert_eq!(run.status.code(), Some(1), "{}", said(&run));
        let words = said(&run);
        assert!(
            words.contains(&format!("The backup directory {} cannot be used", backups.display())),
            "{words}"
        );
        assert!(words.contains(reason), "{words}");
    }
    assert_eq!(fs::read(&file).unwrap(), b"a file");
}

/// Whether a file system of our own can be mounted here. Where not, says so.
fn can_mount() -> bool {
    let tried = Command::new("unshare").args(["-m", "mount", "-t", "tmpfs", "none", "/mnt"]).output();
    let can = tried.is_ok_and(|tried| tried.status.success());
    if !can {
        println!("this user cannot mount a file system, so a full and a read-only disk are not tried");
    }
    can
}

/// Runs `holdfast backup ledger` with the backups on a file system of its own, mounted with `options` and
/// prepared by `first`. Gives the run and what is in the directory after it.
fn on_own_disk(home: &TempDir, options: &str, first: &str) -> (Output, Vec<String>) {
    let disk = home.path().join("disk");
    fs::create_dir_all(&disk).unwrap();
    let left = home.path().join("left");
    let script = format!(
        "mount -t tmpfs -o mode=700,{options} none {disk} && {{ {first}; }} || exit 99
         \"$0\" \"$@\"; status=$?; ls -A {disk} > {left}; cat {disk}/backup_before.dump.gz >&2; exit $status",
        disk = disk.display(),
        left = left.display(),
    );
    let run = command_with(home, &["unshare", "-m", "sh", "-c", &script], &disk).output().unwrap();
    assert_ne!(run.status.code(), Some(99), "{}", said(&run));
    let left = fs::read_to_string(left).unwrap();
    let mut left: Vec<_> =
        left.lines().map(str::to_owned).filter(|name| !name.starts_with(".holdfast-")).collect();
    left.sort();
    (run, left)
}

#[test]
fn a_full_disk_is_said_in_words_and_nothing_is_left() {
    if !can_mount() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    dense_database(&home.path().join("ledger.db"), 300);
    let source = fs::metadata(home.path().join("ledger.db")).unwrap().len() / 1024;
    let before = format!("printf untouched > {}/backup_before.dump.gz", home.path().join("disk").display());
    let (mut refused, mut made) = (0, 0);
    // From too small for the copy of the source, through too small for the payload, to large enough.
    for kilobytes in (40..=3 * source).step_by(48) {
        let (run, left) = on_own_disk(&home, &format!("size={kilobytes}k"), &before);
        let words = said(&run);
        assert!(words.contains("untouched"), "{kilobytes} KB: {words}");
        if run.status.success() {
            made += 1;
            assert_eq!(left.len(), 3, "{kilobytes} KB: {left:?}");
        } else {
            refused += 1;
            assert_eq!(run.status.code(), Some(1), "{kilobytes} KB: {words}");
            assert!(words.contains("is full. Free some space and try again"), "{kilobytes} KB: {words}");
            assert_eq!(left, ["backup_before.dump.gz"], "{kilobytes} KB: {words}");
        }
    }
    assert!(refused >= 5 && made >= 1, "{refused} refused, {made} made");
}

#[test]
fn a_read_only_disk_is_said_in_words() {
    let home = tempfile::tempdir().unwrap();
    small_database(&home.path().join("ledger.db"));
    let disk = home.path().join("disk");
    if !can_mount() {
        fs::create_dir(&disk).unwrap();
        fs::set_permissions(&disk, fs::Permissions::from_mode(0o500)).unwrap();
        let words = said(&command_with(&home, &[], &disk).output().unwrap());
        assert!(
            words.contains(&format!("The backup directory {} cannot be used", disk.display())),
            "{words}"
        );
        return assert!(words.contains("Permission denied"), "{words}");
    }
    let first = format!("printf x > {0}/backup_before.dump.gz; mount -o remount,ro {0}", disk.display());
    let (run, left) = on_own_disk(&home, "size=1m", &first);
    assert_eq!(run.status.code(), Some(1), "{}", said(&run));
    let words = said(&run);
    assert!(words.contains(&format!("The backup directory {} cannot be used", disk.display())), "{words}");
    assert!(words.contains("Read-only file system"), "{words}");
    assert_eq!(left, ["backup_before.dump.gz"]);
}

#[test]
fn a_write_that_is_refused_leaves_nothing() {
    let home = tempfile::tempdir().unwrap();
    let source = home.path().join("ledger.db");
    dense_database(&source, 400);
    let backups = home.path().join("data/backups");
    // The state database is made beforehand, so that only the backup meets the limit.
    let unlimited = holdfast(&home, &[]);
    assert!(unlimited.status.success(), "{}", said(&unlimited));
    let before = contents_of(&backups);
    let bytes: Vec<_> = before.iter().map(|name| fs::read(backups.join(name)).unwrap()).collect();
    for limit in [0, 1, 4096, 100_000, 300_000] {
        let run = holdfast(&home, &["prlimit", &format!("--fsize={limit}")]);
        let words = said(&run);
        assert_eq!(run.status.code(), Some(1), "{limit}: {words}");
        let named = words.contains(backups.to_str().unwrap()) || words.contains("own state database failed");
        assert!(named && words.contains("failed"), "{limit}: {words}");
        assert_eq!(contents_of(&backups), before, "{limit}: {words}");
        let after: Vec<_> = before.iter().map(|name| fs::read(backups.join(name)).unwrap()).collect();
        assert!(after == bytes, "{limit}: a backup that was there was changed");
    }
    let again = holdfast(&home, &[]);
    assert!(again.status.success(), "{}", said(&again));
}
