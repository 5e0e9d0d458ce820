//! `POST /csp-report`: violations of the content security policy, reported by browsers. Anybody can post a report, so
//! each becomes at most one short log line, and the lines are rate-limited.

use crate::server::log_limit::LogLimit;
use axum::body::Bytes;
use axum::extract::State;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use std::time::Instant;
use url::Url;

/// Largest report, in bytes.
pub const REPORT_MAX: usize = 16 * 1024;

/// Largest field of a log line, in bytes.
const PART: usize = 200;

/// Logs a report in either of the two formats that browsers send.
pub async fn take(State(limit): State<LogLimit>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let known = ["application/csp-report", "application/json", "application/reports+json"];
    if !known.iter().any(|known| kind.eq_ignore_ascii_case(known)) {
        return StatusCode::UNSUPPORTED_MEDIA_TYPE;
    }
    let Some(Line { directive, blocked, page }) = Line::of(&body) else { return StatusCode::BAD_REQUEST };
    if limit.admit(Instant::now()) {
        tracing::warn!(directive, blocked, page, "a browser reported a content security policy violation");
    }
    StatusCode::NO_CONTENT
}

/// The line of a report in the log.
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
    /// `report-to`: several, of which the first is logged.
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
        // Only the path: a query or a user name may be a secret.
        let page = Url::parse(&page).map_or(String::new(), |url| url.path().to_owned());
        Some(Self { directive: plain(&directive), blocked: capped(blocked), page: capped(page) })
    }
}

/// The first word, such as `script-src-elem` or `inline`, or `?` if it has other characters.
fn plain(text: &str) -> String {
    let word = text.split_ascii_whitespace().next().unwrap_or_default();
    let is_plain = word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    capped(if is_plain { word.to_owned() } else { "?".to_owned() })
}

/// At most [`PART`] bytes. Addresses are ASCII once they are parsed.
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
}
