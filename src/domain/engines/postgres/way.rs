//! The way to a PostgreSQL server: its checked addresses and, after a connection, the address that worked and
//! what that connection proved. The tools use that address only.

use crate::domain::engines::postgres::parameters::{Methods, Parameters, SslMode, Verification};
use crate::domain::engines::postgres::server::{Endpoint, Server};
use crate::domain::outbound::Checked;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The shortest time limit for one of many addresses.
const SHORTEST: Duration = Duration::from_secs(2);

/// The resolved and checked addresses of a server. Clones share what was proved.
#[derive(Debug, Clone)]
pub(crate) struct Way {
    routes: Vec<Route>,
    proved: Arc<Mutex<Option<Proved>>>,
}

/// One address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Route {
    /// The server's name, for its certificate and for the password file.
    pub endpoint: Endpoint,
    /// The address to dial; `None` for a socket directory.
    pub address: Option<SocketAddr>,
}

/// What a connection proved.
#[derive(Debug, Clone)]
pub(super) struct Proved {
    pub route: Route,
    /// Whether the connection was encrypted.
    pub tls: bool,
    /// Whether the server asked for a password.
    pub asked: bool,
    /// Whether channel binding was used.
    pub bound: bool,
}

impl Route {
    /// Whether the connection stays on this machine.
    pub fn is_local(&self) -> bool {
        self.address.is_none_or(|address| address.ip().to_canonical().is_loopback())
    }

    /// The login methods that a server at this address may ask for, so that no impostor gets the password.
    pub fn methods(&self, parameters: &Parameters) -> Methods {
        if let Some(named) = parameters.require_auth {
            return named;
        }
        let strict = parameters.mode() >= SslMode::Require && self.address.is_some();
        match parameters.verification() {
            Verification::Name | Verification::Authority if strict => Methods::ALL,
            _ if strict => Methods::ALL.without(Methods::PASSWORD).without(Methods::MD5),
            _ if self.is_local() => Methods::ALL,
            _ => Methods::ALL.without(Methods::PASSWORD),
        }
    }
}

impl Way {
    /// The way to the resolved hosts, each with its checked addresses.
    pub(super) fn new(found: Vec<(Endpoint, Checked)>) -> Self {
        let routes = found.into_iter().flat_map(|(endpoint, checked)| {
            let addresses = checked.addresses().iter().copied().map(Some).collect::<Vec<_>>();
            let addresses = if endpoint.is_socket() { vec![None] } else { addresses };
            addresses.into_iter().map(move |address| Route { endpoint: endpoint.clone(), address })
        });
        Self { routes: routes.collect(), proved: Arc::default() }
    }

    pub(super) fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// The address that was used before; all of them before the first connection.
    pub(super) fn to_go(&self) -> Vec<Route> {
        self.proved().map_or_else(|| self.routes.clone(), |proved| vec![proved.route])
    }

    pub(super) fn proved(&self) -> Option<Proved> {
        self.proved.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn prove(&self, proved: Proved) {
        *self.proved.lock().unwrap_or_else(PoisonError::into_inner) = Some(proved);
    }

    /// The time limit for one address; `usual` is the limit for all of them if the URL sets none.
    pub(super) fn patience_each(&self, server: &Server, usual: Duration) -> Duration {
        let several = u32::try_from(self.routes.len().max(1)).unwrap_or(u32::MAX);
        server.parameters.connect_timeout.unwrap_or_else(|| (usual / several).max(SHORTEST))
    }

    /// The time limit for connecting and asking.
    pub(super) fn patience(&self, server: &Server, usual: Duration) -> Duration {
        let several = u32::try_from(self.routes.len().max(1)).unwrap_or(u32::MAX);
        let all = self.patience_each(server, usual).saturating_mul(several);
        if server.parameters.connect_timeout.is_some() { all.saturating_add(usual) } else { all.max(usual) }
    }

    /// A warning about the connection's security; `None` if the URL sets the security explicitly, or if the
    /// connection stays on this machine.
    pub(super) fn warning(&self, parameters: &Parameters) -> Option<String> {
        let proved = self.proved()?;
        if !parameters.says_nothing_of_tls() || proved.route.is_local() {
            return None;
        }
        let place = &proved.route.endpoint;
        Some(if proved.tls {
            format!(
                "the connection to {place} is encrypted, but the server's identity is not verified. Add \
                 ?sslmode=verify-full to the URL (and sslrootcert=/path/to/authority.crt if the system does \
                 not know the authority), or ?sslmode=require to insist on encryption only."
            )
        } else {
            format!(
                "the connection to {place} is not encrypted: others on the network can read everything. \
                 Enable TLS at the server and add ?sslmode=verify-full or ?sslmode=require to the URL; to \
                 accept this, write ?sslmode=disable."
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::engines::postgres::way::*;

    fn server(query: &str) -> Server {
        Server::parse(&format!("u:p@db.test/d{query}")).unwrap()
    }

    fn route(address: Option<&str>) -> Route {
        let host = address.map_or("/run/postgresql", |_| "db.test").to_owned();
        let address = address.map(|address| SocketAddr::new(address.parse().unwrap(), 5432));
        Route { endpoint: Endpoint { host, port: 5432 }, address }
    }

    #[test]
    fn a_password_is_shown_to_nobody_it_is_not_meant_for() {
        let methods = |query: &str, address| route(address).methods(&server(query).parameters).to_string();
        let (here, there, socket) = (Some("127.0.0.1"), Some("192.0.2.1"), None);
        let all = Methods::ALL.to_string();
        let (no_password, scram) = ("none,md5,gss,sspi,scram-sha-256", "none,gss,sspi,scram-sha-256");
        for (query, address, expected) in [
            ("", here, &*all),
            ("", socket, &all),
            ("?sslmode=disable", here, &all),
            ("", there, no_password),
            ("?sslmode=prefer", there, no_password),
            ("?sslmode=disable", there, no_password),
            // Authorities do not matter where TLS is not required.
            ("?sslrootcert=/ca.pem", there, no_password),
            ("?sslmode=require", here, scram),
            ("?sslmode=require", Some("::1"), scram),
            ("?sslmode=require", there, scram),
            ("?sslmode=require", socket, &all),
            ("?sslmode=require&sslrootcert=/ca.pem", there, &all),
            ("?sslmode=verify-ca&sslrootcert=/ca.pem", there, &all),
            ("?sslmode=verify-full", there, &all),
            ("?sslmode=require&require_auth=password", there, "password"),
            ("?require_auth=!none", socket, "password,md5,gss,sspi,scram-sha-256"),
        ] {
            assert_eq!(methods(query, address), expected, "{query} {address:?}");
        }
    }

    #[test]
    fn a_connection_that_nobody_made_safe_is_warned_of_where_it_leaves_the_machine() {
        let warning = |query: &str, address, tls| {
            let way = Way { routes: vec![route(address)], proved: Arc::default() };
            assert_eq!(way.warning(&server(query).parameters), None, "nothing was proved yet");
            way.prove(Proved { route: route(address), tls, asked: true, bound: false });
            way.warning(&server(query).parameters)
        };
        let there = Some("192.0.2.1");
        let said = warning("", there, true).unwrap();
        assert!(said.contains("?sslmode=verify-full") && said.contains("identity is not verified"), "{said}");
        let said = warning("", there, false).unwrap();
        assert!(said.contains("?sslmode=require") && said.contains("not encrypted"), "{said}");
        for query in ["?sslmode=require", "?sslmode=prefer", "?sslmode=disable", "?sslrootcert=/ca.pem"] {
            assert_eq!(warning(query, there, true), None, "{query}");
        }
        for (address, tls) in [(Some("127.0.0.1"), true), (Some("::ffff:127.0.0.1"), false), (None, false)] {
            assert_eq!(warning("", address, tls), None);
        }
    }

    #[test]
    fn the_wait_is_shared_among_the_addresses_unless_the_url_says_how_long() {
        let way =
            |count: usize| Way { routes: vec![route(Some("192.0.2.1")); count], proved: Arc::default() };
        let usual = Duration::from_secs(10);
        let waits = |count, query: &str| {
            let (way, server) = (way(count), server(query));
            (way.patience_each(&server, usual).as_secs(), way.patience(&server, usual).as_secs())
        };
        assert_eq!(waits(1, ""), (10, 10));
        assert_eq!(waits(2, ""), (5, 10));
        assert_eq!(waits(16, ""), (2, 32));
        assert_eq!(waits(2, "?connect_timeout=3"), (3, 16));
        assert_eq!(waits(1, "?connect_timeout=0"), (10, 10));
    }
}
