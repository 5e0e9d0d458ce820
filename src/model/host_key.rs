//! The host key of an SSH server, and whether it is approved.

use serde::{Deserialize, Serialize};

/// A server's host key: its type and its fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HostKey {
    /// `ssh-ed25519`, `ecdsa-sha2-nistp256`, `ssh-rsa` …; `None` if only a fingerprint was entered.
    pub key_type: Option<String>,
    /// `SHA256:` and 43 characters of base64, as `ssh-keygen -l` prints it.
    pub fingerprint: String,
}

/// The host key that a server showed, compared with the pinned keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostKeyFound {
    /// The server's name or address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The key's type, as in [`HostKey::key_type`].
    pub key_type: String,
    /// The key's fingerprint, as in [`HostKey::fingerprint`].
    pub fingerprint: String,
    /// The result of the comparison.
    pub status: HostKeyStatus,
}

/// A host key compared with the keys that are pinned for its host and port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostKeyStatus {
    /// The key is pinned.
    Known,
    /// No key is pinned.
    Unknown,
    /// A different key of this type is pinned.
    Changed {
        /// The pinned key's fingerprint.
        old: String,
    },
    /// Only keys of other types are pinned.
    NewType {
        /// The pinned keys.
        known: Vec<HostKey>,
    },
}

impl HostKeyFound {
    /// The pinned keys that this key contradicts, each as type and fingerprint.
    pub fn pinned(&self) -> Vec<String> {
        let kind = |key: &HostKey| key.key_type.clone().unwrap_or_else(|| "any type".to_owned());
        match &self.status {
            HostKeyStatus::Known | HostKeyStatus::Unknown => Vec::new(),
            HostKeyStatus::Changed { old } => vec![format!("{} {old}", self.key_type)],
            HostKeyStatus::NewType { known } => {
                known.iter().map(|key| format!("{} {}", kind(key), key.fingerprint)).collect()
            }
        }
    }

    /// Whether the connection may continue.
    pub fn is_known(&self) -> bool {
        self.status == HostKeyStatus::Known
    }

    /// A sentence with the meaning and the next step.
    pub fn words(&self) -> String {
        let Self { host, port, key_type, fingerprint, status } = self;
        match status {
            HostKeyStatus::Known => {
                format!("{host} showed the pinned {key_type} key, {fingerprint}.")
            }
            HostKeyStatus::Unknown => format!(
                "{host} (port {port}) shows an unknown host key: {key_type} {fingerprint}. \
                 Compare it with the server's own, then approve it. Nothing was sent."
            ),
            HostKeyStatus::Changed { old } => format!(
                "The host key of {host} (port {port}) has changed: the pinned key is {old}, the server shows {key_type} \
                 {fingerprint}. Somebody may be intercepting the connection. Ask the server's administrator before approving the new key. Nothing was sent."
            ),
            HostKeyStatus::NewType { known } => {
                let known: Vec<_> = known.iter().filter_map(|key| key.key_type.as_deref()).collect();
                format!(
                    "{host} (port {port}) has an approved {} key, but shows a key of another type: {key_type} \
                     {fingerprint}. The server may have a new key, or it may be a different server. Compare \
                     the key with the server's own, then approve it. Nothing was sent.",
                    known.join(" and ")
                )
            }
        }
    }
}
