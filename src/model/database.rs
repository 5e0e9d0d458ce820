//! A configured database, as pages show it.

use super::{DatabaseName, Outcome, Stamp, human};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;

/// The engine of a database or a backup: a short identifier, as in manifests.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EngineKind(Cow<'static, str>);

impl EngineKind {
    /// Longest identifier, in bytes.
    const LONGEST: usize = 40;

    /// The kind with this identifier: lower-case letters, digits and hyphens.
    pub const fn new(identifier: &'static str) -> Self {
        Self(Cow::Borrowed(identifier))
    }

    /// The identifier as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for EngineKind {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let is_plain = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if is_plain && (1..=Self::LONGEST).contains(&text.len()) {
            Ok(Self(Cow::Owned(text)))
        } else {
            Err("an engine name has 1 to 40 characters from a-z, 0-9 and -")
        }
    }
}

impl From<EngineKind> for String {
    fn from(kind: EngineKind) -> Self {
        kind.0.into_owned()
    }
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A configured database, with the result of connecting to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseView {
    /// The name that the operator gave it.
    pub name: DatabaseName,
    /// The engine's name for people; `None` if the database is configured wrongly.
    pub engine: Option<String>,
    /// The address without secrets: a path, or `user@host:port/database`. Empty if the database is configured wrongly.
    pub address: String,
    /// Whether it can be reached.
    pub health: DatabaseHealth,
    /// When the newest backup was begun.
    pub newest: Option<Stamp>,
    /// Number of listed backups of this database.
    pub backups: u64,
}

/// Whether a database can be reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum DatabaseHealth {
    /// It answered.
    Reachable {
        /// Version of the server or the library.
        version: String,
        /// Size of the database in bytes.
        size: u64,
        /// A problem for a backup, such as a tool that is older than the server.
        warning: Option<String>,
    },
    /// It did not; a sentence with the cause and the remedy.
    Unreachable(String),
}

/// The data of the databases page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabasesView {
    /// The configured databases, by name.
    pub databases: Vec<DatabaseView>,
    /// Other configuration errors, a sentence each.
    pub problems: Vec<String>,
    /// The outcome that a redirect left for this page.
    pub outcome: Option<Outcome>,
}

/// The result of a connection test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// The database's name.
    pub database: DatabaseName,
    /// The engine's name for people.
    pub engine: String,
    /// Duration in milliseconds.
    pub took: u64,
    /// Whether the database can be reached.
    pub health: DatabaseHealth,
}

impl Tried {
    /// The sentence for the page.
    pub fn outcome(&self) -> Outcome {
        let Self { database, engine, took, health } = self;
        let took = human::duration(*took);
        match health {
            DatabaseHealth::Reachable { version, size, warning } => {
                let facts = format!("{engine} {version}, {}", human::size(*size));
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
