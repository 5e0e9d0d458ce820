//! Where Holdfast connects to: a name is looked up once, every address it has is checked, and those addresses are
//! dialled. Whoever dials takes a [`Checked`], which only [`Policy::check`] makes.

use super::dump::Cancel;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// The longest name the DNS has.
const LONGEST: usize = 253;
/// Addresses of one name that are dialled at most; all of them are checked.
const DIALLED: usize = 16;
/// How often the wait for an answer looks up to see whether it was cancelled.
const GLANCE: Duration = Duration::from_millis(200);

/// Which addresses may be dialled. Link-local addresses, those of cloud metadata services, multicast and whatever is
/// reserved never are.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Whether this machine itself may be.
    pub loopback: bool,
    /// Whether private networks may be: RFC 1918, RFC 4193, and the shared address space of RFC 6598.
    pub private: bool,
    /// What looks names up.
    pub resolver: Resolver,
}

impl Default for Policy {
    fn default() -> Self {
        Self { loopback: true, private: true, resolver: Resolver::default() }
    }
}

/// What looks names up; the system's own unless a test brings another.
#[derive(Clone)]
pub struct Resolver(Arc<Lookup>);

type Lookup = dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync;

impl Resolver {
    /// One that asks `lookup`.
    pub fn new(lookup: impl Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static) -> Self {
        Self(Arc::new(lookup))
    }
}

impl Default for Resolver {
    fn default() -> Self {
        Self::new(|host, port| Ok((host, port).to_socket_addrs()?.collect()))
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

/// Addresses that were checked, in the order they are to be tried.
#[derive(Debug, Clone)]
pub struct Checked(Vec<SocketAddr>);

impl Checked {
    /// A way on which nothing is dialled: to a socket in a directory of this machine.
    pub fn local() -> Self {
        Self(Vec::new())
    }

    /// The addresses; none where nothing is dialled.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.0
    }
}

/// Why a host is not connected to, its display a sentence for the reader.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// One of its addresses may not be dialled. Which, and what is there, is not told.
    #[error(
        "Holdfast does not connect to {0}: link-local, metadata, multicast and reserved addresses are closed to it, \
         and loopback and private ones where its settings say so. Name another host."
    )]
    Denied(String),
    /// It is neither a name nor an address.
    #[error(
        "Holdfast knows no host of that spelling. Write a name like db.example.org, or an address like 192.0.2.7 or \
         2001:db8::7; an international name in its ASCII form, which begins with xn--."
    )]
    Misspelt,
    /// The name leads nowhere.
    #[error("{host} has no address ({reason}). Check how it is written, and the DNS.")]
    Unknown {
        /// The name.
        host: String,
        /// The resolver's answer.
        reason: String,
    },
    /// The resolver did not answer in time.
    #[error("{0} could not be looked up in time. Check the DNS.")]
    Late(String),
    /// Somebody cancelled it.
    #[error("Cancelled.")]
    Cancelled,
}

/// What sort of address it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Public,
    Private,
    Loopback,
    Closed,
}

impl Policy {
    /// Looks `host` up, an address also in brackets, and checks every address it has: where one is denied, the host
    /// is. What is denied is logged here.
    pub fn check(
        &self,
        host: &str,
        port: u16,
        timeout: Duration,
        cancel: &Cancel,
    ) -> Result<Checked, Refusal> {
        let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        let checked = self.addresses(host, port, timeout, cancel).and_then(|mut found| {
            if !found.iter().all(|address| self.allows(address.ip())) {
                return Err(Refusal::Denied(host.to_owned()));
            }
            found.truncate(DIALLED);
            Ok(Checked(found))
        });
        if let Err(Refusal::Denied(host)) = &checked {
            tracing::warn!(?host, port, "a connection was denied by the outbound policy");
        }
        checked
    }

    /// Whether an address may be dialled.
    pub fn allows(&self, address: IpAddr) -> bool {
        match sort_of(address) {
            Sort::Public => true,
            Sort::Private => self.private,
            Sort::Loopback => self.loopback,
            Sort::Closed => false,
        }
    }

    fn addresses(
        &self,
        host: &str,
        port: u16,
        timeout: Duration,
        cancel: &Cancel,
    ) -> Result<Vec<SocketAddr>, Refusal> {
        if let Ok(address) = host.parse() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        // Only link-local addresses have a zone.
        if let Some((address, _)) =
            host.split_once('%').filter(|(address, _)| address.parse::<Ipv6Addr>().is_ok())
        {
            return Err(Refusal::Denied(address.to_owned()));
        }
        let plain = host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
        if !plain || host.is_empty() || host.len() > LONGEST {
            return Err(Refusal::Misspelt);
        }
        let (send, answer) = channel();
        let (resolver, name) = (self.resolver.clone(), host.to_owned());
        let unknown = |reason: String| Refusal::Unknown { host: host.to_owned(), reason };
        // The system's resolver cannot be told how long to take; it gives up by itself a little later.
        std::thread::Builder::new()
            .name("resolve".to_owned())
            .spawn(move || send.send((resolver.0)(&name, port)))
            .map_err(|error| unknown(error.to_string()))?;
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match answer.recv_timeout(left.min(GLANCE)) {
                Ok(Ok(found)) if found.is_empty() => return Err(unknown("none was found".to_owned())),
                Ok(Ok(found)) => return Ok(found),
                Ok(Err(error)) => return Err(unknown(error.to_string())),
                Err(_) if cancel.is_cancelled() => return Err(Refusal::Cancelled),
                Err(RecvTimeoutError::Timeout) if left > GLANCE => {}
                Err(_) => return Err(Refusal::Late(host.to_owned())),
            }
        }
    }
}

fn sort_of(address: IpAddr) -> Sort {
    match address {
        IpAddr::V4(address) => sort_of_v4(address),
        IpAddr::V6(address) => sort_of_v6(address),
    }
}

/// By the registry of special-purpose addresses (RFC 6890).
fn sort_of_v4(address: Ipv4Addr) -> Sort {
    match address.octets() {
        // This network; link-local, with nearly all metadata services; protocol assignments, with that of Oracle's
        // older cloud; relays of 6to4; multicast, reserved, broadcast. Then the metadata service of Alibaba Cloud,
        // which is in the shared address space, and the agent of Azure's hosts.
        [0 | 224.., ..]
        | [169, 254, ..]
        | [192, 0, 0, _]
        | [192, 88, 99, _]
        | [100, 100, 100, 200]
        | [168, 63, 129, 16] => Sort::Closed,
        [127, ..] => Sort::Loopback,
        // RFC 1918, the shared address space, and that for benchmarks.
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] | [198, 18 | 19, ..] => {
            Sort::Private
        }
        _ => Sort::Public,
    }
}

fn sort_of_v6(address: Ipv6Addr) -> Sort {
    let v4 = |high: u16, low: u16| sort_of_v4(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => Sort::Loopback,
        // IPv4 in IPv6: compatible (with `::`), mapped, translated (RFC 7915), NAT64 (RFC 6052), 6to4.
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => v4(high, low),
        // Teredo: a server and, with its bits turned, a client.
        [0x2001, 0, high, low, _, _, other_high, other_low] => {
            match (v4(high, low), v4(!other_high, !other_low)) {
                (sort, Sort::Public) | (Sort::Public, sort) => sort,
                (sort, other) if sort == other => sort,
                _ => Sort::Closed,
            }
        }
        // Metadata services: all of what AWS keeps for its own, then Google, Oracle, Scaleway, Linode, Alibaba.
        [0xfd00, 0xec2, ..]
        | [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254]
        | [0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe]
        | [0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42]
        | [0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 1]
        | [0xfd00, 0x100, 0, 0, 0, 0, 0x100, 0x200] => Sort::Closed,
        [0xfc00..=0xfdff, ..] => Sort::Private,
        [0x2000..=0x3fff, ..] => Sort::Public,
        // Link-local, multicast, NAT64 of a network's own (RFC 8215), and all that was never given out.
        _ => Sort::Closed,
    }
}
