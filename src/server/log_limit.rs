//! Rate limit for log lines that unauthenticated clients can cause.

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Lines within [`PERIOD`].
const LINES: usize = 5;
const PERIOD: Duration = Duration::from_mins(1);

/// When the last lines were written. Cheap to clone.
#[derive(Clone, Default)]
pub struct LogLimit(Arc<Mutex<VecDeque<Instant>>>);

impl LogLimit {
    /// Whether one more line may be written at `now`. If so, the line counts.
    pub fn admit(&self, now: Instant) -> bool {
        let mut lines = self.0.lock();
        lines.retain(|&line| now.duration_since(line) < PERIOD);
        let admitted = lines.len() < LINES;
        if admitted {
            lines.push_back(now);
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_lines_are_admitted_and_later_ones_again() {
        let (limit, begun) = (LogLimit::default(), Instant::now());
        let admitted = |after: u64| limit.admit(begun + Duration::from_secs(after));
        assert_eq!((0..20).filter(|_| admitted(1)).count(), LINES);
        assert!(!admitted(60));
        assert!(admitted(61));
    }
}
