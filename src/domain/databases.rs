//! The configured databases: what each answers when it is asked, and those that are set wrongly.

pub mod list;

use crate::domain::Holdfast;
use crate::domain::databases::list::Broken;
use crate::domain::engines::{Engine, Probe, Target, postgres};
use crate::domain::error::{Error, Result};
use crate::model::{Backup, DatabaseHealth, DatabaseName, DatabaseView, DatabasesView, Outcome, Tried};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

impl Holdfast {
    /// The names of the configured databases, sorted; those that are set wrongly among them.
    pub fn database_names(&self) -> Vec<DatabaseName> {
        let broken = self.inner.broken.iter().filter_map(|broken| broken.name.as_ref());
        let names: BTreeSet<_> = self.inner.databases.keys().chain(broken).cloned().collect();
        names.into_iter().collect()
    }

    /// The configured databases, each asked for its version and size, side by side, and what is set wrongly.
    /// `outcome` is what the page was opened to tell.
    pub fn databases(&self, outcome: Option<Outcome>) -> Result<DatabasesView> {
        let backups = self.inner.catalog.list()?;
        let mut databases: Vec<_> = std::thread::scope(|scope| {
            let asked: Vec<_> = self
                .inner
                .databases
                .iter()
                .map(|(name, engine)| (name, engine, scope.spawn(|| engine.probe())))
                .collect();
            asked
                .into_iter()
                .map(|(name, engine, answer)| {
                    let health = health_of(answer.join().unwrap_or(Err(Error::Lost)));
                    view_of(name, Some(&**engine), health, &backups)
                })
                .collect()
        });
        let mut problems = Vec::new();
        for Broken { name, sentence } in &self.inner.broken {
            match name {
                Some(name) => {
                    let health = DatabaseHealth::Unreachable(sentence.clone());
                    databases.push(view_of(name, None, health, &backups));
                }
                None => problems.push(sentence.clone()),
            }
        }
        databases.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(DatabasesView { databases, problems, outcome })
    }

    /// Warns of files that a database's URL names and that cannot be used, before the first backup finds it out.
    pub(crate) fn warn_of_files(&self) {
        for (name, target) in &self.inner.targets {
            if let Target::Postgres(server) = target
                && let Err(why) = postgres::look_over(&server.parameters)
            {
                tracing::warn!(database = %name, "{why}");
            }
        }
    }

    /// Asks one database whether it can be backed up.
    pub fn try_database(&self, database: &DatabaseName) -> Result<Tried> {
        let engine = self.engine(database)?;
        let began = Instant::now();
        let health = health_of(engine.probe());
        let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(Tried { database: database.clone(), engine: engine.kind(), took, health })
    }

    /// The engine of a database; what is wrong with how it is set, where something is.
    pub(crate) fn engine(&self, database: &DatabaseName) -> Result<Arc<dyn Engine>> {
        if let Some(engine) = self.inner.databases.get(database) {
            return Ok(Arc::clone(engine));
        }
        let broken = self.inner.broken.iter().find(|broken| broken.name.as_ref() == Some(database));
        Err(match broken {
            Some(broken) => Error::Refused(broken.sentence.clone()),
            None => Error::NoDatabase(database.to_string()),
        })
    }
}

fn view_of(
    name: &DatabaseName,
    engine: Option<&dyn Engine>,
    health: DatabaseHealth,
    backups: &[Backup],
) -> DatabaseView {
    let own = || backups.iter().filter(|backup| backup.database.as_deref() == Some(name.as_str()));
    DatabaseView {
        name: name.clone(),
        engine: engine.map(Engine::kind),
        address: engine.map_or_else(String::new, Engine::address),
        health,
        newest: own().map(|backup| backup.created).max(),
        backups: own().count() as u64,
    }
}

fn health_of(answer: Result<Probe>) -> DatabaseHealth {
    match answer {
        Ok(Probe { version, size, warning }) => DatabaseHealth::Reachable { version, size, warning },
        Err(error) => DatabaseHealth::Unreachable(error.to_string()),
    }
}
