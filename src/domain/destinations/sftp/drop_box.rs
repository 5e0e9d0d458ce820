//! Sending to a write-only drop box: a server that takes files in and lets nobody read them, often not even look at
//! them. What it has is not known, so a copy there is never called verified.

use crate::domain::destinations::fault::{Fault, FaultKind};
use crate::domain::destinations::sftp::remote::{Entry, Remote};
use crate::domain::destinations::upload::{
    DRAFT_PREFIX, Job, Local, Uploaded, clear, differs, is_passing, put_small, taken,
};
use crate::domain::error::{Error, Result};
use crate::model::Phase;
use crate::model::sftp::WRITE_ONLY;
use sha2::{Digest as _, Sha256};

/// Sends `local`: manifest first, so that a whole file never lies without it. Nothing is resumed, since nobody can
/// say what is there of an earlier try, and nothing is read back; sizes are compared where the server tells them.
pub fn send(remote: &dyn Remote, local: &Local, job: &Job<'_>) -> Result<Uploaded> {
    match remote.make_directory() {
        // One that nobody may look at, or make, may be there all the same.
        Err(Error::OffSite(fault)) if !fault.is_passing() && fault.kind != FaultKind::Taken => {}
        made => _ = made?,
    }
    let name = local.name().as_str();
    if job.learned.begun.get() {
        clear(remote, name)?;
    }
    match look(remote, name)? {
        None => {}
        Some(Entry::File(size)) if size == local.size() => {
            put_manifest(remote, local, job)?;
            return Ok(uploaded(local, None, true, true));
        }
        Some(Entry::File(_)) => return Err(differs(remote, name)),
        Some(_) => return Err(taken(remote, name)),
    }
    put_manifest(remote, local, job)?;
    let (durable, told) = put_and_name(remote, local, job)?;
    Ok(uploaded(local, Some(durable), told, false))
}

fn uploaded(local: &Local, durable: Option<bool>, told: bool, already_there: bool) -> Uploaded {
    Uploaded { size: local.size(), verified: false, durable, resumed: 0, already_there, dropped: Some(told) }
}

/// Sends the file as a draft and gives it its name. Where the server renames nothing, it gets its name at once.
fn put_and_name(remote: &dyn Remote, local: &Local, job: &Job<'_>) -> Result<(bool, bool)> {
    let name = local.name().as_str();
    if !job.learned.no_rename.get() {
        let draft = format!("{DRAFT_PREFIX}{name}");
        clear(remote, &draft)?;
        if !matches!(look(remote, &draft)?, None | Some(Entry::File(_))) {
            return Err(taken(remote, &draft));
        }
        let sent = put(remote, local, &draft, job)?;
        (job.report)(Phase::Publishing, local.size(), local.size());
        match remote.rename_free(&draft, name) {
            Ok(true) => return Ok(sent),
            Ok(false) => {
                clear(remote, &draft)?;
                return Err(differs(remote, name));
            }
            Err(error) if is_passing(&error) => return Err(error),
            Err(error) => {
                tracing::warn!(%name, %error, "the drop box renames nothing: the file gets its name at once");
            }
        }
        clear(remote, &draft)?;
        job.learned.no_rename.set(true);
    }
    // From here on whatever lies there under this name is this job's own, or the server refuses to open it.
    job.learned.begun.set(true);
    put(remote, local, name, job)
}

/// Sends the file under `as_name`. Gives whether it is durable, and whether the server told its right size.
fn put(remote: &dyn Remote, local: &Local, as_name: &str, job: &Job<'_>) -> Result<(bool, bool)> {
    let report = |there| (job.report)(Phase::Sending, there, local.size());
    report(0);
    let sent = remote
        .put(as_name, 0, &mut local.source(Sha256::new(), 0, job.cancel), &mut |there| report(there))
        .and_then(|durable| match remote.written_size(as_name)? {
            Some(size) if size != local.size() => Err(wrong_size(remote, local, size)),
            size => Ok((durable, size.is_some())),
        });
    if let Err(error) = &sent
        && !is_passing(error)
    {
        let _ = remote.remove(as_name);
    }
    sent
}

/// Puts the manifest beside it, unless it is there. One that cannot be put, where nothing can be looked at, is taken
/// for there: an earlier try left it.
fn put_manifest(remote: &dyn Remote, local: &Local, job: &Job<'_>) -> Result<()> {
    let Some(manifest) = local.manifest() else { return Ok(()) };
    let name = local.name().manifest();
    match look(remote, &name)? {
        Some(Entry::File(size)) if size == manifest.len() as u64 => return Ok(()),
        Some(Entry::File(_)) if job.learned.no_rename.get() => clear(remote, &name)?,
        Some(_) => return Err(differs(remote, &name)),
        None => {}
    }
    if !job.learned.no_rename.get() {
        let draft = format!("{DRAFT_PREFIX}{name}");
        clear(remote, &draft)?;
        put_small(remote, &draft, manifest)?;
        match remote.rename_free(&draft, &name) {
            Err(error) if is_passing(&error) => return Err(error),
            Err(error) => tracing::warn!(%name, %error, "a manifest could not be renamed in the drop box"),
            Ok(_) => return Ok(()),
        }
        clear(remote, &draft)?;
    }
    match put_small(remote, &name, manifest) {
        Err(error) if is_passing(&error) => Err(error),
        Err(error) => {
            tracing::warn!(%name, %error, "a manifest is taken for there");
            Ok(())
        }
        Ok(_) => {
            job.learned.no_rename.set(true);
            Ok(())
        }
    }
}

/// What `name` stands for, as far as the server lets it be seen.
fn look(remote: &dyn Remote, name: &str) -> Result<Option<Entry>> {
    match remote.stat(name) {
        Err(error) if !is_passing(&error) => Ok(None),
        seen => seen,
    }
}

fn wrong_size(remote: &dyn Remote, local: &Local, size: u64) -> Error {
    let words = format!(
        "{} tells {size} bytes of {}, which has {}: it did not arrive whole. Its disk may be full or failing; look \
         at it, then try again.",
        remote.place(),
        local.name(),
        local.size()
    );
    Fault::new(FaultKind::Differs, words).into()
}

/// What there is to say where the settings call the place a drop box and something is to be read from it.
pub fn hidden(place: &str) -> Error {
    Error::Refused(format!(
        "{place} is set up as a “{WRITE_ONLY}”, and does not let Holdfast read there. The list of backups marks what \
         was sent; bring copies back by another way, or with an account that may read."
    ))
}
