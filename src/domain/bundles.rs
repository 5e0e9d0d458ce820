//! Downloads of many backups as one archive: which backups are included, the archive's address, and the
//! archive itself.
//!
//! No archive file is ever written. Its bytes are computed from the files ([`layout`]), so its length is
//! known at once, an interrupted download can be resumed, and nothing is buffered in memory or on disk.

pub mod gzip;
pub mod layout;
pub mod member;
pub mod tar;
pub mod zip;

use crate::domain::bundles::layout::{Files, Plan};
use crate::domain::bundles::member::{Content, Member};
use crate::domain::error::{Code, Error, Result};
use crate::domain::jobs::Clock;
use crate::domain::random;
use crate::domain::repository::Repository;
use crate::domain::repository::catalog::{Catalog, Identity, OpenFile};
use crate::domain::repository::digests::{Digests, Pass, Sums};
use crate::domain::repository::download::Download;
use crate::domain::repository::manifest::Manifest;
use crate::domain::state::Store;
use crate::domain::state::archives::{self, Address, Contents};
use crate::model::{ArchiveFormat, BackupName, Bundled, Stamp};
use data_encoding::HEXLOWER;
use rustix::process::{Resource, getrlimit};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long an archive's address works, in seconds.
pub const LIFE: u64 = 24 * 60 * 60;

/// The most names in one selection.
pub const NAMES_MAX: usize = 100_000;

/// How many files one download keeps open. Further files are opened and checked when they are read: if one
/// was deleted in the meantime, the download ends.
const HELD_MAX: usize = 256;

/// How many files all archive downloads may keep open together, at least; a quarter of the program's limit,
/// if that is more.
const HELD_BY_ALL: u64 = 512;

/// How many characters of a left-out name are stored and shown.
const SHOWN_MAX: usize = 300;

/// The archives that were requested.
pub struct Bundles {
    catalog: Arc<Catalog>,
    store: Store,
    digests: Arc<Digests>,
    clock: Clock,
    descriptors: Arc<Semaphore>,
}

/// An archive that is being downloaded.
pub struct OpenBundle {
    plan: Plan,
    payloads: Payloads,
    modified: Stamp,
}

/// A backup in an archive, as it was when the archive was requested.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Entry {
    name: BackupName,
    identity: Identity,
}

/// A name that was left out, and why.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Left {
    name: String,
    reason: String,
}

/// A backup and its data.
struct Found {
    name: BackupName,
    file: OpenFile,
    sums: Sums,
    /// Its manifest's bytes.
    manifest: Option<(Vec<u8>, Stamp)>,
}

impl Bundles {
    /// Over the files of `catalog`; requested archives are stored in `store`.
    pub fn new(repository: Repository, store: Store, clock: Clock) -> Self {
        let Repository { catalog, digests, .. } = repository;
        let held = getrlimit(Resource::Nofile).current.map_or(HELD_BY_ALL, |most| HELD_BY_ALL.max(most / 4));
        let held = usize::try_from(held).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self { catalog, store, digests, clock, descriptors: Arc::new(Semaphore::new(held)) }
    }

    /// Creates an archive of these files, with an address for `account` that works for [`LIFE`]. Names that
    /// do not exist are left out and reported; if no name remains, there is no archive. A file without a
    /// manifest is read completely the first time, for its checksums.
    pub fn make(&self, account: i64, names: Vec<String>, format: ArchiveFormat) -> Result<Bundled> {
        let names: BTreeSet<String> = names.into_iter().collect();
        if names.len() > NAMES_MAX {
            return Err(Error::refusal(
                Code::LimitReached,
                format!(
                    "One archive holds at most {NAMES_MAX} backups, and {} are selected. Select fewer.",
                    names.len()
                ),
            ));
        }
        let mut pass = self.digests.pass();
        let (mut entries, mut members, mut left) = (Vec::new(), Members::default(), Vec::new());
        for name in names {
            match self.find(&name, &mut pass) {
                Ok(found) => {
                    entries.push(Entry { name: found.name.clone(), identity: found.file.identity() });
                    members.add(&found);
                }
                Err(reason) => left.push(Left { name: shown(&name), reason }),
            }
        }
        drop(pass);
        let mut bundled = Bundled { address: None, files: entries.len(), size: 0, missing: Vec::new() };
        if !entries.is_empty() {
            bundled.size = members.plan(format, &left)?.size();
            let id = self.keep(account, format, &entries, &left)?;
            bundled.address = Some(format!("/archives/{id}/{}", format.file_name()));
        }
        bundled.missing = left.into_iter().map(|left| left.name).collect();
        Ok(bundled)
    }

    /// Opens an archive of `account` for download: checks every file, and fails naming the first one that is
    /// gone or changed.
    pub fn open(&self, account: i64, id: &str, format: ArchiveFormat) -> Result<OpenBundle> {
        let (entries, left) = self.recall(account, id, format)?.ok_or(Error::NoArchive)?;
        // At most half of the free descriptors, so that a few large archives leave some for small ones.
        let held = entries.len().min(HELD_MAX).min(self.descriptors.available_permits() / 2);
        let held = u32::try_from(held).unwrap_or(0);
        // If another download took them in between, all files are opened when they are read.
        let permit = Arc::clone(&self.descriptors).try_acquire_many_owned(held).ok();
        let held = permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let mut pass = self.digests.pass();
        let mut members = Members::default();
        let mut files = Vec::with_capacity(entries.len());
        for entry in entries {
            let found = self.look_at(entry.name, &mut pass).map_err(|error| match error {
                Error::NoBackup(name) => Error::Changed(name),
                other => other,
            })?;
            if found.file.identity() != entry.identity {
                return Err(Error::Changed(found.name));
            }
            members.add(&found);
            let held = (files.len() < held).then_some(found.file);
            files.push(Payload { name: found.name, identity: entry.identity, held });
        }
        let modified = members.newest;
        let plan = members.plan(format, &left)?;
        let payloads = Payloads { catalog: Arc::clone(&self.catalog), files, _permit: permit };
        Ok(OpenBundle { plan, payloads, modified })
    }

    /// The backup of that name, or why there is none.
    fn find(&self, name: &str, pass: &mut Pass<'_>) -> Result<Found, String> {
        let name: BackupName = name.parse().map_err(|error: crate::model::InvalidName| error.to_string())?;
        self.look_at(name, pass).map_err(|error| match error {
            Error::NoBackup(_) => "there is no such backup".to_owned(),
            other => {
                tracing::warn!(error = %other, "a backup was left out of an archive");
                other.to_string()
            }
        })
    }

    fn look_at(&self, name: BackupName, pass: &mut Pass<'_>) -> Result<Found> {
        let file = self.catalog.open_listed(&name)?;
        let beside = self.catalog.manifest_of(&name);
        let said = beside.as_ref().and_then(|(_, _, manifest)| manifest.as_ref());
        let sums = match said.and_then(|manifest| sums_in(manifest, file.identity().size)) {
            Some(sums) => sums,
            None => pass.sums(&name, &file)?,
        };
        let manifest = beside.map(|(bytes, modified, _)| (bytes, modified));
        Ok(Found { name, file, sums, manifest })
    }

    fn keep(&self, account: i64, format: ArchiveFormat, entries: &[Entry], left: &[Left]) -> Result<String> {
        // 128 random bits: the address cannot be guessed.
        let id = random::hex::<16>()?;
        let contents = Contents { entries: json(entries)?, missing: json(left)? };
        let now = (self.clock)();
        let address = Address { id: &id, account, format: format.key() };
        archives::keep(&self.store, address, &contents, now, expired(now))?;
        Ok(id)
    }

    fn recall(
        &self,
        account: i64,
        id: &str,
        format: ArchiveFormat,
    ) -> Result<Option<(Vec<Entry>, Vec<Left>)>> {
        let address = Address { id, account, format: format.key() };
        let found = archives::find(&self.store, address, expired((self.clock)()))?;
        // A record of another version that cannot be read counts as expired.
        Ok(found.and_then(|Contents { entries, missing }| {
            Some((serde_json::from_str(&entries).ok()?, serde_json::from_str(&missing).ok()?))
        }))
    }
}

impl Download for OpenBundle {
    fn size(&self) -> u64 {
        self.plan.size()
    }

    fn mark(&self) -> &str {
        self.plan.etag()
    }

    fn modified(&self) -> Stamp {
        self.modified
    }

    /// Removing a manifest does not change the newest backup's time.
    fn is_told_by_time(&self) -> bool {
        false
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.plan.read_exact_at(offset, buf, &self.payloads)
    }
}

struct Payloads {
    catalog: Arc<Catalog>,
    files: Vec<Payload>,
    _permit: Option<OwnedSemaphorePermit>,
}

struct Payload {
    name: BackupName,
    identity: Identity,
    held: Option<OpenFile>,
}

impl Files for Payloads {
    fn read_exact_at(&self, file: usize, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let payload = self.files.get(file).ok_or(io::ErrorKind::NotFound)?;
        if let Some(held) = &payload.held {
            return held.read_exact_at(offset, buf);
        }
        let opened = self.catalog.open_listed(&payload.name).map_err(io::Error::other)?;
        if opened.identity() != payload.identity {
            return Err(io::Error::other(Error::Changed(payload.name.clone())));
        }
        opened.read_exact_at(offset, buf)
    }
}

/// The members of an archive while they are collected.
struct Members {
    list: Vec<Member>,
    sums: String,
    files: usize,
    newest: Stamp,
}

impl Default for Members {
    fn default() -> Self {
        Self { list: Vec::new(), sums: String::new(), files: 0, newest: Stamp::from_millis(0) }
    }
}

impl Members {
    /// Adds a backup, with its manifest right after it.
    fn add(&mut self, found: &Found) {
        let identity = found.file.identity();
        self.newest = self.newest.max(identity.modified());
        self.sum(&found.sums.sha256, found.name.as_str());
        self.list.push(Member {
            name: found.name.to_string(),
            modified: identity.modified(),
            size: identity.size,
            crc32: found.sums.crc32,
            content: Content::File(self.files),
        });
        self.files += 1;
        if let Some((bytes, modified)) = &found.manifest {
            let name = found.name.manifest();
            self.sum(&sha256(bytes), &name);
            self.list.push(Member::of_bytes(name, *modified, bytes.clone()));
        }
    }

    /// A line as written by `sha256sum`.
    fn sum(&mut self, sha256: &str, name: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.sums, "{sha256}  {name}");
    }

    fn plan(mut self, format: ArchiveFormat, left: &[Left]) -> Result<Plan> {
        let sums = Member::of_bytes("SHA256SUMS".to_owned(), self.newest, self.sums.into_bytes());
        self.list.push(sums);
        if !left.is_empty() {
            let told = left.iter().fold(String::new(), |mut told, left| {
                // Writing to a string cannot fail.
                let _ = writeln!(told, "{}: {}", left.name, left.reason);
                told
            });
            self.list.push(Member::of_bytes("MISSING.txt".to_owned(), self.newest, told.into_bytes()));
        }
        Plan::new(format, self.list).ok_or_else(|| {
            Error::refusal(
                Code::LimitReached,
                "Together these files are too large for one archive. Select fewer.",
            )
        })
    }
}

/// The checksums in a manifest, if it describes a file of that size and is valid.
fn sums_in(manifest: &Manifest, size: u64) -> Option<Sums> {
    let lower_hex = |text: &str, length| {
        text.len() == length && text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'))
    };
    let well = manifest.payload_size == size
        && lower_hex(&manifest.payload_crc32, 8)
        && lower_hex(&manifest.payload_sha256, 64);
    let crc32 = u32::from_str_radix(&manifest.payload_crc32, 16).ok()?;
    well.then(|| Sums { crc32, sha256: manifest.payload_sha256.clone() })
}

/// A name for a list with one name per line: without line breaks and without right-to-left overrides.
fn shown(name: &str) -> String {
    if name.is_empty() {
        return "(no name)".to_owned();
    }
    let escaped: String = name.chars().take(SHOWN_MAX).flat_map(as_shown).collect();
    if name.chars().nth(SHOWN_MAX).is_some() { format!("{escaped}…") } else { escaped }
}

fn as_shown(c: char) -> Box<dyn Iterator<Item = char>> {
    if matches!(c, '\'' | '"' | '\\') { Box::new(std::iter::once(c)) } else { Box::new(c.escape_debug()) }
}

fn sha256(bytes: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(bytes))
}

fn json<T: Serialize + ?Sized>(value: &T) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|error| Error::refusal(Code::Internal, format!("The selection cannot be stored: {error}.")))
}

/// Archives created at this time or before have expired.
fn expired(now: Stamp) -> Stamp {
    Stamp::from_millis(now.millis() - i64::try_from(LIFE * 1000).unwrap_or(i64::MAX))
}
