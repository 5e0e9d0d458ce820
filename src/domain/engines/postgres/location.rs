//! A PostgreSQL database as its URL names it: how it is shown, told from others, and worked with.

use crate::domain::engines::engine::{Database, EngineContext, Location, Target};
use crate::domain::engines::postgres::database::Postgres;
use crate::domain::engines::postgres::server::{Endpoint, Server};
use crate::domain::engines::postgres::tools::PostgresTools;
use crate::domain::jobs::cancel::Cancel;
use crate::domain::outbound::Policy;
use crate::model::{DatabaseName, EngineKind};
use std::any::Any;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// What manifests call PostgreSQL.
pub const KIND: EngineKind = EngineKind::new("postgresql");
/// The longest name PostgreSQL keeps whole, in bytes.
const LONGEST_NAME: usize = 63;
/// How long the DNS may take to tell whether two hosts are one.
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
            return Err("it is longer than the 63 bytes PostgreSQL takes".to_owned());
        }
        // libpq would take it for a connection string in some places.
        if name.contains('=') || name.contains("://") {
            return Err("it may hold neither = nor ://".to_owned());
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

/// Whether two hosts are one by their spelling alone.
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

/// Whether two hosts have an address in common. A name that is not found, or that may not be connected to, has none.
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

/// An address without another way to write it. This machine's loopback addresses all lead to the same port.
fn shown(address: IpAddr) -> String {
    let address = address.to_canonical();
    if address.is_loopback() { "localhost".to_owned() } else { address.to_string() }
}
