//! What is on its way while a file is sent: as much as the line takes, and no more.

use crate::domain::error::Result;
use std::time::Duration;

/// What is unacknowledged at most while sending, in bytes: the window an OpenSSH server gives is 2 MiB, and
/// libssh2 cuts what it is given into packets of 30,000.
pub(super) const WINDOW: usize = 70 * 30_000;

/// What it begins with, and falls back to on a slow line.
const FIRST_WINDOW: usize = 8 * 30_000;

/// A line that takes its share in this time can take more.
const QUICK: Duration = Duration::from_secs(1);

/// What is on its way: unacknowledged bytes in front, new ones behind. libssh2 remembers how much of what it
/// is given it has sent already, and returns at the first acknowledgement; so it is given the same bytes
/// again, with more behind them, and the way is never empty.
pub(super) struct Window {
    buffer: Vec<u8>,
    low: usize,
    high: usize,
    width: usize,
    ended: bool,
}

impl Window {
    /// Nothing is on its way yet.
    pub fn new() -> Self {
        Self { buffer: vec![0; 2 * WINDOW], low: 0, high: 0, width: FIRST_WINDOW, ended: false }
    }

    /// What is on its way, and what is new behind it.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.low..self.high]
    }

    /// Takes from `source` as much as there is room for.
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

    /// All of it must be sent before the first acknowledgement is looked at, and within the timeout: so a
    /// slow line gets less of it.
    pub fn acknowledge(&mut self, written: usize, took: Duration) {
        self.low += written;
        self.width = if took < QUICK { self.width * 2 } else { self.width / 2 }.clamp(FIRST_WINDOW, WINDOW);
    }
}
