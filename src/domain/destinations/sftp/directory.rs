//! A directory on an SFTP server, as a destination.

use crate::domain::destinations::attempt::{Attempt, Uploaded};
use crate::domain::destinations::destination::{DRAFT_PREFIX, Destination, FileThere, Flow, Found, LIST_MAX};
use crate::domain::destinations::fault::{Fault, FaultKind, Finishing};
use crate::domain::destinations::outgoing::Outgoing;
use crate::domain::destinations::sftp::answers::{TypeTold, is_missing, is_no, modified, told};
use crate::domain::destinations::sftp::connection::Connection;
use crate::domain::destinations::sftp::drop_box::{self, DropBox};
use crate::domain::destinations::sftp::faults;
use crate::domain::destinations::sftp::window::{WINDOW, Window};
use crate::domain::destinations::transfer;
use crate::domain::error::{Error, Result};
use ssh2::{ErrorCode, FileStat, OpenFlags, OpenType};
use std::cell::Cell;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// The size of one read, in bytes. libssh2 requests four times as much ahead. If that exceeds three quarters
/// of its 2 MiB window, libssh2 (up to 1.11.1) widens the window in two uncoordinated places, and treats the
/// connection as broken if the server rekeys between them.
const READ_BLOCK: usize = 384 * 1024;

/// A directory on an SFTP server.
pub struct SftpDirectory {
    connection: Connection,
    directory: String,
    place: String,
    write_only: bool,
    sync: Cell<bool>,
    seen: Seen,
}

/// What this connection revealed about the server.
#[derive(Default)]
struct Seen {
    /// The server does not remove files: a draft can only be overwritten.
    keeps_files: Cell<bool>,
    /// The server does not let the account inspect the directory.
    hides_directory: Cell<bool>,
    /// The size that the server reported while the file was open.
    open_size: Cell<Option<u64>>,
}

impl SftpDirectory {
    /// The directory `directory` of a logged-in account; empty for the directory where the login starts.
    pub fn new(connection: Connection, directory: &str) -> Self {
        let shown = if directory.is_empty() { "the start directory" } else { directory };
        let place = format!("{shown} on {}", connection.server());
        Self {
            connection,
            directory: directory.to_owned(),
            place,
            write_only: false,
            sync: Cell::new(true),
            seen: Seen::default(),
        }
    }

    /// The same as a write-only drop box, if `write_only`: then it is no error if files cannot be inspected.
    #[must_use]
    pub fn write_only(self, write_only: bool) -> Self {
        Self { write_only, ..self }
    }

    /// Whether the server does not let this account inspect the directory.
    pub fn hides_directory(&self) -> bool {
        self.seen.hides_directory.get()
    }

    /// The connection.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    fn path(&self, name: &str) -> String {
        match self.directory.as_str() {
            "" => name.to_owned(),
            directory if directory.ends_with('/') => format!("{directory}{name}"),
            directory => format!("{directory}/{name}"),
        }
    }

    fn doing(&self, what: &str, name: &str) -> String {
        format!("{what} {} on {}", self.path(name), self.connection.server())
    }

    /// What `name` is. If the server does not say, opening the file for reading may tell.
    fn look(&self, name: &str) -> Result<Option<Found>> {
        let path = self.path(name);
        match self.connection.sftp().lstat(Path::new(&path)) {
            Ok(stat) => self.entry(name, &stat).map(Some),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) if is_no(&error) && !self.write_only => self.look_by_reading(name, &error),
            Err(error) => Err(self.failed("Inspecting", name)(error)),
        }
    }

    fn look_by_reading(&self, name: &str, denied: &ssh2::Error) -> Result<Option<Found>> {
        match self.open(name, OpenFlags::READ) {
            Ok(mut open) => {
                let size = open.file().and_then(ssh2::File::stat).ok().and_then(|stat| stat.size);
                open.close_read(name)?;
                size.map_or_else(|| self.count(name), Ok).map(|size| Some(Found::File(size)))
            }
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) if is_no(&error) => Err(self.unreadable("Inspecting", name, denied)),
            Err(error) => Err(self.failed("Inspecting", name)(error)),
        }
    }

    fn unreadable(&self, what: &str, name: &str, denied: &ssh2::Error) -> Error {
        match self.connection.fault(&self.doing(what, name), denied) {
            Error::OffSite(fault) => faults::unreadable(fault, self.connection.server()).into(),
            other => other,
        }
    }

    /// What the attributes say. A server may leave out the type and the size.
    fn entry(&self, name: &str, stat: &FileStat) -> Result<Found> {
        let size = match told(stat) {
            Some(TypeTold::Directory) => return Ok(Found::Directory),
            Some(TypeTold::Other) => return Ok(Found::Other),
            None if self.opens_as_directory(&self.path(name))? => return Ok(Found::Directory),
            Some(TypeTold::File) | None => stat.size,
        };
        match size {
            Some(size) => Ok(Found::File(size)),
            None if self.write_only => Ok(Found::File(0)),
            None => self.count(name).map(Found::File),
        }
    }

    fn opens_as_directory(&self, path: &str) -> Result<bool> {
        match self.connection.sftp().opendir(Path::new(path)) {
            Ok(directory) => {
                OpenFile { file: Some(directory), connection: &self.connection }.close_read(path)?;
                Ok(true)
            }
            Err(error) if matches!(error.code(), ErrorCode::SFTP(_)) => Ok(false),
            Err(error) => {
                let doing = format!("Inspecting {path} on {}", self.connection.server());
                Err(self.connection.fault(&doing, &error))
            }
        }
    }

    /// The size of a file, counted by reading, if the server does not report it.
    fn count(&self, name: &str) -> Result<u64> {
        let mut size = 0;
        self.read(name, &mut |block| {
            size += block.len() as u64;
            Ok(Flow::On)
        })?;
        Ok(size)
    }

    /// Whether `path` is a directory, following links: an administrator may have put it on another disk. One
    /// that cannot be inspected counts as a directory; the next operation shows.
    fn is_directory(&self, path: &str) -> Result<bool> {
        match self.connection.sftp().stat(Path::new(path)) {
            Ok(stat) if stat.is_dir() => Ok(true),
            Ok(stat) if told(&stat).is_none() && self.opens_as_directory(path)? => Ok(true),
            Ok(_) => {
                let words =
                    format!("{path} on {} is not a directory. Choose another one.", self.connection.server());
                Err(Error::from(Fault::new(FaultKind::Taken, words)))
            }
            Err(error) if is_missing(&error) => Ok(false),
            Err(error) if is_no(&error) => {
                self.seen.hides_directory.set(true);
                Ok(true)
            }
            Err(error) => {
                let doing = format!("Inspecting {path} on {}", self.connection.server());
                Err(self.connection.fault(&doing, &error))
            }
        }
    }

    fn failed(&self, what: &str, name: &str) -> impl Fn(ssh2::Error) -> Error {
        let doing = self.doing(what, name);
        move |error| self.connection.fault(&doing, &error)
    }

    fn open(&self, name: &str, flags: OpenFlags) -> Result<OpenFile<'_>, ssh2::Error> {
        let file =
            self.connection.sftp().open_mode(Path::new(&self.path(name)), flags, 0o600, OpenType::File)?;
        Ok(OpenFile { file: Some(file), connection: &self.connection })
    }

    /// Opens a draft for writing: a new one if `from` is 0, otherwise the existing one.
    fn open_for(&self, name: &str, from: u64) -> Result<OpenFile<'_>, ssh2::Error> {
        self.seen.open_size.set(None);
        if from > 0 {
            return self.open(name, OpenFlags::WRITE);
        }
        let refused = match self.open(name, OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::EXCLUSIVE) {
            Err(error) if matches!(error.code(), ErrorCode::SFTP(3 | 4 | 5 | 8 | 11)) => error,
            opened => return opened,
        };
        // Some servers ignore "create new only"; and where files cannot be removed, a draft is overwritten.
        let over = name.starts_with(DRAFT_PREFIX) && (self.seen.keeps_files.get() || self.write_only);
        let plain = refused.code() == ErrorCode::SFTP(8) && matches!(self.look(name), Ok(None));
        if over || plain {
            return self.open(name, OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::TRUNCATE);
        }
        Err(refused)
    }

    /// Syncs and closes a written file, for which a server may need long. Returns whether it is durable.
    fn finish(&self, name: &str, mut open: OpenFile<'_>) -> Result<bool> {
        let fault = |step: Finishing, error: &ssh2::Error, took| {
            self.connection.finishing_fault(step, &self.doing(step.doing(), name), error, took)
        };
        let durable = if self.sync.get() {
            match self.connection.patiently(|| open.file().and_then(ssh2::File::fsync)) {
                (Ok(()), _) => true,
                (Err(error), _) if matches!(error.code(), ErrorCode::SFTP(_)) => false,
                (Err(error), took) => return Err(fault(Finishing::Syncing, &error, took)),
            }
        } else {
            false
        };
        if self.write_only {
            let stat = open.file().and_then(ssh2::File::stat);
            self.seen.open_size.set(stat.ok().and_then(|stat| stat.size).filter(|size| *size > 0));
        }
        match open.close() {
            (Ok(()), _) => Ok(durable),
            (Err(error), took) => Err(fault(Finishing::Closing { durable }, &error, took)),
        }
    }

    /// A write that a server refuses without a reason usually failed for lack of space.
    fn write_fault(&self, name: &str, open: &mut OpenFile<'_>, error: &io::Error) -> Error {
        let doing = self.doing("Writing", name);
        let fault = self.connection.stream_fault(&doing, error);
        match fault {
            Error::OffSite(fault) if fault.kind == FaultKind::Other => {
                let free = open.file().and_then(free_around);
                if free.is_ok_and(|free| free < WINDOW as u64) {
                    let words = format!("{doing} failed: the server's disk is full. Free some space there.");
                    return Fault::new(FaultKind::Full, words).into();
                }
                fault.into()
            }
            other => other,
        }
    }
}

impl Destination for SftpDirectory {
    fn place(&self) -> &str {
        &self.place
    }

    fn prepare(&self) -> Result<bool> {
        if self.directory.is_empty() {
            return Ok(false);
        }
        if self.is_directory(&self.directory)? {
            return Ok(false);
        }
        let ends = self.directory.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0);
        for end in ends.chain([self.directory.len()]) {
            let path = &self.directory[..end];
            if !self.is_directory(path)? {
                match self.connection.sftp().mkdir(Path::new(path), 0o700) {
                    Ok(()) => {}
                    // Another client may have created it in the meantime.
                    Err(_) if self.is_directory(path).unwrap_or(false) => {}
                    Err(error) => {
                        let doing = format!("Creating {path} on {}", self.connection.server());
                        return Err(self.connection.fault(&doing, &error));
                    }
                }
            }
        }
        Ok(true)
    }

    fn stat(&self, name: &str) -> Result<Option<Found>> {
        self.look(name)
    }

    fn list(&self) -> Result<Vec<FileThere>> {
        let doing = format!("Listing {}", self.place);
        let failed = |error: ssh2::Error| self.connection.fault(&doing, &error);
        let path = if self.directory.is_empty() { "." } else { &self.directory };
        let directory = self.connection.sftp().opendir(Path::new(path)).map_err(failed)?;
        let mut open = OpenFile { file: Some(directory), connection: &self.connection };
        let mut listed = Vec::new();
        for _ in 0..LIST_MAX {
            match open.file().and_then(ssh2::File::readdir) {
                Ok((name, stat)) => {
                    let name = name.to_str().filter(|name| !matches!(*name, "." | ".."));
                    if let (Some(name), Some(TypeTold::File) | None) = (name, told(&stat)) {
                        let modified = modified(&stat);
                        listed.push((name.to_owned(), stat.size, modified));
                    }
                }
                // The library reports the end of the list as LIBSSH2_ERROR_FILE.
                Err(error) if error.code() == ErrorCode::Session(-16) => break,
                Err(error) => return Err(failed(error)),
            }
        }
        open.close_read(path)?;
        let mut files = Vec::new();
        for (name, size, modified) in listed {
            let size = match size {
                Some(size) => size,
                // Few servers leave the type out; they are asked only about names that may be backups.
                None if name.starts_with("backup_") => match self.stat(&name)? {
                    Some(Found::File(size)) => size,
                    _ => continue,
                },
                None => continue,
            };
            files.push(FileThere { name, size, modified });
        }
        Ok(files)
    }

    fn put(
        &self,
        name: &str,
        from: u64,
        source: &mut dyn FnMut(&mut [u8]) -> Result<usize>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<bool> {
        let mut open = self.open_for(name, from).map_err(self.failed("Writing", name))?;
        let failed = self.failed("Writing", name);
        if let Err(error) = open.file().map_err(&failed)?.seek(SeekFrom::Start(from)) {
            return Err(self.write_fault(name, &mut open, &error));
        }
        let mut there = from;
        let mut window = Window::new();
        loop {
            window.fill(source)?;
            if window.bytes().is_empty() {
                break;
            }
            self.connection.check_cancel()?;
            let began = Instant::now();
            match open.file().map_err(&failed)?.write(window.bytes()) {
                Ok(0) => {
                    return Err(Fault::lost(self.connection.server(), &self.doing("Writing", name)).into());
                }
                Ok(written) => {
                    window.acknowledge(written, began.elapsed());
                    there += written as u64;
                    progress(there);
                }
                Err(error) => return Err(self.write_fault(name, &mut open, &error)),
            }
        }
        self.finish(name, open)
    }

    fn read(&self, name: &str, sink: &mut dyn FnMut(&[u8]) -> Result<Flow>) -> Result<()> {
        let mut open = self.open(name, OpenFlags::READ).map_err(|error| {
            if is_no(&error) && !self.write_only {
                self.unreadable("Reading", name, &error)
            } else {
                self.failed("Reading", name)(error)
            }
        })?;
        let file = open.file().map_err(self.failed("Reading", name))?;
        let mut block = vec![0; READ_BLOCK];
        loop {
            self.connection.check_cancel()?;
            let read = file
                .read(&mut block)
                .map_err(|error| self.connection.stream_fault(&self.doing("Reading", name), &error))?;
            if read == 0 || sink(&block[..read])? == Flow::Enough {
                return open.close_read(name);
            }
        }
    }

    fn commit(&self, from: &str, to: &str) -> Result<bool> {
        // SFTP 3 does not define a rename onto an existing name: OpenSSH refuses, others replace. If a drop
        // box reveals nothing about its files, it has to be trusted not to replace one.
        let taken = |name: &str| match self.stat(name) {
            Err(Error::OffSite(fault)) if self.write_only && !fault.is_passing() => Ok(None),
            found => found.map(|found| Some(found.is_some())),
        };
        if taken(to)? == Some(true) {
            return Ok(false);
        }
        let (source, target) = (self.path(from), self.path(to));
        let (renamed, took) = self.connection.patiently(|| {
            let flags = ssh2::RenameFlags::empty();
            self.connection.sftp().rename(Path::new(&source), Path::new(&target), Some(flags))
        });
        let Err(error) = renamed else { return Ok(true) };
        if matches!(error.code(), ErrorCode::SFTP(_)) && taken(to)? == Some(true) {
            // If the old name is gone, the rename was done, whatever the server answered.
            return Ok(taken(from)? == Some(false));
        }
        let step = Finishing::Naming;
        Err(self.connection.finishing_fault(step, &self.doing(step.doing(), to), &error, took))
    }

    fn remove(&self, name: &str) -> Result<bool> {
        match self.connection.sftp().unlink(Path::new(&self.path(name))) {
            Ok(()) => Ok(true),
            Err(error) if is_missing(&error) => Ok(false),
            Err(error) => {
                if matches!(error.code(), ErrorCode::SFTP(_)) {
                    self.seen.keeps_files.set(true);
                }
                Err(self.failed("Removing", name)(error))
            }
        }
    }

    fn free_space(&self, name: &str) -> Result<Option<u64>> {
        let failed = self.failed("Inspecting", name);
        let mut open = self.open(name, OpenFlags::READ).map_err(&failed)?;
        let free = open.file().and_then(free_around);
        open.close_read(name)?;
        match free {
            Ok(free) => Ok(Some(free)),
            Err(error) if matches!(error.code(), ErrorCode::SFTP(_)) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    fn upload(&self, backup: &Outgoing, attempt: &Attempt<'_>) -> Result<Uploaded> {
        self.sync.set(!attempt.lessons.no_sync.get());
        if self.write_only {
            drop_box::send(self, backup, attempt)
        } else {
            transfer::send(self, backup, attempt)
        }
    }

    fn is_write_only(&self) -> bool {
        self.write_only
    }
}

impl DropBox for SftpDirectory {
    fn written_size(&self, name: &str) -> Result<Option<u64>> {
        match self.stat(name) {
            Ok(Some(Found::File(size))) if size > 0 => Ok(Some(size)),
            Err(Error::OffSite(fault)) if fault.is_passing() => Err(fault.into()),
            // A drop box may hide a file as soon as it has arrived.
            _ => Ok(self.seen.open_size.get()),
        }
    }
}

/// An open file on the server. It is never closed over a failed connection, because that would wait for an
/// answer.
struct OpenFile<'c> {
    file: Option<ssh2::File>,
    connection: &'c Connection,
}

impl OpenFile<'_> {
    fn file(&mut self) -> Result<&mut ssh2::File, ssh2::Error> {
        self.file.as_mut().ok_or_else(ssh2::Error::unknown)
    }

    /// Closes the file, and returns how long that took.
    fn close(&mut self) -> (Result<(), ssh2::Error>, Duration) {
        let closed = self.connection.patiently(|| self.file.as_mut().map_or(Ok(()), ssh2::File::close));
        self.connection.hang_up_if_broken();
        self.file = None;
        closed
    }

    /// Closes a file that was only read: an error does not matter.
    fn close_read(mut self, name: &str) -> Result<()> {
        match self.close() {
            (Err(error), took) if !matches!(error.code(), ErrorCode::SFTP(_)) => {
                let step = Finishing::Closing { durable: false };
                let doing = format!("{} {name} on {}", step.doing(), self.connection.server());
                Err(self.connection.finishing_fault(step, &doing, &error, took))
            }
            _ => Ok(()),
        }
    }
}

impl Drop for OpenFile<'_> {
    fn drop(&mut self) {
        self.connection.hang_up_if_broken();
    }
}

/// The free bytes, for an ordinary user, on the disk of an open file.
fn free_around(file: &mut ssh2::File) -> Result<u64, ssh2::Error> {
    let found = file.statvfs()?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}
