//! Explains why a connection to a PostgreSQL server failed, and what to do about it.

use crate::domain::engines::postgres::database::Postgres;
use crate::domain::engines::postgres::fault::{Fault, late};
use crate::domain::engines::postgres::parameters::{Methods, Parameters, SslMode};
use crate::domain::engines::postgres::server::Endpoint;
use std::error::Error as _;
use std::io;
use tokio_postgres::error::SqlState;

impl Postgres {
    /// Explains a failed connection.
    pub(super) fn explain_fault(&self, fault: &Fault, endpoint: &Endpoint) -> String {
        let user = &self.server.user;
        match fault {
            Fault::Dial(error) => explain_system(error, endpoint)
                .unwrap_or_else(|| format!("{endpoint} cannot be used ({error}). Check host and port.")),
            Fault::Late(wait) => late(&endpoint.to_string(), *wait),
            Fault::Odd(what) => format!("{endpoint} cannot be used ({what}). Check host and port."),
            Fault::NoTls => format!(
                "the server at {endpoint} does not support TLS, and sslmode={} requires it. Nothing was \
                 sent. Enable TLS at the server (ssl = on).",
                self.server.parameters.mode().name()
            ),
            Fault::Tls(sentence) => sentence.clone(),
            Fault::Unwelcome(asked) => unwelcome(*asked, endpoint, &self.server.parameters),
            Fault::Unsuited(wanted) => format!(
                "the server at {endpoint} does not match target_session_attrs={}. List the other servers in \
                 the URL, separated by commas.",
                wanted.name()
            ),
            Fault::Lent => format!(
                "{endpoint} is a connection pooler in transaction mode (such as PgBouncer), which spreads \
                 one client's statements over several sessions, so backup and restore cannot work through \
                 it. Use the server's own port in the URL, or a pool in session mode."
            ),
            Fault::Said(error, tls) => {
                let said = self.explain_at(error, &endpoint.to_string(), Some(endpoint));
                let parameters = &self.server.parameters;
                let refused = error.code() == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION);
                if *tls && refused && parameters.says_nothing_of_tls() {
                    return format!(
                        "{said} Holdfast does not retry without TLS; to allow {user} to connect without \
                         TLS, write ?sslmode=disable."
                    );
                }
                said
            }
        }
    }

    /// Explains a failed query, with the next step.
    pub(crate) fn explain(&self, error: &tokio_postgres::Error) -> String {
        let socket = self.server.hosts.first().filter(|endpoint| endpoint.is_socket());
        self.explain_at(error, &self.server.place(), socket)
    }

    fn explain_at(&self, error: &tokio_postgres::Error, place: &str, endpoint: Option<&Endpoint>) -> String {
        let (user, database) = (&self.server.user, &self.server.database);
        let setting = self.setting;
        if let Some(answer) = error.as_db_error() {
            let said = answer.message();
            return match answer.code() {
                code if *code == SqlState::INVALID_PASSWORD => format!(
                    "the server at {place} rejected the password of {user}. Correct it in {setting}; \
                     percent-encode special characters."
                ),
                code if *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION => format!(
                    "the server at {place} does not allow {user} to log in: {said}. Check the role's name \
                     and the server's pg_hba.conf."
                ),
                code if *code == SqlState::INVALID_CATALOG_NAME => format!(
                    "the server at {place} has no database {database:?}. Correct the name in {setting}, \
                     or create the database."
                ),
                code if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
                    format!("the role {user} lacks a right: {said}. Grant it CONNECT and SELECT.")
                }
                code if *code == SqlState::TOO_MANY_CONNECTIONS => format!(
                    "the server at {place} accepts no more connections: {said}. Try again later, or raise \
                     max_connections."
                ),
                code if *code == SqlState::CANNOT_CONNECT_NOW => {
                    format!("the server at {place} is not ready: {said}. Try again in a moment.")
                }
                // PgBouncer's own errors, sent with the code for a protocol violation.
                _ if said.starts_with("no such database") => format!(
                    "the connection pooler at {place} does not know a database {database:?}. Add the \
                     database to the pooler's settings ([databases] in pgbouncer.ini), or use the server's \
                     own port in the URL."
                ),
                _ if said.contains("startup parameter") => format!(
                    "the connection pooler at {place} answered: {said}. Use the server's own port in the URL."
                ),
                _ => format!("the server at {place} answered: {said}."),
            };
        }
        let causes = || std::iter::successors(error.source(), |&cause| cause.source());
        let cause = causes().last();
        let system = causes().find_map(|cause| cause.downcast_ref::<io::Error>());
        if let Some(said) = system.zip(endpoint).and_then(|(error, endpoint)| explain_system(error, endpoint))
        {
            return said;
        }
        match cause {
            _ if self.server.password.is_none() && error.to_string().contains("configuration") => format!(
                "the server at {place} asks for the password of {user}, and none is set. Add it to \
                 {setting}: postgres://{user}:password@…"
            ),
            Some(cause) if cause.to_string().contains("channel binding") => format!(
                "the server at {place} does not support channel binding, and channel_binding=require \
                 demands it. The password was not sent. Store the role's password for SCRAM, and connect to \
                 the server over TLS without a pooler in between."
            ),
            // With TLS 1.3 the server rejects our certificate only after the handshake.
            Some(cause) if cause.to_string().contains("alert certificate required") => format!(
                "the server at {place} asks for a client certificate. Name one in the URL: \
                 sslcert=/path/to/client.crt&sslkey=/path/to/client.key"
            ),
            Some(cause) if cause.to_string().contains("alert") => {
                format!("the server at {place} aborted TLS ({cause}). Check sslcert and sslkey in {setting}.")
            }
            Some(cause) => format!("{place} cannot be used ({error}: {cause}). Check host and port."),
            None => format!("{place} cannot be used ({error}). Check host and port."),
        }
    }
}

fn unwelcome(asked: Methods, endpoint: &Endpoint, parameters: &Parameters) -> String {
    let what = match asked {
        Methods::PASSWORD => "the password in clear text",
        Methods::MD5 => "the password as an MD5 hash, which is as good as the password",
        Methods::NONE => "no password at all",
        _ => "a login method that is not allowed",
    };
    if parameters.require_auth.is_some() {
        return format!(
            "the server at {endpoint} asks for {what}, and require_auth in the URL does not allow that. No \
             password was sent."
        );
    }
    let because = match parameters.mode() {
        SslMode::Require => "sslmode=require does not verify the server's identity",
        _ => "nothing verifies the server's identity",
    };
    format!(
        "the server at {endpoint} asks for {what}, and {because}, so none was sent. Use sslmode=verify-full; or store \
         the role's password for SCRAM (SET password_encryption = 'scram-sha-256', then ALTER ROLE … PASSWORD …); or \
         allow it by adding require_auth={asked} to the URL."
    )
}

fn explain_system(error: &io::Error, endpoint: &Endpoint) -> Option<String> {
    let Endpoint { host, port } = endpoint;
    Some(match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            format!("nothing listens at {endpoint}. Start PostgreSQL, or correct host and port.")
        }
        io::ErrorKind::NotFound if endpoint.is_socket() => format!(
            "there is no PostgreSQL socket in {host} for port {port}. Start PostgreSQL, or correct the directory."
        ),
        io::ErrorKind::PermissionDenied if endpoint.is_socket() => {
            format!(
                "Holdfast's user may not use the PostgreSQL socket in {host}. Give this user access to \
                 the directory."
            )
        }
        _ => return None,
    })
}
