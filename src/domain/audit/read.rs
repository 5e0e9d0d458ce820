//! Reads the audit log: page by page from its end, or completely as a download.

use crate::domain::audit::log::Audit;
use crate::domain::error::{Error, Result};
use crate::domain::repository::download::Download;
use crate::model::Stamp;
use crate::model::audit::{AuditPage, AuditQuery};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::PathBuf;

/// The entries on a page.
const PAGE: usize = 100;
/// Bytes read at a time, from the end of the file.
const BLOCK: usize = 64 * 1024;
/// The longest line that is read, in bytes; Holdfast writes none as long.
pub(super) const LINE: usize = 1 << 20;

impl Audit {
    /// The files of the log, oldest first.
    pub(super) fn files(&self) -> io::Result<Vec<PathBuf>> {
        let mut aside = Vec::new();
        for entry in self.directory().read_dir()? {
            let name = entry?.file_name();
            let name = name.to_string_lossy();
            if name.starts_with("audit-") && name.ends_with(".jsonl") {
                aside.push(self.directory().join(&*name));
            }
        }
        aside.sort();
        aside.push(self.path());
        Ok(aside)
    }

    /// One page of the entries that match `query`, newest first. Skips lines that Holdfast did not write.
    pub fn read(&self, query: &AuditQuery) -> Result<AuditPage> {
        let mut page = AuditPage::default();
        let mut skip =
            usize::try_from(query.page.saturating_sub(1)).unwrap_or(usize::MAX).saturating_mul(PAGE);
        let mut hear = |line: &[u8]| {
            let Some(entry) = serde_json::from_slice(line).ok().filter(|entry| query.matches(entry)) else {
                return true;
            };
            if skip > 0 {
                skip -= 1;
            } else if page.entries.len() < PAGE {
                page.entries.push(entry);
            } else {
                page.has_more = true;
            }
            !page.has_more
        };
        let failed = |error| Error::file("Reading", &self.path(), error);
        for path in self.files().map_err(failed)?.iter().rev() {
            let file = match File::open(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                opened => opened.map_err(failed)?,
            };
            if !backwards(&file, &mut hear).map_err(failed)? {
                break;
            }
        }
        Ok(page)
    }

    /// The whole log as it is now, oldest first, for download.
    pub fn open_whole(&self) -> Result<OpenLog> {
        let failed = |error| Error::file("Reading", &self.path(), error);
        let mut log = OpenLog { parts: Vec::new(), size: 0, mark: String::new(), modified: self.now() };
        let mut inode = 0;
        for path in self.files().map_err(failed)? {
            let file = match File::open(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                opened => opened.map_err(failed)?,
            };
            let found = file.metadata().map_err(failed)?;
            inode = found.ino();
            log.parts.push((log.size..log.size + found.len(), file));
            log.size += found.len();
            log.modified = Stamp::from_millis(found.mtime() * 1000);
        }
        // Only the last file grows.
        log.mark = format!("{inode:x}-{:x}", log.size);
        Ok(log)
    }
}

/// The log with its files open.
pub struct OpenLog {
    /// The range of bytes of each file in the download.
    parts: Vec<(Range<u64>, File)>,
    size: u64,
    mark: String,
    modified: Stamp,
}

impl Download for OpenLog {
    fn size(&self) -> u64 {
        self.size
    }

    fn mark(&self) -> &str {
        &self.mark
    }

    fn modified(&self) -> Stamp {
        self.modified
    }

    fn is_told_by_time(&self) -> bool {
        false
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let (mut at, mut left) = (offset, buf);
        for (range, file) in self.parts.iter().filter(|(range, _)| range.end > offset) {
            if left.is_empty() {
                break;
            }
            let most = usize::try_from(range.end - at).unwrap_or(usize::MAX).min(left.len());
            let (now, later) = left.split_at_mut(most);
            file.read_exact_at(now, at - range.start)?;
            at += now.len() as u64;
            left = later;
        }
        if left.is_empty() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

/// Passes each complete line of `file` to `hear`, the last one first, until `hear` returns false. Returns
/// whether more lines are wanted.
fn backwards(file: &File, hear: &mut dyn FnMut(&[u8]) -> bool) -> io::Result<bool> {
    let mut left = file.metadata()?.len();
    // The beginning of a line whose end was read already; `None` if the line is too long to be Holdfast's.
    let mut tail = Some(Vec::new());
    let mut block = vec![0; BLOCK];
    while left > 0 {
        let length = BLOCK.min(usize::try_from(left).unwrap_or(BLOCK));
        left -= length as u64;
        let block = &mut block[..length];
        file.read_exact_at(block, left)?;
        let mut end = length;
        while let Some(at) = block[..end].iter().rposition(|byte| *byte == b'\n') {
            if !tell(&block[at + 1..end], tail.replace(Vec::new()), hear) {
                return Ok(false);
            }
            end = at;
        }
        tail = tail.filter(|tail| tail.len() < LINE).map(|tail| [&block[..end], &tail].concat());
    }
    Ok(tell(&[], tail, hear))
}

fn tell(beginning: &[u8], tail: Option<Vec<u8>>, hear: &mut dyn FnMut(&[u8]) -> bool) -> bool {
    let Some(tail) = tail else { return true };
    let line = [beginning, &tail].concat();
    line.is_empty() || hear(&line)
}
