//! At server start: warns about unusable files and tools, and drops the scratch databases of killed runs.

use crate::domain::engines::engine::Served;
use crate::domain::engines::postgres::database::Postgres;
use crate::domain::engines::postgres::restore::restore_server::RestoreServer;
use crate::domain::engines::postgres::restore::scratch_names;
use crate::domain::engines::postgres::server::Server;
use crate::domain::engines::postgres::tls::look_over;
use crate::domain::engines::postgres::tools::PostgresTools;
use crate::domain::jobs::cancel::Cancel;
use crate::domain::jobs::progress::Progress;
use crate::model::{DatabaseName, Phase};

/// Checks `databases` and their servers, in the background where that takes time.
pub fn begin(tools: PostgresTools, databases: &[Served]) {
    clear_scratch(&tools, databases);
    let configured = databases.iter().filter_map(|served| Some((served.name.as_ref()?, server(served)?)));
    let mut is_any_configured = false;
    for (name, server) in configured {
        is_any_configured = true;
        if let Err(why) = look_over(&server.parameters) {
            tracing::warn!(database = %name, "{why}");
        }
    }
    if is_any_configured {
        // A tool that hangs must not delay the start.
        drop(std::thread::Builder::new().spawn(move || tools.warn_of_faults()));
    }
}

fn server(served: &Served) -> Option<&Server> {
    served.target.as_any().downcast_ref()
}

/// Drops the scratch databases that killed runs left on the servers. Contacts no server if there are no
/// notes.
fn clear_scratch(tools: &PostgresTools, databases: &[Served]) {
    let notes = scratch_names::notes(&tools.run_dir);
    if notes.is_empty() {
        return;
    }
    let postgres = |served: &Served| {
        let server = server(served)?.clone();
        let name = served.name.clone().unwrap_or_else(|| DatabaseName::after(&server.database));
        Some(Postgres::new(name, server, tools.clone(), served.setting))
    };
    let servers: Vec<_> = databases.iter().filter_map(postgres).collect();
    drop(std::thread::Builder::new().spawn(move || {
        let mut is_done = true;
        for postgres in servers {
            // Opening the server drops them.
            if let Err(error) = RestoreServer::open(&postgres, "", &Cancel::default(), &Logged) {
                tracing::warn!(%error, server = %postgres.server, "could not look for scratch databases of \
                                                                   a killed run");
                is_done = false;
            }
        }
        for note in notes.iter().filter(|_| is_done) {
            let _ = std::fs::remove_file(note);
        }
    }));
}

/// Reports progress to the log.
struct Logged;

impl Progress for Logged {
    fn phase(&self, _: Phase) {}
    fn total(&self, _: u64) {}
    fn bytes(&self, _: u64, _: u64) {}

    fn tell(&self, text: &str) {
        tracing::info!("{text}");
    }
}
