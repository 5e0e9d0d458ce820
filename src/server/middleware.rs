//! Middleware around all routes: base path, client address, headers, access rights.

pub mod access;
pub mod base_path;
pub mod forwarded;
pub mod headers;
