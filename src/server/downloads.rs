//! Everything that is sent as a file.

pub mod audit_log;
pub mod backup;
pub mod bundle;
pub mod range;
pub mod send;
