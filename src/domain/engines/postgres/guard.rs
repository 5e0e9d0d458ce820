//! Guards the password: watches the stream during login, and closes it before the client answers a request
//! that this server is not allowed to make.

use crate::domain::engines::postgres::parameters::Methods;
use std::future::{Ready, ready};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

/// The mechanism with channel binding.
const PLUS: &[u8] = b"SCRAM-SHA-256-PLUS";
/// The longest list of mechanisms that is read, in bytes.
const LONGEST: usize = 512;
/// A message's header: its kind, and the length of length field and body.
const HEADER: usize = 5;

/// What was observed during login.
#[derive(Debug, Default, Clone)]
pub(super) struct Seen {
    /// The forbidden login method that the server asked for.
    pub refused: Option<Methods>,
    /// Whether the server asked for any proof.
    pub asked: bool,
    /// Whether channel binding was used.
    pub bound: bool,
    /// The server process that serves us, as the server says.
    pub process: Option<i32>,
}

/// A stream that is watched until the login is complete.
pub(super) struct Guarded<S> {
    stream: S,
    /// The login methods the server may ask for.
    methods: Methods,
    /// The hash of the server's certificate, if there is one.
    certificate: Option<Vec<u8>>,
    /// The beginning of the incoming message.
    message: Vec<u8>,
    /// How many bytes of the message remain that need no inspection.
    rest: usize,
    /// Whether the server began to answer, and whether the login is complete.
    answered: bool,
    done: bool,
    seen: Arc<Mutex<Seen>>,
}

impl<S> Guarded<S> {
    /// `certificate` is the hash of the server's certificate for channel binding.
    pub fn new(stream: S, methods: Methods, certificate: Option<Vec<u8>>) -> Self {
        Self {
            stream,
            methods,
            certificate,
            message: Vec::new(),
            rest: 0,
            answered: false,
            done: false,
            seen: Arc::default(),
        }
    }

    /// What was observed, shared.
    pub fn seen(&self) -> Arc<Mutex<Seen>> {
        Arc::clone(&self.seen)
    }

    fn note(&self, note: impl FnOnce(&mut Seen)) {
        note(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Inspects incoming bytes. An error if the server asks for a forbidden method: the client sees none of
    /// that message.
    fn look(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() && !self.done {
            if self.rest > 0 {
                let passed = self.rest.min(bytes.len());
                self.rest -= passed;
                bytes = &bytes[passed..];
                continue;
            }
            self.message.push(bytes[0]);
            bytes = &bytes[1..];
            let Some(length) = self.message.get(1..HEADER) else { continue };
            let length = length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
            let whole = length.saturating_add(1).max(HEADER);
            let wanted = match self.message[0] {
                // Authentication requests and the process number; of all other messages only the length
                // matters.
                b'R' => whole.min(LONGEST),
                b'K' => whole.min(HEADER + 4),
                _ => HEADER,
            };
            if self.message.len() == wanted {
                let message = std::mem::take(&mut self.message);
                self.rest = whole - wanted;
                self.weigh(message[0], &message[HEADER..])?;
            }
        }
        Ok(())
    }

    fn weigh(&mut self, kind: u8, body: &[u8]) -> io::Result<()> {
        let number = body.first_chunk().map(|bytes| i32::from_be_bytes(*bytes));
        match (kind, number) {
            (b'R', Some(question)) => {
                let asked_for = match question {
                    0 if self.answered => return Ok(()),
                    0 => Methods::NONE,
                    3 => Methods::PASSWORD,
                    5 => Methods::MD5,
                    7 | 8 => Methods::GSS,
                    9 => Methods::SSPI,
                    10..=12 => Methods::SCRAM,
                    // Kerberos 4 and 5, crypt, socket credentials: the client answers none of them.
                    _ => return Ok(()),
                };
                if !self.methods.hold(asked_for) {
                    self.note(|seen| seen.refused = Some(asked_for));
                    return Err(io::Error::other("the server asked for a forbidden login method"));
                }
                self.answered = true;
                self.note(|seen| seen.asked |= asked_for != Methods::NONE);
                let binds = self.certificate.is_some();
                if question == 10 && body[4..].split(|byte| *byte == 0).any(|mechanism| mechanism == PLUS) {
                    self.note(|seen| seen.bound = binds);
                }
            }
            (b'K', process) => self.note(|seen| seen.process = process),
            (b'Z', _) => self.done = true,
            _ => {}
        }
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if let Poll::Ready(Ok(())) = polled
            && !self.done
            && let Err(error) = self.look(&buffer.filled()[before..])
        {
            buffer.set_filled(before);
            return Poll::Ready(Err(error));
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Guarded<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.certificate.clone().map_or_else(ChannelBinding::none, ChannelBinding::tls_server_end_point)
    }
}

/// Tells the client that TLS, where wanted, is established already.
pub(super) struct Prepared;

impl<S: AsyncRead + AsyncWrite + Unpin> TlsConnect<Guarded<S>> for Prepared {
    type Stream = Guarded<S>;
    type Error = io::Error;
    type Future = Ready<io::Result<Guarded<S>>>;

    fn connect(self, stream: Guarded<S>) -> Self::Future {
        ready(Ok(stream))
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::engines::postgres::guard::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        [&[kind], &length[..], body].concat()
    }

    fn question(number: i32, more: &[u8]) -> Vec<u8> {
        message(b'R', &[&number.to_be_bytes()[..], more].concat())
    }

    /// Feeds the bytes in pieces of every size, and returns what was observed.
    fn watch(methods: Methods, bytes: &[u8]) -> (bool, Seen) {
        let mut outcomes = (1..=bytes.len()).map(|size| {
            let mut guard = Guarded::new((), methods, Some(vec![1]));
            let allowed = bytes.chunks(size).all(|piece| guard.look(piece).is_ok());
            let seen = guard.seen.lock().unwrap().clone();
            (allowed, seen)
        });
        let first = outcomes.next().unwrap();
        for (allowed, seen) in outcomes {
            assert_eq!((allowed, format!("{seen:?}")), (first.0, format!("{:?}", first.1)));
        }
        first
    }

    #[test]
    fn a_question_that_may_not_be_asked_reaches_no_client() {
        let strict = Methods::SCRAM;
        let mechanisms = b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0";
        let notice = message(b'N', &[b'R'; 700]);
        for (asked, refused) in [
            (question(3, b""), Some(Methods::PASSWORD)),
            (question(5, b"salt"), Some(Methods::MD5)),
            (question(0, b""), Some(Methods::NONE)),
            ([notice.clone(), question(3, b"")].concat(), Some(Methods::PASSWORD)),
            ([question(10, mechanisms), question(3, b"")].concat(), Some(Methods::PASSWORD)),
            ([question(10, mechanisms), question(12, b"v=x"), question(0, b"")].concat(), None),
            ([notice, question(10, b"SCRAM-SHA-256\0\0"), question(0, b"")].concat(), None),
        ] {
            let (allowed, seen) = watch(strict, &asked);
            assert_eq!((allowed, seen.refused), (refused.is_none(), refused), "{asked:?}");
            assert!(watch(Methods::ALL, &asked).0);
        }
    }

    #[test]
    fn the_process_and_the_tie_to_the_certificate_are_seen() {
        let login = |mechanisms: &[u8]| {
            [
                question(10, mechanisms),
                question(0, b""),
                message(b'S', b"server_version\x0015\0"),
                message(b'K', &[0, 0, 1, 2, 9, 9, 9, 9]),
                message(b'Z', b"I"),
                // Rows are not looked at any more.
                question(3, b""),
            ]
            .concat()
        };
        let (allowed, seen) = watch(Methods::SCRAM, &login(b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"));
        assert!(allowed && seen.bound && seen.asked);
        assert!(!watch(Methods::ALL, &question(0, b"")).1.asked);
        assert_eq!(seen.process, Some(258));
        assert!(!watch(Methods::SCRAM, &login(b"SCRAM-SHA-256\0\0")).1.bound);
    }
}
