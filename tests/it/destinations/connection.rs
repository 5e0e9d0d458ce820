//! Connecting over SFTP and "Test connection": who is let in, each step of the checklist, and servers that are none.

use crate::destinations::harbour::{Harbour, options, step};
use crate::support::sshd::PASSWORD;
use crate::support::sshd::Sshd;
use holdfast::domain::destinations::sftp::keys;
use holdfast::domain::destinations::sftp::settings::SecretEdit;
use holdfast::domain::destinations::sftp::settings::SftpInput;
use holdfast::domain::engines::Cancel;
use holdfast::model::CheckStep;
use holdfast::model::SftpAuth;
use holdfast::model::SftpForm;
use holdfast::model::StepState;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::Duration;
use std::time::Instant;

/// The time within which a fault ends: for the tests' own, short, timeouts.
const BOUND: Duration = Duration::from_secs(12);

#[test]
fn whoever_is_not_let_in_is_told_why_and_never_the_secret() {
    let harbour = Harbour::new();
    let check = |input: SftpInput| harbour.sftp.check(&input, &Cancel::default()).unwrap();
    assert!(check(harbour.input()).is_good(), "the control");
    let other = SecretEdit::Set(keys::generate().unwrap().openssh);
    let list = check(SftpInput { private_key: other, ..harbour.input() });
    assert!(step(&list, CheckStep::LogIn).1.contains("rejects this key for"), "{list:?}");
    let nobody = SftpForm { username: "nobody-here".into(), ..harbour.form() };
    let list = check(SftpInput { form: nobody, ..SftpInput::default() });
    assert!(step(&list, CheckStep::LogIn).1.contains("nobody-here"), "{list:?}");
    assert_eq!(step(&list, CheckStep::Directory), (StepState::Skipped, ""));
    if !Sshd::has_password() {
        println!("password logins are not tested: that takes root");
        return;
    }
    let by_password = |password: &str| SftpInput {
        form: SftpForm { auth: SftpAuth::Password, ..harbour.form() },
        password: SecretEdit::Set(password.into()),
        ..SftpInput::default()
    };
    assert!(check(by_password(PASSWORD)).is_good(), "{:?}", check(by_password(PASSWORD)));
    let before = harbour.sshd.attempts();
    let list = check(by_password("wrong-canary"));
    let (state, words) = step(&list, CheckStep::LogIn);
    assert!(state == StepState::Failed && words.contains("rejects this password for"), "{words}");
    assert!(!words.contains("wrong-canary"));
    assert_eq!(harbour.sshd.attempts() - before, 2, "asked what is offered, then tried once");
    // A secret that was typed for a test is not kept.
    assert!(!harbour.sftp.settings().unwrap().password_set);
}

#[test]
fn a_server_that_offers_another_way_in_says_which() {
    if !Sshd::has_password() {
        println!("skipped: that takes root");
        return;
    }
    let by_password = |harbour: &Harbour| SftpInput {
        form: SftpForm { auth: SftpAuth::Password, ..harbour.form() },
        password: SecretEdit::Set(PASSWORD.into()),
        ..SftpInput::default()
    };
    let keys_only =
        Harbour::at(Sshd::with("PasswordAuthentication no\nKbdInteractiveAuthentication no\n"), options());
    let list = keys_only.sftp.check(&by_password(&keys_only), &Cancel::default()).unwrap();
    assert!(step(&list, CheckStep::LogIn).1.contains("does not accept passwords"), "{list:?}");
    let by_prompt = Sshd::with("PasswordAuthentication no\nKbdInteractiveAuthentication yes\nUsePAM yes\n");
    let by_prompt = Harbour::at(by_prompt, options());
    let list = by_prompt.sftp.check(&by_password(&by_prompt), &Cancel::default()).unwrap();
    assert!(list.is_good(), "{list:?}\n{}", by_prompt.sshd.log());
    let no_sftp = Harbour::at(Sshd::with("Subsystem sftp /bin/false\n"), options());
    let list = no_sftp.sftp.check(&no_sftp.input(), &Cancel::default()).unwrap();
    let (state, words) = step(&list, CheckStep::LogIn);
    assert!(state == StepState::Failed && words.contains("SFTP"), "{words}");
}

#[test]
fn a_server_that_is_not_there_or_not_ssh_is_told_apart_within_the_bound() {
    let harbour = Harbour::new();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let rude = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let web = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = |listener: &std::net::TcpListener| listener.local_addr().unwrap().port();
    let (silent_port, rude_port, web_port) = (port(&silent), port(&rude), port(&web));
    thread::spawn(move || rude.incoming().for_each(drop));
    thread::spawn(move || {
        for stream in web.incoming() {
            let mut stream = stream.unwrap();
            let _ =
                stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n<html></html>\r\n".repeat(100).as_slice());
        }
    });
    for (host, port, failing, words) in [
        ("127.0.0.1", closed, CheckStep::Connect, "refuses the connection"),
        ("127.0.0.1", silent_port, CheckStep::Connect, "did not answer in time"),
        ("127.0.0.1", rude_port, CheckStep::Connect, "before the SSH handshake"),
        ("127.0.0.1", web_port, CheckStep::Connect, "does not speak SSH"),
        ("no-such-host.invalid", 22, CheckStep::Resolve, "no-such-host.invalid"),
    ] {
        let form = SftpForm { host: host.into(), port: port.to_string(), ..harbour.form() };
        let began = Instant::now();
        let list =
            harbour.sftp.check(&SftpInput { form, ..SftpInput::default() }, &Cancel::default()).unwrap();
        assert!(began.elapsed() < BOUND, "{words}: {:?}", began.elapsed());
        let failed = list.failed().unwrap();
        assert_eq!(failed.step, failing, "{failed:?}");
        assert!(failed.words.contains(words), "{failed:?}");
        assert_eq!(list.steps.len(), CheckStep::ALL.len());
        assert!(
            list.steps.iter().zip(CheckStep::ALL).all(|(outcome, step)| outcome.step == step),
            "in order"
        );
    }
    drop(silent);
}

#[test]
fn a_check_writes_reads_and_removes_and_leaves_nothing() {
    let harbour = Harbour::new();
    let list = harbour.sftp.check(&harbour.input(), &Cancel::default()).unwrap();
    assert!(list.is_good(), "{list:?}");
    assert!(list.steps.iter().all(|outcome| outcome.state == StepState::Done), "{list:?}");
    assert!(step(&list, CheckStep::Directory).1.contains("has been created"));
    assert!(step(&list, CheckStep::FreeSpace).1.ends_with(" free."));
    assert_eq!(harbour.names(), [""; 0]);
    let again = harbour.sftp.check(&harbour.input(), &Cancel::default()).unwrap();
    assert!(step(&again, CheckStep::Directory).1.contains("exists"));
    for outcome in &again.steps {
        println!("{:<10} {:>5} ms  {}", outcome.step.label(), outcome.millis, outcome.words);
    }
}

#[test]
fn a_check_says_which_step_fails_and_why() {
    let harbour = Harbour::new();
    let check = |directory: &str| {
        let form = SftpForm { remote_directory: directory.into(), ..harbour.form() };
        harbour.sftp.check(&SftpInput { form, ..SftpInput::default() }, &Cancel::default()).unwrap()
    };
    harbour.put_copy("some file", b"x");
    let list = check("copies/some file");
    assert!(step(&list, CheckStep::Directory).1.contains("is not a directory"), "{list:?}");
    if Sshd::has_password() {
        let list = check("/not/allowed");
        let (state, words) = step(&list, CheckStep::Directory);
        assert_eq!(state, StepState::Failed);
        assert!(words.contains("permission denied") && words.contains("The account starts in"), "{words}");
        let sealed = harbour.sshd.account().join("sealed");
        fs::create_dir(&sealed).unwrap();
        fs::set_permissions(&sealed, fs::Permissions::from_mode(0o555)).unwrap();
        let list = check("sealed");
        assert_eq!(list.failed().map(|outcome| outcome.step), Some(CheckStep::Write), "{list:?}");
        assert!(step(&list, CheckStep::Write).1.contains("permission denied"), "{list:?}");
        assert_eq!(fs::read_dir(&sealed).unwrap().count(), 0);
    }
    assert!(check("copies").is_good(), "the control");
    let wrong = SftpForm { host: "sftp://x".into(), port: "0".into(), ..harbour.form() };
    let refused = harbour.sftp.check(&SftpInput { form: wrong, ..SftpInput::default() }, &Cancel::default());
    let words = refused.unwrap_err().to_string();
    assert!(words.contains("Host: ") && words.contains("Port: "), "{words}");
}

#[test]
fn an_account_locked_into_a_directory_gets_a_hint_where_it_is() {
    if !Sshd::has_password() {
        println!("skipped: locking an account in takes root");
        return;
    }
    let sshd = Sshd::with("ChrootDirectory /mnt\nForceCommand internal-sftp\n");
    let harbour = Harbour::at(sshd, options());
    let form = SftpForm { remote_directory: "/volume1/backups".into(), ..harbour.form() };
    let list = harbour.sftp.check(&SftpInput { form, ..SftpInput::default() }, &Cancel::default()).unwrap();
    let words = &list.failed().unwrap().words;
    assert!(words.contains("The account starts in / and sees /backups."), "{words}");
    assert!(words.contains("may be /backups for this account"), "{words}");
    let form = SftpForm { remote_directory: "/backups".into(), ..harbour.form() };
    let list = harbour.sftp.check(&SftpInput { form, ..SftpInput::default() }, &Cancel::default()).unwrap();
    assert!(list.is_good(), "{list:?}");
}
