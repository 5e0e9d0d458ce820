//! Runs jobs: turns the description of a job into the operation it names.

use crate::domain::audit::Actor;
use crate::domain::error::{Error, Result};
use crate::domain::jobs::{Cancel, JobResult, JobSpec, Progress, Runner};
use crate::domain::{Holdfast, Inner};
use std::sync::{Arc, Weak};

/// The operations of a Holdfast. It is not kept alive by its own job queue.
pub(in crate::domain) struct Operations(Weak<Inner>);

impl Operations {
    /// Those of `holdfast`.
    pub(in crate::domain) fn of(holdfast: &Holdfast) -> Self {
        Self(Arc::downgrade(&holdfast.inner))
    }
}

impl Runner for Operations {
    fn run(
        &self,
        spec: &JobSpec,
        by: &Arc<Actor>,
        cancel: &Cancel,
        progress: &dyn Progress,
    ) -> Result<JobResult> {
        let inner = self.0.upgrade().ok_or(Error::Lost)?;
        let holdfast = Holdfast { inner, by: Arc::clone(by) };
        match spec {
            JobSpec::Backup { database, upload } => {
                holdfast.run_backup(database, upload.as_ref(), cancel, progress)
            }
            JobSpec::Upload { file, destination } => {
                holdfast.destinations().at(destination).run_upload(file, cancel, progress)
            }
            JobSpec::Fetch { file, destination } => {
                holdfast.destinations().at(destination).run_fetch(file, cancel, progress)
            }
            JobSpec::Verify { files } => holdfast.run_verify(files, cancel, progress),
            JobSpec::Adopt { files } => holdfast.run_adopt(files, cancel, progress),
            JobSpec::Restore { plan, .. } => holdfast.run_restore(plan, cancel, progress),
        }
    }
}
