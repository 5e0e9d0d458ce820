//! One restore into a PostgreSQL database, from connecting to renaming.

use crate::domain::engines::engine;
use crate::domain::engines::engine::{Backup, Manner, Restore, Restored, Restoring};
use crate::domain::engines::postgres::check::Counted;
use crate::domain::engines::postgres::database::Postgres;
use crate::domain::engines::postgres::restore::fill::Job;
use crate::domain::engines::postgres::restore::restore_server::{Content, Existing, Filled, RestoreServer};
use crate::domain::error::{Error, Result};
use crate::model::Phase;

/// A running restore. If dropped before it is complete, it drops its scratch database.
pub struct PostgresRestore<'r> {
    server: RestoreServer<'r>,
    database: &'r str,
    existing: Option<Existing>,
    manner: Manner,
    filled: Option<(Backup<'r>, Counted, Content)>,
    is_done: bool,
}

impl<'r> PostgresRestore<'r> {
    /// Connects to the server, and looks up the target.
    pub fn open(postgres: &'r Postgres, how: &Restoring<'r>) -> Result<Self> {
        how.progress.phase(Phase::Connecting);
        let database = &postgres.server.database;
        let server = RestoreServer::open(postgres, database, how.cancel, how.progress)?;
        let existing = server.existing(database)?;
        Ok(Self { server, database, existing, manner: how.manner, filled: None, is_done: true })
    }

    /// Puts the filled database in place with `put`.
    fn put(
        mut self: Box<Self>,
        put: impl FnOnce(&Self, &Job<'_>, &mut Content) -> Result<()>,
    ) -> Result<Option<Restored>> {
        let (backup, counted, mut content) = self.filled.take().ok_or(Error::Lost)?;
        put(&self, &self.job(&backup, &counted), &mut content)?;
        self.is_done = true;
        Ok(Some(content.told(self.server.version())))
    }

    fn job<'j>(&'j self, backup: &'j Backup<'_>, counted: &'j Counted) -> Job<'j> {
        Job {
            source: backup.source,
            sha256: &backup.sha256,
            rows: &counted.rows,
            objects: Some(counted.objects),
            limit: backup.limit,
            replaces: self.existing.as_ref(),
            manner: Some(self.manner),
        }
    }
}

impl<'r> Restore<'r> for PostgresRestore<'r> {
    fn existing(&self) -> Option<&engine::Existing> {
        self.existing.as_ref().map(|existing| &existing.told)
    }

    fn announcement(&self) -> Option<String> {
        Some(format!(
            "The backup is complete. Restoring it on PostgreSQL {} into a scratch database.",
            self.server.version()
        ))
    }

    fn fill(&mut self, mut backup: Backup<'r>) -> Result<()> {
        let counted: Counted = engine::own(std::mem::replace(&mut backup.kept, Box::new(())))?;
        self.is_done = false;
        match self.server.fill(&self.job(&backup, &counted))? {
            Filled::Whole(content) => {
                self.filled = Some((backup, counted, content));
                Ok(())
            }
            Filled::NotRestorable(error) | Filled::NotTried(error) => Err(error),
        }
    }

    fn put_new(self: Box<Self>) -> Result<Option<Restored>> {
        self.put(|own, job, content| own.server.put_new(own.database, job, content))
    }

    fn put_over(self: Box<Self>) -> Result<Option<Restored>> {
        self.put(|own, job, content| {
            let existing = own.existing.as_ref().ok_or(Error::Lost)?;
            own.server.put_over(own.database, existing, job, content)
        })
    }
}

impl Drop for PostgresRestore<'_> {
    fn drop(&mut self) {
        if !self.is_done {
            discard(&self.server);
        }
    }
}

/// Drops the scratch database of `server`.
pub fn discard(server: &RestoreServer<'_>) {
    if let Err(error) = server.discard() {
        tracing::warn!(%error, "a scratch database could not be dropped; the next restore on that server \
                                drops it");
    }
}
