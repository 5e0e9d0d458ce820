//! The data of the backups page.

use super::{BackupName, DatabaseName, JobView, ListPage, Live, OffSite, Outcome, Proofs, Stamp, Trend};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The data of the backups page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupsView {
    /// One page of the list.
    pub list: ListPage,
    /// Each configured database, with its newest good backup.
    pub databases: Vec<Glance>,
    /// The total size over time; `None` if there are no backups.
    pub trend: Option<Trend>,
    /// Running jobs.
    pub live: Live,
    /// The jobs that a redirect wants the page to show, with the jobs that follow them.
    pub jobs: Vec<JobView>,
    /// How many backups are verified.
    pub proofs: Proofs,
    /// The off-site copies; `None` while off-site storage is off.
    pub off_site: Option<OffSiteView>,
    /// The outcome that a redirect left for this page.
    pub outcome: Option<Outcome>,
}

/// The off-site copies, as the list shows them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffSiteView {
    /// Name of the destination, such as a server.
    pub host: String,
    /// Number of backups with a copy there.
    pub there: u64,
    /// The state of the copies of this page's backups. Backups that were never sent are left out.
    pub of: BTreeMap<BackupName, OffSite>,
}

/// One database at a glance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Glance {
    /// The database's name.
    pub name: DatabaseName,
    /// When the newest whole backup was begun.
    pub newest: Option<Stamp>,
    /// Whether the last backup failed.
    pub failing: bool,
}
