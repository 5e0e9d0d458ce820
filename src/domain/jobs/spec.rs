//! A job's description as data: it is stored in the history, and a runner executes it.

use crate::domain::destinations::name::DestinationName;
use crate::domain::error::{Error, Result};
use crate::model::audit::Event;
use crate::model::outcome::listed;
use crate::model::{BackupName, DatabaseName, Task, human};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What a job does, and to what. Contains no secrets: it is written to the state database as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "does")]
pub enum JobSpec {
    /// Makes a backup of a database.
    Backup {
        /// The database's name.
        database: DatabaseName,
        /// The destination to which a second job uploads the backup; `None` for no upload.
        upload: Option<DestinationName>,
    },
    /// Uploads a backup.
    Upload {
        /// The backup.
        file: BackupName,
        /// The destination.
        #[serde(default)]
        destination: DestinationName,
    },
    /// Downloads an off-site copy into the backup directory.
    Fetch {
        /// The copy's name.
        file: BackupName,
        /// The destination.
        #[serde(default)]
        destination: DestinationName,
    },
    /// Verifies backups, one after the other.
    Verify {
        /// The backups, in this order.
        files: Vec<BackupName>,
    },
    /// Verifies backups that have no manifest, and writes their manifests.
    Adopt {
        /// The backups, in this order.
        files: Vec<BackupName>,
    },
    /// Restores a backup as it was planned.
    Restore {
        /// The backup.
        file: BackupName,
        /// The address of the target, without a password.
        into: String,
        /// The number of the plan. Plans contain passwords and are lost when the program ends: an interrupted
        /// restore has to be planned again.
        plan: String,
    },
}

impl JobSpec {
    /// The job's identity: each operation, its object, and its destination if any. No two jobs do the same to
    /// the same object at once; a backup can be uploaded to two destinations at once.
    pub fn identity(&self) -> BTreeSet<(&'static str, &str, &str)> {
        match self {
            Self::Backup { database, .. } => [("backup", database.as_str(), "")].into(),
            Self::Upload { file, destination } => [("upload", file.as_str(), destination.as_str())].into(),
            Self::Fetch { file, destination } => [("fetch", file.as_str(), destination.as_str())].into(),
            Self::Verify { files } => files.iter().map(|file| ("verify", file.as_str(), "")).collect(),
            Self::Adopt { files } => files.iter().map(|file| ("adopt", file.as_str(), "")).collect(),
            Self::Restore { file, into, .. } => {
                [("restore", file.as_str(), ""), ("restore into", into.as_str(), "")].into()
            }
        }
    }

    /// The job as pages show it.
    pub fn task(&self) -> Task {
        match self {
            Self::Backup { database, .. } => Task::Create(database.clone()),
            Self::Upload { file, .. } => Task::Upload(file.clone()),
            Self::Fetch { file, .. } => Task::Fetch(file.clone()),
            Self::Verify { files } => Task::Verify(subject(files)),
            Self::Adopt { files } => Task::Adopt(subject(files)),
            Self::Restore { file, .. } => Task::Restore(file.clone()),
        }
    }

    /// Its audit event.
    pub fn event(&self) -> Event {
        event_of(&self.task())
    }

    /// Its object in the audit log.
    pub fn object(&self) -> String {
        match self {
            Self::Restore { file, into, .. } => format!("{file} into {into}"),
            _ => self.task().subject().to_owned(),
        }
    }

    /// What remains to be done besides the waiting and running jobs, and the files that are left out.
    ///
    /// Of several backups to verify or adopt, those in other jobs are left out: selecting all backups should
    /// verify each once. Anything else that is waiting or running is refused, and so is a selection of which
    /// nothing remains; the refusal names what is running.
    pub fn beside<'j>(
        self,
        mut under_way: impl Iterator<Item = &'j Self>,
    ) -> Result<(Self, Vec<BackupName>)> {
        let (is_verify, files) = match self {
            Self::Verify { files } => (true, files),
            Self::Adopt { files } => (false, files),
            single => {
                let same = under_way.find(|other| !other.identity().is_disjoint(&single.identity()));
                return same.map_or(Ok((single, Vec::new())), |other| Err(Error::Busy(other.task())));
            }
        };
        let what = if is_verify { "verify" } else { "adopt" };
        let taken: BTreeSet<_> = under_way.flat_map(Self::identity).collect();
        let (left_out, rest): (Vec<_>, Vec<_>) =
            files.into_iter().partition(|file| taken.contains(&(what, file.as_str(), "")));
        if rest.is_empty() && !left_out.is_empty() {
            let names = listed(left_out.iter().map(BackupName::as_str));
            return Err(Error::Busy(if is_verify { Task::Verify(names) } else { Task::Adopt(names) }));
        }
        let spec = if is_verify { Self::Verify { files: rest } } else { Self::Adopt { files: rest } };
        Ok((spec, left_out))
    }
}

/// The audit event for the end of such a job.
pub(super) const fn event_of(task: &Task) -> Event {
    match task {
        Task::Create(_) => Event::BackupCreated,
        Task::Upload(_) => Event::BackupUploaded,
        Task::Fetch(_) => Event::BackupFetched,
        Task::Verify(_) => Event::BackupsVerified,
        Task::Adopt(_) => Event::BackupsAdopted,
        Task::Restore(_) => Event::BackupRestored,
    }
}

/// One backup by its name, several by their number.
fn subject(files: &[BackupName]) -> String {
    match files {
        [one] => one.to_string(),
        several => human::count(several.len() as u64, "backup"),
    }
}
