//! Support for the test programs: harnesses, and real servers to test with.

#![allow(dead_code, reason = "each test program uses a part of it")]

pub mod alone;
pub mod certificates;
pub mod conformance;
pub mod desk;
pub mod destinations;
pub mod holdfast;
pub mod http;
pub mod noise;
pub mod pgbouncer;
pub mod postgres;
pub mod sshd;
