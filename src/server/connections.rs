//! Connections: how many, and how long a client may keep one without getting on.
//!
//! HTTP/1.1 only: one HTTP/2 connection could stand for any number of the requests that are counted here, and
//! browsers speak HTTP/2 to the proxy that does TLS.

use axum::Router;
use axum::body::{Body, BodyDataStream, Bytes};
use axum::extract::ConnectInfo;
use futures::StreamExt as _;
use futures::stream::unfold;
use hyper::server::conn::http1::Builder;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::SockRef;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_io_timeout::TimeoutStream;
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

const REFUSAL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 10\r\nConnection: close\r\n\
    Content-Type: text/plain; charset=utf-8\r\nContent-Length: 67\r\n\r\n\
    Too many connections are open at the moment. Try again in a moment.";

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

/// Serves `router` on `listener` until `stopped`. Gives the connections that are left, to be waited for.
pub async fn serve(
    listener: TcpListener,
    router: &Router,
    limits: Limits,
    stopped: impl Future<Output = ()>,
) -> GracefulShutdown {
    let watched = GracefulShutdown::new();
    let slots = Arc::new(Semaphore::new(limits.connections));
    let refusals = Arc::new(Semaphore::new(REFUSALS));
    tokio::pin!(stopped);
    loop {
        tokio::select! {
            () = &mut stopped => return watched,
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => match Arc::clone(&slots).try_acquire_owned() {
                    Ok(slot) => attend(stream, peer, slot, router, limits, &watched),
                    Err(_) => refuse(stream, &refusals),
                },
                Err(error) => {
                    tracing::warn!(%error, "could not accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
}

fn attend(
    stream: TcpStream,
    peer: SocketAddr,
    slot: OwnedSemaphorePermit,
    router: &Router,
    limits: Limits,
    watched: &GracefulShutdown,
) {
    if let Err(error) = SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT) {
        tracing::debug!(%error, "a connection's buffer could not be limited");
    }
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(limits.stalled));
    let service = router.clone().map_request(move |mut request: http::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        request.map(|body| getting_on(Body::new(body), limits.body))
    });
    let connection = Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.headers)
        .serve_connection(TokioIo::new(Box::pin(stream)), TowerToHyperService::new(service));
    let connection = watched.watch(connection);
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection ended early");
        }
        drop(slot);
    });
}

/// The same body, that ends in an error where it does not get on.
fn getting_on(body: Body, within: Duration) -> Body {
    if hyper::body::Body::is_end_stream(&body) {
        return body;
    }
    let reading = (Some(body.into_data_stream()), Instant::now() + within, 0);
    Body::from_stream(unfold(reading, move |(stream, mut until, mut got)| async move {
        let mut stream: BodyDataStream = stream?;
        let piece: io::Result<Bytes> = match timeout_at(until, stream.next()).await {
            Ok(piece) => piece?.map_err(io::Error::other),
            Err(_) => return Some((Err(io::ErrorKind::TimedOut.into()), (None, until, got))),
        };
        got += piece.as_ref().map_or(0, Bytes::len);
        if got >= BODY_STEP {
            (until, got) = (Instant::now() + within, 0);
        }
        Some((piece, (Some(stream), until, got)))
    }))
}

/// Says that there are too many, and closes. Where even that is too much, just closes.
fn refuse(mut stream: TcpStream, refusals: &Arc<Semaphore>) {
    let Ok(turn) = Arc::clone(refusals).try_acquire_owned() else { return };
    tokio::spawn(async move {
        let told = async {
            stream.write_all(REFUSAL).await?;
            stream.shutdown().await?;
            // What was sent here is taken in: a system that closes over it takes the answer back.
            let mut rest = [0; 1024];
            while stream.read(&mut rest).await? > 0 {}
            io::Result::Ok(())
        };
        let _ = timeout(REFUSAL_PATIENCE, told).await;
        drop(turn);
    });
}
