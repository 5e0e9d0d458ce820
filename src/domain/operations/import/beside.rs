//! Finds the uploaded manifest that belongs to an uploaded file.

use crate::domain::engines::Engines;
use crate::domain::error::Result;
use crate::domain::operations::import::pack::is_unpacked;
use crate::domain::operations::import::{MANIFEST, Upload};
use crate::domain::repository::manifest::Manifest;
use crate::model::BackupName;
use std::collections::BTreeMap;

/// Takes the manifest of a file out of `manifests`: by its name or, if the file was renamed, by its size if only one
/// manifest has that size. The checksums show later whether it is the right one.
pub fn manifest_for(
    engines: &Engines,
    upload: &Upload<'_>,
    sizes: &[u64],
    manifests: &mut BTreeMap<String, Vec<u8>>,
) -> Result<Option<Vec<u8>>> {
    let is_unpacked = is_unpacked(engines, &upload.draft)?;
    let of_name = |ending: &str| format!("{}{ending}{MANIFEST}", upload.name);
    if let Some(bytes) = manifests.remove(&of_name("")) {
        return Ok(Some(bytes));
    }
    if is_unpacked && let Some(bytes) = manifests.remove(&of_name(".gz")) {
        return Ok(Some(bytes));
    }
    Ok(by_size(upload, is_unpacked, sizes, manifests))
}

fn by_size(
    upload: &Upload<'_>,
    is_unpacked: bool,
    sizes: &[u64],
    manifests: &mut BTreeMap<String, Vec<u8>>,
) -> Option<Vec<u8>> {
    if upload.name.parse::<BackupName>().is_ok()
        || sizes.iter().filter(|size| **size == upload.size).count() > 1
    {
        return None;
    }
    let fits = |bytes: &Vec<u8>| {
        Manifest::read(bytes).is_some_and(|manifest| {
            let said = if is_unpacked { manifest.content_size } else { manifest.payload_size };
            said == upload.size
        })
    };
    let mut fitting = manifests.iter().filter(|(_, bytes)| fits(bytes)).map(|(name, _)| name.clone());
    let only = fitting.next().filter(|_| fitting.next().is_none())?;
    manifests.remove(&only)
}
