//! `POST /csp-report`: what a browser kept a page from doing. Anybody may post one, so a line of the log is all it
//! gets, with little in it, and few get one.

use crate::server::state::AppState;
use axum::body::Bytes;
use axum::extract::State;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use url::Url;

/// Bytes of a report at most.
pub const REPORT_MAX: usize = 16 * 1024;

/// Lines in the log within a [`MINUTE`]; more reports are answered and forgotten.
const LINES: usize = 5;
const MINUTE: Duration = Duration::from_mins(1);

/// Bytes of each part of a line.
const PART: usize = 200;

/// When the last lines were written.
#[derive(Clone, Default)]
pub struct Reports(Arc<Mutex<VecDeque<Instant>>>);

impl Reports {
    fn admit(&self, now: Instant) -> bool {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.retain(|&line| now.duration_since(line) < MINUTE);
        let admitted = lines.len() < LINES;
        if admitted {
            lines.push_back(now);
        }
        admitted
    }
}

/// Takes a report in one of the two forms that browsers have for them.
pub async fn take(State(state): State<AppState>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let known = ["application/csp-report", "application/json", "application/reports+json"];
    if !known.iter().any(|known| kind.eq_ignore_ascii_case(known)) {
        return StatusCode::UNSUPPORTED_MEDIA_TYPE;
    }
    let Some(Line { directive, blocked, page }) = Line::of(&body) else { return StatusCode::BAD_REQUEST };
    if state.reports.admit(Instant::now()) {
        tracing::warn!(directive, blocked, page, "a browser kept a page from what its policy forbids");
    }
    StatusCode::NO_CONTENT
}

/// What of a report goes into the log.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    directive: String,
    blocked: String,
    page: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Report {
    /// `report-uri`.
    One {
        #[serde(rename = "csp-report")]
        report: Violation,
    },
    /// `report-to`: several, of which the first has to do.
    Several(Vec<Reported>),
}

#[derive(Deserialize)]
struct Reported {
    body: Violation,
}

#[derive(Deserialize)]
struct Violation {
    #[serde(alias = "effective-directive", alias = "effectiveDirective")]
    directive: Option<String>,
    #[serde(rename = "violated-directive")]
    violated: Option<String>,
    #[serde(default, alias = "blocked-uri", alias = "blockedURL")]
    blocked: String,
    #[serde(default, alias = "document-uri", alias = "documentURL")]
    page: String,
}

impl Line {
    fn of(report: &[u8]) -> Option<Self> {
        let Violation { directive, violated, blocked, page } = match serde_json::from_slice(report).ok()? {
            Report::One { report } => report,
            Report::Several(reports) => reports.into_iter().next()?.body,
        };
        let directive = directive.or(violated).unwrap_or_default();
        let blocked = match Url::parse(&blocked) {
            Ok(url) if url.has_host() => url.origin().ascii_serialization(),
            Ok(url) => url.scheme().to_owned(),
            Err(_) => plain(&blocked),
        };
        // What follows the path may be a secret, and so may be what precedes it.
        let page = Url::parse(&page).map_or(String::new(), |url| url.path().to_owned());
        Some(Self { directive: plain(&directive), blocked: capped(blocked), page: capped(page) })
    }
}

/// A word such as `script-src-elem` or `inline`, as long as it is one.
fn plain(text: &str) -> String {
    let word = text.split_ascii_whitespace().next().unwrap_or_default();
    let is_plain = word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    capped(if is_plain { word.to_owned() } else { "?".to_owned() })
}

/// Of an address as it is parsed, which is ASCII.
fn capped(mut text: String) -> String {
    if text.is_ascii() {
        text.truncate(PART);
        text
    } else {
        "?".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use crate::server::routes::csp_report::*;
    use serde_json::json;

    /// Directive, what was blocked, page.
    fn line(report: &serde_json::Value) -> Option<String> {
        let Line { directive, blocked, page } = Line::of(report.to_string().as_bytes())?;
        Some(format!("{directive} {blocked} {page}"))
    }

    #[test]
    fn a_line_has_a_directive_an_origin_and_a_path() {
        let of = |blocked: &str, page: &str| {
            line(&json!({ "csp-report": {
                "document-uri": page, "effective-directive": "img-src", "violated-directive": "img-src 'self'",
                "blocked-uri": blocked, "original-policy": "default-src 'none'", "script-sample": "secret"
            }}))
            .unwrap()
        };
        let page = "https://user:secret@holdfast.test/restore?file=secret#secret";
        let blocked = "https://evil.example:8443/x?secret";
        assert_eq!(of(blocked, page), "img-src https://evil.example:8443 /restore");
        assert_eq!(of("inline", page), "img-src inline /restore");
        assert_eq!(of("data", "about:blank"), "img-src data blank");
        assert_eq!(of("data:text/html,secret", ""), "img-src data ");
        assert_eq!(of("secret\nforged line", page), "img-src secret /restore");
        assert_eq!(of("<secret>", "nonsense"), "img-src ? ");
        let long = format!("https://holdfast.test/{}", "é\n".repeat(9000));
        let cut = of("inline", &long);
        assert!(cut.len() == "img-src inline ".len() + PART && cut.is_ascii(), "{cut}");
    }

    #[test]
    fn both_forms_are_read() {
        let newer = json!([
            { "type": "csp-violation", "url": "x", "body": {
                "documentURL": "https://holdfast.test/a?b", "effectiveDirective": "script-src-elem",
                "blockedURL": "eval", "statusCode": 200
            }},
            { "type": "csp-violation", "body": {} }
        ]);
        assert_eq!(line(&newer).as_deref(), Some("script-src-elem eval /a"));
        let oldest = json!({ "csp-report": { "violated-directive": "style-src 'self'" } });
        assert_eq!(line(&oldest).as_deref(), Some("style-src  "));
        for nonsense in [json!([]), json!({}), json!("x"), json!({ "csp-report": 1 }), json!([1])] {
            assert_eq!(line(&nonsense), None, "{nonsense}");
        }
        assert_eq!(Line::of(b"\xff"), None);
    }

    #[test]
    fn few_get_a_line_and_later_ones_again() {
        let (reports, begun) = (Reports::default(), Instant::now());
        let admitted = |after: u64| reports.admit(begun + Duration::from_secs(after));
        assert_eq!((0..20).filter(|_| admitted(1)).count(), LINES);
        assert!(!admitted(60));
        assert!(admitted(61));
    }
}
