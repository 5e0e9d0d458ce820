//! Cancelling: a stop request, shared by the requester and the worker.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A stop request, shared by the requester and the worker.
#[derive(Clone, Default)]
pub struct Cancel(Arc<CancelInner>);

#[derive(Default)]
struct CancelInner {
    asked: AtomicBool,
    on_cancel: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Cancel {
    /// Asks the work to stop, and ends its current wait.
    pub fn cancel(&self) {
        self.0.asked.store(true, Ordering::SeqCst);
        self.act();
    }

    /// Whether a stop was requested.
    pub fn is_cancelled(&self) -> bool {
        self.0.asked.load(Ordering::SeqCst)
    }

    /// Sets what to do on a stop request, replacing an earlier action; executes it at once if the request was
    /// made already.
    pub fn on_cancel(&self, act: impl FnOnce() + Send + 'static) {
        *self.hook() = Some(Box::new(act));
        if self.is_cancelled() {
            self.act();
        }
    }

    /// Removes the action: what it would have ended is gone.
    pub fn forget(&self) {
        self.hook().take();
    }

    fn act(&self) {
        // Taken out first: the action may itself call `forget`.
        let act = self.hook().take();
        if let Some(act) = act {
            act();
        }
    }

    fn hook(&self) -> MutexGuard<'_, Option<Box<dyn FnOnce() + Send>>> {
        self.0.on_cancel.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
