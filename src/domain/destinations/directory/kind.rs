//! Directories as a kind of destination: which ones are set up, and how they are opened.

use crate::domain::destinations::destination::Destination;
use crate::domain::destinations::directory::folder::Folder;
use crate::domain::destinations::kind::{Access, Configured, Kind, Opening};
use crate::domain::destinations::name::DestinationName;
use crate::domain::destinations::settings_rows::{self, StoredDestination};
use crate::domain::destinations::shared::Shared;
use crate::domain::error::Result;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The name of this kind in a destination's row.
pub const KIND: &str = "directory";

/// Where the folder is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryConfig {
    /// The mount point of the disk or share: an absolute path.
    pub root: String,
    /// The folder for the copies: one path component.
    pub folder: String,
    /// The id in the file that marks the disk; see [`marker`](super::marker).
    pub marker: String,
}

/// The kind.
pub struct Directory;

impl Kind for Directory {
    fn configured(&self, shared: &Shared) -> Result<Vec<Box<dyn Configured>>> {
        let stored = settings_rows::of_kind::<DirectoryConfig>(&shared.store, KIND)?;
        Ok(stored.into_iter().map(|(name, stored)| boxed(ConfiguredDirectory { name, stored })).collect())
    }
}

fn boxed(configured: ConfiguredDirectory) -> Box<dyn Configured> {
    Box::new(configured)
}

/// A configured folder.
struct ConfiguredDirectory {
    name: DestinationName,
    stored: StoredDestination<DirectoryConfig>,
}

impl Configured for ConfiguredDirectory {
    fn name(&self) -> &DestinationName {
        &self.name
    }

    fn label(&self) -> &str {
        &self.stored.config.root
    }

    fn directory(&self) -> &str {
        &self.stored.config.folder
    }

    fn is_enabled(&self) -> bool {
        self.stored.enabled
    }

    fn sends_new(&self) -> bool {
        self.stored.send_new
    }

    fn access(&self, _: &Shared) -> Result<Box<dyn Access>> {
        Ok(Box::new(DirectoryAccess(self.stored.config.clone())))
    }
}

/// A directory needs no login.
struct DirectoryAccess(DirectoryConfig);

impl Access for DirectoryAccess {
    fn open(&self, opening: &Opening<'_>) -> Result<Box<dyn Destination>> {
        let DirectoryConfig { root, folder, marker } = &self.0;
        Ok(Box::new(Folder::open(Path::new(root), folder, marker, opening.cancel)?))
    }
}
