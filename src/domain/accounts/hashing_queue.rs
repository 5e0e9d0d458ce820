//! Limits how many passwords are hashed at the same time: each hash needs 19 MiB and a core.

use crate::domain::error::{Code, Error, Result};
use crate::model::LoginProblem;
use parking_lot::{Condvar, Mutex};

/// The most hashes at the same time.
pub(super) const RUNNING: usize = 2;
/// The most callers that wait, so that they cannot use up the blocking threads.
pub(super) const WAITING: usize = 16;

/// Lets [`RUNNING`] callers hash at the same time, and [`WAITING`] wait.
#[derive(Default)]
pub(super) struct HashingQueue {
    counts: Mutex<Counts>,
    free: Condvar,
}

/// The numbers of running and waiting callers.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) running: usize,
    pub(super) waiting: usize,
    /// The number of permits ever given.
    #[cfg(test)]
    pub(super) given: usize,
}

/// Allows its holder to hash, until dropped.
pub(super) struct Permit<'a>(&'a HashingQueue);

impl HashingQueue {
    /// Waits for a permit.
    ///
    /// # Errors
    /// [`Code::TooBusy`] if [`WAITING`] callers wait already.
    pub(super) fn permit(&self) -> Result<Permit<'_>> {
        let mut counts = self.counts.lock();
        if counts.running >= RUNNING && counts.waiting >= WAITING {
            return Err(Error::refusal(Code::TooBusy, LoginProblem::Busy.message()));
        }
        counts.waiting += 1;
        self.free.wait_while(&mut counts, |counts| counts.running >= RUNNING);
        counts.waiting -= 1;
        counts.running += 1;
        #[cfg(test)]
        {
            counts.given += 1;
        }
        Ok(Permit(self))
    }

    #[cfg(test)]
    pub(super) fn counts(&self) -> Counts {
        *self.counts.lock()
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.counts.lock().running -= 1;
        self.0.free.notify_one();
    }
}
