//! A restore is planned before it begins: what, from where, into what, and what speaks against it. The plan keeps
//! what is secret in it here; the page gets a number.

use crate::domain::Holdfast;
use crate::domain::destinations::listing::Fetched;
use crate::domain::destinations::reporter;
use crate::domain::engines::postgres::archive::{entries, origin};
use crate::domain::engines::postgres::restore::Site;
use crate::domain::engines::postgres::server::Server;
use crate::domain::engines::sqlite::restore;
use crate::domain::engines::{Cancel, Target};
use crate::domain::error::{Error, Result};
use crate::domain::jobs::{Came, Unwatched};
use crate::domain::operations::check::restore_tool;
use crate::domain::operations::content::{Source, kind_of};
use crate::domain::operations::restore::{Manner, RestoreOptions, counted};
use crate::model::audit::Event;
use crate::model::outcome::listed;
use crate::model::restore::{Fact, RestorePlan, RestoreView};
use crate::model::{Backup, BackupName, EngineKind, JobId, Proof, Stamp, Task, human};
use data_encoding::HEXLOWER;
use secrecy::{ExposeSecret, SecretString};
use std::collections::VecDeque;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Plans that are kept; the oldest goes first.
const KEPT: usize = 100;
/// How long a plan may be carried out, in seconds: what it says of the target grows old.
const GOOD_FOR: u64 = 30 * 60;
/// Where a URL was given.
const ON_PAGE: &str = "the URL on the page";
/// The longest name PostgreSQL keeps whole, in bytes.
const LONGEST_NAME: usize = 63;

/// The plans of one server.
#[derive(Default)]
pub struct Plans(Mutex<VecDeque<Kept>>);

struct Kept {
    account: i64,
    made: Stamp,
    file: BackupName,
    target: Target,
    overwrite: bool,
    manner: Manner,
    plan: RestorePlan,
}

/// Where somebody wants a backup to go.
pub struct Wish {
    /// `beside:shop`, `over:shop`, `elsewhere`.
    pub place: String,
    /// The new database's name; for SQLite a file's name, or a path.
    pub name: String,
    /// For `elsewhere`: as in `HOLDFAST_DATABASES`.
    pub url: SecretString,
    /// How a PostgreSQL backup is restored.
    pub manner: Manner,
}

impl Plans {
    fn kept(&self) -> MutexGuard<'_, VecDeque<Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Holdfast {
    /// What is known of a backup, and where it could go. `plan` is the number of one that was made.
    pub fn restore_view(&self, account: i64, file: &BackupName, plan: Option<&str>) -> Result<RestoreView> {
        let backup = self.catalog().get(file);
        let (facts, warnings, engine) = match &backup {
            Ok(backup) => self.facts_of(backup)?,
            Err(error) => {
                // What is not here may be there.
                self.inner.destinations.ready().map_err(|_| Error::NoBackup(file.clone()))?;
                tracing::debug!(%error, "a backup that is not here is looked at");
                let facts = vec![fact("Where", "off-site only; it is brought back first")];
                (facts, Vec::new(), None)
            }
        };
        let plan = plan.and_then(|id| {
            let plans = self.inner.plans.kept();
            let kept = plans.iter().find(|kept| kept.account == account && kept.plan.id == id);
            kept.filter(|kept| kept.file == *file).map(|kept| kept.plan.clone())
        });
        let of = backup.as_ref().ok().and_then(|backup| backup.database.clone());
        let of = of.or_else(|| file.database().map(String::from)).unwrap_or_else(|| "database".to_owned());
        let created = backup.as_ref().map_or_else(|_| file.created(), |backup| Some(backup.created));
        let created = created.unwrap_or_else(|| self.now()).for_file_name().replace('-', "_");
        let ending = if engine == Some(EngineKind::Sqlite) { ".db" } else { "" };
        Ok(RestoreView {
            file: file.clone(),
            is_here: backup.is_ok(),
            facts,
            warnings,
            places: self.places(engine, &of),
            new_name: format!("{of}_{created}{ending}"),
            plan,
        })
    }

    fn facts_of(&self, backup: &Backup) -> Result<(Vec<Fact>, Vec<String>, Option<EngineKind>)> {
        let source = Source::open(self.backup_dir(), backup.name.as_str())?;
        let beginning = source.beginning(&Cancel::default()).unwrap_or_default();
        let engine = kind_of(&beginning).or(backup.engine);
        let mut facts = vec![
            fact("Database", backup.database.clone().unwrap_or_else(|| "unknown".to_owned())),
            fact("Engine", engine.map_or("unknown", EngineKind::label)),
        ];
        if let Some((server, tool)) = origin(&beginning) {
            facts.push(fact("Made of", format!("PostgreSQL {server}, by pg_dump {tool}")));
        }
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

    fn places(&self, engine: Option<EngineKind>, of: &str) -> Vec<(String, String)> {
        let fits = |target: &Target| match target {
            Target::Sqlite(_) => engine != Some(EngineKind::Postgresql),
            Target::Postgres(_) => engine != Some(EngineKind::Sqlite),
        };
        let mut fitting: Vec<_> = self.inner.targets.iter().filter(|(_, target)| fits(target)).collect();
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

    /// Plans to restore `file` where `wish` says, and keeps the plan for `account`. Gives its number, or says why
    /// that cannot be done.
    pub fn plan_restore(&self, account: i64, file: &BackupName, wish: &Wish) -> Result<String> {
        let wanted = self.target_of(wish);
        let object = wanted.as_ref().map_or_else(|_| file.to_string(), |(target, _)| into(file, target));
        let planned =
            wanted.and_then(|(target, overwrite)| self.plan(account, file, target, overwrite, wish.manner));
        self.noted(Event::RestorePlanned, &object, planned, |_| String::new())
    }

    fn plan(
        &self,
        account: i64,
        file: &BackupName,
        target: Target,
        overwrite: bool,
        manner: Manner,
    ) -> Result<String> {
        let backup = self.catalog().get(file).ok();
        if backup.is_none() {
            self.inner.destinations.ready().map_err(|_| Error::NoBackup(file.clone()))?;
        }
        let source = match &backup {
            Some(_) => Some(Source::open(self.backup_dir(), file.as_str())?),
            None => None,
        };
        let beginning = match &source {
            Some(source) => source.beginning(&Cancel::default())?,
            None => Vec::new(),
        };
        let engine = kind_of(&beginning).or_else(|| backup.as_ref()?.engine);
        let fits = match (&target, engine) {
            (_, None) => source.is_none(),
            (Target::Sqlite(_), Some(engine)) => engine == EngineKind::Sqlite,
            (Target::Postgres(_), Some(engine)) => engine == EngineKind::Postgresql,
        };
        if !fits {
            return Err(Error::Refused(match engine {
                None => format!("{file} holds neither a PostgreSQL archive nor a SQLite database."),
                Some(engine) => format!(
                    "{file} is a {} backup, and {} is not of that kind. Choose another place.",
                    engine.label(),
                    target.address()
                ),
            }));
        }
        let mut facts = vec![
            fact("Backup", file.to_string()),
            fact(
                "From",
                if backup.is_some() { "the backup directory" } else { "off-site; it is brought back first" },
            ),
            fact("Into", target.address()),
        ];
        let mut warnings = Vec::new();
        let content = source.as_ref().and_then(|source| source.manifest.as_ref()).map(|m| m.content_size);
        let (exists, typed) = match &target {
            Target::Sqlite(path) => self.plan_sqlite(path, content, &mut facts, &mut warnings)?,
            Target::Postgres(server) => {
                facts.extend(facts_of_manner(manner));
                self.plan_postgres(server, source.as_ref(), &beginning, &mut facts, &mut warnings)?
            }
        };
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
        let contents =
            verified.and_then(|verified| verified.counted()).unwrap_or_else(|| match entries(&beginning) {
                Some(entries) => format!("{} in its table of contents", human::count(entries, "object")),
                None => "not counted yet; “Verify” counts tables and rows".to_owned(),
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
        let typed = typed.filter(|_| exists.is_some());
        // What comes to be after the plan was read is not what somebody agreed to replace.
        let overwrite = overwrite && exists.is_some();
        let plan = RestorePlan { id: id.clone(), facts, warnings, typed };
        let mut plans = self.inner.plans.kept();
        if plans.len() == KEPT {
            plans.pop_front();
        }
        plans.push_back(Kept {
            account,
            made: self.now(),
            file: file.clone(),
            target,
            overwrite,
            manner,
            plan,
        });
        Ok(id)
    }

    /// Where a SQLite restore goes: what is there, and what has to be typed to replace it.
    fn plan_sqlite(
        &self,
        path: &Path,
        content: Option<u64>,
        facts: &mut Vec<Fact>,
        warnings: &mut Vec<String>,
    ) -> Result<(Option<u64>, Option<String>)> {
        if same_file(path, &self.inner.state) {
            return Err(Error::Refused(
                "That is the state database of this Holdfast, which is in use. Stop Holdfast, then use \
                 “holdfast restore --overwrite”, or restore beside it and move the file."
                    .to_owned(),
            ));
        }
        self.keep_all_own_files(path)?;
        let parent = path.parent().unwrap_or(Path::new("/"));
        let exists = restore::is_there(path)?.then(|| crate::domain::operations::restore::size_of(path));
        if let Some(free) = room(parent) {
            facts.push(fact("Free space", format!("{} in {}", human::size(free), parent.display())));
            if content.is_some_and(|content| content > free) {
                warnings.push(format!(
                    "There is not enough room in {}: free some space first.",
                    parent.display()
                ));
            }
        }
        facts.push(fact("SQLite", rusqlite::version()));
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok((exists, Some(name)))
    }

    /// The same of a PostgreSQL restore.
    fn plan_postgres(
        &self,
        server: &Server,
        source: Option<&Source>,
        beginning: &[u8],
        facts: &mut Vec<Fact>,
        warnings: &mut Vec<String>,
    ) -> Result<(Option<u64>, Option<String>)> {
        let (engine, cancel) = (self.postgres(server), Cancel::default());
        let site = Site::open(&engine, &server.database, self.tools(), ON_PAGE, &cancel, &Unwatched)?;
        if source.is_some() {
            restore_tool(self.tools(), beginning, Some(site.server()), &cancel)?;
        }
        if let Some((made_on, tool)) = origin(beginning) {
            facts.push(fact("Made of", format!("PostgreSQL {made_on}, by pg_dump {tool}")));
        }
        facts.push(fact("Server", format!("PostgreSQL {}", site.version())));
        facts.push(fact("Free space", "a PostgreSQL server does not tell; look at its disk"));
        if let Some(role) = site.superuser() {
            warnings.push(format!(
                "The role {role} is a superuser: what the backup says is done with all its rights. Restore only \
                 what you trust, or use a role that is none."
            ));
        }
        let roles =
            source.and_then(|source| source.manifest.as_ref()?.origin.as_ref()?.get("roles").cloned());
        let roles: Vec<String> =
            roles.and_then(|roles| serde_json::from_value(roles).ok()).unwrap_or_default();
        let missing = site.missing_roles(&roles);
        if !missing.is_empty() {
            warnings.push(format!(
                "The backup names roles that are not on this server: {}. Policies and grants for them are left out, \
                 and told; make the roles first to have them.",
                listed(missing.iter().map(String::as_str))
            ));
        }
        let existing = site.existing(&server.database)?;
        if let Some(existing) = &existing {
            warnings.extend(existing.warnings.iter().chain(&existing.obstacle).cloned());
        }
        Ok((existing.map(|existing| existing.size), Some(server.database.clone())))
    }

    fn target_of(&self, wish: &Wish) -> Result<(Target, bool)> {
        let configured = |name: &str| {
            let name = name.parse().ok();
            let target = name.as_ref().and_then(|name| self.inner.targets.get(name));
            target.cloned().ok_or_else(|| Error::Refused("Choose where to restore it.".to_owned()))
        };
        match wish.place.split_once(':') {
            Some(("over", name)) => Ok((configured(name)?, true)),
            Some(("beside", name)) => Ok((beside(configured(name)?, wish.name.trim())?, false)),
            _ if wish.place == "elsewhere" => Target::parse(wish.url.expose_secret().trim())
                .map(|target| (target, false))
                .map_err(|why| Error::Refused(format!("The URL: {why}."))),
            _ => Err(Error::Refused("Choose where to restore it.".to_owned())),
        }
    }

    /// Queues what was planned under that number. `typed` is what somebody typed to have it replace something.
    pub fn start_restore(&self, account: i64, id: &str, typed: &str) -> Result<JobId> {
        let object = {
            let plans = self.inner.plans.kept();
            let kept = plans.iter().find(|kept| kept.account == account && kept.plan.id == id);
            kept.map_or_else(|| "a plan that is not there".to_owned(), |kept| into(&kept.file, &kept.target))
        };
        let begun = self.begin_restore(account, id, typed);
        self.noted_unless_begun(Event::BackupRestored, &object, begun)
    }

    fn begin_restore(&self, account: i64, id: &str, typed: &str) -> Result<JobId> {
        let kept = {
            let plans = self.inner.plans.kept();
            let kept = plans.iter().find(|kept| kept.account == account && kept.plan.id == id);
            kept.filter(|kept| self.now().seconds_since(kept.made) < GOOD_FOR).map(|kept| {
                (kept.file.clone(), kept.target.clone(), kept.overwrite, kept.manner, kept.plan.typed.clone())
            })
        };
        let (file, target, overwrite, manner, wanted) = kept.ok_or_else(|| {
            Error::Refused("This plan is too old, or was carried out. Plan the restore again.".to_owned())
        })?;
        if let Some(wanted) = wanted.filter(|wanted| wanted != typed.trim()) {
            return Err(Error::Refused(format!(
                "Nothing was restored: to replace {wanted}, type its name as it stands."
            )));
        }
        let holdfast = self.clone();
        let job = self.inner.jobs.start_for(
            Arc::clone(&self.by),
            Some(into(&file, &target)),
            Task::Restore(file.clone()),
            Box::new(move |cancel, progress| {
                if holdfast.catalog().get(&file).is_err() {
                    let fetched = holdfast.destinations().fetch(&file, cancel, &reporter(progress));
                    let told = |fetched: &Fetched| format!("{} bytes, to be restored", fetched.size);
                    holdfast.noted(Event::BackupFetched, file.as_str(), fetched, told)?;
                    progress.tell(&format!("{file} is brought back from off-site."));
                }
                let options =
                    RestoreOptions { overwrite, setting: ON_PAGE, manner, ..RestoreOptions::default() };
                let restored = holdfast.restore(file.as_str(), &target, &options, cancel, progress)?;
                let kept = restored.safety.map_or_else(String::new, |safety| {
                    format!(" What was there before is kept as {safety}.")
                });
                Ok(Came::Told(format!(
                    "{file} is restored into {}: {}.{kept}{}",
                    restored.target,
                    counted(&restored.report),
                    restored.report.told_besides()
                )))
            }),
        )?;
        self.inner.plans.kept().retain(|kept| kept.plan.id != id);
        Ok(job)
    }
}

/// What is told of how a PostgreSQL backup is restored.
fn facts_of_manner(manner: Manner) -> [Fact; 2] {
    let owners = if manner.keep_owners {
        "as in the backup, where the roles are there"
    } else {
        "none: all belongs to the role that restores"
    };
    let what = "subscriptions, event triggers, scheduled jobs, user mappings";
    let done = if manner.act_outside { "made, too" } else { "left out" };
    [fact("Owners and grants", owners), fact("What acts outside the database", format!("{done}: {what}"))]
}

/// From where to where, without anything secret.
fn into(file: &BackupName, target: &Target) -> String {
    format!("{file} into {}", target.address())
}

fn fact(name: &str, text: impl Into<String>) -> Fact {
    (name.to_owned(), text.into())
}

/// The place of a new database beside one that is configured.
fn beside(target: Target, name: &str) -> Result<Target> {
    let refused = |words: &str| Err(Error::Refused(format!("Name of the new database: {words}.")));
    if name.is_empty() {
        return refused("it is empty; type one");
    }
    if name.chars().any(char::is_control) {
        return refused("it holds a control character");
    }
    match target {
        Target::Postgres(server) => {
            if name.len() > LONGEST_NAME {
                return refused("it is longer than the 63 bytes PostgreSQL takes");
            }
            // libpq would take it for a connection string in some places.
            if name.contains('=') || name.contains("://") {
                return refused("it may hold neither = nor ://");
            }
            Ok(Target::Postgres(Server { database: name.to_owned(), ..server }))
        }
        Target::Sqlite(path) => {
            let new = path.parent().unwrap_or(Path::new("/")).join(name);
            let plain = |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
            if name.ends_with('/') || !new.components().all(plain) {
                return refused("it has to be a file's name, or an absolute path that holds no ..");
            }
            Ok(Target::Sqlite(new))
        }
    }
}

/// Whether both lead to one file, whatever links lie on the way.
fn same_file(one: &Path, other: &Path) -> bool {
    let whole = |path: &Path| -> Option<PathBuf> {
        Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?))
    };
    let resolved = |path: &Path| path.canonicalize().ok().or_else(|| whole(path));
    one == other || resolved(one).is_some_and(|one| resolved(other) == Some(one))
}

/// The bytes the disk of a directory has room for.
fn room(directory: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(directory).ok()?;
    found.f_bavail.checked_mul(found.f_frsize)
}

fn number() -> Result<String> {
    let mut random = [0; 16];
    getrandom::fill(&mut random)
        .map_err(|error| Error::Refused(format!("The system gives no random numbers: {error}.")))?;
    Ok(HEXLOWER.encode(&random))
}
