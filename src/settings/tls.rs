//! The files of the server's TLS certificate, which whoever renews it writes anew.

use crate::domain::error::{Error, Result};
use secrecy::{ExposeSecretMut, SecretBox};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Bytes of a chain or a key; a file larger than this is neither.
const MAX: u64 = 1 << 20;

/// Where the certificate and its key are, both as PEM.
#[derive(Debug, Clone)]
pub struct CertificateFiles {
    /// The certificate, then those that lead to its authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Which of the files' contents it is: other ones compare unequal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edition([(u64, u64, i64, i64); 2]);

impl CertificateFiles {
    /// Which contents the files have.
    pub fn edition(&self) -> Result<Edition> {
        let of = |path: &Path| {
            let found = fs::metadata(path).map_err(|error| Error::file("Reading", path, error))?;
            Ok::<_, Error>((found.ino(), found.len(), found.mtime(), found.mtime_nsec()))
        };
        Ok(Edition([of(&self.certificate)?, of(&self.key)?]))
    }

    /// The certificate, as it is in its file.
    pub fn read_certificate(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        read(&self.certificate, &mut bytes)?;
        Ok(bytes)
    }

    /// The key, as it is in its file, which may not be readable by everybody.
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

/// Gives the file's mode.
fn read(path: &Path, into: &mut Vec<u8>) -> Result<u32> {
    let mut read = || {
        let file = File::open(path)?;
        let found = file.metadata()?;
        if !found.is_file() || found.len() > MAX {
            return Err(io::Error::other("it is no file of PEM text"));
        }
        file.take(MAX).read_to_end(into)?;
        Ok(found.mode())
    };
    read().map_err(|error| Error::file("Reading", path, error))
}
