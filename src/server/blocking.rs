//! Runs work that may wait for the disk or for a lock, away from the threads that serve requests.

use crate::domain::{Error, Result};

/// Runs `work` on a blocking thread.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(Error::Lost))
}
