//! Random bytes for keys, tokens and names that cannot be guessed: the one place that asks the system for them.

use crate::domain::error::{Error, Result};
use data_encoding::HEXLOWER;

/// Fills `bytes` with random bytes that are fit for secrets.
///
/// # Errors
/// [`Error::NoRandomness`] where the system has none to give. Nobody goes on with a predictable value.
pub fn fill(bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes).map_err(|error| {
        tracing::error!(%error, "the system gave no random numbers");
        Error::NoRandomness(error.to_string())
    })
}

/// `N` random bytes.
pub fn bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    fill(&mut bytes)?;
    Ok(bytes)
}

/// `N` random bytes as `2 * N` lower-case hexadecimal digits, fit for a file name or an address.
pub fn hex<const N: usize>() -> Result<String> {
    Ok(HEXLOWER.encode(&bytes::<N>()?))
}

#[cfg(test)]
mod tests {
    use crate::domain::random::*;

    #[test]
    fn every_call_gives_other_bytes_of_the_length_asked_for() {
        let (one, other) = (hex::<12>().unwrap(), hex::<12>().unwrap());
        assert_eq!((one.len(), other.len()), (24, 24));
        assert_ne!(one, other);
        assert_ne!(bytes::<32>().unwrap(), [0; 32]);
    }
}
