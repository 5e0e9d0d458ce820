//! Why a PostgreSQL server was not connected to, in the reader's words, with the next step.

use crate::domain::engines::postgres::database::Postgres;
use crate::domain::engines::postgres::fault::{Fault, late};
use crate::domain::engines::postgres::parameters::{Methods, Parameters, SslMode};
use crate::domain::engines::postgres::server::Endpoint;
use std::error::Error as _;
use std::io;
use tokio_postgres::error::SqlState;

impl Postgres {
    /// A failed connection in the reader's words.
    pub(super) fn explain_fault(&self, fault: &Fault, endpoint: &Endpoint) -> String {
        let user = &self.server.user;
        match fault {
            Fault::Dial(error) => explain_system(error, endpoint)
                .unwrap_or_else(|| format!("{endpoint} cannot be used ({error}). Check host and port.")),
            Fault::Late(wait) => late(&endpoint.to_string(), *wait),
            Fault::Odd(what) => format!("{endpoint} cannot be used ({what}). Check host and port."),
            Fault::NoTls => format!(
                "the server at {endpoint} has no TLS, and sslmode={} asks for it. Nothing was sent. Turn it on at the \
                 server (ssl = on).",
                self.server.parameters.mode().name()
            ),
            Fault::Tls(sentence) => sentence.clone(),
            Fault::Unwelcome(asked) => unwelcome(*asked, endpoint, &self.server.parameters),
            Fault::Unsuited(wanted) => format!(
                "{endpoint} is not what target_session_attrs={} asks for. Name the other servers in the URL, with \
                 commas between.",
                wanted.name()
            ),
            Fault::Lent => format!(
                "{endpoint} is a connection pooler in transaction mode (such as PgBouncer), which spreads one client's \
                 statements over several sessions, so nothing can be backed up or restored through it. Use the server's \
                 own port in the URL, or a pool in session mode."
            ),
            Fault::Said(error, tls) => {
                let said = self.explain_at(error, &endpoint.to_string(), Some(endpoint));
                let parameters = &self.server.parameters;
                let refused = error.code() == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION);
                if *tls && refused && parameters.says_nothing_of_tls() {
                    return format!(
                        "{said} Holdfast does not try again without TLS; where {user} is to be let in so, write \
                         ?sslmode=disable."
                    );
                }
                said
            }
        }
    }

    /// A failed conversation in the reader's words, with the next step.
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
                // What PgBouncer says of itself, under the code of a broken protocol.
                _ if said.starts_with("no such database") => format!(
                    "the connection pooler at {place} passes on no database {database:?}. Name the database in the \
                     pooler's settings ([databases] of pgbouncer.ini), or use the server's own port in the URL."
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
                "the server at {place} asks for the password of {user}, and none is set. Put it into \
                 {setting}: postgres://{user}:password@…"
            ),
            Some(cause) if cause.to_string().contains("channel binding") => format!(
                "the server at {place} cannot tie the password's proof to its certificate, and channel_binding=require \
                 asks for it. Nothing of the password was sent. The role's password has to be stored for SCRAM, and the \
                 server reached over TLS without a pooler between."
            ),
            // With TLS 1.3 the server's verdict on our certificate comes after all else.
            Some(cause) if cause.to_string().contains("alert certificate required") => format!(
                "the server at {place} asks for a certificate of this side. Name one in the URL: \
                 sslcert=/path/of/it.crt&sslkey=/path/of/its.key"
            ),
            Some(cause) if cause.to_string().contains("alert") => format!(
                "the server at {place} broke TLS off ({cause}). Check sslcert and sslkey in {setting}."
            ),
            Some(cause) => format!("{place} cannot be used ({error}: {cause}). Check host and port."),
            None => format!("{place} cannot be used ({error}). Check host and port."),
        }
    }
}

fn unwelcome(asked: Methods, endpoint: &Endpoint, parameters: &Parameters) -> String {
    let what = match asked {
        Methods::PASSWORD => "the password in clear text",
        Methods::MD5 => "the password as an MD5 sum, which serves whoever has it",
        Methods::NONE => "no proof of who this is",
        _ => "another proof than the one that is allowed",
    };
    if parameters.require_auth.is_some() {
        return format!(
            "the server at {endpoint} asks for {what}, and require_auth in the URL does not name that. No password was \
             sent."
        );
    }
    let because = match parameters.mode() {
        SslMode::Require => "sslmode=require proves nothing of who the server is",
        _ => "nothing proves that it is the right server",
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
            format!("this user may not use the PostgreSQL socket in {host}. Give it access to the directory.")
        }
        _ => return None,
    })
}
