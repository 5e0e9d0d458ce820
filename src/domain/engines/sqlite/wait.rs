//! Waiting for a file, ended by cancellation; and the temporary copy.

use crate::domain::error::{Error, Result};
use crate::domain::jobs::cancel::Cancel;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

/// How often a waiting thread checks whether it was cancelled.
pub const GLANCE: Duration = Duration::from_millis(250);

/// Waits for `span`, unless cancelled.
pub fn wait(span: Duration, cancel: &Cancel) -> Result<()> {
    let deadline = Instant::now() + span;
    while Instant::now() < deadline {
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        thread::sleep(GLANCE.min(span));
    }
    Ok(())
}

/// The copy's file, removed when this value is dropped.
pub struct Copy(pub PathBuf);

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
