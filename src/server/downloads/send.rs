//! Sends a download: announces its length, serves byte ranges, and never lets an incomplete download look complete.

use crate::domain;
use crate::domain::error::Code;
use crate::domain::repository::download::Download;
use crate::domain::{Error, Holdfast};
use crate::model::AppError;
use crate::model::audit::{Ending, Event};
use crate::server::blocking::blocking;
use crate::server::downloads::range::{Part, is_expected, is_same, part_of};
use crate::server::middleware::headers::with_code;
use crate::server::pages::message;
use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use futures::Stream;
use futures::stream::unfold;
use http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName,
    LAST_MODIFIED, RANGE, RETRY_AFTER,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::{JoinHandle, spawn_blocking};

/// Bytes of one piece. A download holds at most three pieces in memory: two being sent, one read ahead.
const CHUNK: u64 = 256 * 1024;

/// Opens a download on a blocking thread. Logs every failure except an unknown file.
pub async fn open<D: Send + 'static>(
    work: impl FnOnce() -> domain::Result<D> + Send + 'static,
) -> domain::Result<D> {
    blocking(work).await.inspect_err(|error| {
        if !matches!(error, Error::NoBackup(_) | Error::NoArchive) {
            tracing::warn!(%error, code = %error.code(), cause = error.cause(), "a download was refused");
        }
    })
}

/// 503: too many downloads at the same time.
pub fn crowded(headers: &HeaderMap) -> Response {
    let sentence = "Too many downloads are under way. Try again in a moment.";
    tracing::warn!("a download was refused: too many are under way");
    let mut answer = refused(headers, &AppError::Failed(sentence.to_owned()));
    *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("10"));
    with_code(answer, Code::TooBusy.as_str())
}

/// Answers a request for a download with an error.
pub fn refused(headers: &HeaderMap, error: &AppError) -> Response {
    message::refusal("Download", headers, error)
}

/// Like [`refused`], for a domain error, whose code is more exact.
pub fn failed(headers: &HeaderMap, error: Error) -> Response {
    message::failure("Download", headers, error)
}

/// Answers with a download, or with the byte range that the client asked for.
pub fn answer(
    method: &Method,
    headers: &HeaderMap,
    file_name: &str,
    content_type: &'static str,
    download: impl Download + 'static,
    (permit, entry): (OwnedSemaphorePermit, AuditEntry),
) -> Response {
    let size = download.size();
    let etag = format!("\"{}\"", download.mark());
    let modified = time(&download);
    let mut common = HeaderMap::new();
    let mut say = |name: HeaderName, value: &str| {
        // Always succeeds: every value is plain ASCII.
        if let Ok(value) = HeaderValue::from_str(value) {
            common.insert(name, value);
        }
    };
    say(ACCEPT_RANGES, "bytes");
    say(ETAG, &etag);
    say(LAST_MODIFIED, &httpdate::fmt_http_date(modified));
    if !is_expected(headers, &etag) {
        let sentence = "The file has changed since this download began. Start the download again.\n";
        return (StatusCode::PRECONDITION_FAILED, common, sentence).into_response();
    }
    let dated = download.is_told_by_time().then_some(modified);
    let asked = headers.get(RANGE).filter(|_| method == Method::GET && is_same(headers, &etag, dated));
    let (status, part) = match asked.and_then(|range| range.to_str().ok()).map(|range| part_of(range, size)) {
        Some(Part::Bytes(part)) => {
            say(CONTENT_RANGE, &format!("bytes {}-{}/{size}", part.start, part.end - 1));
            (StatusCode::PARTIAL_CONTENT, part)
        }
        Some(Part::Unsatisfiable) => {
            say(CONTENT_RANGE, &format!("bytes */{size}"));
            return (StatusCode::RANGE_NOT_SATISFIABLE, common).into_response();
        }
        Some(Part::Whole) | None => (StatusCode::OK, 0..size),
    };
    say(CONTENT_LENGTH, &(part.end - part.start).to_string());
    say(CONTENT_TYPE, content_type);
    say(CONTENT_DISPOSITION, &format!("attachment; filename=\"{file_name}\""));
    if method != Method::GET {
        return (status, common, Body::empty()).into_response();
    }
    let entry = entry.of(&part, size);
    (status, common, Body::from_stream(chunks(Arc::new(download), part, permit, entry))).into_response()
}

/// The modified time in whole seconds, as headers have it. Times before 1970 become 1970.
fn time(download: &impl Download) -> SystemTime {
    let seconds = u64::try_from(download.modified().millis().div_euclid(1000)).unwrap_or(0);
    // The last second of the year 9999, the last a header can name.
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.min(253_402_300_799))
}

/// The bytes of `part`; the next piece is read while the previous one is sent. A read error ends the response before
/// its announced length, so the client notices.
fn chunks<D: Download + 'static>(
    download: Arc<D>,
    part: Range<u64>,
    permit: OwnedSemaphorePermit,
    entry: AuditEntry,
) -> impl Stream<Item = io::Result<Bytes>> + Send {
    let (next, end) = (part.start, part.end);
    let reader = Reader { download, next, end, ahead: None, sent: None, entry: Some(entry), _permit: permit };
    unfold(reader, async |mut reader| {
        let current = reader.ahead.take().or_else(|| reader.read_on(None))?;
        let read = current.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        match &read {
            Ok(piece) => {
                reader.gave(piece.len());
                let sent = reader.sent.replace(piece.clone());
                reader.ahead = reader.read_on(sent);
            }
            Err(error) => {
                tracing::warn!(%error, "a download was cut off");
                reader.next = reader.end;
            }
        }
        Some((read, reader))
    })
}

struct Reader<D> {
    download: Arc<D>,
    next: u64,
    end: u64,
    ahead: Option<JoinHandle<io::Result<Bytes>>>,
    /// The piece that was last handed to the connection. Its memory is reused once the piece is sent.
    sent: Option<Bytes>,
    entry: Option<AuditEntry>,
    _permit: OwnedSemaphorePermit,
}

impl<D> Reader<D> {
    /// Counts bytes handed to the connection.
    fn gave(&mut self, bytes: usize) {
        if let Some(entry) = &mut self.entry {
            entry.sent += bytes as u64;
        }
    }
}

impl<D> Drop for Reader<D> {
    fn drop(&mut self) {
        let entry = self.entry.take();
        // Dropping the entry writes it to disk, so drop it on a blocking thread. A runtime that is shutting down drops
        // the closure, and the entry with it.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn_blocking(move || drop(entry));
        }
    }
}

/// The audit entry of a download: how many of the requested bytes were sent. Dropping it writes it.
pub struct AuditEntry {
    holdfast: Holdfast,
    event: Event,
    object: String,
    part: Option<(Range<u64>, u64)>,
    sent: u64,
}

impl AuditEntry {
    /// An entry. It is written only if the download begins.
    pub fn new(holdfast: Holdfast, event: Event, object: &str) -> Self {
        Self { holdfast, event, object: object.to_owned(), part: None, sent: 0 }
    }

    /// The entry with the part that is about to be sent, of `size` bytes in total.
    fn of(mut self, part: &Range<u64>, size: u64) -> Self {
        self.part = Some((part.clone(), size));
        self
    }
}

impl Drop for AuditEntry {
    fn drop(&mut self) {
        let Some((part, size)) = &self.part else { return };
        let wanted = part.end - part.start;
        let what = if wanted == *size {
            format!("{size} bytes")
        } else {
            format!("bytes {} to {} of {size}", part.start, part.end - 1)
        };
        let (outcome, detail) = if self.sent == wanted {
            (Ending::Ok, format!("{what}, complete"))
        } else {
            (Ending::Failed, format!("{what}, cut off after {} bytes", self.sent))
        };
        self.holdfast.notes().note(self.event, &self.object, outcome, &detail);
    }
}

impl<D: Download + 'static> Reader<D> {
    /// Starts to read the next piece, if possible into the memory of a piece that was sent. No thread waits for the
    /// client.
    fn read_on(&mut self, sent: Option<Bytes>) -> Option<JoinHandle<io::Result<Bytes>>> {
        let at = self.next;
        let length = CHUNK.min(self.end.saturating_sub(at));
        if length == 0 {
            return None;
        }
        self.next += length;
        let download = Arc::clone(&self.download);
        Some(spawn_blocking(move || {
            let length = usize::try_from(length).unwrap_or(0);
            if let Some(Ok(mut piece)) = sent.map(Bytes::try_into_mut) {
                piece.resize(length, 0);
                download.read_exact_at(at, &mut piece)?;
                return Ok(piece.freeze());
            }
            let mut piece = vec![0; length];
            download.read_exact_at(at, &mut piece)?;
            Ok(piece.into())
        }))
    }
}
