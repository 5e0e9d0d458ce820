//! A PostgreSQL cluster for tests, in a temporary directory. It ends with the last test that uses it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test harness")]

use openssl::asn1::Asn1Time;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::rsa::Rsa;
use openssl::x509::{X509, X509NameBuilder};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

/// The superuser's password. Tests check that it appears nowhere.
pub const PASSWORD: &str = "c4n:ary\\p@ss 'w%rd";
/// The superuser's name.
pub const USER: &str = "holdfast-test";

/// A running cluster.
pub struct Cluster {
    home: tempfile::TempDir,
    bin: PathBuf,
    /// The TCP port on 127.0.0.1, which needs a password. The socket in [`Cluster::socket`] does not.
    pub port: u16,
    postmaster: Child,
}

static SHARED: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());

/// The cluster that all tests of this process share.
pub fn cluster() -> Arc<Cluster> {
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let cluster = Arc::new(Cluster::start());
        *shared = Arc::downgrade(&cluster);
        cluster
    })
}

impl Cluster {
    /// Starts a cluster for the caller alone.
    pub fn start() -> Self {
        Self::start_with(newest_bin(), "")
    }

    /// Like [`Cluster::start`], with the programs in `bin` and these settings, a line each.
    pub fn start_with(bin: PathBuf, settings: &str) -> Self {
        let home = tempfile::Builder::new().prefix("holdfast-pg-").tempdir().unwrap();
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let data = home.path().join("data");
        let password_file = home.path().join("password");
        fs::write(&password_file, PASSWORD).unwrap();
        let made = as_postgres(&bin.join("initdb"))
            .args(["--no-sync", "--encoding=UTF8", "--locale=C.UTF-8", "--auth-local=trust"])
            .args(["--auth-host=scram-sha-256", "--username", USER, "--pwfile"])
            .arg(&password_file)
            .arg(&data)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let file = data.join("postgresql.conf");
        let conf = fs::read_to_string(&file).unwrap();
        fs::write(&file, conf + settings).unwrap();
        write_certificate(&data);
        let rules = fs::read_to_string(data.join("pg_hba.conf")).unwrap();
        let particular = "hostssl all onlyplain all reject\nhostnossl all onlytls all reject\n";
        fs::write(data.join("pg_hba.conf"), particular.to_owned() + &rules).unwrap();
        // In the file, because `ALTER SYSTEM` cannot override an argument.
        let settings = fs::read_to_string(data.join("postgresql.conf")).unwrap();
        fs::write(data.join("postgresql.conf"), settings + "\nssl = on\n").unwrap();
        Self::launch(home, bin)
    }

    /// Starts a hot standby of `primary`.
    pub fn standby_of(primary: &Self) -> Self {
        let home = tempfile::Builder::new().prefix("holdfast-pg-").tempdir().unwrap();
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let copied = as_postgres(&primary.bin.join("pg_basebackup"))
            .args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync", "--username", USER, "--host"])
            .arg(primary.socket())
            .args(["--port", &primary.port.to_string(), "--pgdata"])
            .arg(home.path().join("data"))
            .output()
            .unwrap();
        assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
        Self::launch(home, primary.bin.clone())
    }

    fn launch(home: tempfile::TempDir, bin: PathBuf) -> Self {
        let data = home.path().join("data");
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let log = fs::File::create(home.path().join("log")).unwrap();
        let socket = home.path().to_owned();
        let postgres = bin.join("postgres");
        // The server dies with the thread that starts it, so that thread lives as long as the process.
        let (send, started) = std::sync::mpsc::channel();
        thread::spawn(move || {
            let child = as_postgres(&postgres)
                .arg("-D")
                .arg(&data)
                .args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "full_page_writes=off"])
                .args(["-c", "shared_buffers=32MB", "-c", "max_connections=30"])
                .arg("-c")
                .arg(format!("unix_socket_directories={}", socket.display()))
                .args(["-p", &port.to_string()])
                .stderr(log)
                .spawn();
            send.send(child).unwrap();
            loop {
                thread::park();
            }
        });
        let postmaster = started.recv().unwrap().unwrap();
        let cluster = Self { home, bin, port, postmaster };
        let deadline = Instant::now() + Duration::from_mins(1);
        while !cluster.command("pg_isready").args(["-q"]).status().unwrap().success() {
            assert!(
                Instant::now() < deadline,
                "{}",
                fs::read_to_string(cluster.home.path().join("log")).unwrap()
            );
            thread::sleep(Duration::from_millis(50));
        }
        cluster
    }

    /// The directory of its socket.
    pub fn socket(&self) -> &Path {
        self.home.path()
    }

    /// Makes the server's own user the owner of a directory.
    pub fn give_to_server(&self, directory: &Path) {
        let owner = fs::metadata(self.home.path().join("data")).unwrap();
        std::os::unix::fs::chown(directory, Some(owner.uid()), Some(owner.gid())).unwrap();
    }

    /// The data directory, which also has the certificate.
    pub fn data(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// Its log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap()
    }

    /// Puts a file into the data directory, readable only by the server.
    pub fn give(&self, name: &str, content: &[u8]) {
        put(&self.data(), name, content);
    }

    /// Changes a setting and waits until it is in effect.
    pub fn set(&self, setting: &str, value: &str) {
        self.psql("postgres", &format!("ALTER SYSTEM SET {setting} = '{value}'"));
        self.reload();
    }

    /// Makes it reload settings and certificate, and waits until that is done.
    pub fn reload(&self) {
        let loaded = || self.psql("postgres", "SELECT extract(epoch FROM pg_conf_load_time())");
        let before = loaded();
        self.psql("postgres", "SELECT pg_reload_conf()");
        let deadline = Instant::now() + Duration::from_secs(20);
        while loaded() == before {
            assert!(Instant::now() < deadline, "{}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
        // The session that answered may be older. A new session starts only after the server has reloaded.
        self.psql("postgres", "SELECT 1");
    }

    /// The directory of its programs.
    pub fn bin(&self) -> &Path {
        &self.bin
    }

    /// One of its programs, set to connect without a password.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("PGHOST", self.socket())
            .env("PGPORT", self.port.to_string())
            .env("PGUSER", USER)
            .env("PGDATABASE", "postgres")
            .env("LC_ALL", "C.UTF-8");
        command
    }

    /// Creates an empty database.
    pub fn create_database(&self, name: &str) {
        let quoted = name.replace('"', "\"\"");
        self.psql("postgres", &format!("CREATE DATABASE \"{quoted}\" TEMPLATE template0"));
    }

    /// The URL of a database over TCP, with the password.
    pub fn url(&self, database: &str) -> String {
        let [user, password, database] = [USER, PASSWORD, database].map(encode);
        format!("postgres://{user}:{password}@127.0.0.1:{}/{database}", self.port)
    }

    /// The URL of a database over the socket, without a password.
    pub fn socket_url(&self, database: &str) -> String {
        let [user, host, database] = [USER, self.socket().to_str().unwrap(), database].map(encode);
        format!("postgres://{user}@{host}:{}/{database}", self.port)
    }

    /// Runs SQL and returns the rows, one per line, with tabs between columns.
    pub fn psql(&self, database: &str, sql: &str) -> String {
        let mut child = self
            .command("psql")
            .env("PGDATABASE", database)
            .args(["-X", "-q", "-A", "-t", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let sql = sql.to_owned();
        let writer = thread::spawn(move || stdin.write_all(sql.as_bytes()));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Restores a custom-format archive into an existing database.
    pub fn restore(&self, archive: &Path, database: &str) {
        let output = self
            .command("pg_restore")
            .env("PGDATABASE", database)
            .args(["--exit-on-error", "--single-transaction", "--dbname="])
            .arg(archive)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // SIGQUIT stops the server and its children at once.
        let pid = self.postmaster.id().to_string();
        let _ = Command::new("kill").args(["-QUIT", &pid]).status();
        let _ = self.postmaster.wait();
    }
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// Runs a program as the user `postgres`, because PostgreSQL and PgBouncer refuse to run as root. It ends with the
/// thread that starts it.
pub fn as_postgres(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "QUIT"]);
    if rustix::process::geteuid().is_root() {
        command.args(["--reuid", "postgres", "--regid", "postgres", "--init-groups"]);
    }
    command.arg("--").arg(program).env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C.UTF-8");
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// Creates a self-signed certificate and puts it into the data directory.
fn write_certificate(data: &Path) {
    let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_text("CN", "somebody else").unwrap();
    let name = name.build();
    let mut certificate = X509::builder().unwrap();
    certificate.set_version(2).unwrap();
    certificate.set_subject_name(&name).unwrap();
    certificate.set_issuer_name(&name).unwrap();
    certificate.set_pubkey(&key).unwrap();
    certificate.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    certificate.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
    certificate.sign(&key, MessageDigest::sha256()).unwrap();
    put(data, "server.crt", &certificate.build().to_pem().unwrap());
    put(data, "server.key", &key.private_key_to_pem_pkcs8().unwrap());
}

fn put(data: &Path, name: &str, content: &[u8]) {
    let (owner, file) = (fs::metadata(data).unwrap(), data.join(name));
    fs::write(&file, content).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    std::os::unix::fs::chown(&file, Some(owner.uid()), Some(owner.gid())).unwrap();
}

/// The programs of the newest installed version.
pub fn newest_bin() -> PathBuf {
    let installed = fs::read_dir("/usr/lib/postgresql").map(|entries| {
        entries
            .flatten()
            .filter_map(|entry| {
                Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path().join("bin")))
            })
            .filter(|(_, bin)| bin.join("initdb").exists())
            .max()
    });
    match installed {
        Ok(Some((_, bin))) => bin,
        _ => panic!("no PostgreSQL server is installed: apt-get install postgresql"),
    }
}
