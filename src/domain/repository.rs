//! The backup directory, and what Holdfast knows about the files in it.

pub mod catalog;
pub mod content;
pub mod delete;
pub mod digests;
pub mod directory;
pub mod download;
pub mod locks;
pub mod manifest;
pub mod private_file;
pub mod publish;
pub mod sweep;
pub mod verification;

use crate::domain::repository::catalog::Catalog;
use crate::domain::repository::digests::Digests;
use crate::domain::repository::directory::BackupDir;
use crate::domain::state::Store;
use std::sync::Arc;

/// An opened backup directory. Clones share everything.
#[derive(Clone)]
pub struct Repository {
    /// The directory: locks, drafts, publishing, deleting.
    pub directory: Arc<BackupDir>,
    /// The list of its backups.
    pub catalog: Arc<Catalog>,
    /// Checksums of files that have no manifest.
    pub digests: Arc<Digests>,
}

impl Repository {
    /// Over an open directory. Checksums are stored in `store`.
    pub fn new(directory: BackupDir, store: &Store) -> Self {
        let directory = Arc::new(directory);
        Self {
            catalog: Arc::new(Catalog::new(Arc::clone(&directory))),
            digests: Arc::new(Digests::new(store.clone())),
            directory,
        }
    }
}
