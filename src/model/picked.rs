//! A selected backup: its name and its size.

use super::BackupName;
use serde::{Deserialize, Serialize};

/// A selected backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Picked {
    /// Its name.
    pub name: BackupName,
    /// Its size in bytes.
    pub size: u64,
}
