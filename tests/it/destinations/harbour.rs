//! An SFTP destination of the tests' own: an sshd, a state database, a backup directory, and what is asked of them.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use crate::support::destinations::destinations;
use crate::support::noise::noise;
use crate::support::sshd::Sshd;
use data_encoding::HEXLOWER;
use holdfast::domain::destinations::Destinations;
use holdfast::domain::destinations::Options;
use holdfast::domain::destinations::attempt::Uploaded;
use holdfast::domain::destinations::fault::Fault;
use holdfast::domain::destinations::sftp::administration::SftpAdmin;
use holdfast::domain::destinations::sftp::connection::Connection;
use holdfast::domain::destinations::sftp::directory::SftpDirectory;
use holdfast::domain::destinations::sftp::settings::SftpInput;
use holdfast::domain::destinations::sftp::settings::StoredSftp;
use holdfast::domain::engines::Cancel;
use holdfast::domain::error::Error;
use holdfast::domain::repository::directory::BackupDir;
use holdfast::domain::state::Store;
use holdfast::domain::state::secrets::Secrets;
use holdfast::model::BackupName;
use holdfast::model::CheckStep;
use holdfast::model::Checklist;
use holdfast::model::Phase;
use holdfast::model::SftpAuth;
use holdfast::model::SftpForm;
use holdfast::model::StepState;
use sha2::Digest;
use sha2::Sha256;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

pub type Result<T, E = Error> = std::result::Result<T, E>;

pub const NAME: &str = "backup_ledger_2026-11-23_02-41-07Z.dump.gz";

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
    pub home: TempDir,
    pub dir: Arc<BackupDir>,
    pub sftp: SftpAdmin,
    pub destinations: Destinations,
    pub settings: StoredSftp,
}

impl Harbour {
    pub fn new() -> Self {
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
    pub fn bare(sshd: Sshd, options: Options) -> Self {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(&home.path().join("holdfast.db")).unwrap();
        let secrets = Secrets::new(home.path().join("key"));
        let dir = Arc::new(BackupDir::open(&home.path().join("backups")).unwrap());
        let destinations = destinations(&store, &secrets, &dir, options);
        Self {
            sshd,
            dir,
            sftp: SftpAdmin::of(&destinations),
            destinations,
            settings: StoredSftp::new(store, secrets),
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

    pub fn trust(&self, kind: &str) {
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
        self.destinations.upload(&name(), cancel, report)
    }

    /// The directory for copies, opened by itself.
    pub fn remote(&self) -> SftpDirectory {
        let account = self.settings.account().unwrap();
        let pins = self.settings.pins().unwrap();
        let connection = Connection::open(&account, &pins, &options(), &Cancel::default(), &|_| ()).unwrap();
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
