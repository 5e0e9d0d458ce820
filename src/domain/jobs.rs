//! Jobs: waiting, running and ended ones. One queue of stored job descriptions, with a history.

pub mod cancel;
pub mod clock;
pub mod history;
pub mod progress;
pub mod queue;
pub mod result;
pub mod spec;

pub use cancel::Cancel;
pub use clock::Clock;
pub use progress::{Progress, Unwatched};
pub use queue::{Jobs, Runner};
pub use result::{Finished, JobResult};
pub use spec::JobSpec;
