//! Content negotiation: whether a client wants a page or JSON, by its `Accept` header.

use http::HeaderMap;
use http::header::ACCEPT;

/// What a client wants as an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// A page: the client accepts HTML by name, as browsers do when they navigate.
    Page,
    /// JSON and nothing else.
    Json,
    /// Anything: the client names neither, as most scripts do.
    Any,
}

/// Reads the `Accept` header. A type with the weight 0 is not accepted (RFC 9110, §12.5.1).
pub fn wanted(headers: &HeaderMap) -> Wanted {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let (mut html, mut json, mut other) = (false, false, false);
    for range in accepted.flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        if parts.any(is_zero_weight) {
            continue;
        }
        match kind.as_str() {
            "text/html" => html = true,
            "application/json" => json = true,
            "*/*" => other = true,
            _ => {}
        }
    }
    match (html, json, other) {
        (true, ..) => Wanted::Page,
        (_, true, false) => Wanted::Json,
        _ => Wanted::Any,
    }
}

fn is_zero_weight(parameter: &str) -> bool {
    let weight = parameter.split_once('=').filter(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
    weight.is_some_and(|(_, weight)| weight.trim().parse() == Ok(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn html_is_a_page_json_alone_is_json_and_the_rest_is_anything() {
        let of = |lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(ACCEPT, HeaderValue::from_static(line));
            }
            wanted(&headers)
        };
        assert_eq!(of(&[]), Wanted::Any);
        assert_eq!(of(&["text/html,application/xhtml+xml,*/*;q=0.8"]), Wanted::Page);
        assert_eq!(of(&["application/json", "Text/HTML;q=0.1"]), Wanted::Page);
        assert_eq!(of(&["Application/JSON; q=0.9, text/plain"]), Wanted::Json);
        assert_eq!(of(&["application/json, */*;q=0.1"]), Wanted::Any);
        assert_eq!(of(&["application/json, */*;q=0"]), Wanted::Json);
        assert_eq!(of(&["text/html; Q=0.0, application/json"]), Wanted::Json);
        assert_eq!(of(&["*/*"]), Wanted::Any);
        assert_eq!(of(&["text/event-stream"]), Wanted::Any);
        assert_eq!(of(&["text/htmlx"]), Wanted::Any);
    }
}
