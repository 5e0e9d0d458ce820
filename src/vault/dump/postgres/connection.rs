//! Connecting to a PostgreSQL server: this program's own connections, the environment of the tools', and what a
//! failure of either means.

use super::super::Cancel;
use super::super::child::redact;
use super::super::target::Server;
use super::passfile::Passfile;
use super::tools::environment;
use super::{ANSWER, Postgres};
use crate::vault::egress::{Checked, Refusal};
use crate::vault::error::{Result, VaultError};
use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};
use postgres_openssl::MakeTlsConnector;
use secrecy::ExposeSecret;
use std::error::Error as _;
use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::time::Duration;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;

impl Postgres {
    /// Looks the server up and makes sure that it may be connected to. All of one piece of work, this program's
    /// part and the tools', goes by one such answer.
    pub(in crate::vault) fn way(&self, timeout: Duration, cancel: &Cancel) -> Result<Checked> {
        let Server { host, port, .. } = &self.server;
        if host.starts_with('/') {
            return Ok(Checked::local());
        }
        self.tools.egress.check(host, *port, timeout, cancel).map_err(|refusal| match refusal {
            Refusal::Cancelled => VaultError::Cancelled,
            refusal => VaultError::Unreachable {
                database: self.name.clone(),
                reason: redact(&refusal.to_string(), &self.secrets()),
            },
        })
    }

    /// A connection to it by the way that was checked, encrypted where the server offers that.
    pub(in crate::vault) async fn client(
        &self,
        way: &Checked,
    ) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
        match self.connect(way, SslMode::Prefer).await {
            // As libpq does with `prefer`: a server that will not have us encrypted is asked without.
            Err(error)
                if error.code() == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION)
                    || is_of_tls(&error) =>
            {
                self.connect(way, SslMode::Disable).await.map_err(|_| error)
            }
            outcome => outcome,
        }
    }

    async fn connect(
        &self,
        way: &Checked,
        ssl: SslMode,
    ) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
        let Server { user, password, host, port, database } = &self.server;
        let mut config = tokio_postgres::Config::new();
        config.user(user).port(*port).dbname(database).application_name("holdfast").ssl_mode(ssl);
        config.options("-c statement_timeout=10s").connect_timeout(ANSWER);
        if host.starts_with('/') {
            config.host_path(host);
        }
        // The host is only what the server is called; without an address beside it, it would be looked up anew.
        for address in way.addresses() {
            config.host(host).hostaddr(address.ip());
        }
        if let Some(password) = password {
            config.password(password.expose_secret());
        }
        let Ok(mut tls) = SslConnector::builder(SslMethod::tls_client()) else {
            let (client, connection) =
                config.ssl_mode(SslMode::Disable).connect(tokio_postgres::NoTls).await?;
            tokio::spawn(connection);
            return Ok(client);
        };
        // `prefer` encrypts where the server offers it and proves nothing about who it is.
        tls.set_verify(SslVerifyMode::NONE);
        let mut tls = MakeTlsConnector::new(tls.build());
        tls.set_callback(|connection, _| {
            connection.set_verify_hostname(false);
            Ok(())
        });
        let (client, connection) = config.connect(tls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// A failed conversation in the reader's words, with the next step.
    pub(in crate::vault) fn explain(&self, error: &tokio_postgres::Error) -> String {
        let Server { user, database, host, .. } = &self.server;
        let (place, setting) = (self.place(), self.setting);
        if let Some(answer) = error.as_db_error() {
            let said = answer.message();
            return match answer.code() {
                code if *code == SqlState::INVALID_PASSWORD => format!(
                    "the server at {place} refused the password of {user}. Correct it in {setting}, \
                     special characters percent-encoded."
                ),
                code if *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION => format!(
                    "the server at {place} does not let {user} in: {said}. Check the role's name and the \
                     server's pg_hba.conf."
                ),
                code if *code == SqlState::INVALID_CATALOG_NAME => format!(
                    "the server at {place} has no database {database:?}. Correct the name in {setting}, \
                     or make the database."
                ),
                code if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
                    format!("the role {user} may not do this: {said}. Grant it CONNECT and SELECT.")
                }
                code if *code == SqlState::TOO_MANY_CONNECTIONS => format!(
                    "the server at {place} takes no more connections: {said}. Try again later, or raise \
                     max_connections."
                ),
                code if *code == SqlState::CANNOT_CONNECT_NOW => {
                    format!("the server at {place} is not ready: {said}. Try again in a moment.")
                }
                _ => format!("the server at {place} answered: {said}."),
            };
        }
        let causes = || std::iter::successors(error.source(), |&cause| cause.source());
        let cause = causes().last();
        let system = causes().find_map(|cause| cause.downcast_ref::<io::Error>());
        match system.map(io::Error::kind) {
            Some(io::ErrorKind::ConnectionRefused) => {
                format!("nothing listens at {place}. Start PostgreSQL, or correct host and port.")
            }
            Some(io::ErrorKind::NotFound) if host.starts_with('/') => format!(
                "there is no PostgreSQL socket in {host} for port {}. Start PostgreSQL, or correct the \
                 directory.",
                self.server.port
            ),
            Some(io::ErrorKind::PermissionDenied) => {
                format!(
                    "this user may not use the PostgreSQL socket in {host}. Give it access to the directory."
                )
            }
            _ if self.server.password.is_none() && error.to_string().contains("configuration") => format!(
                "the server at {place} asks for the password of {user}, and none is set. Put it into \
                 {setting}: postgres://{user}:password@…"
            ),
            _ => match cause {
                Some(cause) => format!("{place} cannot be used ({error}: {cause}). Check host and port."),
                None => format!("{place} cannot be used ({error}). Check host and port."),
            },
        }
    }

    /// What a failed conversation means for whoever wanted this database.
    pub(in crate::vault) fn unreachable(&self, error: &tokio_postgres::Error) -> VaultError {
        let reason = redact(&self.explain(error), &self.secrets());
        VaultError::Unreachable { database: self.name.clone(), reason }
    }

    /// Its password for one of the tools.
    pub(in crate::vault) fn passfile(&self) -> Result<Passfile> {
        Passfile::new(&self.tools.run_dir, &self.server)
    }

    /// The environment in which one of the tools connects to this database, by the way that was checked.
    pub(in crate::vault) fn environment(
        &self,
        tool: &Path,
        passfile: &Passfile,
        way: &Checked,
    ) -> Vec<(&'static str, OsString)> {
        let Server { user, host, port, database, .. } = &self.server;
        let mut env = environment(tool);
        // libpq takes as many names as addresses, dials the addresses and looks no name up.
        let addresses: Vec<_> = way.addresses().iter().map(|address| address.ip().to_string()).collect();
        if !addresses.is_empty() {
            env.push(("PGHOSTADDR", addresses.join(",").into()));
        }
        env.extend([
            ("PGHOST", vec![host.as_str(); addresses.len().max(1)].join(",").into()),
            ("PGPORT", port.to_string().into()),
            ("PGUSER", user.into()),
            // Unlike --dbname, never taken for a whole connection string.
            ("PGDATABASE", database.into()),
            ("PGPASSFILE", passfile.path.clone().into()),
            ("PGSSLMODE", "prefer".into()),
            ("PGGSSENCMODE", "disable".into()),
            ("PGCONNECT_TIMEOUT", "10".into()),
            ("PGAPPNAME", "holdfast".into()),
            ("PGOPTIONS", "-c statement_timeout=0 -c lock_timeout=30s".into()),
            ("PGSERVICEFILE", "/dev/null".into()),
            ("PGSYSCONFDIR", "/dev/null".into()),
        ]);
        env
    }

    pub(super) fn place(&self) -> String {
        let Server { host, port, .. } = &self.server;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

fn is_of_tls(error: &tokio_postgres::Error) -> bool {
    error.as_db_error().is_none() && error.to_string().contains("TLS")
}
