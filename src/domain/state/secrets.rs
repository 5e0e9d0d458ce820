//! Encrypts ("seals") secrets at rest, each bound to the place where it is stored.

pub mod rotation;

use crate::domain::error::{Code, Error, Result};
use crate::domain::random;
use crate::domain::repository::private_file;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{Key, KeyInit, XChaCha20Poly1305, XNonce};
use data_encoding::{BASE64, HEXLOWER};
use parking_lot::Mutex;
use rustix::fs::{Mode, OFlags};
use secrecy::zeroize::Zeroize;
use secrecy::{ExposeSecret, ExposeSecretMut, SecretBox, SecretString};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The prefix of a sealed value: `XChaCha20-Poly1305`, the key's id, base64 of a 24-byte nonce and the sealed
/// bytes, separated by colons.
const VERSION: &str = "v2:";

/// The first version's prefix, without the key's id. Such values can be opened, but are no longer written.
const NAMELESS: &str = "v1:";

const KEY_SIZE: usize = 32;
const NONCE_SIZE: usize = 24;

/// Seals and opens secrets with the key in the data directory, which is created with the first secret. Cheap
/// to clone.
#[derive(Clone)]
pub struct Secrets {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    keys: Mutex<Arc<Vec<MasterKey>>>,
}

/// A key, and its id in sealed values: a part of its hash, which reveals nothing about the key.
struct MasterKey {
    id: String,
    bytes: SecretBox<[u8; KEY_SIZE]>,
}

/// A parsed sealed value.
struct Sealed {
    /// The id of its key, if it has one.
    key: Option<String>,
    nonce: XNonce,
    body: Vec<u8>,
}

impl Secrets {
    /// With the key file at `path`. Reads and creates nothing yet.
    pub fn new(path: PathBuf) -> Self {
        Self { inner: Arc::new(Inner { path, keys: Mutex::default() }) }
    }

    /// The path of the key file, which may not exist yet.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Seals `secret` for `place`, such as `settings/sftp.password`: it can be opened for that place only.
    pub fn seal(&self, place: &str, secret: &SecretString) -> Result<String> {
        // Read each time: the secret must open with the key on the disk, not with a former one.
        let mut keys = self.read()?;
        if keys.is_empty() {
            // Two programs may create the key at once: the second uses the first one's.
            make_key(&self.inner.path)?;
            keys = self.read()?;
        }
        let key = keys.first().ok_or_else(|| self.gone())?;
        key.seal(place, secret)
    }

    /// Opens a value sealed for `place`. `what` names it, as the beginning of the error's sentence.
    pub fn open(&self, place: &str, what: &str, sealed: &str) -> Result<SecretString> {
        let unreadable = || {
            Error::refusal(
                Code::SecretUnreadable,
                format!(
                    "{what} cannot be decrypted with the key in {}. If that file was replaced, restore the \
                     former key file; otherwise enter the secret again.",
                    self.inner.path.display()
                ),
            )
        };
        let sealed = Sealed::parse(sealed).ok_or_else(unreadable)?;
        if let Some(secret) = sealed.open(place, &self.held()) {
            return Ok(secret);
        }
        // Not read yet, or another program has changed the key since.
        let keys = self.read()?;
        if keys.is_empty() {
            return Err(self.gone());
        }
        sealed.open(place, &keys).ok_or_else(unreadable)
    }

    fn held(&self) -> Arc<Vec<MasterKey>> {
        Arc::clone(&self.inner.keys.lock())
    }

    /// Reads the existing keys: the current one, and the next one if a key change was interrupted.
    fn read(&self) -> Result<Arc<Vec<MasterKey>>> {
        let paths = [self.inner.path.clone(), self.next_path()];
        let keys = paths.iter().filter_map(|path| read_key(path).transpose()).collect::<Result<Vec<_>>>()?;
        let keys = Arc::new(keys);
        *self.inner.keys.lock() = Arc::clone(&keys);
        Ok(keys)
    }

    fn gone(&self) -> Error {
        Error::refusal(
            Code::KeyUnusable,
            format!(
                "The key file {} is missing, so stored secrets cannot be decrypted. Restore the file, or \
                 enter the secrets again.",
                self.inner.path.display()
            ),
        )
    }
}

impl MasterKey {
    fn seal(&self, place: &str, secret: &SecretString) -> Result<String> {
        let mut sealed = vec![0; NONCE_SIZE];
        random::fill(&mut sealed)?;
        let nonce = XNonce::try_from(&sealed[..]).map_err(|_| Error::Lost)?;
        let payload = Payload { msg: secret.expose_secret().as_bytes(), aad: place.as_bytes() };
        let body = self.cipher().encrypt(&nonce, payload);
        sealed.extend(
            body.map_err(|_| Error::refusal(Code::Internal, format!("{place} could not be encrypted.")))?,
        );
        Ok(format!("{VERSION}{}:{}", self.id, BASE64.encode(&sealed)))
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&Key::from(*self.bytes.expose_secret()))
    }
}

impl Sealed {
    /// `None` if `text` is not a sealed value.
    fn parse(text: &str) -> Option<Self> {
        let (key, base64) = match text.strip_prefix(VERSION) {
            Some(rest) => rest.split_once(':').map(|(key, base64)| (Some(key.to_owned()), base64))?,
            None => (None, text.strip_prefix(NAMELESS)?),
        };
        let bytes = BASE64.decode(base64.as_bytes()).ok()?;
        let (nonce, body) = bytes.split_at_checked(NONCE_SIZE).filter(|(_, body)| !body.is_empty())?;
        Some(Self { key, nonce: XNonce::try_from(nonce).ok()?, body: body.to_vec() })
    }

    fn open(&self, place: &str, keys: &[MasterKey]) -> Option<SecretString> {
        let fits = |key: &&MasterKey| self.key.as_ref().is_none_or(|id| *id == key.id);
        let payload = || Payload { msg: &self.body, aad: place.as_bytes() };
        let opened =
            keys.iter().filter(fits).find_map(|key| key.cipher().decrypt(&self.nonce, payload()).ok());
        match String::from_utf8(opened?) {
            Ok(text) => Some(text.into()),
            Err(error) => {
                error.into_bytes().zeroize();
                None
            }
        }
    }
}

/// Creates a key file, durably, if there is none.
fn make_key(path: &Path) -> Result<()> {
    let mut key = random::bytes::<KEY_SIZE>()?;
    let kept = private_file::keep_private(path, &key);
    key.zeroize();
    kept.map(drop)
}

/// Reads a key file; `None` if it does not exist. A file that others can read, or that is not a key, is
/// refused.
fn read_key(path: &Path) -> Result<Option<MasterKey>> {
    let failed = |error: io::Error| Error::file("Reading", path, error);
    let refused = |why: String| {
        Err(Error::refusal(Code::KeyUnusable, format!("The key file {} {why}", path.display())))
    };
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(rustix::io::Errno::LOOP) => {
            return refused(
                "is a symbolic link, which Holdfast does not follow. Put the file itself there.".to_owned(),
            );
        }
        Err(error) => return Err(failed(error.into())),
    };
    let found = file.metadata().map_err(failed)?;
    if !found.is_file() {
        return refused("is not a file. Move it away, and put the key file there.".to_owned());
    }
    if found.mode() & 0o077 != 0 {
        return refused(format!(
            "can be read by other users of this machine. Make it private: chmod 600 {}",
            path.display()
        ));
    }
    if found.len() != KEY_SIZE as u64 {
        return refused(format!(
            "has {} bytes instead of {KEY_SIZE}: it is damaged, or not a Holdfast key. Restore the former \
             key file, or remove this one and enter the secrets again.",
            found.len()
        ));
    }
    let mut bytes = SecretBox::new(Box::new([0; KEY_SIZE]));
    file.read_exact(bytes.expose_secret_mut().as_mut_slice()).map_err(failed)?;
    let sum = Sha256::new().chain_update("holdfast key id").chain_update(bytes.expose_secret()).finalize();
    Ok(Some(MasterKey { id: HEXLOWER.encode(&sum[..8]), bytes }))
}

#[cfg(test)]
mod tests {
    use crate::domain::state::secrets::*;
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
            assert!(words.contains("cannot be decrypted with the key in"), "{what}: {words}");
            assert!(!words.contains("hunter2"), "{what}");
        }
        fs::remove_file(home.path().join("key")).unwrap();
        let gone = Secrets::new(home.path().join("key"));
        assert!(refusal(gone.open(PLACE, "It", &sealed)).contains("is missing"));
        assert!(!home.path().join("key").exists(), "opening makes no key");
    }

    #[test]
    fn what_is_sealed_opens_with_the_key_that_lies_there() {
        let (home, secrets) = place();
        let former = secrets.seal(PLACE, &"hunter2".into()).unwrap();
        fs::remove_file(home.path().join("key")).unwrap();
        let sealed = secrets.seal(PLACE, &"hunter3".into()).unwrap();
        let fresh = Secrets::new(home.path().join("key"));
        assert_eq!(fresh.open(PLACE, "It", &sealed).unwrap().expose_secret(), "hunter3");
        assert!(refusal(fresh.open(PLACE, "It", &former)).contains("restore the former key"));
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
        let refused = fresh().seal(PLACE, &"x".into()).err().unwrap().to_string();
        assert!(refused.contains("is a symbolic link"), "{refused}");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(refusal(fresh().open(PLACE, "It", &sealed)).contains("is not a file"));
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

    #[test]
    fn what_the_first_version_sealed_still_opens() {
        let (home, secrets) = place();
        let sealed = secrets.seal(PLACE, &"hunter2".into()).unwrap();
        let base64 = sealed.rsplit(':').next().unwrap();
        let nameless = format!("{NAMELESS}{base64}");
        let fresh = Secrets::new(home.path().join("key"));
        assert_eq!(fresh.open(PLACE, "It", &nameless).unwrap().expose_secret(), "hunter2");
        let of_another_key = format!("{VERSION}0123456789abcdef:{base64}");
        assert!(
            refusal(fresh.open(PLACE, "It", &of_another_key)).contains("cannot be decrypted"),
            "the control"
        );
    }
}
