//! The send window: as many bytes in flight as the connection can take.

use crate::domain::error::Result;
use std::time::Duration;

/// The most unacknowledged bytes: an OpenSSH server's window is 2 MiB, and libssh2 cuts its input into
/// packets of 30,000 bytes.
pub(super) const WINDOW: usize = 70 * 30_000;

/// The initial window, also used on a slow connection.
const FIRST_WINDOW: usize = 8 * 30_000;

/// A connection that takes its window within this time can take more.
const QUICK: Duration = Duration::from_secs(1);

/// The bytes in flight: unacknowledged bytes first, new ones after them. libssh2 remembers how much of its
/// input it has sent, and returns at the first acknowledgement; it is then given the same bytes again with
/// more after them, so the connection is never idle.
pub(super) struct Window {
    buffer: Vec<u8>,
    low: usize,
    high: usize,
    width: usize,
    ended: bool,
}

impl Window {
    /// An empty window.
    pub fn new() -> Self {
        Self { buffer: vec![0; 2 * WINDOW], low: 0, high: 0, width: FIRST_WINDOW, ended: false }
    }

    /// The bytes in flight, and the new bytes after them.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.low..self.high]
    }

    /// Fills the free space from `source`.
    pub fn fill(&mut self, source: &mut dyn FnMut(&mut [u8]) -> Result<usize>) -> Result<()> {
        if self.low + self.width > self.buffer.len() {
            self.buffer.copy_within(self.low..self.high, 0);
            (self.low, self.high) = (0, self.high - self.low);
        }
        while !self.ended && self.high < self.low + self.width {
            match source(&mut self.buffer[self.high..self.low + self.width])? {
                0 => self.ended = true,
                read => self.high += read,
            }
        }
        Ok(())
    }

    /// The whole window is sent before the first acknowledgement is processed, within the timeout, so a slow
    /// connection gets a smaller window.
    pub fn acknowledge(&mut self, written: usize, took: Duration) {
        self.low += written;
        self.width = if took < QUICK { self.width * 2 } else { self.width / 2 }.clamp(FIRST_WINDOW, WINDOW);
    }
}
