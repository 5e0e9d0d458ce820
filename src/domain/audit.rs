//! The audit log: who did what, from where, and with which result. An append-only file with one JSON object
//! per line.

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
