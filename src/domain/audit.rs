//! The audit log: who did what, from where, and what came of it. One file that only grows, a JSON object a line.

pub mod actor;
pub mod log;
pub mod note;
pub mod notes;
pub mod read;

pub use actor::Actor;
pub use log::Audit;
pub use note::{Noted, changed_fields, ending_of};
pub use notes::Notes;
pub use read::OpenLog;
