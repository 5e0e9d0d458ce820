//! Runs jobs: calls the operation that a job's description names.

use crate::domain::audit::Actor;
use crate::domain::error::{Error, Result};
use crate::domain::jobs::{Cancel, JobResult, JobSpec, Progress, Runner};
use crate::domain::operations::context::{Context, Rooms};
use crate::domain::operations::create::Creations;
use crate::domain::operations::restore_plan::RestorePlans;
use crate::domain::operations::verify::Verifications;
use std::sync::{Arc, Weak};

/// The operations for the job queue. The reference is weak, because the rooms own the queue.
pub(in crate::domain) struct Operations(Weak<Rooms>);

impl Operations {
    /// Operations that work with `rooms`.
    pub(in crate::domain) fn on(rooms: &Arc<Rooms>) -> Self {
        Self(Arc::downgrade(rooms))
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
        let context = Context::new(self.0.upgrade().ok_or(Error::Lost)?, Arc::clone(by));
        match spec {
            JobSpec::Backup { database, upload } => {
                Creations::new(context).run(database, upload.as_ref(), cancel, progress)
            }
            JobSpec::Upload { file, destination } => {
                context.destinations().at(destination).run_upload(file, cancel, progress)
            }
            JobSpec::Fetch { file, destination } => {
                context.destinations().at(destination).run_fetch(file, cancel, progress)
            }
            JobSpec::Verify { files } => Verifications::new(context).run(files, cancel, progress),
            JobSpec::Adopt { files } => Verifications::new(context).run_adopt(files, cancel, progress),
            JobSpec::Restore { plan, .. } => RestorePlans::new(context).run(plan, cancel, progress),
        }
    }
}
