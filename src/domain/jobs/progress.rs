//! Progress: what a long operation reports while it runs.

use crate::model::Phase;

/// Hears how a job is getting on.
pub trait Progress {
    /// A new phase begins.
    fn phase(&self, phase: Phase);
    /// Bytes there are to be read, once that is known.
    fn total(&self, bytes: u64);
    /// Bytes read and written so far.
    fn bytes(&self, read: u64, written: u64);
    /// Something was done that is worth a line in the history.
    fn tell(&self, _text: &str) {}
}

/// Hears nothing.
pub struct Unwatched;

impl Progress for Unwatched {
    fn phase(&self, _: Phase) {}
    fn total(&self, _: u64) {}
    fn bytes(&self, _: u64, _: u64) {}
}
