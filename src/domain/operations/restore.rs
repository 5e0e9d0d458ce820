//! Proving a backup and getting it back: `verify` and `restore`. A file is always checked afresh and
//! completely before anything is made of it, and a target is the old one or the new one at every moment.

use crate::domain::Holdfast;
use crate::domain::engines::postgres::Postgres;
pub use crate::domain::engines::postgres::restore::Manner;
use crate::domain::engines::postgres::restore::fill::Job;
use crate::domain::engines::postgres::restore::{Filled, Site};
use crate::domain::engines::postgres::server::Server;
use crate::domain::engines::sqlite::restore::Temporary;
use crate::domain::engines::{Cancel, Engine, PostgresTools, Target};
use crate::domain::error::{Error, Result};
use crate::domain::jobs::{Finished, Progress};
use crate::domain::operations::check::Report;
use crate::domain::repository::content::{Source, kind_of};
use crate::model::audit::Event;
use crate::model::{BackupName, DatabaseName, EngineKind, Phase, Proof, human};
use std::path::Path;
use std::sync::Arc;

/// How a file is to be checked or restored.
pub struct RestoreOptions {
    /// The most bytes it may unpack to.
    pub limit: Option<u64>,
    /// Whether a database that is there may be replaced.
    pub overwrite: bool,
    /// Where the URL to restore into was given, for advice.
    pub setting: &'static str,
    /// How a PostgreSQL backup is restored.
    pub manner: Manner,
}

impl Default for RestoreOptions {
    fn default() -> Self {
        Self { limit: None, overwrite: false, setting: INTO, manner: Manner::default() }
    }
}

/// What a restore came to.
pub struct Restored {
    /// What was proved of the file, and what is in the database now.
    pub report: Report,
    /// Where it was restored to, without anything secret.
    pub target: String,
    /// The backup of what was there before.
    pub safety: Option<BackupName>,
}

/// Where the URLs are given, for advice.
const INTO: &str = "the URL of --into (or HOLDFAST_RESTORE_INTO)";
pub(crate) const ON: &str = "the URL of --restore-on (or HOLDFAST_RESTORE_ON)";

impl Holdfast {
    /// Checks a backup: `file` is a name in the backup directory or a path. Where a server to do it on was named
    /// (`HOLDFAST_RESTORE_ON`), a PostgreSQL backup is also restored there, into a database of its own that is dropped
    /// again; no other is opened. A damaged file is no error: the report says so, and so does a verdict beside a listed backup.
    pub fn verify(
        &self,
        file: &str,
        options: &RestoreOptions,
        cancel: &Cancel,
        progress: &dyn Progress,
    ) -> Result<Report> {
        let source = Source::open(self.backup_dir(), file)?;
        let mut report = self.check(&source, None, options, cancel, progress)?.0;
        if let Some(server) = &self.inner.restore_on
            && report.engine == Some(EngineKind::Postgresql)
            && !report.is_damaged()
        {
            let engine = self.postgres(server);
            // The database of the URL is not touched, so it may be one of the server's own.
            let tried = Site::open(&engine, "", self.tools(), ON, cancel, progress)
                .and_then(|site| try_out(&site, &source, options, &mut report));
            // What was found so far stays found; that it was asked for and not done is a failure all the same.
            let not_tried = match tried {
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
        self.remember(&source, &report)?;
        Ok(report)
    }

    /// Restores a backup into `target`: a new database, or with [`RestoreOptions::overwrite`] one that is there, of
    /// which a backup is made first. `progress` hears the plan and what is done.
    pub fn restore(
        &self,
        file: &str,
        target: &Target,
        options: &RestoreOptions,
        cancel: &Cancel,
        progress: &dyn Progress,
    ) -> Result<Restored> {
        let source = Source::open(self.backup_dir(), file)?;
        let kind = match kind_of(&source.beginning(cancel)?) {
            Some(kind) => Some(kind),
            None => source.manifest.as_ref().map(|manifest| manifest.database_engine),
        };
        match (kind, target) {
            (Some(EngineKind::Postgresql), Target::Sqlite(_))
            | (Some(EngineKind::Sqlite), Target::Postgres(_)) => Err(Error::Refused(format!(
                "{} is a {} backup, and the URL to restore into is not of that kind.",
                source.path.display(),
                kind.map_or("", EngineKind::label)
            ))),
            (_, Target::Sqlite(path)) => {
                self.restore_sqlite(&source, path, target, options, cancel, progress)
            }
            (_, Target::Postgres(server)) => {
                self.restore_postgres(&source, server, target, options, cancel, progress)
            }
        }
    }

    fn restore_sqlite(
        &self,
        source: &Source,
        path: &Path,
        target: &Target,
        options: &RestoreOptions,
        cancel: &Cancel,
        progress: &dyn Progress,
    ) -> Result<Restored> {
        let is_there = crate::domain::engines::sqlite::restore::is_there(path)?;
        progress.tell(&plan(source, target, is_there.then(|| size_of(path)), options)?);
        let (report, checked) = self.check(source, Some(path), options, cancel, progress)?;
        let (report, checked) = whole(report, checked)?;
        let checked = checked.ok_or(Error::Lost)?;
        let safety = if is_there {
            // An empty file holds nothing to keep.
            let safety =
                if size_of(path) > 0 { Some(self.safety_backup(target, cancel, progress)?) } else { None };
            progress.phase(Phase::Swapping);
            crate::domain::engines::sqlite::restore::put_over(&checked, path, cancel)?;
            safety
        } else {
            crate::domain::engines::sqlite::restore::put_new(&checked, path)?;
            None
        };
        Ok(Restored { report, target: target.address(), safety })
    }

    fn restore_postgres(
        &self,
        source: &Source,
        server: &Server,
        target: &Target,
        options: &RestoreOptions,
        cancel: &Cancel,
        progress: &dyn Progress,
    ) -> Result<Restored> {
        let engine = self.postgres(server);
        let database = &server.database;
        progress.phase(Phase::Connecting);
        let site = Site::open(&engine, database, self.tools(), options.setting, cancel, progress)?;
        let existing = site.existing(database)?;
        progress.tell(&plan(source, target, existing.as_ref().map(|existing| existing.size), options)?);
        if let Some(existing) = &existing {
            if let Some(obstacle) = &existing.obstacle {
                return Err(Error::Refused(format!("{} was left as it was: {obstacle}", target.address())));
            }
            for warning in &existing.warnings {
                progress.tell(warning);
            }
        }
        let (mut report, _) = whole(self.check(source, None, options, cancel, progress)?.0, None)?;
        progress.tell(&format!(
            "The backup is whole. Restoring it on PostgreSQL {} into a scratch database.",
            site.version()
        ));
        let rows = std::mem::take(&mut report.rows_of);
        let job = Job {
            source,
            sha256: &report.sha256,
            rows: &rows,
            objects: report.objects,
            limit: options.limit.unwrap_or(u64::MAX),
            replaces: existing.as_ref(),
            manner: Some(options.manner),
        };
        let restored = site.fill(&job).and_then(|filled| {
            let mut content = match filled {
                Filled::Whole(content) => content,
                Filled::NotRestorable(error) | Filled::NotTried(error) => return Err(error),
            };
            if cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let Some(existing) = &existing else {
                site.put_new(database, &job, &mut content)?;
                return Ok((content, None));
            };
            // As late as can be, so that it has the last of what was written.
            let safety = self.safety_backup(target, cancel, progress)?;
            progress.phase(Phase::Swapping);
            site.put_over(database, existing, &job, &mut content)?;
            Ok((content, Some(safety)))
        });
        let (content, safety) = restored.inspect_err(|_| discard(&site))?;
        report.take(content, &site);
        for exception in &report.exceptions {
            progress.tell(&format!("Left out or changed: {exception}."));
        }
        Ok(Restored { report, target: target.address(), safety })
    }

    /// Checks `source`. A SQLite backup is unpacked beside `target`, or else in the backup directory.
    pub(super) fn check(
        &self,
        source: &Source,
        target: Option<&Path>,
        options: &RestoreOptions,
        cancel: &Cancel,
        progress: &dyn Progress,
    ) -> Result<(Report, Option<Temporary>)> {
        let draft = self.inner.dir.draft()?;
        let place = || match target {
            Some(target) => Temporary::beside(target),
            None => Temporary::new(draft.scratch()?.join("content.db")),
        };
        crate::domain::operations::check::check(source, self.tools(), &place, options.limit, cancel, progress)
    }

    /// Backs up what is about to be replaced, under the name it is configured by or one made of its own.
    fn safety_backup(&self, target: &Target, cancel: &Cancel, progress: &dyn Progress) -> Result<BackupName> {
        let configured = self.inner.databases.iter().find(|(_, engine)| engine.address() == target.address());
        let name = match configured {
            Some((name, _)) => name.clone(),
            None => own_name(target),
        };
        let engine: Arc<dyn Engine> = target.engine(name.clone(), self.tools());
        let made = self.create(&name, &*engine, cancel, progress);
        let told = |made: &Finished| format!("{}, before it is replaced", made.told());
        let made = self.noted(Event::BackupCreated, name.as_str(), made, told).map_err(|error| match error {
            Error::Cancelled => error,
            _ => Error::Tool {
                detail: error.detail().map(str::to_owned),
                message: format!(
                    "What is there now could not be backed up, so it was left as it was: {error} Where it is \
                     beyond saving, give it another name, and restore without --overwrite."
                ),
            },
        })?;
        progress.tell(&format!("What was there before is kept as {}.", made.file));
        Ok(made.file)
    }

    pub(crate) fn tools(&self) -> &PostgresTools {
        &self.inner.tools
    }

    pub(crate) fn postgres(&self, server: &Server) -> Postgres {
        let target = Target::Postgres(server.clone());
        Postgres::new(own_name(&target), server.clone(), self.tools().clone())
    }
}

/// Restores a whole archive into a scratch database of `site`, reads it back, and drops it. Gives what was in the way of
/// that, which takes nothing from what was found before.
pub(crate) fn try_out(
    site: &Site<'_>,
    source: &Source,
    options: &RestoreOptions,
    report: &mut Report,
) -> Result<Option<Error>> {
    let rows = std::mem::take(&mut report.rows_of);
    let job = Job {
        source,
        sha256: &report.sha256,
        rows: &rows,
        objects: report.objects,
        limit: options.limit.unwrap_or(u64::MAX),
        replaces: None,
        manner: None,
    };
    let tried = site.fill(&job);
    discard(site);
    match tried? {
        Filled::Whole(content) => report.take(content, site),
        Filled::NotRestorable(error) => {
            report.level = Proof::Unrestored;
            report.notes.push(error.to_string());
            report.notes.extend(error.detail().map(str::to_owned));
        }
        Filled::NotTried(error) => return Ok(Some(error)),
    }
    Ok(None)
}

impl Report {
    /// Takes in what restoring it on `site` came to.
    fn take(&mut self, content: crate::domain::engines::postgres::restore::Content, site: &Site<'_>) {
        (self.tables, self.rows) = (Some(content.counts.tables), Some(content.counts.rows));
        self.exceptions = content.exceptions;
        match content.differs {
            None => {
                self.level = Proof::Restored;
                self.notes.push(format!("It was restored on PostgreSQL {}.", site.version()));
            }
            Some(differs) => self.notes.push(format!(
                "All its rows were restored and read back on PostgreSQL {}, but not as they were: {differs}.",
                site.version()
            )),
        }
        self.notes.extend(content.notes);
    }
}

/// The report, where the file is whole.
fn whole(report: Report, checked: Option<Temporary>) -> Result<(Report, Option<Temporary>)> {
    if report.is_damaged() {
        return Err(Error::Refused(format!(
            "{} Nothing was restored. Take another backup; `holdfast list` shows them.",
            report.sentence()
        )));
    }
    Ok((report, checked))
}

/// What is about to be done, or why it is not.
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
        Some(_) => Err(Error::Refused(format!(
            "{address} is there already, and was not touched. Use --overwrite to replace it; a backup of it is \
             made first."
        ))),
    }
}

/// A name for a database that has none from the operator.
fn own_name(target: &Target) -> DatabaseName {
    match target {
        Target::Sqlite(path) => named_after(&path.file_stem().unwrap_or_default().to_string_lossy()),
        Target::Postgres(server) => named_after(&server.database),
    }
}

/// The name closest to that of a database or file.
pub(super) fn named_after(own: &str) -> DatabaseName {
    let plain: String = own
        .chars()
        .take(40)
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
        .collect();
    DatabaseName::try_from(plain).unwrap_or_else(|_| DatabaseName::unnamed())
}

/// `3 tables with 1,200 rows`.
pub fn counted(report: &Report) -> String {
    let counted = |number: Option<u64>, one| human::count(number.unwrap_or(0), one);
    format!("{} with {}", counted(report.tables, "table"), counted(report.rows, "row"))
}

pub(crate) fn size_of(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |found| found.len())
}

fn discard(site: &Site<'_>) {
    if let Err(error) = site.discard() {
        tracing::warn!(%error, "a scratch database stays behind; the next restore on that server drops it");
    }
}
