//! One attempt to upload a backup: its options, what earlier attempts learned about the destination, and its
//! result.

use crate::domain::destinations::fault::{Fault, Finishing};
use crate::domain::engines::Cancel;
use crate::domain::error::{Error, Result};
use crate::model::Phase;
use std::cell::Cell;

/// Receives a transfer's progress: the phase, bytes done, bytes in total.
pub type ReportProgress<'r> = &'r dyn Fn(Phase, u64, u64);

/// One attempt to upload a backup.
pub struct Attempt<'a> {
    /// Whether the draft is read back and compared before it is renamed.
    pub read_back: bool,
    /// Cancels the attempt.
    pub cancel: &'a Cancel,
    /// Receives the progress.
    pub report: ReportProgress<'a>,
    /// What earlier attempts of the same upload learned.
    pub lessons: &'a Lessons,
}

impl Attempt<'_> {
    /// Fails if the attempt was cancelled.
    pub fn check_cancel(&self) -> Result<()> {
        if self.cancel.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }
}

/// What the attempts of one upload learn about a destination, so that the next attempt avoids the problem.
#[derive(Default)]
pub struct Lessons {
    /// The destination does not resume files.
    pub no_resume: Cell<bool>,
    /// The destination hangs or disconnects when asked to sync a file.
    pub no_sync: Cell<bool>,
    /// The destination does not rename files, so a drop box receives them under their final names.
    pub no_rename: Cell<bool>,
    /// An upload under the final name has begun.
    pub begun: Cell<bool>,
    /// The destination's answer when it synced the complete draft.
    pub synced: Cell<Option<bool>>,
    /// How often the connection broke at resuming a draft, before any byte was sent.
    pub stuck: Cell<u32>,
    /// Whether the destination took long to finish a file, and failed.
    late: Cell<bool>,
}

impl Lessons {
    /// Whether to retry after `fault`. A destination that took minutes to finish a file gets one more attempt
    /// only, because each attempt reads everything that is there.
    pub fn is_worth_another(&self, fault: &Fault) -> bool {
        match fault.finishing {
            Some((Finishing::Syncing, _)) => !self.no_sync.replace(true),
            Some((_, true)) => !self.late.replace(true),
            _ => true,
        }
    }
}

/// The result of an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    /// Its size in bytes.
    pub size: u64,
    /// Whether the copy was read back and is identical.
    pub verified: bool,
    /// Whether the copy is durable; `None` if it was there already.
    pub durable: Option<bool>,
    /// Bytes that an earlier attempt had sent, which were compared and not sent again.
    pub resumed: u64,
    /// Whether an identical file was there already.
    pub already_there: bool,
    /// For a write-only drop box: whether it reported the right size.
    pub dropped: Option<bool>,
}

impl Uploaded {
    /// Remarks about the result; `None` if everything is as it should be.
    pub fn remark(&self, host: &str) -> Option<String> {
        let mut remarks = Vec::new();
        match (self.dropped, self.already_there) {
            (None, true) => remarks.push(format!("The same file was already on {host}.")),
            (Some(_), true) => remarks.push(format!("A file of this name and size was already on {host}.")),
            _ => {}
        }
        match self.dropped {
            None if self.verified => {}
            None => remarks.push("It was not read back.".to_owned()),
            Some(true) => remarks.push(format!(
                "Sent, not read back: {host} is a write-only drop box. It \
                 reports the right size."
            )),
            Some(false) => remarks.push(format!(
                "Sent, not read back: {host} is a write-only drop box, and \
                 does not report the file's size."
            )),
        }
        if self.durable == Some(false) {
            remarks.push(format!("{host} does not confirm that the file is safe on its disk."));
        }
        (!remarks.is_empty()).then(|| remarks.join(" "))
    }
}
