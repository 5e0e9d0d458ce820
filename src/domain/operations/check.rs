//! Checks a backup file: that its bytes match its manifest, and that its content is complete and readable for its
//! engine.

use crate::domain::engines::engine::{Check, Checked, EngineContext, Kept, Restored};
use crate::domain::engines::{Engine, Engines};
use crate::domain::error::{Code, Error, Result};
use crate::domain::jobs::Progress;
use crate::domain::jobs::cancel::Cancel;
use crate::domain::operations::context::Context;
use crate::domain::repository::content::{Source, Sums};
use crate::model::{EngineKind, Phase, Proof, Stamp, Verification, human};
use serde::Serialize;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The default limit on the unpacked size, in bytes.
const LARGEST: u64 = 10 << 40;

/// How the note begins that says why a test restore did not run.
pub(crate) const NOT_TESTED: &str = "The test restore did not run";

/// The result of checking a file.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The file's path.
    pub file: String,
    /// The engine of the backup.
    pub engine: Option<EngineKind>,
    /// What the check proved.
    pub level: Proof,
    /// The file's size in bytes.
    pub size: u64,
    /// SHA-256 of the file.
    pub sha256: String,
    /// CRC-32 of the file, eight digits.
    pub crc32: String,
    /// The unpacked size in bytes.
    pub content_size: u64,
    /// SHA-256 of the unpacked content.
    pub content_sha256: String,
    /// Whether the file has a manifest.
    pub has_manifest: bool,
    /// The number of restored tables.
    pub tables: Option<u64>,
    /// The number of rows in them.
    pub rows: Option<u64>,
    /// What is damaged: half a sentence each. Empty if the file is intact.
    pub damage: Vec<String>,
    /// What could not be restored, although all data was: half a sentence each.
    pub exceptions: Vec<String>,
    /// Further remarks: a sentence each.
    pub notes: Vec<String>,
    /// Problems in the database itself, although the backup is intact: a sentence each. The notes contain them too.
    #[serde(skip)]
    pub remarks: Vec<String>,
    /// What the content is and which program can read it: the engine's sentence.
    #[serde(skip)]
    content: String,
    /// Whether it was test-restored on a server.
    #[serde(skip)]
    is_tested: bool,
    /// Why a requested test restore did not run.
    #[serde(rename = "not_restored", skip_serializing_if = "Option::is_none")]
    pub untried: Option<String>,
}

impl Report {
    /// Whether the file is damaged.
    pub const fn is_damaged(&self) -> bool {
        !self.damage.is_empty()
    }

    /// Whether the file is intact and no test restore failed.
    pub fn is_good(&self) -> bool {
        matches!(self.level, Proof::Readable | Proof::Restored)
    }

    /// The part of the report that is stored beside the file.
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

    /// What is wrong, in a sentence that names the file.
    pub fn sentence(&self) -> String {
        if self.level == Proof::Unrestored {
            let why = self.notes.join(" ");
            return format!("{} is whole, but the test restore failed: {why}", self.file);
        }
        format!("{} is damaged: {}.", self.file, self.damage.join("; "))
    }

    /// Exceptions and notes for the end of a restore: sentences, each with a space before it.
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

    /// What the check proved, in sentences, one per line.
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
                    "The test restore read all rows back, {} with {}, but the test database was not set up like the \
                     original.",
                    human::count(tables, "table"),
                    human::count(rows, "row")
                )
            }
            (Proof::Readable, Some(tables), Some(rows)) => format!(
                "The backup was unpacked and read: {} with {}. Not everything in it could be checked.",
                human::count(tables, "table"),
                human::count(rows, "row")
            ),
            (Proof::Unrestored, ..) => "The test restore failed.".to_owned(),
            // The notes say why.
            _ if self.untried.is_some() || self.notes.iter().any(|note| note.starts_with(NOT_TESTED)) => {
                "It was not restored.".to_owned()
            }
            _ => "It was not restored. To restore it into a scratch database on a server, use --restore-on."
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

    /// Adds the result of restoring the backup on a server.
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

/// How a file is checked.
pub struct Checking<'c> {
    /// The known engines.
    pub engines: &'c Engines,
    /// What the engines may use of this machine.
    pub context: &'c EngineContext,
    /// For a restore into a file of this machine: that file.
    pub beside: Option<&'c Path>,
    /// Creates a directory for temporary files, which the caller removes.
    pub scratch: &'c dyn Fn() -> Result<PathBuf>,
    /// The most bytes the file may unpack to.
    pub limit: Option<u64>,
    /// A request to stop.
    pub cancel: &'c Cancel,
    /// Receives the progress.
    pub progress: &'c dyn Progress,
}

/// Checks a backup in the backup directory or elsewhere. Unpacks it beside the file `beside` if there is one, otherwise
/// in the backup directory. `limit` is the most bytes the backup may unpack to.
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

/// Checks `source` completely. Also returns what a restore needs from the check.
pub fn check(source: &Source, how: &Checking<'_>) -> Result<(Report, Kept)> {
    let Checking { engines, context, beside, scratch, limit, cancel, progress } = *how;
    progress.phase(Phase::Checking);
    let beginning = source.beginning(cancel)?;
    let limit = limit.unwrap_or(LARGEST);
    let told = source.manifest.as_ref().map(|manifest| &manifest.database_engine);
    let found = engines.recognise(&beginning);
    let engine = found.or_else(|| engines.get(told?));
    if let Some(unknown) = told.filter(|_| engine.is_none()) {
        return Err(Error::refusal(
            Code::Unsupported,
            format!(
                "{} is a backup of the engine {unknown}, which this Holdfast does not know, so it cannot be checked. \
                 Use the version of Holdfast that made the backup.",
                source.path.display()
            ),
        ));
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
        damage.push(format!("its content is neither {}", engines.contents(" nor ")));
    } else if let (Some(told), Some(found)) = (told, &found)
        && told != found
    {
        damage.push(format!(
            "it is a {} backup, but its manifest says {}",
            engines.label(found),
            engines.label(told)
        ));
    }
    // If the file cannot be unpacked, the engine's fault follows from that and is left out.
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

/// The result for a file that no engine recognises.
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

/// How the file differs from its manifest: half a sentence each.
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
