//! The file that marks a disk as a destination. An empty mount point has none, so it is never mistaken for an
//! empty NAS.

use crate::domain::destinations::directory::faults::{failed, is_not_offered, not_mounted};
use crate::domain::error::Result;
use crate::domain::random;
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::Path;

/// The file's name, at the root of the disk or share.
pub const MARKER: &str = ".holdfast-destination";

/// The longest marker, in bytes.
const MAX_SIZE: u64 = 1024;

/// The prefix of the line with the id.
const ID: &str = "id: ";

/// Fails unless the disk that is mounted at `path` has the marker `id`. `root` is `path`, opened.
pub fn check(root: &File, path: &Path, id: &str) -> Result<()> {
    let path = path.display();
    match read(root, &path.to_string())? {
        Some(found) if found == id => Ok(()),
        Some(_) => Err(not_mounted(format!(
            "Another disk is mounted at {path}: its file {MARKER} is not the one that Holdfast wrote. Mount the right \
             disk, or set up the destination again."
        ))),
        None => Err(not_mounted(format!(
            "The disk or share is not mounted at {path}: the file {MARKER}, which Holdfast wrote there, is missing. \
             Mount it, then try again. If that file was deleted, set up the destination again."
        ))),
    }
}

/// The id in the marker of the disk; `None` if it has none.
pub fn read(root: &File, shown: &str) -> Result<Option<String>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match openat(root, MARKER, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(failed(&format!("Reading {shown}/{MARKER}"), &error.into())),
    };
    let mut text = String::new();
    match file.take(MAX_SIZE).read_to_string(&mut text) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(None),
        Err(error) => return Err(failed(&format!("Reading {shown}/{MARKER}"), &error)),
    }
    let id = text.lines().find_map(|line| line.strip_prefix(ID));
    Ok(id.filter(|id| !id.is_empty()).map(str::to_owned))
}

/// Marks the disk, and returns the marker's id. An existing marker is kept.
pub fn make(root: &File, shown: &str) -> Result<String> {
    if let Some(id) = read(root, shown)? {
        return Ok(id);
    }
    let id = random::hex::<16>()?;
    let doing = format!("Writing {shown}/{MARKER}");
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(root, MARKER, flags, Mode::from_raw_mode(0o644)).map(File::from);
    let mut file = file.map_err(|error| failed(&doing, &error.into()))?;
    let text = format!(
        "Holdfast keeps copies of backups on this disk and uses this file to recognise it: do not delete \
         the file.\n{ID}{id}\n"
    );
    file.write_all(text.as_bytes()).map_err(|error| failed(&doing, &error))?;
    for synced in [file.sync_all(), root.sync_all()] {
        match synced {
            Err(error) if !is_not_offered(&error) => return Err(failed(&doing, &error)),
            _ => {}
        }
    }
    Ok(id)
}
