//! Restores an archive into the scratch database, section by section. All data must come back; other objects
//! that the server or the role cannot create are left out and named.

use crate::domain::engines::engine::Manner;
use crate::domain::engines::postgres::archive::toc;
use crate::domain::engines::postgres::archive::toc::{Entry, Section};
use crate::domain::engines::postgres::archive::{Objects, RowsOf};
use crate::domain::engines::postgres::database::Postgres;
use crate::domain::engines::postgres::origin::Origin;
use crate::domain::engines::postgres::restore::complaints::{Complaint, Complaints};
use crate::domain::engines::postgres::restore::constraints::{drop_checks, put_checks_back};
use crate::domain::engines::postgres::restore::contents::{Beginning, Contents};
use crate::domain::engines::postgres::restore::read_back::Expected;
use crate::domain::engines::postgres::restore::restore_server::{Content, Existing, Filled, RestoreServer};
use crate::domain::engines::postgres::restore::scratch::Made;
use crate::domain::engines::postgres::restore::session::Session;
use crate::domain::engines::postgres::restore::tool::Pass;
use crate::domain::error::{Code, Error, Result};
use crate::domain::repository::content::Source;
use crate::model::outcome::listed;
use crate::model::{Phase, human};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::path::PathBuf;

/// How many exceptions are named; further ones are only counted.
const NAMED: usize = 60;
/// How many losses are named.
const LOSSES: usize = 5;

/// What to restore, and what is known about it.
pub struct Job<'j> {
    /// The checked file.
    pub source: &'j Source,
    /// Its SHA-256 at the check.
    pub sha256: &'j str,
    /// Rows per data block, counted at the check.
    pub rows: &'j RowsOf,
    /// The large objects, counted at the check.
    pub objects: Option<Objects>,
    /// The largest unpacked size, in bytes.
    pub limit: u64,
    /// The database it replaces, if any.
    pub replaces: Option<&'j Existing>,
    /// How to restore a database that stays; `None` if it is dropped again.
    pub manner: Option<Manner>,
}

/// Why filling stopped early.
enum Stop {
    NotRestorable(Error),
    Error(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// A running restore.
struct Filling<'f> {
    server: &'f RestoreServer<'f>,
    job: &'f Job<'f>,
    contents: Contents,
    tool: PathBuf,
    target: Postgres,
    keep_tablespaces: bool,
    content: Content,
    /// The number of exceptions that are not named.
    unnamed: u64,
}

impl RestoreServer<'_> {
    /// Restores a checked file into the scratch database and reads it back. An error means that the restore
    /// was cancelled, or that the file changed since the check.
    pub fn fill(&self, job: &Job<'_>) -> Result<Filled> {
        match self.try_fill(job) {
            Ok(content) => Ok(Filled::Whole(content)),
            Err(Stop::NotRestorable(error)) => Ok(Filled::NotRestorable(error)),
            Err(Stop::Error(error @ (Error::Cancelled | Error::File { .. }))) => Err(error),
            Err(Stop::Error(error)) => Ok(Filled::NotTried(error)),
        }
    }

    fn try_fill(&self, job: &Job<'_>) -> Result<Content, Stop> {
        let beginning = job.source.beginning(self.cancel)?;
        let tool = self.tools().restore_tool(&beginning, Some(&self.version), self.cancel)?;
        let contents = {
            let mut content = job.source.read(job.limit, self.cancel, self.progress);
            let toc = toc::read(&mut Beginning::of(&mut content))?;
            Contents::of(toc.ok_or_else(|| {
                Error::refusal(
                    Code::Unsupported,
                    "This version of Holdfast cannot read the archive's table of contents.",
                )
            })?)
        };
        // An archive whose statements do not match their kinds is a finding, whoever wants the restore.
        let contents = contents.map_err(Stop::NotRestorable)?;
        let recorded = job.source.manifest.as_ref().and_then(|manifest| manifest.origin.clone());
        let recorded = recorded.and_then(|origin| serde_json::from_value::<Origin>(origin).ok());
        let origin = recorded
            .filter(|origin| !origin.encoding.is_empty())
            .or_else(|| Origin::of_archive(&contents.toc));
        let target = job.replaces.map(|existing| &existing.origin);
        let mut filling = Filling {
            server: self,
            job,
            contents,
            tool,
            target: self.postgres.elsewhere(&self.scratch),
            keep_tablespaces: false,
            content: Content::default(),
            unnamed: 0,
        };
        match self.make_scratch(origin.as_ref(), target)? {
            Made::Alike if origin.is_some() => {}
            Made::Alike => filling.content.notes.push(
                "The backup does not record the encoding and collation of its database, so these were not \
                 compared."
                    .to_owned(),
            ),
            Made::Otherwise(why) => {
                let sorted = origin.as_ref().or(target).map(Origin::sorts_by).unwrap_or_default();
                filling.content.differs = Some(format!(
                    "this server cannot create a database that sorts by {sorted} ({why}), so the backup was \
                     restored into one that sorts by bytes"
                ));
            }
        }
        filling.content.exceptions.extend(self.pin(origin.as_ref()));
        let filled = filling.fill();
        if filled.is_ok() {
            self.unpin();
        }
        filled
    }
}

impl Filling<'_> {
    fn fill(mut self) -> Result<Content, Stop> {
        self.server.progress.phase(Phase::Restoring);
        self.look_at_tablespaces()?;
        self.before()?;
        self.data()?;
        self.read_back()?;
        self.after()?;
        self.leave_out();
        if self.unnamed > 0 {
            let more = human::count(self.unnamed, "further object");
            self.content.exceptions.push(format!("{more}, left out for similar reasons"));
        }
        Ok(self.content)
    }

    /// Objects go to their tablespaces only if all of these exist: `pg_restore` can keep either all or none.
    fn look_at_tablespaces(&mut self) -> Result<(), Stop> {
        let mut wanted: BTreeMap<&str, u64> = BTreeMap::new();
        for entry in &self.contents.toc.entries {
            if !entry.tablespace.is_empty() && entry.kind != "DATABASE" {
                *wanted.entry(&entry.tablespace).or_default() += 1;
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = wanted.keys().copied().collect();
        let usable = self.server.session.rows(
            "Looking for tablespaces",
            "SELECT spcname::text FROM pg_tablespace WHERE spcname = ANY ($1::text[]) AND has_tablespace_privilege(oid, 'CREATE')",
            &[&names],
        )?;
        let usable: Vec<String> = usable.iter().filter_map(|row| row.try_get(0).ok()).collect();
        let missing: Vec<&str> =
            names.iter().copied().filter(|name| !usable.iter().any(|usable| usable == name)).collect();
        self.keep_tablespaces = missing.is_empty();
        if !missing.is_empty() {
            let objects = human::count(wanted.values().sum(), "object");
            self.content.exceptions.push(format!(
                "tablespace {}: it does not exist on this server, or this role may not use it, so {objects} \
                 are in the default one",
                listed(missing.into_iter())
            ));
        }
        Ok(())
    }

    fn pass(
        &mut self,
        entries: &[i64],
        has_data: bool,
        is_one_transaction: bool,
    ) -> Result<Complaints, Stop> {
        let pass = Pass {
            entries,
            keep_owners: self.job.manner.is_some_and(|manner| manner.keep_owners),
            keep_tablespaces: self.keep_tablespaces,
            is_one_transaction,
            has_data,
        };
        let Job { source, limit, sha256, .. } = *self.job;
        let (complaints, read) = self.server.pass(source, limit, &self.tool, &self.target, &pass)?;
        if read.is_some_and(|read| read.sha256 != sha256 || read.fault.is_some()) {
            return Err(Stop::Error(Error::File {
                doing: "Restoring",
                path: source.path.clone(),
                source: std::io::Error::other("it was changed during the restore; try again"),
            }));
        }
        if complaints.has_given_up() {
            // What the tool had not reached by then is missing.
            let words =
                complaints.list.iter().rev().take(LOSSES).map(|complaint| complaint.words.clone()).collect();
            self.stop_at(words)?;
        }
        Ok(complaints)
    }

    /// Tables, functions, types. All tables must exist afterwards.
    fn before(&mut self) -> Result<(), Stop> {
        let entries = self.contents.of_section(Section::PreData);
        let complaints = self.pass(&entries, false, false)?;
        let session = self.inside()?;
        let wanted: Vec<&Entry> = self
            .contents
            .toc
            .entries
            .iter()
            .filter(|entry| matches!(entry.kind.as_str(), "TABLE" | "SEQUENCE"))
            .collect();
        let schemas: Vec<&[u8]> = wanted.iter().map(|entry| entry.name.0.as_slice()).collect();
        let names: Vec<&[u8]> = wanted.iter().map(|entry| entry.name.1.as_slice()).collect();
        let encoding = self.encoding(&session)?;
        let missing = session.rows(
            "Looking for the restored tables",
            "SELECT (w.number - 1)::int8 FROM unnest($1::bytea[], $2::bytea[]) WITH ORDINALITY w (schema, name, number)
             WHERE NOT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                               WHERE n.nspname = convert_from(w.schema, $3)::name
                                 AND c.relname = convert_from(w.name, $3)::name AND c.relkind IN ('r', 'p', 'S'))",
            &[&schemas, &names, &encoding],
        )?;
        let mut losses = Vec::new();
        for row in missing {
            let at = usize::try_from(row.try_get::<_, i64>(0).unwrap_or(0)).unwrap_or(0);
            let Some(entry) = wanted.get(at) else { continue };
            losses.push(loss(entry, complaints.about(entry.id)));
        }
        for entry in &self.contents.toc.entries {
            // Without this attachment, a partition's rows are missing from its table. Large objects are
            // counted later.
            if self.contents.ties_tables(entry)
                && let Some(words) = complaints.about(entry.id)
            {
                losses.push(loss(entry, Some(words)));
            }
        }
        self.except(&complaints);
        self.stop_at(losses)
    }

    /// The rows. Rows of an extension's own tables are the extension's responsibility.
    fn data(&mut self) -> Result<(), Stop> {
        let all = self.contents.of_section(Section::Data);
        let is_inserted = |id: &i64| {
            let entry = self.contents.entry(*id);
            entry.is_some_and(|entry| entry.kind == "TABLE DATA" && entry.has_data && entry.copy.is_empty())
        };
        // Data that is not COPY is arbitrary statements: they run in a transaction that none of them can
        // leave.
        let (inserted, copied): (Vec<i64>, Vec<i64>) = all.iter().copied().partition(is_inserted);
        let mut complaints = self.pass(&copied, true, false)?;
        let refused: Vec<i64> = copied.iter().copied().filter(|id| complaints.entries.contains(id)).collect();
        let dropped = if refused.is_empty() {
            BTreeMap::new()
        } else {
            drop_checks(&self.inside()?, &self.contents, &refused)?
        };
        if !dropped.is_empty() {
            let again: Vec<i64> = copied.iter().copied().filter(|id| dropped.contains_key(id)).collect();
            let second = self.pass(&again, true, false)?;
            complaints.list.retain(|complaint| complaint.entry.is_none_or(|id| !dropped.contains_key(&id)));
            complaints.entries.retain(|id| !dropped.contains_key(id));
            complaints.list.extend(second.list);
            complaints.entries.extend(second.entries);
            self.content.exceptions.extend(put_checks_back(&self.inside()?, dropped)?);
        }
        let mut losses = Vec::new();
        if !inserted.is_empty() {
            let complaints = self.pass(&inserted, true, true)?;
            losses.extend(complaints.list.iter().map(|complaint| complaint.words.clone()));
        }
        for id in copied {
            let Some(entry) = self.contents.entry(id).filter(|entry| is_data(entry)) else { continue };
            if complaints.entries.contains(&id) && !self.contents.of_schedulers.contains(&id) {
                losses.push(loss(entry, complaints.about(id)));
            }
        }
        // A complaint without an entry concerns all entries.
        let of_none = complaints.list.iter().filter(|complaint| complaint.entry.is_none());
        losses.extend(
            of_none.filter(|complaint| !is_of_setting(complaint)).map(|complaint| complaint.words.clone()),
        );
        self.except(&complaints);
        self.stop_at(losses)
    }

    /// Reads every row once as text and counts it, before policies, triggers and rules exist.
    fn read_back(&mut self) -> Result<(), Stop> {
        let session = self.inside()?;
        let expected = Expected::of(&self.contents, self.job.rows);
        let encoding = self.encoding(&session)?;
        let found = self.server.read_back(&session, &encoding, &expected)?;
        self.content.counts = found.counts;
        self.content.exceptions.extend(found.exceptions);
        let mut losses = found.losses;
        losses.extend(self.lost_objects(&session)?);
        self.stop_at(losses)
    }

    /// What is missing of the large objects: whole objects, or bytes.
    fn lost_objects(&mut self, session: &Session) -> Result<Option<String>, Stop> {
        let wanted: Vec<u32> = self.contents.large_objects().into_iter().collect();
        if wanted.is_empty() && self.job.objects.is_none_or(|objects| objects.count == 0) {
            return Ok(None);
        }
        let rows = session.rows(
            "Counting large objects",
            "SELECT count(*) FILTER (WHERE oid = ANY ($1::oid[])), count(*) FROM pg_largeobject_metadata",
            &[&wanted],
        )?;
        let number = |at: usize| {
            let number = rows.first().and_then(|row| row.try_get::<_, i64>(at).ok());
            number.map_or(0, i64::unsigned_abs)
        };
        let expected = self.job.objects.map_or(0, |objects| objects.count).max(wanted.len() as u64);
        if number(0) < wanted.len() as u64 || number(1) < expected {
            return Ok(Some(format!(
                "{} of {} came back",
                number(1),
                human::count(expected, "large object")
            )));
        }
        let Some(bytes) = self.job.objects.and_then(|objects| objects.bytes) else { return Ok(None) };
        match session.try_long(
            "SELECT coalesce(sum(octet_length(lo_get(oid))), 0)::int8 FROM pg_largeobject_metadata",
        )? {
            Ok(rows) => {
                let there =
                    rows.first().and_then(|row| row.try_get::<_, i64>(0).ok()).map_or(0, i64::unsigned_abs);
                Ok((there < bytes).then(|| {
                    format!(
                        "the large objects have {} of {} bytes",
                        human::grouped(there),
                        human::grouped(bytes)
                    )
                }))
            }
            Err(error) => {
                let told = format!("large objects: their bytes were not read back: {}", session.said(&error));
                self.content.exceptions.push(told);
                Ok(None)
            }
        }
    }

    /// Indexes, constraints, triggers, policies, and the contents of materialized views.
    fn after(&mut self) -> Result<(), Stop> {
        let entries = self.contents.of_section(Section::PostData);
        let complaints = self.pass(&entries, false, false)?;
        self.except(&complaints);
        Ok(())
    }

    /// Entries that act outside are never created in a scratch database; if the database stays, they may be
    /// created at the end.
    fn leave_out(&mut self) {
        let stays = self.job.manner;
        for id in self.contents.acting_outside() {
            let Some(entry) = self.contents.entry(id) else { continue };
            if self.contents.describes_outside(entry) {
                continue;
            }
            let why = match stays {
                Some(Manner { act_outside: true, .. }) => continue,
                Some(_) => "left out, because it acts outside the database and that was not requested",
                None => "not created in a test, because it acts outside the database",
            };
            self.content.exceptions.push(format!("{}: {why}", entry.title()));
        }
        // Some extensions work only in one database, chosen by name.
        let failed = self.contents.toc.entries.iter().filter(|entry| entry.kind == "EXTENSION");
        let prefix = |entry: &Entry| format!("{}: ", entry.title());
        let failed: Vec<i64> = failed
            .filter(|entry| self.content.exceptions.iter().any(|told| told.starts_with(&prefix(entry))))
            .map(|entry| entry.id)
            .collect();
        if let Some(manner) = stays {
            if manner.act_outside {
                self.content.left.extend(self.contents.acting_outside());
            }
            for entry in &self.contents.toc.entries {
                let is_of_failed = failed.contains(&entry.id)
                    || (entry.needs.iter().any(|need| failed.contains(need))
                        && (manner.act_outside || !self.contents.outside.contains(&entry.id)));
                if is_of_failed && !self.content.left.contains(&entry.id) {
                    self.content.left.push(entry.id);
                }
            }
            // The archive's order is the order in which they can be created.
            let order: HashMap<i64, usize> =
                self.contents.toc.entries.iter().enumerate().map(|(at, entry)| (entry.id, at)).collect();
            self.content.left.sort_by_key(|id| order.get(id));
        } else if !failed.is_empty() {
            self.content.notes.push(format!(
                "An extension may need a superuser, or a server on which it is installed: install it there, \
                 or name such a server in HOLDFAST_RESTORE_ON for tests ({}).",
                listed(
                    failed
                        .iter()
                        .filter_map(|id| self.contents.entry(*id))
                        .map(|entry| entry.tag.as_str())
                        .collect::<Vec<_>>()
                        .into_iter()
                )
            ));
        }
    }

    /// Names what was left out.
    fn except(&mut self, complaints: &Complaints) {
        for complaint in &complaints.list {
            // A setting that only newer servers know does not affect what is restored.
            let is_setting = complaint.entry.is_none()
                && complaint.words.starts_with("unrecognized configuration parameter");
            if is_setting {
                continue;
            }
            let entry = complaint.entry.and_then(|id| self.contents.entry(id));
            let told = match entry {
                Some(entry) => format!("{}: {}", entry.title(), complaint.words),
                None => complaint.words.clone(),
            };
            if self.content.exceptions.len() < NAMED {
                self.content.exceptions.push(told);
            } else {
                self.unnamed += 1;
            }
        }
        self.unnamed += complaints.unkept;
    }

    /// The encoding of the archive's names; the database's encoding if the archive names none.
    fn encoding(&self, session: &Session) -> Result<String, Stop> {
        if let Some(encoding) = &self.contents.toc.encoding {
            return Ok(encoding.clone());
        }
        let rows = session.rows("Asking for the encoding", "SELECT getdatabaseencoding()::text", &[])?;
        Ok(rows.first().and_then(|row| row.try_get(0).ok()).unwrap_or_else(|| "UTF8".to_owned()))
    }

    fn inside(&self) -> Result<Session, Stop> {
        Ok(Session::open(&self.target, &self.server.way, &self.server.scratch, self.server.cancel)?)
    }

    /// Stops if data is missing.
    fn stop_at(&mut self, losses: Vec<String>) -> Result<(), Stop> {
        if losses.is_empty() {
            return Ok(());
        }
        let made_on = match self.contents.toc.server.as_str() {
            "" => String::new(),
            server => format!(" The backup was made from PostgreSQL {server}."),
        };
        let mut detail = listed_losses(&losses);
        // Objects left out earlier may be the cause.
        let before = self.content.exceptions.iter().take(LOSSES).map(String::as_str).collect::<Vec<_>>();
        if !before.is_empty() {
            let _ = write!(detail, " Before that: {}.", before.join("; "));
        }
        let message = format!(
            "The backup could not be restored on this server, PostgreSQL {}, and nothing was changed.{made_on}",
            self.server.version.text
        );
        let error = Error::Tool { message, detail: Some(detail) };
        Err(match &self.content.differs {
            // A failure in a database that differs from the original proves nothing about the backup.
            Some(differs) => Stop::Error(Error::Tool {
                message: format!(
                    "The backup could not be restored as it was: {differs}, and the restore \
                     failed."
                ),
                detail: error.detail().map(str::to_owned),
            }),
            None => Stop::NotRestorable(error),
        })
    }
}

/// Whether a complaint is about a tool's setting that the older server does not know.
fn is_of_setting(complaint: &Complaint) -> bool {
    complaint.entry.is_none() && complaint.words.starts_with("unrecognized configuration parameter")
}

/// Whether an entry is data: rows, large objects, the value of a sequence.
fn is_data(entry: &Entry) -> bool {
    matches!(entry.kind.as_str(), "TABLE DATA" | "SEQUENCE SET") || entry.kind.starts_with("BLOB")
}

fn loss(entry: &Entry, words: Option<&str>) -> String {
    match words {
        Some(words) => format!("{}: {words}", entry.title()),
        None => format!("{} is missing", entry.title()),
    }
}

fn listed_losses(losses: &[String]) -> String {
    let mut text = losses.iter().take(LOSSES).map(String::as_str).collect::<Vec<_>>().join("; ");
    if losses.len() > LOSSES {
        let _ = write!(text, "; and {} more", human::grouped((losses.len() - LOSSES) as u64));
    }
    text.push('.');
    text
}

/// Restores the entries that were left for the final database.
pub(super) fn finish(
    server: &RestoreServer<'_>,
    job: &Job<'_>,
    database: &str,
    content: &mut Content,
) -> Result<()> {
    if content.left.is_empty() {
        return Ok(());
    }
    let beginning = job.source.beginning(server.cancel)?;
    let tool = server.tools().restore_tool(&beginning, Some(&server.version), server.cancel)?;
    let target = server.postgres.elsewhere(database);
    let pass = Pass {
        entries: &content.left,
        keep_owners: job.manner.is_some_and(|manner| manner.keep_owners),
        keep_tablespaces: false,
        is_one_transaction: false,
        has_data: true,
    };
    let mut reading = job.source.read(job.limit, server.cancel, server.progress);
    let Some(Ok(contents)) = toc::read(&mut Beginning::of(&mut reading))?.map(Contents::of) else {
        return Ok(());
    };
    let (complaints, _) = server.pass(job.source, job.limit, &tool, &target, &pass)?;
    // Entries created now are no longer exceptions.
    for id in &content.left {
        let Some(entry) = contents.entry(*id) else { continue };
        let prefix = format!("{}: ", entry.title());
        content.exceptions.retain(|told| !told.starts_with(&prefix));
        if let Some(words) = complaints.about(*id) {
            content.exceptions.push(format!("{prefix}{words}"));
        }
    }
    Ok(())
}
