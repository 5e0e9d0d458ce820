//! One try to upload a backup: how it is made, what earlier tries learned about the destination, what came of it.

use crate::domain::destinations::fault::{Fault, Finishing};
use crate::domain::engines::Cancel;
use crate::domain::error::{Error, Result};
use crate::model::Phase;
use std::cell::Cell;

/// Hears how a transfer is getting on: what it does, bytes done, bytes in all.
pub type ReportProgress<'r> = &'r dyn Fn(Phase, u64, u64);

/// One try to upload a backup.
pub struct Attempt<'a> {
    /// Whether what was sent is read back and compared before it gets its name.
    pub read_back: bool,
    /// Ends it.
    pub cancel: &'a Cancel,
    /// Hears how it is getting on.
    pub report: ReportProgress<'a>,
    /// What earlier tries of the same upload found out.
    pub lessons: &'a Lessons,
}

impl Attempt<'_> {
    /// Fails where somebody asked to stop.
    pub fn check_cancel(&self) -> Result<()> {
        if self.cancel.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }
}

/// What the attempts of one upload find out about a destination, so that the next attempt avoids it.
#[derive(Default)]
pub struct Lessons {
    /// It does not go on with a file that is there.
    pub no_resume: Cell<bool>,
    /// It falls silent or hangs up when it is asked to sync a file.
    pub no_sync: Cell<bool>,
    /// It gives no file another name, so a drop box gets them under their own at once.
    pub no_rename: Cell<bool>,
    /// A file was begun under its own name.
    pub begun: Cell<bool>,
    /// What it answered when it synced the whole draft.
    pub synced: Cell<Option<bool>>,
    /// How often it broke off where a draft was to be continued, before a byte of it was taken.
    pub stuck: Cell<u32>,
    /// Whether it took its time over finishing a file, in vain.
    late: Cell<bool>,
}

impl Lessons {
    /// Whether to try again after `fault`. A destination that took minutes over finishing a file gets one more try
    /// only: each one reads all that is there.
    pub fn is_worth_another(&self, fault: &Fault) -> bool {
        match fault.finishing {
            Some((Finishing::Syncing, _)) => !self.no_sync.replace(true),
            Some((_, true)) => !self.late.replace(true),
            _ => true,
        }
    }
}

/// What was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    /// Its size in bytes.
    pub size: u64,
    /// Whether it was read back from the destination and was the same.
    pub verified: bool,
    /// Whether it is durable there; nothing where it was there already.
    pub durable: Option<bool>,
    /// Bytes an earlier try had sent, which were compared and not sent again.
    pub resumed: u64,
    /// Whether an equal file was there already.
    pub already_there: bool,
    /// Whether it went to a write-only drop box, and whether that told the right size of it.
    pub dropped: Option<bool>,
}

impl Uploaded {
    /// What is worth knowing beside that it is there; nothing where all is as it should be.
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
            Some(true) => remarks.push(format!("Sent, not read back: {host} is a write-only drop box. It tells the right size.")),
            Some(false) => remarks.push(format!("Sent, not read back: {host} is a write-only drop box, and does not tell the size of what it took.")),
        }
        if self.durable == Some(false) {
            remarks.push(format!("{host} does not say when what it keeps is safe on its disk."));
        }
        (!remarks.is_empty()).then(|| remarks.join(" "))
    }
}
