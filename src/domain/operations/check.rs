//! Proves what a backup file is good for: that its bytes are the ones that were written, that its content can
//! be read by the program it is for, and, for SQLite, that it is a sound database.

use crate::domain::engines::postgres::archive::{Checker, Objects, Verdict, origin};
use crate::domain::engines::postgres::{Version, environment, not_started};
use crate::domain::engines::process::{Child, End, Launch};
use crate::domain::engines::sqlite::restore;
use crate::domain::engines::sqlite::restore::Temporary;
use crate::domain::engines::{Cancel, PostgresTools};
use crate::domain::error::{Error, Result};
use crate::domain::jobs::Progress;
use crate::domain::repository::content::{Content, Source, Sums, kind_of};
use crate::model::{EngineKind, Phase, Proof, Stamp, Verification, human};
use serde::Serialize;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};

/// What is read at a time.
const BUFFER: usize = 128 << 10;
/// No backup unpacks to more than this unless it is said to.
const LARGEST: u64 = 10 << 40;

/// The rows in each of an archive's blocks of data, by the number of its entry; nothing where they cannot be counted.
pub type RowsOf = HashMap<i64, Option<u64>>;

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
    /// The rows in each of an archive's blocks of data, by the number of its entry.
    #[serde(skip)]
    pub rows_of: RowsOf,
    /// An archive's large objects.
    #[serde(skip)]
    pub objects: Option<Objects>,
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
        let engine = self.engine.map_or("unknown", EngineKind::label);
        let size = human::exact(self.size);
        let said = if self.has_manifest {
            "size and SHA-256 are those of its manifest."
        } else {
            "no manifest says what they should be. gzip's own checksum is right."
        };
        let mut lines = vec![format!("{}: all {size} were read, and {said}", self.file)];
        lines.push(match (self.engine, self.level) {
            (Some(EngineKind::Postgresql), _) => format!(
                "It holds a {engine} archive of {}, complete, and pg_restore reads all of it.",
                human::exact(self.content_size)
            ),
            _ => format!(
                "It holds a {engine} database of {}, and {}.",
                human::exact(self.content_size),
                if self.notes.is_empty() {
                    "SQLite finds no fault in it"
                } else {
                    "all rows of its tables were read"
                }
            ),
        });
        lines.push(match (self.level, self.tables, self.rows) {
            (Proof::Restored, Some(tables), Some(rows)) => format!(
                "It was restored: {} with {}.",
                human::count(tables, "table"),
                human::count(rows, "row")
            ),
            (Proof::Readable, Some(tables), Some(rows)) if self.engine == Some(EngineKind::Postgresql) => {
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
}

/// Checks `source` completely. The content of a SQLite backup is written to `place` for that, and given back
/// where nothing is wrong with it.
pub fn check(
    source: &Source,
    tools: &PostgresTools,
    place: &dyn Fn() -> Result<Temporary>,
    limit: Option<u64>,
    cancel: &Cancel,
    progress: &dyn Progress,
) -> Result<(Report, Option<Temporary>)> {
    progress.phase(Phase::Checking);
    let beginning = source.beginning(cancel)?;
    let told = source.manifest.as_ref().map(|manifest| manifest.database_engine);
    let found = kind_of(&beginning);
    let (mut damage, mut notes) = (Vec::from_iter(source.fault.clone()), Vec::new());
    let (mut counted, mut kept, mut is_complete) = (None, None, true);
    let mut rows_of = RowsOf::new();
    let mut objects = None;
    let content = |room: Option<u64>| {
        let limit = limit.unwrap_or(LARGEST);
        source.read(room.map_or(limit, |room| limit.min(room)), cancel, progress)
    };
    let (sums, reading) = match found.or(told) {
        Some(EngineKind::Postgresql) => {
            let (sums, fault, checker) = read_archive(content(None), tools, &beginning, cancel)?;
            rows_of.clone_from(checker.rows());
            objects = Some(checker.objects());
            (sums, fault)
        }
        Some(EngineKind::Sqlite) => {
            let temporary = place()?;
            let (sums, outcome) = restore::read_database(content(temporary.room()), &temporary, cancel)?;
            let fault = match outcome {
                Ok(health) => {
                    notes.extend(health.remarks);
                    counted = Some(health.counts);
                    is_complete = health.is_complete;
                    None
                }
                Err(fault) => Some(fault),
            };
            kept = Some(temporary);
            (sums, fault)
        }
        None => (content(None).finish()?, None),
    };
    damage.extend(differences(source, &sums));
    if found.is_none() && sums.fault.is_none() {
        damage.push("what it holds is neither a PostgreSQL archive nor a SQLite database".to_owned());
    } else if let (Some(told), Some(found)) = (told, found)
        && told != found
    {
        damage.push(format!("it holds a {} backup and its manifest says {}", found.label(), told.label()));
    }
    // What cannot be unpacked is not complete either: that says nothing more.
    let is_unpacked = sums.fault.is_none();
    damage.extend(sums.fault);
    damage.extend(reading.filter(|_| is_unpacked && found.is_some()));
    let level = match found {
        _ if !damage.is_empty() => Proof::Damaged,
        // What its application alone could check was not checked.
        Some(EngineKind::Sqlite) if is_complete => Proof::Restored,
        _ => Proof::Readable,
    };
    let report = Report {
        file: source.path.display().to_string(),
        engine: found.or(told),
        level,
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
        notes,
        rows_of,
        objects,
        untried: None,
    };
    let kept = kept.filter(|_| !report.is_damaged());
    Ok((report, kept))
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

/// Sends an archive through `pg_restore` and through our own checker. Gives what is wrong with it.
fn read_archive(
    mut content: Content<'_>,
    tools: &PostgresTools,
    beginning: &[u8],
    cancel: &Cancel,
) -> Result<(Sums, Option<String>, Checker)> {
    let tool = restore_tool(tools, beginning, None, cancel)?;
    let launch = Launch {
        program: &tool,
        // A listing would not notice where an archive ends; writing its script out reads all of it.
        args: &["-f", "/dev/null"],
        env: environment(&tool),
        path: &tools.path,
        fed: true,
        stall: tools.stall,
        secrets: Vec::new(),
    };
    let mut child = Child::spawn(launch, cancel).map_err(|error| not_started(&tool, &error))?;
    let mut checker = Checker::new();
    feed(&mut content, &mut child, &tool, true, |bytes| checker.feed(bytes))?;
    let end = child.finish();
    let sums = content.finish()?;
    let fault = match (checker.verdict(), tool_fault(end)?) {
        (Verdict::Broken(how), _) => Some(format!("its archive is incomplete: {how}")),
        (Verdict::Empty | Verdict::NotAnArchive, _) => Some("it holds no PostgreSQL archive".to_owned()),
        (Verdict::Whole | Verdict::Unknown(_), fault) => fault,
    };
    Ok((sums, fault, checker))
}

/// Gives the content to a tool as far as it wants it, and reads it to its end all the same where `to_the_end`.
pub fn feed(
    content: &mut Content<'_>,
    child: &mut Child,
    tool: &Path,
    to_the_end: bool,
    mut seen: impl FnMut(&[u8]),
) -> Result<()> {
    let mut buffer = vec![0; BUFFER];
    let mut is_taking = true;
    loop {
        let read = content.next(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        seen(&buffer[..read]);
        is_taking = is_taking
            && child.feed(&buffer[..read]).map_err(|error| Error::file("Writing to", tool, error))?;
        if !is_taking && !to_the_end {
            return Ok(());
        }
    }
}

/// What the way `pg_restore` ended says of the archive it was given; nothing where it took all of it. That it
/// was killed or hung says nothing of the archive, and is an error.
pub fn tool_fault(end: End) -> Result<Option<String>> {
    let failed = |message: String, words: String| {
        Err(Error::Tool { message, detail: (!words.is_empty()).then_some(words) })
    };
    match end {
        End::Exited(status, _) if status.success() => Ok(None),
        End::Exited(status, words) => match status.signal() {
            Some(signal @ (2 | 9 | 15)) => failed(
                format!(
                    "pg_restore was killed by signal {signal}. Is the machine short of memory? Try again."
                ),
                words,
            ),
            _ => Ok(Some(format!("pg_restore fails on it ({status}): {}", one_line(&words)))),
        },
        End::Hung(words) => {
            failed("pg_restore did nothing for too long and was ended. Try again.".into(), words)
        }
        End::Unread => Ok(Some("pg_restore wrote what nobody asked for".to_owned())),
        End::Cancelled => Err(Error::Cancelled),
    }
}

fn one_line(words: &str) -> String {
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Finds the `pg_restore` that fits: no older than the `pg_dump` that made the archive, and as close as can be to the
/// server it is restored on.
pub(crate) fn restore_tool(
    tools: &PostgresTools,
    beginning: &[u8],
    server: Option<&Version>,
    cancel: &Cancel,
) -> Result<PathBuf> {
    let made_by = origin(beginning).and_then(|(_, tool)| Version::parse(&tool));
    let ours = match tools.choose("pg_restore", made_by.as_ref(), server, cancel)? {
        Ok((tool, _)) => return Ok(tool),
        Err(newest) => newest,
    };
    let theirs = made_by.unwrap_or_else(|| ours.clone());
    let wanted = theirs.major / 100;
    Err(Error::Tool {
        message: format!(
            "pg_restore {} is older than the pg_dump {} that made this backup, and cannot be relied on to \
             read it. Install version {wanted} or newer: apt-get install postgresql-client-{wanted}.",
            ours.text, theirs.text
        ),
        detail: None,
    })
}
