//! Everything that is sent as a file.

pub mod audit_log;
pub mod backup;
pub mod bundle;
