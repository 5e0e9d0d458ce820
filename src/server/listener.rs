//! Connections: TCP, TLS and how patient the server is with slow clients.

pub mod connections;
pub mod tls;
