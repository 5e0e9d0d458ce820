//! Limits how many unsuitable servers may be contacted per minute, so that nobody can use Holdfast to scan a
//! network.

use crate::domain::error::{Code, Error, Result};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long an unsuccessful attempt counts.
const SPAN: Duration = Duration::from_mins(1);

/// The servers that were contacted within the last [`SPAN`] and are not destinations, each host and port
/// once. Includes servers being contacted now.
pub struct ProbeLimit {
    most: usize,
    counted: Mutex<Vec<(String, u16, Instant)>>,
}

/// A running attempt. It counts as unsuccessful until [`Probe::end`] says otherwise.
pub struct Probe<'t> {
    limit: &'t ProbeLimit,
    host: String,
    port: u16,
}

impl ProbeLimit {
    /// Allows `most` unsuccessful attempts.
    pub fn new(most: usize) -> Self {
        Self { most, counted: Mutex::default() }
    }

    /// Counts an attempt, or refuses it. A server that is counted already may always be contacted again.
    pub fn begin(&self, host: &str, port: u16, now: Instant) -> Result<Probe<'_>> {
        let mut counted = self.counted();
        counted.retain(|(known, at_port, at)| {
            now.saturating_duration_since(*at) < SPAN && (known.as_str(), *at_port) != (host, port)
        });
        if counted.len() >= self.most {
            return Err(Error::refusal(
                Code::TooBusy,
                format!(
                    "{} servers were contacted within a minute, and none of them accepts copies. Wait a \
                     minute, then try again.",
                    self.most
                ),
            ));
        }
        counted.push((host.to_owned(), port, now));
        Ok(Probe { limit: self, host: host.to_owned(), port })
    }

    fn counted(&self) -> MutexGuard<'_, Vec<(String, u16, Instant)>> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Probe<'_> {
    /// Ends the attempt. A server of the expected kind (`answered`) does not count.
    pub fn end(self, answered: bool) {
        if answered {
            self.limit.counted().retain(|(host, port, _)| (host, *port) != (&self.host, self.port));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::destinations::probe_limit::*;

    #[test]
    fn ports_cannot_be_searched_and_one_server_can_be_tried_again_and_again() {
        let (limit, now) = (ProbeLimit::new(10), Instant::now());
        for port in 1..=10 {
            limit.begin("nas", port, now).unwrap().end(false);
        }
        let later = |seconds| now + Duration::from_secs(seconds);
        let refused = |attempt: Result<Probe<'_>>| attempt.err().map(|error| error.to_string());
        let words = refused(limit.begin("nas", 11, later(59))).unwrap();
        assert!(words.contains("10 servers") && words.contains("Wait a minute"), "{words}");
        assert!(refused(limit.begin("other", 1, later(59))).is_some(), "the limit is the whole server's");
        assert!(refused(limit.begin("nas", 5, later(30))).is_none(), "a server that counts already");
        assert!(refused(limit.begin("nas", 11, later(61))).is_none(), "a minute later");

        // Control: servers that answer do not count, and a running attempt counts.
        let limit = ProbeLimit::new(10);
        for port in 1..=100 {
            limit.begin("nas", port, now).unwrap().end(true);
        }
        let _under_way: Vec<_> = (1..=10).map(|port| limit.begin("nas", port, now).unwrap()).collect();
        assert!(refused(limit.begin("nas", 11, now)).is_some());
    }
}
