//! SFTP destinations: a directory on a server, reached over SSH.

pub mod administration;
mod answers;
pub mod check;
pub mod connection;
pub mod directory;
pub mod drop_box;
mod faults;
pub mod keys;
pub mod kind;
pub mod known_hosts;
pub mod settings;
mod start;
mod window;
