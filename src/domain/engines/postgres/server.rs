//! A PostgreSQL server, or several that serve the same database, as read from a URL.

use crate::domain::engines::postgres::encoding::text;
use crate::domain::engines::postgres::parameters::Parameters;
use crate::domain::engines::url::decode;
use crate::model::EngineKind;
use secrecy::SecretString;
use std::fmt;

/// What manifests call PostgreSQL.
pub const KIND: EngineKind = EngineKind::new("postgresql");
/// The most hosts in one URL.
const MOST_HOSTS: usize = 16;

/// A database on a PostgreSQL server. Neither `Debug` nor `Display` shows the password.
#[derive(Debug, Clone)]
pub struct Server {
    /// The role to log in as.
    pub user: String,
    /// Its password, if given.
    pub password: Option<SecretString>,
    /// The hosts, at least one; the first suitable one is used.
    pub hosts: Vec<Endpoint>,
    /// The database's name on the server.
    pub database: String,
    /// How to connect.
    pub parameters: Parameters,
}

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// A host name, an address without brackets, or the directory of a socket.
    pub host: String,
    /// The port, which is also in the socket's name.
    pub port: u16,
}

impl Endpoint {
    /// Whether it is a socket directory on this machine.
    pub fn is_socket(&self) -> bool {
        self.host.starts_with('/')
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl Server {
    /// Host and port of each server.
    pub fn place(&self) -> String {
        let hosts: Vec<_> = self.hosts.iter().map(ToString::to_string).collect();
        hosts.join(",")
    }

    /// Reads `user[:password]@host[:port][,host[:port]…]/database[?parameters]`.
    pub(crate) fn parse(rest: &str) -> Result<Self, String> {
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = rest.split_once('/').ok_or(
            "it names no database; write postgres://user:password@host/database, and percent-encode any / or ? in \
             the password",
        )?;
        // Splits at the last @: one inside the password is easily left unencoded, and no host contains one.
        let (login, place) = authority.rsplit_once('@').ok_or(
            "it names no user before an `@`; write postgres://user:password@host/database, and percent-encode any \
             / ? # @ : % in the password",
        )?;
        let (user, password) = match login.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (login, None),
        };
        let hosts = place.split(',').map(endpoint).collect::<Result<Vec<_>, _>>()?;
        if hosts.len() > MOST_HOSTS {
            return Err(format!("it names more than {MOST_HOSTS} hosts"));
        }
        let database = match database.split_once('/') {
            None => text("database name", database)?,
            Some(_) => return Err("its database name contains a /; percent-encode it as %2F".into()),
        };
        let password = match password {
            None | Some("") => None,
            Some(encoded) => {
                let plain = String::from_utf8(decode("password", encoded)?)
                    .map_err(|_| "its password is not UTF-8 once decoded".to_owned())?;
                if plain.contains(['\0', '\n', '\r']) {
                    return Err(
                        "its password contains a line break or a NUL, which PostgreSQL's password file \
                         cannot store; give the role another password"
                            .into(),
                    );
                }
                Some(SecretString::from(plain))
            }
        };
        let parameters = Parameters::parse(query)?;
        Ok(Self { user: text("user name", user)?, password, hosts, database, parameters })
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, database, .. } = self;
        write!(f, "{user}@{}/{database}", self.place())
    }
}

fn endpoint(place: &str) -> Result<Endpoint, String> {
    let (host, port) = split_port(place)?;
    let host = text("host", host)?;
    if !host.starts_with('/') && !host.chars().all(|c| c.is_alphanumeric() || "._-:%".contains(c)) {
        return Err(
            "its host is neither a host name, an address nor the directory of a socket, such as localhost, [::1] or \
             %2Frun%2Fpostgresql"
                .into(),
        );
    }
    if host.contains(',') {
        return Err("its host contains an encoded comma; to list several hosts, write a plain comma".into());
    }
    Ok(Endpoint { host, port })
}

fn split_port(place: &str) -> Result<(&str, u16), String> {
    let (host, port) = if let Some(rest) = place.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or("its IPv6 address lacks the closing ]")?;
        match after {
            "" => (host, ""),
            _ => {
                (host, after.strip_prefix(':').ok_or("something other than :port follows its IPv6 address")?)
            }
        }
    } else {
        place.split_once(':').unwrap_or((place, ""))
    };
    let port = match port {
        "" => 5432,
        _ => port.parse().ok().filter(|port| *port != 0).ok_or(
            "its port is not a number from 1 to 65535; an IPv6 address goes in brackets: [::1]:5432",
        )?,
    };
    Ok((host, port))
}
