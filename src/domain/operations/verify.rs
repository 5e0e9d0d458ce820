//! Verifying what is listed, and adopting what nobody described: what is found is kept beside the file.

use crate::domain::databases::CONFIGURED;
use crate::domain::engines::Target;
use crate::domain::engines::engine::{Engine, Test};
use crate::domain::error::{Error, Result};
use crate::domain::events::What;
use crate::domain::jobs::cancel::Cancel;
use crate::domain::jobs::{JobResult, JobSpec, Progress};
use crate::domain::operations::check::{Report, check_with};
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

/// Where the server for test restores was named, for advice.
pub(in crate::domain) const ON: &str = "the URL of --restore-on (or HOLDFAST_RESTORE_ON)";

/// Verifies and adopts backups.
pub struct Verifications {
    context: Context,
}

impl Verifications {
    pub(in crate::domain) fn new(context: Context) -> Self {
        Self { context }
    }

    /// Checks a backup: `file` is a name in the backup directory or a path. Where a server to do it on was named
    /// (`HOLDFAST_RESTORE_ON`), a backup of its engine is also restored there, into a database of its own that is dropped
    /// again; no other is opened. A damaged file is no error: the report says so, and so does a verdict beside a listed backup.
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
            // What was found so far stays found; that it was asked for and not done is a failure all the same.
            let not_tried = match database.test_restore(backup, &test).map(|tested| report.tested(tested)) {
                Ok(not_tried) => not_tried,
                Err(Error::Cancelled) => return Err(Error::Cancelled),
                Err(error) => Some(error),
            };
            if let Some(error) = not_tried {
                let detail = error.detail().map_or_else(String::new, |detail| format!(" {detail}"));
                let why = format!("{error}{detail}");
                report.notes.push(format!("It was not restored for a test: {why}"));
                report.untried = Some(why);
            }
        }
        remember(&self.context, &source, &report)?;
        Ok(report)
    }

    /// Verifies a listed backup as far as can be: it is restored into a temporary file, or on the server its database is
    /// on, as its engine does it. What was found is kept beside the file.
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
                    "no {} database of its name is configured to restore it beside",
                    engine.label()
                )),
            };
            report.notes.extend(left_out.map(|why| format!("It was not restored for a test: {why}")));
        }
        remember(&self.context, &source, &report)?;
        Ok(report)
    }

    /// Where a backup of `engine` is restored for a test: on the server that was named for that, or on the one of the
    /// database it is of.
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

    /// Verifies a backup that has no manifest, and writes one that says what it is, where it is good.
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
                return Err(Error::Refused(format!("{name} is empty: there is nothing to adopt.")));
            }
            FileState::BadManifest => {
                return Err(Error::Refused(format!(
                    "The manifest beside {name} cannot be read. Move it away first, then adopt the backup."
                )));
            }
            _ => return Err(Error::Refused(format!("{name} has its manifest already."))),
        }
        let source = Source::open(self.context.backup_dir(), name.as_str())?;
        let report = check_with(&self.context, &source, None, options.limit, cancel, progress)?.0;
        let engine = report.engine.as_ref().and_then(|kind| self.context.engines.get(kind));
        if let Some(engine) = engine.filter(|_| !report.is_damaged()) {
            let database = name.database().unwrap_or_else(DatabaseName::unnamed);
            let manifest = describe(name, database, backup.created, engine, &report, "adopted");
            if !self.context.directory.keep_manifest(name, &manifest.to_bytes())? {
                return Err(Error::Refused(format!(
                    "{name} was deleted or described while it was read. Reload the list."
                )));
            }
        }
        remember(&self.context, &source, &report)?;
        Ok(report)
    }

    /// Queues verifying these backups: one job for all of them. Those that another job verifies already are left out.
    pub fn start(&self, names: &[String]) -> Result<JobId> {
        let begun = self.these(names).and_then(|files| self.context.queue(JobSpec::Verify { files }));
        self.context.notes.noted_unless_begun(Event::BackupsVerified, &named(names), begun)
    }

    /// Queues verifying all there are, but for those that another job verifies already.
    pub fn start_all(&self) -> Result<JobId> {
        let begin = || {
            let files: Vec<_> =
                self.context.catalog.list()?.iter().map(|backup| backup.name.clone()).collect();
            if files.is_empty() {
                return Err(Error::Refused("There is no backup to verify yet. Create one first.".to_owned()));
            }
            self.context.queue(JobSpec::Verify { files })
        };
        self.context.notes.noted_unless_begun(Event::BackupsVerified, "all backups", begin())
    }

    /// Queues adopting every backup that has no manifest, but for those that another job adopts already.
    pub fn start_adopt(&self) -> Result<JobId> {
        let begin = || {
            let files = self.without_manifest()?;
            if files.is_empty() {
                return Err(Error::Refused("Every backup has its manifest already.".to_owned()));
            }
            self.context.queue(JobSpec::Adopt { files })
        };
        self.context.notes.noted_unless_begun(Event::BackupsAdopted, "backups without a manifest", begin())
    }

    /// The backups that could be adopted.
    pub fn without_manifest(&self) -> Result<Vec<BackupName>> {
        let all = self.context.catalog.list()?;
        let bare = all.iter().filter(|backup| backup.state == FileState::NoManifest);
        Ok(bare.map(|backup| backup.name.clone()).collect())
    }

    /// The listed ones among `names`, each once; refused where there is none, or where one is no backup.
    fn these(&self, names: &[String]) -> Result<Vec<BackupName>> {
        let found: Vec<_> = self.context.catalog.named(names).into_iter().map(|backup| backup.name).collect();
        let known: BTreeSet<&str> = found.iter().map(BackupName::as_str).collect();
        let missing: Vec<_> = names.iter().map(String::as_str).filter(|name| !known.contains(name)).collect();
        if !missing.is_empty() {
            return Err(Error::Refused(format!(
                "There is no backup named {}. Reload the list, and select again.",
                listed(missing.into_iter())
            )));
        }
        if found.is_empty() {
            return Err(Error::Refused(
                "Nothing was selected. Select backups first, then press “Verify”.".to_owned(),
            ));
        }
        Ok(found)
    }

    /// Does what [`JobSpec::Verify`] says.
    pub(in crate::domain) fn run(
        &self,
        files: &[BackupName],
        cancel: &Cancel,
        progress: &dyn Progress,
    ) -> Result<JobResult> {
        self.run_checks("verified", files, progress, |file| self.prove(file, cancel, progress))
    }

    /// Does what [`JobSpec::Adopt`] says.
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
            // What there is to say of the only one is said at the end.
            if files.len() > 1 {
                progress.tell(&tally.sentence);
            }
        }
        tally.outcome(word)
    }
}

/// Keeps what was found beside a listed backup; of a file elsewhere nothing is kept.
pub(in crate::domain) fn remember(context: &Context, source: &Source, report: &Report) -> Result<()> {
    let Ok(name) = source.name().parse::<BackupName>() else { return Ok(()) };
    if source.path != context.backup_dir().join(name.as_str()) {
        return Ok(());
    }
    let Ok(backup) = context.catalog.get(&name) else { return Ok(()) };
    if (backup.size, backup.modified) != (report.size, source.written) {
        // It was changed while it was read: what was found is of another file.
        return Ok(());
    }
    let manifest = context.catalog.manifest_of(&name).map(|(_, modified, _)| modified);
    let verdict = Verdict::new(&backup, manifest, report.sha256.clone(), report.verification(context.now()));
    context.directory.keep_verdict(&name, &verdict.to_bytes())?;
    Ok(())
}

/// A manifest for a file that had none, of what was found when it was read.
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

/// What was asked for, where it was refused.
fn named(names: &[String]) -> String {
    match names {
        [one] => one.clone(),
        several => human::count(several.len() as u64, "backup"),
    }
}

/// What checking several backups came to.
#[derive(Default)]
struct Tally {
    /// How many were restored.
    restored: u64,
    /// How many were read to their end.
    readable: u64,
    /// What is wrong with the others, a sentence each.
    bad: Vec<String>,
    /// What there is to tell of the last one.
    sentence: String,
}

impl Tally {
    fn count(&mut self, name: &BackupName, found: Result<Report>) {
        self.sentence = match found {
            Ok(report) if report.is_good() => {
                let is_restored = report.level == Proof::Restored;
                *(if is_restored { &mut self.restored } else { &mut self.readable }) += 1;
                self.sentence = good(name, &report);
                return;
            }
            Ok(report) if report.level == Proof::Unrestored => {
                format!("{name} is whole, but restoring it for a test failed: {}", report.notes.join(" "))
            }
            Ok(report) => format!("{name} is damaged: {}.", report.damage.join("; ")),
            Err(error) => format!("{name} could not be checked: {error}"),
        };
        self.bad.push(self.sentence.clone());
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
            [only] if good == 0 => Err(Error::Refused(only.clone())),
            bad => Err(Error::Refused(format!(
                "{} of {} are not good: {}",
                human::grouped(bad.len() as u64),
                human::count(good + bad.len() as u64, "backup"),
                bad.iter().take(5).map(String::as_str).collect::<Vec<_>>().join(" ")
            ))),
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
        _ => format!("{name} is whole, and was read to its end."),
    };
    let mut sentences = vec![proved];
    sentences.extend(report.notes.iter().cloned());
    sentences.join(" ")
}
