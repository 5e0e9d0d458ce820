//! A selected backup, with its size.

use super::BackupName;
use serde::{Deserialize, Serialize};

/// A backup as the selection remembers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Picked {
    /// Its name.
    pub name: BackupName,
    /// Its size in bytes.
    pub size: u64,
}
