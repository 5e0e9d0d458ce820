//! Plans a restore before it begins: which backup, from where, into which database, and with which warnings. Secrets
//! stay in the plan on the server; the page only gets the plan's number.

use crate::domain::destinations::listing::Fetched;
use crate::domain::destinations::reporter;
use crate::domain::engines::Target;
use crate::domain::engines::engine::{Engine, Plan};
use crate::domain::error::{Code, Error, Result};
use crate::domain::jobs::cancel::Cancel;
use crate::domain::jobs::{JobResult, JobSpec, Progress};
use crate::domain::operations::context::Context;
use crate::domain::operations::pending_restores::KeptPlan;
use crate::domain::operations::restore::{Manner, RestoreOptions, Restores, counted};
use crate::domain::random;
use crate::domain::repository::content::Source;
use crate::model::audit::Event;
use crate::model::restore::{Fact, RestorePlan, RestoreView};
use crate::model::{Backup, BackupName, EngineKind, JobId, Proof, human};
use secrecy::{ExposeSecret, SecretString};

/// How long a plan is valid, in seconds: its facts about the target become outdated.
const VALID_FOR: u64 = 30 * 60;
/// The field that gives the URL, for advice.
const ON_PAGE: &str = "the URL on the page";

/// What the user entered: where to restore a backup.
pub struct RestoreRequest {
    /// `beside:shop`, `over:shop`, `elsewhere`.
    pub place: String,
    /// The new database's name; for databases that are files, a file name or a path.
    pub name: String,
    /// For `elsewhere`: as in `HOLDFAST_DATABASES`.
    pub url: SecretString,
    /// The engine's options.
    pub manner: Manner,
}

/// Plans restores, and runs the plans.
pub struct RestorePlans {
    context: Context,
}

impl RestorePlans {
    pub(in crate::domain) fn new(context: Context) -> Self {
        Self { context }
    }

    /// The restore page: facts about the backup, and where it can be restored. `plan` is the number of a plan to show.
    pub fn view(&self, account: i64, file: &BackupName, plan: Option<&str>) -> Result<RestoreView> {
        let backup = self.context.catalog.get(file);
        let (facts, warnings, engine) = match &backup {
            Ok(backup) => self.facts_of(backup)?,
            Err(error) => {
                // A backup that is not here may have a copy at a destination.
                self.context.destinations.ready().map_err(|_| Error::NoBackup(file.clone()))?;
                tracing::debug!(%error, "showing a backup that is only off-site");
                let facts = vec![fact("Where", "off-site only; Holdfast downloads it first")];
                (facts, Vec::new(), None)
            }
        };
        let plan = plan.and_then(|id| {
            let shown = |kept: &KeptPlan| (kept.file == *file && !kept.is_begun).then(|| kept.plan.clone());
            self.context.pending_restores.read(account, id, shown)?
        });
        let of = backup.as_ref().ok().and_then(|backup| backup.database.clone());
        let of = of.or_else(|| file.database().map(String::from)).unwrap_or_else(|| "database".to_owned());
        let created = backup.as_ref().map_or_else(|_| file.created(), |backup| Some(backup.created));
        let created = created.unwrap_or_else(|| self.context.now()).for_file_name().replace('-', "_");
        let known = engine.as_ref().and_then(|kind| self.context.engines.get(kind));
        let ending = known.map_or("", Engine::file_ending);
        let possible: Vec<_> =
            known.map_or_else(|| self.context.engines.all().collect(), |known| vec![known]);
        Ok(RestoreView {
            file: file.clone(),
            is_here: backup.is_ok(),
            facts,
            warnings,
            places: self.places(engine.as_ref(), &of),
            new_name: format!("{of}_{created}{ending}"),
            url_examples: possible.iter().map(|engine| engine.url_example()).collect(),
            choices: possible.iter().filter_map(|engine| engine.restore_choices()).collect(),
            plan,
        })
    }

    fn facts_of(&self, backup: &Backup) -> Result<(Vec<Fact>, Vec<String>, Option<EngineKind>)> {
        let source = Source::open(self.context.backup_dir(), backup.name.as_str())?;
        let beginning = source.beginning(&Cancel::default()).unwrap_or_default();
        let engines = &self.context.engines;
        let recognised = engines.recognise(&beginning);
        let engine = recognised.map(Engine::kind).or_else(|| backup.engine.clone());
        let mut facts = vec![
            fact("Database", backup.database.clone().unwrap_or_else(|| "unknown".to_owned())),
            fact("Engine", engine.as_ref().map_or_else(|| "unknown".to_owned(), |kind| engines.label(kind))),
        ];
        facts.extend(recognised.map(|engine| engine.facts(&beginning)).unwrap_or_default());
        facts.push(fact("Created", format!("{} UTC", backup.created)));
        let unpacked = source.manifest.as_ref().map(|manifest| manifest.content_size);
        let unpacked = unpacked.map_or_else(String::new, |size| format!(", {} unpacked", human::size(size)));
        facts.push(fact("Size", format!("{}{unpacked}", human::size(backup.size))));
        facts.push(fact("State", backup.state.explanation()));
        let verified = match &backup.verified {
            Some(verified) => verified.details(),
            None => "Not yet. “Verify” reads the whole backup and restores it for a test.".to_owned(),
        };
        facts.push(fact("Verified", verified));
        let remarks = source.manifest.as_ref().map(|manifest| manifest.remarks.join(" "));
        if let Some(remarks) = remarks.filter(|remarks| !remarks.is_empty()) {
            facts.push(fact("Remarks", remarks));
        }
        if let Some(sha256) = &backup.sha256 {
            facts.push(fact("SHA-256", sha256.clone()));
        }
        let mut warnings = Vec::new();
        match backup.verified.as_ref().map(|verified| verified.proof) {
            Some(Proof::Damaged) => warnings.push(
                "This backup was found damaged. A restore checks the backup again and does not restore damaged files. \
                 Choose another backup."
                    .to_owned(),
            ),
            Some(Proof::Unrestored) => {
                warnings.push("The last test restore of this backup failed.".to_owned());
            }
            Some(_) | None => {}
        }
        Ok((facts, warnings, engine))
    }

    fn places(&self, engine: Option<&EngineKind>, of: &str) -> Vec<(String, String)> {
        let fits = |target: &Target| engine.is_none_or(|engine| *engine == target.kind());
        let now = self.context.databases.now();
        let mut fitting: Vec<_> = now.targets().filter(|(_, target)| fits(target)).collect();
        // The backup's own database first, as the most likely choice.
        fitting.sort_by_key(|(name, _)| name.as_str() != of);
        let beside = fitting.iter().map(|(name, target)| {
            (format!("beside:{name}"), format!("A new database beside {name} ({})", target.address()))
        });
        let over = fitting.iter().map(|(name, _)| {
            (format!("over:{name}"), format!("{name} itself, replacing its current contents"))
        });
        let elsewhere = ("elsewhere".to_owned(), "Somewhere else, by its URL".to_owned());
        beside.chain(over).chain([elsewhere]).collect()
    }

    /// Plans to restore `file` as `request` says, and stores the plan for `account`. Returns the plan's number, or why
    /// the restore is not possible.
    pub fn plan(&self, account: i64, file: &BackupName, request: &RestoreRequest) -> Result<String> {
        let wanted = self.target_of(request);
        let object = wanted.as_ref().map_or_else(|_| file.to_string(), |(target, _)| into(file, target));
        let planned = wanted
            .and_then(|(target, overwrite)| self.make(account, file, target, overwrite, request.manner));
        self.context.notes.noted(Event::RestorePlanned, &object, planned, |_| String::new())
    }

    fn make(
        &self,
        account: i64,
        file: &BackupName,
        target: Target,
        overwrite: bool,
        manner: Manner,
    ) -> Result<String> {
        let backup = self.context.catalog.get(file).ok();
        if backup.is_none() {
            self.context.destinations.ready().map_err(|_| Error::NoBackup(file.clone()))?;
        }
        let source = match &backup {
            Some(_) => Some(Source::open(self.context.backup_dir(), file.as_str())?),
            None => None,
        };
        let beginning = match &source {
            Some(source) => source.beginning(&Cancel::default())?,
            None => Vec::new(),
        };
        let engines = &self.context.engines;
        let recognised = engines.recognise(&beginning);
        let engine = recognised.map(Engine::kind).or_else(|| backup.as_ref()?.engine.clone());
        // The engine of a backup that is only off-site is not known yet.
        if source.is_some() {
            self.check_engine(file, engine.as_ref(), &target)?;
        }
        let mut facts = vec![
            fact("Backup", file.to_string()),
            fact(
                "From",
                if backup.is_some() {
                    "the backup directory"
                } else {
                    "off-site; Holdfast downloads it first"
                },
            ),
            fact("Into", target.address()),
        ];
        let content = source.as_ref().and_then(|source| source.manifest.as_ref()).map(|m| m.content_size);
        self.context.own_files.keep_in_use(&target)?;
        let planned = self.context.database_at(&target, ON_PAGE).plan(&Plan {
            source: source.as_ref(),
            beginning: &beginning,
            manner,
        })?;
        facts.extend(planned.facts);
        let (mut warnings, exists) = (planned.warnings, planned.replaces);
        match (exists, overwrite) {
            (Some(_), false) => {
                return Err(Error::refusal(
                    Code::NameTaken,
                    format!(
                        "{} already exists. Choose another name. To replace a database, choose a configured one.",
                        target.address()
                    ),
                ));
            }
            (Some(size), true) => facts.push(fact(
                "Replaces",
                format!("the existing database, {}; Holdfast backs it up first", human::size(size)),
            )),
            (None, _) => facts.push(fact("Replaces", "nothing: the database is new")),
        }
        let unpacked = content.map_or_else(|| "unknown until the backup is read".to_owned(), human::size);
        facts.push(fact("Size unpacked", unpacked));
        let verified = backup.as_ref().and_then(|backup| backup.verified.as_ref());
        let contents = verified.and_then(|verified| verified.counted()).unwrap_or_else(|| {
            match recognised.and_then(|engine| engine.objects(&beginning)) {
                Some(entries) => format!("{} in its table of contents", human::count(entries, "object")),
                None => "not counted yet; “Verify” counts tables and rows".to_owned(),
            }
        });
        facts.push(fact("Contents", contents));
        if verified.is_none_or(|verified| verified.proof != Proof::Restored) {
            warnings.push(
                "This backup has not been restored for a test yet. The restore checks it completely before \
                 anything is replaced."
                    .to_owned(),
            );
        }
        let id = number()?;
        let typed = exists.map(|_| planned.typed);
        // Only the database that the plan showed may be replaced, not one created later.
        let overwrite = overwrite && exists.is_some();
        let plan = RestorePlan { id: id.clone(), facts, warnings, typed };
        self.context.pending_restores.keep(KeptPlan {
            account,
            made: self.context.now(),
            file: file.clone(),
            target,
            overwrite,
            manner,
            plan,
            is_begun: false,
        });
        Ok(id)
    }

    /// Refuses a backup whose engine is unknown, or differs from the target's.
    fn check_engine(&self, file: &BackupName, engine: Option<&EngineKind>, target: &Target) -> Result<()> {
        let engines = &self.context.engines;
        let Some(engine) = engine else {
            return Err(Error::refusal(
                Code::Unsupported,
                format!("{file} contains neither {}, so it cannot be restored.", engines.contents(" nor ")),
            ));
        };
        if *engine == target.kind() {
            return Ok(());
        }
        Err(Error::refusal(
            Code::InvalidInput,
            format!(
                "{file} is a {} backup, but {} belongs to another engine. Choose another database.",
                engines.label(engine),
                target.address()
            ),
        ))
    }

    fn target_of(&self, request: &RestoreRequest) -> Result<(Target, bool)> {
        let now = self.context.databases.now();
        let configured = |name: &str| {
            let name = name.parse().ok();
            let target = name.as_ref().and_then(|name| now.target(name));
            target.cloned().ok_or_else(no_place)
        };
        match request.place.split_once(':') {
            Some(("over", name)) => Ok((configured(name)?, true)),
            Some(("beside", name)) => Ok((beside(&configured(name)?, request.name.trim())?, false)),
            _ if request.place == "elsewhere" => self
                .context
                .engines
                .locate(request.url.expose_secret().trim())
                .map(|target| (target, false))
                .map_err(|why| Error::refusal(Code::InvalidInput, format!("The URL cannot be used: {why}."))),
            _ => Err(no_place()),
        }
    }

    /// Queues the restore of the plan `id`. `typed` is what the user typed to confirm that a database is replaced.
    pub fn start(&self, account: i64, id: &str, typed: &str) -> Result<JobId> {
        let object = self.context.pending_restores.read(account, id, |kept| into(&kept.file, &kept.target));
        let object = object.unwrap_or_else(|| "an unknown plan".to_owned());
        let begun = self.begin(account, id, typed);
        self.context.notes.noted_unless_begun(Event::BackupRestored, &object, begun)
    }

    fn begin(&self, account: i64, id: &str, typed: &str) -> Result<JobId> {
        let kept = self.context.pending_restores.read(account, id, |kept| {
            let is_valid = !kept.is_begun && self.context.now().seconds_since(kept.made) < VALID_FOR;
            is_valid.then(|| (kept.file.clone(), kept.target.address(), kept.plan.typed.clone()))
        });
        let (file, into, wanted) = kept.flatten().ok_or_else(|| {
            Error::Refused("This plan has expired or was already used. Plan the restore again.".to_owned())
        })?;
        if let Some(wanted) = wanted.filter(|wanted| wanted != typed.trim()) {
            return Err(Error::refusal(
                Code::InvalidInput,
                format!("Nothing was restored. To replace {wanted}, type its name exactly."),
            ));
        }
        let job = self.context.queue(JobSpec::Restore { file, into, plan: id.to_owned() })?;
        self.context.pending_restores.begin(id);
        Ok(job)
    }

    /// Runs the plan `id` and forgets it, because it may contain a password.
    pub(in crate::domain) fn run(
        &self,
        id: &str,
        cancel: &Cancel,
        progress: &dyn Progress,
    ) -> Result<JobResult> {
        let Some(KeptPlan { file, target, overwrite, manner, .. }) = self.context.pending_restores.take(id)
        else {
            return Err(Error::Refused(
                "The plan of this restore is gone, because Holdfast was restarted. Plan the restore again."
                    .to_owned(),
            ));
        };
        if self.context.catalog.get(&file).is_err() {
            let fetched = self.context.destinations().fetch(&file, cancel, &reporter(progress));
            let told = |fetched: &Fetched| format!("{} bytes, for a restore", fetched.size);
            self.context.notes.noted(Event::BackupFetched, file.as_str(), fetched, told)?;
            progress.tell(&format!("{file} was downloaded from the destination."));
        }
        let options = RestoreOptions { overwrite, setting: ON_PAGE, manner, ..RestoreOptions::default() };
        let restored = Restores::new(self.context.clone()).restore(
            file.as_str(),
            &target,
            &options,
            cancel,
            progress,
        )?;
        let kept = restored
            .safety
            .map_or_else(String::new, |safety| format!(" What was there before is kept as {safety}."));
        Ok(JobResult::Report(format!(
            "{file} is restored into {}: {}.{kept}{}",
            restored.target,
            counted(&restored.report),
            restored.report.told_besides()
        )))
    }
}

/// The backup and the target, without secrets.
fn into(file: &BackupName, target: &Target) -> String {
    format!("{file} into {}", target.address())
}

fn fact(name: &str, text: impl Into<String>) -> Fact {
    (name.to_owned(), text.into())
}

/// The target for a new database on the server, or in the directory, of a configured one.
fn beside(target: &Target, name: &str) -> Result<Target> {
    let refused =
        |words: &str| Err(Error::refusal(Code::InvalidInput, format!("Name of the new database: {words}.")));
    if name.is_empty() {
        return refused("it is empty; enter a name");
    }
    if name.chars().any(char::is_control) {
        return refused("it contains a control character");
    }
    target.beside(name).or_else(|words| refused(&words))
}

fn no_place() -> Error {
    Error::refusal(Code::InvalidInput, "Choose where to restore the backup.")
}

fn number() -> Result<String> {
    random::hex::<16>()
}
