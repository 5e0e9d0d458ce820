//! What a job does, as data: it is stored in the history, and a runner turns it into work.

use crate::domain::destinations::name::DestinationName;
use crate::domain::error::{Error, Result};
use crate::model::audit::Event;
use crate::model::outcome::listed;
use crate::model::{BackupName, DatabaseName, Task, human};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What a job does, and to what. Nothing secret: it is written to the state database as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "does")]
pub enum JobSpec {
    /// Makes a backup of a database.
    Backup {
        /// The database's name.
        database: DatabaseName,
        /// Where the backup is uploaded once it is made, by a job of its own; nothing where it is not.
        upload: Option<DestinationName>,
    },
    /// Uploads a backup.
    Upload {
        /// The backup.
        file: BackupName,
        /// Where to.
        #[serde(default)]
        destination: DestinationName,
    },
    /// Downloads an off-site copy into the backup directory.
    Fetch {
        /// The copy's name.
        file: BackupName,
        /// Where from.
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
        /// The number of the plan. Plans hold passwords, so they end with the program: a restore that was
        /// interrupted has to be planned again.
        plan: String,
    },
}

impl JobSpec {
    /// What makes it the job it is: each thing it does, to what, and at which destination, where it is about one. No
    /// two jobs do the same to the same at once; a backup can go to two destinations at once.
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

    /// What its end is called in the audit log.
    pub fn event(&self) -> Event {
        event_of(&self.task())
    }

    /// What the audit log says it was done to.
    pub fn object(&self) -> String {
        match self {
            Self::Restore { file, into, .. } => format!("{file} into {into}"),
            _ => self.task().subject().to_owned(),
        }
    }

    /// What is left to do beside the jobs that wait or run, and the files that are left out.
    ///
    /// Of several backups to verify or adopt, those that another job has in hand already are left out, and the
    /// others are done: whoever selects all of them wants each one verified, and none of them twice. Anything
    /// else that is under way already is refused, and so is a selection of which nothing is left; the refusal
    /// names what is under way.
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

/// What the end of such a job is called in the audit log.
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
