//! Off-site copies against a real OpenSSH server: who is trusted, who is let in, what arrives, what breaks.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use crate::support::desk::Desk;
use crate::support::noise::noise;
use crate::support::sshd::{PASSWORD, Sshd, keygen};
use data_encoding::HEXLOWER;
use holdfast::domain::destinations::fault::{Fault, FaultKind};
use holdfast::domain::destinations::sftp::connection::Connection;
use holdfast::domain::destinations::sftp::keys;
use holdfast::domain::destinations::sftp::remote::{Entry, Flow, Listed, Remote, SftpDirectory};
use holdfast::domain::destinations::sftp::settings::{SecretEdit, Settings, SftpInput};
use holdfast::domain::destinations::upload::Uploaded;
use holdfast::domain::destinations::{Options, Sftp};
use holdfast::domain::engines::Cancel;
use holdfast::domain::error::Error;
use holdfast::domain::jobs::Progress;
use holdfast::domain::repository::catalog::Catalog;
use holdfast::domain::repository::directory::BackupDir;
use holdfast::domain::state::Store;
use holdfast::domain::state::secrets::Secrets;
use holdfast::model::{
    BackupName, CheckStep, Checklist, HostKey, HostKeyStatus, OffSite, Phase, Place, SftpAuth, SftpForm,
    Stamp, StepState,
};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use std::cell::{Cell, RefCell};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

type Result<T, E = Error> = std::result::Result<T, E>;

pub const NAME: &str = "backup_ledger_2026-11-23_02-41-07Z.dump.gz";

/// The time within which a fault ends: for the tests' own, short, timeouts.
const BOUND: Duration = Duration::from_secs(12);

pub fn options() -> Options {
    Options {
        connect_timeout: Duration::from_secs(5),
        io_timeout: Duration::from_secs(2),
        retries: 0,
        back_off: Duration::from_millis(20),
        read_back: true,
        ..Options::default()
    }
}

/// A holdfast's side of it, with one server it may log in to by key.
pub struct Harbour {
    pub sshd: Sshd,
    home: TempDir,
    pub dir: BackupDir,
    pub catalog: Catalog,
    pub sftp: Sftp,
    settings: Settings,
}

impl Harbour {
    fn new() -> Self {
        Self::at(Sshd::start(), options())
    }

    /// Everything set: a key that is let in, the host key pinned.
    pub fn at(sshd: Sshd, options: Options) -> Self {
        let harbour = Self::bare(sshd, options);
        let line = harbour.sftp.generate_key().unwrap();
        harbour.sshd.authorize(&line);
        harbour.sftp.save(&harbour.input()).unwrap();
        harbour.trust("ed25519");
        harbour
    }

    /// Nothing set.
    fn bare(sshd: Sshd, options: Options) -> Self {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(&home.path().join("holdfast.db")).unwrap();
        let secrets = Secrets::new(home.path().join("key"));
        let clock = Arc::new(|| Stamp::from_millis(1_795_401_667_123));
        let path = home.path().join("backups");
        let dir = BackupDir::open(&path).unwrap();
        Self {
            sshd,
            catalog: Catalog::new(Arc::new(BackupDir::open(&path).unwrap())),
            dir,
            sftp: Sftp::new(store.clone(), secrets.clone(), clock, options),
            settings: Settings::new(store, secrets),
            home,
        }
    }

    /// The state database.
    pub fn state(&self) -> PathBuf {
        self.home.path().join("holdfast.db")
    }

    pub fn form(&self) -> SftpForm {
        SftpForm {
            enabled: true,
            send_new: false,
            host: "127.0.0.1".into(),
            port: self.sshd.port.to_string(),
            username: Sshd::user(),
            auth: SftpAuth::SshKey,
            remote_directory: "copies".into(),
            write_only: false,
        }
    }

    pub fn input(&self) -> SftpInput {
        SftpInput { form: self.form(), ..SftpInput::default() }
    }

    fn trust(&self, kind: &str) {
        self.sftp.trust_pasted("127.0.0.1", self.sshd.port, &self.sshd.host_key(kind)).unwrap();
    }

    /// Where the copies are, on the server's disk.
    pub fn copies(&self) -> PathBuf {
        self.sshd.account().join("copies")
    }

    pub fn copy(&self) -> PathBuf {
        self.copies().join(NAME)
    }

    pub fn put_copy(&self, name: &str, content: &[u8]) {
        fs::create_dir_all(self.copies()).unwrap();
        Sshd::give(&self.copies());
        fs::write(self.copies().join(name), content).unwrap();
        Sshd::give(&self.copies().join(name));
    }

    /// A backup here with a manifest, of bytes that look random. Gives them.
    pub fn put(&self, name: &str, size: usize) -> Vec<u8> {
        let content = noise(size, 1);
        self.put_content(name, &content);
        content
    }

    pub fn put_content(&self, name: &str, content: &[u8]) {
        let sum = HEXLOWER.encode(&Sha256::digest(content));
        let manifest = format!(
            "{{\"manifest_version\":1,\"file\":\"{name}\",\"created_at\":\"2026-11-23T02:41:07.123Z\",\
             \"database\":\"ledger\",\"database_engine\":\"sqlite\",\"backup_format\":\"sqlite-database\",\
             \"payload_size\":{},\"payload_sha256\":\"{sum}\",\"payload_crc32\":\"00000000\",\
             \"content_size\":0,\"content_sha256\":\"\",\"created_by\":\"test\"}}\n",
            content.len()
        );
        fs::write(self.dir.path().join(format!("{name}.manifest.json")), manifest).unwrap();
        fs::write(self.dir.path().join(name), content).unwrap();
    }

    pub fn upload(&self) -> Result<Uploaded> {
        self.upload_with(&Cancel::default(), &|_, _, _| ())
    }

    pub fn upload_with(&self, cancel: &Cancel, report: &dyn Fn(Phase, u64, u64)) -> Result<Uploaded> {
        self.sftp.upload(&self.catalog, &self.dir, &name(), cancel, report)
    }

    /// The directory for copies, opened by itself.
    fn remote(&self) -> SftpDirectory {
        let account = self.settings.account().unwrap();
        let pins = self.settings.pins().unwrap();
        let connection = Connection::open(&account, &pins, &options(), &Cancel::default()).unwrap();
        SftpDirectory::new(connection, "copies")
    }

    /// What is in the directory for copies, hidden files too, sorted.
    pub fn names(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.copies()) else { return Vec::new() };
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

pub fn name() -> BackupName {
    NAME.parse().unwrap()
}

pub fn both() -> [String; 2] {
    [NAME.to_owned(), format!("{NAME}.manifest.json")]
}

pub fn fault(result: Result<impl std::fmt::Debug>) -> Fault {
    match result {
        Err(Error::OffSite(fault)) => fault,
        other => panic!("no fault: {other:?}"),
    }
}

pub fn step(list: &Checklist, step: CheckStep) -> (StepState, &str) {
    let outcome = list.steps.iter().find(|outcome| outcome.step == step).unwrap();
    (outcome.state, &outcome.words)
}

#[test]
fn a_backup_arrives_whole_with_its_manifest_and_is_read_back() {
    let harbour = Harbour::new();
    let content = harbour.put(NAME, 3_000_001);
    let phases = RefCell::new(Vec::new());
    let sent = harbour
        .upload_with(&Cancel::default(), &|phase, _, _| {
            if phases.borrow().last() != Some(&phase) {
                phases.borrow_mut().push(phase);
            }
        })
        .unwrap();
    assert_eq!(sent.size, 3_000_001);
    assert!(sent.verified && !sent.already_there && sent.resumed == 0);
    assert_eq!(sent.durable, Some(true), "this server can sync");
    assert_eq!(fs::read(harbour.copy()).unwrap(), content);
    assert_eq!(harbour.names(), both());
    assert_eq!(fs::metadata(harbour.copy()).unwrap().permissions().mode() & 0o777, 0o600);
    let at = Stamp::from_millis(1_795_401_667_123);
    assert_eq!(harbour.sftp.off_site(&name()).unwrap(), OffSite::Verified { at });
    let expected = [Phase::Connecting, Phase::Sending, Phase::ReadingBack, Phase::Publishing];
    assert_eq!(*phases.borrow(), expected);
    for size in [1, 29_999, 30_000, 30_001, 2_100_000, 4_200_001] {
        fs::remove_dir_all(harbour.copies()).unwrap();
        let content = harbour.put(NAME, size);
        harbour.upload().unwrap();
        assert_eq!(fs::read(harbour.copy()).unwrap(), content, "{size}");
    }
}

/// Servers ask for new keys after so much traffic or time: OpenSSH after a gibibyte of `ChaCha20`, others after
/// less. This one asks some 300 times an upload. With 512 KiB a read, every fifth upload broke here.
#[test]
fn an_upload_survives_new_keys_on_the_way_there_and_back() {
    for cipher in ["aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com"] {
        let harbour = Harbour::at(Sshd::with(&format!("RekeyLimit 1M\nCiphers {cipher}\n")), options());
        let content = harbour.put(NAME, 150 << 20);
        let sent = harbour.upload().unwrap();
        assert!(sent.verified && sent.resumed == 0);
        assert!(fs::read(harbour.copy()).unwrap() == content);
        let asked = harbour.sshd.log().matches("rekeying out").count();
        assert!(asked > 100, "new keys were asked for {asked} times only");
    }
}

#[test]
fn every_kind_and_form_of_key_is_let_in() {
    let harbour = Harbour::new();
    let home = harbour.sshd.home();
    let passphrase = "correct horse";
    let mut tried = 0;
    for (kind, forms) in [
        ("ed25519", &["", "pkcs8"][..]),
        ("ecdsa", &["", "PEM", "PKCS8"][..]),
        ("rsa", &["", "PEM", "PKCS8"][..]),
    ] {
        for form in forms {
            for passphrase in ["", passphrase] {
                let path = home.join(format!("key_{tried}"));
                let text = match *form {
                    // ssh-keygen writes Ed25519 in its own form only.
                    "pkcs8" => ed25519_pkcs8(passphrase),
                    form => {
                        keygen(&path, kind, passphrase, form);
                        harbour.sshd.authorize(&fs::read_to_string(path.with_extension("pub")).unwrap());
                        fs::read_to_string(&path).unwrap()
                    }
                };
                // As it comes out of a form: other line ends, blanks around, the last one missing.
                let pasted = format!("\r\n  {}", text.trim_end().replace('\n', "\r\n"));
                let secret = |text: &str| Some(SecretString::from(text)).filter(|_| !text.is_empty());
                let ready = keys::read(&pasted.as_str().into(), secret(passphrase).as_ref()).unwrap();
                if *form == "pkcs8" {
                    harbour.sshd.authorize(&ready.public_line);
                } else {
                    let public = fs::read_to_string(path.with_extension("pub")).unwrap();
                    let same = |line: &str| line.split_whitespace().nth(1).unwrap().to_owned();
                    assert_eq!(same(&ready.public_line), same(&public), "{kind} {form}");
                }
                let input = SftpInput {
                    private_key: SecretEdit::Set(pasted.as_str().into()),
                    passphrase: secret(passphrase).map_or(SecretEdit::Remove, SecretEdit::Set),
                    ..harbour.input()
                };
                let list = harbour.sftp.check(&input, &Cancel::default()).unwrap();
                assert_eq!(
                    step(&list, CheckStep::LogIn).0,
                    StepState::Done,
                    "{kind} {form} {passphrase}: {list:?}"
                );
                if !passphrase.is_empty() {
                    use keys::KeyProblem as K;
                    let wrong = SecretString::from("wrong");
                    assert_eq!(keys::read(&pasted.as_str().into(), None).err(), Some(K::NeedsPassphrase));
                    let read = keys::read(&pasted.as_str().into(), Some(&wrong));
                    assert_eq!(read.err(), Some(K::WrongPassphrase), "{kind} {form}");
                }
                tried += 1;
            }
        }
    }
    for bits in ["384", "521"] {
        let path = home.join(format!("key_{bits}"));
        let made = std::process::Command::new("ssh-keygen")
            .args(["-q", "-t", "ecdsa", "-b", bits, "-N", "", "-m", "PKCS8", "-f"])
            .arg(&path)
            .status();
        assert!(made.unwrap().success());
        harbour.sshd.authorize(&fs::read_to_string(path.with_extension("pub")).unwrap());
        let key = SecretEdit::Set(fs::read_to_string(&path).unwrap().into());
        let list = harbour.sftp.check(&SftpInput { private_key: key, ..harbour.input() }, &Cancel::default());
        assert!(list.unwrap().is_good(), "{bits}");
        tried += 1;
    }
    println!("{tried} keys were let in");
    assert_eq!(tried, 18);
}

fn ed25519_pkcs8(passphrase: &str) -> String {
    let key = openssl::pkey::PKey::generate_ed25519().unwrap();
    let pem = if passphrase.is_empty() {
        key.private_key_to_pem_pkcs8().unwrap()
    } else {
        let cipher = openssl::symm::Cipher::aes_256_cbc();
        key.private_key_to_pem_pkcs8_passphrase(cipher, passphrase.as_bytes()).unwrap()
    };
    String::from_utf8(pem).unwrap()
}

/// OpenSSH leaves the zeros away that such a number begins with.
#[test]
fn an_ecdsa_key_whose_number_is_short_is_read_in_every_form() {
    use openssl::bn::{BigNum, BigNumContext};
    use openssl::ec::{EcGroup, EcKey, EcPoint};
    use openssl::nid::Nid;
    let home = tempfile::tempdir().unwrap();
    for (curve, width) in [(Nid::X9_62_PRIME256V1, 32), (Nid::SECP384R1, 48), (Nid::SECP521R1, 66)] {
        for (zeros, first) in [(0, 0), (1, 0x7f), (1, 0x80), (2, 0xff), (9, 1)] {
            let mut number = noise(width, 1);
            number[..zeros].fill(0);
            number[zeros] = first;
            let group = EcGroup::from_curve_name(curve).unwrap();
            let number = BigNum::from_slice(&number).unwrap();
            let mut point = EcPoint::new(&group).unwrap();
            point.mul_generator2(&group, &number, &mut BigNumContext::new().unwrap()).unwrap();
            let key = EcKey::from_private_components(&group, &number, &point).unwrap();
            let pem = key.private_key_to_pem().unwrap();
            let path = home.path().join(format!("{width}_{zeros}_{first}"));
            fs::write(&path, &pem).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            let run = |arguments: &[&str]| {
                let ran = std::process::Command::new("ssh-keygen")
                    .args(arguments)
                    .arg("-f")
                    .arg(&path)
                    .output()
                    .unwrap();
                assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
                String::from_utf8(ran.stdout).unwrap()
            };
            let public = run(&["-y", "-P", ""]);
            let body = |line: &str| line.split_whitespace().nth(1).unwrap().to_owned();
            let read = |passphrase: Option<&str>| {
                let text = fs::read_to_string(&path).unwrap();
                let passphrase = passphrase.map(SecretString::from);
                keys::read(&text.into(), passphrase.as_ref()).map(|ready| body(&ready.public_line))
            };
            assert_eq!(read(None), Ok(body(&public)), "SEC 1 {width} {zeros} {first}");
            // Rewriting a key gives it OpenSSH's own form.
            run(&["-p", "-q", "-P", "", "-N", ""]);
            assert!(fs::read_to_string(&path).unwrap().contains("BEGIN OPENSSH"));
            assert_eq!(read(None), Ok(body(&public)), "OpenSSH {width} {zeros} {first}");
            run(&["-p", "-q", "-a", "1", "-P", "", "-N", "secret words"]);
            assert_eq!(read(Some("secret words")), Ok(body(&public)), "encrypted {width} {zeros} {first}");
            assert_eq!(read(Some("wrong")), Err(keys::KeyProblem::WrongPassphrase));
            assert_eq!(read(None), Err(keys::KeyProblem::NeedsPassphrase));
        }
    }
}

#[test]
fn what_is_no_usable_key_is_told_apart_before_any_network() {
    use keys::KeyProblem as K;
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("key");
    keygen(&path, "ed25519", "", "");
    let good = fs::read_to_string(&path).unwrap();
    let public = fs::read_to_string(path.with_extension("pub")).unwrap();
    let read = |text: &str| keys::read(&text.into(), None);
    assert!(read(&good).is_ok(), "the control");
    assert!(read(&format!("\u{feff}{good}")).is_ok());
    assert!(read(&good.replace('\n', "\n    ")).is_ok(), "indented");
    let dsa = openssl::dsa::Dsa::generate(1024).unwrap();
    let dsa_pem = String::from_utf8(dsa.private_key_to_pem().unwrap()).unwrap();
    let dsa_pkcs8 = openssl::pkey::PKey::from_dsa(dsa).unwrap().private_key_to_pem_pkcs8().unwrap();
    let lines: Vec<&str> = good.lines().collect();
    let shortened = [&lines[..2], &lines[3..]].concat().join("\n");
    for (what, text, expected) in [
        ("public", public.as_str(), "PublicKey"),
        ("public PEM", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "PublicKey"),
        ("PuTTY", "PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n", "Putty"),
        ("DSA PEM", &dsa_pem, "Unsupported"),
        ("DSA PKCS#8", std::str::from_utf8(&dsa_pkcs8).unwrap(), "Unsupported"),
        ("hardware", &token_key(), "Unsupported"),
        ("a line missing", &shortened, "Damaged"),
        ("no end", good.split("-----END").next().unwrap(), "Damaged"),
        ("half a PEM", "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----", "Damaged"),
        ("certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "NotAKey"),
        ("prose", "hello", "NotAKey"),
        ("nothing", "", "NotAKey"),
    ] {
        let problem = read(text).err().unwrap_or_else(|| panic!("{what} is taken for a key"));
        let variant = format!("{problem:?}");
        assert!(variant.starts_with(expected), "{what}: {variant}");
        assert!(problem.on_the_form().sentence.starts_with("SSH private key: "), "{problem}");
    }
    assert!(K::WrongPassphrase.on_the_form().sentence.starts_with("Key passphrase: "));
}

/// A key that a security token holds, as OpenSSH writes it.
fn token_key() -> String {
    use ssh_key::private::{KeypairData, SkEd25519};
    use ssh_key::public::Ed25519PublicKey;
    let public = ssh_key::public::SkEd25519::new(Ed25519PublicKey([7; 32]), "ssh:");
    let held = SkEd25519::new(public, 1, vec![9; 64]).unwrap();
    let key = ssh_key::PrivateKey::new(KeypairData::SkEd25519(held), "test").unwrap();
    key.to_openssh(ssh_key::LineEnding::LF).unwrap().to_string()
}

#[test]
fn whoever_is_not_let_in_is_told_why_and_never_the_secret() {
    let harbour = Harbour::new();
    let check = |input: SftpInput| harbour.sftp.check(&input, &Cancel::default()).unwrap();
    assert!(check(harbour.input()).is_good(), "the control");
    let other = SecretEdit::Set(keys::generate().unwrap().openssh);
    let list = check(SftpInput { private_key: other, ..harbour.input() });
    assert!(step(&list, CheckStep::LogIn).1.contains("this key for"), "{list:?}");
    let nobody = SftpForm { username: "nobody-here".into(), ..harbour.form() };
    let list = check(SftpInput { form: nobody, ..SftpInput::default() });
    assert!(step(&list, CheckStep::LogIn).1.contains("nobody-here"), "{list:?}");
    assert_eq!(step(&list, CheckStep::Directory), (StepState::Skipped, ""));
    if !Sshd::has_password() {
        println!("password log-ins are not tested: that takes root");
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
    assert!(state == StepState::Failed && words.contains("this password for"), "{words}");
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
    assert!(step(&list, CheckStep::LogIn).1.contains("takes no passwords"), "{list:?}");
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
        assert_eq!(stopped.kind, FaultKind::HostKey, "{what}: {stopped}");
        let list = harbour.sftp.check(&harbour.input(), &Cancel::default()).unwrap();
        assert_eq!(step(&list, CheckStep::HostKey).0, StepState::Failed, "{what}");
        assert_eq!(step(&list, CheckStep::LogIn).0, StepState::Skipped, "{what}");
        // What the server has seen is in its log only once the connection is gone.
        thread::sleep(Duration::from_millis(100));
        assert_eq!(harbour.sshd.attempts(), before, "{what}: somebody began to log in");
        *stopped.host_key.unwrap()
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
    let new_kind = silent(&harbour, "another kind");
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
    assert!(step(&list, CheckStep::Directory).1.contains("has been made"));
    assert!(step(&list, CheckStep::FreeSpace).1.ends_with(" free."));
    assert_eq!(harbour.names(), [""; 0]);
    let again = harbour.sftp.check(&harbour.input(), &Cancel::default()).unwrap();
    assert!(step(&again, CheckStep::Directory).1.contains("is there"));
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
    assert!(words.contains("may be /backups for it"), "{words}");
    let form = SftpForm { remote_directory: "/backups".into(), ..harbour.form() };
    let list = harbour.sftp.check(&SftpInput { form, ..SftpInput::default() }, &Cancel::default()).unwrap();
    assert!(list.is_good(), "{list:?}");
}

#[test]
fn an_equal_copy_is_a_success_and_any_other_is_kept() {
    let harbour = Harbour::new();
    let content = harbour.put(NAME, 100_000);
    harbour.upload().unwrap();
    let again = harbour.upload().unwrap();
    assert!(again.already_there && again.verified, "{again:?}");
    fs::remove_file(harbour.copies().join(format!("{NAME}.manifest.json"))).unwrap();
    assert!(harbour.upload().unwrap().already_there);
    assert_eq!(harbour.names(), both(), "a manifest that was lost there is sent again");

    let mut altered = content.clone();
    altered[50_000] ^= 1;
    for (what, there) in [("one bit", altered), ("shorter", content[..10].to_vec()), ("empty", Vec::new())] {
        harbour.put_copy(NAME, &there);
        let error = fault(harbour.upload());
        assert_eq!(error.kind, FaultKind::Differs, "{what}: {error}");
        assert!(error.sentence.contains(NAME) && error.sentence.contains("127.0.0.1"), "{error}");
        assert_eq!(fs::read(harbour.copy()).unwrap(), there, "{what}: it is kept");
        assert_eq!(fs::read(harbour.dir.path().join(NAME)).unwrap(), content, "{what}: so is ours");
        assert!(matches!(harbour.sftp.off_site(&name()).unwrap(), OffSite::Failed { .. }));
    }
    for kind in ["directory", "link"] {
        fs::remove_dir_all(harbour.copies()).unwrap();
        fs::create_dir(harbour.copies()).unwrap();
        Sshd::give(&harbour.copies());
        let target = harbour.sshd.account().join("elsewhere");
        fs::write(&target, &content).unwrap();
        match kind {
            "directory" => fs::create_dir(harbour.copy()).unwrap(),
            _ => symlink(&target, harbour.copy()).unwrap(),
        }
        assert_eq!(fault(harbour.upload()).kind, FaultKind::Taken, "{kind}");
        assert_eq!(harbour.names(), [NAME], "{kind}");
        assert_eq!(fs::read(&target).unwrap(), content);
    }
    fs::remove_dir_all(harbour.copies()).unwrap();
    harbour.put_copy(&format!("{NAME}.manifest.json"), b"{}");
    assert_eq!(fault(harbour.upload()).kind, FaultKind::Differs, "another manifest");
    assert_eq!(harbour.names(), [format!("{NAME}.manifest.json")], "and no draft is left");
}

#[test]
fn a_file_here_that_is_not_what_its_manifest_says_is_never_sent() {
    let harbour = Harbour::new();
    let content = harbour.put(NAME, 5_000_000);
    let path = harbour.dir.path().join(NAME);
    let damage = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = content.clone();
        change(&mut bytes);
        fs::write(&path, bytes).unwrap();
    };
    for (what, change) in [
        ("one bit", &(|bytes: &mut Vec<u8>| bytes[4_000_000] ^= 1) as &dyn Fn(&mut Vec<u8>)),
        ("shorter", &|bytes| bytes.truncate(4_999_999)),
        ("longer", &|bytes| bytes.push(0)),
        ("empty", &Vec::clear),
    ] {
        damage(change);
        let words = harbour.upload().unwrap_err().to_string();
        assert!(words.contains(NAME) && words.contains("was not uploaded"), "{what}: {words}");
        assert_eq!(harbour.names(), [""; 0], "{what}");
    }
    damage(&|_| ());
    harbour.upload().unwrap();
    fs::write(harbour.dir.path().join(format!("{NAME}.manifest.json")), "{").unwrap();
    assert!(harbour.upload().unwrap_err().to_string().contains("manifest cannot be read"));
    // What came from elsewhere has no manifest, and goes without one.
    let old = "backup_2020-01-02_03-04-05.dump.gz";
    fs::write(harbour.dir.path().join(old), "old").unwrap();
    let sent = harbour.sftp.upload(
        &harbour.catalog,
        &harbour.dir,
        &old.parse().unwrap(),
        &Cancel::default(),
        &|_, _, _| (),
    );
    assert!(sent.unwrap().verified);
    assert!(harbour.copies().join(old).exists());
}

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
        let mark = harbour.sftp.off_site(&name()).unwrap();
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
fn what_an_earlier_try_left_is_compared_before_it_is_believed() {
    let harbour = Harbour::new();
    let size = 2_000_000;
    let content = harbour.put(NAME, size);
    let draft = format!(".part-{NAME}");
    for tenth in 1..=10 {
        let _ = fs::remove_dir_all(harbour.copies());
        let begun = size / 10 * tenth;
        harbour.put_copy(&draft, &content[..begun]);
        let sent = harbour.upload().unwrap();
        assert_eq!(sent.resumed, begun as u64);
        assert_eq!(fs::read(harbour.copy()).unwrap(), content);
        assert_eq!(harbour.names(), both());

        fs::remove_dir_all(harbour.copies()).unwrap();
        let mut altered = content[..begun].to_vec();
        altered[begun * (tenth - 1) / 10] ^= 1;
        harbour.put_copy(&draft, &altered);
        let sent = harbour.upload().unwrap();
        assert_eq!(sent.resumed, 0, "an altered beginning is begun anew");
        assert_eq!(fs::read(harbour.copy()).unwrap(), content);
    }
    for (what, left) in [("longer", noise(size + 1, 1)), ("empty", Vec::new())] {
        fs::remove_dir_all(harbour.copies()).unwrap();
        harbour.put_copy(&draft, &left);
        assert_eq!(harbour.upload().unwrap().resumed, 0, "{what}");
        assert_eq!(fs::read(harbour.copy()).unwrap(), content, "{what}");
    }
    fs::remove_dir_all(harbour.copies()).unwrap();
    fs::create_dir(harbour.copies()).unwrap();
    let target = harbour.sshd.account().join("elsewhere");
    fs::write(&target, &content[..100]).unwrap();
    symlink(&target, harbour.copies().join(&draft)).unwrap();
    Sshd::give(&harbour.copies());
    assert_eq!(fault(harbour.upload()).kind, FaultKind::Taken, "a link is not followed");
    assert_eq!(fs::read(&target).unwrap(), content[..100]);
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
    let Harbour { mut sshd, dir, catalog, sftp, home, .. } = harbour;
    sshd.stop();
    let connected = Cell::new(0);
    let gone = sftp.upload(&catalog, &dir, &name(), &Cancel::default(), &|phase, _, _| {
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
        assert_eq!(harbour.sftp.off_site(&name()).unwrap(), OffSite::NotSent, "cancelled is not failed");
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
        let listed = harbour.sftp.listing(&harbour.catalog).unwrap();
        listed.iter().map(|backup| backup.place).collect::<Vec<_>>()
    };
    assert_eq!(at(), [Place::Here]);
    // The control: what is small enough fits, so the draft did give its room back.
    harbour.put(NAME, 1_500_000);
    harbour.upload().unwrap();
    assert_eq!(at(), [Place::Both]);
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

#[test]
fn what_lies_there_is_listed_fetched_and_deleted() {
    let harbour = Harbour::new();
    let content = harbour.put(NAME, 400_000);
    let other = "backup_ledger_2026-11-22_02-41-07Z.dump.gz";
    harbour.put(other, 10);
    harbour.upload().unwrap();
    harbour.put_copy("backup_2020-01-02_03-04-05.dump.gz", b"old");
    harbour.put_copy(".part-backup_x.dump.gz", b"draft");
    harbour.put_copy("notes.txt", b"x");
    fs::create_dir(harbour.copies().join("backup_dir.dump.gz")).unwrap();
    symlink("/etc/passwd", harbour.copies().join("backup_link.dump.gz")).unwrap();
    let listed = harbour.sftp.listing(&harbour.catalog).unwrap();
    let seen: Vec<_> =
        listed.iter().map(|b| (b.name.as_str(), b.place, b.remote_size, b.remote_manifest)).collect();
    assert_eq!(
        seen,
        [
            ("backup_2020-01-02_03-04-05.dump.gz", Place::There, Some(3), false),
            (other, Place::Here, None, false),
            (NAME, Place::Both, Some(400_000), true),
        ]
    );
    assert!(listed[2].remote_modified.is_some());

    let fetch = |file: &str| {
        harbour.sftp.fetch(&harbour.dir, &file.parse().unwrap(), &Cancel::default(), &|_, _, _| ())
    };
    assert!(fetch(NAME).unwrap_err().to_string().contains("already exists here"));
    let sidecar = format!("{NAME}.manifest.json");
    let manifest = fs::read(harbour.dir.path().join(&sidecar)).unwrap();
    let forget = || {
        for file in [NAME, &sidecar] {
            let _ = fs::remove_file(harbour.dir.path().join(file));
        }
    };
    forget();
    assert!(fetch(NAME).unwrap().checked);
    assert_eq!(fs::read(harbour.dir.path().join(NAME)).unwrap(), content);
    assert_eq!(fs::read(harbour.dir.path().join(&sidecar)).unwrap(), manifest);
    forget();
    let mut altered = content.clone();
    altered[7] ^= 1;
    for (what, there) in [("altered", altered), ("shorter", content[..9].to_vec())] {
        harbour.put_copy(NAME, &there);
        assert_eq!(fault(fetch(NAME)).kind, FaultKind::Differs, "{what}");
        assert!(!harbour.dir.path().join(NAME).exists() && !harbour.dir.path().join(&sidecar).exists());
    }
    harbour.put_copy(NAME, &content);
    harbour.put_copy(&sidecar, b"{}");
    assert!(fetch(NAME).unwrap_err().to_string().contains("manifest"));
    assert!(!fetch("backup_2020-01-02_03-04-05.dump.gz").unwrap().checked);
    assert_eq!(fault(fetch("backup_gone.dump.gz")).kind, FaultKind::NoSuchPath);
    assert_eq!(fault(fetch("backup_link.dump.gz")).kind, FaultKind::NoSuchPath, "no link is followed");
    let left = fs::read_dir(harbour.dir.path()).unwrap().flatten();
    assert!(left.map(|entry| entry.file_name()).all(|name| !name.to_str().unwrap().starts_with(".part-")));

    harbour.sftp.delete(&name()).unwrap();
    assert!(!harbour.copy().exists() && !harbour.copies().join(&sidecar).exists());
    assert_eq!(fault(harbour.sftp.delete(&name())).kind, FaultKind::NoSuchPath);
}

#[test]
fn what_is_remembered_is_corrected_by_what_is_seen() {
    let harbour = Harbour::new();
    harbour.put(NAME, 1000);
    assert_eq!(harbour.sftp.off_site(&name()).unwrap(), OffSite::NotSent);
    harbour.upload().unwrap();
    harbour.sftp.listing(&harbour.catalog).unwrap();
    assert!(matches!(harbour.sftp.off_site(&name()).unwrap(), OffSite::Verified { .. }));
    fs::remove_file(harbour.copy()).unwrap();
    harbour.sftp.listing(&harbour.catalog).unwrap();
    assert!(matches!(harbour.sftp.off_site(&name()).unwrap(), OffSite::Missing { .. }));
    assert_eq!(harbour.sftp.all_off_site().unwrap().len(), 1);
    harbour.upload().unwrap();
    // Another place has none of them.
    let elsewhere = SftpForm { remote_directory: "elsewhere".into(), ..harbour.form() };
    harbour.sftp.save(&SftpInput { form: elsewhere, ..SftpInput::default() }).unwrap();
    assert_eq!(harbour.sftp.off_site(&name()).unwrap(), OffSite::NotSent);
}

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
        harbour.sftp.listing(&harbour.catalog).unwrap_err().to_string().contains("No SFTP server is set")
    );
    assert!(harbour.upload().is_err());
}

#[test]
fn a_replaced_key_file_is_told_and_new_secrets_go_in() {
    let harbour = Harbour::new();
    let path = harbour.home.path().join("key");
    fs::write(&path, [7; 32]).unwrap();
    let store = Store::open(&harbour.home.path().join("holdfast.db")).unwrap();
    let clock = Arc::new(|| Stamp::from_millis(0));
    let sftp = Sftp::new(store, Secrets::new(path), clock, options());
    let words = sftp.check(&harbour.input(), &Cancel::default()).unwrap_err().to_string();
    assert!(words.contains("The stored SSH private key cannot be opened"), "{words}");
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

#[test]
fn a_backup_made_sent_lost_and_fetched_is_the_same() {
    let desk = Desk::with(&["ledger"]);
    let sshd = Sshd::start();
    let holdfast = &desk.holdfast;
    sshd.authorize(&holdfast.sftp().generate_key().unwrap());
    let form = SftpForm {
        enabled: true,
        send_new: false,
        host: "127.0.0.1".into(),
        port: sshd.port.to_string(),
        username: Sshd::user(),
        auth: SftpAuth::SshKey,
        remote_directory: String::new(),
        write_only: false,
    };
    let input = SftpInput { form, ..SftpInput::default() };
    let saved = holdfast.sftp().save(&input).unwrap();
    assert!(saved.private_key_set && saved.public_key.is_some() && saved.pins.is_empty());
    let list = holdfast.sftp().check(&input, &Cancel::default()).unwrap();
    let found = list.host_key.unwrap();
    let key = HostKey { key_type: Some(found.key_type), fingerprint: found.fingerprint };
    holdfast.sftp().approve(&found.host, found.port, key).unwrap();
    assert!(holdfast.sftp().check(&input, &Cancel::default()).unwrap().is_good());

    let file = holdfast.back_up(&"ledger".parse().unwrap(), &Cancel::default(), &Silent).unwrap().file;
    let made = holdfast.catalog().get(&file).unwrap();
    let bytes = fs::read(desk.backup(file.as_str())).unwrap();
    assert!(holdfast.upload(&file, &Cancel::default(), &|_, _, _| ()).unwrap().verified);
    assert_eq!(holdfast.sftp().off_site(&file).unwrap().label(), "off-site verified");
    for lost in [file.to_string(), file.manifest()] {
        fs::remove_file(desk.backup(&lost)).unwrap();
    }
    // After a restart, too: nothing but the key file and the state database is needed.
    let again = desk.reopened();
    let listed = again.remote_listing().unwrap();
    assert_eq!(listed.iter().map(|backup| backup.place).collect::<Vec<_>>(), [Place::There]);
    assert!(again.fetch_remote(&file, &Cancel::default(), &|_, _, _| ()).unwrap().checked);
    let back = again.catalog().get(&file).unwrap();
    assert_eq!((back.sha256, back.state, back.created), (made.sha256, made.state, made.created));
    assert_eq!(fs::read(desk.backup(file.as_str())).unwrap(), bytes);
}

struct Silent;

impl Progress for Silent {
    fn phase(&self, _: Phase) {}
    fn total(&self, _: u64) {}
    fn bytes(&self, _: u64, _: u64) {}
}

/// The control of the conformance suite: a directory here.
struct Folder(PathBuf);

impl Folder {
    fn failed(error: std::io::Error) -> Error {
        Fault::new(FaultKind::Other, error.to_string()).into()
    }
}

impl Remote for Folder {
    fn place(&self) -> &'static str {
        "a folder"
    }

    fn make_directory(&self) -> Result<bool> {
        let missing = !self.0.exists();
        fs::create_dir_all(&self.0).map_err(Self::failed)?;
        Ok(missing)
    }

    fn stat(&self, name: &str) -> Result<Option<Entry>> {
        Ok(fs::symlink_metadata(self.0.join(name)).ok().map(|found| match found.file_type() {
            kind if kind.is_file() => Entry::File(found.len()),
            kind if kind.is_dir() => Entry::Directory,
            _ => Entry::Other,
        }))
    }

    fn list(&self) -> Result<Vec<Listed>> {
        let entries = fs::read_dir(&self.0).map_err(Self::failed)?.flatten();
        let files = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
        Ok(files
            .map(|entry| Listed {
                name: entry.file_name().into_string().unwrap(),
                size: entry.metadata().unwrap().len(),
                modified: None,
            })
            .collect())
    }

    fn put(
        &self,
        name: &str,
        from: u64,
        source: &mut dyn FnMut(&mut [u8]) -> Result<usize>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<bool> {
        let path = self.0.join(name);
        let opened = OpenOptions::new().write(true).create_new(from == 0).append(from > 0).open(path);
        let mut file = opened.map_err(Self::failed)?;
        let (mut block, mut there) = (vec![0; 1000], from);
        loop {
            let read = source(&mut block)?;
            if read == 0 {
                return Ok(true);
            }
            file.write_all(&block[..read]).map_err(Self::failed)?;
            there += read as u64;
            progress(there);
        }
    }

    fn read(&self, name: &str, sink: &mut dyn FnMut(&[u8]) -> Result<Flow>) -> Result<()> {
        for block in fs::read(self.0.join(name)).map_err(Self::failed)?.chunks(1000) {
            if sink(block)? == Flow::Enough {
                break;
            }
        }
        Ok(())
    }

    fn rename_free(&self, from: &str, to: &str) -> Result<bool> {
        if self.stat(to)?.is_some() {
            return Ok(false);
        }
        fs::rename(self.0.join(from), self.0.join(to)).map_err(Self::failed)?;
        Ok(true)
    }

    fn remove(&self, name: &str) -> Result<bool> {
        match fs::remove_file(self.0.join(name)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Self::failed(error)),
        }
    }

    fn free_space(&self, _: &str) -> Result<Option<u64>> {
        Ok(None)
    }
}

/// What every place for copies must do.
fn conforms(remote: &dyn Remote) {
    assert!(remote.make_directory().unwrap(), "it was missing");
    assert!(!remote.make_directory().unwrap());
    assert_eq!(remote.stat("a").unwrap(), None);
    assert!(remote.list().unwrap().is_empty());
    let put = |name: &str, from: u64, content: &[u8]| {
        let mut left = content;
        let heard = Cell::new(from);
        let outcome = remote.put(
            name,
            from,
            &mut |block| {
                let read = left.len().min(block.len()).min(7777);
                block[..read].copy_from_slice(&left[..read]);
                left = &left[read..];
                Ok(read)
            },
            &mut |there| {
                assert!(there > heard.get(), "progress goes on");
                heard.set(there);
            },
        );
        if outcome.is_ok() {
            assert_eq!(heard.get(), from + content.len() as u64);
        }
        outcome
    };
    let whole = |name: &str| {
        let mut bytes = Vec::new();
        remote
            .read(name, &mut |block| {
                bytes.extend_from_slice(block);
                Ok(Flow::On)
            })
            .map(|()| bytes)
    };
    let content = noise(5_000_000, 1);
    put("a", 0, &content).unwrap();
    assert_eq!(remote.stat("a").unwrap(), Some(Entry::File(5_000_000)));
    assert_eq!(whole("a").unwrap(), content);
    assert!(put("a", 0, b"again").is_err(), "a new draft must be new");
    assert_eq!(whole("a").unwrap(), content);
    assert!(put("missing", 5, b"x").is_err(), "what goes on must be there");
    put("a", 5_000_000, b"more").unwrap();
    assert_eq!(whole("a").unwrap()[5_000_000..], *b"more");
    put("empty", 0, b"").unwrap();
    assert_eq!(whole("empty").unwrap(), b"");
    let failing = remote.put("c", 0, &mut |_| Err(Error::Refused("here".into())), &mut |_| ());
    assert!(matches!(failing, Err(Error::Refused(_))), "what fails here is told as that");
    remote.remove("c").unwrap();
    let pieces = Cell::new(0);
    remote
        .read("a", &mut |_| {
            pieces.set(pieces.get() + 1);
            Ok(Flow::Enough)
        })
        .unwrap();
    assert_eq!(pieces.get(), 1);
    assert!(whole("missing").is_err());
    assert!(remote.rename_free("a", "b").unwrap());
    assert_eq!(remote.stat("a").unwrap(), None);
    assert!(!remote.rename_free("empty", "b").unwrap(), "nothing is replaced");
    assert_eq!(remote.stat("b").unwrap(), Some(Entry::File(5_000_004)));
    assert!(remote.rename_free("missing", "d").is_err());
    let mut names: Vec<_> = remote.list().unwrap().into_iter().map(|file| (file.name, file.size)).collect();
    names.sort();
    assert_eq!(names, [("b".to_owned(), 5_000_004), ("empty".to_owned(), 0)]);
    assert!(remote.remove("b").unwrap());
    assert!(!remote.remove("b").unwrap());
    assert!(remote.free_space("empty").unwrap().is_none_or(|free| free > 0));
}

#[test]
fn every_place_for_copies_does_the_same() {
    let home = tempfile::tempdir().unwrap();
    conforms(&Folder(home.path().join("x/y")));
    let harbour = Harbour::new();
    conforms(&harbour.remote());
    assert!(harbour.remote().free_space("empty").unwrap().is_some(), "OpenSSH tells");
}
