//! Uploads that fail: a server killed, hung or full, a right that is lost, and an upload that is cancelled.

#![expect(clippy::unwrap_used, reason = "tests")]

use crate::destinations::harbour::{Harbour, NAME, both, fault, name, options};
use crate::support::sshd::Sshd;
use holdfast::domain::destinations::Options;
use holdfast::domain::destinations::fault::FaultKind;
use holdfast::domain::destinations::sftp::settings::SftpInput;
use holdfast::domain::engines::Cancel;
use holdfast::domain::error::Error;
use holdfast::model::OffSite;
use holdfast::model::Phase;
use holdfast::model::SftpForm;
use holdfast::model::Whereabouts;
use std::cell::Cell;
use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread;
use std::time::Duration;
use std::time::Instant;

/// The time within which a fault ends: for the tests' own, short, timeouts.
const BOUND: Duration = Duration::from_secs(12);

#[test]
fn a_server_killed_at_any_point_leaves_no_file_that_lies_and_the_next_try_goes_on() {
    let harbour = Harbour::new();
    let size = 6_000_000;
    let content = harbour.put(NAME, size);
    let mut resumed = 0;
    for run in 0..20_u64 {
        let _ = fs::remove_dir_all(harbour.copies());
        let target = size as u64 * run / 20;
        let killed = Cell::new(false);
        let began = Instant::now();
        let broken = harbour.upload_with(&Cancel::default(), &|phase, there, _| {
            if phase == Phase::Sending && there >= target && !killed.replace(true) {
                harbour.sshd.kill_sessions();
            }
        });
        assert!(killed.get());
        assert!(fault(broken).is_passing(), "{run}");
        assert!(began.elapsed() < BOUND);
        assert!(!harbour.copy().exists(), "{run}: it has its name before it is whole");
        let mark = harbour.destinations.copy_of(&name()).unwrap();
        // A copy that was there once is not forgotten because the way there failed.
        let expected = if run == 0 { "upload failed" } else { "off-site verified" };
        assert_eq!(mark.label(), expected);
        assert_eq!(fs::read(harbour.dir.path().join(NAME)).unwrap(), content);
        let sent = harbour.upload().unwrap();
        resumed += u32::from(sent.resumed > 0);
        assert_eq!(fs::read(harbour.copy()).unwrap(), content, "{run}");
        assert_eq!(harbour.names(), both(), "{run}");
    }
    println!("20 servers killed, {resumed} uploads went on where they broke off");
    assert!(resumed >= 15, "{resumed}");
}

#[test]
fn a_server_killed_while_it_reads_back_or_renames_leaves_no_doubt() {
    let harbour = Harbour::new();
    let content = harbour.put(NAME, 3_000_000);
    for at in [Phase::Connecting, Phase::ReadingBack, Phase::Publishing] {
        let _ = fs::remove_dir_all(harbour.copies());
        let killed = Cell::new(false);
        let outcome = harbour.upload_with(&Cancel::default(), &|phase, _, _| {
            if phase == at && !killed.replace(true) {
                harbour.sshd.kill_sessions();
            }
        });
        if at == Phase::Connecting {
            // Nobody is connected yet, so nothing is lost.
            outcome.unwrap();
        } else {
            assert!(fault(outcome).is_passing());
            assert!(!harbour.copy().exists());
        }
        harbour.upload().unwrap();
        assert_eq!(fs::read(harbour.copy()).unwrap(), content);
        assert_eq!(harbour.names(), both());
    }
}

#[test]
fn a_way_that_fails_is_tried_again_and_a_no_is_not() {
    let harbour = Harbour::at(Sshd::start(), Options { retries: 3, ..options() });
    let content = harbour.put(NAME, 4_000_000);
    let (kills, waits, last) = (Cell::new(0), Cell::new(0), Cell::new(Phase::Connecting));
    let sent = harbour.upload_with(&Cancel::default(), &|phase, there, _| {
        if phase == Phase::Waiting && last.replace(phase) != phase {
            waits.set(waits.get() + 1);
        }
        if phase == Phase::Sending && there > 1_000_000 * (kills.get() + 1) && kills.get() < 2 {
            kills.set(kills.get() + 1);
            harbour.sshd.kill_sessions();
        }
        last.set(phase);
    });
    assert!(sent.unwrap().resumed > 1_000_000);
    assert_eq!((kills.get(), waits.get()), (2, 2));
    assert_eq!(fs::read(harbour.copy()).unwrap(), content);

    harbour.put_copy(NAME, b"another");
    let connected = Cell::new(0);
    let no = harbour.upload_with(&Cancel::default(), &|phase, _, _| {
        connected.set(connected.get() + u32::from(phase == Phase::Connecting));
    });
    assert_eq!(fault(no).kind, FaultKind::Differs);
    assert_eq!(connected.get(), 1);

    // Without a server it gives up after the last try.
    let Harbour { mut sshd, destinations, home, .. } = harbour;
    sshd.stop();
    let connected = Cell::new(0);
    let gone = destinations.upload(&name(), &Cancel::default(), &|phase, _, _| {
        connected.set(connected.get() + u32::from(phase == Phase::Connecting));
    });
    assert_eq!(fault(gone).kind, FaultKind::Refused);
    assert_eq!(connected.get(), 4);
    drop(home);
}

#[test]
fn a_server_that_hangs_ends_the_upload_within_the_bound() {
    let harbour = Harbour::new();
    harbour.put(NAME, 8_000_000);
    for at in [Phase::Sending, Phase::ReadingBack, Phase::Publishing] {
        let _ = fs::remove_dir_all(harbour.copies());
        let frozen = Cell::new(None);
        let broken = harbour.upload_with(&Cancel::default(), &|phase, there, _| {
            if phase == at && (there > 1_000_000 || at != Phase::Sending) && frozen.get().is_none() {
                harbour.sshd.freeze();
                frozen.set(Some(Instant::now()));
            }
        });
        let took = frozen.get().unwrap().elapsed();
        harbour.sshd.thaw();
        assert_eq!(fault(broken).kind, FaultKind::TimedOut, "{at:?}");
        assert!(took < Duration::from_secs(4), "{at:?}: {took:?} for a timeout of 2 s");
        println!("{at:?}: ended {took:?} after the server hung");
        assert!(!harbour.copy().exists());
        harbour.upload().unwrap();
    }
    // A server that hangs before it says anything.
    harbour.sshd.freeze();
    let began = Instant::now();
    let error = fault(harbour.upload());
    harbour.sshd.thaw();
    assert_eq!(error.kind, FaultKind::TimedOut);
    assert!(began.elapsed() < Duration::from_secs(4));
}

#[test]
fn cancelling_ends_an_upload_at_once_even_while_the_server_hangs() {
    let harbour = Harbour::at(Sshd::start(), Options { io_timeout: Duration::from_mins(1), ..options() });
    harbour.put(NAME, 8_000_000);
    for hang in [false, true] {
        let cancel = Cancel::default();
        let other = cancel.clone();
        let asked = Cell::new(false);
        let stopped = RefCell::new(None);
        let began = Instant::now();
        let outcome = harbour.upload_with(&cancel, &|phase, there, _| {
            if phase == Phase::Sending && there > 1_000_000 && !asked.replace(true) {
                if hang {
                    harbour.sshd.freeze();
                    let other = other.clone();
                    *stopped.borrow_mut() = Some(thread::spawn(move || {
                        thread::sleep(Duration::from_millis(500));
                        other.cancel();
                    }));
                } else {
                    other.cancel();
                }
            }
        });
        let took = began.elapsed();
        harbour.sshd.thaw();
        if let Some(thread) = stopped.take() {
            thread.join().unwrap();
        }
        assert!(matches!(outcome, Err(Error::Cancelled)), "{hang}: {outcome:?}");
        assert!(took < Duration::from_secs(5), "{hang}: {took:?}");
        assert_eq!(
            harbour.destinations.copy_of(&name()).unwrap(),
            OffSite::NotSent,
            "cancelled is not failed"
        );
    }
    assert!(harbour.upload().unwrap().resumed > 0);
}

#[test]
fn a_full_disk_there_is_called_that_and_nothing_is_left_on_it() {
    if !Sshd::has_password() {
        println!("skipped: making a small disk takes root");
        return;
    }
    let harbour = Harbour::new();
    let form = SftpForm { remote_directory: "full".into(), ..harbour.form() };
    harbour.sftp.save(&SftpInput { form, ..SftpInput::default() }).unwrap();
    harbour.put(NAME, 5_000_000);
    let error = fault(harbour.upload());
    assert_eq!(error.kind, FaultKind::Full, "{error}");
    let at = || {
        let listed = harbour.destinations.listing().unwrap();
        listed.iter().map(|backup| backup.place).collect::<Vec<_>>()
    };
    assert_eq!(at(), [Whereabouts::Here]);
    // The control: what is small enough fits, so the draft did give its room back.
    harbour.put(NAME, 1_500_000);
    harbour.upload().unwrap();
    assert_eq!(at(), [Whereabouts::Both]);
}

#[test]
fn a_right_that_is_lost_on_the_way_is_called_that() {
    if !Sshd::has_password() {
        println!("skipped: root's account has every right");
        return;
    }
    let harbour = Harbour::new();
    harbour.put(NAME, 3_000_000);
    let lost = Cell::new(false);
    let error = fault(harbour.upload_with(&Cancel::default(), &|phase, _, _| {
        if phase == Phase::ReadingBack && !lost.replace(true) {
            fs::set_permissions(harbour.copies(), fs::Permissions::from_mode(0o555)).unwrap();
        }
    }));
    assert_eq!(error.kind, FaultKind::Permission, "{error}");
    assert!(!harbour.copy().exists());
    fs::set_permissions(harbour.copies(), fs::Permissions::from_mode(0o755)).unwrap();
    assert!(harbour.upload().unwrap().verified);
    assert_eq!(harbour.names(), both());
}

#[test]
fn a_hundred_faults_leave_no_thread_no_socket_and_no_draft() {
    let harbour = Harbour::new();
    // By name, so that each connection also looks it up.
    let form = SftpForm { host: "localhost".into(), ..harbour.form() };
    harbour.sftp.save(&SftpInput { form, ..SftpInput::default() }).unwrap();
    harbour.sftp.trust_pasted("localhost", harbour.sshd.port, &harbour.sshd.host_key("ed25519")).unwrap();
    let content = harbour.put(NAME, 1_000_000);
    let mut broken = 0;
    for run in 0..100_u64 {
        let target = run * 10_000;
        let killed = Cell::new(false);
        let outcome = harbour.upload_with(&Cancel::default(), &|phase, there, _| {
            let now = match run % 4 {
                0 => phase == Phase::ReadingBack,
                1 => phase == Phase::Publishing,
                _ => phase == Phase::Sending && there >= target,
            };
            if now && !killed.replace(true) {
                harbour.sshd.kill_sessions();
            }
        });
        broken += u32::from(outcome.is_err());
        let _ = fs::remove_file(harbour.copy());
        if run % 10 == 9 {
            let _ = fs::remove_dir_all(harbour.copies());
        }
    }
    println!("{broken} of 100 uploads broke off");
    assert!(broken >= 90, "{broken}");
    let patience = Instant::now() + Duration::from_secs(10);
    while sockets_to(harbour.sshd.port) + threads_named("resolve") > 0 {
        assert!(Instant::now() < patience, "a socket or a thread is left");
        thread::sleep(Duration::from_millis(50));
    }
    harbour.upload().unwrap();
    assert_eq!(fs::read(harbour.copy()).unwrap(), content);
    assert_eq!(harbour.names(), both());
    // The control: what would be left is seen.
    let _open = std::net::TcpStream::connect(("127.0.0.1", harbour.sshd.port)).unwrap();
    assert_eq!(sockets_to(harbour.sshd.port), 1);
}

/// Descriptors of this process that are sockets to a port.
fn sockets_to(port: u16) -> usize {
    let table = ["/proc/self/net/tcp", "/proc/self/net/tcp6"]
        .map(|path| fs::read_to_string(path).unwrap_or_default());
    let ours: Vec<String> = table
        .iter()
        .flat_map(|table| table.lines())
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            words
                .get(2)?
                .ends_with(&format!(":{port:04X}"))
                .then(|| words.get(9).map(|inode| format!("socket:[{inode}]")))?
        })
        .collect();
    let open = fs::read_dir("/proc/self/fd").unwrap().flatten();
    open.filter_map(|entry| fs::read_link(entry.path()).ok())
        .filter(|target| ours.iter().any(|socket| target == Path::new(socket)))
        .count()
}

fn threads_named(name: &str) -> usize {
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
    tasks
        .filter(|task| fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.trim() == name))
        .count()
}
