//! The names of destinations.

use crate::domain::error::{Code, Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The name of a destination: 1 to 40 characters out of a-z, 0-9 and `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct DestinationName(String);

impl DestinationName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name of the only destination in older versions; records without a name belong to it.
impl Default for DestinationName {
    fn default() -> Self {
        Self("sftp".to_owned())
    }
}

impl TryFrom<String> for DestinationName {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl fmt::Display for DestinationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for DestinationName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let plain = text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        if plain && (1..=40).contains(&text.len()) {
            return Ok(Self(text.to_owned()));
        }
        Err(Error::refusal(
            Code::InvalidInput,
            "A destination's name has 1 to 40 characters out of a-z, 0-9 and -.",
        ))
    }
}
