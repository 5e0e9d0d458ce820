//! Translates SSH and SFTP failures, the library's codes and the server's answers, into faults with a next
//! step.

use crate::domain::destinations::fault::{Fault, FaultKind};
use crate::model::HostKeyFound;
use crate::model::copies::WRITE_ONLY;
use ssh2::ErrorCode;
use std::io;

/// libssh2's own error codes: `LIBSSH2_ERROR_*` in libssh2.h.
mod code {
    pub const SOCKET_NONE: i32 = -1;
    pub const BANNER_RECV: i32 = -2;
    pub const BANNER_SEND: i32 = -3;
    pub const KEX_FAILURE: i32 = -5;
    pub const SOCKET_SEND: i32 = -7;
    pub const TIMEOUT: i32 = -9;
    pub const SOCKET_DISCONNECT: i32 = -13;
    pub const PROTO: i32 = -14;
    pub const CHANNEL_CLOSED: i32 = -26;
    pub const CHANNEL_EOF_SENT: i32 = -27;
    pub const SOCKET_TIMEOUT: i32 = -30;
    pub const METHOD_NOT_SUPPORTED: i32 = -33;
    pub const SOCKET_RECV: i32 = -43;
    pub const BAD_SOCKET: i32 = -45;
    pub const PACKET_EXCEEDED: i32 = -25;
    pub const SFTP_PROTOCOL: i32 = -31;
    pub const OUT_OF_BOUNDARY: i32 = -41;
    pub const ALGO_UNSUPPORTED: i32 = -51;
}

/// The operation before the server is known.
const GREETING: &str = "agreeing on keys and ciphers";

/// The server's host key is not approved.
pub(super) fn host_key(found: &HostKeyFound) -> Fault {
    Fault::new(FaultKind::UntrustedServer, found.words())
}

/// Connecting to `server` failed.
pub(super) fn dialling(server: &str, error: &io::Error) -> Fault {
    use io::ErrorKind as K;
    match error.kind() {
        K::ConnectionRefused => Fault::new(
            FaultKind::Refused,
            format!(
                "{server} refuses the connection: nothing listens on that port. Check the port and whether \
                 the SSH server is running."
            ),
        ),
        K::TimedOut | K::WouldBlock => Fault::timed_out(server, "connecting"),
        K::ConnectionReset | K::ConnectionAborted | K::BrokenPipe => Fault::lost(server, "connecting"),
        _ => Fault::new(
            FaultKind::Unreachable,
            format!("{server} cannot be reached ({error}). Check the address and the network."),
        ),
    }
}

/// Agreeing on algorithms with `server` failed. `banner` is the line with which it introduced itself.
pub(super) fn handshake(server: &str, banner: Option<&[u8]>, error: &ssh2::Error) -> Fault {
    match error.code() {
        _ if banner.is_some_and(|banner| !banner.starts_with(b"SSH-")) => not_ssh(server),
        lost if is_lost(lost) && banner.is_none() => Fault::new(
            FaultKind::Lost,
            format!(
                "{server} closed the connection before the SSH handshake. Check that an SSH server listens on this port; a very busy one also refuses connections."
            ),
        ),
        ErrorCode::Session(code::KEX_FAILURE | code::METHOD_NOT_SUPPORTED | code::ALGO_UNSUPPORTED) => {
            Fault::new(
                FaultKind::WrongProtocol,
                format!(
                    "{server} and Holdfast have no host key, cipher or key exchange in common. Holdfast \
                     does not use SHA-1, CBC or DSA: the SSH server needs an update, or an Ed25519, ECDSA \
                     or RSA host key."
                ),
            )
        }
        ErrorCode::Session(code::BANNER_RECV | code::PROTO) => not_ssh(server),
        ErrorCode::Session(code::TIMEOUT | code::SOCKET_TIMEOUT) => Fault::timed_out(server, GREETING),
        _ if is_lost(error.code()) => Fault::lost(server, GREETING),
        _ => Fault::new(
            FaultKind::WrongProtocol,
            format!("The handshake with {server} failed: {}. See the SSH server's log.", error.message()),
        ),
    }
}

fn not_ssh(server: &str) -> Fault {
    Fault::new(
        FaultKind::WrongProtocol,
        format!("The server at {server} does not speak SSH. Check the port."),
    )
}

/// The server did not do as requested. `doing` is the request, as in `Writing /a/b on host`.
pub(super) fn ssh(server: &str, doing: &str, error: &ssh2::Error) -> Fault {
    match error.code() {
        // An error without a code: the library did not understand the answer.
        ErrorCode::SFTP(0) => garbled(server, doing),
        ErrorCode::SFTP(status) => answered(doing, status),
        ErrorCode::Session(code::TIMEOUT | code::SOCKET_TIMEOUT) => Fault::timed_out(server, doing),
        lost if is_lost(lost) => Fault::lost(server, doing),
        ErrorCode::Session(code::PACKET_EXCEEDED | code::SFTP_PROTOCOL | code::OUT_OF_BOUNDARY) => {
            garbled(server, doing)
        }
        ErrorCode::Session(_) => Fault::new(
            FaultKind::Other,
            format!("{doing} failed: {}. See the server's log.", error.message()),
        ),
    }
}

/// `server` sent something other than SFTP.
fn garbled(server: &str, doing: &str) -> Fault {
    Fault::new(
        FaultKind::NoService,
        format!(
            "{doing} failed: {server} sent something other than SFTP. A start-up script or another program \
             of the account writes text into the SFTP channel; silence it."
        ),
    )
}

/// The same for reading and writing, whose errors have no code.
pub(super) fn stream(server: &str, doing: &str, error: &io::Error) -> Fault {
    let words = error.to_string();
    // The crate's texts for SFTP status codes; all other errors come from the connection.
    let status = match words.as_str() {
        "no such file" => 2,
        "permission denied" => 3,
        "failure" | "unknown error" => 4,
        "bad message" => 5,
        "operation unsupported" => 8,
        "invalid handle" => 9,
        "no such path" => 10,
        "file is write protected" => 12,
        "no space on filesystem" => 14,
        "quota exceeded" => 15,
        // libssh2's texts for data that is not SFTP.
        "SFTP packet too large" | "packet exceeded" | "Invalid SFTP packet size" | "out of bounds" => {
            return garbled(server, doing);
        }
        _ if error.kind() == io::ErrorKind::TimedOut => return Fault::timed_out(server, doing),
        _ => return Fault::lost(server, doing),
    };
    answered(doing, status)
}

/// The fault for an SFTP status: `SSH_FX_*` of draft-ietf-secsh-filexfer-13, section 9.1.
fn answered(doing: &str, status: i32) -> Fault {
    let (kind, words) = match status {
        2 | 10 | 19 => {
            (FaultKind::NoSuchPath, "there is no such file or directory. Check the remote directory")
        }
        3 | 12 => (FaultKind::Permission, "permission denied. Check that the account may write there"),
        6 | 7 => (FaultKind::Lost, "the server lost its connection. Try again"),
        8 => (FaultKind::Other, "the server does not support it"),
        11 => (FaultKind::Taken, "the name is taken there"),
        14 => (FaultKind::Full, "the server's disk is full. Free some space there"),
        15 => (FaultKind::Full, "the account's quota is used up. Free some space there"),
        4 => (
            FaultKind::Other,
            "the server only says \"failure\". A full disk or quota is the usual cause; see its log",
        ),
        _ => (FaultKind::Other, "the server's answer makes no sense. See its log"),
    };
    Fault::new(kind, format!("{doing} failed: {words}."))
}

/// Adds advice to a failed read, which a normal destination needs: the write-only mode works without.
pub(super) fn unreadable(mut fault: Fault, server: &str) -> Fault {
    if fault.kind == FaultKind::Permission {
        // The usual advice is about writing.
        let told = fault.sentence.find(". Check that").unwrap_or(fault.sentence.len());
        fault.sentence.truncate(told);
        fault.sentence.push('.');
    }
    let advice = format!(
        " Holdfast reads back what it sends, to check that it is complete. Allow the account to read there; \
         or, if {server} is a write-only drop box by design, tick “{WRITE_ONLY}” on the page SFTP settings: \
         copies are then marked “sent, not read back”."
    );
    fault.sentence.push_str(&advice);
    fault
}

fn is_lost(error: ErrorCode) -> bool {
    matches!(
        error,
        ErrorCode::Session(
            code::SOCKET_NONE
                | code::BANNER_SEND
                | code::SOCKET_SEND
                | code::SOCKET_DISCONNECT
                | code::CHANNEL_CLOSED
                | code::CHANNEL_EOF_SENT
                | code::SOCKET_RECV
                | code::BAD_SOCKET
        )
    )
}
