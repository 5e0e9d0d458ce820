//! Starts SFTP after the login, and finds out why it does not start.

use ssh2::{Channel, ErrorCode, ExtendedData, Session, Sftp};
use std::io::{Read, Write};
use std::time::{Duration, Instant};

/// If SFTP has not started by then, the server is examined; it still has the rest of its time.
const PROMPT: Duration = Duration::from_secs(5);

/// How long the rest of a text may take, once it is recognised as text.
const REST: Duration = Duration::from_secs(1);

/// How much text is searched for an SFTP answer after it, in bytes.
const LOOKED_THROUGH: usize = 64 * 1024;

/// The SFTP 3 greeting: length, kind, version.
const HELLO: [u8; 9] = [0, 0, 0, 5, 1, 0, 0, 0, 3];

/// The kind of the server's answer.
const VERSION: u8 = 2;

/// The longest answer, in which a server lists its extensions.
const ANSWER_MAX: u32 = 256 * 1024;

/// A timeout in milliseconds, as the library wants it.
pub(super) fn millis(wait: Duration) -> u32 {
    u32::try_from(wait.as_millis()).unwrap_or(u32::MAX)
}

/// Why SFTP did not start.
pub(super) enum Problem {
    /// Text where only SFTP may be, followed by SFTP.
    Text,
    /// Text where only SFTP may be, and nothing more.
    OnlyText,
    /// The account may not use SFTP.
    None,
    /// The connection failed, or the server was silent.
    Library(ssh2::Error),
}

impl Problem {
    /// The problem and its remedy. The text itself is never shown: it is the server's and may contain
    /// anything.
    pub fn words(&self, server: &str, user: &str) -> String {
        let text = "writes text into the SFTP channel";
        let see = format!("“ssh {user}@HOST true” shows it and must print nothing");
        match self {
            Self::Text => format!(
                "{server} lets {user} in, but the account's start-up script {text}. Silence it: {see}. Look in \
                 .bashrc, .profile and the like there, and in a ForceCommand or Subsystem of sshd_config."
            ),
            Self::OnlyText => format!(
                "{server} lets {user} in, but the account's start-up script or shell {text}, and no SFTP follows. \
                 Silence it: {see}. If the text says that the account is not available, allow SFTP there \
                 (Subsystem sftp internal-sftp), or use another account."
            ),
            Self::None | Self::Library(_) => format!(
                "{server} lets {user} in, but does not offer SFTP to this account. Allow it there \
                 (Subsystem sftp), or use another account."
            ),
        }
    }
}

/// What a second channel showed.
enum Seen {
    Sftp,
    Text,
    OnlyText,
    Ended,
    Nothing,
}

/// Starts SFTP within `limit`. If that fails or takes long, a second channel shows what the server sends: the
/// library takes the first bytes of a text for the length of a packet. Changes the session's timeout.
pub(super) fn sftp(session: &Session, limit: Duration) -> Result<Sftp, Problem> {
    let until = Instant::now() + limit;
    let left = || until.saturating_duration_since(Instant::now()).max(REST);
    session.set_timeout(millis(PROMPT.min(limit)));
    let error = match session.sftp() {
        Ok(sftp) => return Ok(sftp),
        Err(error) => error,
    };
    let slow = is_timeout(&error);
    if !slow {
        // The library closes a failed channel at the next attempt; some servers allow only one channel.
        session.set_timeout(millis(REST));
        if let Ok(sftp) = session.sftp() {
            return Ok(sftp);
        }
    }
    session.set_timeout(millis(left()));
    match look(session) {
        Ok(Seen::Text) => Err(Problem::Text),
        Ok(Seen::OnlyText) => Err(Problem::OnlyText),
        Ok(Seen::Ended) => Err(Problem::None),
        _ if slow => {
            session.set_timeout(millis(left()));
            session.sftp().map_err(Problem::Library)
        }
        Ok(Seen::Sftp | Seen::Nothing) => Err(Problem::Library(error)),
        Err(second) => Err(judged(error, second)),
    }
}

/// What the library's own errors mean, without a second channel.
fn judged(first: ssh2::Error, second: ssh2::Error) -> Problem {
    match first.code() {
        // It took the text for a huge packet, or for one of an unknown kind.
        ErrorCode::Session(-25 | -31 | -41) | ErrorCode::SFTP(_) => Problem::Text,
        // LIBSSH2_ERROR_CHANNEL_FAILURE, _REQUEST_DENIED, _PROTO.
        ErrorCode::Session(-21 | -22 | -14) => Problem::None,
        ErrorCode::Session(_) => Problem::Library(second),
    }
}

fn is_timeout(error: &ssh2::Error) -> bool {
    matches!(error.code(), ErrorCode::Session(-9 | -30))
}

/// Sends the greeting on a new channel and examines the answer.
fn look(session: &Session) -> Result<Seen, ssh2::Error> {
    let mut channel = session.channel_session()?;
    channel.handle_extended_data(ExtendedData::Ignore)?;
    match channel.subsystem("sftp") {
        Ok(()) => {}
        Err(error) if matches!(error.code(), ErrorCode::Session(-21 | -22)) => return Ok(Seen::Ended),
        Err(error) => return Err(error),
    }
    // A script that has ended reads no greeting; its output can still be read.
    let _ = channel.write_all(&HELLO);
    let mut said = Vec::new();
    while is_answer(&said).is_none() && more(&mut channel, &mut said) {
        // A server's answer arrives in one piece.
        session.set_timeout(millis(REST));
    }
    if said.is_empty() {
        return Ok(if channel.eof() { Seen::Ended } else { Seen::Nothing });
    }
    if is_answer(&said) == Some(true) {
        return Ok(Seen::Sftp);
    }
    session.set_timeout(millis(REST));
    let until = Instant::now() + REST;
    while !holds_answer(&said)
        && said.len() < LOOKED_THROUGH
        && Instant::now() < until
        && more(&mut channel, &mut said)
    {}
    Ok(if channel.eof() && !holds_answer(&said) { Seen::OnlyText } else { Seen::Text })
}

/// Reads more. `false` if nothing more arrives in time.
fn more(channel: &mut Channel, said: &mut Vec<u8>) -> bool {
    let mut block = [0; 4096];
    match channel.read(&mut block) {
        Ok(read) => {
            said.extend_from_slice(&block[..read]);
            read > 0
        }
        Err(_) => false,
    }
}

/// Whether `said` begins like an SFTP answer; `None` while undecided.
fn is_answer(said: &[u8]) -> Option<bool> {
    match *said {
        [a, b, c, d, kind, ..] => {
            Some(kind == VERSION && (5..=ANSWER_MAX).contains(&u32::from_be_bytes([a, b, c, d])))
        }
        [] | [0, ..] => None,
        _ => Some(false),
    }
}

/// Whether an SFTP answer is anywhere in `said`.
fn holds_answer(said: &[u8]) -> bool {
    said.windows(9).any(|bytes| is_answer(bytes) == Some(true) && matches!(bytes[5..], [0, 0, 0, 1..=6]))
}

#[cfg(test)]
mod tests {
    use crate::domain::destinations::sftp::start::*;

    #[test]
    fn an_answer_is_told_from_a_text() {
        let answer = [0, 0, 0, 5, 2, 0, 0, 0, 3];
        assert_eq!(is_answer(&answer), Some(true));
        assert_eq!((is_answer(&answer[..4]), is_answer(b"")), (None, None));
        for text in [
            "Welcome",
            "H",
            "\n",
            "\0\0\0\u{5}hello",
            "\0\0\0\0\0",
            "\0\0\0\u{4}\u{2}",
            "\u{7f}\u{7f}\u{7f}\u{7f}\u{2}",
        ] {
            assert_eq!(is_answer(text.as_bytes()), Some(false), "{text:?}");
            assert!(!holds_answer(text.as_bytes()));
            assert!(holds_answer(&[text.as_bytes(), &answer, b"more"].concat()), "{text:?}");
        }
    }
}
