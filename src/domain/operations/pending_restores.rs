//! Restore plans that have not run yet. A plan may contain a password, so plans are kept in memory only.

use crate::domain::engines::Target;
use crate::domain::engines::engine::Manner;
use crate::model::restore::RestorePlan;
use crate::model::{BackupName, Stamp};
use parking_lot::{Mutex, MutexGuard};
use std::collections::VecDeque;

/// How many plans are kept; the oldest is dropped first.
const KEPT: usize = 100;

/// The plans of one server.
#[derive(Default)]
pub(in crate::domain) struct PendingRestores(Mutex<VecDeque<KeptPlan>>);

/// One plan.
pub(in crate::domain) struct KeptPlan {
    /// The account that made the plan.
    pub account: i64,
    pub made: Stamp,
    pub file: BackupName,
    pub target: Target,
    pub overwrite: bool,
    pub manner: Manner,
    pub plan: RestorePlan,
    /// Whether a job was queued for the plan. Only that job may use it from then on.
    pub is_begun: bool,
}

impl PendingRestores {
    /// Stores a plan. If there are too many, drops the oldest, preferably one that no job waits for.
    pub fn keep(&self, plan: KeptPlan) {
        let mut plans = self.plans();
        if plans.len() == KEPT {
            let oldest = plans.iter().position(|kept| !kept.is_begun).unwrap_or(0);
            plans.remove(oldest);
        }
        plans.push_back(plan);
    }

    /// Reads the plan `id` of `account`, if it is still there.
    pub fn read<T>(&self, account: i64, id: &str, work: impl FnOnce(&KeptPlan) -> T) -> Option<T> {
        self.plans().iter().find(|kept| kept.account == account && kept.plan.id == id).map(work)
    }

    /// Marks the plan `id` as queued.
    pub fn begin(&self, id: &str) {
        for kept in self.plans().iter_mut().filter(|kept| kept.plan.id == id) {
            kept.is_begun = true;
        }
    }

    /// Removes the plan `id` and returns it, to run it.
    pub fn take(&self, id: &str) -> Option<KeptPlan> {
        let mut plans = self.plans();
        plans.iter().position(|kept| kept.plan.id == id).and_then(|at| plans.remove(at))
    }

    fn plans(&self) -> MutexGuard<'_, VecDeque<KeptPlan>> {
        self.0.lock()
    }
}
