//! The site's static files, embedded in the program. Their names contain a hash, so browsers cache them forever.

use axum::extract::Path;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, VARY};
use rust_embed::{Embed, EmbeddedFile};

/// The names of the site's files, with the hash of their content in them.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct Assets {
    /// The JavaScript that starts the WebAssembly.
    pub js: String,
    /// The WebAssembly.
    pub wasm: String,
    /// The style sheet.
    pub css: String,
}

#[derive(Embed)]
#[folder = "target/site"]
#[allow_missing = true]
struct Site;

/// The names of the site's files; `None` if the program was built without them.
pub fn site() -> Option<Assets> {
    serde_json::from_slice(&Site::get("manifest.json")?.data).ok()
}

/// `GET /pkg/<file>`: scripts, WebAssembly and style sheets.
pub async fn package(Path(file): Path<String>, headers: HeaderMap) -> Response {
    answer(&format!("pkg/{file}"), &headers, "public, max-age=31536000, immutable")
}

/// `GET /favicon.svg` and `GET /robots.txt`.
pub async fn root(address: Uri, headers: HeaderMap) -> Response {
    answer(address.path().trim_start_matches('/'), &headers, "public, max-age=86400")
}

fn answer(file: &str, headers: &HeaderMap, keep: &'static str) -> Response {
    let Some(content_type) = content_type(file) else { return StatusCode::NOT_FOUND.into_response() };
    let accepted = headers.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let accepts = |coding: &str| {
        accepted.split(',').any(|each| {
            let (name, weight) = each.split_once(';').unwrap_or((each, ""));
            name.trim() == coding && !matches!(weight.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000")
        })
    };
    let packed = [("br", "br"), ("gzip", "gz")]
        .into_iter()
        .filter(|(coding, _)| accepts(coding))
        .find_map(|(coding, ending)| Some((coding, Site::get(&format!("{file}.{ending}"))?)));
    let common = [(CONTENT_TYPE, content_type), (CACHE_CONTROL, keep), (VARY, "accept-encoding")];
    match (packed, Site::get(file)) {
        (Some((coding, EmbeddedFile { data, .. })), _) => {
            (common, [(CONTENT_ENCODING, coding)], data).into_response()
        }
        (None, Some(EmbeddedFile { data, .. })) => (common, data).into_response(),
        (None, None) => StatusCode::NOT_FOUND.into_response(),
    }
}

fn content_type(file: &str) -> Option<&'static str> {
    let (_, ending) = file.rsplit_once('.')?;
    Some(match ending {
        "js" => "text/javascript; charset=utf-8",
        "wasm" => "application/wasm",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "txt" => "text/plain; charset=utf-8",
        _ => return None,
    })
}
