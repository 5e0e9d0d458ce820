//! The shell commands, one file each. They work on the same files and state as the server, and need no server to run.

pub mod adopt;
pub mod backup;
pub mod list;
pub mod reset_account;
pub mod restore;
pub mod rotate_key;
pub mod verify;

mod bar;
mod checks;
pub mod outcome;
mod output;
mod session;
