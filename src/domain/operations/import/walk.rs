//! Reads an uploaded archive entry by entry. Never unpacks to a path from the archive, and never trusts a size that it
//! states.

use crate::domain::error::{Error, Result};
use crate::domain::jobs::Unwatched;
use crate::domain::jobs::cancel::Cancel;
use crate::domain::operations::import::refusals::{damaged, invalid, too_much};
use crate::domain::repository::content::Source;
use crate::model::outcome::printable;
use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use tar::{Archive, EntryType};
use zip::CompressionMethod;
use zip::read::{ZipFile, read_zipfile_from_stream};

/// Read buffer, in bytes.
pub const BUFFER: usize = 128 << 10;
/// The most bytes of headers before one entry of a tar, including long names. The library keeps them in memory.
const LEAD: u64 = 256 << 10;
/// The most zeros after the end of a tar: other programs pad it to whole tape blocks.
const TAIL: u64 = 1 << 20;
/// The size of a zip's last record without a comment, in bytes.
const ZIP_END: usize = 22;
/// The size of the two zip64 records before it, in bytes. They exist if a number does not fit the last record.
const ZIP64_END: usize = 56 + 20;

/// The format of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A zip.
    Zip,
    /// A tar.
    Tar,
    /// A tar in gzip.
    TarGz,
}

/// An archive to read.
pub struct Walk<'w> {
    /// Its format.
    pub form: Form,
    /// Its bytes.
    pub file: &'w File,
    /// The path of the file, for messages.
    pub path: &'w Path,
    /// The name it was uploaded as, for messages.
    pub shown: &'w str,
    /// The most bytes it may unpack to.
    pub most: u64,
    /// The most entries it may have.
    pub entries: usize,
    /// A request to stop.
    pub cancel: &'w Cancel,
}

/// Called for each entry, with its name and its bytes.
pub type Visit<'v> = &'v mut dyn FnMut(&str, &mut dyn Read) -> Result<()>;

impl Walk<'_> {
    /// Reads the archive from its first byte to its last. Fails if the archive is damaged, contains anything but
    /// regular files, or contradicts itself.
    pub fn run(&self, visit: Visit<'_>) -> Result<()> {
        if self.form == Form::TarGz {
            let source = Source::of_upload(self.shown, None, self.file, None, "--import-max")?;
            let mut content = source.read(self.most, self.cancel, &Unwatched);
            let walked = self.tar(&mut |buffer| content.next(buffer), visit);
            let refused_by_form = walked.as_ref().is_err_and(Error::is_refusal);
            if let (true, Some(fault)) = (refused_by_form, content.fault()) {
                return Err(damaged(format!("This tar.gz cannot be imported: {fault}.")));
            }
            walked?;
            return match content.finish()?.fault {
                None => Ok(()),
                Some(fault) => Err(damaged(format!("This tar.gz cannot be imported: {fault}."))),
            };
        }
        let mut at = 0;
        let mut next = |buffer: &mut [u8]| {
            if self.cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let read = self.file.read_at(buffer, at).map_err(|error| self.unread(error))?;
            at += read as u64;
            Ok(read)
        };
        match self.form {
            Form::Zip => self.zip(&mut next, visit),
            Form::Tar | Form::TarGz => self.tar(&mut next, visit),
        }
    }

    fn zip(&self, next: Next<'_>, visit: Visit<'_>) -> Result<()> {
        let feed = Feed::new(next);
        let walked = self.zip_entries(&feed, visit);
        feed.fault()?;
        let count = walked?;
        // The library has also read the four bytes of the signature after the entries.
        self.check_zip_end(feed.taken.get().saturating_sub(4), count)
    }

    fn zip_entries(&self, mut feed: &Feed<'_>, visit: Visit<'_>) -> Result<usize> {
        for count in 0..=self.entries {
            let found = read_zipfile_from_stream(&mut feed)
                .map_err(|error| damaged(format!("This zip cannot be imported: {error}.")))?;
            let Some(mut file) = found else { return Ok(count) };
            if count < self.entries {
                zip_entry(&mut file, visit)?;
            }
        }
        Err(too_many(self.entries))
    }

    /// Checks that the zip's directory stands right after the entries and ends the file. This shows that the zip is
    /// not truncated, and that nothing follows it; the directory itself only repeats the entries.
    fn check_zip_end(&self, directory: u64, count: usize) -> Result<()> {
        let size = self.file.metadata().map_err(|error| self.unread(error))?.len();
        let mut records = [0; ZIP64_END + ZIP_END];
        let have = usize::try_from(size).unwrap_or(usize::MAX).min(records.len());
        let start = records.len() - have;
        self.file
            .read_exact_at(&mut records[start..], size - have as u64)
            .map_err(|error| self.unread(error))?;
        let (large, small) = records.split_at(ZIP64_END);
        let half = |at: usize| u64::from(u16::from_le_bytes([small[at], small[at + 1]]));
        let full = |from: &[u8], at: usize, width: usize| {
            from[at..at + width].iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
        };
        let (mut length, mut place) = (full(small, 12, 4), full(small, 16, 4));
        let mut end = size.saturating_sub(ZIP_END as u64);
        if length == u64::from(u32::MAX) || place == u64::from(u32::MAX) {
            end = end.saturating_sub(ZIP64_END as u64);
            (length, place) = (full(large, 40, 8), full(large, 48, 8));
            if !large.starts_with(b"PK\x06\x06") {
                return Err(damaged("The end of this zip is damaged."));
            }
        }
        let is_last = small.starts_with(b"PK\x05\x06") && half(20) == 0;
        if is_last && half(10) == count as u64 && place == directory && place.checked_add(length) == Some(end)
        {
            return Ok(());
        }
        Err(damaged("This zip is truncated, or other bytes follow it."))
    }

    fn tar(&self, next: Next<'_>, visit: Visit<'_>) -> Result<()> {
        let feed = Feed::new(next);
        let walked = self.tar_entries(&feed, visit);
        feed.fault()?;
        walked
    }

    fn tar_entries(&self, feed: &Feed<'_>, visit: Visit<'_>) -> Result<()> {
        let broken = |error: io::Error| damaged(format!("This tar cannot be imported: {error}."));
        let mut archive = Archive::new(feed);
        let mut entries = archive.entries().map_err(broken)?;
        let mut left = self.entries;
        loop {
            feed.allow(LEAD);
            let Some(entry) = entries.next() else { break };
            let mut entry = entry.map_err(broken)?;
            feed.allow(u64::MAX);
            left = left.checked_sub(1).ok_or_else(|| too_many(self.entries))?;
            let path = entry.path_bytes().into_owned();
            let shown = printable(&String::from_utf8_lossy(&path));
            if entry.header().entry_type() != EntryType::Regular {
                return Err(invalid(format!("The entry {shown} of the archive is not a regular file.")));
            }
            let (size, own) = (entry.size(), entry.header().entry_size().map_err(broken)?);
            if own != 0 && own != size {
                return Err(damaged(format!(
                    "The entry {shown} of the archive has two sizes, {own} and {size} bytes."
                )));
            }
            let name = std::str::from_utf8(&path).map_err(|_| foreign(&shown))?;
            let mut counted = Counted { inner: &mut entry, read: 0 };
            visit(name, &mut counted)?;
            io::copy(&mut counted, &mut io::sink()).map_err(broken)?;
            if counted.read != size {
                return Err(truncated_within(&shown));
            }
        }
        if feed.is_over.get() {
            return Err(damaged("This tar is truncated: its end mark is missing."));
        }
        feed.allow(TAIL);
        let (mut rest, mut buffer) = (feed, vec![0; BUFFER]);
        loop {
            let read = rest.read(&mut buffer).map_err(broken)?;
            if read == 0 {
                return Ok(());
            }
            if buffer[..read].iter().any(|byte| *byte != 0) {
                return Err(damaged("Other bytes follow the end of this tar."));
            }
        }
    }

    fn unread(&self, error: io::Error) -> Error {
        Error::file("Reading", self.path, error)
    }
}

/// Reads `from` to its end and passes each piece to `into`. Returns the number of bytes.
pub fn pour(from: &mut dyn Read, mut into: impl FnMut(&[u8]) -> Result<()>) -> Result<u64> {
    let (mut buffer, mut poured) = (vec![0; BUFFER], 0);
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(poured),
            Ok(read) => {
                poured += read as u64;
                into(&buffer[..read])?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(damaged(format!("The file cannot be read to its end: {error}."))),
        }
    }
}

/// The error for an entry that no archive of Holdfast has.
pub fn foreign(shown: &str) -> Error {
    invalid(format!(
        "The archive has an entry {shown}, which Holdfast never puts into an archive, so nothing was imported from it. \
         Select the backup files themselves."
    ))
}

/// The error for too many entries.
pub fn too_many(most: usize) -> Error {
    too_much(format!("The archive has more than {most} entries. Import it in several parts."))
}

fn truncated_within(entry: &str) -> Error {
    damaged(format!("The archive is truncated within its entry {entry}."))
}

type Next<'n> = &'n mut dyn FnMut(&mut [u8]) -> Result<usize>;

/// Feeds bytes to an archive library, and limits how many it may read next. Keeps the first error, which the library
/// would replace with its own.
struct Feed<'f> {
    next: RefCell<Next<'f>>,
    failed: RefCell<Option<Error>>,
    allowed: Cell<u64>,
    taken: Cell<u64>,
    is_over: Cell<bool>,
}

impl<'f> Feed<'f> {
    fn new(next: Next<'f>) -> Self {
        Self {
            next: RefCell::new(next),
            failed: RefCell::default(),
            allowed: Cell::new(u64::MAX),
            taken: Cell::new(0),
            is_over: Cell::new(false),
        }
    }

    fn allow(&self, bytes: u64) {
        self.allowed.set(bytes);
    }

    fn fault(&self) -> Result<()> {
        self.failed.borrow_mut().take().map_or(Ok(()), Err)
    }
}

impl Read for &Feed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let allowed = self.allowed.get();
        let most = usize::try_from(allowed).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Err(io::Error::other("the data between two entries is too large"));
        }
        match (self.next.borrow_mut())(&mut buffer[..most]) {
            Ok(read) => {
                self.is_over.set(read == 0);
                self.taken.set(self.taken.get() + read as u64);
                if allowed != u64::MAX {
                    self.allowed.set(allowed - read as u64);
                }
                Ok(read)
            }
            Err(error) => {
                let sentence = error.to_string();
                self.failed.replace(Some(error));
                Err(io::Error::other(sentence))
            }
        }
    }
}

/// Counts the bytes read.
struct Counted<'c> {
    inner: &'c mut dyn Read,
    read: u64,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.read += read as u64;
        Ok(read)
    }
}

fn zip_entry<R: Read>(file: &mut ZipFile<'_, R>, visit: Visit<'_>) -> Result<()> {
    let raw = file.name_raw().to_owned();
    let shown = printable(&String::from_utf8_lossy(&raw));
    if file.compression() != CompressionMethod::Stored || file.encrypted() {
        return Err(invalid(format!(
            "The entry {shown} of the zip is compressed or encrypted, but Holdfast stores backups in a zip as they \
             are. Unpack the zip, and select the backup files themselves."
        )));
    }
    if file.size() != file.compressed_size() {
        return Err(damaged(format!(
            "The entry {shown} of the archive has two sizes, {} and {} bytes.",
            file.size(),
            file.compressed_size()
        )));
    }
    let name = std::str::from_utf8(&raw).map_err(|_| foreign(&shown))?;
    let size = file.size();
    let mut counted = Counted { inner: file, read: 0 };
    visit(name, &mut counted)?;
    pour(&mut counted, |_| Ok(()))?;
    if counted.read == size {
        return Ok(());
    }
    Err(truncated_within(&shown))
}
