//! Whole-program tests against real parts: databases, files, processes.

mod api;
mod crash;
mod deleting;
mod downloads;
mod engines;
mod jobs;
mod layering;
mod pages;
mod publishing;
mod routes;
mod support;
