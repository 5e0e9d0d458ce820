//! An OpenSSH server for tests, on a loopback port, if possible with a separate account.
//!
//! As root, it runs in a mount namespace with one more line in `/etc/passwd`: an unprivileged account with a password,
//! and a small disk to fill, without changes outside the namespace. Otherwise it serves the user who runs the tests, by
//! key.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test harness")]

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

/// The account's password. Tests check that it appears nowhere.
pub const PASSWORD: &str = "c4n:ary sftp p@ss";

/// The name of the separate account.
const USER: &str = "holdfast-test";

/// The account's user id, which no real account has.
const UID: u32 = 54_321;

/// The log line of a server that is ready.
const LISTENING: &str = "Server listening on";

/// A running server.
pub struct Sshd {
    home: tempfile::TempDir,
    /// The port on 127.0.0.1.
    pub port: u16,
    listener: Option<Child>,
    extra: String,
    /// Stopped processes. After its parent has ended, a process could not be found again.
    frozen: Mutex<Vec<u32>>,
}

impl Sshd {
    /// With an Ed25519 host key.
    pub fn start() -> Self {
        Self::with("")
    }

    /// With more lines in its configuration.
    pub fn with(extra: &str) -> Self {
        let home = tempfile::Builder::new().prefix("holdfast-sshd-").tempdir().unwrap();
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(home.path().join("authorized_keys"), "").unwrap();
        for directory in ["account", "account/full"] {
            fs::create_dir(home.path().join(directory)).unwrap();
        }
        if is_caged() {
            write_accounts(home.path());
            chown(home.path().join("account"), Some(UID), Some(UID)).unwrap();
        }
        fs::write(home.path().join("odd_sftp.py"), include_str!("odd_sftp.py")).unwrap();
        fs::write(home.path().join("odd_log"), "").unwrap();
        Self::give(&home.path().join("odd_log"));
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let extra = extra.replace("{home}", &home.path().display().to_string());
        let mut sshd = Self { home, port, listener: None, extra, frozen: Mutex::default() };
        sshd.serve(&["ed25519"]);
        sshd
    }

    /// With an SFTP server that misbehaves according to `switches`: see `odd_sftp.py`.
    pub fn odd(switches: &str) -> Self {
        let serve = "python3 {home}/odd_sftp.py {home}/account also={home}/odd_switches log={home}/odd_log";
        Self::with(&format!("Subsystem sftp {serve} {switches}\n"))
    }

    /// With a `sh` script that runs before SFTP. `exec "$@"` in it starts SFTP.
    pub fn scripted(script: &str) -> Self {
        let serve = "python3 {home}/odd_sftp.py {home}/account log={home}/odd_log";
        let sshd = Self::with(&format!("Subsystem sftp sh {{home}}/start-up {serve}\n"));
        sshd.script(script);
        sshd
    }

    /// Replaces the script, from the next connection on.
    pub fn script(&self, script: &str) {
        fs::write(self.home.path().join("start-up"), script).unwrap();
    }

    /// More switches for the misbehaving server, from the next connection on; none if empty.
    pub fn misbehave(&self, switches: &str) {
        fs::write(self.home.path().join("odd_switches"), switches).unwrap();
    }

    /// The requests that the misbehaving server got, one a line, without those for data.
    pub fn requests(&self) -> Vec<String> {
        let log = fs::read_to_string(self.home.path().join("odd_log")).unwrap();
        log.lines().map(str::to_owned).collect()
    }

    /// Whether there is an account with a password, and a disk to fill.
    pub fn has_password() -> bool {
        is_caged()
    }

    /// Restarts the server with these host keys, which closes all connections.
    pub fn serve(&mut self, host_keys: &[&str]) {
        self.stop();
        let home = self.home.path().to_owned();
        for kind in host_keys {
            let key = home.join(format!("host_{kind}"));
            if !key.exists() {
                // "other" is a second Ed25519 key.
                keygen(&key, if *kind == "other" { "ed25519" } else { kind }, "", "");
            }
        }
        let keys: Vec<_> =
            host_keys.iter().map(|kind| format!("HostKey {}/host_{kind}", home.display())).collect();
        let keys = keys.join("\n");
        let sftp = if self.extra.contains("Subsystem") {
            String::new()
        } else {
            format!("Subsystem sftp internal-sftp -d {}/account\n", home.display())
        };
        let config = format!(
            "{}{keys}\nListenAddress 127.0.0.1\nPort {}\nPidFile none\nUsePAM no\nStrictModes no\n\
             AuthorizedKeysFile {}/authorized_keys\nLogLevel DEBUG1\nMaxStartups 100\nMaxSessions 100\n\
             PermitRootLogin yes\nPermitUserEnvironment no\n{}",
            self.extra,
            self.port,
            home.display(),
            sftp
        );
        fs::write(home.join("config"), config).unwrap();
        let serve = format!("exec /usr/sbin/sshd -D -f {0}/config -E {0}/log", home.display());
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]);
        if is_caged() {
            let script = format!(
                "mount --bind {0}/passwd /etc/passwd && mount --bind {0}/shadow /etc/shadow && \
                 mount -t tmpfs none /run && mkdir -m 755 /run/sshd && \
                 mount -t tmpfs -o size=2m,mode=777 none {0}/account/full && \
                 mount -t tmpfs -o mode=755 none /mnt && mkdir /mnt/backups && chown {UID} /mnt/backups && {serve}",
                home.display()
            );
            command.args(["unshare", "--mount", "--propagation", "private", "sh", "-c", &script]);
        } else {
            // sshd needs this directory only if it runs as root.
            command.args(["sh", "-c", &format!("mkdir -p -m 755 /run/sshd 2>/dev/null; {serve}")]);
        }
        let started = self.log().matches(LISTENING).count();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let listener = self.listener.insert(child);
        // Wait for its log line, because a connection from a port to itself can succeed although nobody listens.
        let deadline = Instant::now() + Duration::from_secs(20);
        let log = home.join("log");
        while fs::read_to_string(&log).unwrap_or_default().matches(LISTENING).count() == started {
            let ended = listener.try_wait().unwrap();
            let words = fs::read_to_string(&log).unwrap_or_default();
            assert!(ended.is_none() && Instant::now() < deadline, "no SSH server: {ended:?} {words}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Kills the server and the processes of its connections.
    pub fn stop(&mut self) {
        self.thaw();
        if let Some(mut listener) = self.listener.take() {
            let mut all = descendants(listener.id());
            all.push(listener.id());
            signal("KILL", &all);
            listener.wait().unwrap();
        }
    }

    /// Kills the processes of connections, as if the server lost power.
    pub fn kill_sessions(&self) {
        signal("KILL", &self.sessions());
    }

    /// Stops all its processes (SIGSTOP), as if the server hung.
    pub fn freeze(&self) {
        let mut all = self.sessions();
        all.push(self.listener.as_ref().unwrap().id());
        signal("STOP", &all);
        self.frozen.lock().unwrap().extend(all);
    }

    /// Continues the stopped processes.
    pub fn thaw(&self) {
        signal("CONT", &std::mem::take(&mut *self.frozen.lock().unwrap()));
    }

    /// The processes that serve connections.
    pub fn sessions(&self) -> Vec<u32> {
        descendants(self.listener.as_ref().unwrap().id())
    }

    /// Authorizes a key: a line for `authorized_keys`.
    pub fn authorize(&self, public_line: &str) {
        let path = self.home.path().join("authorized_keys");
        fs::write(&path, fs::read_to_string(&path).unwrap() + public_line.trim() + "\n").unwrap();
    }

    /// A public host key in the format of `/etc/ssh`.
    pub fn host_key(&self, kind: &str) -> String {
        fs::read_to_string(self.home.path().join(format!("host_{kind}.pub"))).unwrap()
    }

    /// The server's log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }

    /// Number of login attempts.
    pub fn attempts(&self) -> usize {
        self.log().matches("userauth-request for user").count()
    }

    /// The account's home directory.
    pub fn account(&self) -> PathBuf {
        self.home.path().join("account")
    }

    /// The server's directory, with its keys.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The account's name.
    pub fn user() -> String {
        if is_caged() {
            return USER.to_owned();
        }
        let named = Command::new("id").arg("-un").output().unwrap().stdout;
        String::from_utf8(named).unwrap().trim().to_owned()
    }

    /// Makes the account the owner of a path.
    pub fn give(path: &Path) {
        if is_caged() {
            chown(path, Some(UID), Some(UID)).unwrap();
        }
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Makes a key with ssh-keygen. `form` is the argument of `-m`; empty means OpenSSH's format.
pub fn keygen(path: &Path, kind: &str, passphrase: &str, form: &str) {
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-t", kind, "-N", passphrase, "-C", "test", "-f"]).arg(path);
    if kind == "rsa" {
        command.args(["-b", "2048"]);
    }
    if !form.is_empty() {
        command.args(["-m", form]);
    }
    let made = command.stdin(Stdio::null()).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// Whether the server runs in its own mount namespace, which not every root user may create.
fn is_caged() -> bool {
    static CAGED: OnceLock<bool> = OnceLock::new();
    *CAGED.get_or_init(|| {
        let tried = Command::new("unshare").args(["-m", "mount", "-t", "tmpfs", "none", "/mnt"]).output();
        rustix::process::geteuid().is_root() && tried.is_ok_and(|tried| tried.status.success())
    })
}

fn write_accounts(home: &Path) {
    let hashed = Command::new("openssl").args(["passwd", "-6", PASSWORD]).output().unwrap();
    let hash = String::from_utf8(hashed.stdout).unwrap();
    let account = format!("{USER}:x:{UID}:{UID}::{}/account:/bin/sh\n", home.display());
    let passwd = fs::read_to_string("/etc/passwd").unwrap() + &account;
    let shadow =
        fs::read_to_string("/etc/shadow").unwrap() + &format!("{USER}:{}:19000::::::\n", hash.trim());
    fs::write(home.join("passwd"), passwd).unwrap();
    fs::write(home.join("shadow"), shadow).unwrap();
    fs::set_permissions(home.join("shadow"), fs::Permissions::from_mode(0o600)).unwrap();
}

/// All descendants of a process.
fn descendants(pid: u32) -> Vec<u32> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(child) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // `pid (name) state parent …`, and the name may hold anything.
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let parent =
            stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)?.parse::<u32>().ok());
        parents.extend(parent.map(|parent| (child, parent)));
    }
    let mut found = vec![pid];
    let mut at = 0;
    while at < found.len() {
        let parent = found[at];
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(child, _)| *child));
        at += 1;
    }
    found.split_off(1)
}

fn signal(name: &str, processes: &[u32]) {
    if processes.is_empty() {
        return;
    }
    let numbers = processes.iter().map(u32::to_string);
    let _ =
        Command::new("kill").arg(format!("-{name}")).arg("--").args(numbers).stderr(Stdio::null()).status();
}
