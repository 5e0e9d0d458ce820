//! Sealing what must not be read: secrets at rest, each tied to the place it is kept in.

use crate::vault::error::{Result, VaultError};
use crate::vault::publish;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{Key, KeyInit, XChaCha20Poly1305, XNonce};
use data_encoding::BASE64;
use rustix::fs::{Mode, OFlags};
use secrecy::zeroize::Zeroize;
use secrecy::{ExposeSecret, SecretBox, SecretString};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// What a sealed value begins with: `XChaCha20-Poly1305`, base64 of a 24-byte nonce and the sealed bytes.
const VERSION: &str = "v1:";

const KEY_SIZE: usize = 32;
const NONCE_SIZE: usize = 24;

/// Seals and opens with the key in the data directory, which is made when the first secret is sealed.
/// Cheap to clone.
#[derive(Clone)]
pub struct Secrets {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    key: Mutex<Option<Arc<SecretBox<[u8; KEY_SIZE]>>>>,
}

impl Secrets {
    /// With the key file at `path`. Nothing is read or made yet.
    pub fn new(path: PathBuf) -> Self {
        Self { inner: Arc::new(Inner { path, key: Mutex::default() }) }
    }

    /// Where the key file is, or will be.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Seals `secret` for `place`, such as `settings/sftp.password`: it opens there only.
    pub fn seal(&self, place: &str, secret: &SecretString) -> Result<String> {
        let mut sealed = vec![0; NONCE_SIZE];
        random(&mut sealed)?;
        let nonce = nonce(&sealed)?;
        let payload = Payload { msg: secret.expose_secret().as_bytes(), aad: place.as_bytes() };
        let cipher = self.cipher(true)?;
        let body = cipher.encrypt(&nonce, payload);
        sealed.extend(body.map_err(|_| VaultError::Refused(format!("{place} could not be sealed.")))?);
        Ok(format!("{VERSION}{}", BASE64.encode(&sealed)))
    }

    /// Opens what was sealed for `place`. `what` names it in the error, as the sentence's beginning.
    pub fn open(&self, place: &str, what: &str, sealed: &str) -> Result<SecretString> {
        let unreadable = || {
            VaultError::Refused(format!(
                "{what} cannot be opened with the key in {}. If that file was replaced, put the former one \
                 back; else enter the secret again.",
                self.inner.path.display()
            ))
        };
        let bytes = sealed.strip_prefix(VERSION).and_then(|text| BASE64.decode(text.as_bytes()).ok());
        let bytes = bytes.filter(|bytes| bytes.len() > NONCE_SIZE).ok_or_else(unreadable)?;
        let (front, body) = bytes.split_at(NONCE_SIZE);
        let payload = Payload { msg: body, aad: place.as_bytes() };
        let opened = self.cipher(false)?.decrypt(&nonce(front)?, payload).map_err(|_| unreadable())?;
        match String::from_utf8(opened) {
            Ok(text) => Ok(text.into()),
            Err(error) => {
                error.into_bytes().zeroize();
                Err(unreadable())
            }
        }
    }

    fn cipher(&self, make: bool) -> Result<XChaCha20Poly1305> {
        let mut held = self.inner.key.lock().unwrap_or_else(PoisonError::into_inner);
        let key = match &*held {
            Some(key) => Arc::clone(key),
            None => Arc::clone(held.insert(Arc::new(self.key(make)?))),
        };
        Ok(XChaCha20Poly1305::new(&Key::from(*key.expose_secret())))
    }

    fn key(&self, make: bool) -> Result<SecretBox<[u8; KEY_SIZE]>> {
        if let Some(key) = self.read_key()? {
            return Ok(key);
        }
        let path = &self.inner.path;
        if !make {
            return Err(VaultError::Refused(format!(
                "The key file {} is gone, so stored secrets cannot be opened. Put it back, or enter the secrets \
                 again.",
                path.display()
            )));
        }
        let mut key = [0; KEY_SIZE];
        random(&mut key)?;
        // Two programs may do this at once: whoever comes second takes the first one's key.
        let kept = publish::keep_private(path, &key);
        key.zeroize();
        kept?;
        self.read_key()?.ok_or_else(|| VaultError::file("Reading", path, io::ErrorKind::NotFound.into()))
    }

    fn read_key(&self) -> Result<Option<SecretBox<[u8; KEY_SIZE]>>> {
        let path = &self.inner.path;
        let failed = |error: io::Error| VaultError::file("Reading", path, error);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut file = match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(error) => return Err(failed(error.into())),
        };
        let found = file.metadata().map_err(failed)?;
        if !found.is_file() || found.mode() & 0o077 != 0 {
            return Err(VaultError::Refused(format!(
                "The key file {} can be read by other users of this machine. Make it private: chmod 600 {}",
                path.display(),
                path.display()
            )));
        }
        if found.len() != KEY_SIZE as u64 {
            return Err(VaultError::Refused(format!(
                "The key file {} has {} bytes instead of {KEY_SIZE}: it is damaged, or not Holdfast's. Put the \
                 former one back, or remove it and enter the secrets again.",
                path.display(),
                found.len()
            )));
        }
        let mut key = SecretBox::new(Box::new([0; KEY_SIZE]));
        file.read_exact(secrecy::ExposeSecretMut::expose_secret_mut(&mut key).as_mut_slice())
            .map_err(failed)?;
        Ok(Some(key))
    }
}

fn nonce(bytes: &[u8]) -> Result<XNonce> {
    XNonce::try_from(bytes).map_err(|_| VaultError::Lost)
}

fn random(bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes)
        .map_err(|error| VaultError::Refused(format!("The system gives no random numbers: {error}.")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    const PLACE: &str = "settings/sftp.password";

    fn place() -> (tempfile::TempDir, Secrets) {
        let home = tempfile::tempdir().unwrap();
        let secrets = Secrets::new(home.path().join("key"));
        (home, secrets)
    }

    fn refusal(result: Result<SecretString>) -> String {
        result.err().unwrap().to_string()
    }

    #[test]
    fn what_is_sealed_opens_in_its_place_also_after_a_restart() {
        let (home, secrets) = place();
        let sealed = secrets.seal(PLACE, &"hunter2".into()).unwrap();
        assert!(sealed.starts_with(VERSION));
        let again = Secrets::new(home.path().join("key"));
        assert_eq!(again.open(PLACE, "It", &sealed).unwrap().expose_secret(), "hunter2");
        assert_ne!(sealed, secrets.seal(PLACE, &"hunter2".into()).unwrap(), "no nonce is used twice");
        assert_eq!(fs::metadata(home.path().join("key")).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn what_was_moved_altered_or_sealed_with_another_key_is_told_in_words() {
        let (home, secrets) = place();
        let sealed = secrets.seal(PLACE, &"hunter2".into()).unwrap();
        let (_other_home, other) = place();
        other.seal(PLACE, &"x".into()).unwrap();
        let mut altered = sealed.clone();
        let last = altered.pop().unwrap();
        altered.push(if last == 'A' { 'B' } else { 'A' });
        for (what, result) in [
            ("moved", secrets.open("settings/sftp.passphrase", "It", &sealed)),
            ("altered", secrets.open(PLACE, "It", &altered)),
            ("cut", secrets.open(PLACE, "It", &sealed[..20])),
            ("not ours", secrets.open(PLACE, "It", "hunter2")),
            ("empty", secrets.open(PLACE, "It", "")),
            ("another key", other.open(PLACE, "It", &sealed)),
        ] {
            let words = refusal(result);
            assert!(words.contains("cannot be opened with the key in"), "{what}: {words}");
            assert!(!words.contains("hunter2"), "{what}");
        }
        fs::remove_file(home.path().join("key")).unwrap();
        let gone = Secrets::new(home.path().join("key"));
        assert!(refusal(gone.open(PLACE, "It", &sealed)).contains("is gone"));
        assert!(!home.path().join("key").exists(), "opening makes no key");
    }

    #[test]
    fn a_key_file_others_can_read_or_of_another_size_is_refused() {
        let (home, secrets) = place();
        let path = home.path().join("key");
        let sealed = secrets.seal(PLACE, &"hunter2".into()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let fresh = || Secrets::new(path.clone());
        assert!(refusal(fresh().open(PLACE, "It", &sealed)).contains("chmod 600"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(fresh().open(PLACE, "It", &sealed).is_ok(), "the control");
        fs::write(&path, "short").unwrap();
        assert!(refusal(fresh().open(PLACE, "It", &sealed)).contains("5 bytes instead of 32"));
        assert!(fresh().seal(PLACE, &"x".into()).is_err(), "it is not replaced either");
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
        assert!(fresh().seal(PLACE, &"x".into()).is_err(), "no link is followed");
    }

    #[test]
    fn of_two_that_make_the_key_at_once_one_wins() {
        let (home, _) = place();
        let sealed: Vec<_> = std::thread::scope(|scope| {
            let seal = || Secrets::new(home.path().join("key")).seal(PLACE, &"hunter2".into()).unwrap();
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(seal)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let secrets = Secrets::new(home.path().join("key"));
        for sealed in sealed {
            assert_eq!(secrets.open(PLACE, "It", &sealed).unwrap().expose_secret(), "hunter2");
        }
    }
}
