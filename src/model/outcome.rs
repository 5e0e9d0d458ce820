//! The outcome of an action on several backups, and the sentences that the page shows for it.

use super::{BackupName, Bundled, JobId, Picked, human};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// More names than this are counted instead of listed.
const NAMED: usize = 12;

/// The outcome of an action: a success for the status region, and failures for alerts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The success.
    pub good: Option<String>,
    /// The failures, each with the reason.
    pub bad: Vec<String>,
}

impl Outcome {
    /// A success.
    pub fn done(words: impl Into<String>) -> Self {
        Self { good: Some(words.into()), bad: Vec::new() }
    }

    /// A failure: nothing was done, for this reason.
    pub fn refused(reason: impl Into<String>) -> Self {
        Self { good: None, bad: vec![reason.into()] }
    }
}

impl Bundled {
    /// The sentences for the page that asked for the archive.
    pub fn outcome(&self) -> Outcome {
        let good = self.address.as_ref().map(|_| {
            let count = human::count(self.files as u64, "backup");
            format!("Downloading {count} in one archive, {}.", human::size(self.size))
        });
        Outcome { good, bad: self.left_out() }
    }

    /// A sentence with the names that are not in the archive; empty if all are.
    pub fn left_out(&self) -> Vec<String> {
        let names = listed(self.missing.iter().map(String::as_str));
        let sentence = match (&self.address, &self.missing[..]) {
            (Some(_), []) => return Vec::new(),
            (None, []) => {
                "Nothing was selected. Select backups first, then press one of the download buttons."
                    .to_owned()
            }
            (Some(_), _) => format!("Left out of the archive: {names}. MISSING.txt in the archive says why."),
            (None, _) => format!(
                "Nothing to download: none of the selected backups exists any more: {names}. Select others."
            ),
        };
        vec![sentence]
    }
}

/// The result of a deletion, backup by backup.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deleted {
    /// The deleted backups.
    pub gone: Vec<Picked>,
    /// The names that were not deleted, each with the reason.
    pub kept: Vec<Kept>,
}

/// The result of queueing several transfers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queued {
    /// The queued jobs.
    pub jobs: Vec<JobId>,
    /// The refused names, each with the reason.
    pub refused: Vec<Kept>,
}

impl Queued {
    /// The sentences for the page. Queued jobs appear there by themselves. `nothing` is the sentence if none was
    /// selected.
    pub fn outcome(&self, nothing: &str) -> Outcome {
        if self.jobs.is_empty() && self.refused.is_empty() {
            return Outcome::refused(nothing);
        }
        let sentence = |Kept { name, reason }: &Kept| format!("{}: {reason}", printable(name));
        Outcome { good: None, bad: self.refused.iter().take(NAMED).map(sentence).collect() }
    }
}

/// A name that an action skipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The requested name, which may be invalid.
    pub name: String,
    /// The reason, as a sentence.
    pub reason: String,
}

impl Deleted {
    /// The sentences for the page.
    pub fn outcome(&self) -> Outcome {
        if self.gone.is_empty() && self.kept.is_empty() {
            return Outcome::refused("Nothing was selected. Select backups first, then press “Delete”.");
        }
        let freed = self.gone.iter().map(|backup| backup.size).sum();
        let good = (!self.gone.is_empty()).then(|| {
            format!(
                "Deleted {} ({}): {}.",
                human::count(self.gone.len() as u64, "backup"),
                human::size(freed),
                listed(self.gone.iter().map(|backup| backup.name.as_str()))
            )
        });
        let mut bad: Vec<_> = self
            .kept
            .iter()
            .take(NAMED)
            .map(|Kept { name, reason }| format!("Not deleted: {}. {reason}", printable(name)))
            .collect();
        if let Some(more) = self.kept.len().checked_sub(NAMED).filter(|&more| more > 0) {
            bad.push(format!("{} more could not be deleted; see the log.", human::grouped(more as u64)));
        }
        Outcome { good, bad }
    }
}

/// The result of an import, backup by backup.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Imported {
    /// The imported backups.
    pub added: Vec<Added>,
    /// Backups that were already listed with the same bytes.
    pub here: Vec<BackupName>,
    /// The files that were not imported, each with the reason.
    pub refused: Vec<Kept>,
}

/// A backup that was imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// The name in the list.
    pub name: BackupName,
    /// Size in bytes.
    pub size: u64,
    /// The name of the imported file.
    pub from: String,
    /// Remarks, a sentence each.
    pub notes: Vec<String>,
}

impl Imported {
    /// The sentences for the page.
    pub fn outcome(&self) -> Outcome {
        let mut good = Vec::new();
        if !self.added.is_empty() {
            let size = self.added.iter().map(|backup| backup.size).sum();
            let names: Vec<_> = self.added.iter().map(Added::described).collect();
            good.push(format!(
                "Imported {} ({}): {}.",
                human::count(names.len() as u64, "backup"),
                human::size(size),
                listed(names.iter().map(String::as_str))
            ));
        }
        for backup in self.added.iter().filter(|backup| !backup.notes.is_empty()).take(NAMED) {
            good.push(format!("About {}: {}", backup.name, backup.notes.join(" ")));
        }
        if !self.here.is_empty() {
            good.push(format!("Already here: {}.", listed(self.here.iter().map(BackupName::as_str))));
        }
        let good = (!good.is_empty()).then(|| good.join(" "));
        if good.is_none() && self.refused.is_empty() {
            return Outcome::refused("No file was chosen. Choose one or several, then press “Import”.");
        }
        let mut bad: Vec<_> = self
            .refused
            .iter()
            .take(NAMED)
            .map(|Kept { name, reason }| format!("Not imported: {}. {reason}", printable(name)))
            .collect();
        if let Some(more) = self.refused.len().checked_sub(NAMED).filter(|&more| more > 0) {
            bad.push(format!("{} more were not imported; see the log.", human::grouped(more as u64)));
        }
        Outcome { good, bad }
    }
}

impl Added {
    fn described(&self) -> String {
        if self.from == self.name.as_str() {
            return self.name.to_string();
        }
        // Shortens the foreign name, never the name in the list.
        let from: String = printable(&self.from).chars().take(40).collect();
        format!("{} (from {from})", self.name)
    }
}

/// Names in one line. More than [`NAMED`] are counted.
pub fn listed<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let more = names.len().saturating_sub(NAMED);
    let mut line = names.take(NAMED).map(printable).collect::<Vec<_>>().join(", ");
    if more > 0 {
        let _ = write!(line, " and {} more", human::grouped(more as u64));
    }
    line
}

/// A name from a request, made safe for a sentence.
pub fn printable(name: &str) -> String {
    const LONGEST: usize = 120;
    let mut shown: String =
        name.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(LONGEST).collect();
    if name.chars().count() > LONGEST {
        shown.push('…');
    }
    if shown.is_empty() { "(no name)".to_owned() } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gone(count: usize) -> Vec<Picked> {
        (0..count)
            .map(|i| Picked { name: format!("backup_{i:03}.dump.gz").parse().unwrap(), size: 1024 })
            .collect()
    }

    #[test]
    fn deleted_and_skipped_backups_are_named_with_the_reason() {
        let kept = vec![Kept { name: "x\n".to_owned(), reason: "It is not there.".to_owned() }];
        let outcome = Deleted { gone: gone(2), kept }.outcome();
        assert_eq!(
            outcome.good.as_deref(),
            Some("Deleted 2 backups (2.0 KB): backup_000.dump.gz, backup_001.dump.gz.")
        );
        assert_eq!(outcome.bad, ["Not deleted: x\u{fffd}. It is not there."]);
    }

    #[test]
    fn many_names_are_counted() {
        let outcome = Deleted { gone: gone(57), kept: Vec::new() }.outcome();
        assert!(outcome.good.unwrap().ends_with("backup_011.dump.gz and 45 more."));
    }

    #[test]
    fn an_import_names_imported_known_and_refused_files() {
        let name = |text: &str| text.parse::<BackupName>().unwrap();
        let added = |from: &str| Added {
            name: name("backup_a.dump.gz"),
            size: 1024,
            from: from.to_owned(),
            notes: if from == "monday.gz" { vec!["It is odd.".to_owned()] } else { Vec::new() },
        };
        let refused = vec![Kept { name: "x\n.zip".to_owned(), reason: "It is empty.".to_owned() }];
        let imported = Imported {
            added: vec![added("backup_a.dump.gz"), added("monday.gz")],
            here: vec![name("backup_b.dump.gz")],
            refused,
        };
        let outcome = imported.outcome();
        assert_eq!(
            outcome.good.as_deref(),
            Some(
                "Imported 2 backups (2.0 KB): backup_a.dump.gz, backup_a.dump.gz (from monday.gz). \
                 About backup_a.dump.gz: It is odd. Already here: backup_b.dump.gz."
            )
        );
        assert_eq!(outcome.bad, ["Not imported: x\u{fffd}.zip. It is empty."]);
        assert!(Imported::default().outcome().bad[0].contains("No file was chosen"));
    }

    #[test]
    fn deleting_nothing_says_so() {
        let outcome = Deleted::default().outcome();
        assert!(outcome.good.is_none() && outcome.bad[0].contains("Nothing was selected"));
    }
}
