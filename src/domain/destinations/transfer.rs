//! Uploads a backup: draft, size check, reading back, manifest, then the commit, which never overwrites
//! another file.

use crate::domain::destinations::attempt::{Attempt, ReportProgress, Uploaded};
use crate::domain::destinations::destination::{DRAFT_PREFIX, Destination, Flow, Found};
use crate::domain::destinations::fault::{Fault, FaultKind, Finishing};
use crate::domain::destinations::outgoing::Outgoing;
use crate::domain::error::{Error, Result};
use crate::domain::repository::manifest;
use crate::model::Phase;
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use std::cell::Cell;

/// Uploads `backup` to `destination`. Afterwards the complete backup has its final name there, with its
/// manifest beside it. If the connection fails, the draft stays for the next attempt; after any other failure
/// it is removed.
pub fn send(destination: &dyn Destination, backup: &Outgoing, attempt: &Attempt<'_>) -> Result<Uploaded> {
    destination.prepare()?;
    if let Some(uploaded) = settled(destination, backup, attempt.report)? {
        return Ok(uploaded);
    }
    let draft = format!("{DRAFT_PREFIX}{}", backup.name());
    let sent = send_draft(destination, backup, &draft, attempt);
    if let Err(error) = &sent
        && !is_passing(error)
    {
        // The next attempt cannot use this draft. If it cannot be removed now, the next attempt removes it.
        let _ = destination.remove(&draft);
    }
    let Sent { durable, resumed, verified } = sent?;
    (attempt.report)(Phase::Publishing, backup.size(), backup.size());
    let taken = publish_manifest(destination, backup)
        .and_then(|()| destination.commit(&draft, backup.name().as_str()));
    match taken {
        Ok(true) => {}
        // Another client was faster: its file is treated like one that was there before.
        Ok(false) => {
            let settled = settled(destination, backup, attempt.report)?;
            destination.remove(&draft)?;
            return settled.ok_or(Error::Lost);
        }
        Err(error) => {
            if !is_passing(&error) {
                let _ = destination.remove(&draft);
            }
            return Err(error);
        }
    }
    Ok(Uploaded {
        size: backup.size(),
        verified,
        durable: Some(durable),
        resumed,
        already_there: false,
        dropped: None,
    })
}

/// Whether a retry may succeed soon, or the upload was cancelled.
pub(super) fn is_passing(error: &Error) -> bool {
    match error {
        Error::OffSite(fault) => fault.is_passing(),
        Error::Cancelled => true,
        _ => false,
    }
}

/// What happens if the name is taken: an identical file is a success, any other an error.
fn settled(
    destination: &dyn Destination,
    backup: &Outgoing,
    report: ReportProgress<'_>,
) -> Result<Option<Uploaded>> {
    let name = backup.name().as_str();
    match destination.stat(name)? {
        None => return Ok(None),
        Some(Found::File(size)) if size == backup.size() => {
            if hash_of(destination, name, size, report)? != backup.sha256() {
                return Err(differs(destination, name));
            }
        }
        Some(Found::File(_)) => return Err(differs(destination, name)),
        Some(_) => return Err(taken(destination, name)),
    }
    publish_manifest(destination, backup)?;
    Ok(Some(Uploaded {
        size: backup.size(),
        verified: true,
        durable: None,
        resumed: 0,
        already_there: true,
        dropped: None,
    }))
}

/// A draft that is complete at the destination.
struct Sent {
    /// Whether it is durable.
    durable: bool,
    /// How many of its bytes were there before.
    resumed: u64,
    /// Whether it was read back.
    verified: bool,
}

/// Writes and checks the draft. If the destination does not resume, everything is sent again.
fn send_draft(
    destination: &dyn Destination,
    backup: &Outgoing,
    draft: &str,
    attempt: &Attempt<'_>,
) -> Result<Sent> {
    let lessons = attempt.lessons;
    let (hash, from) = begun(destination, backup, draft, attempt)?;
    if from == backup.size()
        && let Some(durable) = lessons.synced.get()
    {
        // The draft was synced, and just read completely. Opening it again would make some servers store it
        // again.
        return Ok(Sent { durable, resumed: from, verified: true });
    }
    let there = Cell::new(from);
    let sent = write(destination, backup, draft, (hash, from), attempt, &there).and_then(|durable| {
        lessons.synced.set(Some(durable));
        compare(destination, backup, draft, attempt).map(|()| durable)
    });
    if let Err(Error::OffSite(Fault { finishing: Some((Finishing::Closing { durable }, _)), .. })) = &sent
        && there.get() == backup.size()
    {
        // Only the confirmation that the draft is closed is missing.
        lessons.synced.set(Some(*durable));
    }
    let durable = match sent {
        Err(Error::OffSite(fault)) if from > 0 && refuses_to_go_on(&fault) => {
            tracing::warn!(name = %backup.name(), %fault, "the destination does not resume uploads: the \
                                                           whole file is sent again");
            lessons.no_resume.set(true);
            clear(destination, draft)?;
            let durable = write(destination, backup, draft, (Sha256::new(), 0), attempt, &there)?;
            compare(destination, backup, draft, attempt)?;
            return Ok(Sent { durable, resumed: 0, verified: attempt.read_back });
        }
        Err(Error::OffSite(fault)) if from > 0 && fault.is_passing() && there.get() == from => {
            lessons.stuck.set(lessons.stuck.get() + 1);
            lessons.no_resume.set(lessons.stuck.get() > 1);
            return Err(fault.into());
        }
        sent => sent?,
    };
    Ok(Sent { durable, resumed: from, verified: attempt.read_back })
}

/// Whether a destination refused to resume a draft, or corrupted it.
fn refuses_to_go_on(fault: &Fault) -> bool {
    use FaultKind as K;
    matches!(fault.kind, K::Other | K::Permission | K::Taken | K::NoSuchPath | K::Differs)
}

/// How much of the draft is there and correct, with its hash so far. Removes any other file.
fn begun(
    destination: &dyn Destination,
    backup: &Outgoing,
    draft: &str,
    attempt: &Attempt<'_>,
) -> Result<(Sha256, u64)> {
    match destination.stat(draft)? {
        None => {}
        Some(Found::File(there)) => {
            if !attempt.lessons.no_resume.get()
                && let Some(hash) = same_beginning(destination, backup, draft, there, attempt)?
            {
                return Ok((hash, there));
            }
            clear(destination, draft)?;
        }
        Some(_) => return Err(taken(destination, draft)),
    }
    Ok((Sha256::new(), 0))
}

/// Removes a draft. If the destination does not allow that, the draft is overwritten later.
pub(super) fn clear(destination: &dyn Destination, draft: &str) -> Result<()> {
    match destination.remove(draft) {
        Err(error) if is_passing(&error) => Err(error),
        _ => Ok(()),
    }
}

/// Sends the missing part of the draft. Returns whether it is durable; `there` receives the number of bytes
/// that have arrived.
fn write(
    destination: &dyn Destination,
    backup: &Outgoing,
    draft: &str,
    (hash, from): (Sha256, u64),
    attempt: &Attempt<'_>,
    there: &Cell<u64>,
) -> Result<bool> {
    there.set(from);
    (attempt.report)(Phase::Sending, from, backup.size());
    destination.put(draft, from, &mut backup.source(hash, from, attempt.cancel), &mut |now| {
        there.set(now);
        (attempt.report)(Phase::Sending, now, backup.size());
    })
}

/// Checks that the destination has what was sent.
fn compare(
    destination: &dyn Destination,
    backup: &Outgoing,
    draft: &str,
    attempt: &Attempt<'_>,
) -> Result<()> {
    let Some(Found::File(size)) = destination.stat(draft)? else { return Err(differs(destination, draft)) };
    if size != backup.size()
        || (attempt.read_back && hash_of(destination, draft, size, attempt.report)? != backup.sha256())
    {
        return Err(not_what_was_sent(destination, backup));
    }
    Ok(())
}

/// The fault for a copy that differs from what was sent.
fn not_what_was_sent(destination: &dyn Destination, backup: &Outgoing) -> Error {
    let words = format!(
        "{} returns other content for {} than was sent, so the copy was not given its name. The disk there \
         may be failing; check it, then try again.",
        destination.place(),
        backup.name()
    );
    Fault::new(FaultKind::Differs, words).into()
}

/// The hash so far, if the draft's `there` bytes match the beginning of the local file.
fn same_beginning(
    destination: &dyn Destination,
    backup: &Outgoing,
    draft: &str,
    there: u64,
    attempt: &Attempt<'_>,
) -> Result<Option<Sha256>> {
    if there == 0 || there > backup.size() {
        return Ok(None);
    }
    let (mut hash, mut at, mut same) = (Sha256::new(), 0, true);
    let mut own = Vec::new();
    destination.read(draft, &mut |block| {
        attempt.check_cancel()?;
        own.resize(block.len(), 0);
        let mut filled = 0;
        while filled < own.len() {
            match backup.read_at(&mut own[filled..], at + filled as u64)? {
                0 => break,
                read => filled += read,
            }
        }
        same = own[..filled] == *block;
        hash.update(block);
        at += block.len() as u64;
        (attempt.report)(Phase::Comparing, at, there);
        Ok(if same { Flow::On } else { Flow::Enough })
    })?;
    Ok((same && at == there).then_some(hash))
}

fn hash_of(
    destination: &dyn Destination,
    name: &str,
    size: u64,
    report: ReportProgress<'_>,
) -> Result<String> {
    let (mut hash, mut read) = (Sha256::new(), 0);
    report(Phase::ReadingBack, 0, size);
    destination.read(name, &mut |block| {
        hash.update(block);
        read += block.len() as u64;
        report(Phase::ReadingBack, read.min(size), size);
        // A file that never ends would be read for ever.
        Ok(if read > size { Flow::Enough } else { Flow::On })
    })?;
    Ok(HEXLOWER.encode(&hash.finalize()))
}

fn publish_manifest(destination: &dyn Destination, backup: &Outgoing) -> Result<()> {
    let Some(manifest) = backup.manifest() else { return Ok(()) };
    let name = backup.name().manifest();
    for _ in 0..2 {
        match destination.stat(&name)? {
            Some(Found::File(_)) if read_small(destination, &name)? == manifest => return Ok(()),
            Some(Found::File(_)) => return Err(differs(destination, &name)),
            Some(_) => return Err(taken(destination, &name)),
            None => {}
        }
        let draft = format!("{DRAFT_PREFIX}{name}");
        clear(destination, &draft)?;
        put_small(destination, &draft, manifest)?;
        if read_small(destination, &draft)? != manifest {
            destination.remove(&draft)?;
            return Err(differs(destination, &draft));
        }
        if destination.commit(&draft, &name)? {
            return Ok(());
        }
        destination.remove(&draft)?;
    }
    Err(differs(destination, &name))
}

/// Writes a small file.
pub(super) fn put_small(destination: &dyn Destination, name: &str, content: &[u8]) -> Result<bool> {
    let mut left = content;
    let mut source = |block: &mut [u8]| {
        let read = left.len().min(block.len());
        block[..read].copy_from_slice(&left[..read]);
        left = &left[read..];
        Ok(read)
    };
    destination.put(name, 0, &mut source, &mut |_| ())
}

/// Reads a file up to the size limit of a manifest; of a larger one, one byte more.
pub fn read_small(destination: &dyn Destination, name: &str) -> Result<Vec<u8>> {
    let most = usize::try_from(manifest::MAX_SIZE).unwrap_or(usize::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    destination.read(name, &mut |block| {
        bytes.extend_from_slice(&block[..block.len().min(most - bytes.len())]);
        Ok(if bytes.len() < most { Flow::On } else { Flow::Enough })
    })?;
    Ok(bytes)
}

pub(super) fn differs(destination: &dyn Destination, name: &str) -> Error {
    let words = format!(
        "A different {name} already exists in {}. Both are kept; rename or remove the one at the \
         destination.",
        destination.place()
    );
    Fault::new(FaultKind::Differs, words).into()
}

pub(super) fn taken(destination: &dyn Destination, name: &str) -> Error {
    let words = format!(
        "{name} in {} is not a file. Remove or rename it there, then try again.",
        destination.place()
    );
    Fault::new(FaultKind::Taken, words).into()
}
