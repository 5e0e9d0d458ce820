//! Restores PostgreSQL backups: into a scratch database, read back there and then renamed to the target in
//! one transaction. Interrupted at any point, the target is either the old database or the new one.

mod complaints;
mod constraints;
mod contents;
mod drop;
mod fill;
pub mod plan;
mod read_back;
mod replace;
pub mod restore_server;
pub mod run;
mod scratch;
pub mod scratch_names;
mod session;
pub mod test;
mod tool;
