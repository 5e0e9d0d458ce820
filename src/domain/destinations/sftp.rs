//! Copies on an SFTP server.

mod answers;
pub mod check;
pub mod connection;
pub mod drop_box;
pub mod keys;
pub mod known_hosts;
pub mod remote;
pub mod settings;
mod start;
mod window;
