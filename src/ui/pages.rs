//! The pages, one for each address.

pub mod activity;
pub mod backups;
pub mod confirm;
pub mod databases;
pub mod delete;
pub mod import;
pub mod login;
pub mod not_found;
pub mod remote;
pub mod server_written;
pub mod setup;
pub mod sftp;
