//! How an action on several backups ended, in the sentences the page shows.

use super::{BackupName, Bundled, JobId, Picked, human};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// More names than this are counted instead of listed.
const NAMED: usize = 12;

/// What the page tells after an action: in its status what went well, in an alert what did not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// What was done.
    pub good: Option<String>,
    /// What was not, and why.
    pub bad: Vec<String>,
}

impl Outcome {
    /// It went well.
    pub fn done(words: impl Into<String>) -> Self {
        Self { good: Some(words.into()), bad: Vec::new() }
    }

    /// Nothing was done, for this reason.
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

    /// The names that are not in the archive; nothing where all are.
    pub fn left_out(&self) -> Vec<String> {
        let names = listed(self.missing.iter().map(String::as_str));
        let sentence = match (&self.address, &self.missing[..]) {
            (Some(_), []) => return Vec::new(),
            (None, []) => {
                "Nothing was selected. Select backups first, then press one of the download buttons."
                    .to_owned()
            }
            (Some(_), _) => format!("Left out of the archive: {names}. MISSING.txt in it says why."),
            (None, _) => format!(
                "There is nothing to download: none of the selected backups exists any more: {names}. Select others."
            ),
        };
        vec![sentence]
    }
}

/// What a deletion came to, backup by backup.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deleted {
    /// What is gone.
    pub gone: Vec<Picked>,
    /// What is still there or never was, each with the reason.
    pub kept: Vec<Kept>,
}

/// What came of asking for several transfers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queued {
    /// The jobs that were begun.
    pub jobs: Vec<JobId>,
    /// What was not begun, each with the reason.
    pub refused: Vec<Kept>,
}

impl Queued {
    /// The sentences for the page. What was begun shows itself.
    pub fn outcome(&self, nothing: &str) -> Outcome {
        if self.jobs.is_empty() && self.refused.is_empty() {
            return Outcome::refused(nothing);
        }
        let sentence = |Kept { name, reason }: &Kept| format!("{}: {reason}", printable(name));
        Outcome { good: None, bad: self.refused.iter().take(NAMED).map(sentence).collect() }
    }
}

/// A backup with which it was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The name that was asked for, which may be none.
    pub name: String,
    /// Why, in a sentence.
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

/// What an import came to, backup by backup.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Imported {
    /// What is listed now.
    pub added: Vec<Added>,
    /// What was listed before, byte for byte.
    pub here: Vec<BackupName>,
    /// What was not imported, each with the reason.
    pub refused: Vec<Kept>,
}

/// A backup that was imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// What it is listed as.
    pub name: BackupName,
    /// Its bytes.
    pub size: u64,
    /// What it was called before.
    pub from: String,
    /// What there is to know of it, a sentence each.
    pub notes: Vec<String>,
}

impl Imported {
    /// The sentences for the page.
    pub fn outcome(&self) -> Outcome {
        let mut good = Vec::new();
        if !self.added.is_empty() {
            let size = self.added.iter().map(|backup| backup.size).sum();
            let names: Vec<_> = self.added.iter().map(Added::told).collect();
            good.push(format!(
                "Imported {} ({}): {}.",
                human::count(names.len() as u64, "backup"),
                human::size(size),
                listed(names.iter().map(String::as_str))
            ));
        }
        for backup in self.added.iter().filter(|backup| !backup.notes.is_empty()).take(NAMED) {
            good.push(format!("Of {}: {}", backup.name, backup.notes.join(" ")));
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
    fn told(&self) -> String {
        if self.from == self.name.as_str() {
            return self.name.to_string();
        }
        // As long as both together may be, and the list's own name whole.
        let from: String = printable(&self.from).chars().take(40).collect();
        format!("{} (from {from})", self.name)
    }
}

/// Names in one line, the many counted.
pub fn listed<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let more = names.len().saturating_sub(NAMED);
    let mut line = names.take(NAMED).map(printable).collect::<Vec<_>>().join(", ");
    if more > 0 {
        let _ = write!(line, " and {} more", human::grouped(more as u64));
    }
    line
}

/// A name that somebody sent, fit for a sentence.
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
    fn what_went_and_what_did_not_are_named_with_the_reason() {
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
    fn an_import_names_what_went_in_what_was_there_and_what_was_refused() {
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
                 Of backup_a.dump.gz: It is odd. Already here: backup_b.dump.gz."
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
