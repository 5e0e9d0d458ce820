//! A PostgreSQL database as its URL names it: shown, compared with others, and opened.

use crate::domain::engines::engine::{Database, EngineContext, Location, Target};
use crate::domain::engines::postgres::database::Postgres;
use crate::domain::engines::postgres::server::{Endpoint, KIND, Server};
use crate::domain::engines::postgres::tools::PostgresTools;
use crate::domain::jobs::cancel::Cancel;
use crate::domain::outbound::Policy;
use crate::model::{DatabaseName, EngineKind};
use std::any::Any;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// PostgreSQL's limit for a name, in bytes.
const LONGEST_NAME: usize = 63;
/// How long the DNS may take when two hosts are compared.
const LOOK_UP: Duration = Duration::from_secs(5);

impl Location for Server {
    fn kind(&self) -> EngineKind {
        KIND
    }

    fn address(&self) -> String {
        self.to_string()
    }

    fn own_name(&self) -> String {
        self.database.clone()
    }

    fn is_same(&self, other: &dyn Location, context: &EngineContext, cancel: &Cancel) -> bool {
        let Some(other) = other.as_any().downcast_ref::<Self>() else { return false };
        if self.database != other.database {
            return false;
        }
        let pairs =
            || self.hosts.iter().flat_map(|one| other.hosts.iter().map(move |another| (one, another)));
        pairs().any(|(one, another)| is_spelled_alike(one, another))
            || pairs().any(|(one, another)| is_one_server(one, another, &context.outbound, cancel))
    }

    fn beside(&self, name: &str) -> Result<Target, String> {
        if name.len() > LONGEST_NAME {
            return Err("it is longer than PostgreSQL's limit of 63 bytes".to_owned());
        }
        // libpq would parse such a name as a connection string in some places.
        if name.contains('=') || name.contains("://") {
            return Err("it must not contain = or ://".to_owned());
        }
        Ok(Target::new(Self { database: name.to_owned(), ..self.clone() }))
    }

    fn database(
        &self,
        name: DatabaseName,
        context: &EngineContext,
        setting: &'static str,
    ) -> Arc<dyn Database> {
        Arc::new(Postgres::new(name, self.clone(), PostgresTools::of(context), setting))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Whether two hosts are the same by their spelling alone.
fn is_spelled_alike(one: &Endpoint, other: &Endpoint) -> bool {
    let spelling = |endpoint: &Endpoint| {
        if endpoint.is_socket() {
            let directory = Path::new(&endpoint.host);
            return directory.canonicalize().unwrap_or_else(|_| directory.to_owned()).display().to_string();
        }
        match endpoint.host.parse::<IpAddr>() {
            Ok(address) => shown(address),
            Err(_) => endpoint.host.trim_end_matches('.').to_lowercase(),
        }
    };
    one.port == other.port && one.is_socket() == other.is_socket() && spelling(one) == spelling(other)
}

/// Whether two hosts share an address. A name that cannot be resolved, or may not be connected to, shares
/// none.
fn is_one_server(one: &Endpoint, other: &Endpoint, outbound: &Policy, cancel: &Cancel) -> bool {
    if one.port != other.port || one.is_socket() || other.is_socket() {
        return false;
    }
    let addresses = |endpoint: &Endpoint| {
        let found = outbound.check(&endpoint.host, endpoint.port, LOOK_UP, cancel);
        let found = found.map_or_else(|_| Vec::new(), |found| found.addresses().to_vec());
        found.into_iter().map(|address| shown(address.ip())).collect::<Vec<_>>()
    };
    let others = addresses(other);
    addresses(one).iter().any(|address| others.contains(address))
}

/// An address in one canonical form. All loopback addresses of this machine count as the same.
fn shown(address: IpAddr) -> String {
    let address = address.to_canonical();
    if address.is_loopback() { "localhost".to_owned() } else { address.to_string() }
}

#[cfg(test)]
mod tests {
    use crate::domain::engines::postgres::location::*;
    use crate::domain::outbound::Resolver;
    use std::collections::BTreeMap;
    use std::net::SocketAddr;

    fn is_same(one: &str, other: &str) -> bool {
        let lookup = |host: &str, port: u16| {
            let address = match host {
                "db.test" | "alias.test" => "192.0.2.1",
                "other.test" => "192.0.2.2",
                "both.test" => {
                    return Ok(vec!["192.0.2.9:5432".parse().unwrap(), "192.0.2.1:5432".parse().unwrap()]);
                }
                "localhost" => "::1",
                _ => return Err(std::io::Error::other("no such host")),
            };
            Ok(vec![SocketAddr::new(address.parse().unwrap(), port)])
        };
        let outbound = Policy { resolver: Resolver::new(lookup), ..Policy::default() };
        let (run_dir, path) = ("/run".into(), "/usr/bin".into());
        let context = EngineContext { tool_directories: BTreeMap::new(), run_dir, path, outbound };
        let located = |url: &str| Server::parse(url).unwrap();
        located(one).is_same(&located(other), &context, &Cancel::default())
    }

    #[test]
    fn a_database_is_the_same_however_it_is_written() {
        for (one, other) in [
            ("u@db.test/d", "u@db.test:5432/d"),
            ("u@db.test/d", "u@DB.Test./d"),
            ("u@db.test/d", "other:password@db.test/d?sslmode=require"),
            ("u@db.test/d", "u@alias.test/d"),
            ("u@db.test/d", "u@192.0.2.1/d"),
            ("u@db.test/d", "u@both.test/d"),
            ("u@db.test/d", "u@unknown.test,alias.test/d"),
            ("u@127.0.0.1/d", "u@localhost/d"),
            ("u@127.0.0.1/d", "u@[::1]/d"),
            ("u@127.0.0.1/d", "u@[::ffff:127.0.0.1]/d"),
            ("u@[2001:db8::1]/d", "u@[2001:DB8:0::1]/d"),
            ("u@%2Frun%2Fnothing/d", "u@%2Frun%2Fnothing/d"),
            ("u@unknown.test/d", "u@Unknown.test/d"),
        ] {
            assert!(is_same(one, other) && is_same(other, one), "{one} {other}");
        }
    }

    #[test]
    fn another_database_port_or_host_is_another() {
        for (one, other) in [
            ("u@db.test/d", "u@db.test/e"),
            ("u@db.test/d", "u@db.test/D"),
            ("u@db.test/d", "u@db.test:5433/d"),
            ("u@db.test/d", "u@other.test/d"),
            ("u@unknown.test/d", "u@nowhere.test/d"),
            ("u@%2Frun%2Fnothing/d", "u@%2Frun%2Felsewhere/d"),
            ("u@%2Frun%2Fnothing/d", "u@localhost/d"),
        ] {
            assert!(!is_same(one, other), "{one} {other}");
        }
    }
}
