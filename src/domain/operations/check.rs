//! Proves what a backup file is good for: that its bytes are the ones that were written, and that its content is what
//! its engine makes of it.

use crate::domain::engines::engine::{Check, Checked, EngineContext, Kept, Restored};
use crate::domain::engines::{Engine, Engines};
use crate::domain::error::{Error, Result};
use crate::domain::jobs::Progress;
use crate::domain::jobs::cancel::Cancel;
use crate::domain::operations::context::Context;
use crate::domain::repository::content::{Source, Sums};
use crate::model::{EngineKind, Phase, Proof, Stamp, Verification, human};
use serde::Serialize;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// No backup unpacks to more than this unless it is said to.
const LARGEST: u64 = 10 << 40;

/// What was proved of a file.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Where it is.
    pub file: String,
    /// What it is a backup of.
    pub engine: Option<EngineKind>,
    /// How much was proved.
    pub level: Proof,
    /// Bytes of the file.
    pub size: u64,
    /// SHA-256 of the file.
    pub sha256: String,
    /// CRC-32 of the file, eight digits.
    pub crc32: String,
    /// Bytes of what lies inside the gzip.
    pub content_size: u64,
    /// SHA-256 of what lies inside the gzip.
    pub content_sha256: String,
    /// Whether a manifest said what it should be.
    pub has_manifest: bool,
    /// Tables that were restored.
    pub tables: Option<u64>,
    /// Rows in them.
    pub rows: Option<u64>,
    /// What is wrong with it; nothing where it is good.
    pub damage: Vec<String>,
    /// What of it could not be restored though all its data was: a sentence each.
    pub exceptions: Vec<String>,
    /// What else there is to know.
    pub notes: Vec<String>,
    /// What is wrong within the database, though the backup is whole: a sentence each. They are among the notes, too.
    #[serde(skip)]
    pub remarks: Vec<String>,
    /// What the content is and what reads it, in the engine's words.
    #[serde(skip)]
    content: String,
    /// Whether it was restored for a test on a server.
    #[serde(skip)]
    is_tested: bool,
    /// Why it was not restored for a test though that was asked for.
    #[serde(rename = "not_restored", skip_serializing_if = "Option::is_none")]
    pub untried: Option<String>,
}

impl Report {
    /// Whether anything is wrong with it.
    pub const fn is_damaged(&self) -> bool {
        !self.damage.is_empty()
    }

    /// Whether it is whole, and nothing that tried it would not take it.
    pub fn is_good(&self) -> bool {
        matches!(self.level, Proof::Readable | Proof::Restored)
    }

    /// What is to be remembered of it.
    pub fn verification(&self, at: Stamp) -> Verification {
        Verification {
            proof: self.level,
            at,
            tables: self.tables,
            rows: self.rows,
            damage: self.damage.clone(),
            excepted: self.exceptions.len() as u64,
            exceptions: self.exceptions.clone(),
            notes: self.notes.clone(),
        }
    }

    /// What is wrong in one sentence that names the file.
    pub fn sentence(&self) -> String {
        if self.level == Proof::Unrestored {
            let why = self.notes.join(" ");
            return format!("{} is whole, but restoring it for a test failed: {why}", self.file);
        }
        format!("{} is damaged: {}.", self.file, self.damage.join("; "))
    }

    /// What could not be restored, and what else there is to say at the end of a restore: sentences, a space before each.
    pub fn told_besides(&self) -> String {
        let mut told = String::new();
        if !self.exceptions.is_empty() {
            let count = human::count(self.exceptions.len() as u64, "exception");
            let _ = write!(told, " With {count}: {}.", self.exceptions.join("; "));
        }
        for note in &self.notes {
            told.push(' ');
            told += note;
        }
        told
    }

    /// What was proved, in sentences, one a line.
    pub fn sentences(&self) -> String {
        let size = human::exact(self.size);
        let said = if self.has_manifest {
            "size and SHA-256 are those of its manifest."
        } else {
            "no manifest says what they should be. gzip's own checksum is right."
        };
        let mut lines = vec![format!("{}: all {size} were read, and {said}", self.file)];
        lines.push(self.content.clone());
        lines.push(match (self.level, self.tables, self.rows) {
            (Proof::Restored, Some(tables), Some(rows)) => format!(
                "It was restored: {} with {}.",
                human::count(tables, "table"),
                human::count(rows, "row")
            ),
            (Proof::Readable, Some(tables), Some(rows)) if self.is_tested => {
                format!(
                    "Its rows were restored and read back, {} with {}, but not into a database like theirs.",
                    human::count(tables, "table"),
                    human::count(rows, "row")
                )
            }
            (Proof::Readable, Some(tables), Some(rows)) => format!(
                "It was unpacked and read: {} with {}. Not all of it could be checked.",
                human::count(tables, "table"),
                human::count(rows, "row")
            ),
            (Proof::Unrestored, ..) => "It was not restored: that was tried, and failed.".to_owned(),
            // Why it was not is among the notes.
            _ if self.notes.iter().any(|note| note.starts_with("It was not restored")) => {
                "It was not restored.".to_owned()
            }
            _ => "It was not restored; --restore-on does that, in a database of its own on a server."
                .to_owned(),
        });
        if !self.exceptions.is_empty() {
            let count = human::count(self.exceptions.len() as u64, "exception");
            lines.push(format!("Left out or changed, {count}:"));
            lines.extend(self.exceptions.iter().map(|exception| format!("- {exception}")));
        }
        lines.extend(self.notes.iter().cloned());
        lines.join("\n") + "\n"
    }

    /// Takes in what restoring it on a server came to.
    pub fn take(&mut self, restored: Restored) {
        self.is_tested = true;
        (self.tables, self.rows) = (Some(restored.counts.tables), Some(restored.counts.rows));
        self.exceptions = restored.exceptions;
        if restored.is_alike {
            self.level = Proof::Restored;
        }
        self.notes.extend(restored.notes);
    }
}

/// What a file is checked with.
pub struct Checking<'c> {
    /// The engines it may be of.
    pub engines: &'c Engines,
    /// What they may use.
    pub context: &'c EngineContext,
    /// The file that the content is to replace, where it is checked to be restored into a file of this machine.
    pub beside: Option<&'c Path>,
    /// Gives a directory for temporary files, which the caller removes.
    pub scratch: &'c dyn Fn() -> Result<PathBuf>,
    /// The most bytes it may unpack to.
    pub limit: Option<u64>,
    /// A request to stop.
    pub cancel: &'c Cancel,
    /// Hears how it gets on.
    pub progress: &'c dyn Progress,
}

/// Checks a backup of the backup directory or elsewhere. What is unpacked lies beside the file `beside`, if there is one,
/// else in the backup directory. `limit` is the most bytes the backup may unpack to.
pub(in crate::domain) fn check_with(
    context: &Context,
    source: &Source,
    beside: Option<&Path>,
    limit: Option<u64>,
    cancel: &Cancel,
    progress: &dyn Progress,
) -> Result<(Report, Kept)> {
    let draft = context.directory.draft()?;
    let how = Checking {
        engines: &context.engines,
        context: &context.machine,
        beside,
        scratch: &|| draft.scratch(),
        limit,
        cancel,
        progress,
    };
    check(source, &how)
}

/// Checks `source` completely. Gives what a restore needs of the check, too.
pub fn check(source: &Source, how: &Checking<'_>) -> Result<(Report, Kept)> {
    let Checking { engines, context, beside, scratch, limit, cancel, progress } = *how;
    progress.phase(Phase::Checking);
    let beginning = source.beginning(cancel)?;
    let limit = limit.unwrap_or(LARGEST);
    let told = source.manifest.as_ref().map(|manifest| &manifest.database_engine);
    let found = engines.recognise(&beginning);
    let engine = found.or_else(|| engines.get(told?));
    if let Some(unknown) = told.filter(|_| engine.is_none()) {
        return Err(Error::Refused(format!(
            "{} is a backup of the engine {unknown}, which this Holdfast does not know, so it cannot be checked. Use the \
             version that made it.",
            source.path.display()
        )));
    }
    let check = Check { source, beginning: &beginning, limit, beside, scratch, context, cancel, progress };
    let Checked { sums, fault, proof, counted, remarks, sentence, kept } = match engine {
        Some(engine) => engine.check(&check)?,
        None => unknown(check.content(None).finish()?),
    };
    let mut damage = Vec::from_iter(source.fault.clone());
    damage.extend(differences(source, &sums));
    let found = found.map(Engine::kind);
    if found.is_none() && sums.fault.is_none() {
        damage.push(format!("what it holds is neither {}", engines.contents(" nor ")));
    } else if let (Some(told), Some(found)) = (told, &found)
        && told != found
    {
        damage.push(format!(
            "it holds a {} backup and its manifest says {}",
            engines.label(found),
            engines.label(told)
        ));
    }
    // What cannot be unpacked is not complete either: that says nothing more.
    let is_unpacked = sums.fault.is_none();
    damage.extend(sums.fault);
    damage.extend(fault.filter(|_| is_unpacked && found.is_some()));
    let report = Report {
        file: source.path.display().to_string(),
        level: if damage.is_empty() { proof } else { Proof::Damaged },
        engine: found.or_else(|| told.cloned()),
        size: sums.size,
        sha256: sums.sha256,
        crc32: sums.crc32,
        content_size: sums.content_size,
        content_sha256: sums.content_sha256,
        has_manifest: source.manifest.is_some(),
        tables: counted.map(|counts| counts.tables),
        rows: counted.map(|counts| counts.rows),
        damage,
        exceptions: Vec::new(),
        notes: remarks.clone(),
        remarks,
        content: sentence,
        is_tested: false,
        untried: None,
    };
    Ok((report, kept))
}

/// What there is to say of a file that no engine knows.
fn unknown(sums: Sums) -> Checked {
    Checked {
        sums,
        fault: None,
        proof: Proof::Readable,
        counted: None,
        remarks: Vec::new(),
        sentence: String::new(),
        kept: Box::new(()),
    }
}

/// In what the file is not what its manifest says.
fn differences(source: &Source, sums: &Sums) -> Vec<String> {
    let Some(manifest) = &source.manifest else { return Vec::new() };
    let mut found = Vec::new();
    let mut compare = |what: &str, is: &str, should: &str| {
        if is != should {
            found.push(format!("{what} is {is}, and its manifest says {should}"));
        }
    };
    compare("its size", &sums.size.to_string(), &manifest.payload_size.to_string());
    compare("its SHA-256", &sums.sha256, &manifest.payload_sha256);
    if sums.fault.is_none() {
        compare("its content's size", &sums.content_size.to_string(), &manifest.content_size.to_string());
        compare("its content's SHA-256", &sums.content_sha256, &manifest.content_sha256);
    }
    found
}
