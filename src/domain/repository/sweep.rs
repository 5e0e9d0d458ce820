//! Removes what dead runs left behind: abandoned drafts, and manifests and verification files without a
//! backup.

use crate::domain::error::Result;
use crate::domain::repository::directory::{BackupDir, DRAFT_PREFIX, SCRATCH_SUFFIX};
use crate::model::BackupName;
use rustix::fs::{FlockOperation, Mode, OFlags};
use std::collections::HashSet;

/// The number of removed files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Drafts of dead runs.
    pub drafts: usize,
    /// Manifests and verification files without a payload.
    pub manifests: usize,
}

impl BackupDir {
    /// Removes what dead runs left behind: unlocked drafts, and manifests without a payload.
    pub fn sweep(&self) -> Result<Swept> {
        let mut swept = Swept { drafts: self.sweep_drafts()?, manifests: 0 };
        for name in self.names()? {
            let scratch_of =
                name.strip_suffix(SCRATCH_SUFFIX).filter(|draft| draft.starts_with(DRAFT_PREFIX));
            if scratch_of.is_some_and(|draft| !self.exists(draft)) {
                self.remove_scratch(name.trim_end_matches(SCRATCH_SUFFIX));
            }
        }
        let _commit = self.commit_lock()?;
        let names: HashSet<_> = self.names()?.into_iter().collect();
        for name in &names {
            let payload = BackupName::of_manifest(name).or_else(|| BackupName::of_verdict(name));
            if payload.is_some_and(|payload| !names.contains(payload.as_str())) && self.is_file(name) {
                self.unlink(name)?;
                swept.manifests += 1;
            }
        }
        self.sync()?;
        Ok(swept)
    }

    /// Removes the drafts that are not locked. Returns their number.
    pub(super) fn sweep_drafts(&self) -> Result<usize> {
        let mut swept = 0;
        for name in self.names()? {
            if name.starts_with(DRAFT_PREFIX) && !name.ends_with(SCRATCH_SUFFIX) && self.is_abandoned(&name) {
                self.remove_scratch(&name);
                self.unlink(&name)?;
                swept += 1;
            }
        }
        Ok(swept)
    }

    fn is_abandoned(&self, name: &str) -> bool {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        rustix::fs::openat(self.handle(), name, flags, Mode::empty())
            .and_then(|file| rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive))
            .is_ok()
            && self.is_file(name)
    }
}
