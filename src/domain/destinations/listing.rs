//! What lies on the server beside what lies here: comparing the two, fetching a copy back, deleting one.

use crate::domain::destinations::fault::{Fault, FaultKind};
use crate::domain::destinations::sftp::remote::{Entry, Flow, Remote};
use crate::domain::destinations::upload::{DRAFT_PREFIX, Report, read_small};
use crate::domain::engines::Cancel;
use crate::domain::error::{Error, Result};
use crate::domain::repository::directory::BackupDir;
use crate::domain::repository::manifest::Manifest;
use crate::model::{Backup, BackupName, Phase, Place, RemoteBackup};
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

/// What was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Its size in bytes.
    pub size: u64,
    /// Whether it had a manifest to be checked against.
    pub checked: bool,
}

/// Every backup that is here or there, by name.
pub fn compare(remote: &dyn Remote, here: &[Backup]) -> Result<Vec<RemoteBackup>> {
    let listed = remote.list()?;
    let names: BTreeSet<&str> = listed.iter().map(|file| file.name.as_str()).collect();
    let mut found: BTreeMap<BackupName, RemoteBackup> = here
        .iter()
        .map(|backup| {
            let name = backup.name.clone();
            let only_here = RemoteBackup {
                name: name.clone(),
                place: Place::Here,
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
            None => Place::There,
            Some(size) if size == file.size => Place::Both,
            Some(_) => Place::Differs,
        };
        let there = RemoteBackup {
            name: name.clone(),
            place,
            local_size,
            remote_size: Some(file.size),
            remote_modified: file.modified,
            remote_manifest,
        };
        found.insert(name, there);
    }
    Ok(found.into_values().collect())
}

/// Brings a copy back into the backup directory under its own name, checked against its manifest, or leaves
/// nothing behind.
pub fn fetch(
    remote: &dyn Remote,
    dir: &BackupDir,
    name: &BackupName,
    cancel: &Cancel,
    report: Report<'_>,
) -> Result<Fetched> {
    let Some(Entry::File(size)) = remote.stat(name.as_str())? else { return Err(missing(remote, name)) };
    let sidecar = match remote.stat(&name.manifest())? {
        Some(Entry::File(_)) => Some(read_small(remote, &name.manifest())?),
        _ => None,
    };
    let damaged = |words: &str| {
        let words = format!("{name} in {} is not fetched: {words}.", remote.place());
        Error::from(Fault::new(FaultKind::Differs, words))
    };
    let manifest = match &sidecar {
        None => None,
        Some(bytes) => {
            let read = Manifest::read(bytes).filter(|manifest| manifest.file == *name);
            Some(read.ok_or_else(|| damaged("the manifest beside it cannot be read"))?)
        }
    };
    if manifest.as_ref().is_some_and(|manifest| manifest.payload_size != size) {
        return Err(damaged("its size differs from its manifest"));
    }
    let draft = dir.draft()?;
    let (mut hash, mut read) = (Sha256::new(), 0);
    remote.read(name.as_str(), &mut |block| {
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        read += block.len() as u64;
        if read > size {
            return Ok(Flow::Enough);
        }
        hash.update(block);
        draft.file().write_all(block).map_err(|error| Error::file("Writing", &draft.path(), error))?;
        report(Phase::Receiving, read, size);
        Ok(Flow::On)
    })?;
    let sum = HEXLOWER.encode(&hash.finalize());
    if read != size {
        return Err(damaged("it changed while it was read"));
    }
    if manifest.as_ref().is_some_and(|manifest| manifest.payload_sha256 != sum) {
        return Err(damaged("its content does not match its manifest"));
    }
    report(Phase::Publishing, size, size);
    if !draft.publish_as(name, sidecar.as_deref())? {
        return Err(Error::Refused(format!(
            "{name} already exists here. Delete it first to fetch the copy."
        )));
    }
    Ok(Fetched { size, checked: manifest.is_some() })
}

/// Deletes a copy, and what a broken upload of it left: the file first, so that what is left when this is
/// interrupted is a lone manifest.
pub fn delete(remote: &dyn Remote, name: &BackupName) -> Result<()> {
    if !matches!(remote.stat(name.as_str())?, Some(Entry::File(_))) {
        return Err(missing(remote, name));
    }
    remote.remove(name.as_str())?;
    remote.remove(&name.manifest())?;
    remote.remove(&format!("{DRAFT_PREFIX}{name}"))?;
    Ok(())
}

fn missing(remote: &dyn Remote, name: &BackupName) -> Error {
    let words = format!("There is no {name} in {}. Look at the list there.", remote.place());
    Fault::new(FaultKind::NoSuchPath, words).into()
}
