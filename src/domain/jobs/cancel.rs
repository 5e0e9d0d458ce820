//! Cancelling: a request to stop, shared between who asks and who works.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A request to stop, shared between who asks and who works.
#[derive(Clone, Default)]
pub struct Cancel(Arc<CancelInner>);

#[derive(Default)]
struct CancelInner {
    asked: AtomicBool,
    on_cancel: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Cancel {
    /// Asks the work to stop, and ends what it waits for.
    pub fn cancel(&self) {
        self.0.asked.store(true, Ordering::SeqCst);
        self.act();
    }

    /// Whether it was asked.
    pub fn is_cancelled(&self) -> bool {
        self.0.asked.load(Ordering::SeqCst)
    }

    /// What to do when it is asked, in place of what was to be done before; done at once where it was
    /// asked already.
    pub fn on_cancel(&self, act: impl FnOnce() + Send + 'static) {
        *self.hook() = Some(Box::new(act));
        if self.is_cancelled() {
            self.act();
        }
    }

    /// Forgets what was to be done: the thing it would have ended is gone.
    pub fn forget(&self) {
        self.hook().take();
    }

    fn act(&self) {
        // Taken out first: what is done may itself call `forget`.
        let act = self.hook().take();
        if let Some(act) = act {
            act();
        }
    }

    fn hook(&self) -> MutexGuard<'_, Option<Box<dyn FnOnce() + Send>>> {
        self.0.on_cancel.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
