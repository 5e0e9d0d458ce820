//! Whole-program tests against real parts: databases, files, processes. The folders follow `src`; this list is
//! their table of contents.

mod api;
mod audit;
mod cli;
mod destinations;
mod docs;
mod error_codes;
mod jobs;
mod jobs_stored;
mod layering;
mod layering_circles;
mod layering_state;
mod listener;
mod outbound;
mod planted_jobs;
mod routes;

mod auth {
    mod guessing;
    mod rights;
}

mod databases {
    mod changing;
    mod list;
}

mod downloads;

mod engines {
    mod another_engine;
    pub mod dumping;
    mod postgres {
        mod connecting;
        mod impostors;
        mod object_kinds;
        mod pooler;
    }
    mod same_database;
    mod sqlite;
}

mod operations {
    mod deleting;
    mod importing;
    mod importing_unpacked;
    mod refusal_codes;
    pub mod restoring;
    mod restoring_on_other_servers;
    mod verifying_and_restoring;
}

mod pages {
    mod backups;
    mod hostile_text;
}

mod repository {
    mod publishing;
}

mod secrets {
    mod key_file;
    mod leaks;
}

#[path = "../support/mod.rs"]
mod support;
