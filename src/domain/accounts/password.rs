//! Passwords: which ones are allowed, how they are hashed (Argon2id), and how they are checked.

use crate::domain::accounts::hashing_queue::HashingQueue;
use crate::domain::error::{Error, Result};
use crate::domain::random;
use crate::model::LoginProblem;
use argon2::password_hash::phc::{Output, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version, password_hash};
use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;

/// Why `password` cannot be chosen: its length in characters, or because it is common.
pub fn password_problem(password: &SecretString) -> Option<LoginProblem> {
    let text = password.expose_secret();
    let length = text.chars().count();
    if length < *PASSWORD_CHARS.start() {
        Some(LoginProblem::Short)
    } else if length > *PASSWORD_CHARS.end() {
        Some(LoginProblem::Long)
    } else {
        COMMON.contains(&text.to_lowercase().as_str()).then_some(LoginProblem::Common)
    }
}

/// Hashes and checks passwords, a few at a time. Each call takes a good part of a second.
#[derive(Default)]
pub(super) struct Hasher {
    queue: HashingQueue,
}

impl Hasher {
    /// The hash to store for `password`, as a PHC string.
    pub(super) fn hash(&self, password: &SecretString) -> Result<String> {
        let _permit = self.queue.permit()?;
        let salt = random::bytes::<SALT_SIZE>()?;
        hashed(password, &salt).map_err(|error| {
            tracing::error!(%error, "a password could not be hashed");
            Error::Lost
        })
    }

    /// Whether `stored` is the hash of `password`. Without a stored hash it takes as long and returns
    /// `false`, so that the time does not reveal which users exist.
    pub(super) fn verify(&self, password: &SecretString, stored: Option<&str>) -> Result<bool> {
        let _permit = self.queue.permit()?;
        let right = is_of(password, stored.unwrap_or(NOBODY)).map_err(|error| {
            tracing::error!(
                %error,
                "the stored hash of a password is damaged: `holdfast reset-account <username>` gives its account a new one"
            );
            Error::Lost
        })?;
        Ok(right && stored.is_some())
    }

    #[cfg(test)]
    pub(super) fn queue(&self) -> &HashingQueue {
        &self.queue
    }
}

/// Whether a stored hash is weaker than a new one.
pub(super) fn is_weak(stored: &str) -> bool {
    let Ok(hash) = PasswordHash::new(stored) else { return true };
    let Ok(params) = Params::try_from(&hash) else { return true };
    hash.algorithm.as_str() != "argon2id"
        || hash.version != Some(Version::V0x13.into())
        || params.m_cost() < Params::DEFAULT_M_COST
        || params.t_cost() < Params::DEFAULT_T_COST
}

/// The hash of a password, as a PHC string.
fn hashed(password: &SecretString, salt: &[u8; SALT_SIZE]) -> Result<String, password_hash::Error> {
    let argon2id = argon2id();
    let mut output = [0; Params::DEFAULT_OUTPUT_LEN];
    fill(&argon2id, password, salt, &mut output)?;
    Ok(PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: argon2id.params().try_into()?,
        salt: Some(Salt::new(salt)?),
        hash: Some(Output::new(&output)?),
    }
    .to_string())
}

/// m = 19,456 KiB, t = 2, p = 1: OWASP's first choice for Argon2id.
fn argon2id() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::DEFAULT)
}

/// Whether `stored` is a hash of this password, with any parameters.
fn is_of(password: &SecretString, stored: &str) -> Result<bool, password_hash::Error> {
    let stored = PasswordHash::new(stored)?;
    let (Some(salt), Some(hash)) = (stored.salt, stored.hash) else {
        return Err(password_hash::Error::EncodingInvalid);
    };
    let version = stored.version.map_or(Ok(Version::default()), Version::try_from)?;
    let argon2 = Argon2::new(stored.algorithm.as_str().parse()?, version, Params::try_from(&stored)?);
    let mut output = vec![0; hash.len()];
    fill(&argon2, password, &salt, &mut output)?;
    Ok(output.ct_eq(hash.as_ref()).into())
}

/// Hashes in memory that is returned to the system afterwards: an allocation larger than [`MAPPED`] is always
/// a mapping of its own. glibc keeps smaller ones without reusing them for the next hash: eighteen logins
/// left 340 MB behind.
fn fill(
    argon2: &Argon2<'_>,
    password: &SecretString,
    salt: &[u8],
    output: &mut [u8],
) -> Result<(), password_hash::Error> {
    let mut memory = Vec::with_capacity(argon2.params().block_count().max(MAPPED / Block::SIZE + 1));
    memory.resize_with(argon2.params().block_count(), Block::new);
    argon2.hash_password_into_with_memory(password.expose_secret().as_bytes(), salt, output, &mut memory)?;
    Ok(())
}

/// The length of a password, in characters.
const PASSWORD_CHARS: std::ops::RangeInclusive<usize> = 12..=128;
/// The random salt of a hash, in bytes.
const SALT_SIZE: usize = 16;
/// The size in bytes above which glibc always maps memory separately (`DEFAULT_MMAP_THRESHOLD_MAX`).
const MAPPED: usize = 32 * 1024 * 1024;

/// The dummy hash for unknown users, with the parameters of [`argon2id`], so that checking takes as long. It
/// matches no account's password.
pub(super) const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$aG9sZGZhc3Qubm9ib2R5IQ$\
                      AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

/// Common passwords that satisfy the length rule, in lower case.
const COMMON: [&str; 44] = [
    "000000000000",
    "111111111111",
    "112233445566",
    "121212121212",
    "123123123123",
    "123412341234",
    "123456123456",
    "123456654321",
    "1234567890-=",
    "123456789012",
    "1234567890123",
    "12345678901234",
    "1234567890qwerty",
    "123456789123",
    "123456789abc",
    "123456qwerty",
    "1q2w3e4r5t6y",
    "1q2w3e4r5t6y7u8i",
    "1qaz2wsx3edc",
    "1qaz2wsx3edc4rfv",
    "aaaaaaaaaaaa",
    "abcdefghijkl",
    "administrator",
    "administrator1",
    "adminadminadmin",
    "asdfghjkl123",
    "changeme1234",
    "changemechangeme",
    "correcthorsebatterystaple",
    "holdfast1234",
    "holdfastholdfast",
    "iloveyou1234",
    "letmeinletmein",
    "password1234",
    "password12345",
    "password123456",
    "passwordpassword",
    "q1w2e3r4t5y6",
    "qazwsxedcrfv",
    "qwerty123456",
    "qwertyuiop12",
    "qwertyuiop123",
    "qwertyuiopasdfghjkl",
    "welcome12345",
];

#[cfg(test)]
mod tests {
    use crate::domain::accounts::hashing_queue::{RUNNING, WAITING};
    use crate::domain::accounts::password::*;
    use crate::domain::error::Code;
    use argon2::{PasswordHasher as _, PasswordVerifier as _};
    use std::thread;
    use std::time::Duration;

    const PASSWORD: &str = "tide marks on the quay";

    #[test]
    fn passwords_have_12_to_128_characters_of_any_kind() {
        let verdict = |text: &str| password_problem(&text.into());
        assert_eq!(verdict("elevenchars"), Some(LoginProblem::Short));
        assert_eq!(verdict("ééééééééééé"), Some(LoginProblem::Short), "bytes are not characters");
        assert_eq!(verdict("twelve chars"), None);
        assert_eq!(verdict(&"ü".repeat(64)), None);
        assert_eq!(verdict(&"🗝".repeat(128)), None);
        assert_eq!(verdict(&"x".repeat(129)), Some(LoginProblem::Long));
        assert_eq!(verdict("PassWord1234"), Some(LoginProblem::Common));
        for common in COMMON {
            assert_eq!(verdict(common), Some(LoginProblem::Common), "{common}");
        }
    }

    #[test]
    fn a_hash_is_what_argon2_makes_of_it() {
        let hasher = Hasher::default();
        let ours = hasher.hash(&PASSWORD.into()).unwrap();
        assert_ne!(ours, hasher.hash(&PASSWORD.into()).unwrap(), "each has a salt of its own");
        let theirs = argon2id().hash_password(PASSWORD.as_bytes()).unwrap().to_string();
        for hash in [&ours, &theirs] {
            assert!(argon2id().verify_password(PASSWORD.as_bytes(), hash.as_str()).is_ok(), "{hash}");
            assert!(is_of(&PASSWORD.into(), hash).unwrap());
            assert!(!is_of(&"not the password".into(), hash).unwrap());
        }
        for damaged in ["", "$argon2id$", "$md5$x$y", &ours[..40]] {
            assert!(is_of(&PASSWORD.into(), damaged).is_err(), "{damaged}");
        }
    }

    #[test]
    fn two_hash_at_a_time_and_few_wait() {
        let queue = HashingQueue::default();
        let held = [queue.permit().unwrap(), queue.permit().unwrap()];
        thread::scope(|scope| {
            let waiting: Vec<_> =
                (0..WAITING).map(|_| scope.spawn(|| drop(queue.permit().unwrap()))).collect();
            while queue.counts().waiting < WAITING {
                thread::sleep(Duration::from_millis(1));
            }
            assert_eq!(queue.counts().running, RUNNING);
            assert!(queue.permit().is_err_and(|error| error.code() == Code::TooBusy));
            drop(held);
            for one in waiting {
                one.join().unwrap();
            }
        });
        assert_eq!(queue.counts().running, 0);
        assert!(queue.permit().is_ok());
    }
}
