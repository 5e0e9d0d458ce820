//! Restores a backup into a database. Always checks the file completely first, and replaces an existing database in one
//! step: at every moment the target is either the old database or the new one.

pub use crate::domain::engines::engine::Manner;
use crate::domain::engines::engine::{self, Kept, Restore, Restoring, Tested};
use crate::domain::engines::{Engine, Target};
use crate::domain::error::{Code, Error, Result};
use crate::domain::jobs::cancel::Cancel;
use crate::domain::jobs::{Finished, Progress};
use crate::domain::operations::check::{Report, check_with};
use crate::domain::operations::context::Context;
use crate::domain::operations::create::create_with;
use crate::domain::repository::content::Source;
use crate::model::audit::Event;
use crate::model::{BackupName, DatabaseName, Phase, Proof, human};

/// How a file is checked or restored.
pub struct RestoreOptions {
    /// The most bytes the file may unpack to.
    pub limit: Option<u64>,
    /// Whether an existing database may be replaced.
    pub overwrite: bool,
    /// The setting that gives the URL to restore into, for advice.
    pub setting: &'static str,
    /// The engine's options.
    pub manner: Manner,
}

impl Default for RestoreOptions {
    fn default() -> Self {
        Self { limit: None, overwrite: false, setting: INTO, manner: Manner::default() }
    }
}

/// The result of a restore.
pub struct Restored {
    /// The result of the check and of the restore.
    pub report: Report,
    /// The address of the restored database, without secrets.
    pub target: String,
    /// The backup of the replaced database.
    pub safety: Option<BackupName>,
}

/// The setting that gives the URL, for advice.
const INTO: &str = "the URL of --into (or HOLDFAST_RESTORE_INTO)";

/// Restores backups into databases.
pub struct Restores {
    context: Context,
}

impl Restores {
    pub(in crate::domain) fn new(context: Context) -> Self {
        Self { context }
    }

    /// Restores a backup into `target`: a new database or, with [`RestoreOptions::overwrite`], an existing one, which
    /// is backed up first. Reports the plan and each step to `progress`.
    pub fn restore(
        &self,
        file: &str,
        target: &Target,
        options: &RestoreOptions,
        cancel: &Cancel,
        progress: &dyn Progress,
    ) -> Result<Restored> {
        let source = Source::open(self.context.backup_dir(), file)?;
        let recognised = self.context.engines.recognise(&source.beginning(cancel)?).map(Engine::kind);
        let kind = recognised.or_else(|| Some(source.manifest.as_ref()?.database_engine.clone()));
        if let Some(kind) = kind.filter(|kind| *kind != target.kind()) {
            return Err(Error::refusal(
                Code::InvalidInput,
                format!(
                    "{} is a {} backup, but the URL to restore into is for another engine.",
                    source.path.display(),
                    self.context.engines.label(&kind)
                ),
            ));
        }
        let database = self.context.database_at(target, options.setting);
        let restore = database.restore(&Restoring { manner: options.manner, cancel, progress })?;
        self.carry_out(restore, &source, target, options, cancel, progress)
    }

    fn carry_out<'r>(
        &self,
        mut restore: Box<dyn Restore<'r> + 'r>,
        source: &'r Source,
        target: &Target,
        options: &RestoreOptions,
        cancel: &Cancel,
        progress: &dyn Progress,
    ) -> Result<Restored> {
        let existing = restore.existing().cloned();
        progress.tell(&plan(source, target, existing.as_ref().map(|existing| existing.size), options)?);
        if let Some(existing) = &existing {
            if let Some(obstacle) = &existing.obstacle {
                return Err(Error::Refused(format!("{} was not changed: {obstacle}", target.address())));
            }
            for warning in &existing.warnings {
                progress.tell(warning);
            }
        }
        let (report, kept) =
            check_with(&self.context, source, target.file(), options.limit, cancel, progress)?;
        let mut report = whole(report)?;
        if let Some(announcement) = restore.announcement() {
            progress.tell(&announcement);
        }
        restore.fill(backup(source, &report, kept, options))?;
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let (restored, safety) = match existing {
            None => (restore.put_new()?, None),
            Some(existing) => {
                // As late as possible, so that the backup has the latest changes.
                let safety = (!existing.is_empty)
                    .then(|| self.safety_backup(target, options.setting, cancel, progress))
                    .transpose()?;
                progress.phase(Phase::Swapping);
                (restore.put_over()?, safety)
            }
        };
        if let Some(restored) = restored {
            report.take(restored);
        }
        for exception in &report.exceptions {
            progress.tell(&format!("Left out or changed: {exception}."));
        }
        Ok(Restored { report, target: target.address(), safety })
    }

    /// Backs up the database that is about to be replaced: under its configured name if it is configured, even with a
    /// differently written URL, otherwise under a name made from its own.
    fn safety_backup(
        &self,
        target: &Target,
        setting: &'static str,
        cancel: &Cancel,
        progress: &dyn Progress,
    ) -> Result<BackupName> {
        let machine = &self.context.machine;
        let now = self.context.databases.now();
        let configured = now.targets().find(|(_, other)| target.is_same(&***other, machine, cancel));
        let name =
            configured.map_or_else(|| DatabaseName::after(&target.own_name()), |(name, _)| name.clone());
        let database = target.database(name.clone(), machine, setting);
        let made = create_with(&self.context, &name, &*database, cancel, progress);
        let told = |made: &Finished| format!("{}, before it is replaced", made.told());
        let made = self.context.notes.noted(Event::BackupCreated, name.as_str(), made, told).map_err(|error| match error {
            Error::Cancelled => error,
            _ => Error::Tool {
                detail: error.detail().map(str::to_owned),
                message: format!(
                    "The existing database could not be backed up, so it was not replaced: {error} If it cannot be \
                     repaired, rename it and restore without --overwrite."
                ),
            },
        })?;
        progress.tell(&format!("What was there before is kept as {}.", made.file));
        Ok(made.file)
    }
}

/// A checked backup for its engine to restore.
pub(crate) fn backup<'b>(
    source: &'b Source,
    report: &Report,
    kept: Kept,
    options: &RestoreOptions,
) -> engine::Backup<'b> {
    engine::Backup { source, sha256: report.sha256.clone(), limit: options.limit.unwrap_or(u64::MAX), kept }
}

impl Report {
    /// Adds the result of a test restore. Returns the reason if the test could not run; the report stays as it was.
    pub(crate) fn tested(&mut self, tested: Tested) -> Option<Error> {
        match tested {
            Tested::Whole(restored) => self.take(restored),
            Tested::NotRestorable(error) => {
                self.level = Proof::Unrestored;
                self.notes.push(error.to_string());
                self.notes.extend(error.detail().map(str::to_owned));
            }
            Tested::NotTried(error) => return Some(error),
        }
        None
    }
}

/// The report, if the file is intact.
fn whole(report: Report) -> Result<Report> {
    if report.is_damaged() {
        return Err(Error::refusal(
            Code::BackupDamaged,
            format!("{} Nothing was restored. Choose another backup.", report.sentence()),
        ));
    }
    Ok(report)
}

/// The sentence that announces the restore, or the error if the target exists and may not be replaced.
fn plan(source: &Source, target: &Target, replaced: Option<u64>, options: &RestoreOptions) -> Result<String> {
    let address = target.address();
    let content = source
        .manifest
        .as_ref()
        .map_or(String::new(), |manifest| format!(", {} unpacked", human::size(manifest.content_size)));
    let what = format!("{} ({}{content})", source.path.display(), human::size(source.size));
    match replaced {
        None => Ok(format!("Restoring {what} into {address}, a new database.")),
        Some(size) if options.overwrite => Ok(format!(
            "Restoring {what} into {address}, which is there ({}) and is backed up before it is replaced.",
            human::size(size)
        )),
        Some(_) => {
            let next = if options.setting == INTO {
                "To replace it, use --overwrite; Holdfast backs it up first."
            } else {
                "Plan the restore again."
            };
            Err(Error::refusal(
                Code::NameTaken,
                format!("{address} already exists and was not changed. {next}"),
            ))
        }
    }
}

/// `3 tables with 1,200 rows`.
pub fn counted(report: &Report) -> String {
    let counted = |number: Option<u64>, one| human::count(number.unwrap_or(0), one);
    format!("{} with {}", counted(report.tables, "table"), counted(report.rows, "row"))
}
