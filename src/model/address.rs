//! Addresses, the same in the server and in the browser: the base path, and reading query strings.

use std::sync::OnceLock;

static BASE: OnceLock<String> = OnceLock::new();

/// Sets the base path, such as `/holdfast`. Call this once, before the first address is written.
pub fn set_base(path: String) {
    let _ = BASE.set(path);
}

/// The base path; empty if the site is at the root.
pub fn base() -> &'static str {
    BASE.get().map_or("", String::as_str)
}

/// The address of `path`, which begins with a slash, below the base path.
pub fn at(path: &str) -> String {
    [base(), path].concat()
}

/// The value of `key` in a query string such as `sort=-size&q=a%20b`, decoded once: `+` is a space, `%41` is
/// `A`, and invalid UTF-8 becomes U+FFFD. The first of several values counts.
pub fn lookup(search: &str, key: &str) -> Option<String> {
    pairs(search).find(|(name, _)| decode(name) == key).map(|(_, value)| decode(value))
}

/// Every value of `key`, decoded once, in the order of the address.
pub fn lookup_all(search: &str, key: &str) -> Vec<String> {
    pairs(search).filter(|(name, _)| decode(name) == key).map(|(_, value)| decode(value)).collect()
}

fn pairs(search: &str) -> impl Iterator<Item = (&str, &str)> {
    search.trim_start_matches('?').split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

fn decode(text: &str) -> String {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let escaped = digit(bytes.get(at + 1)).zip(digit(bytes.get(at + 2))).filter(|_| byte == b'%');
        let decoded = escaped.and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
        out.push(match (decoded, byte) {
            (Some(decoded), _) => decoded,
            (None, b'+') => b' ',
            (None, plain) => plain,
        });
        at += if decoded.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ListQuery;
    use proptest::prelude::*;

    #[test]
    fn values_are_decoded_once() {
        let search = "?next=%2F%3Fq%3Da%2520b&q=a+b%41&bad=%ff%4&q=second&bare";
        let found = |key| lookup(search, key);
        assert_eq!(found("next").as_deref(), Some("/?q=a%20b"));
        assert_eq!(found("q").as_deref(), Some("a bA"));
        assert_eq!(found("bad").as_deref(), Some("\u{fffd}%4"));
        assert_eq!(found("bare").as_deref(), Some(""));
        assert_eq!(found("none"), None);
        assert_eq!(lookup_all("?names%5B%5D=a&x=y&names[]=b%20c", "names[]"), ["a", "b c"]);
    }

    proptest! {
        #[test]
        fn the_address_of_a_list_reads_back(filter in "\\PC{0,40}") {
            let asked = ListQuery::default().filtered(&filter);
            let href = asked.href();
            let search = href.split_once('?').map_or("", |(_, search)| search);
            prop_assert_eq!(ListQuery::from_lookup(|key| lookup(search, key)), asked);
        }

        #[test]
        fn reading_never_panics(search in "\\PC{0,60}", key in "[a-z]{0,3}") {
            let _ = lookup(&search, &key);
        }
    }
}
