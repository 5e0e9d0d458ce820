//! The databases to back up: their names, addresses and health. The list can change while jobs run.

pub mod list;

use crate::domain::databases::list::Broken;
use crate::domain::engines::engine::{Database, EngineContext, Probe, Served};
use crate::domain::engines::{Engines, Target};
use crate::domain::error::{Code, Error, Result};
use crate::model::{Backup, DatabaseHealth, DatabaseName, DatabaseView, DatabasesView, Outcome, Tried};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

/// The setting that contains the URLs of the databases.
const SETTING: &str = "HOLDFAST_DATABASES";
/// The setting as part of a sentence.
pub const CONFIGURED: &str = "the URL in HOLDFAST_DATABASES";

/// The list of databases; clones share the list. Each reader gets the list as it is at that moment, so a job keeps its
/// database even if the list changes.
#[derive(Clone)]
pub struct Databases {
    engines: Engines,
    machine: EngineContext,
    current: Arc<Mutex<Arc<Entries>>>,
}

/// The list as it was when it was read.
#[derive(Default)]
pub struct Entries {
    working: BTreeMap<DatabaseName, Entry>,
    broken: Vec<Broken>,
}

struct Entry {
    target: Target,
    database: Arc<dyn Database>,
}

impl Entries {
    /// The names of all databases, sorted, including those whose entry has a mistake.
    pub fn names(&self) -> Vec<DatabaseName> {
        let broken = self.broken.iter().filter_map(|broken| broken.name.as_ref());
        let names: BTreeSet<_> = self.working.keys().chain(broken).cloned().collect();
        names.into_iter().collect()
    }

    /// The target of each working database, sorted by name.
    pub fn targets(&self) -> impl Iterator<Item = (&DatabaseName, &Target)> {
        self.working.iter().map(|(name, entry)| (name, &entry.target))
    }

    /// The target of one database.
    pub fn target(&self, name: &DatabaseName) -> Option<&Target> {
        self.working.get(name).map(|entry| &entry.target)
    }

    /// One database.
    ///
    /// # Errors
    ///
    /// [`Code::InvalidInput`] if its entry has a mistake, [`Code::DatabaseNotFound`] if no database has the name.
    pub fn get(&self, name: &DatabaseName) -> Result<Arc<dyn Database>> {
        if let Some(entry) = self.working.get(name) {
            return Ok(Arc::clone(&entry.database));
        }
        let broken = self.broken.iter().find(|broken| broken.name.as_ref() == Some(name));
        Err(match broken {
            Some(broken) => Error::refusal(Code::InvalidInput, &broken.sentence),
            None => Error::NoDatabase(name.to_string()),
        })
    }
}

impl Databases {
    /// An empty list. `machine` is what the engines may use of this machine.
    pub fn new(engines: Engines, machine: EngineContext) -> Self {
        Self { engines, machine, current: Arc::default() }
    }

    /// Replaces the whole list with `targets` and the `broken` entries, and logs the latter.
    pub fn replace(&self, targets: Vec<(DatabaseName, Target)>, broken: Vec<Broken>) {
        for Broken { sentence, .. } in &broken {
            tracing::warn!("{sentence}");
        }
        let entry = |(name, target): (DatabaseName, Target)| {
            let database = target.database(name.clone(), &self.machine, SETTING);
            (name, Entry { target, database })
        };
        *self.current.lock() =
            Arc::new(Entries { working: targets.into_iter().map(entry).collect(), broken });
    }

    /// The current list.
    pub fn now(&self) -> Arc<Entries> {
        Arc::clone(&self.current.lock())
    }

    /// One database of the current list; see [`Entries::get`].
    pub fn get(&self, name: &DatabaseName) -> Result<Arc<dyn Database>> {
        self.now().get(name)
    }

    /// Shows each engine its databases: those of the list, and `others`.
    pub fn begin_serving(&self, others: &[Served]) {
        let now = self.now();
        for engine in self.engines.all() {
            let listed = now.targets().map(|(name, target)| Served {
                name: Some(name.clone()),
                target: target.clone(),
                setting: CONFIGURED,
            });
            let own =
                listed.chain(others.iter().cloned()).filter(|served| served.target.kind() == engine.kind());
            engine.begin_serving(&self.machine, &own.collect::<Vec<_>>());
        }
    }

    /// The databases page: every database with its version and size, and every mistake in the list. Probes all
    /// databases at the same time. `backups` are all backups; `outcome` is the result that the page was opened to show.
    pub fn view(&self, backups: &[Backup], outcome: Option<Outcome>) -> DatabasesView {
        let now = self.now();
        let mut databases: Vec<_> = thread::scope(|scope| {
            let asked: Vec<_> = now
                .working
                .iter()
                .map(|(name, entry)| (name, entry, scope.spawn(|| entry.database.probe())))
                .collect();
            asked
                .into_iter()
                .map(|(name, entry, answer)| {
                    let health = health_of(answer.join().unwrap_or(Err(Error::Lost)));
                    self.view_of(name, Some(&*entry.database), health, backups)
                })
                .collect()
        });
        let mut problems = Vec::new();
        for Broken { name, sentence } in &now.broken {
            match name {
                Some(name) => {
                    let health = DatabaseHealth::Unreachable(sentence.clone());
                    databases.push(self.view_of(name, None, health, backups));
                }
                None => problems.push(sentence.clone()),
            }
        }
        databases.sort_by(|one, other| one.name.cmp(&other.name));
        DatabasesView { databases, problems, outcome }
    }

    /// Tests whether one database can be backed up.
    pub fn test(&self, name: &DatabaseName) -> Result<Tried> {
        let database = self.get(name)?;
        let began = Instant::now();
        let health = health_of(database.probe());
        let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let engine = self.engines.label(&database.kind());
        Ok(Tried { database: name.clone(), engine, took, health })
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
            engine: database.map(|database| self.engines.label(&database.kind())),
            address: database.map_or_else(String::new, Database::address),
            health,
            newest: own().map(|backup| backup.created).max(),
            backups: own().count() as u64,
        }
    }
}

fn health_of(answer: Result<Probe>) -> DatabaseHealth {
    match answer {
        Ok(Probe { version, size, warning }) => DatabaseHealth::Reachable { version, size, warning },
        Err(error) => DatabaseHealth::Unreachable(error.to_string()),
    }
}
