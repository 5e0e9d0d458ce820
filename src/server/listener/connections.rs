//! Connections: how many, and how long a client may keep one without getting on.
//!
//! HTTP/1.1 only: one HTTP/2 connection could stand for any number of the requests that are counted here, and
//! browsers speak HTTP/2 to the proxy that does TLS.

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

/// What clients are granted.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// A connection that has not sent a whole request's headers by then is closed. One that is kept between
    /// two requests, too.
    pub headers: Duration,
    /// A request's body ends in an error where less than [`BODY_STEP`] comes in so long a time.
    pub body: Duration,
    /// A connection whose client takes no byte of an answer for so long is closed. However slowly it reads:
    /// as long as it does, it is served.
    pub stalled: Duration,
    /// Connections at one time; whoever comes then is told to come again.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            headers: Duration::from_secs(10),
            // With what it takes to notice, within half a minute.
            body: Duration::from_secs(25),
            stalled: Duration::from_mins(1),
            connections: 2048,
        }
    }
}

/// Bytes of a body that count as getting on.
pub const BODY_STEP: usize = 16 * 1024;

/// The same, once the server stops: it waits a little for answers, and less for requests.
const STOPPING_BODY: Duration = Duration::from_secs(1);

/// Bytes of an answer the system holds unsent for one client. Without such a limit it takes up megabytes at
/// once and then nothing for minutes, and a slow reader could not be told from one that has stopped.
const UNSENT: u32 = 256 * 1024;

/// Descriptors the program may have open, where the system lets it decide.
const DESCRIPTORS: u64 = 16 * 1024;

/// Connections the system keeps until they are accepted. With the usual 128, a rush of clients made it turn
/// others away, who came again after a second or more.
const WAITING: u32 = 1024;

/// Refusals under way at one time; whoever comes then is closed without a word.
const REFUSALS: usize = 64;

/// How long a client has to read that it was refused.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(2);

fn refusal(by_tls: bool) -> String {
    let sentence = "Too many connections are open at the moment. Try again in a moment.";
    headers::parting("503 Service Unavailable", "retry-after: 10\r\n", by_tls, sentence)
}

/// What a TLS connection begins with.
const TLS_HANDSHAKE: u8 = 0x16;

fn not_tls() -> String {
    let sentence = "Holdfast speaks TLS at this address. Open it again with https:// in place of http://.";
    headers::parting("400 Bad Request", "", false, sentence)
}

/// Raises the number of descriptors this program may have open to what the system allows, since half of it is
/// for connections. Gives the limits that fit.
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
    // So that a successor can listen while the system still remembers this one's connections.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(WAITING)
}

/// The connections that are left after a stop.
pub struct Remaining(watch::Sender<bool>);

impl Remaining {
    /// Waits for the answers under way. Who has not asked for anything is closed at once; a request under way
    /// has to get on quickly.
    pub async fn ended(self) {
        self.0.send_replace(true);
        self.0.closed().await;
    }
}

/// Serves `router` on `listener`, by TLS where it is given, until `stopped`. Gives the connections that are left,
/// to be waited for.
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
                        attend(stream, slot, service, tls.clone());
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

/// What one connection is served by.
struct Service {
    router: Router,
    peer: SocketAddr,
    limits: Limits,
    stopping: watch::Receiver<bool>,
}

fn attend(stream: TcpStream, slot: OwnedSemaphorePermit, service: Service, tls: Option<Tls>) {
    if let Err(error) = SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT) {
        tracing::debug!(%error, "a connection's buffer could not be limited");
    }
    tokio::spawn(async move {
        let ended = match tls {
            None => {
                let stream = watched(stream, service.limits);
                service.converse(stream, false).await
            }
            Some(tls) => match service.shake_hands(stream, &tls).await {
                Ok(stream) => service.converse(stream, true).await,
                Err(error) => Err(error.into()),
            },
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended early");
        }
        drop(slot);
    });
}

type Watched = Pin<Box<TimeoutStream<TcpStream>>>;

/// The same, that fails where its client takes nothing for too long.
fn watched(stream: TcpStream, limits: Limits) -> Watched {
    let mut stream = Box::pin(TimeoutStream::new(stream));
    stream.as_mut().set_write_timeout_pinned(Some(limits.stalled));
    stream
}

async fn stopped(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

impl Service {
    /// Within half the time that headers have, so that both together take at most half as long again.
    async fn shake_hands(&self, stream: TcpStream, tls: &Tls) -> io::Result<SslStream<Watched>> {
        let shaken = async {
            let mut first = [0];
            stream.peek(&mut first).await?;
            if first != [TLS_HANDSHAKE] {
                tell(stream, &not_tls()).await?;
                return Err(io::Error::other("it does not speak TLS"));
            }
            tls.accept(watched(stream, self.limits)).await
        };
        let mut stopping = self.stopping.clone();
        tokio::select! {
            shaken = timeout(self.limits.headers / 2, shaken) => shaken?,
            () = stopped(&mut stopping) => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }

    async fn converse(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        by_tls: bool,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        let Self { router, peer, limits, mut stopping } = self;
        let (asked, until) = (Arc::new(AtomicBool::new(false)), stopping.clone());
        let service = {
            let asked = Arc::clone(&asked);
            router.map_request(move |mut request: http::Request<hyper::body::Incoming>| {
                asked.store(true, Ordering::Relaxed);
                request.extensions_mut().insert(ConnectInfo(peer));
                if by_tls {
                    request.extensions_mut().insert(ByTls);
                }
                request.map(|body| getting_on(Body::new(body), limits.body, until.clone()))
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
        // Half of a first request would be waited for; half of a later one is not.
        if asked.load(Ordering::Relaxed) {
            connection.as_mut().graceful_shutdown();
            connection.await?;
        }
        Ok(())
    }
}

/// The same body, that ends in an error where it does not get on.
fn getting_on(body: Body, within: Duration, stopping: watch::Receiver<bool>) -> Body {
    if hyper::body::Body::is_end_stream(&body) {
        return body;
    }
    let reading = Reading { stream: body.into_data_stream(), within, until: Instant::now() + within, got: 0 };
    Body::from_stream(unfold((Some(reading), stopping), async |(reading, mut stopping)| {
        let mut reading = reading?;
        let piece = reading.next(&mut stopping).await?;
        let rest = piece.is_ok().then_some(reading);
        Some((piece, (rest, stopping)))
    }))
}

/// A body that is being read.
struct Reading {
    stream: BodyDataStream,
    /// It has to get on within this time, and by then the next time.
    within: Duration,
    until: Instant,
    got: usize,
}

impl Reading {
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

/// Says that there are too many, and closes. Where even that is too much, just closes.
fn refuse(stream: TcpStream, refusals: &Arc<Semaphore>, tls: Option<Tls>) {
    let Ok(turn) = Arc::clone(refusals).try_acquire_owned() else { return };
    tokio::spawn(async move {
        let told = async {
            match tls {
                None => tell(stream, &refusal(false)).await,
                Some(tls) => tell(tls.accept(stream).await?, &refusal(true)).await,
            }
        };
        let _ = timeout(REFUSAL_PATIENCE, told).await;
        drop(turn);
    });
}

async fn tell(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &str) -> io::Result<()> {
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    // What was sent here is taken in: a system that closes over it takes the answer back.
    let mut rest = [0; 1024];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}
