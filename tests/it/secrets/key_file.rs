//! The key file as the real program meets it: unfit ones keep a server from starting, lost ones are told.

#![expect(clippy::unwrap_used, reason = "tests")]

use crate::support::holdfast::{Home, PROGRAM, Server};
use holdfast::domain::destinations::sftp::settings::{SecretEdit, SftpInput, StoredSftp};
use holdfast::domain::state::Store;
use holdfast::domain::state::secrets::Secrets;
use holdfast::model::{SftpAuth, SftpForm};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// The directories of one Holdfast whose SFTP password is stored.
struct Sealed(Home);

impl Sealed {
    fn new() -> Self {
        let home = Self(Home::with_ledger());
        fs::create_dir(home.data()).unwrap();
        let form = SftpForm {
            host: "nas".to_owned(),
            port: "22".to_owned(),
            username: "u".to_owned(),
            auth: SftpAuth::Password,
            ..SftpForm::default()
        };
        let password = SecretEdit::Set("hunter2".into());
        home.settings().save(&SftpInput { form, password, ..SftpInput::default() }).unwrap();
        home
    }

    fn data(&self) -> PathBuf {
        self.0.data()
    }

    fn key(&self) -> PathBuf {
        self.data().join("key")
    }

    fn settings(&self) -> StoredSftp {
        StoredSftp::new(Store::open(&self.data().join("holdfast.db")).unwrap(), Secrets::new(self.key()))
    }

    /// Serves, or says in whose words it does not.
    fn serve(&self) -> Result<Server, String> {
        self.0.serve().inspect_err(|said| assert!(!said.starts_with("exit status: 0"), "{said}"))
    }

    /// A command's words, where it succeeds, or else.
    fn told(&self, arguments: &[&str]) -> Result<String, String> {
        let output = self.0.program(arguments).output().unwrap();
        let words = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(words(&output.stdout)) } else { Err(words(&output.stderr)) }
    }
}

#[test]
fn a_server_does_not_start_on_an_unfit_key_file_and_says_what_to_do() {
    type Spoil = fn(&Sealed);
    let spoilt: [(&str, Spoil, &str); 6] = [
        ("0644", |home| fs::set_permissions(home.key(), Permissions::from_mode(0o644)).unwrap(), "chmod 600"),
        ("0640", |home| fs::set_permissions(home.key(), Permissions::from_mode(0o640)).unwrap(), "chmod 600"),
        ("short", |home| fs::write(home.key(), "short").unwrap(), "has 5 bytes instead of 32"),
        ("long", |home| fs::write(home.key(), [7; 33]).unwrap(), "has 33 bytes instead of 32"),
        (
            "a link",
            |home| {
                fs::rename(home.key(), home.data().join("elsewhere")).unwrap();
                symlink("elsewhere", home.key()).unwrap();
            },
            "is a symbolic link",
        ),
        (
            "a directory",
            |home| {
                fs::remove_file(home.key()).unwrap();
                fs::create_dir(home.key()).unwrap();
            },
            "is not a file",
        ),
    ];
    for (what, spoil, words) in spoilt {
        let home = Sealed::new();
        drop(home.serve().unwrap_or_else(|said| panic!("the control: {said}")));
        spoil(&home);
        let said = home.serve().err().unwrap_or_default();
        assert!(said.contains(words) && said.contains("The key file"), "{what}: {said}");
        home.told(&["backup", "ledger"]).unwrap_or_else(|said| panic!("{what}: {said}"));
    }
}

#[test]
fn a_lost_or_swapped_key_is_told_at_the_start_and_keeps_nobody_from_backing_up() {
    let home = Sealed::new();
    let former = fs::read(home.key()).unwrap();
    let told = |words: &str| {
        let log = home.serve().unwrap().log();
        let warned = log.contains("WARN") && log.contains("settings/sftp.password");
        assert_eq!(warned, !words.is_empty(), "{log}");
        assert!(log.contains(words), "{log}");
        assert!(!log.contains("hunter2"), "{log}");
    };
    told("");
    fs::remove_file(home.key()).unwrap();
    told("the key file is missing");
    fs::write(home.key(), [9; 32]).unwrap();
    fs::set_permissions(home.key(), Permissions::from_mode(0o600)).unwrap();
    told("restore the former file, or enter the secrets again");
    let refused = home.told(&["rotate-key"]).unwrap_err();
    assert!(refused.contains("settings/sftp.password cannot be decrypted"), "{refused}");
    home.told(&["backup", "ledger"]).unwrap();
    fs::write(home.key(), former).unwrap();
    told("");
    home.settings().account().unwrap();
}

#[test]
fn the_key_is_changed_by_a_command_while_no_server_runs() {
    let home = Sealed::new();
    let former = fs::read(home.key()).unwrap();
    let serving = home.serve().unwrap();
    let refused = home.told(&["rotate-key"]).unwrap_err();
    assert!(refused.contains("Another Holdfast already uses"), "{refused}");
    // Nor by one with backups of its own.
    let elsewhere = home.0.at("elsewhere");
    let refused = home.told(&["rotate-key", "--backup-dir", elsewhere.to_str().unwrap()]).unwrap_err();
    assert!(refused.contains("Another Holdfast already uses"), "{refused}");
    assert_eq!(fs::read(home.key()).unwrap(), former);
    drop(serving);
    let told = home.told(&["rotate-key"]).unwrap();
    assert!(told.contains("re-encrypted 1 stored secret") && told.contains("delete both"), "{told}");
    assert_ne!(fs::read(home.key()).unwrap(), former);
    home.settings().account().unwrap();
    assert_eq!(fs::metadata(home.key()).unwrap().permissions().mode() & 0o7777, 0o600);
    drop(home.serve().unwrap());
    let said = Sealed(Home::new("")).told(&["rotate-key"]).unwrap_err();
    assert!(said.contains("There is no key yet"), "{said}");
}

/// Somebody without rights.
const NOBODY: u32 = 54_321;

#[test]
fn the_program_keeps_its_memory_and_its_files_to_itself() {
    let home = Sealed::new();
    let serving = home.serve().unwrap();
    let is_kept = |process: u32| {
        let read = |what: &str| fs::read_to_string(format!("/proc/{process}/{what}")).unwrap();
        let limits = read("limits");
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        [
            core.split_whitespace().skip(4).take(2).eq(["0", "0"]),
            read("status").lines().any(|line| line == "Umask:\t0077"),
        ]
    };
    assert_eq!(is_kept(serving.child.id()), [true, true]);
    let mut open = Command::new("sh");
    let mut open = open.args(["-c", "umask 022; ulimit -c 1; exec sleep 60"]).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(is_kept(open.id()), [false, false], "the control");
    open.kill().unwrap();
    open.wait().unwrap();
}

#[test]
fn what_the_program_was_told_is_not_readable_by_others_of_the_same_user() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let (program, data) = (home.path().join("holdfast"), home.path().join("data"));
    fs::copy(PROGRAM, &program).unwrap();
    fs::create_dir(&data).unwrap();
    chown(&data, Some(NOBODY), Some(NOBODY)).unwrap();
    fs::set_permissions(home.path(), Permissions::from_mode(0o755)).unwrap();
    let start = |arguments: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", &NOBODY.to_string(), "--regid", &NOBODY.to_string(), "--clear-groups"]);
        command.arg("--").args(arguments).env_clear().env("PATH", "/usr/bin:/bin");
        command.env("HOLDFAST_LISTEN", "127.0.0.1:0").env("HOLDFAST_DATA_DIR", &data);
        Server::start(command).unwrap()
    };
    let owner = |process: u32| fs::metadata(format!("/proc/{process}/environ")).unwrap().uid();
    let serving = start(&[program.to_str().unwrap(), "serve"]);
    assert_eq!(owner(serving.child.id()), 0);
    // It still finds its own open directory there.
    assert!(!serving.log().contains("cannot be watched"), "{}", serving.log());
    let open = start(&["sh", "-c", "echo listens on http://127.0.0.1:1 >&2; exec sleep 60"]);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(owner(open.child.id()), NOBODY, "the control");
}
