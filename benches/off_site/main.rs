//! Races Holdfast's upload against OpenSSH's `sftp` and against paramiko, in turn, to one server with one key. The
//! ratio counts, because the speed of machines varies. Then measures the memory that an upload needs.

#![expect(clippy::print_stdout, clippy::expect_used, reason = "a bench reports, or stops")]

mod delay;
#[path = "../../tests/support/destinations.rs"]
mod destinations;
#[path = "../../tests/support/noise.rs"]
#[expect(dead_code, reason = "the tests ask more of it")]
mod noise;
#[path = "../../tests/support/sshd.rs"]
#[expect(dead_code, reason = "the tests ask more of it")]
mod sshd;
#[path = "../races/table.rs"]
#[expect(dead_code, reason = "the other races ask more of it")]
mod table;

use data_encoding::HEXLOWER;
use destinations::destinations;
use holdfast::domain::destinations::sftp::administration::SftpAdmin;
use holdfast::domain::destinations::sftp::settings::{SecretEdit, SftpInput};
use holdfast::domain::destinations::{Destinations, Options};
use holdfast::domain::engines::Cancel;
use holdfast::domain::repository::directory::BackupDir;
use holdfast::domain::state::Store;
use holdfast::domain::state::secrets::Secrets;
use holdfast::model::{BackupName, SftpAuth, SftpForm};
use noise::Noise;
use secrecy::SecretString;
use sha2::{Digest, Sha256};
use sshd::{Sshd, keygen};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use table::{ROUNDS, Table, Wanted, figure_of, median, sized};
use tempfile::TempDir;

/// Delay in each direction, for a round trip of 50 ms.
const DELAY: Duration = Duration::from_millis(25);

const COPIES: &str = "copies";

/// The Python that Debian's paramiko package is for.
const PYTHON: &str = "/usr/bin/python3";

/// Python code that prints the version of paramiko.
const PARAMIKO: &str = "-cimport paramiko; print(paramiko.__version__)";

/// The racers. All but paramiko, which cannot do so, let the server sync the file.
const RACERS: [&str; 4] = ["holdfast", "with read-back", "sftp", "paramiko"];

fn main() {
    // Versions differ widely in speed. PYTHONPATH can name another one than Debian's.
    println!("against {} and paramiko {}", first_line("ssh", "-V"), first_line(PYTHON, PARAMIKO));
    let course = Course::new();
    let mut table = Table::new("off_site");
    course.weigh(&mut table, sized(2 << 30));
    let (round_trip, rate) = delay::control(DELAY, sized(1_000_000_000));
    println!("the long way by itself: {} ms round trip, {rate:.0} MB/s", round_trip.as_millis());
    let far = delay::stretch(course.sshd.port, DELAY);
    course.race(&mut table, "50 ms round trip", far, sized(250_000_000), [1.0, 1.6]);
    course.race(&mut table, "loopback", course.sshd.port, sized(500_000_000), [0.8, 1.3]);
}

/// An SSH server, an account, and a key to log in.
struct Course {
    sshd: Sshd,
    home: TempDir,
    store: Store,
    key: PathBuf,
}

impl Course {
    fn new() -> Self {
        let (sshd, home) = (Sshd::start(), tempfile::tempdir().expect("a temporary directory"));
        let key = home.path().join("id");
        keygen(&key, "ed25519", "", "");
        sshd.authorize(&fs::read_to_string(key.with_extension("pub")).expect("a public key"));
        let store = Store::open(&home.path().join("holdfast.db")).expect("a state database");
        Self { sshd, home, store, key }
    }

    /// Five rounds of one file to `port`. `wanted` is the lowest acceptable speed of Holdfast relative to each peer.
    fn race(&self, table: &mut Table, way: &str, port: u16, size: u64, wanted: [f64; 2]) {
        let (name, source) = self.backup(size);
        self.settle(port);
        println!("SFTP upload of {:.0} MB, {way}, wall seconds, load {}", megabytes(size), load());
        let mut times = [const { Vec::new() }; RACERS.len()];
        for round in 0..ROUNDS {
            for turn in 0..RACERS.len() {
                let racer = (round + turn) % RACERS.len();
                self.clear();
                let began = Instant::now();
                match racer {
                    0 => self.holdfast(&name, false),
                    1 => self.holdfast(&name, true),
                    2 => self.openssh(port, &source),
                    _ => self.paramiko(port, &source),
                }
                times[racer].push(began.elapsed().as_secs_f64());
                self.compare(&source);
            }
            let line: Vec<_> = RACERS
                .iter()
                .zip(&times)
                .map(|(racer, times)| format!("{racer} {:.2} s", times[round]))
                .collect();
            println!("  {}", line.join("   "));
        }
        let [ours, read_back, openssh, paramiko] = times.map(median);
        println!(
            "medians of {ROUNDS} rounds: holdfast {ours:.2} s ({:.0} MB/s), with read-back {read_back:.2} s, sftp \
             {openssh:.2} s, paramiko {paramiko:.2} s; load {}",
            megabytes(size) / ours,
            load()
        );
        let job = format!("SFTP upload of {:.0} MB, {way}", megabytes(size));
        for ((peer, theirs), wanted) in [("`sftp`", openssh), ("paramiko", paramiko)].into_iter().zip(wanted)
        {
            let detail = format!("{ours:.2} s, with read-back {read_back:.2} s; peer {theirs:.2} s");
            table.row(&job, &format!("speed / {peer}'s"), theirs / ours, Wanted::AtLeast(wanted), &detail);
        }
        fs::remove_file(source).expect("the backup");
    }

    /// Growth of this process while it uploads a file and reads it back.
    fn weigh(&self, table: &mut Table, size: u64) {
        let (name, source) = self.backup(size);
        self.settle(self.sshd.port);
        self.clear();
        // Resets the recorded peak (proc(5)).
        fs::write("/proc/self/clear_refs", "5").expect("a kernel that counts");
        let (before, began) = (peak_memory(), Instant::now());
        self.holdfast(&name, true);
        table.row(
            &format!("SFTP upload of {} MiB, read back", size >> 20),
            "MiB of memory more",
            (peak_memory() - before) / 1024.0,
            Wanted::AtMost(64.0),
            &format!("{:.0} s", began.elapsed().as_secs_f64()),
        );
        self.compare(&source);
        fs::remove_file(source).expect("the backup");
    }

    fn holdfast(&self, name: &BackupName, read_back: bool) {
        // An upload that needs a retry has lost.
        let destinations = self.destinations(Options { read_back, retries: 0, ..Options::default() });
        let sent = destinations.upload(name, &Cancel::default(), &|_, _, _| ()).expect("an upload");
        assert!(sent.verified == read_back && sent.durable == Some(true), "unequal work: {sent:?}");
    }

    fn openssh(&self, port: u16, source: &Path) {
        let batch = self.home.path().join("batch");
        // -f syncs, as Holdfast does.
        fs::write(&batch, format!("put -f {} {}\n", source.display(), target(source))).expect("a batch");
        let mut command = Command::new("sftp");
        command.args(["-q", "-F", "none", "-P", &port.to_string(), "-b"]).arg(batch).arg("-i").arg(&self.key);
        command.arg("-o").arg(format!("UserKnownHostsFile={}", self.known_hosts(port).display()));
        command.args(["-o", "StrictHostKeyChecking=yes", "-o", "IdentitiesOnly=yes"]);
        succeed(command.arg(format!("{}@127.0.0.1", Sshd::user())));
    }

    fn paramiko(&self, port: u16, source: &Path) {
        let mut command = Command::new(PYTHON);
        command.args(["-c", include_str!("put.py")]).arg(self.known_hosts(port)).arg(&self.key);
        command.args([&Sshd::user(), &port.to_string()]).arg(source).arg(target(source));
        succeed(&mut command);
    }

    fn destinations(&self, options: Options) -> Destinations {
        let dir = Arc::new(BackupDir::open(self.home.path()).expect("a backup directory"));
        destinations(&self.store, &Secrets::new(self.home.path().join("key")), &dir, options)
    }

    /// Saved settings, with the host key approved.
    fn settle(&self, port: u16) {
        let form = SftpForm {
            enabled: true,
            send_new: false,
            host: "127.0.0.1".into(),
            port: port.to_string(),
            username: Sshd::user(),
            auth: SftpAuth::SshKey,
            remote_directory: COPIES.into(),
            write_only: false,
        };
        let key = SecretString::from(fs::read_to_string(&self.key).expect("a private key"));
        let sftp = SftpAdmin::of(&self.destinations(Options::default()));
        sftp.save(&SftpInput { form, private_key: SecretEdit::Set(key), ..SftpInput::default() })
            .expect("settings that can be saved");
        sftp.trust_pasted("127.0.0.1", port, &self.sshd.host_key("ed25519")).expect("a host key");
    }

    fn known_hosts(&self, port: u16) -> PathBuf {
        let path = self.home.path().join("known_hosts");
        fs::write(&path, format!("[127.0.0.1]:{port} {}", self.sshd.host_key("ed25519")))
            .expect("known hosts");
        path
    }

    /// An incompressible backup of `size` bytes, with its manifest.
    fn backup(&self, size: u64) -> (BackupName, PathBuf) {
        let name = format!("backup_race-{size}_2026-11-23_02-41-07Z.dump.gz");
        let source = self.home.path().join(&name);
        let mut file = File::create(&source).expect("a backup");
        let (mut sum, mut noise, mut left) = (Sha256::new(), Noise(7), size);
        while left > 0 {
            let block = noise.bytes(usize::try_from(left.min(1 << 20)).expect("a size"));
            sum.update(&block);
            file.write_all(&block).expect("room for a backup");
            left -= block.len() as u64;
        }
        // Sync now, so that the race does not compete with writing.
        file.sync_all().expect("a disk");
        let manifest = format!(
            "{{\"manifest_version\":1,\"file\":\"{name}\",\"created_at\":\"2026-11-23T02:41:07.123Z\",\
             \"database\":\"race\",\"database_engine\":\"sqlite\",\"backup_format\":\"sqlite-database\",\
             \"payload_size\":{size},\"payload_sha256\":\"{}\",\"payload_crc32\":\"00000000\",\
             \"content_size\":0,\"content_sha256\":\"\",\"created_by\":\"a bench\"}}\n",
            HEXLOWER.encode(&sum.finalize())
        );
        fs::write(self.home.path().join(format!("{name}.manifest.json")), manifest).expect("a manifest");
        (name.parse().expect("a name"), source)
    }

    /// An empty directory for copies.
    fn clear(&self) {
        let copies = self.sshd.account().join(COPIES);
        let _ = fs::remove_dir_all(&copies);
        fs::create_dir(&copies).expect("an empty directory");
        Sshd::give(&copies);
    }

    fn compare(&self, source: &Path) {
        succeed(Command::new("cmp").arg(source).arg(self.sshd.account().join(target(source))));
    }
}

/// Path of a copy, relative to the account's home directory.
fn target(source: &Path) -> String {
    format!("{COPIES}/{}", source.file_name().expect("a name").to_string_lossy())
}

fn succeed(command: &mut Command) {
    let ended = command.stdin(Stdio::null()).output().expect("a program that can be run");
    assert!(ended.status.success(), "{command:?}: {}", String::from_utf8_lossy(&ended.stderr));
}

fn first_line(program: &str, argument: &str) -> String {
    let told = Command::new(program).arg(argument).output().expect("a program that can be run");
    let words = [told.stdout, told.stderr].concat();
    String::from_utf8_lossy(&words).lines().next().unwrap_or_default().to_owned()
}

#[expect(clippy::cast_precision_loss, reason = "for printing")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// Peak memory of this process in KiB.
fn peak_memory() -> f64 {
    figure_of("self", "status", "VmHWM")
}

/// The load average of the last minute.
fn load() -> String {
    let averages = fs::read_to_string("/proc/loadavg").expect("Linux");
    averages.split(' ').next().unwrap_or_default().to_owned()
}
