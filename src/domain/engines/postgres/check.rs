//! Proving that a backup is a whole archive: `pg_restore` reads all of it, and so does Holdfast's own checker.

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

/// What is read at a time.
const BUFFER: usize = 128 << 10;

/// What was counted as the archive went by, for a restore to be compared with.
pub struct Counted {
    /// The rows of each of its blocks of data.
    pub rows: RowsOf,
    /// Its large objects.
    pub objects: Objects,
}

/// Reads an archive to its end.
pub fn check(check: &Check<'_>) -> Result<Checked> {
    let tools = PostgresTools::of(check.context);
    let (sums, fault, checker) = read_archive(check.content(None), &tools, check.beginning, check.cancel)?;
    let sentence = format!(
        "It holds a PostgreSQL archive of {}, complete, and pg_restore reads all of it.",
        human::exact(sums.content_size)
    );
    let kept = Box::new(Counted { rows: checker.rows().clone(), objects: checker.objects() });
    Ok(Checked { sums, fault, proof: Proof::Readable, counted: None, remarks: Vec::new(), sentence, kept })
}

/// Sends an archive through `pg_restore` and through our own checker. Gives what is wrong with it.
fn read_archive(
    mut content: Content<'_>,
    tools: &PostgresTools,
    beginning: &[u8],
    cancel: &Cancel,
) -> Result<(Sums, Option<String>, Checker)> {
    let tool = tools.restore_tool(beginning, None, cancel)?;
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
