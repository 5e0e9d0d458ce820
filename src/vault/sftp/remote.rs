//! A place for copies: the few things an upload asks of it, with SFTP as its first kind.

use super::connection::Connection;
use super::fault::{Fault, FaultKind};
use crate::model::Stamp;
use crate::vault::error::{Result, VaultError};
use ssh2::{FileStat, OpenFlags, OpenType};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// What is unacknowledged at most while sending, in bytes: the window an OpenSSH server gives is 2 MiB, and
/// libssh2 cuts what it is given into packets of 30,000.
const WINDOW: usize = 70 * 30_000;

/// What it begins with, and falls back to on a slow line.
const FIRST_WINDOW: usize = 8 * 30_000;

/// A line that takes its share in this time can take more.
const QUICK: Duration = Duration::from_secs(1);

/// What is asked for at once while reading. libssh2 asks for four times as much ahead; where that is more than
/// three quarters of its window of 2 MiB, it widens the window in two places that do not know of each other,
/// and takes the connection for broken when the server asks for new keys between them (1.11.1 and before).
const READ_BLOCK: usize = 384 * 1024;

/// Names longer lists than this are not read to the end of: no backup directory holds as many.
const LIST_MAX: usize = 200_000;

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// A regular file, of so many bytes.
    File(u64),
    /// A directory.
    Directory,
    /// A link, a pipe or something else that is left alone.
    Other,
}

/// A regular file in the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// When it was modified, where the server says.
    pub modified: Option<Stamp>,
}

/// One directory somewhere else. Names are single path components. Every call blocks, and ends within the
/// time the place was opened with.
pub trait Remote {
    /// Where it is, for messages: `/backups on nas.example.org`.
    fn place(&self) -> &str;

    /// Makes the directory, and those above it, where it is missing. `true` where it was.
    fn make_directory(&self) -> Result<bool>;

    /// What `name` stands for; nothing where it is free. A link is not followed.
    fn stat(&self, name: &str) -> Result<Option<Entry>>;

    /// The regular files in the directory.
    fn list(&self) -> Result<Vec<Listed>>;

    /// Writes `source` to its end into the draft `name`, from the byte `from` on: where that is 0 the draft
    /// must be new, else it must be there. `progress` hears how many bytes of it are known to be there. Gives
    /// whether the bytes were made durable; a server need not offer that.
    fn put(
        &self,
        name: &str,
        from: u64,
        source: &mut dyn FnMut(&mut [u8]) -> Result<usize>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<bool>;

    /// Reads `name` from its beginning and hands it on in pieces, until it ends or `sink` has enough.
    fn read(&self, name: &str, sink: &mut dyn FnMut(&[u8]) -> Result<Flow>) -> Result<()>;

    /// Gives `from` the name `to`. `false`, and nothing changed, where that name is taken.
    fn rename_free(&self, from: &str, to: &str) -> Result<bool>;

    /// Removes a file. `false` where there is none.
    fn remove(&self, name: &str) -> Result<bool>;

    /// Bytes this account may still write to the disk on which the file `name` lies; nothing where the server
    /// does not tell.
    fn free_space(&self, name: &str) -> Result<Option<u64>>;
}

/// Whether reading goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// More, please.
    On,
    /// Enough.
    Enough,
}

/// A directory on an SFTP server.
pub struct SftpDirectory {
    connection: Connection,
    directory: String,
    place: String,
}

impl SftpDirectory {
    /// The directory `directory` of an account that is logged in; empty is where the account starts.
    pub fn new(connection: Connection, directory: &str) -> Self {
        let shown = if directory.is_empty() { "the start directory" } else { directory };
        let place = format!("{shown} on {}", connection.server());
        Self { connection, directory: directory.to_owned(), place }
    }

    /// The connection it is reached by.
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

    fn look(&self, path: &str) -> Result<Option<FileStat>, ssh2::Error> {
        match self.connection.sftp().lstat(Path::new(path)) {
            Ok(stat) => Ok(Some(stat)),
            Err(error) if matches!(error.code(), ssh2::ErrorCode::SFTP(2 | 10)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn failed(&self, what: &str, name: &str) -> impl Fn(ssh2::Error) -> VaultError {
        let doing = self.doing(what, name);
        move |error| self.connection.fault(&doing, &error)
    }

    fn open(&self, name: &str, flags: OpenFlags) -> Result<OpenFile<'_>, ssh2::Error> {
        let file =
            self.connection.sftp().open_mode(Path::new(&self.path(name)), flags, 0o600, OpenType::File)?;
        Ok(OpenFile { file: Some(file), connection: &self.connection })
    }

    /// A write that the server refused without a reason it can express is most often one for want of room.
    fn write_fault(&self, name: &str, open: &mut OpenFile<'_>, error: &io::Error) -> VaultError {
        let doing = self.doing("Writing", name);
        let fault = self.connection.stream_fault(&doing, error);
        match fault {
            VaultError::OffSite(fault) if fault.kind == FaultKind::Other => {
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

impl Remote for SftpDirectory {
    fn place(&self) -> &str {
        &self.place
    }

    fn make_directory(&self) -> Result<bool> {
        if self.directory.is_empty() {
            return Ok(false);
        }
        let sftp = self.connection.sftp();
        let failed = |what: &str, path: &str, error: &ssh2::Error| {
            self.connection.fault(&format!("{what} {path} on {}", self.connection.server()), error)
        };
        // Followed where it is a link: an administrator may well have put the directory on another disk.
        let is_there = |path: &str| match sftp.stat(Path::new(path)) {
            Ok(stat) if stat.is_dir() => Ok(true),
            Ok(_) => {
                let words =
                    format!("{path} on {} is no directory. Choose another.", self.connection.server());
                Err(VaultError::from(Fault::new(FaultKind::Taken, words)))
            }
            Err(error) if matches!(error.code(), ssh2::ErrorCode::SFTP(2 | 10)) => Ok(false),
            Err(error) => Err(failed("Looking at", path, &error)),
        };
        if is_there(&self.directory)? {
            return Ok(false);
        }
        let ends = self.directory.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0);
        for end in ends.chain([self.directory.len()]) {
            let path = &self.directory[..end];
            if !is_there(path)? {
                match sftp.mkdir(Path::new(path), 0o700) {
                    Ok(()) => {}
                    // Somebody else may have made it in the meantime.
                    Err(_) if is_there(path).unwrap_or(false) => {}
                    Err(error) => return Err(failed("Making", path, &error)),
                }
            }
        }
        Ok(true)
    }

    fn stat(&self, name: &str) -> Result<Option<Entry>> {
        let found = self.look(&self.path(name)).map_err(self.failed("Looking at", name))?;
        Ok(found.map(|stat| entry(&stat)))
    }

    fn list(&self) -> Result<Vec<Listed>> {
        let doing = format!("Listing {}", self.place);
        let failed = |error: ssh2::Error| self.connection.fault(&doing, &error);
        let path = if self.directory.is_empty() { "." } else { &self.directory };
        let directory = self.connection.sftp().opendir(Path::new(path)).map_err(failed)?;
        let mut open = OpenFile { file: Some(directory), connection: &self.connection };
        let mut listed = Vec::new();
        for _ in 0..LIST_MAX {
            match open.file().and_then(ssh2::File::readdir) {
                Ok((name, stat)) => {
                    if let (Some(name), Entry::File(size)) = (name.to_str(), entry(&stat)) {
                        listed.push(Listed { name: name.to_owned(), size, modified: modified(&stat) });
                    }
                }
                // LIBSSH2_ERROR_FILE is how it says that there are no more.
                Err(error) if error.code() == ssh2::ErrorCode::Session(-16) => break,
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(listed)
    }

    fn put(
        &self,
        name: &str,
        from: u64,
        source: &mut dyn FnMut(&mut [u8]) -> Result<usize>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<bool> {
        let new = if from == 0 { OpenFlags::CREATE | OpenFlags::EXCLUSIVE } else { OpenFlags::empty() };
        let mut open = self.open(name, OpenFlags::WRITE | new).map_err(self.failed("Writing", name))?;
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
        let durable = match open.file().map_err(&failed)?.fsync() {
            Ok(()) => true,
            Err(error) if matches!(error.code(), ssh2::ErrorCode::SFTP(_)) => false,
            Err(error) => return Err(self.failed("Syncing", name)(error)),
        };
        open.close().map_err(self.failed("Closing", name))?;
        Ok(durable)
    }

    fn read(&self, name: &str, sink: &mut dyn FnMut(&[u8]) -> Result<Flow>) -> Result<()> {
        let mut open = self.open(name, OpenFlags::READ).map_err(self.failed("Reading", name))?;
        let file = open.file().map_err(self.failed("Reading", name))?;
        let mut block = vec![0; READ_BLOCK];
        loop {
            self.connection.check_cancel()?;
            let read = file
                .read(&mut block)
                .map_err(|error| self.connection.stream_fault(&self.doing("Reading", name), &error))?;
            if read == 0 || sink(&block[..read])? == Flow::Enough {
                return Ok(());
            }
        }
    }

    fn rename_free(&self, from: &str, to: &str) -> Result<bool> {
        // SFTP 3 leaves open what a rename onto a name that is taken does: OpenSSH refuses, others replace.
        if self.stat(to)?.is_some() {
            return Ok(false);
        }
        let (source, target) = (self.path(from), self.path(to));
        let flags = ssh2::RenameFlags::empty();
        match self.connection.sftp().rename(Path::new(&source), Path::new(&target), Some(flags)) {
            Ok(()) => Ok(true),
            Err(error)
                if matches!(error.code(), ssh2::ErrorCode::SFTP(4 | 11)) && self.stat(to)?.is_some() =>
            {
                Ok(false)
            }
            Err(error) => Err(self.failed("Renaming a file to", to)(error)),
        }
    }

    fn remove(&self, name: &str) -> Result<bool> {
        match self.connection.sftp().unlink(Path::new(&self.path(name))) {
            Ok(()) => Ok(true),
            Err(error) if matches!(error.code(), ssh2::ErrorCode::SFTP(2 | 10)) => Ok(false),
            Err(error) => Err(self.failed("Removing", name)(error)),
        }
    }

    fn free_space(&self, name: &str) -> Result<Option<u64>> {
        let failed = self.failed("Looking at", name);
        let mut open = self.open(name, OpenFlags::READ).map_err(&failed)?;
        match open.file().and_then(free_around) {
            Ok(free) => Ok(Some(free)),
            Err(error) if matches!(error.code(), ssh2::ErrorCode::SFTP(_)) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }
}

/// What is on its way: unacknowledged bytes in front, new ones behind. libssh2 remembers how much of what it
/// is given it has sent already, and returns at the first acknowledgement; so it is given the same bytes
/// again, with more behind them, and the way is never empty.
struct Window {
    buffer: Vec<u8>,
    low: usize,
    high: usize,
    width: usize,
    ended: bool,
}

impl Window {
    fn new() -> Self {
        Self { buffer: vec![0; 2 * WINDOW], low: 0, high: 0, width: FIRST_WINDOW, ended: false }
    }

    fn bytes(&self) -> &[u8] {
        &self.buffer[self.low..self.high]
    }

    fn fill(&mut self, source: &mut dyn FnMut(&mut [u8]) -> Result<usize>) -> Result<()> {
        if self.low + self.width > self.buffer.len() {
            self.buffer.copy_within(self.low..self.high, 0);
            (self.low, self.high) = (0, self.high - self.low);
        }
        while !self.ended && self.high < self.low + self.width {
            match source(&mut self.buffer[self.high..self.low + self.width])? {
                0 => self.ended = true,
                read => self.high += read,
            }
        }
        Ok(())
    }

    /// All of it must be sent before the first acknowledgement is looked at, and within the timeout: so a
    /// slow line gets less of it.
    fn acknowledge(&mut self, written: usize, took: Duration) {
        self.low += written;
        self.width = if took < QUICK { self.width * 2 } else { self.width / 2 }.clamp(FIRST_WINDOW, WINDOW);
    }
}

/// A file on the server, which is never closed over a connection that has failed: that would wait for an
/// answer once more.
struct OpenFile<'c> {
    file: Option<ssh2::File>,
    connection: &'c Connection,
}

impl OpenFile<'_> {
    fn file(&mut self) -> Result<&mut ssh2::File, ssh2::Error> {
        self.file.as_mut().ok_or_else(ssh2::Error::unknown)
    }

    fn close(&mut self) -> Result<(), ssh2::Error> {
        self.file.take().map_or(Ok(()), |mut file| file.close())
    }
}

impl Drop for OpenFile<'_> {
    fn drop(&mut self) {
        self.connection.hang_up_if_broken();
    }
}

/// Bytes left, for somebody without special rights, on the disk of an open file.
fn free_around(file: &mut ssh2::File) -> Result<u64, ssh2::Error> {
    let found = file.statvfs()?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

fn entry(stat: &FileStat) -> Entry {
    if stat.is_file() {
        Entry::File(stat.size.unwrap_or(0))
    } else if stat.is_dir() {
        Entry::Directory
    } else {
        Entry::Other
    }
}

fn modified(stat: &FileStat) -> Option<Stamp> {
    let seconds = i64::try_from(stat.mtime?).ok()?;
    Some(Stamp::from_millis(seconds.saturating_mul(1000)))
}
