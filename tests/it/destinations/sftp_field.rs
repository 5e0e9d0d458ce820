//! Off-site copies with the servers of the field: late ones, ones that do not resume, ones whose accounts print text,
//! write-only drop boxes, and what else does not behave as OpenSSH does. The SSH half is a real sshd.

#![expect(clippy::unwrap_used, reason = "tests")]

use crate::destinations::harbour::{Harbour, NAME, both, fault, name, options, step};
use crate::support::sshd::Sshd;
use holdfast::domain::destinations::Options;
use holdfast::domain::destinations::attempt::Uploaded;
use holdfast::domain::destinations::fault::{Fault, FaultKind};
use holdfast::domain::destinations::sftp::settings::SftpInput;
use holdfast::domain::engines::Cancel;
use holdfast::domain::error::Error;
use holdfast::model::{CheckStep, Checklist, OffSite, Phase, SftpForm, StepState, Whereabouts};
use std::cell::Cell;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

/// A server that misbehaves as `switches` say, and one whose every other answer is waited for a second.
fn odd(switches: &str) -> Harbour {
    let impatient = Options { io_timeout: Duration::from_secs(1), retries: 5, ..options() };
    Harbour::at(Sshd::odd(switches), impatient)
}

fn with(switches: &str, options: Options) -> Harbour {
    Harbour::at(Sshd::odd(switches), options)
}

fn check(harbour: &Harbour, form: SftpForm) -> Checklist {
    harbour.sftp.check(&SftpInput { form, ..SftpInput::default() }, &Cancel::default()).unwrap()
}

/// How often the stand-in was asked for something.
fn asked(harbour: &Harbour, what: &str) -> usize {
    harbour.sshd.requests().iter().filter(|request| request.starts_with(what)).count()
}

/// How often the draft of the backup was opened.
fn opened(harbour: &Harbour, how: &str) -> usize {
    let wanted = format!("{how} copies/.part-{NAME}");
    harbour.sshd.requests().iter().filter(|request| **request == wanted).count()
}

/// Sends, and cuts the line once when half of it is there.
fn cut_at_half(harbour: &Harbour, size: u64) -> Result<Uploaded, Error> {
    let cut = Cell::new(false);
    let sent = harbour.upload_with(&Cancel::default(), &|phase, there, _| {
        if phase == Phase::Sending && there >= size / 2 && !cut.replace(true) {
            harbour.sshd.kill_sessions();
        }
    });
    assert!(cut.get(), "the line was never cut");
    sent
}

#[test]
fn a_server_that_finishes_files_late_is_waited_for() {
    for what in ["CLOSE", "RENAME", "FSYNC"] {
        let harbour = odd(&format!("late={what}:1.4"));
        let content = harbour.put(NAME, 400_000);
        let sent = harbour.upload().unwrap();
        assert!(sent.verified && sent.resumed == 0 && !sent.already_there, "{what}: {sent:?}");
        assert_eq!(sent.durable, Some(true), "{what}");
        assert_eq!(opened(&harbour, "OPEN-WRITE"), 1, "{what}: one try");
        assert_eq!(opened(&harbour, "OPEN-READ"), 1, "{what}: read back once");
        assert_eq!(fs::read(harbour.copy()).unwrap(), content, "{what}");
        assert_eq!(harbour.names(), both(), "{what}");
        assert_eq!(harbour.destinations.copy_of(&name()).unwrap().label(), "off-site verified");
    }
    let harbour = odd("late=CLOSE:1.2,RENAME:1.2,FSYNC:1.2");
    let list = check(&harbour, harbour.form());
    assert!(list.is_good(), "{list:?}");
}

#[test]
fn data_that_stands_still_is_not_waited_for_any_longer() {
    for what in ["WRITE", "READ", "OPEN-WRITE", "LSTAT"] {
        let harbour =
            with(&format!("late={what}:20"), Options { io_timeout: Duration::from_secs(1), ..options() });
        harbour.put(NAME, 400_000);
        let began = Instant::now();
        assert_eq!(fault(harbour.upload()).kind, FaultKind::TimedOut, "{what}");
        assert!(began.elapsed() < Duration::from_secs(8), "{what}: {:?}", began.elapsed());
    }
}

#[test]
fn a_server_that_never_finishes_a_file_is_tried_twice_and_no_more() {
    let impatient = Options {
        io_timeout: Duration::from_secs(1),
        finish_timeout: Duration::from_secs(2),
        retries: 5,
        ..options()
    };
    let harbour = with("late=CLOSE:30", impatient);
    harbour.put(NAME, 400_000);
    let began = Instant::now();
    let error = fault(harbour.upload());
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    assert_eq!(error.kind, FaultKind::TimedOut, "{error}");
    assert!(
        error.sentence.contains("did not finish closing") && error.sentence.contains("2 seconds"),
        "{error}"
    );
    assert!(opened(&harbour, "OPEN-WRITE") <= 2, "{:?}", harbour.sshd.requests());
    assert!(opened(&harbour, "OPEN-READ") <= 1, "{:?}", harbour.sshd.requests());
    assert!(!harbour.copy().exists());
    harbour.sshd.misbehave("late=");
    let sent = harbour.upload().unwrap();
    assert!(sent.verified && sent.resumed == 400_000, "what it had by then is used: {sent:?}");
}

#[test]
fn a_line_lost_while_a_file_is_finished_late_costs_no_second_sending() {
    let harbour = odd("lost=CLOSE:1.5 once={home}/account/once");
    let content = harbour.put(NAME, 400_000);
    let sent = harbour.upload().unwrap();
    assert!(sent.verified && sent.resumed == 400_000 && sent.durable == Some(true), "{sent:?}");
    assert_eq!(opened(&harbour, "OPEN-WRITE"), 1, "it is not stored a second time");
    assert_eq!(opened(&harbour, "OPEN-READ"), 1, "what was compared is not read back again");
    assert_eq!(fs::read(harbour.copy()).unwrap(), content);

    // One that does so each time is not asked five times more.
    let harbour = odd("lost=CLOSE:1.5");
    harbour.put(NAME, 400_000);
    assert_eq!(fault(harbour.upload()).kind, FaultKind::Lost);
    assert!(opened(&harbour, "OPEN-READ") <= 2, "{:?}", harbour.sshd.requests());

    // A rename that was done while the line was lost is found to be done.
    let harbour = odd("lost=RENAME:1.5 once={home}/account/once");
    let content = harbour.put(NAME, 400_000);
    assert!(harbour.upload().unwrap().verified);
    assert_eq!((fs::read(harbour.copy()).unwrap(), harbour.names()), (content, both().to_vec()));
}

#[test]
fn waiting_for_a_late_answer_ends_at_once_when_cancelled_or_cut() {
    for cancelled in [true, false] {
        let harbour = with("late=CLOSE:60", Options { io_timeout: Duration::from_secs(1), ..options() });
        harbour.put(NAME, 400_000);
        let cancel = Cancel::default();
        let outcome = thread::scope(|scope| {
            let upload = scope.spawn(|| {
                let outcome = harbour.destinations.upload(&name(), &cancel, &|_, _, _| ());
                (outcome, Instant::now())
            });
            while asked(&harbour, "CLOSE") == 0 {
                thread::sleep(Duration::from_millis(50));
            }
            // Longer than any other answer is waited for.
            thread::sleep(Duration::from_secs(3));
            assert!(!upload.is_finished(), "it waits");
            let began = Instant::now();
            if cancelled {
                cancel.cancel();
            } else {
                harbour.sshd.kill_sessions();
            }
            let (outcome, ended) = upload.join().unwrap();
            let took = ended.saturating_duration_since(began);
            assert!(took < Duration::from_secs(3), "{cancelled}: {took:?}");
            outcome
        });
        match outcome {
            Err(Error::Cancelled) => assert!(cancelled),
            other => assert!(!cancelled && fault(other).kind == FaultKind::Lost),
        }
    }
}

#[test]
fn a_server_that_does_not_resume_gets_the_backup_afresh_in_the_same_job() {
    for switches in [
        "resume=refuse status=3",
        "resume=refuse status=4",
        "resume=refuse status=8",
        "resume=refuse status=11",
        "resume=write status=4",
        "resume=write status=8",
        "resume=append",
        "resume=truncate",
        "resume=hangup",
        "resume=refuse status=4 remove=refuse",
    ] {
        let harbour = with(switches, Options { retries: 5, ..options() });
        let content = harbour.put(NAME, 6_000_000);
        let sent = cut_at_half(&harbour, 6_000_000).unwrap_or_else(|error| panic!("{switches}: {error}"));
        assert!(sent.verified && sent.resumed == 0, "{switches}: {sent:?}");
        assert!(fs::read(harbour.copy()).unwrap() == content, "{switches}");
        assert_eq!(harbour.names(), both(), "{switches}");
    }
    // The control: one that does resume is not sent everything again.
    let harbour = with("", Options { retries: 5, ..options() });
    harbour.put(NAME, 6_000_000);
    assert!(cut_at_half(&harbour, 6_000_000).unwrap().resumed > 1_000_000);
}

#[test]
fn a_start_up_script_that_prints_is_named_whatever_it_prints_and_at_once() {
    let patient = Options { io_timeout: Duration::from_secs(30), retries: 5, ..options() };
    let harbour = Harbour::at(Sshd::scripted("exec \"$@\"\n"), patient);
    harbour.put(NAME, 1000);
    assert!(check(&harbour, harbour.form()).is_good(), "the control");
    let long = "yes 'Welcome to this machine' | head -c 3000000";
    for (what, script) in [
        ("a line", "echo Welcome"),
        ("no line end", "printf Hi"),
        ("one byte", "echo"),
        ("a zero", r"printf '\0'"),
        ("long", long),
        ("a huge length", r"printf '\377\377\377\377\377\377\377\377\377'"),
        ("a small length", r"printf '\0\0\0\011e more text here'"),
        ("what looks like an answer", r"printf '\0\0\0\005'; echo hello"),
        ("umlauts", r"printf '\303\274ber'"),
    ] {
        for (then, rest) in [("SFTP", "exec \"$@\""), ("nothing", "sleep 40"), ("an end", "exit 1")] {
            if then != "SFTP" && !matches!(what, "no line end" | "a zero") {
                continue;
            }
            harbour.sshd.script(&format!("{script}\n{rest}\n"));
            let began = Instant::now();
            let list = check(&harbour, harbour.form());
            let (state, words) = step(&list, CheckStep::LogIn);
            assert_eq!(state, StepState::Failed, "{what}, then {then}: {list:?}");
            for told in ["start-up script", "writes text into the SFTP channel", "ilence it"] {
                assert!(words.contains(told), "{what}, then {then}: {words}");
            }
            assert!(
                !words.contains("Welcome") && !words.contains("Hi"),
                "the text is shown to nobody: {words}"
            );
            assert!(began.elapsed() < Duration::from_secs(12), "{what}, then {then}: {:?}", began.elapsed());
        }
        harbour.sshd.script(&format!("{script}\nexec \"$@\"\n"));
        let began = Instant::now();
        let error = fault(harbour.upload());
        assert_eq!(error.kind, FaultKind::NoService, "{what}: {error}");
        assert!(error.sentence.contains("start-up script"), "{what}: {error}");
        assert!(began.elapsed() < Duration::from_secs(12), "{what}: {:?}", began.elapsed());
        println!("{what}: told after {:?}", began.elapsed());
    }
    // What goes elsewhere than into the channel, or ends before anything is printed, is told from it.
    harbour.sshd.script("echo Welcome >&2\nexec \"$@\"\n");
    assert!(check(&harbour, harbour.form()).is_good());
    harbour.sshd.script("exit 1\n");
    let list = check(&harbour, harbour.form());
    assert!(step(&list, CheckStep::LogIn).1.contains("does not offer SFTP"), "{list:?}");
    // One that is slow is waited for.
    harbour.sshd.script("sleep 7\nexec \"$@\"\n");
    assert!(harbour.upload().unwrap().verified, "slow, but well");
}

#[test]
fn text_in_the_midst_of_sftp_is_told_too_and_not_tried_again() {
    for text in ["57656c636f6d650a57656c636f6d650a", "ffffffffffffffffffffffff"] {
        let harbour = with(&format!("text={text} late=WRITE:1"), Options { retries: 5, ..options() });
        harbour.put(NAME, 4_000_000);
        let connected = Cell::new(0);
        let error = fault(harbour.upload_with(&Cancel::default(), &|phase, _, _| {
            connected.set(connected.get() + u32::from(phase == Phase::Connecting));
        }));
        assert!(error.sentence.contains("writes text into the SFTP channel"), "{text}: {error}");
        assert_eq!(connected.get(), 1);
    }
}

fn drop_box(harbour: &Harbour) -> SftpForm {
    SftpForm { write_only: true, ..harbour.form() }
}

/// What the drop boxes of the field refuse, from little to nearly everything.
const DROP_BOXES: [&str; 7] = [
    "deny=OPEN-READ",
    "deny=OPEN-READ,LSTAT,STAT",
    "deny=OPEN-READ,LSTAT,STAT,FSTAT,OPENDIR",
    "deny=OPEN-READ,LSTAT,STAT,FSTAT,OPENDIR,REMOVE,MKDIR",
    "deny=OPEN-READ,LSTAT,STAT,FSTAT,OPENDIR,REMOVE,MKDIR,RENAME",
    "deny=OPEN-READ,LSTAT,STAT,FSTAT,OPENDIR,REMOVE,RENAME,FSYNC status=4",
    "deny=OPEN-READ,LSTAT,STAT,FSTAT,OPENDIR,RENAME,FSYNC status=8",
];

#[test]
fn a_drop_box_takes_backups_which_are_never_called_verified() {
    for switches in DROP_BOXES {
        let harbour = with(switches, Options { retries: 2, ..options() });
        let content = harbour.put(NAME, 3_000_000);
        fs::create_dir(harbour.copies()).unwrap();
        Sshd::give(&harbour.copies());

        // Without the mode it is said that Holdfast needs to read, and which mode does without.
        let list = check(&harbour, harbour.form());
        let failed = list.failed().unwrap();
        let error = fault(harbour.upload());
        for words in [&failed.words, &error.sentence] {
            assert!(words.contains("reads back what it sends"), "{switches}: {words}");
            assert!(words.contains("“Write-only drop box”"), "{switches}: {words}");
            assert!(!words.contains("may write"), "{switches}: {words}");
        }
        assert!(!harbour.copy().exists(), "{switches}");

        let list = check(&harbour, drop_box(&harbour));
        assert!(list.is_good(), "{switches}: {list:?}");
        let (state, words) = step(&list, CheckStep::ReadBack);
        assert_eq!(state, StepState::NotOffered);
        assert!(words.contains("sent, not read back"), "{words}");

        harbour.sftp.save(&SftpInput { form: drop_box(&harbour), ..SftpInput::default() }).unwrap();
        let sent = harbour.upload().unwrap_or_else(|error| panic!("{switches}: {error}"));
        assert!(!sent.verified, "{switches}");
        let tells = !switches.contains("FSTAT");
        assert_eq!(sent.dropped, Some(tells), "{switches}: the size is compared where it is told");
        let remark = sent.remark("nas").unwrap();
        assert!(remark.contains("Sent, not read back"), "{remark}");
        assert_eq!(remark.contains("right size"), tells, "{remark}");
        let mark = harbour.destinations.copy_of(&name()).unwrap();
        assert!(matches!(mark, OffSite::Sent { .. }), "{switches}: {mark:?}");
        assert_eq!(mark.label(), "sent, not read back");
        assert!(fs::read(harbour.copy()).unwrap() == content, "{switches}");
        assert!(harbour.copies().join(format!("{NAME}.manifest.json")).exists(), "{switches}");
        if switches.contains("OPENDIR") {
            let words = harbour.destinations.listing().unwrap_err().to_string();
            assert!(words.contains("Write-only drop box"), "{words}");
        }
        assert_eq!(harbour.destinations.copy_of(&name()).unwrap(), mark, "looking changes no mark");
    }
}

#[test]
fn a_drop_box_whose_line_is_cut_gets_it_whole_in_the_same_job() {
    for switches in DROP_BOXES {
        // Where a file gets its name at once and nothing can be removed, what broke off stays in the way.
        if switches.contains("REMOVE") && switches.contains("RENAME") {
            continue;
        }
        let harbour = with(switches, Options { retries: 3, ..options() });
        harbour.sftp.save(&SftpInput { form: drop_box(&harbour), ..SftpInput::default() }).unwrap();
        fs::create_dir(harbour.copies()).unwrap();
        Sshd::give(&harbour.copies());
        let content = harbour.put(NAME, 6_000_000);
        let sent = cut_at_half(&harbour, 6_000_000).unwrap_or_else(|error| panic!("{switches}: {error}"));
        assert!(!sent.verified && sent.resumed == 0, "{switches}: {sent:?}");
        assert!(fs::read(harbour.copy()).unwrap() == content, "{switches}");
    }
}

#[test]
fn a_drop_box_replaces_nothing_and_tells_what_did_not_arrive_whole() {
    let harbour = with("deny=OPEN-READ", options());
    harbour.sftp.save(&SftpInput { form: drop_box(&harbour), ..SftpInput::default() }).unwrap();
    let content = harbour.put(NAME, 3000);
    harbour.put_copy(NAME, b"another");
    assert_eq!(fault(harbour.upload()).kind, FaultKind::Differs);
    assert_eq!(fs::read(harbour.copy()).unwrap(), b"another");
    harbour.put_copy(NAME, &vec![b'x'; 3000]);
    let again = harbour.upload().unwrap();
    assert!(again.already_there && !again.verified, "{again:?}");
    assert!(again.remark("nas").unwrap().contains("name and size"));
    assert!(matches!(harbour.destinations.copy_of(&name()).unwrap(), OffSite::Sent { .. }));
    assert_ne!(fs::read(harbour.copy()).unwrap(), content, "it was not looked into");
    fs::remove_file(harbour.copy()).unwrap();

    harbour.sshd.misbehave("short=1000");
    let error: Fault = fault(harbour.upload());
    assert_eq!(error.kind, FaultKind::Differs, "{error}");
    assert!(
        !harbour.copy().exists()
            && matches!(harbour.destinations.copy_of(&name()).unwrap(), OffSite::Failed { .. })
    );
}

#[test]
fn a_drop_box_that_may_be_read_says_so_in_the_test() {
    let harbour = with("", options());
    let list = check(&harbour, drop_box(&harbour));
    assert!(list.is_good(), "{list:?}");
    assert!(step(&list, CheckStep::ReadBack).1.contains("lets the account read"), "{list:?}");
    assert_eq!(harbour.names(), [""; 0]);
}

#[test]
fn attributes_that_leave_things_out_are_made_do_with() {
    for switches in
        ["attrs=bare", "attrs=typeless", "attrs=empty", "attrs=bare longname=none", "deny=LSTAT,STAT"]
    {
        let harbour = with(switches, options());
        if switches.starts_with("deny") {
            fs::create_dir(harbour.copies()).unwrap();
            Sshd::give(&harbour.copies());
        }
        let content = harbour.put(NAME, 400_000);
        let list = check(&harbour, harbour.form());
        assert!(list.is_good(), "{switches}: {list:?}");
        assert!(harbour.upload().unwrap().verified, "{switches}");
        assert!(harbour.upload().unwrap().already_there, "{switches}");
        let listed = harbour.destinations.listing().unwrap();
        if !switches.starts_with("deny") {
            assert_eq!(listed[0].place, Whereabouts::Both, "{switches}");
            assert_eq!(listed[0].remote_size, Some(400_000), "{switches}");
        }
        for file in both() {
            fs::remove_file(harbour.dir.path().join(file)).unwrap();
        }
        let fetched = harbour.destinations.fetch(&name(), &Cancel::default(), &|_, _, _| ());
        assert!(fetched.unwrap().checked, "{switches}");
        assert_eq!(fs::read(harbour.dir.path().join(NAME)).unwrap(), content, "{switches}");
        harbour.destinations.delete(&name()).unwrap();
        assert!(!harbour.copy().exists(), "{switches}");
        // A directory of the name is still told from a file.
        fs::create_dir(harbour.copy()).unwrap();
        Sshd::give(&harbour.copies());
        harbour.put(NAME, 400_000);
        if !switches.starts_with("deny") {
            assert_eq!(fault(harbour.upload()).kind, FaultKind::Taken, "{switches}");
            let file = SftpForm { remote_directory: format!("copies/{NAME}.file"), ..harbour.form() };
            harbour.put_copy(&format!("{NAME}.file"), b"x");
            let list = check(&harbour, file);
            assert!(
                step(&list, CheckStep::Directory).1.contains("is not a directory"),
                "{switches}: {list:?}"
            );
        }
    }
}

#[test]
fn other_ways_of_servers_do_no_harm() {
    for switches in [
        "extensions=none",
        "extensions=hangup",
        "rename=lies",
        "rename=replaces",
        "exclusive=unknown",
        "deny=SETSTAT,FSETSTAT",
        "longname=none",
        "deny=STAT",
        "deny=FSYNC status=5",
        "remove=refuse",
    ] {
        let harbour = with(switches, Options { retries: 2, ..options() });
        fs::create_dir(harbour.copies()).unwrap();
        Sshd::give(&harbour.copies());
        let content = harbour.put(NAME, 400_000);
        let sent = harbour.upload().unwrap_or_else(|error| panic!("{switches}: {error}"));
        assert!(sent.verified && !sent.already_there, "{switches}: {sent:?}");
        let syncs = !switches.contains("extensions") && !switches.contains("FSYNC");
        assert_eq!(sent.durable, Some(syncs), "{switches}");
        assert_eq!(fs::read(harbour.copy()).unwrap(), content, "{switches}");
        assert_eq!(harbour.names(), both(), "{switches}");
        // What has the name there is never replaced, and never by what a server says of it.
        harbour.put_copy(NAME, b"another");
        assert_eq!(fault(harbour.upload()).kind, FaultKind::Differs, "{switches}");
        assert_eq!(fs::read(harbour.copy()).unwrap(), b"another", "{switches}");
    }
    for directory in ["/", "", "/copies/", "copies//", "./copies", "/a/b/c/"] {
        let harbour = with("", options());
        let form = SftpForm { remote_directory: directory.into(), ..harbour.form() };
        let list = check(&harbour, form);
        assert!(list.is_good(), "{directory:?}: {list:?}");
    }
}

#[test]
fn settings_and_marks_of_an_older_version_are_still_read() {
    let harbour = with("", options());
    harbour.put(NAME, 1000);
    harbour.upload().unwrap();
    let state = rusqlite::Connection::open(harbour.state()).unwrap();
    let stored: String =
        state.query_row("SELECT value FROM settings WHERE key = 'sftp'", [], |row| row.get(0)).unwrap();
    assert!(stored.contains(",\"write_only\":false"), "{stored}");
    let older = stored.replace(",\"write_only\":false", "");
    state.execute("UPDATE settings SET value = ?1 WHERE key = 'sftp'", [older]).unwrap();
    assert_eq!(harbour.sftp.settings().unwrap().form, harbour.form());
    assert!(harbour.upload().unwrap().already_there);
    let mark = r#"{"is":"uploaded","at":1795401667123}"#;
    state.execute("UPDATE copies SET state = ?1", [mark]).unwrap();
    assert!(matches!(harbour.destinations.copy_of(&name()).unwrap(), OffSite::Uploaded { .. }));
    drop(state);

    // Back from a drop box, what was sent there is not taken for checked because it is seen.
    harbour.sftp.save(&SftpInput { form: drop_box(&harbour), ..SftpInput::default() }).unwrap();
    harbour.upload().unwrap();
    harbour.sftp.save(&harbour.input()).unwrap();
    harbour.destinations.listing().unwrap();
    assert!(matches!(harbour.destinations.copy_of(&name()).unwrap(), OffSite::Sent { .. }));
    assert!(harbour.upload().unwrap().already_there, "it is read this time");
    assert!(matches!(harbour.destinations.copy_of(&name()).unwrap(), OffSite::Verified { .. }));
}
