//! Whole-program tests against real parts: databases, files, processes.

mod api;
mod audit;
mod awkward;
mod canaries;
mod connecting;
mod deleting;
mod downloads;
mod egress;
mod engines;
mod entries;
mod error_codes;
mod field;
mod front_door;
mod guessing;
mod importing;
mod importing_unpacked;
mod jobs;
mod layering;
mod layering_state;
mod off_site;
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
mod sftp;
mod sftp_field;
mod sqlite_kinds;
#[path = "../support/mod.rs"]
mod support;
