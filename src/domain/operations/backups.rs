//! The list of backups, and what users do with them: select, delete, download.

use crate::domain::audit::Noted;
use crate::domain::bundles::OpenBundle;
use crate::domain::error::Result;
use crate::domain::events::What;
use crate::domain::operations::context::Context;
use crate::domain::repository::download::OpenBackup;
use crate::model::audit::{Ending, Event};
use crate::model::{
    ArchiveFormat, Backup, BackupName, BackupsView, Bundled, DatabaseName, Deleted, FileState, Glance, JobId,
    JobState, JobView, Kept, ListQuery, Live, Picked, Proof, Proofs, Trend, human,
};
use std::collections::BTreeSet;

/// How many backups of an archive the audit log names.
const NAMED: usize = 50;

/// The listed backups.
pub struct Backups {
    context: Context,
}

impl Backups {
    pub(in crate::domain) fn new(context: Context) -> Self {
        Self { context }
    }

    /// Everything the backups page shows. `jobs` are the jobs the page was opened for.
    pub fn view(&self, query: &ListQuery, jobs: &[JobId]) -> Result<BackupsView> {
        let backups = self.context.catalog.list()?;
        let failing = self.context.jobs.failing();
        let glance = |name: &DatabaseName| Glance {
            name: name.clone(),
            newest: backups
                .iter()
                .filter(|b| b.state == FileState::Whole && b.database.as_deref() == Some(name.as_str()))
                .map(|b| b.created)
                .max(),
            failing: failing.contains(name),
        };
        let list = query.page_of(&backups, self.context.now());
        Ok(BackupsView {
            databases: self.context.databases.now().names().iter().map(glance).collect(),
            off_site: self.context.destinations.off_site_view(&backups, &list),
            list,
            proofs: proofs_of(&backups),
            trend: Trend::of(&backups, self.context.now()),
            live: self.live(),
            jobs: self.jobs_and_follow_ups(jobs),
            outcome: None,
        })
    }

    /// These jobs, each with the jobs that followed from it.
    fn jobs_and_follow_ups(&self, ids: &[JobId]) -> Vec<JobView> {
        const SHOWN: usize = 20;
        let mut found = Vec::new();
        for id in ids.iter().take(SHOWN) {
            let mut next = Some(*id);
            while let Some(job) = next.and_then(|id| self.context.jobs.get(id)) {
                next = match job.state {
                    JobState::Done { then, .. } => then,
                    _ => None,
                };
                found.push(job);
            }
        }
        found
    }

    /// All backups that match the filter of `query`, for “select all”.
    pub fn matching(&self, query: &ListQuery) -> Result<Vec<Picked>> {
        let all = self.context.catalog.list()?;
        Ok(query.matching(&all).into_iter().map(|b| Picked { name: b.name.clone(), size: b.size }).collect())
    }

    /// Deletes the backups with these names, and reports for each whether it is gone. A failure does not stop the
    /// others.
    pub fn delete(&self, names: &[String]) -> Result<Deleted> {
        let mut deleted = Deleted { gone: self.context.catalog.named(names), kept: Vec::new() };
        let mut known: BTreeSet<&str> = deleted.gone.iter().map(|backup| backup.name.as_str()).collect();
        for name in names {
            if known.insert(name) {
                deleted.kept.push(Kept {
                    name: name.clone(),
                    reason: "There is no backup with this name. It may have been deleted already.".to_owned(),
                });
            }
        }
        self.note_unknown(Event::BackupDeleted, &deleted.kept);
        let found: Vec<_> = deleted.gone.iter().map(|backup| backup.name.clone()).collect();
        let answers = self.context.directory.remove(&found).inspect_err(|error| {
            let failed = |name: &BackupName| Noted::of(Event::BackupDeleted, name.as_str(), error);
            self.context.notes.note_all(&found.iter().map(failed).collect::<Vec<_>>());
        })?;
        let mut happened = Vec::new();
        let mut gone = Vec::new();
        for (backup, answer) in deleted.gone.into_iter().zip(answers) {
            match answer {
                Ok(()) => {
                    tracing::info!(file = %backup.name, size = backup.size, "backup deleted");
                    happened.push(What::BackupDeleted { file: backup.name.clone(), size: backup.size });
                    gone.push(backup);
                }
                Err(error) => {
                    tracing::error!(file = %backup.name, %error, "a backup could not be deleted");
                    let noted = Noted::of(Event::BackupDeleted, backup.name.as_str(), &error);
                    happened.push(What::Noted(noted));
                    deleted.kept.push(Kept { name: backup.name.to_string(), reason: error.to_string() });
                }
            }
        }
        self.context.notes.tell(happened);
        Ok(Deleted { gone, kept: deleted.kept })
    }

    /// Logs the names that are no backups in one entry, because there may be any number of them.
    fn note_unknown(&self, event: Event, unknown: &[Kept]) {
        if let Some(first) = unknown.first() {
            let detail = format!("Names without a backup: {}.", unknown.len());
            self.context.notes.note(event, &first.name, Ending::Refused, &detail);
        }
    }

    /// Opens a backup for download.
    pub fn open(&self, name: &BackupName) -> Result<OpenBackup> {
        OpenBackup::open(&self.context.catalog, name)
    }

    /// Creates an archive of these backups that only `account` can download; see [`Bundles::make`].
    pub fn bundle(&self, account: i64, names: Vec<String>, format: ArchiveFormat) -> Result<Bundled> {
        let asked = names.clone();
        let made = self.context.bundles.make(account, names, format);
        if made.as_ref().is_ok_and(|made| made.address.is_none()) {
            let detail = "None of the names has a backup.";
            self.context.notes.note(Event::ArchiveMade, format.file_name(), Ending::Refused, detail);
            return made;
        }
        self.context.notes.noted(Event::ArchiveMade, format.file_name(), made, |made| match &made.address {
            Some(address) => {
                let missing: BTreeSet<&str> = made.missing.iter().map(String::as_str).collect();
                let there = asked.iter().map(String::as_str).filter(|name| !missing.contains(name));
                // The field of the audit log has no room for more.
                let first: Vec<_> = there.take(NAMED).collect();
                let files = human::count(made.files as u64, "backup");
                format!("{address}, {files}, {} bytes: {}", made.size, first.join(" "))
            }
            None => String::new(),
        })
    }

    /// Opens an archive of `account` for download; see [`Bundles::open`].
    pub fn open_bundle(&self, account: i64, id: &str, format: ArchiveFormat) -> Result<OpenBundle> {
        self.context.bundles.open(account, id, format)
    }

    /// The live data for every open page.
    pub fn live(&self) -> Live {
        Live {
            now: self.context.now(),
            catalog: self.context.catalog.version().wrapping_add(self.context.destinations.changes()),
            jobs: self.context.jobs.current(),
        }
    }
}

fn proofs_of(backups: &[Backup]) -> Proofs {
    let mut proofs = Proofs::default();
    for backup in backups {
        proofs.bare += u64::from(backup.state == FileState::NoManifest);
        match backup.verified.as_ref().map(|verified| verified.proof) {
            None => {}
            Some(Proof::Readable | Proof::Restored) => proofs.good += 1,
            Some(Proof::Damaged | Proof::Unrestored) => proofs.bad += 1,
        }
    }
    proofs
}
