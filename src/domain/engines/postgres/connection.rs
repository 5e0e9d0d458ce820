//! Connects to a PostgreSQL server, and sets the environment in which the tools connect.

use crate::domain::engines::postgres::database::{ANSWER, Postgres};
use crate::domain::engines::postgres::fault::Fault;
use crate::domain::engines::postgres::guard::{Guarded, Prepared, Seen};
use crate::domain::engines::postgres::parameters::{
    ChannelBinding, Identity, Methods, SslMode, Verification, Wanted,
};
use crate::domain::engines::postgres::passfile::Passfile;
use crate::domain::engines::postgres::tools::{Version, environment};
use crate::domain::engines::postgres::way::{Proved, Route, Way};
use crate::domain::engines::postgres::{pooler, tls};
use crate::domain::engines::process::redact;
use crate::domain::error::{Error, Result};
use crate::domain::jobs::cancel::Cancel;
use crate::domain::outbound::{Checked, Refusal};
use secrecy::ExposeSecret;
use socket2::{SockRef, TcpKeepalive};
use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::PoisonError;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_openssl::SslStream;
use tokio_postgres::config::SslNegotiation;
use tokio_postgres::{Client, SimpleQueryMessage};

/// How long a connection may be idle before keepalives are sent, shorter than a firewall's memory; the tools'
/// arguments say the same.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_mins(1), Duration::from_secs(10), 6);
/// How long sent data may stay unacknowledged: as long as the keepalives wait.
const UNANSWERED: Duration = Duration::from_mins(2);
/// Keepalive settings for the tools; libpq has no environment variables for them. They name no database, so
/// PGDATABASE counts, which libpq never parses as a connection string.
pub(crate) const KEEPALIVES: &str =
    "--dbname=keepalives=1 keepalives_idle=60 keepalives_interval=10 keepalives_count=6";
/// A path that never exists, so that libpq does not look in the home directory.
const NOTHING: &str = "/dev/null/none";
/// The first version of the tools that understands `require_auth`.
const TOLD: u32 = 1600;

impl Postgres {
    /// Resolves the server's host, or all hosts, and checks each address against the outbound policy. One
    /// result serves a whole operation: this program's connections and the tools'.
    pub(crate) fn way(&self, timeout: Duration, cancel: &Cancel) -> Result<Way> {
        let deadline = Instant::now() + timeout;
        let (mut found, mut unknown) = (Vec::new(), None);
        for endpoint in &self.server.hosts {
            if endpoint.is_socket() {
                found.push((endpoint.clone(), Checked::local()));
                continue;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.tools.egress.check(&endpoint.host, endpoint.port, left, cancel) {
                Ok(checked) => found.push((endpoint.clone(), checked)),
                Err(Refusal::Cancelled) => return Err(Error::Cancelled),
                // Of several hosts, those that cannot be resolved now are skipped.
                Err(refusal @ (Refusal::Unknown { .. } | Refusal::Late(_))) => {
                    unknown.get_or_insert(refusal);
                }
                Err(refusal) => return Err(self.not_reached(&refusal.to_string())),
            }
        }
        match unknown {
            Some(refusal) if found.is_empty() => Err(self.not_reached(&refusal.to_string())),
            _ => Ok(Way::new(found)),
        }
    }

    /// Connects over `way`, as securely as the URL asks for, to the first server that suits. Afterwards `way`
    /// leads to that server only.
    pub(crate) async fn client(&self, way: &Way) -> Result<Client> {
        let each = way.patience_each(&self.server, ANSWER);
        let wanted = match self.server.parameters.wanted {
            Wanted::PreferStandby => vec![Wanted::Standby, Wanted::Any],
            wanted => vec![wanted],
        };
        let mut said: Vec<String> = Vec::new();
        for wanted in wanted {
            said.clear();
            for route in way.routes() {
                let tried = tokio::time::timeout(each, self.go(route, wanted)).await;
                match tried.unwrap_or(Err(Fault::Late(each))) {
                    Ok((client, proved)) => {
                        way.prove(proved);
                        return Ok(client);
                    }
                    Err(fault) => {
                        let words = self.explain_fault(&fault, &route.endpoint);
                        if !fault.lets_others_try() {
                            return Err(self.not_reached(&words));
                        }
                        if !said.contains(&words) {
                            said.push(words);
                        }
                    }
                }
            }
        }
        Err(self.not_reached(&said.join(" Also, ")))
    }

    async fn go(&self, route: &Route, wanted: Wanted) -> Result<(Client, Proved), Fault> {
        let first = self.enter(route).await?;
        let Entered { client, seen, tls } = first;
        let said = |error| Fault::Said(error, tls);
        // Settings are safe only once it is known that the session stays ours.
        let serving = pooler::process(&client).await.map_err(said)?;
        if pooler::is_between(&seen, serving) {
            let another = async { self.enter(route).await.map(|entered| entered.client) };
            if pooler::lends(&client, another).await.map_err(said)? {
                return Err(Fault::Lent);
            }
        }
        if wanted != Wanted::Any {
            let (standby, read_only) = attributes(&client).await.map_err(said)?;
            if !wanted.suits(standby, read_only) {
                return Err(Fault::Unsuited(wanted));
            }
        }
        let limit = format!("SET statement_timeout = '{}s'", ANSWER.as_secs());
        client.batch_execute(&limit).await.map_err(said)?;
        Ok((client, Proved { route: route.clone(), tls, asked: seen.asked, bound: seen.bound }))
    }

    /// Connects and logs in, nothing more.
    async fn enter(&self, route: &Route) -> Result<Entered, Fault> {
        let mode = self.server.parameters.mode();
        let Some(address) = route.address else {
            let path = Path::new(&route.endpoint.host).join(format!(".s.PGSQL.{}", route.endpoint.port));
            return self.log_in(route, Line::Unix(UnixStream::connect(path).await?)).await;
        };
        let dial = async || {
            let stream = TcpStream::connect(address).await?;
            keep_alive(&stream)?;
            Ok::<_, Fault>(stream)
        };
        if matches!(mode, SslMode::Disable | SslMode::Allow) {
            let entered = self.log_in(route, Line::Tcp(dial().await?)).await;
            match entered {
                // Mode `allow` is for servers that accept TLS only. The server has seen no password yet.
                Err(Fault::Said(error, _))
                    if mode == SslMode::Allow
                        && error.code()
                            == Some(
                                &tokio_postgres::error::SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
                            ) => {}
                entered => return entered,
            }
        }
        let mut stream = dial().await?;
        match ask_for_tls(&mut stream).await? {
            b'S' => {
                let parameters = &self.server.parameters;
                let encrypted = tls::begin(stream, &route.endpoint, parameters).await.map_err(Fault::Tls)?;
                self.log_in(route, Line::Tls(Box::new(encrypted))).await
            }
            // Only the server's own statement that it has no TLS allows going on without.
            b'N' if mode <= SslMode::Prefer => self.log_in(route, Line::Tcp(stream)).await,
            b'N' => Err(Fault::NoTls),
            _ => Err(Fault::Odd("it does not speak the PostgreSQL protocol")),
        }
    }

    async fn log_in(&self, route: &Route, line: Line) -> Result<Entered, Fault> {
        let (server, parameters) = (&self.server, &self.server.parameters);
        let tls = matches!(line, Line::Tls(_));
        let certificate = match &line {
            Line::Tls(stream) if parameters.channel_binding != ChannelBinding::Disable => {
                tls::end_point(stream.ssl())
            }
            _ => None,
        };
        let methods = match &server.password {
            Some(_) => route.methods(parameters),
            // No password is at risk, and the server's question says what is missing.
            None => parameters.require_auth.unwrap_or(Methods::ALL),
        };
        let mut config = tokio_postgres::Config::new();
        config.user(&server.user).dbname(&server.database).application_name(self.application());
        // TLS, where wanted, is established already; the client must not ask for it.
        config
            .ssl_mode(tokio_postgres::config::SslMode::Require)
            .ssl_negotiation(SslNegotiation::Direct)
            .channel_binding(match parameters.channel_binding {
                ChannelBinding::Disable => tokio_postgres::config::ChannelBinding::Disable,
                ChannelBinding::Prefer => tokio_postgres::config::ChannelBinding::Prefer,
                ChannelBinding::Require => tokio_postgres::config::ChannelBinding::Require,
            });
        if let Some(password) = &server.password {
            config.password(password.expose_secret());
        }
        let guarded = Guarded::new(line, methods, certificate);
        let seen = guarded.seen();
        let connected = config.connect_raw(guarded, Prepared).await;
        let seen = seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match connected {
            Ok((client, connection)) => {
                tokio::spawn(connection);
                Ok(Entered { client, seen, tls })
            }
            Err(_) if seen.refused.is_some() => Err(Fault::Unwelcome(seen.refused.unwrap_or(Methods::ALL))),
            Err(error) => Err(Fault::Said(error, tls)),
        }
    }

    fn not_reached(&self, reason: &str) -> Error {
        Error::Unreachable { database: self.name.clone(), reason: redact(reason, &self.secrets()) }
    }

    /// The error for a failed query, for the user who wanted this database.
    pub(crate) fn unreachable(&self, error: &tokio_postgres::Error) -> Error {
        self.not_reached(&self.explain(error))
    }

    /// The longest time for connecting and asking; `usual` where the URL sets none.
    pub(crate) fn patience(&self, way: &Way, usual: Duration) -> Duration {
        way.patience(&self.server, usual)
    }

    /// The password file for a tool. Refused where the tool could be tricked into showing the password to an
    /// impostor.
    pub(crate) fn passfile(&self, tool: &Path, way: &Way, cancel: &Cancel) -> Result<Passfile> {
        let mut hosts: Vec<_> = way.to_go().into_iter().map(|route| route.endpoint).collect();
        if self.needs_telling(way) {
            let version = self.tools.version_of(tool, cancel)?;
            if version.major < TOLD {
                if way.proved().is_none_or(|proved| proved.asked) {
                    return Err(self.untold(tool, &version));
                }
                // The server accepts us without a password, so the tool needs none.
                hosts.clear();
            }
        }
        Passfile::new(&self.tools.run_dir, &self.server, &hosts)
    }

    /// Whether the tool must understand `require_auth` to be given the password: the URL sets it, and neither
    /// the server's certificate nor the login before keeps the tool from other methods.
    fn needs_telling(&self, way: &Way) -> bool {
        let parameters = &self.server.parameters;
        let asked = parameters.require_auth.is_some() || parameters.mode() >= SslMode::Require;
        let proved = way.proved();
        let bound = proved.as_ref().is_some_and(|proved| proved.bound);
        let open =
            |route: &Route| route.address.is_some() && !route.methods(parameters).hold(Methods::PASSWORD);
        self.server.password.is_some() && asked && !bound && way.to_go().iter().any(open)
    }

    fn untold(&self, tool: &Path, version: &Version) -> Error {
        let (name, text) = (tool.file_name().unwrap_or_default().display(), &version.text);
        Error::Tool {
            message: format!(
                "{name} {text} was not given the password of {}: the server at {} does not prove its \
                 identity, and {name} before version 16 sends the password in clear text to any server that \
                 asks. Install version 16 or later (apt-get install postgresql-client-16), use \
                 sslmode=verify-full, or allow it by adding require_auth=password,md5,scram-sha-256 to the \
                 URL.",
                self.name,
                self.server.place()
            ),
            detail: None,
        }
    }

    /// The environment in which a tool connects to this database, over the checked way; if a connection was
    /// made before, to the same address and no less securely.
    pub(crate) fn environment(
        &self,
        tool: &Path,
        passfile: &Passfile,
        way: &Way,
    ) -> Vec<(&'static str, OsString)> {
        let server = &self.server;
        let parameters = &server.parameters;
        let (routes, proved) = (way.to_go(), way.proved());
        let list = |of: &dyn Fn(&Route) -> String| {
            OsString::from(routes.iter().map(of).collect::<Vec<_>>().join(","))
        };
        let mut env = environment(tool);
        // libpq takes as many names as addresses, dials the addresses and does not resolve the names.
        if routes.iter().any(|route| route.address.is_some()) {
            env.push((
                "PGHOSTADDR",
                list(&|route| route.address.map_or_else(String::new, |address| address.ip().to_string())),
            ));
        }
        let mode = match (&proved, parameters.verification()) {
            (Some(proved), _) if !proved.tls => SslMode::Disable,
            (Some(_), Verification::Name) => SslMode::VerifyFull,
            (Some(_), Verification::Authority) => SslMode::VerifyCa,
            (Some(_), Verification::Nothing) => SslMode::Require,
            (None, _) => parameters.mode(),
        };
        let root = tls::authorities(parameters).map_or_else(
            || if parameters.verification() == Verification::Nothing { NOTHING } else { "system" }.into(),
            OsString::from,
        );
        let (certificate, key) = match &parameters.identity {
            Some(Identity { certificate, key }) => (certificate.into(), key.into()),
            None => (NOTHING.into(), NOTHING.into()),
        };
        let binding = match parameters.channel_binding {
            ChannelBinding::Disable => "disable",
            ChannelBinding::Require => "require",
            ChannelBinding::Prefer if proved.as_ref().is_some_and(|proved| proved.bound) => "require",
            ChannelBinding::Prefer => "prefer",
        };
        let timeout = parameters.connect_timeout.unwrap_or(ANSWER).as_secs();
        env.extend([
            ("PGHOST", list(&|route| route.endpoint.host.clone())),
            ("PGPORT", list(&|route| route.endpoint.port.to_string())),
            ("PGUSER", server.user.clone().into()),
            // Unlike --dbname, libpq never parses it as a connection string.
            ("PGDATABASE", server.database.clone().into()),
            ("PGPASSFILE", passfile.path.clone().into()),
            ("PGSSLMODE", mode.name().into()),
            ("PGSSLROOTCERT", root),
            ("PGSSLCERT", certificate),
            ("PGSSLKEY", key),
            ("PGSSLCRL", NOTHING.into()),
            ("PGCHANNELBINDING", binding.into()),
            ("PGGSSENCMODE", "disable".into()),
            ("PGCONNECT_TIMEOUT", timeout.to_string().into()),
            ("PGAPPNAME", self.application().into()),
            ("PGSERVICEFILE", "/dev/null".into()),
            ("PGSYSCONFDIR", "/dev/null".into()),
            ("HOME", NOTHING.into()),
        ]);
        let methods = routes
            .iter()
            .fold(Methods::ALL, |all, route| all.without(Methods::ALL.without(route.methods(parameters))));
        if server.password.is_some() && methods != Methods::ALL {
            env.push(("PGREQUIREAUTH", methods.to_string().into()));
        }
        if !matches!(parameters.wanted, Wanted::Any | Wanted::PreferStandby) {
            env.push(("PGTARGETSESSIONATTRS", parameters.wanted.name().into()));
        }
        env
    }

    fn application(&self) -> &str {
        self.server.parameters.application_name.as_deref().unwrap_or("holdfast")
    }
}

/// A logged-in connection, with what was observed.
struct Entered {
    client: Client,
    seen: Seen,
    tls: bool,
}

/// Whether the server is a standby, and whether transactions are read-only by default.
async fn attributes(client: &Client) -> Result<(bool, bool), tokio_postgres::Error> {
    let asked =
        "SELECT pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('default_transaction_read_only')";
    let messages = client.simple_query(asked).await?;
    let row = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some((row.get(0) == Some("t"), row.get(1) == Some("on"))),
        _ => None,
    });
    Ok(row.unwrap_or_default())
}

/// Asks for TLS, and returns the server's one-letter answer.
async fn ask_for_tls(stream: &mut TcpStream) -> Result<u8, Fault> {
    // The length, then the code of an SSLRequest.
    const QUESTION: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
    stream.write_all(&QUESTION).await?;
    let mut answer = [0];
    match stream.read(&mut answer).await? {
        0 => Err(Fault::Odd("connection closed")),
        _ => Ok(answer[0]),
    }
}

fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (idle, interval, times) = KEEPALIVE;
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(
        &TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(times),
    )?;
    socket.set_tcp_user_timeout(Some(UNANSWERED))
}

/// The stream to the server, plain or TLS.
enum Line {
    Unix(UnixStream),
    Tcp(TcpStream),
    Tls(Box<SslStream<TcpStream>>),
}

impl AsyncRead for Line {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Line {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_flush(context),
            Self::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
