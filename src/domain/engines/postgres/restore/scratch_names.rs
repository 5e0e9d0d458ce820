//! Names of scratch databases, and the notes about them that survive a killed run.

use crate::domain::error::Result;
use crate::domain::random;
use rustix::fs::{FlockOperation, flock};
use sha2::{Digest, Sha256};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The prefix of scratch databases' names; twelve of `a-z0-9` follow.
const PREFIX: &str = "holdfast_restore_";
const LETTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
/// How many of these characters are random; the others are a checksum.
const RANDOM: usize = 7;
const PROOF: usize = 5;

/// The prefix of notes' names.
const NOTE: &str = "scratch-";

/// A note in the run directory that a scratch database may exist: if this process is killed, the next server
/// start drops the database.
pub(super) struct Note {
    path: PathBuf,
    /// Locked while this process lives.
    _lock: File,
}

impl Note {
    pub(super) fn new(run_dir: &Path, name: &str) -> Option<Self> {
        let path = run_dir.join(format!("{NOTE}{name}"));
        let noted = || -> io::Result<Self> {
            DirBuilder::new().recursive(true).mode(0o700).create(run_dir)?;
            let lock = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
            Ok(Self { path: path.clone(), _lock: lock })
        };
        // Without a note, the next restore on that server still drops the database.
        noted()
            .inspect_err(
                |error| tracing::warn!(%error, path = %path.display(), "a note could not be written"),
            )
            .ok()
    }

    /// Removes the note: the database is gone, or no longer ours.
    pub(super) fn strike(self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "a note could not be removed");
        }
    }
}

/// The notes of dead runs.
pub fn notes(run_dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(run_dir) else { return Vec::new() };
    let is_left = |path: &Path| {
        File::open(path).is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok())
    };
    entries
        .flatten()
        .filter(|entry| entry.file_name().as_encoded_bytes().starts_with(NOTE.as_bytes()))
        .map(|entry| entry.path())
        .filter(|path| is_left(path))
        .collect()
}

/// A new name. Its last characters are a checksum of the others, so that a database is recognised as ours
/// between its creation and its comment.
pub fn name() -> Result<String> {
    let random = random::bytes::<RANDOM>()?;
    let random: String = random.iter().copied().map(letter).collect();
    Ok(format!("{PREFIX}{random}{}", proof(&random)))
}

/// Whether a name was made here.
pub fn proves_itself(name: &str) -> bool {
    let own = name.strip_prefix(PREFIX).filter(|own| own.is_ascii() && own.len() == RANDOM + PROOF);
    own.is_some_and(|own| own[RANDOM..] == proof(&own[..RANDOM]))
}

fn proof(random: &str) -> String {
    Sha256::digest(format!("{PREFIX}{random}")).into_iter().take(PROOF).map(letter).collect()
}

fn letter(byte: u8) -> char {
    char::from(LETTERS[usize::from(byte) % LETTERS.len()])
}

#[cfg(test)]
mod tests {
    use crate::domain::engines::postgres::restore::scratch_names::*;

    #[test]
    fn a_name_is_of_its_form_and_proves_itself() {
        let name = name().unwrap();
        let own = name.strip_prefix(PREFIX).unwrap();
        assert!(own.len() == 12 && own.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()));
        assert_ne!(name, super::name().unwrap());
        assert!(proves_itself(&name));
        for strangers in
            ["holdfast_restore_aaaaaaaaaaaa", "holdfast_restore_", "shop", "holdfast_restore_éééééé"]
        {
            assert!(!proves_itself(strangers), "{strangers}");
        }
        assert_eq!(crate::domain::engines::postgres::origin::quoted("a\"; DROP"), "\"a\"\"; DROP\"");
    }
}
