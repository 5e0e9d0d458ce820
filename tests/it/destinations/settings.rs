//! The SFTP settings: secrets that are kept, replaced, removed, sealed at rest, and printed nowhere.

#![expect(clippy::unwrap_used, reason = "tests")]

use crate::destinations::harbour::{Harbour, NAME, fault, options};
use crate::support::destinations::destinations;
use crate::support::sshd::Sshd;
use crate::support::sshd::keygen;
use holdfast::domain::destinations::fault::FaultKind;
use holdfast::domain::destinations::sftp::administration::SftpAdmin;
use holdfast::domain::destinations::sftp::keys;
use holdfast::domain::destinations::sftp::settings::SecretEdit;
use holdfast::domain::destinations::sftp::settings::SftpInput;
use holdfast::domain::engines::Cancel;
use holdfast::domain::state::Store;
use holdfast::domain::state::secrets::Secrets;
use holdfast::model::SftpAuth;
use holdfast::model::SftpForm;
use secrecy::ExposeSecret;
use std::fs;
use std::fs::File;
use std::io::Read;
use std::io::Write;
use std::sync::Arc;
use std::sync::Mutex;

#[test]
fn secrets_stay_until_they_are_replaced_or_removed() {
    let harbour = Harbour::bare(Sshd::start(), options());
    let form = SftpForm { auth: SftpAuth::Password, ..harbour.form() };
    let save = |password: SecretEdit| {
        harbour.sftp.save(&SftpInput { form: form.clone(), password, ..SftpInput::default() })
    };
    assert!(save(SecretEdit::Keep).unwrap_err().to_string().starts_with("Password: "));
    assert!(save(SecretEdit::Set("one".into())).unwrap().password_set);
    assert!(save(SecretEdit::of_form("".into(), false)).unwrap().password_set, "empty keeps");
    assert!(save(SecretEdit::of_form("".into(), true)).is_err(), "switched on without a password");
    assert!(harbour.sftp.settings().unwrap().password_set, "and nothing was changed");
    let off = SftpForm { enabled: false, ..form.clone() };
    let removed = SftpInput { form: off, password: SecretEdit::Remove, ..SftpInput::default() };
    assert!(!harbour.sftp.save(&removed).unwrap().password_set);

    let key = |edit: SecretEdit, passphrase: SecretEdit| {
        harbour.sftp.save(&SftpInput { private_key: edit, passphrase, ..harbour.input() })
    };
    assert!(
        key(SecretEdit::Set("junk".into()), SecretEdit::Keep)
            .unwrap_err()
            .to_string()
            .starts_with("SSH private key: ")
    );
    let path = harbour.home.path().join("user_key");
    keygen(&path, "ed25519", "secret words", "");
    let text = fs::read_to_string(&path).unwrap();
    let set = || SecretEdit::Set(text.as_str().into());
    assert!(key(set(), SecretEdit::Keep).unwrap_err().to_string().starts_with("Key passphrase: "));
    let saved = key(set(), SecretEdit::Set("secret words".into())).unwrap();
    assert!(saved.private_key_set && saved.passphrase_set);
    assert!(saved.public_key.unwrap().starts_with("ssh-ed25519 AAAA"));
    for again in [SecretEdit::Keep, set()] {
        let kept = key(again, SecretEdit::Keep).unwrap();
        assert!(kept.private_key_set && kept.passphrase_set && kept.public_key.is_some());
    }
    let refused = key(SecretEdit::Keep, SecretEdit::Remove).unwrap_err().to_string();
    assert!(refused.starts_with("Key passphrase: "), "{refused}");
    let unencrypted = keys::generate().unwrap();
    let replaced = key(SecretEdit::Set(unencrypted.openssh), SecretEdit::Keep).unwrap();
    assert!(!replaced.passphrase_set, "the former key's passphrase went with it");
    assert_eq!(replaced.public_key, Some(unencrypted.public_line));

    harbour.trust("ed25519");
    assert_eq!(harbour.sftp.settings().unwrap().pins.len(), 1);
    harbour.sftp.reset().unwrap();
    assert_eq!(harbour.sftp.settings().unwrap(), holdfast::model::SftpSettings::default());
    assert!(
        harbour
            .destinations
            .listing()
            .unwrap_err()
            .to_string()
            .contains("No destination for off-site copies is set up")
    );
    assert!(harbour.upload().is_err());
}

#[test]
fn a_replaced_key_file_is_told_and_new_secrets_go_in() {
    let harbour = Harbour::new();
    let path = harbour.home.path().join("key");
    fs::write(&path, [7; 32]).unwrap();
    let store = Store::open(&harbour.home.path().join("holdfast.db")).unwrap();
    let sftp = SftpAdmin::of(&destinations(&store, &Secrets::new(path), &harbour.dir, options()));
    let words = sftp.check(&harbour.input(), &Cancel::default()).unwrap_err().to_string();
    assert!(words.contains("The stored SSH private key cannot be decrypted"), "{words}");
    // What cannot be opened does not stand in the way of what is new.
    let by_password = SftpInput {
        form: SftpForm { auth: SftpAuth::Password, ..harbour.form() },
        password: SecretEdit::Set("new".into()),
        ..SftpInput::default()
    };
    assert!(sftp.save(&by_password).unwrap().password_set);
    let line = sftp.generate_key().unwrap();
    harbour.sshd.authorize(&line);
    assert!(sftp.check(&harbour.input(), &Cancel::default()).unwrap().is_good());
}

#[test]
fn no_secret_is_readable_at_rest_or_printed() {
    let harbour = Harbour::bare(Sshd::start(), options());
    let path = harbour.home.path().join("user_key");
    keygen(&path, "ed25519", "c4nary-passphrase", "");
    let text = fs::read_to_string(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let input = SftpInput {
        password: SecretEdit::Set("c4nary-password".into()),
        private_key: SecretEdit::Set(text.as_str().into()),
        passphrase: SecretEdit::Set("c4nary-passphrase".into()),
        ..harbour.input()
    };
    let log = Log::default();
    let writer = log.clone();
    let logging = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    harbour.put(NAME, 100);
    tracing::subscriber::with_default(logging, || {
        harbour.sftp.save(&input).unwrap();
        harbour.sftp.generate_key().unwrap();
        harbour.sftp.save(&input).unwrap();
        harbour.trust("ed25519");
        let by_password = SftpForm { auth: SftpAuth::Password, ..harbour.form() };
        harbour.sftp.save(&SftpInput { form: by_password, ..SftpInput::default() }).unwrap();
        assert_eq!(fault(harbour.upload()).kind, FaultKind::Denied, "the canaries open no door");
        harbour.sftp.save(&harbour.input()).unwrap();
        assert_eq!(fault(harbour.upload()).kind, FaultKind::Denied);
    });
    let account = harbour.settings.account().unwrap();
    let ready = keys::read(&text.as_str().into(), Some(&"c4nary-passphrase".into())).unwrap();
    let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(logged.contains("a host key was approved"), "the control: {logged}");
    let printed = format!(
        "{logged} {input:?} {account:?} {ready:?} {:?} {:?}",
        harbour.sftp.settings().unwrap(),
        harbour.sftp.check(&input, &Cancel::default())
    );
    let body = text.lines().nth(2).unwrap().to_owned();
    let plain = ready.openssh.expose_secret().lines().nth(3).unwrap().to_owned();
    let canaries = ["c4nary-password".to_owned(), "c4nary-passphrase".to_owned(), body, plain];
    let mut files = 0;
    for entry in fs::read_dir(harbour.home.path()).unwrap().flatten() {
        if !entry.path().is_file() {
            continue;
        }
        let mut bytes = Vec::new();
        File::open(entry.path()).unwrap().read_to_end(&mut bytes).unwrap();
        for canary in &canaries {
            let found = bytes.windows(canary.len()).any(|window| window == canary.as_bytes());
            assert!(!found, "{canary} in {:?}", entry.path());
        }
        files += 1;
    }
    assert!(files >= 2, "the state database and the key file");
    for canary in &canaries {
        assert!(!printed.contains(canary), "{canary}");
    }
    // The control: what is not secret is found the same way.
    let database: Vec<u8> = ["holdfast.db", "holdfast.db-wal"]
        .iter()
        .flat_map(|file| fs::read(harbour.home.path().join(file)).unwrap_or_default())
        .collect();
    assert!(database.windows(9).any(|window| window == b"127.0.0.1"));
    assert!(printed.contains("127.0.0.1"));
}

/// What was logged.
#[derive(Clone, Default)]
pub struct Log(pub Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
