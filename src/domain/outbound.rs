//! Outbound connections: resolves each host once, checks every address, and dials only checked addresses.
//! Code that dials needs a [`Checked`], which only [`Policy::check`] creates.

use crate::domain::audit::{Actor, Audit};
use crate::domain::jobs::cancel::Cancel;
use crate::model::audit::{Ending, Event};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// The longest DNS name.
const LONGEST: usize = 253;
/// The most addresses of one name that are dialled; all of them are checked.
const DIALLED: usize = 16;
/// How often a wait checks for cancellation.
const GLANCE: Duration = Duration::from_millis(200);

/// Which addresses may be dialled. Link-local addresses, cloud metadata services, multicast and reserved
/// addresses are always denied.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Whether to allow this machine: loopback addresses and those of its network interfaces.
    pub loopback: bool,
    /// Whether to allow private networks: RFC 1918, RFC 4193, and the shared address space of RFC 6598.
    pub private: bool,
    /// Resolves names.
    pub resolver: Resolver,
    /// The audit log for denials, set when Holdfast opens.
    pub audit: Option<Audit>,
}

impl Default for Policy {
    fn default() -> Self {
        Self { loopback: true, private: true, resolver: Resolver::default(), audit: None }
    }
}

/// Resolves names; the system's resolver unless a test sets another.
#[derive(Clone)]
pub struct Resolver(Arc<Lookup>);

type Lookup = dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync;

impl Resolver {
    /// A resolver that calls `lookup`.
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

/// Checked addresses, in the order in which to try them.
#[derive(Debug, Clone)]
pub struct Checked(Vec<SocketAddr>);

impl Checked {
    /// No address, for a socket on this machine.
    pub fn local() -> Self {
        Self(Vec::new())
    }

    /// The addresses; empty if nothing is dialled.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.0
    }
}

/// Why a host is not connected to; its display is a sentence for the user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// One of its addresses is denied. Which one, and what is there, is not revealed.
    #[error(
        "Holdfast does not connect to {0}: link-local, metadata, multicast and reserved addresses are \
         denied, and so are loopback and private ones if the settings say so. Name another host."
    )]
    Denied(String),
    /// It is neither a name nor an address.
    #[error(
        "The host is not valid. Write a name like db.example.org, or an address like 192.0.2.7 or \
         2001:db8::7; an international name in its ASCII form, which begins with xn--."
    )]
    Misspelt,
    /// The name has no address.
    #[error("{host} has no address ({reason}). Check its spelling, and the DNS.")]
    Unknown {
        /// The name.
        host: String,
        /// The resolver's answer.
        reason: String,
    },
    /// The resolver did not answer in time.
    #[error("{0} could not be resolved in time. Check the DNS.")]
    Late(String),
    /// The look-up was cancelled.
    #[error("Cancelled.")]
    Cancelled,
}

/// The kind of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Public,
    Private,
    Loopback,
    Closed,
}

impl Policy {
    /// Resolves `host`, which may be an address, also in brackets, and checks every address: one denied
    /// address denies the host. Logs denials.
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
            if let Some(audit) = &self.audit {
                // The operation's own audit entry names the actor. A page can cause many denials.
                let (by, object) = (Actor::system(), format!("{host} port {port}"));
                audit.note_of_stranger(&by, Event::EgressDenied, &object, Ending::Refused, "");
            }
        }
        checked
    }

    /// Whether an address may be dialled.
    pub fn allows(&self, address: IpAddr) -> bool {
        match sort_of(address) {
            Sort::Closed => false,
            Sort::Loopback => self.loopback,
            // A service that listens on all addresses can be reached by this machine's network addresses too.
            Sort::Private | Sort::Public if !self.loopback && is_ours(address) => false,
            Sort::Private => self.private,
            Sort::Public => true,
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
        // The system's resolver has no timeout; it gives up by itself a little later.
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

/// Whether the address belongs to an interface of this machine: others cannot be bound to.
fn is_ours(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
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

#[cfg(test)]
mod tests {
    use crate::domain::outbound::Sort::{Closed, Loopback, Private, Public};
    use crate::domain::outbound::*;
    use std::collections::BTreeSet;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const SOON: Duration = Duration::from_secs(10);

    const V4: [(&str, Sort); 44] = [
        ("0.0.0.0", Closed),
        ("0.0.0.1", Closed),
        ("0.255.255.255", Closed),
        ("1.0.0.0", Public),
        ("8.8.8.8", Public),
        ("9.255.255.255", Public),
        ("10.0.0.0", Private),
        ("10.255.255.255", Private),
        ("11.0.0.0", Public),
        ("100.63.255.255", Public),
        ("100.64.0.0", Private),
        ("100.100.100.199", Private),
        ("100.100.100.200", Closed),
        ("100.127.255.255", Private),
        ("100.128.0.0", Public),
        ("126.255.255.255", Public),
        ("127.0.0.1", Loopback),
        ("127.255.255.255", Loopback),
        ("128.0.0.0", Public),
        ("168.63.129.15", Public),
        ("168.63.129.16", Closed),
        ("169.253.255.255", Public),
        ("169.254.0.23", Closed),
        ("169.254.169.254", Closed),
        ("169.254.170.2", Closed),
        ("169.255.0.0", Public),
        ("172.15.255.255", Public),
        ("172.16.0.0", Private),
        ("172.31.255.255", Private),
        ("172.32.0.0", Public),
        ("192.0.0.192", Closed),
        ("192.0.1.0", Public),
        ("192.88.99.1", Closed),
        ("192.167.255.255", Public),
        ("192.168.1.1", Private),
        ("192.169.0.0", Public),
        ("198.17.255.255", Public),
        ("198.18.0.1", Private),
        ("198.20.0.0", Public),
        ("223.255.255.255", Public),
        ("224.0.0.1", Closed),
        ("239.255.255.255", Closed),
        ("240.0.0.1", Closed),
        ("255.255.255.255", Closed),
    ];

    const V6: [(&str, Sort); 43] = [
        ("::", Closed),
        ("[::]", Closed),
        ("0:0:0:0:0:0:0:0", Closed),
        ("::1", Loopback),
        ("[::1]", Loopback),
        ("0:0:0:0:0:0:0:1", Loopback),
        ("::2", Closed),
        ("::ffff:0:7f00:1", Loopback),
        ("64:ff9b::7f00:1", Loopback),
        ("64:ff9b:1::808:808", Closed),
        ("64:ff9b:1:a9fe:a9:fe00::", Closed),
        ("64:ff9b:0:1::8.8.8.8", Closed),
        ("100::1", Closed),
        ("1fff::1", Closed),
        ("2001:0:808:808::f7f7:f7f7", Public),
        ("2001:0:a9fe:a9fe::f7f7:f7f7", Closed),
        ("2001:0:808:808::5601:5601", Closed),
        ("2001:0:808:808::80ff:fffe", Loopback),
        ("2001:0:a00:1::80ff:fffe", Closed),
        ("2001:4860:4860::8888", Public),
        ("2606:4700::1111", Public),
        ("3fff:ffff::1", Public),
        ("4000::1", Closed),
        ("5f00::1", Closed),
        ("fbff::1", Closed),
        ("fc00::1", Private),
        ("fd00::1", Private),
        ("fd00:42::42", Closed),
        ("fd00:42::43", Private),
        ("fd00:c1::a9fe:a9fe", Closed),
        ("fd00:ec2::23", Closed),
        ("fd00:ec2::254", Closed),
        ("[FD00:0EC2:0::254]", Closed),
        ("fd00:ec3::254", Private),
        ("fd00:a9fe:a9fe::1", Closed),
        ("fd00:100::100:200", Closed),
        ("fd20:ce::254", Closed),
        ("fe7f::1", Closed),
        ("fe80::1", Closed),
        ("fe80::a9fe:a9fe", Closed),
        ("febf::1", Closed),
        ("fec0::1", Closed),
        ("ff02::1", Closed),
    ];

    /// An IPv4 address in every spelling.
    fn dressed(text: &str) -> Vec<String> {
        let address: Ipv4Addr = text.parse().unwrap();
        let ([a, b, c, d], number) = (address.octets(), u32::from(address));
        let (high, low, turned) = (number >> 16, number & 0xffff, !number);
        let mut forms = vec![
            text.to_owned(),
            format!("{number}"),
            format!("{number:#x}"),
            format!("0{number:o}"),
            format!("{a}.{}", number & 0xff_ffff),
            format!("{a}.{b}.{low}"),
            format!("{a:#x}.{b:#x}.{c:#X}.{d:#x}"),
            format!("0{a:o}.0{b:o}.0{c:o}.0{d:o}"),
            format!("::ffff:{text}"),
            format!("[::FFFF:{high:x}:{low:04x}]"),
            format!("0:0:0:0:0:ffff:{high:x}:{low:x}"),
            format!("::ffff:0:{text}"),
            format!("64:ff9b::{text}"),
            format!("[64:ff9b::{high:x}:{low:x}]"),
            format!("2002:{high:x}:{low:x}::1"),
            format!("2001:0:808:808::{:x}:{:x}", turned >> 16, turned & 0xffff),
        ];
        if number > 1 {
            forms.push(format!("::{text}"));
        }
        forms
    }

    fn policies() -> impl Iterator<Item = Policy> {
        [(true, true), (true, false), (false, true), (false, false)]
            .into_iter()
            .map(|(loopback, private)| Policy { loopback, private, ..Policy::default() })
    }

    fn check(policy: &Policy, host: &str) -> Result<Checked, Refusal> {
        policy.check(host, 22, SOON, &Cancel::default())
    }

    #[test]
    fn every_spelling_of_an_address_is_judged_by_where_it_leads() {
        let v4 = V4.iter().flat_map(|(text, sort)| dressed(text).into_iter().map(|form| (form, *sort)));
        let all: Vec<_> = v4.chain(V6.iter().map(|(text, sort)| ((*text).to_owned(), *sort))).collect();
        let spellings: BTreeSet<_> = all.iter().map(|(text, _)| text).collect();
        assert!(spellings.len() > 200, "{}", spellings.len());
        let (mut denied, mut missed) = (0, 0);
        for policy in policies() {
            for (host, sort) in &all {
                let open = match sort {
                    Public => true,
                    Private => policy.private,
                    Loopback => policy.loopback,
                    Closed => false,
                };
                match check(&policy, host) {
                    Ok(checked) => assert!(open && checked.addresses().len() == 1, "{host}: {policy:?}"),
                    Err(refusal) => {
                        let name = host.trim_matches(['[', ']']).to_owned();
                        assert!(!open && refusal == Refusal::Denied(name), "{host}: {refusal} {policy:?}");
                        denied += 1;
                        missed += usize::from(!naive(host));
                    }
                }
            }
        }
        // Control: the obvious text check misses many of them.
        println!("{} spellings, {denied} denials; a check of the text misses {missed}", spellings.len());
        assert!(missed * 4 > denied, "{missed} of {denied}");
    }

    /// Whether the obvious check would deny the text: parse it as an address, and ask the standard library.
    fn naive(host: &str) -> bool {
        match host.trim_matches(['[', ']']).parse() {
            Ok(IpAddr::V4(address)) => {
                address.is_loopback()
                    || address.is_private()
                    || address.is_link_local()
                    || address.is_unspecified()
                    || address.is_multicast()
                    || address.is_broadcast()
            }
            Ok(IpAddr::V6(address)) => {
                address.is_loopback()
                    || address.is_unspecified()
                    || address.is_multicast()
                    || address.is_unique_local()
                    || address.is_unicast_link_local()
            }
            Err(_) => false,
        }
    }

    #[test]
    fn what_is_no_host_is_refused_before_anybody_is_asked() {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let resolver = Resolver::new(move |_, port| {
            count.fetch_add(1, Ordering::SeqCst);
            Ok(vec![SocketAddr::from(([8, 8, 8, 8], port))])
        });
        let policy = Policy { resolver, ..Policy::default() };
        let (long, just) = ("a".repeat(254), "a".repeat(253));
        for host in [
            "",
            " ",
            "a b",
            "a\nb",
            "a\0b",
            "a\tb",
            " 8.8.8.8",
            "8.8.8.8\n",
            "8.8.8.8\0.example",
            "bücher.example",
            "\u{ff18}.8.8.8",
            "8.8.8.8\u{200b}",
            "8。8。8。8",
            "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ",
            "http://8.8.8.8",
            "user@8.8.8.8",
            "8.8.8.8:22",
            "8.8.8.8/8",
            "a,b",
            "localhost,169.254.169.254",
            "[::1",
            "::1]",
            "[[::1]]",
            "::1::",
            ":::",
            "1:2:3:4:5:6:7:8:9",
            "%",
            "%65",
            "8.8.8.8%eth0",
            "*",
            "@abstract",
            "/run/postgresql",
            "a\\b",
            "$(reboot)",
            "`id`",
            &long,
        ] {
            assert_eq!(check(&policy, host).unwrap_err(), Refusal::Misspelt, "{host:?}");
        }
        for host in ["fe80::1%eth0", "[fe80::1%eth0]", "[fe80::1%25eth0]", "fe80::1%", "fe80::1%a\nb"] {
            assert_eq!(check(&policy, host).unwrap_err(), Refusal::Denied("fe80::1".to_owned()), "{host:?}");
        }
        assert_eq!(asked.load(Ordering::SeqCst), 0);
        // Control: what may be a name is looked up, once.
        for host in ["a", "localhost.", "xn--bcher-kva.example", "under_score", "-dash", "1.2.3", &just] {
            asked.store(0, Ordering::SeqCst);
            assert!(check(&policy, host).is_ok(), "{host}");
            assert_eq!(asked.load(Ordering::SeqCst), 1, "{host}");
        }
    }

    #[test]
    fn a_name_is_denied_for_one_of_its_addresses_in_the_same_words_as_for_all() {
        let table = |host: &str| match host {
            "good.example" => vec!["8.8.8.8", "2606:4700::1111"],
            "one.example" => vec!["8.8.8.8", "2606:4700::1111", "169.254.169.254"],
            "last.example" => [vec!["8.8.8.8"; 40], vec!["::ffff:a9fe:a9fe"]].concat(),
            "many.example" => vec!["8.8.8.8"; 40],
            _ => Vec::new(),
        };
        let resolver = Resolver::new(move |host, port| {
            Ok(table(host).into_iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), port)).collect())
        });
        let policy = Policy { resolver, ..Policy::default() };
        let shown = |host| check(&policy, host).unwrap_err().to_string().replace(host, "X");
        assert_eq!(shown("one.example"), shown("169.254.169.254"));
        assert_eq!(shown("last.example"), shown("ff02::1"));
        assert!(
            !shown("one.example").contains("254") && shown("one.example").ends_with("Name another host.")
        );
        assert!(shown("none.example").contains("X has no address"));
        assert_eq!(check(&policy, "good.example").unwrap().addresses().len(), 2, "the control");
        assert_eq!(check(&policy, "many.example").unwrap().addresses().len(), DIALLED);
    }

    #[test]
    fn the_system_s_own_names_for_this_machine_are_loopback() {
        let closed = Policy { loopback: false, ..Policy::default() };
        for host in ["localhost", "LOCALHOST", "localhost."] {
            match check(&Policy::default(), host) {
                Ok(checked) => {
                    assert!(checked.addresses().iter().all(|address| address.ip().is_loopback()), "{host}");
                    assert_eq!(check(&closed, host).unwrap_err(), Refusal::Denied(host.to_owned()));
                }
                Err(refusal) => assert!(matches!(refusal, Refusal::Unknown { .. }), "{host}: {refusal}"),
            }
        }
        assert!(check(&Policy::default(), "localhost").is_ok(), "the control");
    }

    #[test]
    fn a_resolver_that_hangs_is_given_up_and_left_when_somebody_cancels() {
        let resolver = Resolver::new(|_, _| {
            std::thread::sleep(Duration::from_secs(5));
            Ok(Vec::new())
        });
        let policy = Policy { resolver, ..Policy::default() };
        let began = Instant::now();
        let late = policy.check("slow.example", 22, Duration::from_millis(300), &Cancel::default());
        assert_eq!(late.unwrap_err(), Refusal::Late("slow.example".to_owned()));
        let cancel = Cancel::default();
        cancel.cancel();
        assert_eq!(policy.check("slow.example", 22, SOON, &cancel).unwrap_err(), Refusal::Cancelled);
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    }
}
