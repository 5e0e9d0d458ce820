//! Everything the backups page shows, as one answer.

use super::{BackupName, DatabaseName, JobView, ListPage, Live, OffSite, Outcome, Proofs, Stamp, Trend};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Everything the backups page shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupsView {
    /// One page of the list.
    pub list: ListPage,
    /// Each configured database, with its newest good backup.
    pub databases: Vec<Glance>,
    /// How their size came about; nothing where there are none.
    pub trend: Option<Trend>,
    /// What runs.
    pub live: Live,
    /// The jobs the page was opened to see, and those that went on from them.
    pub jobs: Vec<JobView>,
    /// What was proved of all backups, and what was not.
    pub proofs: Proofs,
    /// The off-site store; nothing while it is switched off.
    pub off_site: Option<OffSiteView>,
    /// What the page was opened to tell.
    pub outcome: Option<Outcome>,
}

/// The off-site store, as far as the list shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffSiteView {
    /// The server.
    pub host: String,
    /// How many of all backups have a copy there.
    pub there: u64,
    /// Where the backups of this page stand; those never sent are left out.
    pub of: BTreeMap<BackupName, OffSite>,
}

/// One database at a glance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Glance {
    /// Its name.
    pub name: DatabaseName,
    /// When its newest whole backup was begun.
    pub newest: Option<Stamp>,
    /// Whether its last run failed.
    pub failing: bool,
}
