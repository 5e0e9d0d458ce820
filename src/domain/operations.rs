//! Operations on backups: create, check, verify, import, restore. Each uses the rooms it needs.

pub mod backups;
pub mod check;
pub mod compress;
pub(in crate::domain) mod context;
pub mod create;
pub mod import;
pub mod own_files;
pub(in crate::domain) mod pending_restores;
pub mod restore;
pub mod restore_plan;
pub(in crate::domain) mod runner;
pub mod verify;
