//! Many backups in one download: the two formats, and the result of making an archive.

use serde::{Deserialize, Serialize};

/// How backups are bundled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ArchiveFormat {
    /// A zip that stores its files as they are.
    #[serde(rename = "zip")]
    Zip,
    /// A gzipped tar.
    #[serde(rename = "tar.gz")]
    TarGz,
}

impl ArchiveFormat {
    /// Every format, in the order of the page's buttons.
    pub const ALL: [Self; 2] = [Self::Zip, Self::TarGz];

    /// The text in forms and in JSON.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Zip => "zip",
            Self::TarGz => "tar.gz",
        }
    }

    /// The format with this [`key`](Self::key).
    pub fn parse(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.key() == key)
    }

    /// The file name of the archive.
    pub const fn file_name(self) -> &'static str {
        match self {
            Self::Zip => "backups.zip",
            Self::TarGz => "backups.tar.gz",
        }
    }

    /// The media type.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Zip => "application/zip",
            Self::TarGz => "application/gzip",
        }
    }

    /// The label of the button.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Zip => "Download zip",
            Self::TarGz => "Download tar.gz",
        }
    }
}

/// An archive that can be downloaded for a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundled {
    /// The path to download it from; `None` if none of the names is a backup.
    pub address: Option<String>,
    /// Number of backups in the archive.
    pub files: usize,
    /// Size of the archive in bytes.
    pub size: u64,
    /// The names that were left out because no such backup exists; unprintable characters are escaped.
    pub missing: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_known_by_its_key_and_by_no_other_text() {
        for format in ArchiveFormat::ALL {
            assert_eq!(ArchiveFormat::parse(format.key()), Some(format));
            assert!(format.file_name().ends_with(&format!(".{}", format.key())));
        }
        for text in ["", "ZIP", "tar", "tgz", "zip ", "rar", "tar.gz\0"] {
            assert_eq!(ArchiveFormat::parse(text), None, "{text:?}");
        }
    }
}
