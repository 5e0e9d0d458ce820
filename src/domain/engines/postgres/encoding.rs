//! Percent-decoding of the parts of a PostgreSQL URL.

use crate::domain::engines::url::decode;

/// Decodes a part that must be text: not empty, no control characters.
pub(crate) fn text(part: &str, encoded: &str) -> Result<String, String> {
    let plain = String::from_utf8(decode(part, encoded)?)
        .map_err(|_| format!("its {part} is not UTF-8 after percent-decoding"))?;
    if plain.is_empty() {
        return Err(format!("its {part} is empty; write postgres://user:password@host/database"));
    }
    if plain.chars().any(char::is_control) {
        return Err(format!("its {part} contains a control character"));
    }
    Ok(plain)
}
