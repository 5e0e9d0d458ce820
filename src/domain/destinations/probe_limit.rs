//! How many servers somebody may try in vain: so that Holdfast is no good for finding out what listens where.

use crate::domain::error::{Error, Result};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// For how long a try in vain counts.
const SPAN: Duration = Duration::from_mins(1);

/// The servers that were tried within the last [`SPAN`] and showed no host key, each host and port once. One that is
/// still being tried is among them.
pub(super) struct Tries {
    most: usize,
    counted: Mutex<Vec<(String, u16, Instant)>>,
}

/// A try under way. It counts as one in vain until [`Attempt::end`] says otherwise.
pub(super) struct Attempt<'t> {
    tries: &'t Tries,
    host: String,
    port: u16,
}

impl Tries {
    /// `most` servers in vain.
    pub fn new(most: usize) -> Self {
        Self { most, counted: Mutex::default() }
    }

    /// Counts a try, or refuses it. A server that counts already may always be tried again.
    pub fn begin(&self, host: &str, port: u16, now: Instant) -> Result<Attempt<'_>> {
        let mut counted = self.counted();
        counted.retain(|(known, at_port, at)| {
            now.saturating_duration_since(*at) < SPAN && (known.as_str(), *at_port) != (host, port)
        });
        if counted.len() >= self.most {
            return Err(Error::Refused(format!(
                "{} servers were tried within a minute, and none was an SSH server. Wait a minute, then try again.",
                self.most
            )));
        }
        counted.push((host.to_owned(), port, now));
        Ok(Attempt { tries: self, host: host.to_owned(), port })
    }

    fn counted(&self) -> MutexGuard<'_, Vec<(String, u16, Instant)>> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt<'_> {
    /// Says whether an SSH server answered, which is then not counted.
    pub fn end(self, answered: bool) {
        if answered {
            self.tries.counted().retain(|(host, port, _)| (host, *port) != (&self.host, self.port));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::destinations::probe_limit::*;

    #[test]
    fn ports_cannot_be_searched_and_one_server_can_be_tried_again_and_again() {
        let (tries, now) = (Tries::new(10), Instant::now());
        for port in 1..=10 {
            tries.begin("nas", port, now).unwrap().end(false);
        }
        let later = |seconds| now + Duration::from_secs(seconds);
        let refused = |attempt: Result<Attempt<'_>>| attempt.err().map(|error| error.to_string());
        let words = refused(tries.begin("nas", 11, later(59))).unwrap();
        assert!(words.contains("10 servers") && words.contains("Wait a minute"), "{words}");
        assert!(refused(tries.begin("other", 1, later(59))).is_some(), "the limit is the whole server's");
        assert!(refused(tries.begin("nas", 5, later(30))).is_none(), "a server that counts already");
        assert!(refused(tries.begin("nas", 11, later(61))).is_none(), "a minute later");

        // The control: SSH servers cost nothing, and one under way is counted.
        let tries = Tries::new(10);
        for port in 1..=100 {
            tries.begin("nas", port, now).unwrap().end(true);
        }
        let _under_way: Vec<_> = (1..=10).map(|port| tries.begin("nas", port, now).unwrap()).collect();
        assert!(refused(tries.begin("nas", 11, now)).is_some());
    }
}
