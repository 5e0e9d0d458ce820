//! Sets up directory destinations: marks the disk, stores the path of its mount point, and forgets both.

use crate::domain::audit::Notes;
use crate::domain::destinations::Destinations;
use crate::domain::destinations::destination::{DRAFT_PREFIX, Destination as _};
use crate::domain::destinations::directory::folder::{Folder, open_root};
use crate::domain::destinations::directory::kind::{DirectoryConfig, KIND};
use crate::domain::destinations::directory::marker;
use crate::domain::destinations::fault::{Fault, FaultKind};
use crate::domain::destinations::name::DestinationName;
use crate::domain::destinations::settings_rows::{self, StoredDestination};
use crate::domain::destinations::shared::Shared;
use crate::domain::destinations::transfer::{clear, put_small, read_small};
use crate::domain::engines::Cancel;
use crate::domain::error::{Code, Error, Result};
use crate::model::audit::Event;
use rustix::fs::fstat;
use rustix::io::Errno;
use std::fs::File;
use std::path::Path;

/// The form for a directory destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryInput {
    /// Whether the destination is enabled.
    pub enabled: bool,
    /// Whether each new backup is uploaded automatically.
    pub send_new: bool,
    /// The mount point of the disk or share: an absolute path that exists.
    pub root: String,
    /// The folder for the copies: one path component, created if missing.
    pub folder: String,
    /// Whether the directory may be on the same disk as the backups. Such copies are lost with that disk, and
    /// usually it means that nothing is mounted there.
    pub same_disk: bool,
}

/// Administers directory destinations for an actor. Calls block.
pub struct DirectoryAdmin<'d> {
    destinations: &'d Destinations,
    notes: Notes,
}

impl<'d> DirectoryAdmin<'d> {
    /// For the actor of `destinations`, whom the audit log names.
    pub fn of(destinations: &'d Destinations) -> Self {
        Self { notes: destinations.notes().clone(), destinations }
    }

    /// Sets up the destination `name`, or replaces its settings: marks the mounted disk, creates the folder,
    /// and stores both. Fails, and stores nothing, if a test file cannot be written there.
    pub fn set_up(&self, name: &DestinationName, input: &DirectoryInput) -> Result<()> {
        let stored = self.mark(name, input).and_then(|config| self.store(name, input, config));
        let object = object(name);
        self.notes.noted(Event::SettingsChanged, &object, stored, |()| {
            format!("directory {} at {}", input.folder, input.root)
        })
    }

    /// Forgets the destination `name` and the records of its copies. The copies and the marker stay.
    pub fn forget(&self, name: &DestinationName) -> Result<()> {
        let shared = self.shared();
        let forgotten =
            settings_rows::forget(&shared.store, name).and_then(|()| shared.copies.forget_all(name));
        self.notes.noted(Event::SettingsReset, &object(name), forgotten, |()| String::new())
    }

    fn mark(&self, name: &DestinationName, input: &DirectoryInput) -> Result<DirectoryConfig> {
        let root = Path::new(&input.root);
        if !root.is_absolute() {
            return Err(Error::refusal(
                Code::InvalidInput,
                "Directory: enter an absolute path, such as /mnt/nas.",
            ));
        }
        let folder = input.folder.as_str();
        if folder.is_empty() || folder.starts_with('.') || folder.contains(['/', '\0']) || folder.len() > 255
        {
            return Err(Error::refusal(
                Code::InvalidInput,
                "Folder: enter one name that contains no / and does not begin with a dot.",
            ));
        }
        let own = settings_rows::of_kind::<DirectoryConfig>(&self.shared().store, KIND)?;
        let is_own = own.iter().any(|(known, _)| known == name);
        if !is_own && self.destinations.all()?.iter().any(|known| known.name() == name) {
            return Err(Error::refusal(
                Code::NameTaken,
                format!("The name {name} belongs to a destination of another kind. Choose another name."),
            ));
        }
        let opened = open_root(root)?;
        if !input.same_disk && self.is_on_the_disk_of_the_backups(&opened)? {
            return Err(Error::refusal(
                Code::InvalidInput,
                format!(
                    "{} is on the same disk as the backups: either nothing is mounted there, or the copies \
                 would be lost together with the backups. Mount another disk or share there.",
                    input.root
                ),
            ));
        }
        let marker = marker::make(&opened, &input.root)?;
        try_out(&Folder::open(root, folder, &marker, &Cancel::default())?)?;
        Ok(DirectoryConfig { root: input.root.clone(), folder: folder.to_owned(), marker })
    }

    fn is_on_the_disk_of_the_backups(&self, root: &File) -> Result<bool> {
        let backups = self.destinations.backup_dir();
        let failed = |error: Errno| Error::file("Looking at", backups.path(), error.into());
        let (there, here) = (fstat(root).map_err(failed)?, fstat(&*backups.handle()).map_err(failed)?);
        Ok(there.st_dev == here.st_dev)
    }

    fn store(&self, name: &DestinationName, input: &DirectoryInput, config: DirectoryConfig) -> Result<()> {
        let shared = self.shared();
        let before = settings_rows::of_kind::<DirectoryConfig>(&shared.store, KIND)?;
        let moved = before.iter().any(|(known, stored)| {
            let place = |config: &DirectoryConfig| (config.folder.clone(), config.marker.clone());
            known == name && place(&stored.config) != place(&config)
        });
        let stored = StoredDestination {
            kind: KIND.to_owned(),
            enabled: input.enabled,
            send_new: input.send_new,
            config,
        };
        settings_rows::store(&shared.store, name, &stored)?;
        if moved {
            // The records of copies are about the former place.
            shared.copies.forget_all(name)?;
        }
        Ok(())
    }

    fn shared(&self) -> &Shared {
        self.destinations.shared()
    }
}

/// Creates the folder, and writes, reads and removes a small file in it.
fn try_out(folder: &Folder) -> Result<()> {
    const SAMPLE: &[u8] = b"Holdfast tests whether it can write here.\n";
    let name = format!("{DRAFT_PREFIX}holdfast-check");
    folder.prepare()?;
    clear(folder, &name)?;
    put_small(folder, &name, SAMPLE)?;
    let back = read_small(folder, &name);
    folder.remove(&name)?;
    if back? == SAMPLE {
        return Ok(());
    }
    let words = format!("{} does not return what was written. Check the disk.", folder.place());
    Err(Fault::new(FaultKind::Differs, words).into())
}

/// The destination's name in the audit log.
fn object(name: &DestinationName) -> String {
    format!("destination {name}")
}
