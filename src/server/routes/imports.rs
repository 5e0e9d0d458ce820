//! `POST /imports`: files uploaded by a browser become backups. The importer gets the bytes piece by piece as they
//! arrive, so memory use does not depend on the size of the files.

use crate::api::context::{FlashMessages as _, list_query_of_referer};
use crate::domain;
use crate::domain::accounts::Account;
use crate::domain::engines::Cancel;
use crate::domain::error::Code;
use crate::domain::operations::import::Importer;
use crate::domain::{Error, Holdfast};
use crate::model::{AppError, Imported};
use crate::server::middleware::headers::with_code;
use crate::server::pages::message::{failure, refusal};
use crate::server::state::{AppState, OnBehalf};
use axum::Extension;
use axum::body::{Body, BodyDataStream, Bytes};
use axum::extract::multipart::MultipartError;
use axum::extract::{FromRequest as _, Multipart, Request, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use futures::StreamExt as _;
use futures::stream::unfold;
use http::header::{CONTENT_LENGTH, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// The name of the form's file field.
const FIELD: &str = "file";
/// How many pieces may wait for the importer.
const AHEAD: usize = 4;
/// Largest part of a form besides its files, in bytes. It also limits how much the parser may buffer.
const HELD_MAX: u64 = 1 << 20;
/// How long to read the rest of a refused upload. Browsers read the response only after sending everything.
const DRAIN: Duration = Duration::from_secs(5);

/// Imports the files and redirects to the list, which shows the result.
pub async fn import(
    State(state): State<AppState>,
    OnBehalf(holdfast): OnBehalf,
    Extension(account): Extension<Account>,
    request: Request,
) -> Response {
    let headers = request.headers().clone();
    let said = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let (parts, body) = request.into_parts();
    let Some(permit) = state.import_permit() else {
        drain(body.into_data_stream()).await;
        return crowded(&headers);
    };
    let most = state.holdfast.imports().limits().upload;
    if said.is_some_and(|said| said > most.saturating_add(HELD_MAX)) {
        drain(body.into_data_stream()).await;
        return too_large(&headers, most);
    }
    let held = Arc::new(AtomicU64::new(0));
    let request = Request::from_parts(parts, one_by_one(body, Arc::clone(&held)));
    let Ok(mut form) = Multipart::from_request(request, &()).await else {
        return unreadable(&headers);
    };
    let (hand, taking) = channel(AHEAD);
    let cancel = Cancel::default();
    let _cancelled_when_dropped = CancelOnDrop(cancel.clone());
    let work = spawn_blocking(move || {
        let imported = take_in(&holdfast, taking, &cancel);
        drop(permit);
        imported
    });
    let sent = hand_on(&mut form, &hand, &held).await;
    // Tells the importer that nothing more comes, unless `Piece::Done` was sent.
    drop(hand);
    let imported = work.await.unwrap_or(Err(Error::Lost));
    match (sent, imported) {
        (Sent::Whole, Ok(imported)) => redirect(&state, &headers, &account, &imported),
        (Sent::Broken(error), _) => {
            tracing::warn!(%error, "an import was interrupted");
            unreadable(&headers)
        }
        (sent, Err(error)) => {
            tracing::warn!(%error, code = %error.code(), cause = error.cause(), "nothing was imported");
            if matches!(sent, Sent::Refused) {
                let _ = timeout(DRAIN, rest(&mut form, &held)).await;
            }
            failure("Import", &headers, error)
        }
        // The importer ended well without reading everything, which is impossible.
        (Sent::Refused, Ok(_)) => failure("Import", &headers, Error::Lost),
    }
}

/// Redirects to the list, which says what was imported and what was not.
fn redirect(state: &AppState, headers: &HeaderMap, account: &Account, imported: &Imported) -> Response {
    let told = state.flash.keep(account.id, imported.outcome().into());
    let view = list_query_of_referer(headers);
    let address = told.map_or_else(|| view.href(), |id| view.href_telling(&[("outcome", id)]));
    Redirect::to(&address).into_response()
}

/// One message from the form to the importer.
enum Piece {
    /// A file of that name begins.
    File(String),
    /// Some of its bytes.
    Bytes(Bytes),
    /// It ends there.
    End,
    /// The form has no more.
    Done,
}

/// How much of the form reached the importer.
enum Sent {
    /// All of it.
    Whole,
    /// The part before the importer refused it.
    Refused,
    /// The part before the form could not be read.
    Broken(String),
}

async fn hand_on(form: &mut Multipart, send: &Sender<Piece>, held: &AtomicU64) -> Sent {
    let broken = |error: MultipartError| Sent::Broken(error.body_text());
    loop {
        let mut field = match form.next_field().await {
            Ok(Some(field)) => field,
            Ok(None) if send.send(Piece::Done).await.is_ok() => return Sent::Whole,
            Ok(None) => return Sent::Refused,
            Err(error) => return broken(error),
        };
        if field.name() != Some(FIELD) {
            return Sent::Broken("the form has an unknown field".to_owned());
        }
        held.store(0, Ordering::Relaxed);
        // A form in which no file was chosen contains one empty file without a name.
        let name = field.file_name().unwrap_or_default().to_owned();
        let mut is_told = false;
        loop {
            let bytes = match field.chunk().await {
                Ok(bytes) => bytes,
                Err(error) => return broken(error),
            };
            held.store(0, Ordering::Relaxed);
            let is_over = bytes.is_none();
            let is_nothing = name.is_empty() && bytes.as_ref().is_none_or(Bytes::is_empty);
            if !is_told && !is_nothing {
                is_told = true;
                if send.send(Piece::File(name.clone())).await.is_err() {
                    return Sent::Refused;
                }
            }
            let piece = bytes.map_or(Piece::End, Piece::Bytes);
            if is_told && send.send(piece).await.is_err() {
                return Sent::Refused;
            }
            if is_over {
                break;
            }
        }
    }
}

/// Reads the rest of a form that was refused.
async fn rest(form: &mut Multipart, held: &AtomicU64) {
    while let Ok(Some(mut field)) = form.next_field().await {
        while let Ok(Some(_)) = field.chunk().await {
            held.store(0, Ordering::Relaxed);
        }
    }
}

async fn drain(mut body: BodyDataStream) {
    let all = async { while let Some(Ok(_)) = body.next().await {} };
    let _ = timeout(DRAIN, all).await;
}

/// The importer's side, on a blocking thread.
fn take_in(holdfast: &Holdfast, mut pieces: Receiver<Piece>, cancel: &Cancel) -> domain::Result<Imported> {
    let imports = holdfast.imports();
    let mut importer = imports.begin(cancel);
    loop {
        match pieces.blocking_recv() {
            Some(Piece::File(name)) => receive(&mut importer, &name, &mut pieces)?,
            Some(Piece::Done) => return importer.finish(),
            Some(Piece::Bytes(_) | Piece::End) => {}
            None => return Err(Error::Cancelled),
        }
    }
}

fn receive(importer: &mut Importer<'_>, name: &str, pieces: &mut Receiver<Piece>) -> domain::Result<()> {
    importer.receive(name, &mut FromForm { pieces, piece: Bytes::new(), is_over: false })
}

/// Reads one file of the form.
struct FromForm<'r> {
    pieces: &'r mut Receiver<Piece>,
    piece: Bytes,
    is_over: bool,
}

impl Read for FromForm<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() && !self.is_over {
            match self.pieces.blocking_recv() {
                Some(Piece::Bytes(piece)) => self.piece = piece,
                Some(Piece::End) => self.is_over = true,
                _ => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the upload was interrupted")),
            }
        }
        let length = buffer.len().min(self.piece.len());
        buffer[..length].copy_from_slice(&self.piece.split_to(length));
        Ok(length)
    }
}

/// `body` piece by piece, because the parser would read everything that has arrived into memory. Fails if the parser
/// keeps reading without returning anything.
fn one_by_one(body: Body, held: Arc<AtomicU64>) -> Body {
    Body::from_stream(unfold(body.into_data_stream(), move |mut stream| {
        let held = Arc::clone(&held);
        async move {
            tokio::task::yield_now().await;
            let piece = stream.next().await?.map_err(io::Error::other).and_then(|piece| {
                let holds = held.fetch_add(piece.len() as u64, Ordering::Relaxed);
                if holds > HELD_MAX {
                    return Err(io::Error::other("the part of the form before a file is too large"));
                }
                Ok(piece)
            });
            Some((piece, stream))
        }
    }))
}

/// Cancels the import when the client disconnects.
struct CancelOnDrop(Cancel);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

fn crowded(headers: &HeaderMap) -> Response {
    tracing::warn!("an import was refused: too many are under way");
    let sentence = "Other imports are under way. Try again when they are finished.";
    let mut answer = refusal("Import", headers, &AppError::Failed(sentence.to_owned()));
    *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("60"));
    with_code(answer, Code::TooBusy.as_str())
}

fn too_large(headers: &HeaderMap, most: u64) -> Response {
    let sentence = format!(
        "Together, these files are larger than {most} bytes, the limit for one import. Import fewer files at once, \
         or raise the limit with HOLDFAST_IMPORT_MAX."
    );
    let mut answer = refusal("Import", headers, &AppError::BadRequest(sentence));
    *answer.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
    with_code(answer, Code::LimitReached.as_str())
}

fn unreadable(headers: &HeaderMap) -> Response {
    let sentence =
        "The upload was interrupted or is not a form with files, so nothing was imported. Try again.";
    refusal("Import", headers, &AppError::BadRequest(sentence.to_owned()))
}
