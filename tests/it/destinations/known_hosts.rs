//! Host keys and algorithms: who is trusted, and that nothing is sent to an unknown server.

use crate::destinations::harbour::{Harbour, NAME, fault, options, step};
use crate::support::sshd::Sshd;
use holdfast::domain::destinations::fault::FaultKind;
use holdfast::domain::destinations::sftp::keys;
use holdfast::domain::destinations::sftp::settings::SecretEdit;
use holdfast::domain::destinations::sftp::settings::SftpInput;
use holdfast::domain::engines::Cancel;
use holdfast::model::CheckStep;
use holdfast::model::HostKey;
use holdfast::model::HostKeyStatus;
use holdfast::model::SftpForm;
use holdfast::model::StepState;
use std::thread;
use std::time::Duration;

#[test]
fn an_unknown_or_changed_host_key_stops_before_anything_is_said() {
    let mut harbour = Harbour::new();
    harbour.sftp.reset().unwrap();
    let line = harbour.sftp.generate_key().unwrap();
    harbour.sshd.authorize(&line);
    harbour.sftp.save(&harbour.input()).unwrap();
    harbour.put(NAME, 1000);
    let silent = |harbour: &Harbour, what: &str| {
        let before = harbour.sshd.attempts();
        let stopped = fault(harbour.upload());
        assert_eq!(stopped.kind, FaultKind::UntrustedServer, "{what}: {stopped}");
        let list = harbour.sftp.check(&harbour.input(), &Cancel::default()).unwrap();
        assert_eq!(step(&list, CheckStep::HostKey).0, StepState::Failed, "{what}");
        assert_eq!(step(&list, CheckStep::LogIn).0, StepState::Skipped, "{what}");
        // What the server has seen is in its log only once the connection is gone.
        thread::sleep(Duration::from_millis(100));
        assert_eq!(harbour.sshd.attempts(), before, "{what}: somebody began to log in");
        list.host_key.unwrap()
    };
    let found = silent(&harbour, "unknown");
    assert_eq!((found.status, found.key_type.as_str()), (HostKeyStatus::Unknown, "ssh-ed25519"));
    let fingerprint = std::process::Command::new("ssh-keygen")
        .args(["-l", "-f"])
        .arg(harbour.sshd.home().join("host_ed25519.pub"))
        .output()
        .unwrap();
    assert!(
        String::from_utf8(fingerprint.stdout).unwrap().contains(&found.fingerprint),
        "as OpenSSH prints it"
    );

    let approved = HostKey { key_type: Some(found.key_type), fingerprint: found.fingerprint.clone() };
    harbour.sftp.approve("127.0.0.1", harbour.sshd.port, approved).unwrap();
    let before = harbour.sshd.attempts();
    harbour.upload().unwrap();
    assert!(harbour.sshd.attempts() > before, "the control: the log does show who begins to log in");

    harbour.sshd.serve(&["other"]);
    let changed = silent(&harbour, "changed");
    assert_eq!(changed.status, HostKeyStatus::Changed { old: found.fingerprint.clone() });
    assert!(changed.words().contains(&found.fingerprint) && changed.words().contains(&changed.fingerprint));

    harbour.sshd.serve(&["rsa"]);
    let new_kind = silent(&harbour, "another type");
    assert!(matches!(&new_kind.status, HostKeyStatus::NewType { known } if known.len() == 1), "{new_kind:?}");

    // With both kinds there, the pinned one is asked for, although the other comes first by default.
    harbour
        .sftp
        .approve(
            "127.0.0.1",
            harbour.sshd.port,
            HostKey { key_type: Some(new_kind.key_type.clone()), fingerprint: new_kind.fingerprint.clone() },
        )
        .unwrap();
    harbour.sftp.reset().unwrap();
    harbour
        .sftp
        .save(&SftpInput { form: SftpForm { enabled: false, ..harbour.form() }, ..SftpInput::default() })
        .unwrap();
    harbour.sshd.authorize(&harbour.sftp.generate_key().unwrap());
    harbour.sftp.save(&harbour.input()).unwrap();
    harbour.trust("rsa");
    harbour.sshd.serve(&["ed25519", "rsa"]);
    assert!(harbour.upload().unwrap().already_there);
}

#[test]
fn weak_algorithms_are_never_agreed_on() {
    for (weak, host_key) in [
        ("HostKeyAlgorithms ssh-rsa\n", "rsa"),
        ("Ciphers aes128-cbc,3des-cbc\n", "ed25519"),
        ("MACs hmac-sha1,hmac-sha1-etm@openssh.com\nCiphers aes128-ctr\n", "ed25519"),
        ("KexAlgorithms diffie-hellman-group14-sha1\n", "ed25519"),
    ] {
        let mut sshd = Sshd::with(weak);
        sshd.serve(&[host_key]);
        let harbour = Harbour::bare(sshd, options());
        let input =
            SftpInput { private_key: SecretEdit::Set(keys::generate().unwrap().openssh), ..harbour.input() };
        let list = harbour.sftp.check(&input, &Cancel::default()).unwrap();
        assert_eq!(step(&list, CheckStep::Connect).0, StepState::Failed, "{weak}: {list:?}");
        assert!(step(&list, CheckStep::Connect).1.contains("in common"), "{weak}: {list:?}");
        assert_eq!(harbour.sshd.attempts(), 0);
    }
    // The control: the same with what is strong.
    let strong = "HostKeyAlgorithms rsa-sha2-256\nCiphers aes128-ctr\nMACs hmac-sha2-256\nKexAlgorithms ecdh-sha2-nistp256\n";
    let mut sshd = Sshd::with(strong);
    sshd.serve(&["rsa"]);
    let harbour = Harbour::bare(sshd, options());
    let line = harbour.sftp.generate_key().unwrap();
    harbour.sshd.authorize(&line);
    harbour.trust("rsa");
    assert!(harbour.sftp.check(&harbour.input(), &Cancel::default()).unwrap().is_good());
}
