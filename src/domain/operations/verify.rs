//! Verifies backups, and adopts backups that have no manifest. The results are stored beside the files.

use crate::domain::databases::CONFIGURED;
use crate::domain::engines::Target;
use crate::domain::engines::engine::{Engine, Test};
use crate::domain::error::{Code, Error, Refusal, Result};
use crate::domain::events::What;
use crate::domain::jobs::cancel::Cancel;
use crate::domain::jobs::{JobResult, JobSpec, Progress};
use crate::domain::operations::check::{NOT_TESTED, Report, check_with};
use crate::domain::operations::context::Context;
use crate::domain::operations::restore::{RestoreOptions, backup, counted};
use crate::domain::repository::content::Source;
use crate::domain::repository::manifest;
use crate::domain::repository::manifest::Manifest;
use crate::domain::repository::verification::Verdict;
use crate::model::audit::Event;
use crate::model::outcome::listed;
use crate::model::{BackupName, DatabaseName, FileState, JobId, Proof, Stamp, human};
use std::collections::BTreeSet;

/// The setting that names the server for test restores, for advice.
pub(in crate::domain) const ON: &str = "the URL of --restore-on (or HOLDFAST_RESTORE_ON)";

/// Verifies and adopts backups.
pub struct Verifications {
    context: Context,
}

impl Verifications {
    pub(in crate::domain) fn new(context: Context) -> Self {
        Self { context }
    }

    /// Checks a backup: `file` is a name in the backup directory or a path. If `HOLDFAST_RESTORE_ON` names a server of
    /// the backup's engine, also restores the backup there into a scratch database, and drops it. Opens no other
    /// database. A damaged file is not an error: the report says so, and for a listed backup so does the stored result.
    pub fn verify(
        &self,
        file: &str,
        options: &RestoreOptions,
        cancel: &Cancel,
        progress: &dyn Progress,
    ) -> Result<Report> {
        let source = Source::open(self.context.backup_dir(), file)?;
        let (mut report, kept) = check_with(&self.context, &source, None, options.limit, cancel, progress)?;
        if let Some(target) = &self.context.restore_on
            && report.engine == Some(target.kind())
            && !report.is_damaged()
        {
            let database = self.context.database_at(target, ON);
            let backup = backup(&source, &report, kept, options);
            let test = Test { is_trusted: true, cancel, progress };
            // The result of the check stands, but a requested test restore that did not run is a failure.
            let not_tried = match database.test_restore(backup, &test).map(|tested| report.tested(tested)) {
                Ok(not_tried) => not_tried,
                Err(Error::Cancelled) => return Err(Error::Cancelled),
                Err(error) => Some(error),
            };
            if let Some(error) = not_tried {
                let detail = error.detail().map_or_else(String::new, |detail| format!(" {detail}"));
                let why = format!("{error}{detail}");
                report.notes.push(format!("{NOT_TESTED}: {why}"));
                report.untried = Some(why);
            }
        }
        remember(&self.context, &source, &report)?;
        Ok(report)
    }

    /// Verifies a listed backup as far as possible: depending on its engine, it is restored into a temporary file or on
    /// its database's server. The result is stored beside the file.
    pub fn prove(&self, name: &BackupName, cancel: &Cancel, progress: &dyn Progress) -> Result<Report> {
        self.context.catalog.get(name)?;
        let source = Source::open(self.context.backup_dir(), name.as_str())?;
        let options = RestoreOptions::default();
        let (mut report, kept) = check_with(&self.context, &source, None, None, cancel, progress)?;
        let engine = report.engine.as_ref().and_then(|kind| self.context.engines.get(kind));
        if let Some(engine) = engine.filter(|engine| engine.is_tested_on_a_server() && !report.is_damaged()) {
            let left_out = match self.test_server(&source, engine) {
                Some((target, setting)) => {
                    let is_trusted =
                        source.manifest.as_ref().is_some_and(|manifest| !manifest.is_of_import());
                    let tested = self.context.database_at(&target, setting).test_restore(
                        backup(&source, &report, kept, &options),
                        &Test { is_trusted, cancel, progress },
                    )?;
                    report.tested(tested).map(|error| match error.detail() {
                        Some(detail) => format!("{error} {detail}"),
                        None => error.to_string(),
                    })
                }
                None => Some(format!(
                    "no {} database with the backup's database name is configured, so there is no server for the test.",
                    engine.label()
                )),
            };
            report.notes.extend(left_out.map(|why| format!("{NOT_TESTED}: {why}")));
        }
        remember(&self.context, &source, &report)?;
        Ok(report)
    }

    /// The server for test restores of a backup of `engine`, and the setting that names it: the one configured for
    /// test restores, or the server of the backup's own database.
    fn test_server(&self, source: &Source, engine: &dyn Engine) -> Option<(Target, &'static str)> {
        let named = self.context.restore_on.as_ref().filter(|target| target.kind() == engine.kind());
        if let Some(named) = named {
            return Some((named.clone(), ON));
        }
        let of_name = || source.name().parse::<BackupName>().ok()?.database();
        let database = source.manifest.as_ref().map(|manifest| manifest.database.clone()).or_else(of_name)?;
        let now = self.context.databases.now();
        let own = now.target(&database).filter(|target| target.kind() == engine.kind())?;
        Some((own.clone(), CONFIGURED))
    }

    /// Verifies a backup that has no manifest, and writes a manifest if the backup is intact.
    pub fn adopt(
        &self,
        name: &BackupName,
        options: &RestoreOptions,
        cancel: &Cancel,
        progress: &dyn Progress,
    ) -> Result<Report> {
        let backup = self.context.catalog.get(name)?;
        match backup.state {
            FileState::NoManifest | FileState::Damaged if backup.sha256.is_none() => {}
            FileState::Empty => {
                return Err(Error::refusal(
                    Code::BackupDamaged,
                    format!("{name} is empty, so there is nothing to adopt."),
                ));
            }
            FileState::BadManifest => {
                return Err(Error::refusal(
                    Code::BackupDamaged,
                    format!(
                        "The manifest of {name} cannot be read. Move the manifest away, then adopt the backup."
                    ),
                ));
            }
            _ => return Err(Error::Refused(format!("{name} already has a manifest."))),
        }
        let source = Source::open(self.context.backup_dir(), name.as_str())?;
        let report = check_with(&self.context, &source, None, options.limit, cancel, progress)?.0;
        let engine = report.engine.as_ref().and_then(|kind| self.context.engines.get(kind));
        if let Some(engine) = engine.filter(|_| !report.is_damaged()) {
            let database = name.database().unwrap_or_else(DatabaseName::unnamed);
            let manifest = describe(name, database, backup.created, engine, &report, "adopted");
            if !self.context.directory.keep_manifest(name, &manifest.to_bytes())? {
                return Err(Error::refusal(
                    Code::BackupChanged,
                    format!(
                        "{name} was deleted, or got a manifest, while Holdfast read it. Reload the list."
                    ),
                ));
            }
        }
        remember(&self.context, &source, &report)?;
        Ok(report)
    }

    /// Queues one job that verifies these backups, except those that another job already verifies.
    pub fn start(&self, names: &[String]) -> Result<JobId> {
        let begun =
            self.listed_backups(names).and_then(|files| self.context.queue(JobSpec::Verify { files }));
        self.context.notes.noted_unless_begun(Event::BackupsVerified, &named(names), begun)
    }

    /// Queues one job that verifies all backups, except those that another job already verifies.
    pub fn start_all(&self) -> Result<JobId> {
        let begin = || {
            let files: Vec<_> =
                self.context.catalog.list()?.iter().map(|backup| backup.name.clone()).collect();
            if files.is_empty() {
                return Err(Error::refusal(
                    Code::BackupNotFound,
                    "There is no backup to verify yet. Create one first.",
                ));
            }
            self.context.queue(JobSpec::Verify { files })
        };
        self.context.notes.noted_unless_begun(Event::BackupsVerified, "all backups", begin())
    }

    /// Queues one job that adopts all backups without a manifest, except those that another job already adopts.
    pub fn start_adopt(&self) -> Result<JobId> {
        let begin = || {
            let all = self.context.catalog.list()?;
            let unchecked = all.iter().filter(|backup| backup.state == FileState::NoManifest);
            let files: Vec<_> = unchecked.map(|backup| backup.name.clone()).collect();
            if files.is_empty() {
                let sentence =
                    "There is nothing to adopt: every backup has a manifest, or was found damaged.";
                return Err(Error::Refused(sentence.to_owned()));
            }
            self.context.queue(JobSpec::Adopt { files })
        };
        self.context.notes.noted_unless_begun(Event::BackupsAdopted, "backups without a manifest", begin())
    }

    /// The backups that can be adopted.
    pub fn without_manifest(&self) -> Result<Vec<BackupName>> {
        let all = self.context.catalog.list()?;
        let bare = all.iter().filter(|backup| match backup.state {
            FileState::NoManifest => true,
            FileState::Damaged => backup.sha256.is_none(),
            _ => false,
        });
        Ok(bare.map(|backup| backup.name.clone()).collect())
    }

    /// The backups with these names, each once. Refused if there is none, or if one of the names is not listed.
    fn listed_backups(&self, names: &[String]) -> Result<Vec<BackupName>> {
        let found: Vec<_> = self.context.catalog.named(names).into_iter().map(|backup| backup.name).collect();
        let known: BTreeSet<&str> = found.iter().map(BackupName::as_str).collect();
        let missing: Vec<_> = names.iter().map(String::as_str).filter(|name| !known.contains(name)).collect();
        if !missing.is_empty() {
            return Err(Error::refusal(
                Code::BackupNotFound,
                format!(
                    "There is no backup named {}. Reload the list, and select again.",
                    listed(missing.into_iter())
                ),
            ));
        }
        if found.is_empty() {
            return Err(Error::refusal(
                Code::InvalidInput,
                "Nothing was selected. Select backups first, then press “Verify”.",
            ));
        }
        Ok(found)
    }

    /// Runs a [`JobSpec::Verify`].
    pub(in crate::domain) fn run(
        &self,
        files: &[BackupName],
        cancel: &Cancel,
        progress: &dyn Progress,
    ) -> Result<JobResult> {
        self.run_checks("verified", files, progress, |file| self.prove(file, cancel, progress))
    }

    /// Runs a [`JobSpec::Adopt`].
    pub(in crate::domain) fn run_adopt(
        &self,
        files: &[BackupName],
        cancel: &Cancel,
        progress: &dyn Progress,
    ) -> Result<JobResult> {
        let options = RestoreOptions::default();
        self.run_checks("adopted", files, progress, |file| self.adopt(file, &options, cancel, progress))
    }

    fn run_checks(
        &self,
        word: &str,
        files: &[BackupName],
        progress: &dyn Progress,
        check: impl Fn(&BackupName) -> Result<Report>,
    ) -> Result<JobResult> {
        let mut tally = Tally::default();
        for file in files {
            let found = check(file);
            match &found {
                Err(Error::Cancelled) => return Err(Error::Cancelled),
                Err(_) => {}
                Ok(report) => {
                    let what = What::BackupVerified { file: file.clone(), proof: report.level };
                    self.context.notes.tell(vec![what]);
                }
            }
            tally.count(file, found);
            // The result of a single backup is the job's result.
            if files.len() > 1 {
                progress.tell(&tally.sentence);
            }
        }
        tally.outcome(word)
    }
}

/// Stores the result of a check beside the file, if the file is a listed backup.
pub(in crate::domain) fn remember(context: &Context, source: &Source, report: &Report) -> Result<()> {
    let Ok(name) = source.name().parse::<BackupName>() else { return Ok(()) };
    if source.path != context.backup_dir().join(name.as_str()) {
        return Ok(());
    }
    let Ok(backup) = context.catalog.get(&name) else { return Ok(()) };
    if (backup.size, backup.modified) != (report.size, source.written) {
        // The file changed while it was read, so the result belongs to a different file.
        return Ok(());
    }
    let manifest = context.catalog.manifest_of(&name).map(|(_, modified, _)| modified);
    let verdict = Verdict::new(&backup, manifest, report.sha256.clone(), report.verification(context.now()));
    context.directory.keep_verdict(&name, &verdict.to_bytes())?;
    Ok(())
}

/// A manifest for a file that had none, made from the result of its check.
pub(crate) fn describe(
    name: &BackupName,
    database: DatabaseName,
    created: Stamp,
    engine: &dyn Engine,
    report: &Report,
    how: &str,
) -> Manifest {
    Manifest {
        manifest_version: manifest::VERSION,
        file: name.clone(),
        created_at: created.rfc3339(),
        database,
        database_engine: engine.kind(),
        backup_format: engine.backup_format().to_owned(),
        payload_size: report.size,
        payload_sha256: report.sha256.clone(),
        payload_crc32: report.crc32.clone(),
        content_size: report.content_size,
        content_sha256: report.content_sha256.clone(),
        created_by: format!("holdfast {} ({how})", env!("CARGO_PKG_VERSION")),
        warnings: None,
        remarks: report.remarks.clone(),
        tables: report.tables,
        rows: report.rows,
        origin: None,
    }
}

/// The backups of a request, for the audit log.
fn named(names: &[String]) -> String {
    match names {
        [one] => one.clone(),
        several => human::count(several.len() as u64, "backup"),
    }
}

/// The results of checking several backups.
#[derive(Default)]
struct Tally {
    /// How many were test-restored.
    restored: u64,
    /// How many were read to the end.
    readable: u64,
    /// Why the others are not good.
    bad: Vec<Refusal>,
    /// The result of the last one.
    sentence: String,
}

impl Tally {
    fn count(&mut self, name: &BackupName, found: Result<Report>) {
        let (code, sentence) = match found {
            Ok(report) if report.is_good() => {
                let is_restored = report.level == Proof::Restored;
                *(if is_restored { &mut self.restored } else { &mut self.readable }) += 1;
                self.sentence = good(name, &report);
                return;
            }
            Ok(report) if report.level == Proof::Unrestored => {
                let why = report.notes.join(" ");
                (Code::Refused, format!("{name} is whole, but the test restore failed: {why}"))
            }
            Ok(report) => (Code::BackupDamaged, format!("{name} is damaged: {}.", report.damage.join("; "))),
            Err(error) => (error.code(), format!("{name} could not be checked: {error}")),
        };
        self.sentence.clone_from(&sentence);
        self.bad.push(Refusal { code, sentence });
    }

    fn outcome(self, word: &str) -> Result<JobResult> {
        let good = self.restored + self.readable;
        match &self.bad[..] {
            [] if good == 1 => Ok(JobResult::Report(self.sentence)),
            [] => Ok(JobResult::Report(format!(
                "{} {word}, all good: {} restored for a test, {} read to the end.",
                human::count(good, "backup"),
                human::grouped(self.restored),
                human::grouped(self.readable)
            ))),
            [only] if good == 0 => Err(Error::Refusal(only.clone())),
            bad => {
                let is_damaged = bad.iter().any(|refusal| refusal.code == Code::BackupDamaged);
                let sentences: Vec<_> = bad.iter().take(5).map(|refusal| &*refusal.sentence).collect();
                Err(Error::refusal(
                    if is_damaged { Code::BackupDamaged } else { Code::Refused },
                    format!(
                        "{} of {} failed: {}",
                        human::grouped(bad.len() as u64),
                        human::count(good + bad.len() as u64, "backup"),
                        sentences.join(" ")
                    ),
                ))
            }
        }
    }
}

fn good(name: &BackupName, report: &Report) -> String {
    let proved = match report.level {
        Proof::Restored => {
            let excepted = match &report.exceptions[..] {
                [] => String::new(),
                some => {
                    format!(" With {}: {}.", human::count(some.len() as u64, "exception"), some.join("; "))
                }
            };
            format!("{name} was restored for a test: {}.{excepted}", counted(report))
        }
        _ => format!("{name} is whole and was read to its end."),
    };
    let mut sentences = vec![proved];
    sentences.extend(report.notes.iter().cloned());
    sentences.join(" ")
}
