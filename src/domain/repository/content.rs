//! Reads a backup file once from beginning to end: unpacks it, computes size and checksums, and stops at a
//! limit. Damaged bytes are a fault in the result; a failed read is an error.

use crate::domain::error::{Code, Error, Result};
use crate::domain::jobs::cancel::Cancel;
use crate::domain::jobs::progress::{Progress, Unwatched};
use crate::domain::repository::manifest;
use crate::domain::repository::manifest::Manifest;
use crate::model::{BackupName, Stamp};
use data_encoding::HEXLOWER;
use flate2::bufread::GzDecoder;
use rustix::fs::{Mode, OFlags};
use sha2::{Digest, Sha256};
use std::fs::{File, Metadata};
use std::io::{self, BufRead, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file with more gzip members is a decompression bomb rather than a backup.
const MEMBERS: u32 = 16;
/// Read buffer, in bytes.
const BUFFER: usize = 128 << 10;
/// How many bytes of the content are needed to recognise its engine.
const BEGINNING: usize = 4096;

/// An open backup file, with its manifest if it has one.
pub struct Source {
    /// Its path.
    pub path: PathBuf,
    /// Its size when it was opened.
    pub size: u64,
    /// Its modification time when it was opened.
    pub written: Stamp,
    /// The manifest beside it.
    pub manifest: Option<Manifest>,
    /// What is wrong with the manifest.
    pub fault: Option<String>,
    /// The option that raises the limit on the unpacked size, for advice.
    raised_by: &'static str,
    file: Arc<File>,
}

/// The result of reading a file to its end. Checksums are in lower-case hexadecimal.
pub struct Sums {
    /// The file's size in bytes.
    pub size: u64,
    /// SHA-256 of the file.
    pub sha256: String,
    /// CRC-32 of the file, eight digits.
    pub crc32: String,
    /// The unpacked size in bytes.
    pub content_size: u64,
    /// SHA-256 of the unpacked content.
    pub content_sha256: String,
    /// Why the file could not be unpacked to its end.
    pub fault: Option<String>,
}

impl Source {
    /// Opens the file `text`: a backup in `backups` if one has that name, otherwise a path.
    pub fn open(backups: &Path, text: &str) -> Result<Self> {
        if text.is_empty() {
            return Err(Error::refusal(Code::InvalidInput, "No backup is named: the name is empty."));
        }
        let listed = text.parse::<BackupName>().ok().map(|name| backups.join(name.as_str()));
        let path = match listed.filter(|path| path.exists()) {
            Some(path) => path,
            None => {
                std::path::absolute(text).map_err(|error| Error::file("Finding", Path::new(text), error))?
            }
        };
        let file = open_regular(&path)?.ok_or_else(|| {
            Error::refusal(Code::BackupNotFound, format!(
                "There is no backup file {}, and {} has none of that name. `holdfast list` shows the backups.",
                path.display(),
                backups.display()
            ))
        })?;
        let found = file.metadata().map_err(|error| Error::file("Reading", &path, error))?;
        let (manifest, fault) = manifest_beside(&path)?;
        let (size, written) = (found.len(), written(&found));
        Ok(Self { path, size, written, manifest, fault, raised_by: "--max-bytes", file: Arc::new(file) })
    }

    /// A file that is not listed yet: messages call it `shown`, `name` is its original name if that is a
    /// backup's name, and `beside` its manifest.
    pub fn of_upload(
        shown: &str,
        name: Option<&BackupName>,
        file: &File,
        beside: Option<&[u8]>,
        raised_by: &'static str,
    ) -> Result<Self> {
        let path = PathBuf::from(shown);
        let failed = |error| Error::file("Reading", &path, error);
        let file = file.try_clone().map_err(failed)?;
        let found = file.metadata().map_err(failed)?;
        let (size, written) = (found.len(), written(&found));
        let (manifest, fault) = match beside {
            None => (None, None),
            Some(bytes) => read_manifest(bytes, name.map(BackupName::as_str)),
        };
        Ok(Self { path, size, written, manifest, fault, raised_by, file: Arc::new(file) })
    }

    /// The file's name.
    pub fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().display().to_string()
    }

    /// The first unpacked bytes, as many as can be read.
    pub fn beginning(&self, cancel: &Cancel) -> Result<Vec<u8>> {
        let mut content = self.read(u64::MAX, cancel, &Unwatched);
        let mut bytes = vec![0; BEGINNING];
        let mut filled = 0;
        while filled < BEGINNING {
            match content.next(&mut bytes[filled..])? {
                0 => break,
                read => filled += read,
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    /// Starts reading from the beginning.
    pub fn read<'p>(&self, limit: u64, cancel: &Cancel, progress: &'p dyn Progress) -> Content<'p> {
        progress.total(self.size);
        let raw = Raw {
            file: Arc::clone(&self.file),
            buffer: vec![0; BUFFER],
            taken: 0,
            filled: 0,
            size: 0,
            sum: Sha256::new(),
            crc: crc32fast::Hasher::new(),
        };
        Content {
            path: self.path.clone(),
            member: GzDecoder::new(raw),
            members: 1,
            at_end: self.size == 0,
            size: 0,
            sum: Sha256::new(),
            limit,
            raised_by: self.raised_by,
            fault: (self.size == 0).then(|| "it is empty".to_owned()),
            cancel: cancel.clone(),
            progress,
        }
    }
}

fn written(found: &Metadata) -> Stamp {
    Stamp::from_millis(found.mtime() * 1000 + found.mtime_nsec() / 1_000_000)
}

/// A file's content while it is read.
pub struct Content<'p> {
    path: PathBuf,
    member: GzDecoder<Raw>,
    members: u32,
    at_end: bool,
    size: u64,
    sum: Sha256,
    limit: u64,
    raised_by: &'static str,
    fault: Option<String>,
    cancel: Cancel,
    progress: &'p dyn Progress,
}

impl Content<'_> {
    /// Reads the next bytes. 0 at the end, which does not prove that the file is complete: see
    /// [`Content::finish`].
    pub fn next(&mut self, buffer: &mut [u8]) -> Result<usize> {
        while !self.at_end {
            if self.cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            match self.member.read(buffer) {
                Ok(0) => self.next_member()?,
                Ok(read) => {
                    self.size += read as u64;
                    if self.size > self.limit {
                        return Err(Error::refusal(
                            Code::LimitReached,
                            format!(
                                "{} unpacks to more than the limit of {} bytes, and was not read further. If \
                             this is its real size, make room, or raise the limit with {}.",
                                self.path.display(),
                                self.limit,
                                self.raised_by
                            ),
                        ));
                    }
                    self.sum.update(&buffer[..read]);
                    self.progress.bytes(self.member.get_ref().size, self.size);
                    return Ok(read);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.raw_os_error().is_some() => {
                    return Err(Error::file("Reading", &self.path, error));
                }
                Err(error) => self
                    .end(Some(format!("its gzip is damaged after {} bytes of content ({error})", self.size))),
            }
        }
        Ok(0)
    }

    /// Why the content cannot be unpacked further, if known.
    pub fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// Reads the rest of the file, and returns the result.
    pub fn finish(mut self) -> Result<Sums> {
        let mut buffer = vec![0; BUFFER];
        while self.next(&mut buffer)? > 0 {}
        let raw = self.member.get_mut();
        loop {
            if self.cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let waiting = raw.fill_buf().map_err(|error| Error::file("Reading", &self.path, error))?.len();
            if waiting == 0 {
                break;
            }
            raw.consume(waiting);
        }
        Ok(Sums {
            size: raw.size,
            sha256: HEXLOWER.encode(&raw.sum.clone().finalize()),
            crc32: format!("{:08x}", raw.crc.clone().finalize()),
            content_size: self.size,
            content_sha256: HEXLOWER.encode(&self.sum.finalize()),
            fault: self.fault,
        })
    }

    fn next_member(&mut self) -> Result<()> {
        let raw = self.member.get_mut();
        let waiting = raw.fill_buf().map_err(|error| Error::file("Reading", &self.path, error))?;
        if waiting.is_empty() {
            self.end(None);
        } else if !waiting.starts_with(&[0x1F]) {
            self.end(Some("other bytes follow its gzip data".to_owned()));
        } else if self.members == MEMBERS {
            self.end(Some(format!("it holds more than {MEMBERS} gzip members")));
        } else {
            self.members += 1;
            let rest = raw.take();
            self.member = GzDecoder::new(rest);
        }
        Ok(())
    }

    fn end(&mut self, fault: Option<String>) {
        self.at_end = true;
        self.fault = self.fault.take().or(fault);
    }
}

/// The file's own bytes, counted and hashed as they are read.
struct Raw {
    file: Arc<File>,
    buffer: Vec<u8>,
    taken: usize,
    filled: usize,
    size: u64,
    sum: Sha256,
    crc: crc32fast::Hasher,
}

impl Raw {
    /// Takes the rest of the file.
    fn take(&mut self) -> Self {
        Self {
            file: Arc::clone(&self.file),
            buffer: std::mem::take(&mut self.buffer),
            sum: std::mem::take(&mut self.sum),
            crc: std::mem::take(&mut self.crc),
            ..*self
        }
    }
}

impl Read for Raw {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for Raw {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.taken == self.filled {
            // Reads at a position, because other readers share the file.
            self.filled = self.file.read_at(&mut self.buffer, self.size)?;
            self.taken = 0;
            self.size += self.filled as u64;
            self.sum.update(&self.buffer[..self.filled]);
            self.crc.update(&self.buffer[..self.filled]);
        }
        Ok(&self.buffer[self.taken..self.filled])
    }

    fn consume(&mut self, amount: usize) {
        self.taken = self.filled.min(self.taken + amount);
    }
}

/// Opens without waiting for a pipe's writer. `None` if there is no regular file.
fn open_regular(path: &Path) -> Result<Option<File>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let failed = |error| Error::file("Opening", path, error);
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(None),
        opened => File::from(opened.map_err(|error| failed(error.into()))?),
    };
    Ok(file.metadata().map_err(failed)?.is_file().then_some(file))
}

/// The manifest beside `path`, or what is wrong with it.
fn manifest_beside(path: &Path) -> Result<(Option<Manifest>, Option<String>)> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".manifest.json");
    let beside = PathBuf::from(beside);
    let Some(file) = open_regular(&beside)? else { return Ok((None, None)) };
    let mut bytes = Vec::new();
    file.take(manifest::MAX_SIZE + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Error::file("Reading", &beside, error))?;
    Ok(read_manifest(&bytes, Some(&path.file_name().unwrap_or_default().to_string_lossy())))
}

/// Parses a manifest; a fault if it is invalid or does not belong to the file `name`.
fn read_manifest(bytes: &[u8], name: Option<&str>) -> (Option<Manifest>, Option<String>) {
    match Manifest::read(bytes).filter(|_| bytes.len() as u64 <= manifest::MAX_SIZE) {
        None => (None, Some("its manifest cannot be read".to_owned())),
        Some(manifest) if name.is_some_and(|name| name != manifest.file.as_str()) => {
            let fault = format!("its manifest belongs to {}", manifest.file);
            (Some(manifest), Some(fault))
        }
        Some(manifest) => (Some(manifest), None),
    }
}
