//! A database to back up, as the pages speak of it.

use super::{DatabaseName, Outcome, Stamp, human};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;

/// Which engine a database or a backup is of, as manifests write it: a short identifier.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EngineKind(Cow<'static, str>);

impl EngineKind {
    /// The longest there may be, in bytes.
    const LONGEST: usize = 40;

    /// The identifier that an engine has: lower-case letters, digits and hyphens.
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
            Err("an engine is named by 1 to 40 characters out of a-z, 0-9 and -")
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

/// A configured database, with what a look at it found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseView {
    /// The operator's name for it.
    pub name: DatabaseName,
    /// What people call its engine; nothing where it is set wrongly.
    pub engine: Option<String>,
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
    /// What people call its engine.
    pub engine: String,
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
