//! Limits on one import.

use std::time::Duration;

/// How long one import may take, from its first byte.
const TIME: Duration = Duration::from_hours(12);

/// Limits on one import.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes of one upload.
    pub upload: u64,
    /// The most bytes one backup may unpack to.
    pub content: u64,
    /// How long one import may take.
    pub time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { upload: 100 << 30, content: 1 << 40, time: TIME }
    }
}
