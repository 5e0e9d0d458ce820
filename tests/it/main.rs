//! Whole-program tests against real parts: databases, files, processes.

mod api;
mod audit;
mod awkward;
mod canaries;
mod connecting;
mod deleting;
mod destinations;
mod downloads;
mod egress;
mod engines;
mod entries;
mod field;
mod front_door;
mod guessing;
mod importing;
mod importing_unpacked;
mod jobs;
mod layering;
mod pages;
mod pooling;
mod posing;
mod publishing;
mod recovery;
mod restoring;
mod rights;
mod routes;
mod scripts;
mod secrets;
mod sqlite_kinds;
#[path = "../support/mod.rs"]
mod support;
