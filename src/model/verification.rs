//! What a verification found out about a backup.

use super::{Stamp, Tone, human};
use serde::{Deserialize, Serialize};

/// How much was proved of a file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Proof {
    /// Nothing: it is damaged.
    Damaged,
    /// It is whole, but the server it was tried on would not take it.
    Unrestored,
    /// It is whole, and the program it is for reads all of it.
    Readable,
    /// It was restored into a database of its own, and its rows were counted there.
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

    /// The colour that goes with the word.
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
    /// Tables that were restored.
    pub tables: Option<u64>,
    /// Rows in them.
    pub rows: Option<u64>,
    /// What is wrong with it; nothing where it is good.
    pub damage: Vec<String>,
    /// How much of it could not be restored though all its data was.
    #[serde(default)]
    pub excepted: u64,
    /// The same in words, a phrase each. The list is sent without them.
    #[serde(skip)]
    pub exceptions: Vec<String>,
    /// What else there is to know.
    pub notes: Vec<String>,
}

impl Verification {
    /// What was found, in a sentence with its time.
    pub fn sentence(&self) -> String {
        let at = self.at;
        match self.proof {
            Proof::Damaged => format!("Found damaged at {at} UTC: {}.", self.damage.join("; ")),
            Proof::Unrestored => format!("Whole at {at} UTC, but the test restore failed."),
            Proof::Readable => format!("Read to its end at {at} UTC and whole. It was not restored."),
            Proof::Restored => {
                let told: Vec<_> = self.counted().into_iter().chain(self.excepted()).collect();
                if told.is_empty() {
                    format!("Restored for a test at {at} UTC.")
                } else {
                    format!("Restored for a test at {at} UTC: {}.", told.join(", "))
                }
            }
        }
    }

    /// `3 exceptions`, where there were any.
    fn excepted(&self) -> Option<String> {
        (self.excepted > 0).then(|| human::count(self.excepted, "exception"))
    }

    /// The word on the page: `restored, 3 exceptions`.
    pub fn label(&self) -> String {
        let excepted = self.excepted().map_or_else(String::new, |excepted| format!(", {excepted}"));
        format!("{}{excepted}", self.proof.label())
    }

    /// The sentence, and what else there is to know.
    pub fn details(&self) -> String {
        let mut sentences = vec![self.sentence()];
        if !self.exceptions.is_empty() {
            sentences.push(format!("Left out: {}.", self.exceptions.join("; ")));
        }
        sentences.extend(self.notes.iter().cloned());
        sentences.join(" ")
    }

    /// `3 tables with 1,200 rows`, where they were counted.
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
            "Restored for a test at 2026-11-23 02:41:07 UTC: 3 tables with 1,200 rows."
        );
        assert!(found(Proof::Damaged, &["a", "b"]).sentence().ends_with("UTC: a; b."));
        assert!(found(Proof::Readable, &[]).sentence().ends_with("It was not restored."));
    }
}
