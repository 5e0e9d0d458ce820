//! Random numbers from the operating system, with one answer for all callers when it has none.

use crate::domain::error::{Error, Result};
use data_encoding::HEXLOWER;

/// `N` random bytes.
pub fn bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::Refused(format!("The system gives no random numbers: {error}.")))?;
    Ok(bytes)
}

/// An id of `N` random bytes, as lower-case hexadecimal. Nobody can guess one of 16 bytes.
pub fn hex_id<const N: usize>() -> Result<String> {
    Ok(HEXLOWER.encode(&bytes::<N>()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_have_their_length_and_differ() {
        let ids: HashSet<_> = (0..100).map(|_| hex_id::<16>().unwrap()).collect();
        assert_eq!(ids.len(), 100);
        assert!(ids.iter().all(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())));
    }
}
