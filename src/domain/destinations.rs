//! Off-site copies over SFTP: where they go, whether that can be trusted, sending, listing, fetching.

pub mod copies;
pub mod fault;
pub mod listing;
mod probe_limit;
pub mod sftp;
pub mod upload;

use crate::domain::Holdfast;
use crate::domain::audit::changed_fields;
use crate::domain::destinations::copies::Marks;
use crate::domain::destinations::probe_limit::Tries;
use crate::domain::destinations::sftp::connection::Connection;
use crate::domain::destinations::sftp::remote::{Remote, SftpDirectory};
use crate::domain::destinations::sftp::settings::{Account, Settings, SftpInput};
use crate::domain::engines::Cancel;
use crate::domain::error::{Error, Result};
use crate::domain::jobs::{Clock, Finished, JobResult, JobSpec, Progress};
use crate::domain::outbound::Policy;
use crate::domain::random;
use crate::domain::repository::catalog::Catalog;
use crate::domain::repository::directory::BackupDir;
use crate::domain::state::Store;
use crate::domain::state::secrets::Secrets;
use crate::model::audit::{Ending, Event};
use crate::model::outcome::{listed, printable};
use crate::model::sftp::tidy_host;
use crate::model::{
    Backup, BackupName, Checklist, HostKey, HostKeyFound, HostKeyStatus, JobId, Kept, ListPage, OffSite,
    OffSiteView, Outcome, Phase, Place, Queued, RemoteBackup, SftpSettings,
};
use fault::{Fault, FaultKind};
use listing::Fetched;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use upload::{Job, Learned, Local, Report, Uploaded};

/// How long to wait and how often to try.
#[derive(Debug, Clone)]
pub struct Options {
    /// For finding and reaching the server.
    pub connect_timeout: Duration,
    /// For each answer of the server. A transfer whose server falls silent ends that much later.
    pub io_timeout: Duration,
    /// For the answer that finishes a file, to syncing, closing or renaming it, while the line is alive: a server
    /// with an object store behind it takes its time for these.
    pub finish_timeout: Duration,
    /// How often an upload is tried again after the way there failed.
    pub retries: u32,
    /// The wait before the first of those; each next one is twice as long.
    pub back_off: Duration,
    /// Whether what was sent is read back and compared before it gets its name.
    pub read_back: bool,
    /// Servers without SSH that may be tried within a minute.
    pub strangers: usize,
    /// Which addresses are connected to; a holdfast puts its own policy here.
    pub egress: Policy,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            io_timeout: Duration::from_secs(30),
            finish_timeout: Duration::from_mins(10),
            retries: 5,
            back_off: Duration::from_secs(1),
            read_back: true,
            strangers: 10,
            egress: Policy::default(),
        }
    }
}

/// Everything about off-site copies. Cheap to clone; calls block.
#[derive(Clone)]
pub struct Sftp {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    marks: Marks,
    clock: Clock,
    options: Options,
    sending: Mutex<BTreeSet<BackupName>>,
    tries: Tries,
    changes: AtomicU64,
}

impl Sftp {
    /// With the settings and marks in `store`, whose secrets `secrets` seals.
    pub fn new(store: Store, secrets: Secrets, clock: Clock, options: Options) -> Self {
        Self {
            inner: Arc::new(Inner {
                settings: Settings::new(store.clone(), secrets),
                marks: Marks::new(store),
                clock,
                tries: Tries::new(options.strangers),
                options,
                sending: Mutex::default(),
                changes: AtomicU64::new(0),
            }),
        }
    }

    /// What is stored, as the browser may see it.
    pub fn settings(&self) -> Result<SftpSettings> {
        self.inner.settings.view()
    }

    /// Whether each new backup is to be sent. Where that cannot be read, none is: the backup itself is not to
    /// fail for it.
    pub fn sends_new(&self) -> bool {
        let settings =
            self.settings().inspect_err(|error| tracing::error!(%error, "could not read the SFTP settings"));
        settings.is_ok_and(|settings| settings.form.enabled && settings.form.send_new)
    }

    /// Fails with what is to be done first where backups cannot be sent.
    pub fn ready(&self) -> Result<SftpSettings> {
        let settings = self.settings()?;
        if settings.form.enabled {
            return Ok(settings);
        }
        Err(Error::Refused("SFTP storage is off. Turn it on under SFTP settings.".to_owned()))
    }

    /// Rises whenever what [`Self::all_off_site`] says may have changed.
    pub fn changes(&self) -> u64 {
        self.inner.changes.load(Ordering::Relaxed)
    }

    fn changed(&self) {
        self.inner.changes.fetch_add(1, Ordering::Relaxed);
    }

    /// Stores the form, or says what is wrong with it and changes nothing.
    pub fn save(&self, input: &SftpInput) -> Result<SftpSettings> {
        if self.inner.settings.save(input)? {
            // They speak of another place than the one the copies go to from now on.
            self.inner.marks.forget_all()?;
        }
        self.settings()
    }

    /// Forgets settings, secrets, pins and marks. The key file stays: other secrets may be sealed with it.
    pub fn reset(&self) -> Result<()> {
        self.inner.settings.reset()?;
        self.inner.marks.forget_all()
    }

    /// Tries the form out over what is stored, and stores nothing. No more than some servers without SSH are tried
    /// within a minute.
    pub fn check(&self, input: &SftpInput, cancel: &Cancel) -> Result<Checklist> {
        let account = self.inner.settings.account_of(input)?;
        let pins = self.inner.settings.pins()?;
        let attempt = self.inner.tries.begin(&account.form.host, account.port, Instant::now())?;
        let list = sftp::check::check(&account, &pins, &self.inner.options, cancel);
        attempt.end(list.host_key.is_some());
        Ok(list)
    }

    /// Pins the host key somebody looked at and approved, in place of one of its kind.
    pub fn approve(&self, host: &str, port: u16, key: HostKey) -> Result<()> {
        let host = tidy_host(host);
        let fingerprint = key.fingerprint.strip_prefix("SHA256:");
        if !fingerprint.is_some_and(|sum| sum.len() == 43 && sum.is_ascii()) {
            return Err(Error::Refused("Host key: that is no SHA256 fingerprint.".to_owned()));
        }
        tracing::info!(%host, port, key.key_type, key.fingerprint, "a host key was approved");
        self.inner.settings.change_pins(|pins| pins.pin(&host, port, key))
    }

    /// Pins what somebody pasted: a fingerprint, or a line of `known_hosts`.
    pub fn trust_pasted(&self, host: &str, port: u16, text: &str) -> Result<()> {
        self.approve(host, port, sftp::known_hosts::parse(text, &tidy_host(host), port)?)
    }

    /// Makes a key, keeps its private half, and gives the public one as a line for `authorized_keys`.
    pub fn generate_key(&self) -> Result<String> {
        let key = sftp::keys::generate().map_err(|problem| Error::Refused(problem.on_the_form().sentence))?;
        self.inner.settings.keep_key(&key)?;
        Ok(key.public_line)
    }

    /// Sends a backup, trying again where the way there fails, and remembers how it went. What is here stays
    /// as it is, however that ends.
    pub fn upload(
        &self,
        catalog: &Catalog,
        dir: &BackupDir,
        name: &BackupName,
        cancel: &Cancel,
        report: Report<'_>,
    ) -> Result<Uploaded> {
        catalog.get(name)?;
        self.ready()?;
        let account = self.inner.settings.account()?;
        let _turn = self.turn(name)?;
        let result = Local::open(catalog, name, dir.path().join(name.as_str()), cancel)
            .and_then(|local| self.send(&account, &local, cancel, report));
        let at = (self.inner.clock)();
        let mark = match &result {
            Ok(_) if account.form.write_only => Some(OffSite::Sent { at }),
            Ok(Uploaded { verified: true, .. }) => Some(OffSite::Verified { at }),
            Ok(_) => Some(OffSite::Uploaded { at }),
            // What somebody cancelled did not fail, and a way that fails says nothing of a copy that was there.
            Err(Error::Cancelled) => None,
            Err(Error::OffSite(fault)) if fault.is_passing() && self.was_there(name) => None,
            Err(error) => Some(OffSite::Failed { why: error.to_string(), at }),
        };
        if let Some(mark) = mark
            && let Err(error) = self.inner.marks.set(name, &mark)
        {
            tracing::error!(%error, %name, "could not remember how an upload went");
        }
        result
    }

    fn was_there(&self, name: &BackupName) -> bool {
        let mark = self.inner.marks.get(name);
        mark.is_ok_and(|mark| {
            matches!(mark, OffSite::Uploaded { .. } | OffSite::Sent { .. } | OffSite::Verified { .. })
        })
    }

    fn send(
        &self,
        account: &Account,
        local: &Local,
        cancel: &Cancel,
        report: Report<'_>,
    ) -> Result<Uploaded> {
        let learned = Learned::default();
        let job = Job { read_back: self.inner.options.read_back, cancel, report, learned: &learned };
        let mut tries = 0;
        loop {
            report(Phase::Connecting, 0, 0);
            let sent = self.open(account, cancel).and_then(|remote| {
                let remote = remote.syncing(!learned.no_sync.get());
                if account.form.write_only {
                    sftp::drop_box::send(&remote, local, &job)
                } else {
                    upload::send(&remote, local, &job)
                }
            });
            match sent {
                Err(Error::OffSite(fault))
                    if fault.is_passing()
                        && tries < self.inner.options.retries
                        && learned.is_worth_another(&fault) =>
                {
                    tracing::warn!(name = %local.name(), tries, %fault, "an upload broke off and is tried again");
                    report(Phase::Waiting, 0, 0);
                    wait(
                        with_jitter(self.inner.options.back_off.saturating_mul(1 << tries.min(10))),
                        cancel,
                    )?;
                    tries += 1;
                }
                other => return other,
            }
        }
    }

    /// Every backup that is here or there. What is seen corrects what is remembered.
    pub fn listing(&self, catalog: &Catalog) -> Result<Vec<RemoteBackup>> {
        let here = catalog.list()?;
        let account = self.inner.settings.account()?;
        let remote = self.call(&account, &Cancel::default())?;
        let found = match listing::compare(&remote, &here) {
            Err(Error::OffSite(fault)) if account.form.write_only && !fault.is_passing() => {
                return Err(sftp::drop_box::hidden(remote.place()));
            }
            found => found?,
        };
        // What a drop box has taken in may be out of sight at once, and what is seen there was not read.
        if !account.form.write_only {
            self.correct_marks(&found)?;
        }
        self.changed();
        Ok(found)
    }

    /// Brings a copy back into the backup directory.
    pub fn fetch(
        &self,
        dir: &BackupDir,
        name: &BackupName,
        cancel: &Cancel,
        report: Report<'_>,
    ) -> Result<Fetched> {
        report(Phase::Connecting, 0, 0);
        let account = self.inner.settings.account()?;
        let remote = self.call(&account, cancel)?;
        let fetched = match listing::fetch(&remote, dir, name, cancel, report) {
            Err(Error::OffSite(fault))
                if account.form.write_only
                    && matches!(fault.kind, FaultKind::Permission | FaultKind::Other) =>
            {
                return Err(sftp::drop_box::hidden(remote.place()));
            }
            fetched => fetched?,
        };
        if fetched.checked && !account.form.write_only {
            self.inner.marks.set(name, &OffSite::Verified { at: (self.inner.clock)() })?;
        }
        Ok(fetched)
    }

    /// Deletes a copy on the server. What is here stays.
    pub fn delete(&self, name: &BackupName) -> Result<()> {
        let _turn = self.turn(name)?;
        let remote = self.call(&self.inner.settings.account()?, &Cancel::default())?;
        listing::delete(&remote, name)?;
        self.inner.marks.forget(name)
    }

    /// What is remembered of a backup's copy.
    pub fn off_site(&self, name: &BackupName) -> Result<OffSite> {
        if self.sending().contains(name) {
            return Ok(OffSite::Uploading);
        }
        self.inner.marks.get(name)
    }

    /// What is remembered of all copies. A backup without an entry was never sent.
    pub fn all_off_site(&self) -> Result<BTreeMap<BackupName, OffSite>> {
        let mut all = self.inner.marks.all()?;
        all.extend(self.sending().iter().map(|name| (name.clone(), OffSite::Uploading)));
        Ok(all)
    }

    /// Connects for somebody who waits for the answer, and could ask for server after server.
    fn call(&self, account: &Account, cancel: &Cancel) -> Result<SftpDirectory> {
        let attempt = self.inner.tries.begin(&account.form.host, account.port, Instant::now())?;
        let opened = self.open(account, cancel);
        let answered = match &opened {
            Ok(_) => true,
            Err(Error::OffSite(fault)) => !fault.is_before_ssh(),
            Err(_) => false,
        };
        attempt.end(answered);
        opened
    }

    fn open(&self, account: &Account, cancel: &Cancel) -> Result<SftpDirectory> {
        let pins = self.inner.settings.pins()?;
        let connection = Connection::open(account, &pins, &self.inner.options, cancel)?;
        let directory = SftpDirectory::new(connection, &account.form.remote_directory);
        Ok(directory.write_only(account.form.write_only))
    }

    fn correct_marks(&self, found: &[RemoteBackup]) -> Result<()> {
        let marks = self.inner.marks.all()?;
        let at = (self.inner.clock)();
        for backup in found {
            let mark = marks.get(&backup.name).unwrap_or(&OffSite::NotSent);
            let there =
                matches!(mark, OffSite::Uploaded { .. } | OffSite::Sent { .. } | OffSite::Verified { .. });
            match backup.place {
                Place::Here | Place::Differs if there => {
                    self.inner.marks.set(&backup.name, &OffSite::Missing { at })?;
                }
                Place::Both if !there => self.inner.marks.set(&backup.name, &OffSite::Uploaded { at })?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Claims a backup for one upload: two that write the same draft would ruin it.
    fn turn(&self, name: &BackupName) -> Result<Turn<'_>> {
        if !self.sending().insert(name.clone()) {
            return Err(Error::Refused(format!("{name} is being uploaded already. Wait for that to end.")));
        }
        self.changed();
        Ok(Turn { sftp: self, name: name.clone() })
    }

    fn sending(&self) -> MutexGuard<'_, BTreeSet<BackupName>> {
        self.inner.sending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Holdfast {
    /// Off-site copies: what needs no backup directory is asked of them directly.
    pub fn sftp(&self) -> &Sftp {
        &self.inner.sftp
    }

    /// Sends a backup off-site; see [`Sftp::upload`].
    pub fn upload(&self, name: &BackupName, cancel: &Cancel, report: Report<'_>) -> Result<Uploaded> {
        let sent = self.inner.sftp.upload(&self.inner.catalog, &self.inner.dir, name, cancel, report);
        self.key_noted(sent)
    }

    /// Queues the upload of a listed backup.
    pub fn start_upload(&self, name: &BackupName) -> Result<JobId> {
        self.noted_unless_begun(Event::BackupUploaded, name.as_str(), self.begin_upload(name))
    }

    fn begin_upload(&self, name: &BackupName) -> Result<JobId> {
        self.inner.sftp.ready()?;
        self.inner.catalog.get(name)?;
        self.queue(JobSpec::Upload { file: name.clone() })
    }

    /// Does what [`JobSpec::Upload`] says.
    pub(in crate::domain) fn run_upload(
        &self,
        name: &BackupName,
        cancel: &Cancel,
        progress: &dyn Progress,
    ) -> Result<JobResult> {
        let host = self.inner.sftp.ready()?.form.host;
        let sent = self.upload(name, cancel, &reporter(progress))?;
        let warnings = sent.remark(&host);
        Ok(Finished { file: name.clone(), size: sent.size, warnings, then: None }.into())
    }

    /// Queues bringing an off-site copy back.
    pub fn start_fetch(&self, name: &BackupName) -> Result<JobId> {
        self.noted_unless_begun(Event::BackupFetched, name.as_str(), self.begin_fetch(name))
    }

    fn begin_fetch(&self, name: &BackupName) -> Result<JobId> {
        self.inner.sftp.ready()?;
        self.queue(JobSpec::Fetch { file: name.clone() })
    }

    /// Does what [`JobSpec::Fetch`] says.
    pub(in crate::domain) fn run_fetch(
        &self,
        name: &BackupName,
        cancel: &Cancel,
        progress: &dyn Progress,
    ) -> Result<JobResult> {
        let fetched = self.fetch_remote(name, cancel, &reporter(progress))?;
        let warnings = (!fetched.checked).then(|| "It has no manifest to check it against.".to_owned());
        Ok(Finished { file: name.clone(), size: fetched.size, warnings, then: None }.into())
    }

    /// Queues one task for each of `names`; one that is refused stops none of the others.
    pub fn start_each(
        &self,
        names: &[String],
        start: impl Fn(&Self, &BackupName) -> Result<JobId>,
    ) -> Result<Queued> {
        self.inner.sftp.ready()?;
        let mut queued = Queued::default();
        for name in names.iter().collect::<BTreeSet<_>>() {
            let begun = name
                .parse::<BackupName>()
                .map_err(|error| Error::Refused(error.to_string()))
                .and_then(|name| start(self, &name));
            match begun {
                Ok(job) => queued.jobs.push(job),
                Err(error) => {
                    tracing::warn!(%error, "a transfer was not queued");
                    queued.refused.push(Kept { name: name.clone(), reason: error.to_string() });
                }
            }
        }
        Ok(queued)
    }

    /// Deletes copies on the server, and says of each how it went. What is here stays.
    pub fn delete_remote(&self, names: &[String]) -> Outcome {
        let mut outcome = Outcome::default();
        let mut gone = Vec::new();
        for name in names.iter().collect::<BTreeSet<_>>() {
            let deleted = name
                .parse::<BackupName>()
                .map_err(|error| Error::Refused(error.to_string()))
                .and_then(|name| self.key_noted(self.inner.sftp.delete(&name)));
            match self.noted(Event::OffSiteDeleted, name, deleted, |()| String::new()) {
                Ok(()) => {
                    tracing::info!(file = %name, "off-site copy deleted");
                    gone.push(name.as_str());
                }
                Err(error) => {
                    tracing::warn!(file = %name, %error, "an off-site copy could not be deleted");
                    outcome.bad.push(format!("Not deleted: {}. {error}", printable(name)));
                }
            }
        }
        if !gone.is_empty() {
            let names = listed(gone.into_iter());
            outcome.good = Some(format!("Deleted off-site: {names}. Local backups stay."));
        } else if outcome.bad.is_empty() {
            outcome = Outcome::refused("Nothing was selected. Select copies first.");
        }
        outcome
    }

    /// Where the backups of one page of the list stand; nothing while the off-site store is switched off, or
    /// where its state cannot be read: the list is shown without it.
    pub fn off_site_view(&self, all: &[Backup], page: &ListPage) -> Option<OffSiteView> {
        let read = || -> Result<Option<OffSiteView>> {
            let Ok(settings) = self.inner.sftp.ready() else { return Ok(None) };
            let mut known = self.inner.sftp.all_off_site()?;
            let is_there = |backup: &&Backup| {
                matches!(known.get(&backup.name), Some(OffSite::Uploaded { .. } | OffSite::Verified { .. }))
            };
            let there = all.iter().filter(is_there).count() as u64;
            let of = page.rows.iter().filter_map(|row| known.remove_entry(&row.name)).collect();
            Ok(Some(OffSiteView { host: settings.form.host, there, of }))
        };
        read().unwrap_or_else(|error| {
            tracing::error!(%error, "could not read what is off-site");
            None
        })
    }

    /// Every backup that is here or off-site; see [`Sftp::listing`].
    pub fn remote_listing(&self) -> Result<Vec<RemoteBackup>> {
        self.key_noted(self.inner.sftp.listing(&self.inner.catalog))
    }

    /// Brings an off-site copy back; see [`Sftp::fetch`].
    pub fn fetch_remote(&self, name: &BackupName, cancel: &Cancel, report: Report<'_>) -> Result<Fetched> {
        self.key_noted(self.inner.sftp.fetch(&self.inner.dir, name, cancel, report))
    }

    /// Stores the settings; see [`Sftp::save`].
    pub fn save_sftp(&self, input: &SftpInput) -> Result<SftpSettings> {
        let before = self.inner.sftp.settings()?;
        let saved = self.inner.sftp.save(input);
        self.noted(Event::SettingsChanged, SETTINGS, saved, |after| {
            let fields = changed_fields(&before.form, &after.form);
            let fields = (!fields.is_empty()).then_some(fields);
            let changed = fields.into_iter().chain(input.changes().map(str::to_owned));
            changed.collect::<Vec<_>>().join(", ")
        })
    }

    /// Forgets them; see [`Sftp::reset`].
    pub fn reset_sftp(&self) -> Result<()> {
        self.noted(Event::SettingsReset, SETTINGS, self.inner.sftp.reset(), |()| String::new())
    }

    /// Tries them out; see [`Sftp::check`].
    pub fn check_sftp(&self, input: &SftpInput, cancel: &Cancel) -> Result<Checklist> {
        let checked = self.inner.sftp.check(input, cancel)?;
        if let Some(found) = &checked.host_key {
            self.note_key(found);
        }
        Ok(checked)
    }

    /// Pins a host key; see [`Sftp::approve`].
    pub fn approve_host_key(&self, host: &str, port: u16, key: HostKey) -> Result<()> {
        let detail = key.fingerprint.clone();
        let approved = self.inner.sftp.approve(host, port, key);
        self.noted(Event::HostKeyApproved, &format!("{host} port {port}"), approved, |()| detail)
    }

    /// Pins a pasted host key; see [`Sftp::trust_pasted`].
    pub fn trust_pasted_host_key(&self, host: &str, port: u16, text: &str) -> Result<()> {
        match sftp::known_hosts::parse(text, &tidy_host(host), port) {
            Ok(key) => self.approve_host_key(host, port, key),
            Err(error) => {
                self.noted(Event::HostKeyApproved, &format!("{host} port {port}"), Err(error), |()| {
                    String::new()
                })
            }
        }
    }

    /// Makes a key to log in with; see [`Sftp::generate_key`].
    pub fn generate_sftp_key(&self) -> Result<String> {
        self.noted(Event::SshKeyMade, SETTINGS, self.inner.sftp.generate_key(), String::clone)
    }

    /// Notes a host key that was not known, where something stopped at one.
    fn key_noted<T>(&self, result: Result<T>) -> Result<T> {
        result.inspect_err(|error| {
            if let Error::OffSite(Fault { host_key: Some(found), .. }) = error {
                self.note_key(found);
            }
        })
    }

    fn note_key(&self, found: &HostKeyFound) {
        let event = match found.status {
            HostKeyStatus::Known => return,
            HostKeyStatus::Unknown => Event::HostKeySeen,
            HostKeyStatus::Changed { .. } | HostKeyStatus::NewType { .. } => Event::HostKeyMismatch,
        };
        let object = format!("{} port {}", found.host, found.port);
        let detail = match found.pinned() {
            pinned if pinned.is_empty() => format!("{} {}", found.key_type, found.fingerprint),
            pinned => format!("{} {}; approved: {}", found.key_type, found.fingerprint, pinned.join(", ")),
        };
        self.note(event, &object, Ending::Refused, &detail);
    }
}

/// What the audit log calls the settings.
const SETTINGS: &str = "SFTP settings";

/// Turns what a transfer reports into what a job shows.
pub fn reporter(progress: &dyn Progress) -> impl Fn(Phase, u64, u64) {
    let now = Cell::new(None);
    move |phase, done, total| {
        if now.replace(Some(phase)) != Some(phase) {
            progress.phase(phase);
        }
        progress.total(total);
        progress.bytes(done, 0);
    }
}

/// Held while a backup is sent.
struct Turn<'s> {
    sftp: &'s Sftp,
    name: BackupName,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.sftp.sending().remove(&self.name);
        self.sftp.changed();
    }
}

/// Between half of `wait` and all of it, so that what broke together does not come back together.
fn with_jitter(wait: Duration) -> Duration {
    // Without randomness it waits the same as everybody else.
    let [random] = random::bytes().unwrap_or_default();
    wait.mul_f64(0.5 + f64::from(random) / 512.0)
}

fn wait(span: Duration, cancel: &Cancel) -> Result<()> {
    let until = Instant::now() + span;
    loop {
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(Duration::from_millis(50)));
    }
}
