//! What every request passes through before a route, and every answer after it.

pub mod access;
pub mod base_path;
pub mod forwarded;
pub mod headers;
