//! `GET /backups/<file>` and what every download has in common: its length first, any part of it on request,
//! and never a part that passes for the whole.

use crate::domain;
use crate::domain::error::Code;
use crate::domain::repository::read::Download;
use crate::domain::{Error, Holdfast};
use crate::model::address::at;
use crate::model::audit::{Ending, Event};
use crate::model::{AppError, BackupName};
use crate::server::middleware::headers::{status_of, with_code};
use crate::server::routes::assets;
use crate::server::state::{AppState, OnBehalf};
use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use futures::Stream;
use futures::stream::unfold;
use http::header::{
    ACCEPT, ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, ETAG, HeaderName, IF_MATCH, IF_RANGE, LAST_MODIFIED, RANGE, RETRY_AFTER,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_range_header::{EndPosition, StartPosition, parse_range_header};
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::{JoinHandle, spawn_blocking};

/// Bytes read at once; a download has three such pieces in memory at most: two being sent, one read ahead.
const CHUNK: u64 = 256 * 1024;

/// A time in whole seconds tells two states of a file apart only when the later one is older than this:
/// RFC 9110, §8.8.2.2.
const SETTLED: Duration = Duration::from_mins(1);

/// `GET` and `HEAD /backups/<file>`: 404 for anything that is not exactly a listed file.
pub async fn backup(
    State(state): State<AppState>,
    OnBehalf(holdfast): OnBehalf,
    Path(file): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let Ok(name) = file.parse::<BackupName>() else {
        let error = AppError::NotFound("There is no backup of that name.".to_owned());
        return with_code(words(&headers, &error), Code::BackupNotFound.as_str());
    };
    let Some(turn) = state.turn_to_download() else { return crowded(&headers) };
    let (file, opening) = (name.clone(), holdfast.clone());
    match open(move || opening.open_backup(&file)).await {
        Ok(backup) => {
            let told = Told::new(holdfast, Event::BackupDownloaded, name.as_str());
            answer(&method, &headers, name.as_str(), "application/gzip", backup, (turn, told))
        }
        Err(error) => failed_on("Download", &headers, error),
    }
}

/// Opens what is to be downloaded, on a blocking thread. A failure is logged here; what is merely not there
/// is none.
pub async fn open<D: Send + 'static>(
    work: impl FnOnce() -> domain::Result<D> + Send + 'static,
) -> domain::Result<D> {
    spawn_blocking(work).await.unwrap_or(Err(Error::Lost)).inspect_err(|error| {
        if !matches!(error, Error::NoBackup(_) | Error::NoArchive) {
            tracing::warn!(%error, code = %error.code(), cause = ?error, "a download was refused");
        }
    })
}

/// The answer to one download too many.
pub fn crowded(headers: &HeaderMap) -> Response {
    let sentence = "Too many downloads are under way at the moment. Try again in a moment.";
    tracing::warn!("a download was refused: too many are under way");
    let mut answer = words(headers, &AppError::Failed(sentence.to_owned()));
    *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("10"));
    with_code(answer, Code::TooBusy.as_str())
}

/// An error in words: a page for a person, JSON for a program.
pub fn words(headers: &HeaderMap, error: &AppError) -> Response {
    words_on("Download", headers, error)
}

/// The same, where no `what`, such as a download, came of it.
pub fn words_on(what: &'static str, headers: &HeaderMap, error: &AppError) -> Response {
    let status = status_of(error);
    let accepted = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !accepted.contains("text/html") {
        return with_code((status, Json(error)).into_response(), error.code());
    }
    let sentence = error.to_string().replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let style = assets::site()
        .map(|assets| format!("<link rel=\"stylesheet\" href=\"{}\">", at(&format!("/pkg/{}", assets.css))))
        .unwrap_or_default();
    let page = format!(
        "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{what} · Holdfast</title>{style}</head><body><main class=\"door\"><div class=\"card\">\
         <h1>No {}</h1><p role=\"alert\">{sentence}</p><p><a href=\"{}\">Back to the backups</a></p>\
         </div></main></body></html>",
        what.to_lowercase(),
        at("/")
    );
    // Not in the sandbox of other answers: a style sheet is for this site's own pages only.
    let policy = "default-src 'none'; style-src 'self'; frame-ancestors 'none'";
    let said = [(CONTENT_TYPE, "text/html; charset=utf-8"), (CONTENT_SECURITY_POLICY, policy)];
    with_code((status, said, page).into_response(), error.code())
}

/// The same for an error of the domain, whose code is more exact.
pub fn failed_on(what: &'static str, headers: &HeaderMap, error: Error) -> Response {
    let code = error.code().as_str();
    with_code(words_on(what, headers, &error.into()), code)
}

/// Answers with a download, or with the part of it that was asked for: RFC 9110, §§13 and 14. A request for
/// several parts, or for none that makes sense, gets the whole.
pub fn answer(
    method: &Method,
    headers: &HeaderMap,
    file_name: &str,
    content_type: &'static str,
    download: impl Download + 'static,
    (turn, told): (OwnedSemaphorePermit, Told),
) -> Response {
    let size = download.size();
    let etag = format!("\"{}\"", download.mark());
    let modified = time(&download);
    let mut common = HeaderMap::new();
    let mut say = |name: HeaderName, value: &str| {
        // Every value is of plain characters.
        if let Ok(value) = HeaderValue::from_str(value) {
            common.insert(name, value);
        }
    };
    say(ACCEPT_RANGES, "bytes");
    say(ETAG, &etag);
    say(LAST_MODIFIED, &httpdate::fmt_http_date(modified));
    if !is_expected(headers, &etag) {
        let sentence = "This download has changed since it was begun. Start it again.\n";
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
    let told = told.of(&part, size);
    (status, common, Body::from_stream(chunks(Arc::new(download), part, turn, told))).into_response()
}

/// What a `Range` header asks for.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    Whole,
    Bytes(Range<u64>),
    Unsatisfiable,
}

fn part_of(range: &str, size: u64) -> Part {
    let Ok(parsed) = parse_range_header(range) else { return Part::Whole };
    let [asked] = parsed.ranges[..] else { return Part::Whole };
    let start = match asked.start {
        StartPosition::Index(start) => start,
        StartPosition::FromLast(length) => size.saturating_sub(length),
    };
    let end = match asked.end {
        // Back to front makes no sense, whatever the size.
        EndPosition::Index(end) if end < start => return Part::Whole,
        EndPosition::Index(end) => end.saturating_add(1).min(size),
        EndPosition::LastByte => size,
    };
    if start < end { Part::Bytes(start..end) } else { Part::Unsatisfiable }
}

/// Whether the client wants this and no other: Firefox asks so for the rest of a download. Weak tags never
/// match.
fn is_expected(headers: &HeaderMap, etag: &str) -> bool {
    let mut tags = headers.get_all(IF_MATCH).iter().peekable();
    let matches = |tag: &str| tag.trim() == "*" || tag.trim() == etag;
    tags.peek().is_none() || tags.any(|tags| tags.to_str().is_ok_and(|tags| tags.split(',').any(matches)))
}

/// Whether what the client has a part of, if it says so, is what is here. Weak tags never match.
fn is_same(headers: &HeaderMap, etag: &str, dated: Option<SystemTime>) -> bool {
    let Some(validator) = headers.get(IF_RANGE) else { return true };
    let validator = validator.to_str().unwrap_or_default().trim();
    validator == etag
        || dated.is_some_and(|modified| {
            let settled = SystemTime::now().duration_since(modified).is_ok_and(|age| age > SETTLED);
            settled && validator == httpdate::fmt_http_date(modified)
        })
}

/// In whole seconds, as headers have it; what lies before 1970 is said to be of then.
fn time(download: &impl Download) -> SystemTime {
    let seconds = u64::try_from(download.modified().millis().div_euclid(1000)).unwrap_or(0);
    // The last second of the year 9999, the last a header can name.
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.min(253_402_300_799))
}

/// The bytes of `part`, one piece being read while the one before is sent. An error ends the answer before
/// its promised length, which the client sees.
fn chunks<D: Download + 'static>(
    download: Arc<D>,
    part: Range<u64>,
    turn: OwnedSemaphorePermit,
    told: Told,
) -> impl Stream<Item = io::Result<Bytes>> + Send {
    let (next, end) = (part.start, part.end);
    let reading = Reading { download, next, end, ahead: None, sent: None, told: Some(told), _turn: turn };
    unfold(reading, async |mut reading| {
        let current = reading.ahead.take().or_else(|| reading.read_on(None))?;
        let read = current.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        match &read {
            Ok(piece) => {
                reading.gave(piece.len());
                let sent = reading.sent.replace(piece.clone());
                reading.ahead = reading.read_on(sent);
            }
            Err(error) => {
                tracing::warn!(%error, "a download was broken off");
                reading.next = reading.end;
            }
        }
        Some((read, reading))
    })
}

struct Reading<D> {
    download: Arc<D>,
    next: u64,
    end: u64,
    ahead: Option<JoinHandle<io::Result<Bytes>>>,
    /// The piece that was given away last. When its turn to be read over comes, it has mostly been sent.
    sent: Option<Bytes>,
    told: Option<Told>,
    _turn: OwnedSemaphorePermit,
}

impl<D> Reading<D> {
    /// That many bytes went on their way.
    fn gave(&mut self, bytes: usize) {
        if let Some(told) = &mut self.told {
            told.sent += bytes as u64;
        }
    }
}

impl<D> Drop for Reading<D> {
    fn drop(&mut self) {
        let told = self.told.take();
        // Writing it down takes a moment, and this may be a thread that serves others, too. Where the runtime
        // takes no more, it is done when what was not run is dropped.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn_blocking(move || drop(told));
        }
    }
}

/// Notes a download in the audit log when it is dropped: how much of what was asked for was given to the
/// connection.
pub struct Told {
    holdfast: Holdfast,
    event: Event,
    object: String,
    part: Option<(Range<u64>, u64)>,
    sent: u64,
}

impl Told {
    /// Nothing is noted of what never began.
    pub fn new(holdfast: Holdfast, event: Event, object: &str) -> Self {
        Self { holdfast, event, object: object.to_owned(), part: None, sent: 0 }
    }

    /// This part of so many bytes is to be sent.
    fn of(mut self, part: &Range<u64>, size: u64) -> Self {
        self.part = Some((part.clone(), size));
        self
    }
}

impl Drop for Told {
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
            (Ending::Failed, format!("{what}, broken off after {} bytes", self.sent))
        };
        self.holdfast.note(self.event, &self.object, outcome, &detail);
    }
}

impl<D: Download + 'static> Reading<D> {
    /// Begins to read the next piece, where possible into the memory of one that was sent; no thread is held
    /// while nobody waits for it.
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

#[cfg(test)]
mod tests {
    use crate::server::downloads::backup::*;

    #[test]
    fn a_range_is_a_part_nothing_or_the_whole() {
        for (range, part) in [
            ("bytes=0-0", Part::Bytes(0..1)),
            ("bytes=2-4", Part::Bytes(2..5)),
            ("bytes=2-", Part::Bytes(2..10)),
            ("bytes=-3", Part::Bytes(7..10)),
            ("bytes=-30", Part::Bytes(0..10)),
            ("bytes=9-18446744073709551615", Part::Bytes(9..10)),
            ("bytes=10-", Part::Unsatisfiable),
            ("bytes=10-20", Part::Unsatisfiable),
            ("bytes=18446744073709551615-18446744073709551615", Part::Unsatisfiable),
            ("bytes=4-2", Part::Whole),
            ("bytes=0-1,4-5", Part::Whole),
            ("bytes=18446744073709551616-", Part::Whole),
            ("bytes=", Part::Whole),
            ("bytes=-", Part::Whole),
            ("lines=1-2", Part::Whole),
            ("bytes=0x1-2", Part::Whole),
        ] {
            assert_eq!(part_of(range, 10), part, "{range}");
        }
        assert_eq!(part_of("bytes=0-", 0), Part::Unsatisfiable);
        assert_eq!(part_of("bytes=-5", 0), Part::Unsatisfiable);
    }
}
