//! Sending one backup: draft, size, read back, manifest, then its name, which never replaces another.

use crate::domain::destinations::fault::{Fault, FaultKind, Finishing};
use crate::domain::destinations::sftp::remote::{Entry, Flow, Remote};
use crate::domain::engines::Cancel;
use crate::domain::error::{Error, Result};
use crate::domain::repository::catalog::Catalog;
use crate::domain::repository::manifest;
use crate::domain::repository::manifest::Manifest;
use crate::model::{BackupName, Phase};
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use std::cell::Cell;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// What an unfinished file on the server begins with. The rest is the file's name, so that the next try
/// finds what a broken one left.
pub const DRAFT_PREFIX: &str = ".part-";

const BLOCK: usize = 256 * 1024;

/// Hears how a transfer is getting on: what it does, bytes done, bytes in all.
pub type Report<'r> = &'r dyn Fn(Phase, u64, u64);

/// How a backup is sent.
pub struct Job<'j> {
    /// Whether what was sent is read back and compared before it gets its name.
    pub read_back: bool,
    /// Ends it.
    pub cancel: &'j Cancel,
    /// Hears how it is getting on.
    pub report: Report<'j>,
    /// What earlier tries of the same job found out.
    pub learned: &'j Learned,
}

impl Job<'_> {
    /// Fails where somebody asked to stop.
    pub fn check_cancel(&self) -> Result<()> {
        if self.cancel.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }
}

/// What the tries of one job find out about the server, so that the next one need not meet it again.
#[derive(Default)]
pub struct Learned {
    /// It does not go on with a file that is there.
    pub no_resume: Cell<bool>,
    /// It falls silent or hangs up when it is asked to sync a file.
    pub no_sync: Cell<bool>,
    /// It gives no file another name, so a drop box gets them under their own at once.
    pub no_rename: Cell<bool>,
    /// A file was begun under its own name.
    pub begun: Cell<bool>,
    /// What it answered when it synced the whole draft.
    synced: Cell<Option<bool>>,
    /// How often it broke off where a draft was to be continued, before a byte of it was taken.
    stuck: Cell<u32>,
    /// Whether it took its time over finishing a file, in vain.
    late: Cell<bool>,
}

impl Learned {
    /// Whether to try again after `fault`. A server that took minutes over finishing a file gets one more try: each
    /// one reads what is there.
    pub fn is_worth_another(&self, fault: &Fault) -> bool {
        match fault.finishing {
            Some((Finishing::Syncing, _)) => !self.no_sync.replace(true),
            Some((_, true)) => !self.late.replace(true),
            _ => true,
        }
    }
}

/// What was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    /// Its size in bytes.
    pub size: u64,
    /// Whether it was read back from the server and was the same.
    pub verified: bool,
    /// Whether the server made it durable; nothing where it was there already.
    pub durable: Option<bool>,
    /// Bytes an earlier try had sent, which were compared and not sent again.
    pub resumed: u64,
    /// Whether an equal file was there already.
    pub already_there: bool,
    /// Whether it went to a write-only drop box, and whether that told the right size of it.
    pub dropped: Option<bool>,
}

impl Uploaded {
    /// What is worth knowing beside that it is there; nothing where all is as it should be.
    pub fn remark(&self, host: &str) -> Option<String> {
        let mut remarks = Vec::new();
        match (self.dropped, self.already_there) {
            (None, true) => remarks.push(format!("The same file was already on {host}.")),
            (Some(_), true) => remarks.push(format!("A file of this name and size was already on {host}.")),
            _ => {}
        }
        match self.dropped {
            None if self.verified => {}
            None => remarks.push("It was not read back.".to_owned()),
            Some(true) => remarks.push(format!("Sent, not read back: {host} is a write-only drop box. It tells the right size.")),
            Some(false) => remarks.push(format!("Sent, not read back: {host} is a write-only drop box, and does not tell the size of what it took.")),
        }
        if self.durable == Some(false) {
            remarks.push(format!("{host} does not say when what it keeps is safe on its disk."));
        }
        (!remarks.is_empty()).then(|| remarks.join(" "))
    }
}

/// A backup here, opened, with what it is known to be.
pub struct Local {
    name: BackupName,
    file: File,
    path: PathBuf,
    size: u64,
    sha256: String,
    manifest: Option<Vec<u8>>,
}

impl Local {
    /// Opens a listed backup. One that is not what its manifest says is refused; one without a manifest is
    /// read through once, to know what it is.
    pub fn open(catalog: &Catalog, name: &BackupName, path: PathBuf, cancel: &Cancel) -> Result<Self> {
        let file = catalog.open(name)?;
        let size = file.metadata().map_err(|error| Error::file("Reading", &path, error))?.len();
        let manifest = catalog.manifest_of(name).map(|(bytes, ..)| bytes);
        let mut local = Self { name: name.clone(), file, path, size, sha256: String::new(), manifest };
        if size == 0 {
            return Err(local.refused("it has no content"));
        }
        local.sha256 = match &local.manifest {
            None => local.hash(cancel)?,
            Some(bytes) => {
                let read = Manifest::read(bytes).filter(|manifest| manifest.file == *name);
                let read = read.filter(|_| bytes.len() as u64 <= manifest::MAX_SIZE);
                let manifest = read.ok_or_else(|| local.refused("its manifest cannot be read"))?;
                if manifest.payload_size != size {
                    return Err(local.refused("its size differs from its manifest"));
                }
                manifest.payload_sha256
            }
        };
        Ok(local)
    }

    /// Its name, here and there.
    pub fn name(&self) -> &BackupName {
        &self.name
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Its manifest, where it has one.
    pub fn manifest(&self) -> Option<&[u8]> {
        self.manifest.as_deref()
    }

    /// Its bytes from `from` on, piece by piece; `hash` is of those before. At the end it fails where they are not
    /// what the manifest says.
    pub fn source(
        &self,
        mut hash: Sha256,
        from: u64,
        cancel: &Cancel,
    ) -> impl FnMut(&mut [u8]) -> Result<usize> {
        let mut at = from;
        move |block| {
            if cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let read = self.read_at(block, at)?;
            hash.update(&block[..read]);
            at += read as u64;
            if read == 0 && (at != self.size || HEXLOWER.encode(&hash.clone().finalize()) != self.sha256) {
                return Err(self.refused("its content does not match its manifest"));
            }
            Ok(read)
        }
    }

    fn refused(&self, why: &str) -> Error {
        Error::Refused(format!("{} was not uploaded: {why}. Create a new backup.", self.name))
    }

    fn hash(&self, cancel: &Cancel) -> Result<String> {
        let (mut hash, mut at, mut block) = (Sha256::new(), 0, vec![0; BLOCK]);
        loop {
            if cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            match self.read_at(&mut block, at)? {
                0 => return Ok(HEXLOWER.encode(&hash.finalize())),
                read => {
                    hash.update(&block[..read]);
                    at += read as u64;
                }
            }
        }
    }

    fn read_at(&self, block: &mut [u8], at: u64) -> Result<usize> {
        loop {
            match self.file.read_at(block, at) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                other => return other.map_err(|error| Error::file("Reading", &self.path, error)),
            }
        }
    }
}

/// Sends `local` to `remote`, whose directory is made where it is missing. When this returns, the file has
/// its name there, whole, with its manifest beside it. Where the way there fails, a draft stays behind for
/// the next try; where anything else does, it is removed.
pub fn send(remote: &dyn Remote, local: &Local, job: &Job<'_>) -> Result<Uploaded> {
    remote.make_directory()?;
    if let Some(uploaded) = settled(remote, local, job.report)? {
        return Ok(uploaded);
    }
    let draft = format!("{DRAFT_PREFIX}{}", local.name);
    let sent = send_draft(remote, local, &draft, job);
    if let Err(error) = &sent
        && !is_passing(error)
    {
        // What will not get better is cleared away; where even that fails, the next try meets it again.
        let _ = remote.remove(&draft);
    }
    let Sent { durable, resumed, verified } = sent?;
    (job.report)(Phase::Publishing, local.size, local.size);
    let taken =
        publish_manifest(remote, local).and_then(|()| remote.rename_free(&draft, local.name.as_str()));
    match taken {
        Ok(true) => {}
        // Somebody else was quicker; what they put there is judged like what was there before.
        Ok(false) => {
            let settled = settled(remote, local, job.report)?;
            remote.remove(&draft)?;
            return settled.ok_or(Error::Lost);
        }
        Err(error) => {
            if !is_passing(&error) {
                let _ = remote.remove(&draft);
            }
            return Err(error);
        }
    }
    Ok(Uploaded {
        size: local.size,
        verified,
        durable: Some(durable),
        resumed,
        already_there: false,
        dropped: None,
    })
}

/// Whether the same may succeed a little later, or was to end.
pub(super) fn is_passing(error: &Error) -> bool {
    match error {
        Error::OffSite(fault) => fault.is_passing(),
        Error::Cancelled => true,
        _ => false,
    }
}

/// What there is to say where the name is taken already: an equal file is a success, any other an error.
fn settled(remote: &dyn Remote, local: &Local, report: Report<'_>) -> Result<Option<Uploaded>> {
    let name = local.name.as_str();
    match remote.stat(name)? {
        None => return Ok(None),
        Some(Entry::File(size)) if size == local.size => {
            if hash_of(remote, name, size, report)? != local.sha256 {
                return Err(differs(remote, name));
            }
        }
        Some(Entry::File(_)) => return Err(differs(remote, name)),
        Some(_) => return Err(taken(remote, name)),
    }
    publish_manifest(remote, local)?;
    Ok(Some(Uploaded {
        size: local.size,
        verified: true,
        durable: None,
        resumed: 0,
        already_there: true,
        dropped: None,
    }))
}

/// A draft that lies there whole.
struct Sent {
    /// Whether the server made it durable.
    durable: bool,
    /// How much of it was there before.
    resumed: u64,
    /// Whether it was read back.
    verified: bool,
}

/// Writes the draft and makes sure of it. Where the server does not go on with what is there, as object stores do
/// not, it is sent afresh.
fn send_draft(remote: &dyn Remote, local: &Local, draft: &str, job: &Job<'_>) -> Result<Sent> {
    let learned = job.learned;
    let (hash, from) = begun(remote, local, draft, job)?;
    if from == local.size
        && let Some(durable) = learned.synced.get()
    {
        // It was synced, and all of it was just read: to open it again would have some servers store it again.
        return Ok(Sent { durable, resumed: from, verified: true });
    }
    let there = Cell::new(from);
    let sent = write(remote, local, draft, (hash, from), job, &there).and_then(|durable| {
        learned.synced.set(Some(durable));
        compare(remote, local, draft, job).map(|()| durable)
    });
    if let Err(Error::OffSite(Fault { finishing: Some((Finishing::Closing { durable }, _)), .. })) = &sent
        && there.get() == local.size
    {
        // Only the word that it is closed is missing.
        learned.synced.set(Some(*durable));
    }
    let durable = match sent {
        Err(Error::OffSite(fault)) if from > 0 && refuses_to_go_on(&fault) => {
            tracing::warn!(name = %local.name, %fault, "the server does not resume an upload: it is sent afresh");
            learned.no_resume.set(true);
            clear(remote, draft)?;
            let durable = write(remote, local, draft, (Sha256::new(), 0), job, &there)?;
            compare(remote, local, draft, job)?;
            return Ok(Sent { durable, resumed: 0, verified: job.read_back });
        }
        Err(Error::OffSite(fault)) if from > 0 && fault.is_passing() && there.get() == from => {
            learned.stuck.set(learned.stuck.get() + 1);
            learned.no_resume.set(learned.stuck.get() > 1);
            return Err(fault.into());
        }
        sent => sent?,
    };
    Ok(Sent { durable, resumed: from, verified: job.read_back })
}

/// Whether a server that was to go on with a draft said no, or made something else of it.
fn refuses_to_go_on(fault: &Fault) -> bool {
    use FaultKind as K;
    matches!(fault.kind, K::Other | K::Permission | K::Taken | K::NoSuchPath | K::Differs)
}

/// What of the draft is there and right: its hash so far, and how much it is. Anything else is removed.
fn begun(remote: &dyn Remote, local: &Local, draft: &str, job: &Job<'_>) -> Result<(Sha256, u64)> {
    match remote.stat(draft)? {
        None => {}
        Some(Entry::File(there)) => {
            if !job.learned.no_resume.get()
                && let Some(hash) = same_beginning(remote, local, draft, there, job)?
            {
                return Ok((hash, there));
            }
            clear(remote, draft)?;
        }
        Some(_) => return Err(taken(remote, draft)),
    }
    Ok((Sha256::new(), 0))
}

/// Removes a draft. Where the server does not let it be removed, it is written over.
pub(super) fn clear(remote: &dyn Remote, draft: &str) -> Result<()> {
    match remote.remove(draft) {
        Err(error) if is_passing(&error) => Err(error),
        _ => Ok(()),
    }
}

/// Sends what is missing of the draft. Gives whether it is durable; `there` hears how much of it is there.
fn write(
    remote: &dyn Remote,
    local: &Local,
    draft: &str,
    (hash, from): (Sha256, u64),
    job: &Job<'_>,
    there: &Cell<u64>,
) -> Result<bool> {
    there.set(from);
    (job.report)(Phase::Sending, from, local.size);
    remote.put(draft, from, &mut local.source(hash, from, job.cancel), &mut |now| {
        there.set(now);
        (job.report)(Phase::Sending, now, local.size);
    })
}

/// Makes sure that the server has what was sent.
fn compare(remote: &dyn Remote, local: &Local, draft: &str, job: &Job<'_>) -> Result<()> {
    let Some(Entry::File(size)) = remote.stat(draft)? else { return Err(differs(remote, draft)) };
    if size != local.size || (job.read_back && hash_of(remote, draft, size, job.report)? != local.sha256) {
        return Err(not_what_was_sent(remote, local));
    }
    Ok(())
}

/// What the server has is not what was sent.
fn not_what_was_sent(remote: &dyn Remote, local: &Local) -> Error {
    let words = format!(
        "What {} gives back of {} is not what was sent, so it got no name there. The server's disk may be \
         failing; look at it, then try again.",
        remote.place(),
        local.name
    );
    Fault::new(FaultKind::Differs, words).into()
}

/// The hash so far, where the `there` bytes of a draft are what the file here begins with.
fn same_beginning(
    remote: &dyn Remote,
    local: &Local,
    draft: &str,
    there: u64,
    job: &Job<'_>,
) -> Result<Option<Sha256>> {
    if there == 0 || there > local.size {
        return Ok(None);
    }
    let (mut hash, mut at, mut same) = (Sha256::new(), 0, true);
    let mut own = Vec::new();
    remote.read(draft, &mut |block| {
        job.check_cancel()?;
        own.resize(block.len(), 0);
        let mut filled = 0;
        while filled < own.len() {
            match local.read_at(&mut own[filled..], at + filled as u64)? {
                0 => break,
                read => filled += read,
            }
        }
        same = own[..filled] == *block;
        hash.update(block);
        at += block.len() as u64;
        (job.report)(Phase::Comparing, at, there);
        Ok(if same { Flow::On } else { Flow::Enough })
    })?;
    Ok((same && at == there).then_some(hash))
}

fn hash_of(remote: &dyn Remote, name: &str, size: u64, report: Report<'_>) -> Result<String> {
    let (mut hash, mut read) = (Sha256::new(), 0);
    report(Phase::ReadingBack, 0, size);
    remote.read(name, &mut |block| {
        hash.update(block);
        read += block.len() as u64;
        report(Phase::ReadingBack, read.min(size), size);
        // A server that never ends would be read for ever.
        Ok(if read > size { Flow::Enough } else { Flow::On })
    })?;
    Ok(HEXLOWER.encode(&hash.finalize()))
}

fn publish_manifest(remote: &dyn Remote, local: &Local) -> Result<()> {
    let Some(manifest) = &local.manifest else { return Ok(()) };
    let name = local.name.manifest();
    for _ in 0..2 {
        match remote.stat(&name)? {
            Some(Entry::File(_)) if read_small(remote, &name)? == *manifest => return Ok(()),
            Some(Entry::File(_)) => return Err(differs(remote, &name)),
            Some(_) => return Err(taken(remote, &name)),
            None => {}
        }
        let draft = format!("{DRAFT_PREFIX}{name}");
        clear(remote, &draft)?;
        put_small(remote, &draft, manifest)?;
        if read_small(remote, &draft)? != *manifest {
            remote.remove(&draft)?;
            return Err(differs(remote, &draft));
        }
        if remote.rename_free(&draft, &name)? {
            return Ok(());
        }
        remote.remove(&draft)?;
    }
    Err(differs(remote, &name))
}

/// Writes a file of a few bytes.
pub(super) fn put_small(remote: &dyn Remote, name: &str, content: &[u8]) -> Result<bool> {
    let mut left = content;
    let mut source = |block: &mut [u8]| {
        let read = left.len().min(block.len());
        block[..read].copy_from_slice(&left[..read]);
        left = &left[read..];
        Ok(read)
    };
    remote.put(name, 0, &mut source, &mut |_| ())
}

/// A file no larger than a manifest may be; one byte more of a larger one.
pub fn read_small(remote: &dyn Remote, name: &str) -> Result<Vec<u8>> {
    let most = usize::try_from(manifest::MAX_SIZE).unwrap_or(usize::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    remote.read(name, &mut |block| {
        bytes.extend_from_slice(&block[..block.len().min(most - bytes.len())]);
        Ok(if bytes.len() < most { Flow::On } else { Flow::Enough })
    })?;
    Ok(bytes)
}

pub(super) fn differs(remote: &dyn Remote, name: &str) -> Error {
    let words = format!(
        "A different {name} already exists in {}. Both are kept; rename or remove the one there.",
        remote.place()
    );
    Fault::new(FaultKind::Differs, words).into()
}

pub(super) fn taken(remote: &dyn Remote, name: &str) -> Error {
    let words =
        format!("{name} in {} is not a file. Remove or rename it there, then try again.", remote.place());
    Fault::new(FaultKind::Taken, words).into()
}
