//! Uploads to a write-only drop box: a server that accepts files but does not let the account read, often not
//! even list them. Its content is unknown, so a copy there never counts as verified.

use crate::domain::destinations::attempt::{Attempt, Uploaded};
use crate::domain::destinations::destination::{DRAFT_PREFIX, Destination, Found};
use crate::domain::destinations::fault::{Fault, FaultKind};
use crate::domain::destinations::outgoing::Outgoing;
use crate::domain::destinations::transfer::{clear, differs, is_passing, put_small, taken};
use crate::domain::error::{Error, Result};
use crate::model::Phase;
use sha2::{Digest as _, Sha256};

/// A directory to which files can be written, but perhaps not seen again.
pub trait DropBox: Destination {
    /// The size of the file `name` that was just written, if the server tells.
    fn written_size(&self, name: &str) -> Result<Option<u64>>;
}

/// Uploads `backup`, manifest first, so that a complete file always has its manifest. Nothing is resumed,
/// because nobody knows what an earlier attempt left, and nothing is read back; sizes are compared if the
/// server reports them.
pub fn send(there: &dyn DropBox, backup: &Outgoing, attempt: &Attempt<'_>) -> Result<Uploaded> {
    match there.prepare() {
        // A directory that cannot be inspected or created may exist all the same.
        Err(Error::OffSite(fault)) if !fault.is_passing() && fault.kind != FaultKind::Taken => {}
        made => _ = made?,
    }
    let name = backup.name().as_str();
    if attempt.lessons.begun.get() {
        clear(there, name)?;
    }
    match look(there, name)? {
        None => {}
        Some(Found::File(size)) if size == backup.size() => {
            put_manifest(there, backup, attempt)?;
            return Ok(uploaded(backup, None, true, true));
        }
        Some(Found::File(_)) => return Err(differs(there, name)),
        Some(_) => return Err(taken(there, name)),
    }
    put_manifest(there, backup, attempt)?;
    let (durable, told) = put_and_name(there, backup, attempt)?;
    Ok(uploaded(backup, Some(durable), told, false))
}

fn uploaded(backup: &Outgoing, durable: Option<bool>, told: bool, already_there: bool) -> Uploaded {
    Uploaded { size: backup.size(), verified: false, durable, resumed: 0, already_there, dropped: Some(told) }
}

/// Sends the file as a draft and renames it. If the server does not rename, the file has its final name from
/// the start.
fn put_and_name(there: &dyn DropBox, backup: &Outgoing, attempt: &Attempt<'_>) -> Result<(bool, bool)> {
    let name = backup.name().as_str();
    if !attempt.lessons.no_rename.get() {
        let draft = format!("{DRAFT_PREFIX}{name}");
        clear(there, &draft)?;
        if !matches!(look(there, &draft)?, None | Some(Found::File(_))) {
            return Err(taken(there, &draft));
        }
        let sent = put(there, backup, &draft, attempt)?;
        (attempt.report)(Phase::Publishing, backup.size(), backup.size());
        match there.commit(&draft, name) {
            Ok(true) => return Ok(sent),
            Ok(false) => {
                clear(there, &draft)?;
                return Err(differs(there, name));
            }
            Err(error) if is_passing(&error) => return Err(error),
            Err(error) => {
                tracing::warn!(%name, %error, "the drop box does not rename: the file has its final name \
                                               from the start");
            }
        }
        clear(there, &draft)?;
        attempt.lessons.no_rename.set(true);
    }
    // From here on a file with this name is this upload's own, or the server refuses to open it.
    attempt.lessons.begun.set(true);
    put(there, backup, name, attempt)
}

/// Sends the file under `as_name`. Returns whether it is durable, and whether the server reported its right
/// size.
fn put(there: &dyn DropBox, backup: &Outgoing, as_name: &str, attempt: &Attempt<'_>) -> Result<(bool, bool)> {
    let report = |now| (attempt.report)(Phase::Sending, now, backup.size());
    report(0);
    let sent = there
        .put(as_name, 0, &mut backup.source(Sha256::new(), 0, attempt.cancel), &mut |now| report(now))
        .and_then(|durable| match there.written_size(as_name)? {
            Some(size) if size != backup.size() => Err(wrong_size(there, backup, size)),
            size => Ok((durable, size.is_some())),
        });
    if let Err(error) = &sent
        && !is_passing(error)
    {
        let _ = there.remove(as_name);
    }
    sent
}

/// Writes the manifest, unless it exists. If it cannot be written, and nothing can be inspected, an earlier
/// attempt is assumed to have left it.
fn put_manifest(there: &dyn DropBox, backup: &Outgoing, attempt: &Attempt<'_>) -> Result<()> {
    let Some(manifest) = backup.manifest() else { return Ok(()) };
    let name = backup.name().manifest();
    match look(there, &name)? {
        Some(Found::File(size)) if size == manifest.len() as u64 => return Ok(()),
        Some(Found::File(_)) if attempt.lessons.no_rename.get() => clear(there, &name)?,
        Some(_) => return Err(differs(there, &name)),
        None => {}
    }
    if !attempt.lessons.no_rename.get() {
        let draft = format!("{DRAFT_PREFIX}{name}");
        clear(there, &draft)?;
        put_small(there, &draft, manifest)?;
        match there.commit(&draft, &name) {
            Err(error) if is_passing(&error) => return Err(error),
            Err(error) => tracing::warn!(%name, %error, "a manifest could not be renamed in the drop box"),
            Ok(_) => return Ok(()),
        }
        clear(there, &draft)?;
    }
    match put_small(there, &name, manifest) {
        Err(error) if is_passing(&error) => Err(error),
        Err(error) => {
            tracing::warn!(%name, %error, "a manifest is assumed to exist already");
            Ok(())
        }
        Ok(_) => {
            attempt.lessons.no_rename.set(true);
            Ok(())
        }
    }
}

/// What `name` is, as far as the server shows it.
fn look(there: &dyn DropBox, name: &str) -> Result<Option<Found>> {
    match there.stat(name) {
        Err(error) if !is_passing(&error) => Ok(None),
        seen => seen,
    }
}

fn wrong_size(there: &dyn DropBox, backup: &Outgoing, size: u64) -> Error {
    let words = format!(
        "{} reports {size} bytes for {}, which has {}: it did not arrive complete. The server's disk may be \
         full or failing; check it, then try again.",
        there.place(),
        backup.name(),
        backup.size()
    );
    Fault::new(FaultKind::Differs, words).into()
}
