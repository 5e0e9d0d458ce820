//! The configured databases: what each answers when it is asked, and those that are set wrongly.

pub mod list;

use crate::domain::Holdfast;
use crate::domain::databases::list::Broken;
use crate::domain::engines::engine::{Database, Probe};
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
                    self.view_of(name, Some(&**engine), health, &backups)
                })
                .collect()
        });
        let mut problems = Vec::new();
        for Broken { name, sentence } in &self.inner.broken {
            match name {
                Some(name) => {
                    let health = DatabaseHealth::Unreachable(sentence.clone());
                    databases.push(self.view_of(name, None, health, &backups));
                }
                None => problems.push(sentence.clone()),
            }
        }
        databases.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(DatabasesView { databases, problems, outcome })
    }

    /// Asks one database whether it can be backed up.
    pub fn try_database(&self, database: &DatabaseName) -> Result<Tried> {
        let engine = self.database(database)?;
        let began = Instant::now();
        let health = health_of(engine.probe());
        let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(Tried {
            database: database.clone(),
            engine: self.inner.engines.label(&engine.kind()),
            took,
            health,
        })
    }

    fn view_of(
        &self,
        name: &DatabaseName,
        database: Option<&dyn Database>,
        health: DatabaseHealth,
        backups: &[Backup],
    ) -> DatabaseView {
        let own = || backups.iter().filter(|backup| backup.database.as_deref() == Some(name.as_str()));
        DatabaseView {
            name: name.clone(),
            engine: database.map(|database| self.inner.engines.label(&database.kind())),
            address: database.map_or_else(String::new, Database::address),
            health,
            newest: own().map(|backup| backup.created).max(),
            backups: own().count() as u64,
        }
    }

    /// A configured database; what is wrong with how it is set, where something is.
    pub(crate) fn database(&self, database: &DatabaseName) -> Result<Arc<dyn Database>> {
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

fn health_of(answer: Result<Probe>) -> DatabaseHealth {
    match answer {
        Ok(Probe { version, size, warning }) => DatabaseHealth::Reachable { version, size, warning },
        Err(error) => DatabaseHealth::Unreachable(error.to_string()),
    }
}
