//! A PgBouncer for tests, with default settings except those that a test changes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test harness")]

use super::postgres::{Cluster, PASSWORD, USER, as_postgres};
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

/// A running pooler.
pub struct PgBouncer {
    _home: tempfile::TempDir,
    /// The port on 127.0.0.1.
    pub port: u16,
    process: Child,
}

impl PgBouncer {
    /// Starts a pooler for `databases` of `cluster`, such as `*` or `shop`. `settings` are further configuration lines.
    pub fn before(cluster: &Cluster, databases: &[&str], settings: &str) -> Self {
        let home = tempfile::Builder::new().prefix("holdfast-pgbouncer-").tempdir().unwrap();
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let at = |name: &str| home.path().join(name);
        let line = |name: &&str| format!("{name} = host=127.0.0.1 port={}", cluster.port);
        let databases = databases.iter().map(line).collect::<Vec<_>>().join("\n");
        fs::write(
            at("pgbouncer.ini"),
            format!(
                "[databases]\n{databases}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
                 auth_type = scram-sha-256\nauth_file = {}\nunix_socket_dir =\n{settings}\n",
                at("users").display()
            ),
        )
        .unwrap();
        fs::write(at("users"), format!("\"{USER}\" \"{}\"\n", PASSWORD.replace('"', "\"\""))).unwrap();
        for name in ["pgbouncer.ini", "users"] {
            fs::set_permissions(at(name), fs::Permissions::from_mode(0o644)).unwrap();
        }
        let log = fs::File::create(at("log")).unwrap();
        let ini = at("pgbouncer.ini");
        // The pooler dies with the thread that starts it, so that thread lives as long as the process.
        let (send, started) = std::sync::mpsc::channel();
        thread::spawn(move || {
            send.send(as_postgres("/usr/sbin/pgbouncer".as_ref()).arg(ini).stderr(log).spawn()).unwrap();
            loop {
                thread::park();
            }
        });
        let process = match started.recv().unwrap() {
            Ok(process) => process,
            Err(error) => panic!("no PgBouncer is installed ({error}): apt-get install pgbouncer"),
        };
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "{}", fs::read_to_string(at("log")).unwrap());
            thread::sleep(Duration::from_millis(20));
        }
        Self { _home: home, port, process }
    }

    /// The URL of a database through the pooler.
    pub fn url(&self, cluster: &Cluster, database: &str) -> String {
        cluster.url(database).replace(&format!(":{}/", cluster.port), &format!(":{}/", self.port))
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
