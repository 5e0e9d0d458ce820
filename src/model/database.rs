//! A database to back up, as the pages speak of it.

use super::{DatabaseName, Outcome, Stamp, human};
use serde::{Deserialize, Serialize};

/// What kind of database it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// A SQLite file.
    Sqlite,
    /// A database on a PostgreSQL server.
    Postgresql,
}

impl EngineKind {
    /// The engine's own spelling of its name.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgresql => "PostgreSQL",
        }
    }

    /// `backup_format` in the manifest: what lies inside the gzip.
    pub const fn backup_format(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite-database",
            Self::Postgresql => "pg-custom",
        }
    }
}

/// A configured database, with what a look at it found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseView {
    /// The operator's name for it.
    pub name: DatabaseName,
    /// Its engine; nothing where it is set wrongly.
    pub engine: Option<EngineKind>,
    /// Where it is, without anything secret: a path, or `user@host:port/database`. Empty where it is set wrongly.
    pub address: String,
    /// What the engine answered.
    pub health: DatabaseHealth,
    /// When its newest backup was begun.
    pub newest: Option<Stamp>,
    /// How many backups of it are listed.
    pub backups: u64,
}

/// What the engine answered when it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum DatabaseHealth {
    /// It can be read.
    Reachable {
        /// The server's (or the library's) version.
        version: String,
        /// Bytes the database takes now.
        size: u64,
        /// What a backup should know beforehand, such as a tool older than the server.
        warning: Option<String>,
    },
    /// It cannot; a sentence that names the cause and the remedy.
    Unreachable(String),
}

/// Everything the databases page shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabasesView {
    /// The configured databases, by name.
    pub databases: Vec<DatabaseView>,
    /// What else is set wrongly: a sentence each.
    pub problems: Vec<String>,
    /// What the page was opened to tell.
    pub outcome: Option<Outcome>,
}

/// What came of trying a database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// Its name.
    pub database: DatabaseName,
    /// Its engine.
    pub engine: EngineKind,
    /// Milliseconds it took.
    pub took: u64,
    /// What it answered.
    pub health: DatabaseHealth,
}

impl Tried {
    /// The sentence for the page.
    pub fn outcome(&self) -> Outcome {
        let Self { database, engine, took, health } = self;
        let took = human::duration(*took);
        match health {
            DatabaseHealth::Reachable { version, size, warning } => {
                let facts = format!("{} {version}, {}", engine.label(), human::size(*size));
                match warning {
                    None => Outcome {
                        good: Some(format!("{database} answered in {took} ({facts}) and can be backed up.")),
                        bad: Vec::new(),
                    },
                    Some(warning) => {
                        Outcome::refused(format!("{database} answered in {took} ({facts}), but: {warning}"))
                    }
                }
            }
            DatabaseHealth::Unreachable(reason) => Outcome::refused(reason.clone()),
        }
    }
}
