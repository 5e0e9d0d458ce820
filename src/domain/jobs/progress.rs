//! Progress: what a running job reports, and the figures that pages read meanwhile.

use crate::model::{JobState, Phase};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// How many of the lines that a job reports are kept.
const LINES: usize = 200;

/// Hears how a job is getting on.
pub trait Progress {
    /// A new phase begins.
    fn phase(&self, phase: Phase);
    /// Bytes there are to be read, once that is known.
    fn total(&self, bytes: u64);
    /// Bytes read and written so far.
    fn bytes(&self, read: u64, written: u64);
    /// Adds a line to what the history says of the job.
    fn tell(&self, _text: &str) {}
}

/// Hears nothing.
pub struct Unwatched;

impl Progress for Unwatched {
    fn phase(&self, _: Phase) {}
    fn total(&self, _: u64) {}
    fn bytes(&self, _: u64, _: u64) {}
}

/// The figures of a running job, written by its thread and read by the pages.
#[derive(Default)]
pub(super) struct Gauge {
    phase: AtomicU8,
    read: AtomicU64,
    written: AtomicU64,
    total: AtomicU64,
    lines: Mutex<VecDeque<String>>,
    changes: watch::Sender<u64>,
}

const PHASES: [Phase; 12] = [
    Phase::Connecting,
    Phase::Copying,
    Phase::Compressing,
    Phase::Publishing,
    Phase::Comparing,
    Phase::Sending,
    Phase::Receiving,
    Phase::ReadingBack,
    Phase::Waiting,
    Phase::Checking,
    Phase::Restoring,
    Phase::Swapping,
];

impl Gauge {
    /// At nothing yet. `changes` is counted up for each phase and line.
    pub(super) fn new(changes: watch::Sender<u64>) -> Self {
        Self { changes, ..Self::default() }
    }

    pub(super) fn state(&self) -> JobState {
        let total = self.total.load(Ordering::Relaxed);
        JobState::Running {
            phase: PHASES[usize::from(self.phase.load(Ordering::Relaxed)) % PHASES.len()],
            read: self.read.load(Ordering::Relaxed),
            written: self.written.load(Ordering::Relaxed),
            total: (total > 0).then_some(total),
            told: self.lines().back().cloned(),
        }
    }

    /// Takes the lines out, one below the other.
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
