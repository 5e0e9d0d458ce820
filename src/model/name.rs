//! Names of backup files and of databases, validated when they are parsed. No other text is used as a file name.

use super::Stamp;
use serde::{Deserialize, Serialize};
use std::fmt;

const PREFIX: &str = "backup_";
const SUFFIX: &str = ".dump.gz";
const MANIFEST: &str = ".manifest.json";
const VERDICT: &str = ".verified.json";
const MIDDLE_MAX: usize = 200;

/// The name of a backup file: `backup_[A-Za-z0-9._-]{1,200}.dump.gz`. It cannot contain a
/// separator, so a path of the backup directory and such a name never leaves that directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BackupName(String);

/// Why a text is not a valid name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// Not `backup_….dump.gz` of plain characters.
    #[error("not the name of a backup: it must look like backup_….dump.gz")]
    Backup,
    /// Not `[a-z0-9-]{1,40}`.
    #[error("a database name has 1 to 40 characters from a-z, 0-9 and -")]
    Database,
}

impl BackupName {
    /// The name that Holdfast gives a backup of `database` begun at `created`. `take` is 1 for the plain name, and 2, 3
    /// … if the names before are taken.
    pub fn new(database: &DatabaseName, created: Stamp, take: u32) -> Self {
        let stamp = created.for_file_name();
        let again = if take > 1 { format!("-{take}") } else { String::new() };
        Self(format!("{PREFIX}{database}_{stamp}Z{again}{SUFFIX}"))
    }

    /// The same name with the number `take`, for use if the names with lower numbers are taken.
    #[must_use]
    pub fn another(&self, take: u32) -> Self {
        if let Some((database, created)) = self.parts() {
            return Self::new(&database, created, take);
        }
        let again = format!("-{take}");
        // A name is ASCII, so it can be cut anywhere.
        let middle = self.middle();
        let kept = middle.get(..MIDDLE_MAX - again.len()).unwrap_or(middle);
        Self(format!("{PREFIX}{kept}{again}{SUFFIX}"))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the manifest beside the file.
    pub fn manifest(&self) -> String {
        format!("{}{MANIFEST}", self.0)
    }

    /// The backup whose manifest has this file name; `None` if it is not a manifest.
    pub fn of_manifest(file_name: &str) -> Option<Self> {
        file_name.strip_suffix(MANIFEST)?.parse().ok()
    }

    /// The name of the file with the result of the last verification.
    pub fn verdict(&self) -> String {
        format!("{}{VERDICT}", self.0)
    }

    /// The backup whose verification result has this file name; `None` if it is not such a file.
    pub fn of_verdict(file_name: &str) -> Option<Self> {
        file_name.strip_suffix(VERDICT)?.parse().ok()
    }

    /// The database in the name, if the name has Holdfast's form.
    pub fn database(&self) -> Option<DatabaseName> {
        self.parts().map(|(database, _)| database)
    }

    /// The time in the name: of Holdfast's form, or of the older `backup_<timestamp>.dump.gz`.
    pub fn created(&self) -> Option<Stamp> {
        self.parts().map(|(_, stamp)| stamp).or_else(|| {
            let middle = self.middle();
            Stamp::from_file_name(middle.strip_suffix('Z').unwrap_or(middle))
        })
    }

    fn middle(&self) -> &str {
        &self.0[PREFIX.len()..self.0.len() - SUFFIX.len()]
    }

    fn parts(&self) -> Option<(DatabaseName, Stamp)> {
        let (database, rest) = self.middle().split_once('_')?;
        let (stamp, again) = rest.split_once('Z')?;
        let counted = again.strip_prefix('-').is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()));
        if !again.is_empty() && !counted {
            return None;
        }
        Some((database.parse().ok()?, Stamp::from_file_name(stamp)?))
    }
}

impl TryFrom<String> for BackupName {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        let middle = text
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.strip_suffix(SUFFIX))
            .ok_or(InvalidName::Backup)?;
        let plain = middle.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if plain && (1..=MIDDLE_MAX).contains(&middle.len()) {
            Ok(Self(text))
        } else {
            Err(InvalidName::Backup)
        }
    }
}

impl std::str::FromStr for BackupName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        text.to_owned().try_into()
    }
}

impl From<BackupName> for String {
    fn from(name: BackupName) -> Self {
        name.0
    }
}

impl fmt::Display for BackupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name that the operator gave a database: `[a-z0-9-]{1,40}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DatabaseName(String);

impl DatabaseName {
    /// The name for a database without one.
    pub fn unnamed() -> Self {
        Self("database".to_owned())
    }

    /// The name closest to a database's or file's own.
    pub fn after(own: &str) -> Self {
        let plain: String = own
            .chars()
            .take(40)
            .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
            .collect();
        Self::try_from(plain).unwrap_or_else(|_| Self::unnamed())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for DatabaseName {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        let plain = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if plain && (1..=40).contains(&text.len()) { Ok(Self(text)) } else { Err(InvalidName::Database) }
    }
}

impl std::str::FromStr for DatabaseName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        text.to_owned().try_into()
    }
}

impl From<DatabaseName> for String {
    fn from(name: DatabaseName) -> Self {
        name.0
    }
}

impl fmt::Display for DatabaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(text: &str) -> BackupName {
        text.parse().unwrap()
    }

    #[test]
    fn a_name_has_its_database_and_time() {
        let stamp = Stamp::from_file_name("2026-11-23_02-41-07").unwrap();
        let ours = name("backup_ledger_2026-11-23_02-41-07Z.dump.gz");
        assert_eq!(ours.database().unwrap().as_str(), "ledger");
        assert_eq!(ours.created(), Some(stamp));
        assert_eq!(name("backup_ledger_2026-11-23_02-41-07Z-12.dump.gz").created(), Some(stamp));
        assert_eq!(name("backup_2026-11-23_02-41-07.dump.gz").created(), Some(stamp));
        assert_eq!(name("backup_2026-11-23_02-41-07.dump.gz").database(), None);
        assert_eq!(name("backup_anything.dump.gz").created(), None);
    }

    #[test]
    fn hostile_names_are_refused() {
        for text in [
            "",
            "..",
            "backup_.dump.gz",
            "backup_../x.dump.gz",
            "backup_a/b.dump.gz",
            "backup_a\\b.dump.gz",
            "backup_a\0.dump.gz",
            "backup_a\n.dump.gz",
            "backup_a%2e.dump.gz",
            "backup_é.dump.gz",
            "backup_a.dump.gz.manifest.json",
            ".part-backup_a.dump.gz",
            " backup_a.dump.gz",
            "backup_a.dump.gz ",
            "backup_.dump.g",
            "BACKUP_a.dump.gz",
        ] {
            assert_eq!(text.parse::<BackupName>(), Err(InvalidName::Backup), "{text:?}");
        }
        assert!(format!("backup_{}.dump.gz", "a".repeat(200)).parse::<BackupName>().is_ok());
        assert!(format!("backup_{}.dump.gz", "a".repeat(201)).parse::<BackupName>().is_err());
    }

    proptest! {
        #[test]
        fn names_that_holdfast_gives_read_back(
            database in "[a-z0-9-]{1,40}", millis in 0i64..4_102_444_800_000, take in 1u32..1000
        ) {
            let database: DatabaseName = database.parse().unwrap();
            let stamp = Stamp::from_millis(millis - millis % 1000);
            let made = BackupName::new(&database, stamp, take);
            let read: BackupName = made.as_str().parse().unwrap();
            prop_assert_eq!(read.database(), Some(database));
            prop_assert_eq!(read.created(), Some(stamp));
        }

        #[test]
        fn no_name_leaves_its_directory(text in "\\PC{0,240}") {
            if let Ok(name) = text.parse::<BackupName>() {
                prop_assert_eq!(std::path::Path::new(name.as_str()).components().count(), 1);
            }
        }
    }
}
