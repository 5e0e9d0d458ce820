//! Connections: how many are open at once, and when slow or stalled clients are disconnected.
//!
//! HTTP/1.1 only: the limits count connections, and one HTTP/2 connection can carry any number of requests. Behind a
//! reverse proxy, browsers still get HTTP/2 from the proxy.

use crate::server::listener::tls::Tls;
use crate::server::middleware::forwarded::ByTls;
use crate::server::middleware::headers;
use axum::Router;
use axum::body::{Body, BodyDataStream, Bytes};
use axum::extract::ConnectInfo;
use futures::StreamExt as _;
use futures::stream::unfold;
use hyper::server::conn::http1::Builder;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::SockRef;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_io_timeout::TimeoutStream;
use tokio_openssl::SslStream;
use tower::ServiceExt;

/// Limits on connections.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// A connection that does not send complete headers within this time is closed, also between two requests.
    pub headers: Duration,
    /// Reading a request's body fails if less than [`BODY_STEP`] arrives within this time.
    pub body: Duration,
    /// A connection is closed if its client reads nothing of a response for this long. A client that keeps reading is
    /// served, however slow it is.
    pub stalled: Duration,
    /// Most open connections. Further clients are told to try again.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            headers: Duration::from_secs(10),
            // Including the time to notice, a stalled body ends within half a minute.
            body: Duration::from_secs(25),
            stalled: Duration::from_mins(1),
            connections: 2048,
        }
    }
}

/// Bytes of a body that count as progress.
pub const BODY_STEP: usize = 16 * 1024;

/// Like [`Limits::body`], while the server stops: it waits for responses, but hardly for request bodies.
const STOPPING_BODY: Duration = Duration::from_secs(1);

/// Most bytes of a response that the kernel buffers unsent. Without this limit the kernel takes megabytes at once and
/// then nothing for minutes, so a slow reader would look like a stalled one.
const UNSENT: u32 = 256 * 1024;

/// The limit on open files that the program asks for.
const DESCRIPTORS: u64 = 16 * 1024;

/// Length of the kernel's accept queue. With the usual 128, a burst of clients overflowed the queue, and some had to
/// wait a second or more before they retried.
const WAITING: u32 = 1024;

/// Most simultaneous refusals. Beyond that, connections are closed without a response.
const REFUSALS: usize = 64;

/// How long a refused client has to read the response.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(2);

fn refusal(by_tls: bool) -> String {
    let sentence = "Too many connections are open at the moment. Try again in a moment.";
    headers::final_response("503 Service Unavailable", "retry-after: 10\r\n", by_tls, sentence)
}

/// The first byte of a TLS connection.
const TLS_HANDSHAKE: u8 = 0x16;

fn not_tls() -> String {
    let sentence = "This address needs HTTPS. Replace http:// with https://.";
    headers::final_response("400 Bad Request", "", false, sentence)
}

/// Raises the limit on open files as far as the system allows, and returns limits that fit: half of the open files are
/// for connections.
pub fn limits_of_this_machine() -> Limits {
    let limits = Limits::default();
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.unwrap_or(DESCRIPTORS).min(DESCRIPTORS);
    let mut allowed = current.unwrap_or(wanted);
    if allowed < wanted {
        match setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }) {
            Ok(()) => allowed = wanted,
            Err(error) => tracing::warn!(%error, allowed, "could not raise the number of open files"),
        }
    }
    let half = usize::try_from(allowed / 2).unwrap_or(usize::MAX);
    Limits { connections: limits.connections.min(half), ..limits }
}

/// Listens on `address`.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Lets a restarted server listen while the kernel still remembers the old connections.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(WAITING)
}

/// The connections that are still open after a stop.
pub struct Remaining(watch::Sender<bool>);

impl Remaining {
    /// Waits for the responses being sent. Connections without a request are closed at once; a request still being
    /// received has to arrive quickly.
    pub async fn ended(self) {
        self.0.send_replace(true);
        self.0.closed().await;
    }
}

/// Serves `router` on `listener` until `stopped`, over TLS if `tls` is given. Returns the connections that are still
/// open, for the caller to wait for.
pub async fn serve(
    listener: TcpListener,
    router: &Router,
    limits: Limits,
    tls: Option<Tls>,
    stopped: impl Future<Output = ()>,
) -> Remaining {
    let (stop, stopping) = watch::channel(false);
    let slots = Arc::new(Semaphore::new(limits.connections));
    let refusals = Arc::new(Semaphore::new(REFUSALS));
    tokio::pin!(stopped);
    loop {
        tokio::select! {
            () = &mut stopped => return Remaining(stop),
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => match Arc::clone(&slots).try_acquire_owned() {
                    Ok(slot) => {
                        let service = Service { router: router.clone(), peer, limits, stopping: stopping.clone() };
                        start(stream, slot, service, tls.clone());
                    }
                    Err(_) => refuse(stream, &refusals, tls.clone()),
                },
                Err(error) => {
                    tracing::warn!(%error, "could not accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
}

/// Serves one connection.
struct Service {
    router: Router,
    peer: SocketAddr,
    limits: Limits,
    stopping: watch::Receiver<bool>,
}

fn start(stream: TcpStream, slot: OwnedSemaphorePermit, service: Service, tls: Option<Tls>) {
    if let Err(error) = SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT) {
        tracing::debug!(%error, "could not limit a connection's send buffer");
    }
    tokio::spawn(async move {
        let ended = match tls {
            None => {
                let stream = with_write_timeout(stream, service.limits);
                service.serve(stream, false).await
            }
            Some(tls) => match service.shake_hands(stream, &tls).await {
                Ok(stream) => service.serve(stream, true).await,
                Err(error) => Err(error.into()),
            },
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended early");
        }
        drop(slot);
    });
}

type TimedStream = Pin<Box<TimeoutStream<TcpStream>>>;

/// `stream`, but writing fails if the client reads nothing for too long.
fn with_write_timeout(stream: TcpStream, limits: Limits) -> TimedStream {
    let mut stream = Box::pin(TimeoutStream::new(stream));
    stream.as_mut().set_write_timeout_pinned(Some(limits.stalled));
    stream
}

async fn stopped(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

impl Service {
    /// Completes the TLS handshake, within half the time that the headers have.
    async fn shake_hands(&self, stream: TcpStream, tls: &Tls) -> io::Result<SslStream<TimedStream>> {
        let shaken = async {
            let mut first = [0];
            stream.peek(&mut first).await?;
            if first != [TLS_HANDSHAKE] {
                respond(stream, &not_tls()).await?;
                return Err(io::Error::other("the client does not use TLS"));
            }
            tls.accept(with_write_timeout(stream, self.limits)).await
        };
        let mut stopping = self.stopping.clone();
        tokio::select! {
            shaken = timeout(self.limits.headers / 2, shaken) => shaken?,
            () = stopped(&mut stopping) => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }

    async fn serve(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        by_tls: bool,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        let Self { router, peer, limits, mut stopping } = self;
        let (has_request, until) = (Arc::new(AtomicBool::new(false)), stopping.clone());
        let service = {
            let has_request = Arc::clone(&has_request);
            router.map_request(move |mut request: http::Request<hyper::body::Incoming>| {
                has_request.store(true, Ordering::Relaxed);
                request.extensions_mut().insert(ConnectInfo(peer));
                if by_tls {
                    request.extensions_mut().insert(ByTls);
                }
                request.map(|body| with_progress(Body::new(body), limits.body, until.clone()))
            })
        };
        let connection = Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.headers)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
        tokio::pin!(connection);
        tokio::select! {
            ended = &mut connection => return Ok(ended?),
            () = stopped(&mut stopping) => {}
        }
        // A graceful shutdown would wait for a first request that has not arrived completely.
        if has_request.load(Ordering::Relaxed) {
            connection.as_mut().graceful_shutdown();
            connection.await?;
        }
        Ok(())
    }
}

/// `body`, but reading fails if it makes no progress.
fn with_progress(body: Body, within: Duration, stopping: watch::Receiver<bool>) -> Body {
    if hyper::body::Body::is_end_stream(&body) {
        return body;
    }
    let reading =
        TimedBody { stream: body.into_data_stream(), within, until: Instant::now() + within, got: 0 };
    Body::from_stream(unfold((Some(reading), stopping), async |(reading, mut stopping)| {
        let mut reading = reading?;
        let piece = reading.next(&mut stopping).await?;
        let rest = piece.is_ok().then_some(reading);
        Some((piece, (rest, stopping)))
    }))
}

/// A body that has to make progress.
struct TimedBody {
    stream: BodyDataStream,
    /// Time for each step of progress.
    within: Duration,
    /// When the next step is due.
    until: Instant,
    /// Bytes since the last step.
    got: usize,
}

impl TimedBody {
    async fn next(&mut self, stopping: &mut watch::Receiver<bool>) -> Option<io::Result<Bytes>> {
        let piece = tokio::select! {
            piece = timeout_at(self.until, self.stream.next()) => piece,
            () = stopped(stopping), if self.within > STOPPING_BODY => {
                self.within = STOPPING_BODY;
                self.until = self.until.min(Instant::now() + STOPPING_BODY);
                timeout_at(self.until, self.stream.next()).await
            }
        };
        let piece = match piece {
            Ok(piece) => piece?.map_err(io::Error::other),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        self.got += piece.as_ref().map_or(0, Bytes::len);
        if self.got >= BODY_STEP {
            (self.until, self.got) = (Instant::now() + self.within, 0);
        }
        Some(piece)
    }
}

/// Tells a client that there are too many connections, and closes. Just closes if there are too many refusals, too.
fn refuse(stream: TcpStream, refusals: &Arc<Semaphore>, tls: Option<Tls>) {
    let Ok(permit) = Arc::clone(refusals).try_acquire_owned() else { return };
    tokio::spawn(async move {
        let refused = async {
            match tls {
                None => respond(stream, &refusal(false)).await,
                Some(tls) => respond(tls.accept(stream).await?, &refusal(true)).await,
            }
        };
        let _ = timeout(REFUSAL_PATIENCE, refused).await;
        drop(permit);
    });
}

async fn respond(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &str) -> io::Result<()> {
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    // Read what the client sent: closing a socket with unread data would discard the response.
    let mut rest = [0; 1024];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}
