//! Progress: what a running job reports, and the numbers that pages read.

use crate::model::{JobState, Phase};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// How many of a job's lines are kept.
const LINES: usize = 200;

/// Receives a job's progress.
pub trait Progress {
    /// A new phase starts.
    fn phase(&self, phase: Phase);
    /// The number of bytes to be read, once known.
    fn total(&self, bytes: u64);
    /// Bytes read and written so far.
    fn bytes(&self, read: u64, written: u64);
    /// Adds a line to the job's text in the history.
    fn tell(&self, _text: &str) {}
}

/// Ignores progress.
pub struct Unwatched;

impl Progress for Unwatched {
    fn phase(&self, _: Phase) {}
    fn total(&self, _: u64) {}
    fn bytes(&self, _: u64, _: u64) {}
}

/// The progress of a running job, written by its thread and read by pages.
#[derive(Default)]
pub(super) struct Gauge {
    phase: AtomicU8,
    read: AtomicU64,
    written: AtomicU64,
    total: AtomicU64,
    lines: Mutex<VecDeque<String>>,
    changes: watch::Sender<u64>,
}

impl Gauge {
    /// At zero. `changes` is incremented for each phase and line.
    pub(super) fn new(changes: watch::Sender<u64>) -> Self {
        Self { changes, ..Self::default() }
    }

    pub(super) fn state(&self) -> JobState {
        let total = self.total.load(Ordering::Relaxed);
        JobState::Running {
            phase: Phase::ALL[usize::from(self.phase.load(Ordering::Relaxed)) % Phase::ALL.len()],
            read: self.read.load(Ordering::Relaxed),
            written: self.written.load(Ordering::Relaxed),
            total: (total > 0).then_some(total),
            told: self.lines().back().cloned(),
        }
    }

    /// Takes the lines, joined by line breaks.
    pub(super) fn take_lines(&self) -> Option<String> {
        let lines: Vec<_> = self.lines().drain(..).collect();
        (!lines.is_empty()).then(|| lines.join("\n"))
    }

    fn lines(&self) -> MutexGuard<'_, VecDeque<String>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress for Gauge {
    fn phase(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
        self.changes.send_modify(|count| *count += 1);
    }

    fn total(&self, bytes: u64) {
        self.total.store(bytes, Ordering::Relaxed);
    }

    fn bytes(&self, read: u64, written: u64) {
        self.read.store(read, Ordering::Relaxed);
        self.written.store(written, Ordering::Relaxed);
    }

    fn tell(&self, text: &str) {
        let mut lines = self.lines();
        if lines.len() == LINES {
            lines.pop_front();
        }
        lines.push_back(text.to_owned());
        drop(lines);
        self.changes.send_modify(|count| *count += 1);
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::jobs::progress::*;

    #[test]
    fn each_phase_is_shown_as_itself() {
        let gauge = Gauge::new(watch::Sender::default());
        for expected in Phase::ALL {
            gauge.phase(expected);
            assert!(
                matches!(gauge.state(), JobState::Running { phase, .. } if phase == expected),
                "{expected:?}"
            );
        }
    }
}
