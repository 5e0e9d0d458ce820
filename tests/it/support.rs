//! What the tests stand on: real servers of their own.

pub mod desk;
pub mod postgres;
pub mod sshd;
