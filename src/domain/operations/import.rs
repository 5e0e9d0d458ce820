//! Import: turns uploaded files into listed backups. Receives them into drafts, recognises them by their bytes,
//! checks them completely, and publishes each under a free name.

mod beside;
pub mod limits;
mod pack;
mod refusals;
mod walk;

use crate::domain::audit::Noted;
use crate::domain::engines::{Engine, Engines};
use crate::domain::error::{Code, Error, Result};
use crate::domain::jobs::Unwatched;
use crate::domain::jobs::cancel::Cancel;
use crate::domain::operations::check::{Report, check_with};
use crate::domain::operations::context::Context;
use crate::domain::operations::import::limits::Limits;
use crate::domain::operations::verify::{describe, remember};
use crate::domain::repository::content::Source;
use crate::domain::repository::manifest;
use crate::domain::repository::manifest::Manifest;
use crate::domain::repository::publish::Draft;
use crate::model::audit::{Ending, Event};
use crate::model::outcome::printable;
use crate::model::{Added, BackupName, DatabaseName, FileState, Imported, Kept, human};
use beside::manifest_for;
use flate2::read::GzDecoder;
use pack::{BEGINNING, FromStart, sql_refusal};
use refusals::{damaged, invalid, too_much};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Write as _};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;
use walk::{Form, Walk, foreign, pour, too_many};

/// The most entries of one archive.
const ENTRIES: usize = 10_000;
/// The most files of one form: each stays open until all have been received.
const FILES: usize = 1000;
/// The most bytes of all manifests of one form: they are kept in memory.
const MANIFESTS: usize = 32 << 20;
/// How many names are tried for one backup.
const TAKES: u32 = 1000;

/// A running import: [`Importer::receive`] receives the files one by one, [`Importer::finish`] publishes the
/// backups in them. Dropping it before that deletes everything received.
pub struct Importer<'v> {
    context: &'v Context,
    cancel: Cancel,
    alarm: Alarm,
    received: u64,
    count: usize,
    uploads: Vec<Upload<'v>>,
    manifests: BTreeMap<String, Vec<u8>>,
    imported: Imported,
    /// Whether the audit log has the outcome.
    is_logged: bool,
}

/// A received file.
struct Upload<'v> {
    name: String,
    size: u64,
    draft: Draft<'v>,
}

/// What kind of file was uploaded.
enum Kind {
    Backup,
    Archive(Form),
    Empty,
    /// A plain SQL dump, with the error that refuses it.
    Sql(Error),
    Unknown,
}

/// Imports backups.
pub struct Imports {
    context: Context,
}

impl Imports {
    pub(in crate::domain) fn new(context: Context) -> Self {
        Self { context }
    }

    /// The limits on one import.
    pub fn limits(&self) -> Limits {
        self.context.import
    }

    /// Begins an import, and the time it may take.
    pub fn begin(&self, cancel: &Cancel) -> Importer<'_> {
        Importer {
            context: &self.context,
            cancel: cancel.clone(),
            alarm: Alarm::set(self.context.import.time, cancel),
            received: 0,
            count: 0,
            uploads: Vec::new(),
            manifests: BTreeMap::new(),
            imported: Imported::default(),
            is_logged: false,
        }
    }

    /// Imports one file.
    pub fn import(&self, file_name: &str, from: &mut dyn Read, cancel: &Cancel) -> Result<Imported> {
        let mut importer = self.begin(cancel);
        importer.receive(file_name, from)?;
        importer.finish()
    }
}

impl Drop for Importer<'_> {
    /// Logs an import that was abandoned.
    fn drop(&mut self) {
        if !self.is_logged {
            self.context.notes.note(
                Event::BackupImported,
                "Import",
                Ending::Cancelled,
                "The upload was interrupted.",
            );
        }
    }
}

impl Importer<'_> {
    /// Receives one file: a backup, its manifest, or an archive of backups. Does not look into the file yet. An error
    /// ends the whole import.
    pub fn receive(&mut self, file_name: &str, from: &mut dyn Read) -> Result<()> {
        let received = self.receive_one(file_name, from);
        if let Err(error) = &received {
            self.is_logged = true;
            self.context.notes.note_all(&[Noted::of(Event::BackupImported, file_name, error)]);
        }
        received
    }

    fn receive_one(&mut self, file_name: &str, from: &mut dyn Read) -> Result<()> {
        self.count += 1;
        if self.count > FILES {
            return Err(too_much(format!(
                "More than {FILES} files were selected. Import them in several parts, or as one archive."
            )));
        }
        if is_aside(file_name) {
            return self.take(from, |_| Ok(())).map(drop);
        }
        if file_name.ends_with(MANIFEST) {
            let mut bytes = Vec::new();
            self.take(from, |piece| {
                hold(&mut bytes, piece);
                Ok(())
            })?;
            return keep(&mut self.manifests, file_name.to_owned(), bytes);
        }
        let draft = self.context.directory.draft()?;
        let size = self.take(from, |piece| write(&draft, piece))?;
        self.uploads.push(Upload { name: file_name.to_owned(), size, draft });
        Ok(())
    }

    /// Checks the received files and publishes the good backups. Reports each of the others with the reason; one bad
    /// file does not stop the rest.
    pub fn finish(mut self) -> Result<Imported> {
        let finished = self.publish_all();
        self.is_logged = true;
        // Even if the import was stopped: backups published before that stay.
        let added = self.imported.added.iter().map(|added| {
            let detail = format!("{} bytes, from {}", added.size, added.from);
            Noted::new(Event::BackupImported, added.name.as_str(), Ending::Ok, detail)
        });
        let refused = self
            .imported
            .refused
            .iter()
            .map(|kept| Noted::new(Event::BackupImported, &*kept.name, Ending::Refused, &*kept.reason));
        let ended = finished.as_ref().err().map(|error| Noted::of(Event::BackupImported, "Import", error));
        self.context.notes.note_all(&added.chain(refused).chain(ended).collect::<Vec<_>>());
        finished.map(|()| std::mem::take(&mut self.imported))
    }

    fn publish_all(&mut self) -> Result<()> {
        let uploads = std::mem::take(&mut self.uploads);
        let sizes: Vec<_> = uploads.iter().map(|upload| upload.size).collect();
        let mut manifests = std::mem::take(&mut self.manifests);
        // Each upload is deleted after its turn, which makes room for the next.
        for upload in uploads {
            match self.publish_one(&upload, &sizes, &mut manifests) {
                Ok(()) => {}
                Err(Error::Cancelled) if self.alarm.rang() => {
                    let reason = self.too_long().to_string();
                    self.refuse(&upload.name, reason);
                }
                Err(Error::Cancelled) => return Err(Error::Cancelled),
                Err(error) => self.refuse(&upload.name, error.to_string()),
            }
        }
        for name in manifests.into_keys() {
            let reason = "This manifest was uploaded without its backup. Select both files together.";
            self.refuse(&name, reason.to_owned());
        }
        Ok(())
    }

    /// Reads an uploaded file to its end and passes each piece to `into`, within the limits.
    fn take(&mut self, from: &mut dyn Read, mut into: impl FnMut(&[u8]) -> Result<()>) -> Result<u64> {
        let most = self.context.import.upload;
        let (cancel, received) = (self.cancel.clone(), &mut self.received);
        let taken = pour(from, |piece| {
            if cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            *received += piece.len() as u64;
            if *received > most {
                return Err(too_much(format!(
                    "The upload is larger than the limit of {}, and nothing was imported. Import it in several \
                     parts, or raise the limit with --import-max.",
                    human::exact(most)
                )));
            }
            into(piece)
        });
        match taken {
            // Once the import is cancelled, any other error is a consequence.
            Err(_) if self.alarm.rang() => Err(self.too_long()),
            Err(_) if self.cancel.is_cancelled() => Err(Error::Cancelled),
            other => other,
        }
    }

    fn too_long(&self) -> Error {
        too_much(format!(
            "The import took longer than {} and was stopped. Only the files listed as imported were imported.",
            human::duration(u64::try_from(self.context.import.time.as_millis()).unwrap_or(u64::MAX))
        ))
    }

    fn publish_one(
        &mut self,
        upload: &Upload<'_>,
        sizes: &[u64],
        manifests: &mut BTreeMap<String, Vec<u8>>,
    ) -> Result<()> {
        match kind(&self.context.engines, upload)? {
            Kind::Empty => Err(invalid("The file is empty.")),
            Kind::Sql(error) => Err(error),
            Kind::Unknown => {
                let engines = &self.context.engines;
                let importable: Vec<_> = engines.all().map(Engine::importable).collect();
                Err(invalid(format!(
                    "The file is neither a backup nor an archive of backups: its first bytes are neither those of {} \
                     nor of gzip, zip or tar. Select a .dump.gz, {}, or a zip or tar.gz that Holdfast made.",
                    engines.contents(" nor "),
                    importable.join(", ")
                )))
            }
            Kind::Archive(form) => self.unpack(upload, form),
            Kind::Backup => {
                let beside = manifest_for(&self.context.engines, upload, sizes, manifests)?;
                self.import_one(&upload.draft, &upload.name, beside.as_deref())
            }
        }
    }

    /// Reads an archive twice: first to check all of it and to read its manifests, then to import one backup after
    /// the other, so that only one extra file exists at a time.
    fn unpack(&mut self, upload: &Upload<'_>, form: Form) -> Result<()> {
        let (path, cancel) = (upload.draft.path(), self.cancel.clone());
        let shown = printable(&upload.name);
        let walk = Walk {
            form,
            file: upload.draft.file(),
            path: &path,
            shown: &shown,
            most: self.context.import.upload,
            entries: ENTRIES,
            cancel: &cancel,
        };
        let (mut payloads, mut manifests) = (BTreeSet::new(), BTreeMap::new());
        let mut names = BTreeSet::new();
        walk.run(&mut |name, from| {
            if !names.insert(name.to_owned()) {
                return Err(invalid(format!("The archive has two entries named {}.", printable(name))));
            }
            if names.len() > ENTRIES {
                return Err(too_many(ENTRIES));
            }
            if let Ok(payload) = name.parse::<BackupName>() {
                payloads.insert(payload);
            } else if let Some(payload) = BackupName::of_manifest(name) {
                let mut bytes = Vec::new();
                pour(from, |piece| {
                    hold(&mut bytes, piece);
                    Ok(())
                })?;
                return keep(&mut manifests, payload.to_string(), bytes);
            } else if !is_aside(name) {
                let known = self.context.engines.all().find_map(|engine| engine.foreign_entry(name));
                return Err(known.map_or_else(|| foreign(&printable(name)), invalid));
            }
            pour(from, |_| Ok(())).map(drop)
        })?;
        if payloads.is_empty() {
            return Err(invalid("The archive contains no backup."));
        }
        walk.run(&mut |name, from| {
            let Ok(payload) = name.parse::<BackupName>() else { return pour(from, |_| Ok(())).map(drop) };
            let draft = self.context.directory.draft()?;
            pour(from, |piece| write(&draft, piece))?;
            self.import_one(&draft, name, manifests.remove(payload.as_str()).as_deref())
        })?;
        for name in manifests.into_keys() {
            let reason = "The archive contains this manifest, but not its backup.";
            self.refuse(&name, reason.to_owned());
        }
        Ok(())
    }

    /// Checks one backup, and publishes it if it is good or reports why it is not.
    fn import_one(&mut self, draft: &Draft<'_>, shown: &str, beside: Option<&[u8]>) -> Result<()> {
        match self.check_and_publish(draft, shown, beside) {
            Err(Error::Cancelled) => Err(Error::Cancelled),
            Err(error) => {
                self.refuse(shown, error.to_string());
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    fn check_and_publish(&mut self, draft: &Draft<'_>, came_as: &str, beside: Option<&[u8]>) -> Result<()> {
        let packed = self.pack(draft, beside)?;
        let mut own = came_as.parse::<BackupName>().ok();
        let (draft, beside) = match &packed {
            None => (draft, beside),
            Some(packed) => {
                // Programs that unpack a file often remove the .gz from its name.
                own = own.or_else(|| format!("{came_as}.gz").parse().ok());
                (&packed.draft, packed.manifest.as_deref())
            }
        };
        let shown = printable(came_as);
        let source = Source::of_upload(&shown, own.as_ref(), draft.file(), beside, "--import-max-content")?;
        let limit = Some(self.context.import.content);
        let report = check_with(self.context, &source, None, limit, &self.cancel, &Unwatched)?.0;
        let mut damage = report.damage.clone();
        // Archives use this checksum without reading the file again, so a wrong one would damage them.
        if let Some(manifest) = &source.manifest
            && manifest.payload_crc32 != report.crc32
        {
            damage.push(format!(
                "its CRC-32 is {}, but its manifest says {}",
                report.crc32,
                printable(&manifest.payload_crc32)
            ));
        }
        if !damage.is_empty() {
            return Err(damaged(format!("The backup is damaged: {}.", damage.join("; "))));
        }
        let name = self.publish(draft, came_as, own, source.manifest.as_ref().zip(beside), &report)?;
        if let Some(name) = name {
            tracing::info!(file = %name, size = report.size, "backup imported");
            let mut notes = Vec::new();
            if packed.is_some() {
                notes.push("The file was not compressed, so Holdfast compressed it.".to_owned());
                if source.manifest.is_some() {
                    notes.push("Its content matches its manifest.".to_owned());
                }
            }
            notes.extend(report.notes);
            self.imported.added.push(Added { name, size: report.size, from: came_as.to_owned(), notes });
        }
        Ok(())
    }

    /// Publishes a checked backup under its own name, or under the next free one. `None` if the same backup is already
    /// listed.
    fn publish(
        &mut self,
        draft: &Draft<'_>,
        came_as: &str,
        own: Option<BackupName>,
        described: Option<(&Manifest, &[u8])>,
        report: &Report,
    ) -> Result<Option<BackupName>> {
        let engines = &self.context.engines;
        let engine = report.engine.as_ref().and_then(|kind| engines.get(kind));
        let engine = engine.ok_or_else(|| {
            Error::refusal(Code::Unsupported, "This Holdfast does not know the engine of this backup.")
        })?;
        let said = described.map(|(manifest, _)| manifest);
        let own = own.or_else(|| said.map(|manifest| manifest.file.clone()));
        let database = said
            .map(|manifest| manifest.database.clone())
            .or_else(|| own.as_ref()?.database())
            .unwrap_or_else(|| DatabaseName::after(stem(came_as)));
        let created = own.as_ref().and_then(BackupName::created).unwrap_or_else(|| self.context.now());
        let first = own.unwrap_or_else(|| BackupName::new(&database, created, 1));
        for take in 1..=TAKES {
            let name = if take == 1 { first.clone() } else { first.another(take) };
            if self.is_here(&name, report) {
                self.imported.here.push(name);
                return Ok(None);
            }
            let bytes = match described {
                Some((manifest, bytes)) if manifest.file == name => bytes.to_vec(),
                Some((manifest, _)) => Manifest { file: name.clone(), ..manifest.clone() }.to_bytes(),
                None => {
                    describe(&name, database.clone(), created, engine, report, manifest::IMPORTED).to_bytes()
                }
            };
            if draft.publish_as(&name, Some(&bytes))? {
                let kept = Source::open(self.context.backup_dir(), name.as_str())
                    .and_then(|source| remember(self.context, &source, report));
                if let Err(error) = kept {
                    tracing::warn!(%error, file = %name, "the verification of an imported backup was not stored");
                }
                return Ok(Some(name));
            }
        }
        Err(Error::refusal(
            Code::NameTaken,
            "Every name for this backup is taken. Rename the file, and import it again.",
        ))
    }

    /// Whether a backup with the same bytes is listed under that name, judging by its manifest alone.
    fn is_here(&self, name: &BackupName, report: &Report) -> bool {
        self.context.catalog.get(name).is_ok_and(|backup| {
            backup.state == FileState::Whole && backup.sha256.as_deref() == Some(&*report.sha256)
        })
    }

    fn refuse(&mut self, name: &str, reason: String) {
        tracing::warn!(file = printable(name), reason, "a file was not imported");
        self.imported.refused.push(Kept { name: name.to_owned(), reason });
    }
}

/// The suffix of manifest names.
const MANIFEST: &str = ".manifest.json";

/// Whether the file is one that Holdfast puts beside backups, and that an import does not need.
fn is_aside(name: &str) -> bool {
    matches!(name, "SHA256SUMS" | "MISSING.txt") || BackupName::of_verdict(name).is_some()
}

/// Recognises a file by its first bytes; its name may be wrong.
fn kind(engines: &Engines, upload: &Upload<'_>) -> Result<Kind> {
    if upload.size == 0 {
        return Ok(Kind::Empty);
    }
    let file = upload.draft.file();
    let mut bytes = [0; BEGINNING];
    let read =
        file.read_at(&mut bytes, 0).map_err(|error| Error::file("Reading", &upload.draft.path(), error))?;
    let bytes = &bytes[..read];
    if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06") {
        return Ok(Kind::Archive(Form::Zip));
    }
    if is_tar(bytes) {
        return Ok(Kind::Archive(Form::Tar));
    }
    if engines.recognise(bytes).is_some() {
        return Ok(Kind::Backup);
    }
    if !bytes.starts_with(&[0x1F, 0x8B]) {
        return Ok(sql_refusal(engines, bytes).map_or(Kind::Unknown, Kind::Sql));
    }
    let content = beginning_of_gzip(file);
    if let Some(error) = sql_refusal(engines, &content) {
        return Ok(Kind::Sql(error));
    }
    Ok(if engines.recognise(&content).is_none() && is_tar(&content) {
        Kind::Archive(Form::TarGz)
    } else {
        Kind::Backup
    })
}

fn is_tar(bytes: &[u8]) -> bool {
    bytes.get(257..).is_some_and(|rest| rest.starts_with(b"ustar"))
}

/// The first unpacked bytes, as many as can be read: the complete check finds any damage.
fn beginning_of_gzip(file: &File) -> Vec<u8> {
    let mut content = Vec::new();
    let _ = GzDecoder::new(FromStart::of(file)).take(BEGINNING as u64).read_to_end(&mut content);
    content
}

/// A file's name up to its first dot.
fn stem(name: &str) -> &str {
    let name = name.rsplit(['/', '\\']).next().unwrap_or(name);
    name.split('.').find(|part| !part.is_empty()).unwrap_or("database")
}

/// Appends a piece of a manifest. Keeps one byte more than the limit, which shows that the manifest is too large.
fn hold(bytes: &mut Vec<u8>, piece: &[u8]) {
    let room = usize::try_from(manifest::MAX_SIZE + 1).unwrap_or(usize::MAX) - bytes.len();
    bytes.extend_from_slice(&piece[..piece.len().min(room)]);
}

fn keep(manifests: &mut BTreeMap<String, Vec<u8>>, name: String, bytes: Vec<u8>) -> Result<()> {
    let held: usize = manifests.values().map(Vec::len).sum::<usize>() + bytes.len();
    if held > MANIFESTS {
        return Err(too_much("The manifests are too large in total. Import them in several parts."));
    }
    manifests.insert(name, bytes);
    Ok(())
}

fn write(draft: &Draft<'_>, piece: &[u8]) -> Result<()> {
    let mut file = draft.file();
    file.write_all(piece).map_err(|error| Error::file("Writing", &draft.path(), error))
}

/// Cancels an import that takes too long. Dropping it switches it off.
struct Alarm {
    rang: Arc<AtomicBool>,
    _off: Sender<()>,
}

impl Alarm {
    fn set(after: Duration, cancel: &Cancel) -> Self {
        let rang = Arc::new(AtomicBool::new(false));
        let (off, waiting) = channel::<()>();
        let (bell, cancel) = (Arc::clone(&rang), cancel.clone());
        let ringing = thread::Builder::new().name("import-alarm".to_owned()).spawn(move || {
            if waiting.recv_timeout(after) == Err(RecvTimeoutError::Timeout) {
                bell.store(true, Ordering::SeqCst);
                cancel.cancel();
            }
        });
        if let Err(error) = ringing {
            tracing::warn!(%error, "the import runs without a time limit");
        }
        Self { rang, _off: off }
    }

    fn rang(&self) -> bool {
        self.rang.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::operations::import::*;

    #[test]
    fn a_name_is_made_of_what_stands_before_the_first_dot() {
        for (name, made) in [
            ("monday.dump.gz", "monday"),
            ("C:\\backups\\Shop 1.gz", "shop-1"),
            (".dump.gz", "dump"),
            ("...", "database"),
            ("", "database"),
        ] {
            assert_eq!(DatabaseName::after(stem(name)).as_str(), made, "{name}");
        }
    }

    #[test]
    fn an_alarm_cancels_unless_it_is_switched_off() {
        let (early, late) = (Cancel::default(), Cancel::default());
        let switched_off = Alarm::set(Duration::from_millis(50), &late);
        drop(switched_off);
        let alarm = Alarm::set(Duration::from_millis(50), &early);
        thread::sleep(Duration::from_millis(300));
        assert!(alarm.rang() && early.is_cancelled() && !late.is_cancelled());
    }
}
