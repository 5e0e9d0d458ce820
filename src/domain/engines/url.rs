//! Percent-encoding in database URLs.

use percent_encoding::percent_decode_str;

/// Decodes `%XX`. Refuses a lone `%`, whose meaning is unclear.
pub(crate) fn decode(part: &str, encoded: &str) -> Result<Vec<u8>, String> {
    let whole = encoded
        .split('%')
        .skip(1)
        .all(|after| after.len() >= 2 && after.as_bytes()[..2].iter().all(u8::is_ascii_hexdigit));
    if !whole {
        return Err(format!(
            "its {part} contains a % without two hexadecimal digits; write a plain % as %25"
        ));
    }
    Ok(percent_decode_str(encoded).collect())
}
