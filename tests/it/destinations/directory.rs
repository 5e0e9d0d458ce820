//! A directory as a destination: a disk that is not mounted, swapped, read-only, full or removed, and what is safe.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "tests, one of which starts itself again in a mount namespace"
)]

use crate::support::desk::Desk;
use crate::support::noise::noise;
use holdfast::domain::destinations::Destinations;
use holdfast::domain::destinations::directory::administration::{DirectoryAdmin, DirectoryInput};
use holdfast::domain::destinations::directory::marker::MARKER;
use holdfast::domain::destinations::fault::{Fault, FaultKind};
use holdfast::domain::destinations::name::DestinationName;
use holdfast::domain::engines::Cancel;
use holdfast::domain::error::{Error, Result};
use holdfast::model::{BackupName, OffSite, Phase};
use std::cell::Cell;
use std::fmt::Debug;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

const NAME: &str = "backup_ledger_2026-11-23_02-41-07Z.dump.gz";

/// Set where a test runs in a mount namespace of its own.
const INSIDE: &str = "HOLDFAST_TEST_MOUNTS";

/// A Holdfast whose copies go to a directory.
struct Ground {
    desk: Desk,
    nas: PathBuf,
    there: Destinations,
}

impl Ground {
    fn new() -> Self {
        Self::over(|_| ())
    }

    /// With `mount` done to the empty mount point before the destination is set up.
    fn over(mount: impl FnOnce(&Path)) -> Self {
        let desk = Desk::with(&["ledger"]);
        let nas = desk.at("nas");
        fs::create_dir(&nas).unwrap();
        mount(&nas);
        let name: DestinationName = "nas".parse().unwrap();
        DirectoryAdmin::of(&desk.holdfast.destinations()).set_up(&name, &input(&nas)).unwrap();
        let there = desk.holdfast.destinations().at(&name);
        Self { desk, nas, there }
    }

    fn copies(&self) -> PathBuf {
        self.nas.join("holdfast")
    }

    fn copy(&self) -> PathBuf {
        self.copies().join(NAME)
    }

    fn draft(&self) -> PathBuf {
        self.copies().join(format!(".part-{NAME}"))
    }

    /// A backup without a manifest, of bytes that look random. Gives them.
    fn put(&self, size: usize) -> Vec<u8> {
        let content = noise(size, 1);
        fs::write(self.desk.backup(NAME), &content).unwrap();
        content
    }

    fn upload(&self) -> Result<holdfast::domain::destinations::attempt::Uploaded> {
        self.there.upload(&name(), &Cancel::default(), &|_, _, _| ())
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.copies()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn input(nas: &Path) -> DirectoryInput {
    DirectoryInput {
        enabled: true,
        send_new: false,
        root: nas.to_str().unwrap().to_owned(),
        folder: "holdfast".to_owned(),
        same_disk: true,
    }
}

fn name() -> BackupName {
    NAME.parse().unwrap()
}

#[track_caller]
fn fault(result: Result<impl Debug>) -> Fault {
    match result.unwrap_err() {
        Error::OffSite(fault) => fault,
        other => panic!("no fault: {other:?}"),
    }
}

/// Runs the test `name` of this file in a mount namespace of its own; `false` where this is that run, or where none
/// may be made.
fn runs_inside(name: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return false;
    }
    let tried = Command::new("unshare").args(["-m", "mount", "-t", "tmpfs", "none", "/mnt"]).output();
    if !tried.is_ok_and(|tried| tried.status.success()) {
        println!("skipped: mounting a disk takes root");
        return true;
    }
    let ran = Command::new("unshare")
        .args(["--mount", "--propagation", "private"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &format!("destinations::directory::{name}"), "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{said}{}", String::from_utf8_lossy(&ran.stderr));
    assert!(said.contains("1 passed"), "{said}");
    true
}

fn mount(arguments: &[&str], at: &Path) {
    let ran = Command::new("mount").args(arguments).arg(at).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}

#[test]
fn a_copy_arrives_whole_is_never_overwritten_and_is_private() {
    let ground = Ground::new();
    let content = ground.put(3_000_001);
    let sent = ground.upload().unwrap();
    assert!(
        sent.verified && sent.durable == Some(true) && sent.resumed == 0 && !sent.already_there,
        "{sent:?}"
    );
    assert_eq!(fs::read(ground.copy()).unwrap(), content);
    assert_eq!(fs::metadata(ground.copy()).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(ground.names(), [NAME]);
    assert!(matches!(ground.there.copy_of(&name()).unwrap(), OffSite::Verified { .. }));
    assert!(ground.upload().unwrap().already_there);

    fs::write(ground.copy(), b"another").unwrap();
    assert_eq!(fault(ground.upload()).kind, FaultKind::Differs);
    assert_eq!(fs::read(ground.copy()).unwrap(), b"another", "the file there is kept");
    let elsewhere = ground.desk.at("elsewhere");
    fs::write(&elsewhere, &content).unwrap();
    fs::remove_file(ground.copy()).unwrap();
    for link in [ground.draft(), ground.copy()] {
        symlink(&elsewhere, &link).unwrap();
        assert_eq!(fault(ground.upload()).kind, FaultKind::Taken, "no link is followed");
        assert_eq!(fs::read(&elsewhere).unwrap(), content);
    }
}

#[test]
fn an_upload_that_was_cancelled_goes_on_where_it_stopped_and_a_damaged_draft_does_not() {
    let ground = Ground::new();
    let content = ground.put(6_000_000);
    let cancel = Cancel::default();
    let stopped = ground.there.upload(&name(), &cancel, &|phase, done, _| {
        if phase == Phase::Sending && done >= 3_000_000 {
            cancel.cancel();
        }
    });
    assert!(matches!(stopped, Err(Error::Cancelled)), "{stopped:?}");
    assert!(ground.draft().exists() && !ground.copy().exists());
    let begun = fs::metadata(ground.draft()).unwrap().len();
    let mut damaged = fs::read(ground.draft()).unwrap();
    assert_eq!(ground.upload().unwrap().resumed, begun);
    assert_eq!(fs::read(ground.copy()).unwrap(), content);
    assert_eq!(ground.names(), [NAME]);

    fs::remove_file(ground.copy()).unwrap();
    damaged[1_000_000] ^= 1;
    fs::write(ground.draft(), damaged).unwrap();
    assert_eq!(ground.upload().unwrap().resumed, 0);
    assert_eq!(fs::read(ground.copy()).unwrap(), content);
}

#[test]
fn a_mount_point_without_its_disk_is_never_taken_for_an_empty_nas() {
    let ground = Ground::new();
    ground.put(1000);
    ground.upload().unwrap();
    // As if it were unmounted: the empty mount point lies there.
    fs::rename(&ground.nas, ground.desk.at("unplugged")).unwrap();
    fs::create_dir(&ground.nas).unwrap();
    let cancel = Cancel::default();
    for (what, fault) in [
        ("upload", fault(ground.upload())),
        ("list", fault(ground.there.listing())),
        ("fetch", fault(ground.there.fetch(&name(), &cancel, &|_, _, _| ()))),
        ("verify", fault(ground.there.verify(&name(), &cancel, &|_, _, _| ()))),
        ("delete", fault(ground.there.delete(&name()))),
    ] {
        assert_eq!(fault.kind, FaultKind::NotMounted, "{what}: {fault}");
        assert!(
            fault.sentence.contains("is not mounted at") && fault.sentence.contains(MARKER),
            "{what}: {fault}"
        );
    }
    assert_eq!(fs::read_dir(&ground.nas).unwrap().count(), 0, "nothing was written to the mount point");
    assert!(
        matches!(ground.there.copy_of(&name()).unwrap(), OffSite::Failed { .. }),
        "the copy is not called missing, and the failed upload is told"
    );
    // Another disk has another marker, or one that is none.
    for marker in ["id: 0123456789abcdef\n", "x"] {
        fs::write(ground.nas.join(MARKER), marker).unwrap();
        assert_eq!(fault(ground.upload()).kind, FaultKind::NotMounted, "{marker}");
    }
    fs::remove_dir_all(&ground.nas).unwrap();
    let gone = fault(ground.upload());
    assert!(gone.kind == FaultKind::NotMounted && gone.sentence.contains("does not exist"), "{gone}");
    // The control: with the disk back, all is as it was.
    fs::rename(ground.desk.at("unplugged"), &ground.nas).unwrap();
    assert!(ground.upload().unwrap().already_there);
}

#[test]
fn a_folder_that_vanishes_during_an_upload_is_named() {
    let ground = Ground::new();
    ground.put(4_000_000);
    let removed = Cell::new(false);
    let outcome = ground.there.upload(&name(), &Cancel::default(), &|phase, _, _| {
        if phase == Phase::Publishing && !removed.replace(true) {
            fs::remove_dir_all(ground.copies()).unwrap();
        }
    });
    let fault = fault(outcome);
    assert_eq!(fault.kind, FaultKind::NotMounted, "{fault}");
    assert!(fault.sentence.contains("was removed in the meantime"), "{fault}");
    // The next upload makes it again.
    assert!(ground.upload().unwrap().verified);
}

#[test]
fn a_disk_that_is_full_or_read_only_is_called_that() {
    if runs_inside("a_disk_that_is_full_or_read_only_is_called_that") {
        return;
    }
    let ground = Ground::over(|nas| mount(&["-t", "tmpfs", "-o", "size=2m", "none"], nas));
    ground.put(5_000_000);
    let full = fault(ground.upload());
    assert!(full.kind == FaultKind::Full && full.sentence.contains("the disk is full"), "{full}");
    assert_eq!(ground.names(), [""; 0], "the draft gave its room back");
    // The control: what fits, arrives.
    let content = ground.put(1_000_000);
    assert!(ground.upload().unwrap().verified);
    fs::remove_file(ground.copy()).unwrap();

    mount(&["-o", "remount,ro"], &ground.nas);
    let refused = fault(ground.upload());
    assert_eq!(refused.kind, FaultKind::Permission, "{refused}");
    assert!(refused.sentence.contains("mounted read-only"), "{refused}");
    assert!(ground.there.listing().is_ok(), "reading still works");
    mount(&["-o", "remount,rw"], &ground.nas);
    assert!(ground.upload().unwrap().verified);
    assert_eq!(fs::read(ground.copy()).unwrap(), content);

    // Unmounted for real, the mount point is empty, and stays empty.
    assert!(Command::new("umount").arg(&ground.nas).status().unwrap().success());
    assert_eq!(fault(ground.upload()).kind, FaultKind::NotMounted);
    assert_eq!(fs::read_dir(&ground.nas).unwrap().count(), 0);
}

#[test]
fn a_folder_that_may_not_be_written_to_is_called_that() {
    if runs_inside("a_folder_that_may_not_be_written_to_is_called_that") {
        return;
    }
    let ground = Ground::new();
    ground.put(1000);
    let attribute = |change: &str| Command::new("chattr").arg(change).arg(ground.copies()).status();
    if !attribute("+i").is_ok_and(|status| status.success()) {
        println!(
            "skipped: this file system has no immutable directories, and root may write everywhere else"
        );
        return;
    }
    let refused = fault(ground.upload());
    assert!(attribute("-i").unwrap().success());
    assert_eq!(refused.kind, FaultKind::Permission, "{refused}");
    assert!(refused.sentence.contains("permission denied"), "{refused}");
    assert!(ground.upload().unwrap().verified, "the control");
}

#[test]
fn setting_up_refuses_what_can_be_no_place_for_copies() {
    let desk = Desk::with(&["ledger"]);
    let destinations = desk.holdfast.destinations();
    let admin = DirectoryAdmin::of(&destinations);
    let nas = desk.at("nas");
    fs::create_dir(&nas).unwrap();
    fs::write(desk.at("file"), "x").unwrap();
    let name: DestinationName = "nas".parse().unwrap();
    let good = input(&nas);
    for (input, words) in [
        (DirectoryInput { root: "nas".to_owned(), ..good.clone() }, "absolute path"),
        (DirectoryInput { folder: "a/b".to_owned(), ..good.clone() }, "contains no /"),
        (DirectoryInput { folder: "..".to_owned(), ..good.clone() }, "contains no /"),
        (DirectoryInput { folder: String::new(), ..good.clone() }, "contains no /"),
        (input(&desk.at("nowhere")), "does not exist"),
        (input(&desk.at("file")), "is not a directory"),
        // Most often this means that nothing is mounted.
        (DirectoryInput { same_disk: false, ..good.clone() }, "on the same disk as the backups"),
    ] {
        let refused = admin.set_up(&name, &input).unwrap_err().to_string();
        assert!(refused.contains(words), "{input:?}: {refused}");
    }
    assert_eq!(fs::read_dir(&nas).unwrap().count(), 0, "nothing was written there");
    assert!(destinations.all().unwrap().is_empty() && destinations.ready().is_err());
    for name in ["", "NAS", "a b", "a.b", &"x".repeat(41)] {
        assert!(name.parse::<DestinationName>().is_err(), "{name}");
    }
    admin.set_up(&name, &good).unwrap();
    let marker = fs::read(nas.join(MARKER)).unwrap();
    // Set up anew, as after a reinstallation, the disk keeps its marker and its copies.
    admin.set_up(&name, &DirectoryInput { enabled: false, ..good }).unwrap();
    assert_eq!(fs::read(nas.join(MARKER)).unwrap(), marker);
    assert!(destinations.ready().is_err(), "it is off");
    admin.forget(&name).unwrap();
    assert!(destinations.all().unwrap().is_empty());
}
