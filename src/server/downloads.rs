//! File downloads: backups, bundles and the audit log.

pub mod audit_log;
pub mod backup;
pub mod bundle;
pub mod range;
pub mod send;
