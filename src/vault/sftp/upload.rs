//! Sending one backup: draft, size, read back, manifest, then its name, which never replaces another.

use super::fault::{Fault, FaultKind};
use super::remote::{Entry, Flow, Remote};
use crate::model::{BackupName, Phase};
use crate::vault::catalog::Catalog;
use crate::vault::dump::Cancel;
use crate::vault::error::{Result, VaultError};
use crate::vault::manifest::{self, Manifest};
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// What an unfinished file on the server begins with. The rest is the file's name, so that the next try
/// finds what a broken one left.
pub const DRAFT_PREFIX: &str = ".part-";

const BLOCK: usize = 256 * 1024;

/// Hears how a transfer is getting on: what it does, bytes done, bytes in all.
pub type Report<'r> = &'r dyn Fn(Phase, u64, u64);

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
}

impl Uploaded {
    /// What is worth knowing beside that it is there; nothing where all is as it should be.
    pub fn remark(&self, host: &str) -> Option<String> {
        let mut remarks = Vec::new();
        if self.already_there {
            remarks.push(format!("The same file was on {host} already."));
        }
        if !self.verified {
            remarks.push("It was not read back.".to_owned());
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
        let size = file.metadata().map_err(|error| VaultError::file("Reading", &path, error))?.len();
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
                    return Err(local.refused("its size is not the one in its manifest"));
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

    fn refused(&self, why: &str) -> VaultError {
        VaultError::Refused(format!(
            "{} is not sent: {why}. A copy of it would be no backup; make a new one.",
            self.name
        ))
    }

    fn hash(&self, cancel: &Cancel) -> Result<String> {
        let (mut hash, mut at, mut block) = (Sha256::new(), 0, vec![0; BLOCK]);
        loop {
            if cancel.is_cancelled() {
                return Err(VaultError::Cancelled);
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
                other => return other.map_err(|error| VaultError::file("Reading", &self.path, error)),
            }
        }
    }
}

/// Sends `local` to `remote`, whose directory is made where it is missing. When this returns, the file has
/// its name there, whole, with its manifest beside it. Where the way there fails, a draft stays behind for
/// the next try; where anything else does, it is removed.
pub fn send(
    remote: &dyn Remote,
    local: &Local,
    read_back: bool,
    cancel: &Cancel,
    report: Report<'_>,
) -> Result<Uploaded> {
    remote.make_directory()?;
    if let Some(uploaded) = settled(remote, local, report)? {
        return Ok(uploaded);
    }
    let draft = format!("{DRAFT_PREFIX}{}", local.name);
    let sent = send_draft(remote, local, &draft, read_back, cancel, report);
    if let Err(error) = &sent
        && !is_passing(error)
    {
        // What will not get better is cleared away; where even that fails, the next try meets it again.
        let _ = remote.remove(&draft);
    }
    let (durable, resumed) = sent?;
    report(Phase::Publishing, local.size, local.size);
    let taken =
        publish_manifest(remote, local).and_then(|()| remote.rename_free(&draft, local.name.as_str()));
    match taken {
        Ok(true) => {}
        // Somebody else was quicker; what they put there is judged like what was there before.
        Ok(false) => {
            let settled = settled(remote, local, report)?;
            remote.remove(&draft)?;
            return settled.ok_or(VaultError::Lost);
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
        verified: read_back,
        durable: Some(durable),
        resumed,
        already_there: false,
    })
}

fn is_passing(error: &VaultError) -> bool {
    match error {
        VaultError::OffSite(fault) => fault.is_passing(),
        VaultError::Cancelled => true,
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
    Ok(Some(Uploaded { size: local.size, verified: true, durable: None, resumed: 0, already_there: true }))
}

/// Writes the draft and makes sure of it. Gives whether it is durable, and how much of it was there before.
fn send_draft(
    remote: &dyn Remote,
    local: &Local,
    draft: &str,
    read_back: bool,
    cancel: &Cancel,
    report: Report<'_>,
) -> Result<(bool, u64)> {
    let mut hash = Sha256::new();
    let mut from = 0;
    match remote.stat(draft)? {
        None => {}
        Some(Entry::File(there)) => {
            if let Some(begun) = same_beginning(remote, local, draft, there, cancel, report)? {
                (hash, from) = (begun, there);
            } else {
                remote.remove(draft)?;
            }
        }
        Some(_) => return Err(taken(remote, draft)),
    }
    let mut at = from;
    report(Phase::Sending, at, local.size);
    let mut source = |block: &mut [u8]| {
        if cancel.is_cancelled() {
            return Err(VaultError::Cancelled);
        }
        let read = local.read_at(block, at)?;
        hash.update(&block[..read]);
        at += read as u64;
        if read == 0 && (at != local.size || HEXLOWER.encode(&hash.clone().finalize()) != local.sha256) {
            return Err(local.refused("its content is not what its manifest says"));
        }
        Ok(read)
    };
    let durable =
        remote.put(draft, from, &mut source, &mut |there| report(Phase::Sending, there, local.size))?;
    let Some(Entry::File(size)) = remote.stat(draft)? else { return Err(differs(remote, draft)) };
    if size != local.size || (read_back && hash_of(remote, draft, size, report)? != local.sha256) {
        let words = format!(
            "What {} gives back of {} is not what was sent, so it got no name there. The server's disk may be \
             failing; look at it, then try again.",
            remote.place(),
            local.name
        );
        return Err(Fault::new(FaultKind::Differs, words).into());
    }
    Ok((durable, from))
}

/// The hash so far, where the `there` bytes of a draft are what the file here begins with.
fn same_beginning(
    remote: &dyn Remote,
    local: &Local,
    draft: &str,
    there: u64,
    cancel: &Cancel,
    report: Report<'_>,
) -> Result<Option<Sha256>> {
    if there == 0 || there > local.size {
        return Ok(None);
    }
    let (mut hash, mut at, mut same) = (Sha256::new(), 0, true);
    let mut own = Vec::new();
    remote.read(draft, &mut |block| {
        if cancel.is_cancelled() {
            return Err(VaultError::Cancelled);
        }
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
        report(Phase::Comparing, at, there);
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
        remote.remove(&draft)?;
        let mut left = manifest.as_slice();
        let mut source = |block: &mut [u8]| {
            let read = left.len().min(block.len());
            block[..read].copy_from_slice(&left[..read]);
            left = &left[read..];
            Ok(read)
        };
        remote.put(&draft, 0, &mut source, &mut |_| ())?;
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

fn differs(remote: &dyn Remote, name: &str) -> VaultError {
    let words = format!(
        "There is another {name} in {} already, with other content. Both are kept; rename or remove the one there.",
        remote.place()
    );
    Fault::new(FaultKind::Differs, words).into()
}

fn taken(remote: &dyn Remote, name: &str) -> VaultError {
    let words =
        format!("{name} in {} is no file. Remove or rename it there, then try again.", remote.place());
    Fault::new(FaultKind::Taken, words).into()
}
