//! Private keys: diagnoses pasted text before connecting, and converts keys for the connection.

use crate::model::{SftpField, SftpProblem};
use data_encoding::BASE64;
use openssl::bn::{BigNumContext, BigNumRef};
use openssl::ec::{EcKey, PointConversionForm};
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Private};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use ssh_key::private::{Ed25519Keypair, Ed25519PrivateKey, KeypairData, RsaKeypair, RsaPrivateKey};
use ssh_key::public::{Ed25519PublicKey, RsaPublicKey};
use ssh_key::{Algorithm, EcdsaCurve, LineEnding, Mpint, PrivateKey};
use std::cell::Cell;
use std::fmt;

/// The comment of a generated key in `authorized_keys`.
const COMMENT: &str = "holdfast";

/// The longest key, in bytes.
const MAX_SIZE: usize = 64 * 1024;

/// A usable key.
#[derive(Debug)]
pub struct ReadyKey {
    /// The key in OpenSSH's format, unencrypted: the one format that libssh2 reads for every kind.
    pub openssh: SecretString,
    /// The public key, as a line for `authorized_keys`.
    pub public_line: String,
}

/// Why a text cannot be used as a private key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyProblem {
    /// A public key.
    #[error(
        "this is a public key. Paste the private one: the file without .pub, which begins with -----BEGIN."
    )]
    PublicKey,
    /// Encrypted, and no passphrase was given.
    #[error("the private key is encrypted. Enter its passphrase.")]
    NeedsPassphrase,
    /// The passphrase is wrong.
    #[error("it does not decrypt the private key. Check it, including upper and lower case.")]
    WrongPassphrase,
    /// Another program's format: `PuTTY`.
    #[error(
        "this is a PuTTY key (.ppk). In PuTTYgen, choose Conversions, Export OpenSSH key, and paste the \
         exported file."
    )]
    Putty,
    /// A key of an unsupported kind.
    #[error("{0} keys are not supported. Use an Ed25519, ECDSA or RSA key, or generate one here.")]
    Unsupported(String),
    /// A damaged key.
    #[error(
        "this private key is incomplete or damaged ({0}). Paste the whole file, from -----BEGIN to -----END."
    )]
    Damaged(String),
    /// Not a key.
    #[error("this is not a private key. Paste the whole file, which begins with -----BEGIN.")]
    NotAKey,
}

impl KeyProblem {
    /// The form field concerned, and the sentence.
    pub fn on_the_form(&self) -> SftpProblem {
        let field = match self {
            Self::NeedsPassphrase | Self::WrongPassphrase => SftpField::Passphrase,
            _ => SftpField::PrivateKey,
        };
        SftpProblem::new(field, self)
    }
}

/// Reads a private key: Ed25519, ECDSA or RSA, in OpenSSH, PKCS#1, SEC 1 or PKCS#8 format, encrypted or not,
/// with any line endings and surrounding blanks.
pub fn read(text: &SecretString, passphrase: Option<&SecretString>) -> Result<ReadyKey, KeyProblem> {
    let text = Zeroizing::new(repaired(text.expose_secret()));
    let passphrase = passphrase.map(ExposeSecret::expose_secret).filter(|text| !text.is_empty());
    if text.starts_with("PuTTY-User-Key-File-") {
        return Err(KeyProblem::Putty);
    }
    if text.len() > MAX_SIZE {
        return Err(KeyProblem::NotAKey);
    }
    let labels: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("-----BEGIN ")?.split("-----").next()).collect();
    let Some(label) = labels.iter().find(|label| label.ends_with("PRIVATE KEY")).or(labels.first()) else {
        return Err(if is_public_line(&text) { KeyProblem::PublicKey } else { KeyProblem::NotAKey });
    };
    let key = match *label {
        "OPENSSH PRIVATE KEY" => read_openssh(&text, passphrase)?,
        "RSA PRIVATE KEY" | "EC PRIVATE KEY" | "PRIVATE KEY" | "ENCRYPTED PRIVATE KEY" => {
            PrivateKey::new(read_pem(&text, passphrase)?, COMMENT).map_err(|error| damaged(&error))?
        }
        "DSA PRIVATE KEY" => return Err(KeyProblem::Unsupported("DSA".to_owned())),
        "SSH2 ENCRYPTED PRIVATE KEY" => return Err(KeyProblem::Unsupported("ssh.com's".to_owned())),
        label if label.ends_with("PUBLIC KEY") => return Err(KeyProblem::PublicKey),
        _ => return Err(KeyProblem::NotAKey),
    };
    ready(&key)
}

/// Generates an Ed25519 key.
pub fn generate() -> Result<ReadyKey, KeyProblem> {
    let pair = PKey::generate_ed25519().and_then(|key| ed25519(&key)).map_err(|error| damaged(&error))?;
    ready(&PrivateKey::new(pair, COMMENT).map_err(|error| damaged(&error))?)
}

fn ready(key: &PrivateKey) -> Result<ReadyKey, KeyProblem> {
    if let Some(kind) = unsupported(&key.algorithm()) {
        return Err(KeyProblem::Unsupported(kind));
    }
    let openssh = key.to_openssh(LineEnding::LF).map_err(|error| damaged(&error))?;
    let public_line = key.public_key().to_openssh().map_err(|error| damaged(&error))?;
    Ok(ReadyKey { openssh: openssh.as_str().into(), public_line })
}

/// Normalises line endings, ends the last line, and removes a byte order mark and blanks around lines.
fn repaired(text: &str) -> String {
    let mut repaired = String::with_capacity(text.len() + 2);
    for line in text.trim_start_matches('\u{feff}').split(['\n', '\r']).map(str::trim) {
        if !line.is_empty() {
            repaired.push_str(line);
            repaired.push('\n');
        }
        // The only empty line that matters ends the headers of an old encrypted key.
        if line.starts_with("DEK-Info:") {
            repaired.push('\n');
        }
    }
    repaired
}

fn is_public_line(text: &str) -> bool {
    let mut words = text.split_whitespace();
    let kind = words.next().unwrap_or_default();
    let is_kind = ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"].iter().any(|start| kind.starts_with(start));
    is_kind && words.next().is_some_and(|body| body.starts_with("AAAA"))
}

fn read_openssh(text: &str, passphrase: Option<&str>) -> Result<PrivateKey, KeyProblem> {
    let (_, rest) = text.split_once("-----BEGIN OPENSSH PRIVATE KEY-----").ok_or(KeyProblem::NotAKey)?;
    let (body, _) = rest
        .split_once("-----END OPENSSH PRIVATE KEY-----")
        .ok_or_else(|| KeyProblem::Damaged("its last line is missing".to_owned()))?;
    let body = Zeroizing::new(body.split_whitespace().collect::<String>());
    let bytes = BASE64
        .decode(body.as_bytes())
        .map(Zeroizing::new)
        .map_err(|_| KeyProblem::Damaged("it is not base64".to_owned()))?;
    let bytes = ecdsa_padded(&bytes).unwrap_or(bytes);
    let key = PrivateKey::from_bytes(&bytes).map_err(|error| match error {
        ssh_key::Error::AlgorithmUnknown => KeyProblem::Unsupported("Such".to_owned()),
        ssh_key::Error::AlgorithmUnsupported { algorithm } => KeyProblem::Unsupported(algorithm.to_string()),
        other => damaged(&other),
    })?;
    if let Some(kind) = unsupported(&key.algorithm()) {
        return Err(KeyProblem::Unsupported(kind));
    }
    if !key.is_encrypted() {
        return Ok(key);
    }
    let passphrase = passphrase.ok_or(KeyProblem::NeedsPassphrase)?;
    // A wrong passphrase yields noise, which can fail in any way.
    key.decrypt(passphrase)
        .ok()
        .or_else(|| PrivateKey::from_bytes(&ecdsa_decrypted(&key, passphrase)?).ok())
        .ok_or(KeyProblem::WrongPassphrase)
}

/// The beginning of an unencrypted OpenSSH key (PROTOCOL.key): the magic, and three strings that say that it
/// is not encrypted.
const UNENCRYPTED: &[u8] = b"openssh-key-v1\0\0\0\0\x04none\0\0\0\x04none\0\0\0\0\0\0\0\x01";

/// An unencrypted ECDSA key in OpenSSH's format, with its number padded to full width: OpenSSH omits leading
/// zeros, as in every second P-521 key and one in 256 P-256 keys, and the library needs them.
fn ecdsa_padded(bytes: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut rest = bytes.strip_prefix(UNENCRYPTED)?;
    let public = next_part(&mut rest)?;
    with_ecdsa_padded(public, next_part(&mut rest)?)
}

/// The same for an encrypted key, decrypted. `None` if the passphrase is wrong.
fn ecdsa_decrypted(key: &PrivateKey, passphrase: &str) -> Option<Zeroizing<Vec<u8>>> {
    let (secret, nonce) = key.kdf().derive_key_and_iv(key.cipher(), passphrase).ok()?;
    let mut private = Zeroizing::new(key.key_data().encrypted()?.to_vec());
    key.cipher().decrypt(&secret, &nonce, &mut private, None).ok()?;
    with_ecdsa_padded(&key.public_key().to_bytes().ok()?, &private)
}

fn with_ecdsa_padded(public: &[u8], private: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (checks, mut rest) = private.split_at_checked(8)?;
    if checks[..4] != checks[4..] {
        return None;
    }
    let kind = next_part(&mut rest)?;
    let (curve, point, number) = (next_part(&mut rest)?, next_part(&mut rest)?, next_part(&mut rest)?);
    let comment = next_part(&mut rest)?;
    let width = match curve {
        b"nistp256" => 32,
        b"nistp384" => 48,
        b"nistp521" => 66,
        _ => return None,
    };
    let mut written = Zeroizing::new(checks.to_vec());
    for part in [kind, curve, point, &padded(number, width)?, comment] {
        put_part(&mut written, part);
    }
    for filling in 1.. {
        if written.len() % 8 == 0 {
            break;
        }
        written.push(filling);
    }
    let mut whole = Zeroizing::new(UNENCRYPTED.to_vec());
    put_part(&mut whole, public);
    put_part(&mut whole, &written);
    Some(whole)
}

/// A number in `width` bytes, with a zero byte before it if it would otherwise be negative.
fn padded(number: &[u8], width: usize) -> Option<Zeroizing<Vec<u8>>> {
    let significant = number.iter().position(|byte| *byte != 0).map_or(&[][..], |at| &number[at..]);
    let zeros = width.checked_sub(significant.len())?;
    let sign = usize::from(zeros == 0 && significant[0] >= 0x80);
    let mut padded = Zeroizing::new(vec![0; sign + zeros]);
    padded.extend_from_slice(significant);
    Some(padded)
}

/// Takes a length and the bytes it announces (RFC 4251, `string`).
fn next_part<'b>(rest: &mut &'b [u8]) -> Option<&'b [u8]> {
    let (length, behind) = rest.split_first_chunk::<4>()?;
    let (part, behind) = behind.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    *rest = behind;
    Some(part)
}

fn put_part(written: &mut Vec<u8>, part: &[u8]) {
    written.extend(u32::try_from(part.len()).unwrap_or_default().to_be_bytes());
    written.extend_from_slice(part);
}

/// The name of an unsupported kind of key.
fn unsupported(algorithm: &Algorithm) -> Option<String> {
    match algorithm {
        Algorithm::Ed25519 | Algorithm::Ecdsa { .. } | Algorithm::Rsa { .. } => None,
        Algorithm::Dsa => Some("DSA".to_owned()),
        Algorithm::SkEd25519 | Algorithm::SkEcdsaSha2NistP256 => Some("Hardware-held (sk-…)".to_owned()),
        other => Some(other.as_str().to_owned()),
    }
}

fn read_pem(text: &str, passphrase: Option<&str>) -> Result<KeypairData, KeyProblem> {
    let asked = Cell::new(false);
    let read = PKey::private_key_from_pem_callback(text.as_bytes(), |buffer| {
        asked.set(true);
        let passphrase = passphrase.unwrap_or_default().as_bytes();
        let target = buffer.get_mut(..passphrase.len()).ok_or_else(ErrorStack::get)?;
        target.copy_from_slice(passphrase);
        Ok(passphrase.len())
    });
    let key = read.map_err(|error| match (asked.get(), passphrase) {
        (true, None) => KeyProblem::NeedsPassphrase,
        (true, Some(_)) => KeyProblem::WrongPassphrase,
        (false, _) => damaged(&error),
    })?;
    let pair = match key.id() {
        Id::ED25519 => ed25519(&key),
        Id::RSA => rsa(&key),
        Id::EC => return key.ec_key().map_err(|error| damaged(&error)).and_then(|key| ecdsa(&key)),
        Id::DSA => return Err(KeyProblem::Unsupported("DSA".to_owned())),
        _ => return Err(KeyProblem::Unsupported("Such".to_owned())),
    };
    pair.map_err(|error| damaged(&error))
}

fn ed25519(key: &PKey<Private>) -> Result<KeypairData, ErrorStack> {
    let (seed, public) = (Zeroizing::new(key.raw_private_key()?), key.raw_public_key()?);
    let (Ok(seed), Ok(public)) = (<&[u8; 32]>::try_from(seed.as_slice()), <[u8; 32]>::try_from(public))
    else {
        return Err(ErrorStack::get());
    };
    let private = Ed25519PrivateKey::from_bytes(seed);
    Ok(KeypairData::Ed25519(Ed25519Keypair { public: Ed25519PublicKey(public), private }))
}

fn rsa(key: &PKey<Private>) -> Result<KeypairData, ErrorStack> {
    let key = key.rsa()?;
    let number = |number: &BigNumRef| {
        Mpint::from_positive_bytes(&Zeroizing::new(number.to_vec())).map_err(|_| ErrorStack::get())
    };
    let (Some(p), Some(q), Some(iqmp)) = (key.p(), key.q(), key.iqmp()) else {
        return Err(ErrorStack::get());
    };
    Ok(KeypairData::Rsa(RsaKeypair {
        public: RsaPublicKey { e: number(key.e())?, n: number(key.n())? },
        private: RsaPrivateKey { d: number(key.d())?, iqmp: number(iqmp)?, p: number(p)?, q: number(q)? },
    }))
}

/// The crate offers no constructor for such a pair, so it is written in OpenSSH's format (PROTOCOL.key) and
/// read.
fn ecdsa(key: &EcKey<Private>) -> Result<KeypairData, KeyProblem> {
    let (curve, name, width) = match key.group().curve_name() {
        Some(Nid::X9_62_PRIME256V1) => (EcdsaCurve::NistP256, "nistp256", 32),
        Some(Nid::SECP384R1) => (EcdsaCurve::NistP384, "nistp384", 48),
        Some(Nid::SECP521R1) => (EcdsaCurve::NistP521, "nistp521", 66),
        _ => return Err(KeyProblem::Unsupported("ECDSA, on this curve,".to_owned())),
    };
    let public = BigNumContext::new()
        .and_then(|mut numbers| {
            key.public_key().to_bytes(key.group(), PointConversionForm::UNCOMPRESSED, &mut numbers)
        })
        .map_err(|error| damaged(&error))?;
    let number = Zeroizing::new(key.private_key().to_vec());
    let number = padded(&number, width).ok_or_else(|| damaged(&"its number is too large"))?;
    let mut written = Zeroizing::new(Vec::new());
    for part in [name.as_bytes(), &public, &number] {
        put_part(&mut written, part);
    }
    KeypairData::decode_as(&mut written.as_slice(), Algorithm::Ecdsa { curve })
        .map_err(|error| damaged(&error))
}

fn damaged(error: &dyn fmt::Display) -> KeyProblem {
    let words = error.to_string();
    KeyProblem::Damaged(if words.is_empty() { "it cannot be read".to_owned() } else { words })
}
