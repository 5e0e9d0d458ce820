//! The files of the server's TLS certificate and its key. They are read again when a renewal replaces them.

use crate::domain::error::{Error, Result};
use secrecy::{ExposeSecretMut, SecretBox};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Largest size of a certificate or key file, in bytes.
const MAX: u64 = 1 << 20;

/// The paths of the certificate and its key, both PEM files.
#[derive(Debug, Clone)]
pub struct CertificateFiles {
    /// The server's certificate, followed by the intermediates.
    pub certificate: PathBuf,
    /// The private key of the certificate.
    pub key: PathBuf,
}

/// The version of both files: after a change, versions compare unequal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileVersion([(u64, u64, i64, i64); 2]);

impl CertificateFiles {
    /// The current version of the files. Fails if one cannot be read.
    pub fn version(&self) -> Result<FileVersion> {
        let of = |path: &Path| {
            let found = fs::metadata(path).map_err(|error| Error::file("Reading", path, error))?;
            Ok::<_, Error>((found.ino(), found.len(), found.mtime(), found.mtime_nsec()))
        };
        Ok(FileVersion([of(&self.certificate)?, of(&self.key)?]))
    }

    /// Reads the certificate file. Fails if it is not a file of at most 1 MiB.
    pub fn read_certificate(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        read(&self.certificate, &mut bytes)?;
        Ok(bytes)
    }

    /// Reads the key file. Fails if every user of this machine can read it.
    pub fn read_key(&self) -> Result<SecretBox<Vec<u8>>> {
        let mut bytes = SecretBox::new(Box::new(Vec::with_capacity(16 * 1024)));
        let path = &self.key;
        let mode = read(path, bytes.expose_secret_mut())?;
        if mode & 0o007 != 0 {
            return Err(Error::Refused(format!(
                "The TLS key {0} can be read by every user of this machine. Make it private: chmod 600 {0}",
                path.display()
            )));
        }
        if mode & 0o077 != 0 {
            tracing::warn!(
                "a group of users can read the TLS key {0}; better: chmod 600 {0}",
                path.display()
            );
        }
        Ok(bytes)
    }
}

/// Reads a file and returns its mode.
fn read(path: &Path, into: &mut Vec<u8>) -> Result<u32> {
    let mut read = || {
        let file = File::open(path)?;
        let found = file.metadata()?;
        if !found.is_file() || found.len() > MAX {
            return Err(io::Error::other("not a file of PEM text"));
        }
        file.take(MAX).read_to_end(into)?;
        Ok(found.mode())
    };
    read().map_err(|error| Error::file("Reading", path, error))
}
