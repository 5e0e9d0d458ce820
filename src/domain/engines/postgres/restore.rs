//! PostgreSQL backups: restored into a scratch database of a generated name, read back there, and then given the
//! target's name in one transaction. Whatever stops this in between, the target is the old one or the new one.

mod complaints;
mod constraints;
mod contents;
mod drop;
mod fill;
pub mod plan;
mod read_back;
mod replace;
pub mod run;
mod scratch;
pub mod scratch_names;
mod session;
pub mod site;
pub mod test;
mod tool;
