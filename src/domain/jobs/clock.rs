//! The clock that Holdfast uses.

use crate::model::Stamp;
use std::sync::Arc;

/// Returns the current time, in UTC. Injected, so that tests can control it.
pub type Clock = Arc<dyn Fn() -> Stamp + Send + Sync>;
