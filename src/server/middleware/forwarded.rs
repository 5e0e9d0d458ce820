//! The client's address and scheme. `X-Forwarded-*` headers count only from trusted proxies, because any client can
//! forge them.

use crate::domain::audit::Actor;
use crate::domain::random;
use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::HeaderMap;
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// The client's address and scheme, among the extensions of every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forwarded {
    /// The client's address; `None` for a request that did not come over the network.
    pub from: Option<IpAddr>,
    /// Whether the client uses TLS, to this server or to a trusted proxy.
    pub tls: bool,
}

/// Among the extensions of a request whose own connection is TLS.
#[derive(Debug, Clone, Copy)]
pub struct ByTls;

/// The addresses of trusted proxies.
#[derive(Debug, Clone, Default)]
pub struct Proxies(Arc<[IpNet]>);

impl From<Vec<IpNet>> for Proxies {
    fn from(networks: Vec<IpNet>) -> Self {
        Self(networks.into())
    }
}

/// The outermost middleware: adds the [`Forwarded`] to the request.
pub async fn note(State(proxies): State<Proxies>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
    let by_tls = request.extensions().get::<ByTls>().is_some();
    let forwarded = proxies.forwarded(peer, by_tls, request.headers());
    request.extensions_mut().insert(forwarded);
    // The request's number in the audit log. The guard adds the account.
    let number = random::hex::<8>().ok();
    request.extensions_mut().insert(Actor::reader(None, forwarded.from, number));
    next.run(request).await
}

impl Proxies {
    fn forwarded(&self, peer: Option<IpAddr>, by_tls: bool, headers: &HeaderMap) -> Forwarded {
        let direct = Forwarded { from: peer.map(|peer| peer.to_canonical()), tls: by_tls };
        match direct.from {
            Some(peer) if self.include(peer) => Forwarded {
                from: Some(self.client(headers).unwrap_or(peer)),
                // The nearest proxy adds its value last.
                tls: last(headers, "x-forwarded-proto")
                    .map_or(by_tls, |scheme| scheme.eq_ignore_ascii_case("https")),
            },
            _ => direct,
        }
    }

    /// The last address in `X-Forwarded-For` that is not a trusted proxy: the client may have forged those before it.
    /// If all are trusted proxies, the first one. `None` if one of the values read is not an address.
    fn client(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let mut furthest = None;
        for word in words(headers, "x-forwarded-for").rev() {
            let address = address(word?)?;
            furthest = Some(address);
            if !self.include(address) {
                break;
            }
        }
        furthest
    }

    fn include(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// The items of a header that may have several lines; nothing for a line that is not text.
fn words<'a>(headers: &'a HeaderMap, name: &str) -> impl DoubleEndedIterator<Item = Option<&'a str>> {
    let lines: Vec<_> = headers.get_all(name).iter().collect();
    let words = |line: &'a http::HeaderValue| match line.to_str() {
        Ok(line) => line.split(',').map(|word| Some(word.trim())).collect(),
        Err(_) => vec![None],
    };
    lines.into_iter().flat_map(words)
}

fn last<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    words(headers, name).next_back().flatten()
}

/// An address as proxies write it, with or without a port.
fn address(word: &str) -> Option<IpAddr> {
    let bare = word.strip_prefix('[').and_then(|word| word.strip_suffix(']')).unwrap_or(word);
    let with_port = || word.parse().ok().map(|address: SocketAddr| address.ip());
    bare.parse().ok().or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use crate::server::middleware::forwarded::*;
    use http::{HeaderName, HeaderValue};

    fn forwarded(trusted: &str, peer: &str, by_tls: bool, headers: &[(&str, &str)]) -> (String, bool) {
        let trusted: Vec<IpNet> = trusted.split_whitespace().map(|net| net.parse().unwrap()).collect();
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap()))
            .collect();
        let forwarded = Proxies::from(trusted).forwarded(peer.parse().ok(), by_tls, &headers);
        (forwarded.from.map_or(String::new(), |from| from.to_string()), forwarded.tls)
    }

    #[test]
    fn headers_from_untrusted_clients_are_ignored() {
        let forged = [("x-forwarded-for", "198.51.100.7"), ("x-forwarded-proto", "https")];
        let direct = ("192.0.2.1".to_owned(), false);
        assert_eq!(forwarded("", "192.0.2.1", false, &forged), direct);
        assert_eq!(forwarded("10.0.0.0/8 127.0.0.1/32", "192.0.2.1", false, &forged), direct);
        assert_eq!(forwarded("10.0.0.0/8", "", false, &forged), (String::new(), false));
        assert_eq!(forwarded("", "::ffff:192.0.2.1", true, &[]), ("192.0.2.1".to_owned(), true));
    }

    #[test]
    fn headers_from_a_trusted_proxy_count() {
        let told = [("x-forwarded-for", "198.51.100.7"), ("x-forwarded-proto", "HTTPS")];
        let client = ("198.51.100.7".to_owned(), true);
        for peer in ["10.1.2.3", "::ffff:10.1.2.3", "fd00::9"] {
            assert_eq!(forwarded("10.0.0.0/8 fd00::/8", peer, false, &told), client, "{peer}");
        }
        assert_eq!(forwarded("10.0.0.0/8", "10.1.2.3", false, &told[1..]), ("10.1.2.3".to_owned(), true));
        // The proxy may use TLS to Holdfast although the client used plain HTTP.
        let plain = [("x-forwarded-proto", "http")];
        assert_eq!(forwarded("10.0.0.0/8", "10.1.2.3", true, &plain), ("10.1.2.3".to_owned(), false));
        assert_eq!(forwarded("10.0.0.0/8", "10.1.2.3", true, &[]), ("10.1.2.3".to_owned(), true));
    }

    #[test]
    fn the_client_is_the_last_address_that_is_not_a_trusted_proxy() {
        let cases: [(&[&str], &str); 12] = [
            (&["198.51.100.7"], "198.51.100.7"),
            (&["1.1.1.1, 198.51.100.7"], "198.51.100.7"),
            (&["1.1.1.1,198.51.100.7,10.0.0.9"], "198.51.100.7"),
            (&["1.1.1.1", "198.51.100.7", "10.0.0.9, 10.0.0.8"], "198.51.100.7"),
            (&["nonsense, 198.51.100.7"], "198.51.100.7"),
            (&["10.0.0.7, 10.0.0.9"], "10.0.0.7"),
            (&["198.51.100.7, nonsense"], "10.0.0.1"),
            (&["198.51.100.7, "], "10.0.0.1"),
            (&["198.51.100.7, nonsense, 10.0.0.9"], "10.0.0.1"),
            (&["198.51.100.7:4321"], "198.51.100.7"),
            (&["[2001:db8::7]:4321"], "2001:db8::7"),
            (&["[2001:db8::7], ::ffff:10.0.0.9"], "2001:db8::7"),
        ];
        for (lines, client) in cases {
            let headers: Vec<_> = lines.iter().map(|line| ("x-forwarded-for", *line)).collect();
            assert_eq!(forwarded("10.0.0.0/8", "10.0.0.1", false, &headers).0, client, "{lines:?}");
        }
    }

    #[test]
    fn the_nearest_proxy_decides_the_scheme() {
        for (said, tls) in
            [("https", true), ("http", false), ("https, http", false), ("http,https", true), ("", false)]
        {
            let headers = [("x-forwarded-proto", said)];
            assert_eq!(forwarded("10.0.0.0/8", "10.0.0.1", false, &headers).1, tls, "{said}");
        }
    }
}
