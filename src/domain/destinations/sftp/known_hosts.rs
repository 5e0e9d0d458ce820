//! Verifies servers by their host keys: pinned keys, and what a shown key means.

use crate::domain::audit::Notes;
use crate::domain::error::{Code, Error, Result};
use crate::model::audit::{Ending, Event};
use crate::model::{HostKey, HostKeyFound, HostKeyStatus};
use data_encoding::{BASE64, BASE64_NOPAD};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The accepted host key algorithms, best first: no DSA, and no RSA with SHA-1.
const OFFERED: [(&str, &str); 5] = [
    ("ssh-ed25519", "ssh-ed25519"),
    ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256"),
    ("ecdsa-sha2-nistp384", "ecdsa-sha2-nistp384"),
    ("ecdsa-sha2-nistp521", "ecdsa-sha2-nistp521"),
    ("ssh-rsa", "rsa-sha2-512,rsa-sha2-256"),
];

/// The pinned host keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pins(Vec<Pin>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Pin {
    host: String,
    port: u16,
    #[serde(flatten)]
    key: HostKey,
}

impl Pins {
    /// Compares a server's host key with its pins.
    pub fn judge(&self, host: &str, port: u16, shown: &HostKey) -> HostKeyStatus {
        let pinned: Vec<&HostKey> = self.of(host, port).collect();
        if pinned.iter().any(|pin| pin.fingerprint == shown.fingerprint) {
            return HostKeyStatus::Known;
        }
        let same_kind = |pin: &&&HostKey| pin.key_type.is_none() || pin.key_type == shown.key_type;
        if let Some(pin) = pinned.iter().find(same_kind) {
            return HostKeyStatus::Changed { old: pin.fingerprint.clone() };
        }
        if pinned.is_empty() {
            return HostKeyStatus::Unknown;
        }
        HostKeyStatus::NewType { known: pinned.into_iter().cloned().collect() }
    }

    /// Pins `key`; replaces a pinned key of the same kind, or one of which only the fingerprint is known.
    pub fn pin(&mut self, host: &str, port: u16, key: HostKey) {
        self.0.retain(|pin| {
            let same_place = pin.host == host && pin.port == port;
            let replaced =
                pin.key.key_type.is_none() || key.key_type.is_none() || pin.key.key_type == key.key_type;
            !(same_place && replaced)
        });
        self.0.push(Pin { host: host.to_owned(), port, key });
    }

    /// The pinned keys of a server.
    pub fn of<'a>(&'a self, host: &'a str, port: u16) -> impl Iterator<Item = &'a HostKey> {
        self.0.iter().filter(move |pin| pin.host == host && pin.port == port).map(|pin| &pin.key)
    }

    /// The algorithms to request from a server: pinned kinds first, so that a server that was given an
    /// additional key is still recognised by the pinned one.
    pub fn preference(&self, host: &str, port: u16) -> String {
        let is_pinned = |kind: &str| self.of(host, port).any(|pin| pin.key_type.as_deref() == Some(kind));
        let (first, then): (Vec<_>, Vec<_>) = OFFERED.into_iter().partition(|(kind, _)| is_pinned(kind));
        first.into_iter().chain(then).map(|offered| offered.1).collect::<Vec<_>>().join(",")
    }
}

/// The key from the server's bytes: a string with its kind comes first (RFC 4253, 6.6).
pub fn host_key(blob: &[u8]) -> Option<HostKey> {
    let length = usize::try_from(u32::from_be_bytes(blob.get(..4)?.try_into().ok()?)).ok()?;
    let kind = std::str::from_utf8(blob.get(4..4usize.checked_add(length)?)?).ok()?;
    let plain = !kind.is_empty() && kind.bytes().all(|b| b.is_ascii_graphic());
    plain.then(|| HostKey {
        key_type: Some(kind.to_owned()),
        fingerprint: format!("SHA256:{}", BASE64_NOPAD.encode(&Sha256::digest(blob))),
    })
}

/// A server's host key, compared with the pins.
pub fn found(pins: &Pins, host: &str, port: u16, shown: HostKey) -> HostKeyFound {
    let status = pins.judge(host, port, &shown);
    let HostKey { key_type, fingerprint } = shown;
    HostKeyFound { host: host.to_owned(), port, key_type: key_type.unwrap_or_default(), fingerprint, status }
}

/// Parses pasted text as the host key of `host`: a `SHA256:` fingerprint, also as printed by `ssh-keygen -l`,
/// a line of `known_hosts`, or a public key file from `/etc/ssh`.
pub fn parse(text: &str, host: &str, port: u16) -> Result<HostKey> {
    let refused = |words: &str| Err(Error::refusal(Code::InvalidInput, format!("Host key: {words}")));
    let words: Vec<&str> = text.split_whitespace().collect();
    if text.trim().lines().count() > 1 {
        return refused("paste one line only.");
    }
    if words.first().is_some_and(|word| word.starts_with('@')) {
        return refused("lines with @cert-authority or @revoked cannot be used; paste the host's own key.");
    }
    if let Some(word) = words.iter().find(|word| word.starts_with("SHA256:")) {
        let sum = word.trim_start_matches("SHA256:").trim_end_matches('=');
        return match BASE64_NOPAD.decode(sum.as_bytes()) {
            Ok(bytes) if bytes.len() == 32 => {
                Ok(HostKey { key_type: None, fingerprint: format!("SHA256:{sum}") })
            }
            _ => refused("the fingerprint is incomplete: SHA256: is followed by 43 characters."),
        };
    }
    if words.iter().any(|word| word.starts_with("MD5:") || word.matches(':').count() == 15) {
        return refused("MD5 fingerprints are not secure; use the one that begins with SHA256:.");
    }
    let Some(at) = words.iter().position(|word| word.starts_with("AAAA")).filter(|at| *at > 0) else {
        return refused("this is neither a fingerprint (SHA256:…) nor a line of known_hosts.");
    };
    let blob = BASE64.decode(words[at].as_bytes()).ok();
    let whole = blob.filter(|blob| ssh_key::PublicKey::from_bytes(blob).is_ok());
    let key = whole.and_then(|blob| host_key(&blob));
    let Some(key) = key.filter(|key| key.key_type.as_deref() == Some(words[at - 1])) else {
        return refused("the key is incomplete or damaged.");
    };
    if !OFFERED.iter().any(|(kind, _)| key.key_type.as_deref() == Some(kind)) {
        return refused("keys of this kind are not supported; use the Ed25519, ECDSA or RSA key.");
    }
    // A hashed name cannot be compared; a plain one must be this host's.
    let names = if at >= 2 { words[at - 2] } else { "" };
    let bracketed = format!("[{host}]:{port}");
    let is_ours = |name: &str| name.eq_ignore_ascii_case(host) || name.eq_ignore_ascii_case(&bracketed);
    if !names.is_empty() && !names.starts_with("|1|") && !names.split(',').any(is_ours) {
        return refused(&format!("this is the key of {names}, not of {host}."));
    }
    Ok(key)
}

/// Records in the audit log that Holdfast stopped at a host key that is not approved.
pub fn note(notes: &Notes, found: &HostKeyFound) {
    let event = match found.status {
        HostKeyStatus::Known => return,
        HostKeyStatus::Unknown => Event::HostKeySeen,
        HostKeyStatus::Changed { .. } | HostKeyStatus::NewType { .. } => Event::HostKeyMismatch,
    };
    let object = format!("{} port {}", found.host, found.port);
    let detail = match found.pinned() {
        pinned if pinned.is_empty() => format!("{} {}", found.key_type, found.fingerprint),
        pinned => format!("{} {}; approved: {}", found.key_type, found.fingerprint, pinned.join(", ")),
    };
    notes.note(event, &object, Ending::Refused, &detail);
}

#[cfg(test)]
mod tests {
    use crate::domain::destinations::sftp::known_hosts::*;

    const ED: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE";

    fn key(kind: &str, mark: &str) -> HostKey {
        HostKey { key_type: Some(kind.to_owned()), fingerprint: format!("SHA256:{mark}") }
    }

    #[test]
    fn a_key_is_known_unknown_changed_or_of_a_new_kind() {
        let mut pins = Pins::default();
        let (ed, rsa) = (key("ssh-ed25519", "a"), key("ssh-rsa", "b"));
        assert_eq!(pins.judge("h", 22, &ed), HostKeyStatus::Unknown);
        pins.pin("h", 22, ed.clone());
        assert_eq!(pins.judge("h", 22, &ed), HostKeyStatus::Known);
        assert_eq!(pins.judge("h", 23, &ed), HostKeyStatus::Unknown, "another port is another server");
        assert_eq!(pins.judge("i", 22, &ed), HostKeyStatus::Unknown);
        let changed = HostKeyStatus::Changed { old: "SHA256:a".into() };
        assert_eq!(pins.judge("h", 22, &key("ssh-ed25519", "c")), changed);
        assert_eq!(pins.judge("h", 22, &rsa), HostKeyStatus::NewType { known: vec![ed.clone()] });
        pins.pin("h", 22, rsa.clone());
        assert_eq!(pins.judge("h", 22, &ed), HostKeyStatus::Known, "a second kind joins the first");
        pins.pin("h", 22, key("ssh-ed25519", "c"));
        assert_ne!(pins.judge("h", 22, &ed), HostKeyStatus::Known, "a new key replaces the one of its kind");
        assert_eq!(pins.judge("h", 22, &rsa), HostKeyStatus::Known);
    }

    #[test]
    fn a_lone_fingerprint_admits_its_key_and_no_other() {
        let mut pins = Pins::default();
        pins.pin("h", 22, HostKey { key_type: None, fingerprint: "SHA256:a".into() });
        assert_eq!(pins.judge("h", 22, &key("ssh-rsa", "a")), HostKeyStatus::Known);
        let other = pins.judge("h", 22, &key("ssh-ed25519", "b"));
        assert_eq!(other, HostKeyStatus::Changed { old: "SHA256:a".into() });
    }

    #[test]
    fn the_pinned_kind_is_asked_for_first_and_sha_1_and_dsa_never() {
        let mut pins = Pins::default();
        assert!(pins.preference("h", 22).starts_with("ssh-ed25519,"));
        pins.pin("h", 22, key("ssh-rsa", "b"));
        assert!(pins.preference("h", 22).starts_with("rsa-sha2-512,rsa-sha2-256,ssh-ed25519"));
        let all = pins.preference("h", 22);
        assert!(all.split(',').all(|method| method != "ssh-rsa" && method != "ssh-dss"), "{all}");
    }

    #[test]
    fn what_people_paste_is_read() {
        let expected = host_key(&BASE64.decode(ED.as_bytes()).unwrap()).unwrap();
        for text in [
            format!("nas ssh-ed25519 {ED}"),
            format!("  NAS,192.0.2.7 ssh-ed25519 {ED} comment\n"),
            format!("[nas]:2222 ssh-ed25519 {ED}"),
            format!("|1|c2FsdA==|aGFzaA== ssh-ed25519 {ED}"),
            format!("ssh-ed25519 {ED} root@nas"),
        ] {
            assert_eq!(parse(&text, "nas", 2222).unwrap(), expected, "{text}");
        }
        let printed = format!("256 {} root@nas (ED25519)", expected.fingerprint);
        assert_eq!(parse(&printed, "nas", 22).unwrap().fingerprint, expected.fingerprint);
    }

    #[test]
    fn what_is_no_key_of_this_host_is_refused_in_words() {
        for (text, words) in [
            ("", "neither"),
            ("SHA256:short", "43 characters"),
            ("MD5:16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48", "MD5"),
            (&format!("other ssh-ed25519 {ED}"), "not of nas"),
            (&format!("nas ssh-rsa {ED}"), "damaged"),
            (&format!("nas ssh-ed25519 {}", &ED[..20]), "damaged"),
            (&format!("@cert-authority nas ssh-ed25519 {ED}"), "@cert-authority"),
            (&format!("nas ssh-ed25519 {ED}\nnas ssh-ed25519 {ED}"), "one line"),
        ] {
            let refusal = parse(text, "nas", 22).unwrap_err().to_string();
            assert!(refusal.contains(words), "{text}: {refusal}");
        }
    }
}
