//! The page to open after a login: the one that the client asked for, and never another site.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Bytes of the longest `next` that is followed.
const NEXT_MAX: usize = 2000;

/// Everything but RFC 3986's unreserved characters.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// `text`, if it is the path of a page of this site that may follow a login. Browsers read `\` as `/` and drop tabs
/// and newlines, so only printable ASCII passes.
pub fn local_path(text: &str) -> Option<&str> {
    let rest = text.strip_prefix('/')?;
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let path = text.split(['?', '#']).next().unwrap_or_default();
    let elsewhere = rest.starts_with('/') || text.len() > NEXT_MAX;
    let of_login = matches!(path, "/login" | "/logout" | "/setup");
    (plain && !elsewhere && !of_login).then_some(text)
}

/// `text` as the value of a query parameter.
pub fn encoded(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_next_leaves_the_site(text in "[/\\\\\t\n.a]{0,5}|/[/\\\\\t]?[/\\\\a.:@?#%\r é]{0,8}") {
            if let Some(next) = local_path(&text) {
                let here = url::Url::parse("http://holdfast.example/login").unwrap();
                let there = here.join(next).unwrap();
                prop_assert_eq!(there.origin(), here.origin());
            }
        }
    }
}
