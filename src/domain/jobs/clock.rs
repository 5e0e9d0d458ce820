//! The clock: where Holdfast asks for the time.

use crate::model::Stamp;
use std::sync::Arc;

/// Gives the time, in UTC. Injected, so that tests can stop it.
pub type Clock = Arc<dyn Fn() -> Stamp + Send + Sync>;
