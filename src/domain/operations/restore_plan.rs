//! A restore is planned before it begins: what, from where, into what, and what speaks against it. The plan keeps
//! what is secret in it here; the page gets a number.

use crate::domain::destinations::listing::Fetched;
use crate::domain::destinations::reporter;
use crate::domain::engines::Target;
use crate::domain::engines::engine::{Engine, Plan};
use crate::domain::error::{Error, Result};
use crate::domain::jobs::cancel::Cancel;
use crate::domain::jobs::{JobResult, JobSpec, Progress};
use crate::domain::operations::context::Context;
use crate::domain::operations::plans::KeptPlan;
use crate::domain::operations::restore::{Manner, RestoreOptions, Restores, counted};
use crate::domain::random;
use crate::domain::repository::content::Source;
use crate::model::audit::Event;
use crate::model::restore::{Fact, RestorePlan, RestoreView};
use crate::model::{Backup, BackupName, EngineKind, JobId, Proof, human};
use secrecy::{ExposeSecret, SecretString};

/// How long a plan may be carried out, in seconds: what it says of the target grows old.
const GOOD_FOR: u64 = 30 * 60;
/// Where a URL was given.
const ON_PAGE: &str = "the URL on the page";

/// Where somebody wants a backup to go.
pub struct RestoreRequest {
    /// `beside:shop`, `over:shop`, `elsewhere`.
    pub place: String,
    /// The new database's name; where it is a file, the file's name or a path.
    pub name: String,
    /// For `elsewhere`: as in `HOLDFAST_DATABASES`.
    pub url: SecretString,
    /// What else there is to say of how it is restored.
    pub manner: Manner,
}

/// Plans restores, and carries the plans out.
pub struct RestorePlans {
    context: Context,
}

impl RestorePlans {
    pub(in crate::domain) fn new(context: Context) -> Self {
        Self { context }
    }

    /// What is known of a backup, and where it could go. `plan` is the number of one that was made.
    pub fn view(&self, account: i64, file: &BackupName, plan: Option<&str>) -> Result<RestoreView> {
        let backup = self.context.catalog.get(file);
        let (facts, warnings, engine) = match &backup {
            Ok(backup) => self.facts_of(backup)?,
            Err(error) => {
                // What is not here may be there.
                self.context.destinations.ready().map_err(|_| Error::NoBackup(file.clone()))?;
                tracing::debug!(%error, "a backup that is not here is looked at");
                let facts = vec![fact("Where", "off-site only; it is brought back first")];
                (facts, Vec::new(), None)
            }
        };
        let plan = plan.and_then(|id| {
            let shown = |kept: &KeptPlan| (kept.file == *file && !kept.is_begun).then(|| kept.plan.clone());
            self.context.plans.read(account, id, shown)?
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
            None => "Not yet. “Verify” reads all of it, and restores it for a test.".to_owned(),
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
                "This backup was found damaged. A restore checks it again and refuses what is damaged; choose \
                 another backup."
                    .to_owned(),
            ),
            Some(Proof::Unrestored) => warnings
                .push("The last time it was restored for a test, the server would not take it.".to_owned()),
            Some(_) | None => {}
        }
        Ok((facts, warnings, engine))
    }

    fn places(&self, engine: Option<&EngineKind>, of: &str) -> Vec<(String, String)> {
        let fits = |target: &Target| engine.is_none_or(|engine| *engine == target.kind());
        let now = self.context.databases.now();
        let mut fitting: Vec<_> = now.targets().filter(|(_, target)| fits(target)).collect();
        // Its own first: that is what most want back.
        fitting.sort_by_key(|(name, _)| name.as_str() != of);
        let beside = fitting.iter().map(|(name, target)| {
            (format!("beside:{name}"), format!("A new database beside {name} ({})", target.address()))
        });
        let over = fitting
            .iter()
            .map(|(name, _)| (format!("over:{name}"), format!("{name} itself, replacing what is there")));
        let elsewhere = ("elsewhere".to_owned(), "Somewhere else, by its URL".to_owned());
        beside.chain(over).chain([elsewhere]).collect()
    }

    /// Plans to restore `file` where `request` says, and keeps the plan for `account`. Gives its number, or says why
    /// that cannot be done.
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
        match &engine {
            None if source.is_none() => {}
            None => {
                return Err(Error::Refused(format!("{file} holds neither {}.", engines.contents(" nor "))));
            }
            Some(engine) if *engine == target.kind() => {}
            Some(engine) => {
                return Err(Error::Refused(format!(
                    "{file} is a {} backup, and {} is not of that kind. Choose another place.",
                    engines.label(engine),
                    target.address()
                )));
            }
        }
        let mut facts = vec![
            fact("Backup", file.to_string()),
            fact(
                "From",
                if backup.is_some() { "the backup directory" } else { "off-site; it is brought back first" },
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
                return Err(Error::Refused(format!(
                    "{} is there already. Choose another name, or the place that replaces it.",
                    target.address()
                )));
            }
            (Some(size), true) => facts.push(fact(
                "Replaces",
                format!("what is there now, {}; a backup of it is made first", human::size(size)),
            )),
            (None, _) => facts.push(fact("Replaces", "nothing: it is new")),
        }
        let unpacked = content.map_or_else(|| "not known before it is read".to_owned(), human::size);
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
        // What comes to be after the plan was read is not what somebody agreed to replace.
        let overwrite = overwrite && exists.is_some();
        let plan = RestorePlan { id: id.clone(), facts, warnings, typed };
        self.context.plans.keep(KeptPlan {
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

    fn target_of(&self, request: &RestoreRequest) -> Result<(Target, bool)> {
        let now = self.context.databases.now();
        let configured = |name: &str| {
            let name = name.parse().ok();
            let target = name.as_ref().and_then(|name| now.target(name));
            target.cloned().ok_or_else(|| Error::Refused("Choose where to restore it.".to_owned()))
        };
        match request.place.split_once(':') {
            Some(("over", name)) => Ok((configured(name)?, true)),
            Some(("beside", name)) => Ok((beside(&configured(name)?, request.name.trim())?, false)),
            _ if request.place == "elsewhere" => self
                .context
                .engines
                .locate(request.url.expose_secret().trim())
                .map(|target| (target, false))
                .map_err(|why| Error::Refused(format!("The URL: {why}."))),
            _ => Err(Error::Refused("Choose where to restore it.".to_owned())),
        }
    }

    /// Queues what was planned under that number. `typed` is what somebody typed to have it replace something.
    pub fn start(&self, account: i64, id: &str, typed: &str) -> Result<JobId> {
        let object = self.context.plans.read(account, id, |kept| into(&kept.file, &kept.target));
        let object = object.unwrap_or_else(|| "a plan that is not there".to_owned());
        let begun = self.begin(account, id, typed);
        self.context.notes.noted_unless_begun(Event::BackupRestored, &object, begun)
    }

    fn begin(&self, account: i64, id: &str, typed: &str) -> Result<JobId> {
        let kept = self.context.plans.read(account, id, |kept| {
            let is_good = !kept.is_begun && self.context.now().seconds_since(kept.made) < GOOD_FOR;
            is_good.then(|| (kept.file.clone(), kept.target.address(), kept.plan.typed.clone()))
        });
        let (file, into, wanted) = kept.flatten().ok_or_else(|| {
            Error::Refused("This plan is too old, or was carried out. Plan the restore again.".to_owned())
        })?;
        if let Some(wanted) = wanted.filter(|wanted| wanted != typed.trim()) {
            return Err(Error::Refused(format!(
                "Nothing was restored: to replace {wanted}, type its name as it stands."
            )));
        }
        let job = self.context.queue(JobSpec::Restore { file, into, plan: id.to_owned() })?;
        self.context.plans.begin(id);
        Ok(job)
    }

    /// Carries out the plan of that number, and forgets it: it may hold a password.
    pub(in crate::domain) fn run(
        &self,
        id: &str,
        cancel: &Cancel,
        progress: &dyn Progress,
    ) -> Result<JobResult> {
        let Some(KeptPlan { file, target, overwrite, manner, .. }) = self.context.plans.take(id) else {
            return Err(Error::Refused(
                "The plan of this restore is gone: plans end with the program. Plan the restore again."
                    .to_owned(),
            ));
        };
        if self.context.catalog.get(&file).is_err() {
            let fetched = self.context.destinations().fetch(&file, cancel, &reporter(progress));
            let told = |fetched: &Fetched| format!("{} bytes, to be restored", fetched.size);
            self.context.notes.noted(Event::BackupFetched, file.as_str(), fetched, told)?;
            progress.tell(&format!("{file} is brought back from off-site."));
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

/// From where to where, without anything secret.
fn into(file: &BackupName, target: &Target) -> String {
    format!("{file} into {}", target.address())
}

fn fact(name: &str, text: impl Into<String>) -> Fact {
    (name.to_owned(), text.into())
}

/// The place of a new database beside one that is configured.
fn beside(target: &Target, name: &str) -> Result<Target> {
    let refused = |words: &str| Err(Error::Refused(format!("Name of the new database: {words}.")));
    if name.is_empty() {
        return refused("it is empty; type one");
    }
    if name.chars().any(char::is_control) {
        return refused("it holds a control character");
    }
    target.beside(name).or_else(|words| refused(&words))
}

fn number() -> Result<String> {
    random::hex::<16>()
}
