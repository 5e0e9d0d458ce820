//! What is done with backups: create, check, verify, import, restore. Each operation works on the rooms it needs.

pub mod check;
pub mod compress;
pub mod create;
pub mod import;
mod own_files;
pub mod restore;
pub mod restore_plan;
pub(in crate::domain) mod runner;
pub mod verify;
