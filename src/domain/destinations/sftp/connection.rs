//! One connection to an SFTP server: connected, verified, logged in, and closed without waiting.

use crate::domain::destinations::fault::{Fault, FaultKind, Finishing};
use crate::domain::destinations::sftp::faults;
use crate::domain::destinations::sftp::known_hosts;
use crate::domain::destinations::sftp::known_hosts::Pins;
use crate::domain::destinations::sftp::settings::{Credential, SftpAccount};
use crate::domain::destinations::sftp::start::{self, millis};
use crate::domain::destinations::shared::Options;
use crate::domain::engines::Cancel;
use crate::domain::error::{Error, Result};
use crate::domain::outbound::{Checked, Refusal};
use crate::model::HostKeyFound;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use secrecy::ExposeSecret;
use socket2::{SockRef, TcpKeepalive};
use ssh2::{ErrorCode, KeyboardInteractivePrompt, MethodType, Prompt, Session, Sftp};
use std::io;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The algorithms to agree on with the server, best first: nothing based on SHA-1, CBC, 3DES or RC4.
const METHODS: [(MethodType, &str); 6] = [
    (
        MethodType::Kex,
        "mlkem768x25519-sha256,curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256,\
         ecdh-sha2-nistp384,ecdh-sha2-nistp521,diffie-hellman-group-exchange-sha256,\
         diffie-hellman-group16-sha512,diffie-hellman-group18-sha512,diffie-hellman-group14-sha256",
    ),
    (MethodType::CryptCs, CIPHERS),
    (MethodType::CryptSc, CIPHERS),
    (MethodType::MacCs, MACS),
    (MethodType::MacSc, MACS),
    (MethodType::SignAlgo, "rsa-sha2-512,rsa-sha2-256"),
];

/// AES first: with AES, servers rekey after 64 GiB; with `ChaCha20`, whose blocks are half as long, after
/// each GiB. Rekeying is best avoided.
const CIPHERS: &str = "aes256-gcm@openssh.com,aes128-gcm@openssh.com,aes256-ctr,aes192-ctr,aes128-ctr,\
     chacha20-poly1305@openssh.com";

const MACS: &str = "hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com,hmac-sha2-256,hmac-sha2-512";

/// TCP keepalive: the idle time before the first probe, and the time between probes.
const ALIVE: Duration = Duration::from_secs(5);

/// How often to send something on a connection that waits for an answer: proxies and firewalls cut idle ones.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);

/// The longest single poll of the connection.
const LOOK: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// `LIBSSH2_ERROR_EAGAIN`: no answer yet.
const NOT_YET: ErrorCode = ErrorCode::Session(-37);

/// `LIBSSH2_ERROR_TIMEOUT`.
const TOO_LATE: ErrorCode = ErrorCode::Session(-9);

/// A server with agreed algorithms; nothing about the account was sent yet.
pub struct Greeted {
    line: Line,
    session: Session,
    waits: Waits,
}

/// How long to wait for answers.
#[derive(Clone, Copy)]
struct Waits {
    /// Any answer.
    io: Duration,
    /// The answer that finishes a file.
    finish: Duration,
}

/// A server on which the account is logged in.
pub struct Connection {
    // Dropped in this order: with the connection cut first, neither of the others waits for an answer.
    line: Line,
    sftp: Sftp,
    session: Session,
    waits: Waits,
}

impl Connection {
    /// Connects to the server, verifies its host key, and logs in. If the host key is not approved, stops
    /// before sending anything about the account, and passes the key to `stopped_at`.
    pub fn open(
        account: &SftpAccount,
        pins: &Pins,
        options: &Options,
        cancel: &Cancel,
        stopped_at: &dyn Fn(&HostKeyFound),
    ) -> Result<Self> {
        let way = way(account, options, cancel)?;
        let greeted = Greeted::new(account, &way, pins, options, cancel)?;
        let found = greeted.host_key(account, pins)?;
        if !found.is_known() {
            stopped_at(&found);
            return Err(faults::host_key(&found).into());
        }
        greeted.log_in(account)
    }

    /// The server's name, with its port unless that is the default.
    pub fn server(&self) -> &str {
        &self.line.server
    }

    /// The SFTP session.
    pub fn sftp(&self) -> &Sftp {
        &self.sftp
    }

    /// Fails if cancelled.
    pub fn check_cancel(&self) -> Result<()> {
        self.line.check_cancel()
    }

    /// Translates an error of the library; records a lost connection.
    pub fn fault(&self, doing: &str, error: &ssh2::Error) -> Error {
        self.line.fault(faults::ssh(&self.line.server, doing, error))
    }

    /// The same for reading and writing.
    pub fn stream_fault(&self, doing: &str, error: &io::Error) -> Error {
        self.line.fault(faults::stream(&self.line.server, doing, error))
    }

    /// Sends a request that a server may take minutes to answer, such as one that forwards the file to an
    /// object store. Waits up to the timeout for finishing a file while the connection is alive, unless
    /// cancelled. Also returns how long the answer took. `ask` is called repeatedly until it is answered.
    pub fn patiently<T>(
        &self,
        mut ask: impl FnMut() -> Result<T, ssh2::Error>,
    ) -> (Result<T, ssh2::Error>, Duration) {
        let began = Instant::now();
        let mut spoke = began;
        self.session.set_blocking(false);
        let answer = loop {
            match ask() {
                Err(error) if error.code() == NOT_YET => {}
                answer => break answer,
            }
            if self.line.cancel.is_cancelled() || began.elapsed() >= self.waits.finish {
                // Objects still open on a cut connection are dropped without waiting.
                self.line.give_up();
                break Err(ssh2::Error::from_errno(TOO_LATE));
            }
            if spoke.elapsed() >= SIGN_OF_LIFE {
                spoke = Instant::now();
                // Set for this one message only: it would shorten every other wait.
                self.session.set_keepalive(false, 1);
                let said = self.session.keepalive_send();
                self.session.set_keepalive(false, 0);
                if let Err(error) = said {
                    break Err(error);
                }
            }
            // Interrupted or not, the next round asks again.
            let _ = poll(&mut [PollFd::new(&*self.line.socket, PollFlags::IN)], Some(&LOOK));
        };
        self.session.set_blocking(true);
        (answer, began.elapsed())
    }

    /// Translates an error that came instead of the answer that finishes a file.
    pub fn finishing_fault(
        &self,
        step: Finishing,
        doing: &str,
        error: &ssh2::Error,
        took: Duration,
    ) -> Error {
        let fault = if error.code() == TOO_LATE {
            Fault::too_late(&self.line.server, doing, took)
        } else {
            faults::ssh(&self.line.server, doing, error)
        };
        self.line.fault(Fault { finishing: Some((step, took > self.waits.io)), ..fault })
    }

    /// Cuts a failed connection, so that nothing waits for an answer any more.
    pub fn hang_up_if_broken(&self) {
        if self.line.broken.load(Ordering::SeqCst) || self.line.cancel.is_cancelled() {
            self.line.hang_up();
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if !self.line.broken.load(Ordering::SeqCst) && !self.line.cancel.is_cancelled() {
            // One packet, which needs no answer; the server's log then shows who closed the connection.
            let _ = self.session.disconnect(None, "done", None);
        }
    }
}

/// The server's addresses, resolved once and checked.
pub fn way(account: &SftpAccount, options: &Options, cancel: &Cancel) -> Result<Checked> {
    let checked = options.egress.check(&account.form.host, account.port, options.connect_timeout, cancel);
    checked.map_err(|refusal| match refusal {
        Refusal::Cancelled => Error::Cancelled,
        refusal => Fault::new(FaultKind::Resolve, refusal.to_string()).into(),
    })
}

impl Greeted {
    /// Connects to the server by the checked way and agrees on algorithms.
    pub fn new(
        account: &SftpAccount,
        way: &Checked,
        pins: &Pins,
        options: &Options,
        cancel: &Cancel,
    ) -> Result<Self> {
        let server = server_name(&account.form.host, account.port);
        let stream = dial(&server, way, options.connect_timeout, cancel)?;
        let dialling = |error: io::Error| faults::dialling(&server, &error);
        stream.set_nodelay(true).map_err(dialling)?;
        keep_watch(&stream, options.io_timeout).map_err(dialling)?;
        let line = Line::new(server.clone(), stream.try_clone().map_err(dialling)?, cancel)?;
        let session = Session::new().map_err(|error| faults::handshake(&server, None, &error))?;
        // From here on the connection is dropped, and so cut, before the session.
        let waits = Waits { io: options.io_timeout, finish: options.finish_timeout.max(options.io_timeout) };
        let mut greeted = Self { line, session, waits };
        let session = &mut greeted.session;
        // Without the library's keepalive: with it, an answer must arrive before the next keepalive is due,
        // perhaps within a second, whatever the timeout. Nothing here is idle for longer anyway.
        session.set_timeout(millis(options.io_timeout));
        session.set_tcp_stream(stream);
        let preference = pins.preference(&account.form.host, account.port);
        for (method, list) in METHODS.into_iter().chain([(MethodType::HostKey, preference.as_str())]) {
            session.method_pref(method, list).map_err(|error| faults::handshake(&server, None, &error))?;
        }
        let shaken = session.handshake();
        let banner = session.banner_bytes().map(<[u8]>::to_owned);
        shaken.map_err(|error| greeted.line.fault(faults::handshake(&server, banner.as_deref(), &error)))?;
        Ok(greeted)
    }

    /// The host key that the server proved to have, compared with the pins.
    pub fn host_key(&self, account: &SftpAccount, pins: &Pins) -> Result<HostKeyFound> {
        let shown =
            self.session.host_key().and_then(|(blob, _)| known_hosts::host_key(blob)).ok_or_else(|| {
                Fault::new(FaultKind::WrongProtocol, format!("{} sent no host key.", self.line.server))
            })?;
        Ok(known_hosts::found(pins, &account.form.host, account.port, shown))
    }

    /// The agreed algorithms, for the log.
    pub fn methods(&self) -> String {
        let agreed = [MethodType::Kex, MethodType::HostKey, MethodType::CryptCs, MethodType::MacCs];
        agreed.map(|method| self.session.methods(method).unwrap_or("-")).join(" ")
    }

    /// Logs in and starts SFTP. The caller has verified the host key.
    pub fn log_in(self, account: &SftpAccount) -> Result<Connection> {
        authenticate(&self.line, &self.session, account)?;
        let started = start::sftp(&self.session, self.waits.io);
        self.session.set_timeout(millis(self.waits.io));
        let line = &self.line;
        let sftp = started.map_err(|problem| match problem {
            start::Problem::Library(error) => line.fault(faults::ssh(&line.server, "Starting SFTP", &error)),
            problem => line
                .fault(Fault::new(FaultKind::NoService, problem.words(&line.server, &account.form.username))),
        })?;
        let Self { line, session, waits } = self;
        let connection = Connection { line, sftp, session, waits };
        connection.check_cancel()?;
        Ok(connection)
    }
}

/// The login methods of RFC 4252, 4256 and 4462.
const METHODS_OF_LOGIN: [&str; 6] =
    ["publickey", "password", "keyboard-interactive", "hostbased", "gssapi-with-mic", "gssapi-keyex"];

/// The known methods of the server's list: other text from the server is never shown.
fn known_methods(offered: &str) -> String {
    let is_offered = |method: &&str| offered.split(',').any(|name| name == *method);
    let known: Vec<_> = METHODS_OF_LOGIN.into_iter().filter(is_offered).collect();
    if known.is_empty() { "no known method".to_owned() } else { known.join(", ") }
}

/// Makes one login attempt at most: servers count them, and some block the client.
fn authenticate(line: &Line, session: &Session, account: &SftpAccount) -> Result<()> {
    let (server, user) = (&line.server, &account.form.username);
    let failed = |error: &ssh2::Error| match error.code() {
        // LIBSSH2_ERROR_PASSWORD_EXPIRED, _FILE, _AUTHENTICATION_FAILED, _PUBLICKEY_UNVERIFIED.
        ErrorCode::Session(-15) => {
            denied(format!("The password of {user} on {server} has expired. Change it there."))
        }
        ErrorCode::Session(-16) => {
            let words =
                format!("The private key cannot be used ({}). Generate another one.", error.message());
            Fault::new(FaultKind::UnusableKey, words).into()
        }
        ErrorCode::Session(-18 | -19) => denied(match account.credential {
            Credential::Password(_) => {
                format!("{server} rejects this password for {user}. Check the username and the password.")
            }
            Credential::Key(_) => format!(
                "{server} rejects this key for {user}. Check the username, and that the public key is in \
                 this account's authorized_keys."
            ),
        }),
        _ => line.fault(faults::ssh(server, "Logging in", error)),
    };
    let offered = match session.auth_methods(user) {
        Ok(methods) => methods.to_owned(),
        // Some servers accept an account without credentials.
        Err(_) if session.authenticated() => return Ok(()),
        Err(error) => return Err(failed(&error)),
    };
    let offers = |method: &str| offered.split(',').any(|name| name == method);
    match &account.credential {
        Credential::Key(key) if offers("publickey") => {
            session
                .userauth_pubkey_memory(user, None, key.expose_secret(), None)
                .map_err(|error| failed(&error))?;
        }
        Credential::Password(password) if offers("password") => {
            session.userauth_password(user, password.expose_secret()).map_err(|error| failed(&error))?;
        }
        Credential::Password(password) if offers("keyboard-interactive") => {
            let mut answers = Answers { password: password.expose_secret(), given: false };
            session.userauth_keyboard_interactive(user, &mut answers).map_err(|error| failed(&error))?;
        }
        _ => {
            let wanted = match account.credential {
                Credential::Password(_) => "passwords",
                Credential::Key(_) => "keys",
            };
            let offered = known_methods(&offered);
            return Err(denied(format!(
                "{server} does not accept {wanted} from {user}; it offers: {offered}. Choose another \
                 authentication method."
            )));
        }
    }
    if session.authenticated() {
        return Ok(());
    }
    Err(denied(format!(
        "{server} requires more than one authentication method for {user}, which Holdfast does not support."
    )))
}

fn denied(words: String) -> Error {
    Fault::new(FaultKind::Denied, words).into()
}

/// Answers the server's prompt with the password, once: a second prompt asks for something else.
struct Answers<'p> {
    password: &'p str,
    given: bool,
}

impl KeyboardInteractivePrompt for Answers<'_> {
    fn prompt(&mut self, _: &str, _: &str, prompts: &[Prompt<'_>]) -> Vec<String> {
        let mut answer = |prompt: &Prompt<'_>| {
            if prompt.echo || std::mem::replace(&mut self.given, true) {
                return String::new();
            }
            self.password.to_owned()
        };
        prompts.iter().map(&mut answer).collect()
    }
}

fn dial(server: &str, way: &Checked, timeout: Duration, cancel: &Cancel) -> Result<TcpStream> {
    let deadline = Instant::now() + timeout;
    let mut last = Fault::timed_out(server, "connecting");
    for address in way.addresses() {
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        match TcpStream::connect_timeout(address, left) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = faults::dialling(server, &error),
        }
    }
    Err(last.into())
}

/// Makes TCP detect a dead server, even while nothing is sent for minutes.
fn keep_watch(stream: &TcpStream, limit: Duration) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(ALIVE).with_interval(ALIVE))?;
    socket.set_tcp_user_timeout(Some(limit))
}

fn server_name(host: &str, port: u16) -> String {
    if port == crate::model::sftp_form::DEFAULT_PORT {
        host.to_owned()
    } else {
        format!("{host}, port {port}")
    }
}

/// The socket below the session. It is cut before anything above it is dropped, because closing politely
/// would wait three times for a server that may never answer.
struct Line {
    server: String,
    socket: Arc<TcpStream>,
    cancel: Cancel,
    broken: AtomicBool,
}

impl Line {
    fn new(server: String, socket: TcpStream, cancel: &Cancel) -> Result<Self> {
        let socket = Arc::new(socket);
        let other = Arc::clone(&socket);
        cancel.on_cancel(move || {
            let _ = other.shutdown(Shutdown::Both);
        });
        let line = Self { server, socket, cancel: cancel.clone(), broken: AtomicBool::new(false) };
        line.check_cancel()?;
        Ok(line)
    }

    fn check_cancel(&self) -> Result<()> {
        if self.cancel.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }

    fn fault(&self, fault: Fault) -> Error {
        // Cancelling cuts the connection to end a wait, so the errors that follow are not faults.
        if self.cancel.is_cancelled() {
            return Error::Cancelled;
        }
        if fault.is_passing() {
            self.broken.store(true, Ordering::SeqCst);
        }
        fault.into()
    }

    fn give_up(&self) {
        self.broken.store(true, Ordering::SeqCst);
        self.hang_up();
    }

    fn hang_up(&self) {
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.cancel.forget();
        self.hang_up();
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::destinations::sftp::connection::*;

    #[test]
    fn of_the_methods_a_server_lists_only_known_names_are_shown() {
        assert_eq!(known_methods("hostbased,password"), "password, hostbased");
        assert_eq!(known_methods("publickey,<b>canary</b>,passwordx"), "publickey");
        assert_eq!(known_methods("canary"), "no known method");
        assert_eq!(known_methods(""), "no known method");
    }
}
