//! A minimal HTTP client that returns responses unprocessed.

use super::holdfast::PATIENCE;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use socket2::{Domain, Socket, Type};
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

/// A connection with a small receive buffer.
pub fn connect_narrow(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_recv_buffer_size(64 * 1024)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect(&address.into())?;
    Ok(socket.into())
}

/// A response as it was sent.
pub struct Reply {
    pub status: u16,
    /// Status line and headers.
    pub head: String,
    pub body: Vec<u8>,
}

impl Reply {
    /// A header's value; empty if it is absent.
    pub fn header(&self, name: &str) -> &str {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value.trim())
    }

    /// Whether the body has the announced length. Without an announced length, any body is whole.
    pub fn is_whole(&self) -> bool {
        let announced = self.header("content-length");
        announced.is_empty() || announced.parse() == Ok(self.body.len())
    }
}

/// A request after which the server closes the connection.
pub fn request(method: &str, path: &str, cookie: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nHost: holdfast.test\r\nCookie: {cookie}\r\nConnection: close\r\n\
         Accept: application/json\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {length}\r\n{headers}\r\n{body}"
    )
}

/// Sends a request and reads the response to its end. If the connection is reset, returns what has arrived.
pub fn exchange(address: SocketAddr, request: &str) -> io::Result<Reply> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request.as_bytes())?;
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Err(error) if error.kind() != io::ErrorKind::ConnectionReset => return Err(error),
        _ => {}
    }
    reply_of(&bytes).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// Parses a response.
pub fn reply_of(bytes: &[u8]) -> Option<Reply> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let status = head.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
    Some(Reply { status, head, body: bytes[end + 4..].to_vec() })
}

/// A form with these selected backups.
pub fn names_form(names: &[impl AsRef<str>]) -> String {
    let field = |name: &str| format!("names%5B%5D={}&", utf8_percent_encode(name, NON_ALPHANUMERIC));
    names.iter().map(|name| field(name.as_ref())).collect()
}
