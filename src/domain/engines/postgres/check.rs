//! Checks that a backup is a complete archive: both `pg_restore` and Holdfast's own checker read all of it.

use crate::domain::engines::engine::{Check, Checked};
use crate::domain::engines::postgres::archive::{Checker, Objects, RowsOf, Verdict};
use crate::domain::engines::postgres::tools::{PostgresTools, environment, not_started};
use crate::domain::engines::process::{Child, End, Launch};
use crate::domain::error::{Error, Result};
use crate::domain::jobs::cancel::Cancel;
use crate::domain::repository::content::{Content, Sums};
use crate::model::{Proof, human};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

/// Read buffer, in bytes.
const BUFFER: usize = 128 << 10;

/// What the check counted, to be compared with after a restore.
pub struct Counted {
    /// Rows per data block.
    pub rows: RowsOf,
    /// The large objects.
    pub objects: Objects,
}

/// Checks an archive to its end.
pub fn check(check: &Check<'_>) -> Result<Checked> {
    let tools = PostgresTools::of(check.context);
    let (sums, fault, checker) = read_archive(check.content(None), &tools, check.beginning, check.cancel)?;
    let sentence = format!(
        "It holds a complete PostgreSQL archive of {}, and pg_restore reads all of it.",
        human::exact(sums.content_size)
    );
    let kept = Box::new(Counted { rows: checker.rows().clone(), objects: checker.objects() });
    Ok(Checked { sums, fault, proof: Proof::Readable, counted: None, remarks: Vec::new(), sentence, kept })
}

/// Sends an archive through `pg_restore` and through our own checker. Returns the fault, if there is one.
fn read_archive(
    mut content: Content<'_>,
    tools: &PostgresTools,
    beginning: &[u8],
    cancel: &Cancel,
) -> Result<(Sums, Option<String>, Checker)> {
    let tool = tools.restore_tool(beginning, None, cancel)?;
    let launch = Launch {
        program: &tool,
        // Listing the archive would not notice a missing end; writing its script out reads everything.
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

/// Writes the content to a tool for as long as the tool reads, and reads it to the end nevertheless if
/// `to_the_end`.
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

/// The fault that the end of `pg_restore` reveals in its input; `None` if it accepted all of it. A killed or
/// hung tool proves nothing about the archive, so that is an error.
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
            failed("pg_restore made no progress for too long and was stopped. Try again.".into(), words)
        }
        End::Unread => Ok(Some("pg_restore wrote unexpected output".to_owned())),
        End::Cancelled => Err(Error::Cancelled),
    }
}

fn one_line(words: &str) -> String {
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}
