//! Creates backups: from the engine's stream to a published file.

use crate::domain::destinations::name::DestinationName;
use crate::domain::engines::engine::{Database, Ended};
use crate::domain::error::{Error, Result};
use crate::domain::jobs::cancel::Cancel;
use crate::domain::jobs::{Finished, JobResult, JobSpec, Progress};
use crate::domain::operations::compress::{Effort, Summary, compress};
use crate::domain::operations::context::Context;
use crate::domain::repository::directory::BackupDir;
use crate::domain::repository::manifest;
use crate::domain::repository::manifest::Manifest;
use crate::model::audit::Event;
use crate::model::{BackupName, DatabaseName, EngineKind, JobId, Phase, Stamp, Task};

/// Creates backups.
pub struct Creations {
    context: Context,
}

impl Creations {
    pub(in crate::domain) fn new(context: Context) -> Self {
        Self { context }
    }

    /// Queues a backup of `database`. With `upload`, a second job uploads the backup afterwards, so a failed upload
    /// does not affect the backup.
    pub fn start(&self, database: &DatabaseName, upload: bool) -> Result<JobId> {
        let begun = self.begin(database, upload);
        self.context.notes.noted_unless_begun(Event::BackupCreated, database.as_str(), begun)
    }

    fn begin(&self, database: &DatabaseName, upload: bool) -> Result<JobId> {
        // Only checks that the database exists; the job looks it up again when it starts.
        self.context.databases.get(database)?;
        let destinations = self.context.destinations();
        let there = if upload { Some(destinations) } else { destinations.for_new_backups() };
        let upload = there.map(|there| there.ready()).transpose()?.map(|there| there.name().clone());
        self.context.queue(JobSpec::Backup { database: database.clone(), upload })
    }

    /// Runs a [`JobSpec::Backup`].
    pub(in crate::domain) fn run(
        &self,
        database: &DatabaseName,
        upload: Option<&DestinationName>,
        cancel: &Cancel,
        progress: &dyn Progress,
    ) -> Result<JobResult> {
        let made = self.make(database, cancel, progress)?;
        let destinations = self.context.destinations();
        match upload.map(|there| destinations.at(there).start_upload(&made.file)).transpose() {
            Ok(then) => Ok(Finished { then, ..made }.into()),
            Err(error) => {
                tracing::error!(%error, "an upload could not be queued");
                let told = format!("The backup was not uploaded: {error}");
                let warnings = made.warnings.map(|more| format!("{more} {told}")).or(Some(told));
                Ok(Finished { warnings, ..made }.into())
            }
        }
    }

    /// Backs up `database` immediately, outside the queue.
    pub fn back_up(
        &self,
        database: &DatabaseName,
        cancel: &Cancel,
        progress: &dyn Progress,
    ) -> Result<Finished> {
        let made = self.make(database, cancel, progress);
        self.context.notes.noted(Event::BackupCreated, database.as_str(), made, Finished::told)
    }

    fn make(&self, name: &DatabaseName, cancel: &Cancel, progress: &dyn Progress) -> Result<Finished> {
        let database = self.context.databases.get(name)?;
        create_with(&self.context, name, &*database, cancel, progress)
    }
}

/// Creates one backup of `database`, which is configured as `name`.
pub(in crate::domain) fn create_with(
    context: &Context,
    name: &DatabaseName,
    database: &dyn Database,
    cancel: &Cancel,
    progress: &dyn Progress,
) -> Result<Finished> {
    let engine = context.engines.get(&database.kind()).ok_or(Error::Lost)?;
    let (dir, format, created) = (&context.directory, engine.backup_format(), context.now());
    create(dir, name, database, format, created, context.effort, cancel, progress)
}

/// A finished backup that has no file name yet.
pub struct Made<'a> {
    /// The configured name of the database.
    pub database: &'a DatabaseName,
    /// Its engine.
    pub engine: EngineKind,
    /// The format of the content, as the engine calls it.
    pub format: &'a str,
    /// When the backup began.
    pub created: Stamp,
    /// Sizes and checksums, computed while the bytes were written.
    pub summary: &'a Summary,
    /// What the engine reported at the end.
    pub ended: &'a Ended,
}

impl Made<'_> {
    /// The manifest for the backup when it is published as `name`.
    pub fn manifest(&self, name: &BackupName) -> Manifest {
        let Summary { payload_size, payload_sha256, payload_crc32, content_size, content_sha256 } =
            self.summary.clone();
        Manifest {
            manifest_version: manifest::VERSION,
            file: name.clone(),
            created_at: self.created.rfc3339(),
            database: self.database.clone(),
            database_engine: self.engine.clone(),
            backup_format: self.format.to_owned(),
            payload_size,
            payload_sha256,
            payload_crc32,
            content_size,
            content_sha256,
            created_by: concat!("holdfast ", env!("CARGO_PKG_VERSION")).to_owned(),
            warnings: self.ended.warnings.clone(),
            remarks: self.ended.remarks.clone(),
            tables: self.ended.counted.map(|counted| counted.tables),
            rows: self.ended.counted.map(|counted| counted.rows),
            origin: self.ended.origin.clone(),
        }
    }
}

/// Backs up `database`, which is configured as `name`, into `dir`. Either publishes the file or leaves nothing behind.
/// Blocks until the backup has finished.
#[expect(clippy::too_many_arguments, reason = "a backup depends on all of them")]
pub fn create(
    dir: &BackupDir,
    name: &DatabaseName,
    database: &dyn Database,
    format: &str,
    created: Stamp,
    effort: Effort,
    cancel: &Cancel,
    progress: &dyn Progress,
) -> Result<Finished> {
    progress.phase(Phase::Connecting);
    let _turn = dir.lock_database(name)?.ok_or_else(|| Error::Busy(Task::Create(name.clone())))?;
    let draft = dir.draft()?;
    let mut dump = database.begin(&draft.scratch()?, cancel)?;
    if let Some(total) = dump.total() {
        progress.total(total);
    }
    progress.phase(Phase::Compressing);
    let passed = compress(&mut dump, draft.file(), &draft.path(), effort, cancel, &|read, written| {
        progress.bytes(read, written);
    });
    // A failed read is only a symptom, so the engine's error takes precedence.
    let ended = match &passed {
        Ok(_) | Err(Error::File { doing: "Reading the dump for", .. }) => dump.finish()?,
        Err(_) => Ended::default(),
    };
    let summary = passed?;
    if cancel.is_cancelled() {
        return Err(Error::Cancelled);
    }
    progress.phase(Phase::Publishing);
    let made =
        Made { database: name, engine: database.kind(), format, created, summary: &summary, ended: &ended };
    let file = draft.publish(name, created, |name| made.manifest(name))?;
    let said = ended.remarks.into_iter().chain(ended.warnings).collect::<Vec<_>>().join("\n");
    let warnings = (!said.is_empty()).then_some(said);
    Ok(Finished { file, size: summary.payload_size, warnings, then: None })
}
