//! The result of a verification.

use super::{Stamp, Tone, human};
use serde::{Deserialize, Serialize};

/// How much a verification proved about a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Proof {
    /// The backup is damaged.
    Damaged,
    /// The file is intact, but the test restore failed.
    Unrestored,
    /// The file is intact, and the engine's tool can read all of it.
    Readable,
    /// A test restore into a scratch database succeeded, and its rows were counted.
    Restored,
}

impl Proof {
    /// The word on the page.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Damaged => "damaged",
            Self::Unrestored => "not restorable",
            Self::Readable => "readable",
            Self::Restored => "restored",
        }
    }

    /// The colour of the word.
    pub const fn tone(self) -> Tone {
        match self {
            Self::Damaged | Self::Unrestored => Tone::Bad,
            Self::Readable | Self::Restored => Tone::Good,
        }
    }
}

/// The last verification of a backup, as the list shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// How much was proved.
    pub proof: Proof,
    /// When.
    pub at: Stamp,
    /// Number of restored tables.
    pub tables: Option<u64>,
    /// Number of rows in them.
    pub rows: Option<u64>,
    /// What is damaged; empty if the backup is good.
    pub damage: Vec<String>,
    /// Number of objects that could not be restored although all data was.
    #[serde(default)]
    pub excepted: u64,
    /// Those objects, a phrase each. Not sent with the list.
    #[serde(skip)]
    pub exceptions: Vec<String>,
    /// Further remarks.
    pub notes: Vec<String>,
}

impl Verification {
    /// The result and its time in a sentence.
    pub fn sentence(&self) -> String {
        let at = self.at;
        match self.proof {
            Proof::Damaged => format!("Found damaged at {at} UTC: {}.", self.damage.join("; ")),
            Proof::Unrestored => format!("Intact at {at} UTC, but the test restore failed."),
            Proof::Readable => format!("Intact: read completely at {at} UTC. It was not restored."),
            Proof::Restored => {
                let told: Vec<_> = self.counted().into_iter().chain(self.excepted()).collect();
                if told.is_empty() {
                    format!("Test restore succeeded at {at} UTC.")
                } else {
                    format!("Test restore succeeded at {at} UTC: {}.", told.join(", "))
                }
            }
        }
    }

    /// `3 exceptions`, if there were any.
    fn excepted(&self) -> Option<String> {
        (self.excepted > 0).then(|| human::count(self.excepted, "exception"))
    }

    /// The word on the page: `restored, 3 exceptions`.
    pub fn label(&self) -> String {
        let excepted = self.excepted().map_or_else(String::new, |excepted| format!(", {excepted}"));
        format!("{}{excepted}", self.proof.label())
    }

    /// The sentence with all remarks.
    pub fn details(&self) -> String {
        let mut sentences = vec![self.sentence()];
        if !self.exceptions.is_empty() {
            sentences.push(format!("Left out: {}.", self.exceptions.join("; ")));
        }
        sentences.extend(self.notes.iter().cloned());
        sentences.join(" ")
    }

    /// `3 tables with 1,200 rows`, if they were counted.
    pub fn counted(&self) -> Option<String> {
        let (tables, rows) = self.tables.zip(self.rows)?;
        Some(format!("{} with {}", human::count(tables, "table"), human::count(rows, "row")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verification_says_what_it_proved_and_when() {
        let at = Stamp::from_millis(1_795_401_667_123);
        let found = |proof, damage: &[&str]| Verification {
            proof,
            at,
            tables: Some(3),
            rows: Some(1200),
            damage: damage.iter().map(ToString::to_string).collect(),
            excepted: 0,
            exceptions: Vec::new(),
            notes: Vec::new(),
        };
        assert_eq!(
            found(Proof::Restored, &[]).sentence(),
            "Test restore succeeded at 2026-11-23 02:41:07 UTC: 3 tables with 1,200 rows."
        );
        assert!(found(Proof::Damaged, &["a", "b"]).sentence().ends_with("UTC: a; b."));
        assert!(found(Proof::Readable, &[]).sentence().ends_with("It was not restored."));
    }
}
