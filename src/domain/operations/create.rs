//! Making one backup: from the engine's stream to a published file.

use crate::domain::engines::engine::{Database, Ended};
use crate::domain::error::{Error, Result};
use crate::domain::jobs::cancel::Cancel;
use crate::domain::jobs::{Finished, Progress};
use crate::domain::operations::compress::{Effort, compress};
use crate::domain::repository::publish::{BackupDir, Publication};
use crate::model::{DatabaseName, Phase, Stamp, Task};

/// Backs `database`, which the operator calls `name`, up into `dir` and publishes the file, or leaves nothing behind. Blocks until then.
#[expect(clippy::too_many_arguments, reason = "each is another thing a backup is made of")]
pub fn create(
    dir: &BackupDir,
    name: &DatabaseName,
    database: &dyn Database,
    format: &str,
    created: Stamp,
    effort: Effort,
    cancel: &Cancel,
    progress: &dyn Progress,
) -> Result<Finished> {
    progress.phase(Phase::Connecting);
    let _turn = dir.lock_database(name)?.ok_or_else(|| Error::Busy(Task::Create(name.clone())))?;
    let draft = dir.draft()?;
    let mut dump = database.begin(&draft.scratch()?, cancel)?;
    if let Some(total) = dump.total() {
        progress.total(total);
    }
    progress.phase(Phase::Compressing);
    let passed = compress(&mut dump, draft.file(), &draft.path(), effort, cancel, &|read, written| {
        progress.bytes(read, written);
    });
    // A failed read is a symptom; the engine's own words are the reason, so they come first.
    let ended = match &passed {
        Ok(_) | Err(Error::File { doing: "Reading the dump for", .. }) => dump.finish()?,
        Err(_) => Ended::default(),
    };
    let summary = passed?;
    if cancel.is_cancelled() {
        return Err(Error::Cancelled);
    }
    progress.phase(Phase::Publishing);
    let file = draft.publish(&Publication {
        database: name,
        engine: database.kind(),
        format,
        created,
        summary: &summary,
        ended: &ended,
    })?;
    let said = ended.remarks.into_iter().chain(ended.warnings).collect::<Vec<_>>().join("\n");
    let warnings = (!said.is_empty()).then_some(said);
    Ok(Finished { file, size: summary.payload_size, warnings, then: None })
}
