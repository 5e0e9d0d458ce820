//! Restores a backup as a test: into a scratch database that is read back and dropped.

use crate::domain::engines::engine;
use crate::domain::engines::engine::{Backup, Test, Tested};
use crate::domain::engines::postgres::check::Counted;
use crate::domain::engines::postgres::database::Postgres;
use crate::domain::engines::postgres::restore::fill::Job;
use crate::domain::engines::postgres::restore::restore_server::{Filled, RestoreServer};
use crate::domain::engines::postgres::restore::run::discard;
use crate::domain::error::{Error, Result};

/// Restores a checked backup on the server of `postgres`. The URL's database is not touched, so it may be one
/// of PostgreSQL's own.
pub fn test_restore(postgres: &Postgres, backup: Backup<'_>, test: &Test<'_>) -> Result<Tested> {
    let server = match RestoreServer::open(postgres, "", test.cancel, test.progress) {
        Ok(server) => server,
        Err(Error::Cancelled) => return Err(Error::Cancelled),
        Err(error) => return Ok(Tested::NotTried(error)),
    };
    if let Some(role) = server.superuser().filter(|_| !test.is_trusted) {
        return Ok(Tested::NotTried(Error::Refused(format!(
            "its origin is unknown, and the role {role} is a superuser, whose rights its statements would \
             have on that server."
        ))));
    }
    let counted: Counted = engine::own(backup.kept)?;
    let job = Job {
        source: backup.source,
        sha256: &backup.sha256,
        rows: &counted.rows,
        objects: Some(counted.objects),
        limit: backup.limit,
        replaces: None,
        manner: None,
    };
    let filled = server.fill(&job);
    discard(&server);
    Ok(match filled? {
        Filled::Whole(content) => Tested::Whole(content.told(server.version())),
        Filled::NotRestorable(error) => Tested::NotRestorable(error),
        Filled::NotTried(error) => Tested::NotTried(error),
    })
}
