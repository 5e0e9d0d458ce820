//! Logging in, sessions, and what a request may do.

pub mod session;
pub mod throttle;
