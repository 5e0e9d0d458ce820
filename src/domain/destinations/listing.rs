//! Compares the copies at a destination with the local backups; fetches, verifies and deletes a copy.

use crate::domain::destinations::attempt::ReportProgress;
use crate::domain::destinations::destination::{DRAFT_PREFIX, Destination, Flow, Found};
use crate::domain::destinations::fault::{Fault, FaultKind};
use crate::domain::destinations::transfer::read_small;
use crate::domain::engines::Cancel;
use crate::domain::error::{Code, Error, Result};
use crate::domain::repository::directory::BackupDir;
use crate::domain::repository::manifest::Manifest;
use crate::model::copies::WRITE_ONLY;
use crate::model::{Backup, BackupName, Phase, RemoteBackup, Whereabouts};
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

/// A copy that was read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Its size in bytes.
    pub size: u64,
    /// Whether it was checked against a manifest.
    pub checked: bool,
}

/// Every backup that is local or at the destination, by name.
pub fn compare(there: &dyn Destination, here: &[Backup]) -> Result<Vec<RemoteBackup>> {
    let listed = there.list()?;
    let names: BTreeSet<&str> = listed.iter().map(|file| file.name.as_str()).collect();
    let mut found: BTreeMap<BackupName, RemoteBackup> = here
        .iter()
        .map(|backup| {
            let name = backup.name.clone();
            let only_here = RemoteBackup {
                name: name.clone(),
                place: Whereabouts::Here,
                local_size: Some(backup.size),
                remote_size: None,
                remote_modified: None,
                remote_manifest: false,
            };
            (name, only_here)
        })
        .collect();
    for file in &listed {
        let Ok(name) = file.name.parse::<BackupName>() else { continue };
        let remote_manifest = names.contains(name.manifest().as_str());
        let local_size = found.get(&name).and_then(|backup| backup.local_size);
        let place = match local_size {
            None => Whereabouts::There,
            Some(size) if size == file.size => Whereabouts::Both,
            Some(_) => Whereabouts::Differs,
        };
        let backup = RemoteBackup {
            name: name.clone(),
            place,
            local_size,
            remote_size: Some(file.size),
            remote_modified: file.modified,
            remote_manifest,
        };
        found.insert(name, backup);
    }
    Ok(found.into_values().collect())
}

/// Fetches a copy into the backup directory under its own name, checked against its manifest. Leaves nothing
/// behind on failure.
pub fn fetch(
    there: &dyn Destination,
    dir: &BackupDir,
    name: &BackupName,
    cancel: &Cancel,
    report: ReportProgress<'_>,
) -> Result<Fetched> {
    let copy = find(there, name)?;
    let draft = dir.draft()?;
    receive(there, name, &copy, cancel, &|read| report(Phase::Receiving, read, copy.size), &mut |block| {
        draft.file().write_all(block).map_err(|error| Error::file("Writing", &draft.path(), error))
    })?;
    report(Phase::Publishing, copy.size, copy.size);
    if !draft.publish_as(name, copy.sidecar.as_deref())? {
        return Err(Error::refusal(
            Code::NameTaken,
            format!("{name} already exists here. Delete it first to fetch the copy."),
        ));
    }
    Ok(Fetched { size: copy.size, checked: copy.manifest.is_some() })
}

/// Reads a copy at the destination and compares it with its manifest; fetches nothing.
pub fn verify(
    there: &dyn Destination,
    name: &BackupName,
    cancel: &Cancel,
    report: ReportProgress<'_>,
) -> Result<Fetched> {
    let copy = find(there, name)?;
    receive(
        there,
        name,
        &copy,
        cancel,
        &|read| report(Phase::ReadingBack, read, copy.size),
        &mut |_| Ok(()),
    )?;
    Ok(Fetched { size: copy.size, checked: copy.manifest.is_some() })
}

/// An existing copy, with its manifest.
struct Copy {
    size: u64,
    /// The manifest's bytes, if there is one.
    sidecar: Option<Vec<u8>>,
    manifest: Option<Manifest>,
}

fn find(there: &dyn Destination, name: &BackupName) -> Result<Copy> {
    let Some(Found::File(size)) = there.stat(name.as_str())? else { return Err(missing(there, name)) };
    let sidecar = match there.stat(&name.manifest())? {
        Some(Found::File(_)) => Some(read_small(there, &name.manifest())?),
        _ => None,
    };
    let manifest = match &sidecar {
        None => None,
        Some(bytes) => {
            let read = Manifest::read(bytes).filter(|manifest| manifest.file == *name);
            Some(read.ok_or_else(|| damaged(there, name, "the manifest beside it cannot be read"))?)
        }
    };
    if manifest.as_ref().is_some_and(|manifest| manifest.payload_size != size) {
        return Err(damaged(there, name, "its size differs from its manifest"));
    }
    Ok(Copy { size, sidecar, manifest })
}

/// Reads a copy to its end and passes it on. Fails if it does not match its manifest.
fn receive(
    there: &dyn Destination,
    name: &BackupName,
    copy: &Copy,
    cancel: &Cancel,
    report: &dyn Fn(u64),
    sink: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let (mut hash, mut read) = (Sha256::new(), 0);
    there.read(name.as_str(), &mut |block| {
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        read += block.len() as u64;
        if read > copy.size {
            return Ok(Flow::Enough);
        }
        hash.update(block);
        sink(block)?;
        report(read);
        Ok(Flow::On)
    })?;
    let sum = HEXLOWER.encode(&hash.finalize());
    if read != copy.size {
        return Err(damaged(there, name, "it changed while it was read"));
    }
    if copy.manifest.as_ref().is_some_and(|manifest| manifest.payload_sha256 != sum) {
        return Err(damaged(there, name, "its content does not match its manifest"));
    }
    Ok(())
}

fn damaged(there: &dyn Destination, name: &BackupName, words: &str) -> Error {
    let words = format!("{name} in {} cannot be used: {words}.", there.place());
    Fault::new(FaultKind::Differs, words).into()
}

/// Deletes a copy, and the draft of an interrupted upload. The file goes first: an interruption leaves a
/// manifest without a file, which is never listed.
pub fn delete(there: &dyn Destination, name: &BackupName) -> Result<()> {
    if !matches!(there.stat(name.as_str())?, Some(Found::File(_))) {
        return Err(missing(there, name));
    }
    there.remove(name.as_str())?;
    there.remove(&name.manifest())?;
    there.remove(&format!("{DRAFT_PREFIX}{name}"))?;
    Ok(())
}

fn missing(there: &dyn Destination, name: &BackupName) -> Error {
    let words = format!("There is no {name} in {}. Refresh the list.", there.place());
    Fault::new(FaultKind::NoSuchPath, words).into()
}

/// The refusal to read at a write-only destination.
pub fn hidden(place: &str) -> Error {
    Error::refusal(
        Code::Unsupported,
        format!(
            "{place} is set up as a “{WRITE_ONLY}”, so Holdfast cannot read there. The list of backups shows \
         what was sent; fetch copies in another way, or with an account that may read."
        ),
    )
}
