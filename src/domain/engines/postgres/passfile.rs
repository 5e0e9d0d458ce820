//! Password files for libpq: one per run, readable by this user only.

use crate::domain::engines::postgres::server::{Endpoint, Server};
use crate::domain::error::{Error, Result};
use crate::domain::random;
use rustix::fs::{FlockOperation, flock};
use secrecy::{ExposeSecret, SecretString};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The prefix of password files' names.
pub(super) const PASSFILE: &str = "pgpass-";

/// A password file, readable by this user only and removed when this value is dropped.
pub(crate) struct Passfile {
    pub(super) path: PathBuf,
    /// Locked while in use, so that a sweep leaves it alone.
    _lock: File,
}

impl Passfile {
    pub(super) fn new(run_dir: &Path, server: &Server, hosts: &[Endpoint]) -> Result<Self> {
        let unusable = |source| Error::Directory { role: "run directory", path: run_dir.to_owned(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(run_dir).map_err(unusable)?;
        if fs::metadata(run_dir).map_err(unusable)?.mode() & 0o077 != 0 {
            fs::set_permissions(run_dir, Permissions::from_mode(0o700)).map_err(unusable)?;
        }
        loop {
            let path = run_dir.join(format!("{PASSFILE}{}", random::hex::<8>()?));
            let failed = |error| Error::file("Writing", &path, error);
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
            let passfile = Self { path: path.clone(), _lock: file.try_clone().map_err(failed)? };
            flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|error| failed(error.into()))?;
            let found = file.metadata().map_err(failed)?;
            if found.nlink() == 0 {
                // Another process swept it before it was locked.
                continue;
            }
            // libpq ignores a file that others can read, and its error would not say so.
            if found.mode() & 0o077 != 0 {
                let error = io::Error::other("this file system does not support private files");
                return Err(Error::File { doing: "Writing", path, source: error });
            }
            file.write_all(passlines(server, hosts).expose_secret().as_bytes()).map_err(failed)?;
            return Ok(passfile);
        }
    }
}

impl Drop for Passfile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, path = %self.path.display(), "a password file could not be removed");
        }
    }
}

/// A field, escaped for a password file.
pub(super) fn escaped(field: &str) -> String {
    field.replace('\\', "\\\\").replace(':', "\\:")
}

/// The lines of the password file: none without a password. They name the servers and the database exactly,
/// so that a client that is redirected elsewhere has no password to give away.
fn passlines(server: &Server, hosts: &[Endpoint]) -> SecretString {
    let Server { user, password, database, .. } = server;
    let Some(password) = password else { return SecretString::default() };
    let mut lines = String::new();
    for endpoint in hosts {
        let Endpoint { host, port } = endpoint;
        // libpq looks up its default socket directory as `localhost`.
        for host in [Some(host.as_str()), endpoint.is_socket().then_some("localhost")].into_iter().flatten() {
            let fields = [host, &port.to_string(), database, user, password.expose_secret()].map(escaped);
            lines += &fields.join(":");
            lines.push('\n');
        }
    }
    lines.into()
}

#[cfg(test)]
mod tests {
    use crate::domain::engines::postgres::parameters::Parameters;
    use crate::domain::engines::postgres::passfile::*;
    use crate::domain::engines::postgres::tools::PostgresTools;
    use std::ffi::OsString;

    fn server(host: &str, password: &str) -> Server {
        Server {
            user: "u:\\".into(),
            password: Some(password.into()),
            hosts: vec![Endpoint { host: host.into(), port: 5432 }, Endpoint { host: "b".into(), port: 1 }],
            database: "d".into(),
            parameters: Parameters::default(),
        }
    }

    #[test]
    fn a_password_line_names_one_server_and_escapes_its_separators() {
        let lines = |host, password| {
            let server = server(host, password);
            passlines(&server, &server.hosts[..1]).expose_secret().to_owned()
        };
        assert_eq!(lines("::1", "a:b\\c"), "\\:\\:1:5432:d:u\\:\\\\:a\\:b\\\\c\n");
        assert_eq!(
            lines("/run/postgresql", "x"),
            "/run/postgresql:5432:d:u\\:\\\\:x\nlocalhost:5432:d:u\\:\\\\:x\n"
        );
        let two = server("h", "x");
        assert_eq!(passlines(&two, &two.hosts).expose_secret(), "h:5432:d:u\\:\\\\:x\nb:1:d:u\\:\\\\:x\n");
        assert_eq!(passlines(&Server { password: None, ..server("h", "") }, &two.hosts).expose_secret(), "");
    }

    #[test]
    fn a_password_file_is_private_and_goes_with_its_owner() {
        let home = tempfile::tempdir().unwrap();
        let tools = PostgresTools::new(None, home.path().join("deep/run"), OsString::new());
        let dir = &tools.run_dir;
        tools.sweep_run_dir().unwrap();
        let server = server("h", "x");
        let passfile = Passfile::new(dir, &server, &server.hosts).unwrap();
        assert_eq!(fs::metadata(dir).unwrap().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(&passfile.path).unwrap().mode() & 0o777, 0o600);
        fs::write(dir.join("pgpass-of-the-dead"), "x").unwrap();
        fs::write(dir.join("other"), "x").unwrap();
        tools.sweep_run_dir().unwrap();
        assert!(
            passfile.path.exists() && dir.join("other").exists() && !dir.join("pgpass-of-the-dead").exists()
        );
        drop(passfile);
        assert_eq!(fs::read_dir(dir).unwrap().count(), 1);
        fs::set_permissions(dir, Permissions::from_mode(0o755)).unwrap();
        Passfile::new(dir, &server, &server.hosts).unwrap();
        assert_eq!(fs::metadata(dir).unwrap().mode() & 0o777, 0o700);
    }
}
