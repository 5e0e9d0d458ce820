//! The host key of an SSH server: what identifies the server, and whether somebody approved it.

use serde::{Deserialize, Serialize};

/// A server's host key, by its kind and its fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HostKey {
    /// `ssh-ed25519`, `ecdsa-sha2-nistp256`, `ssh-rsa` …; nothing where only a fingerprint was entered.
    pub key_type: Option<String>,
    /// `SHA256:` and 43 characters of base64, as `ssh-keygen -l` prints it.
    pub fingerprint: String,
}

/// The host key a server showed, and how it stands to what is pinned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostKeyFound {
    /// The server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The key's kind, as in [`HostKey::key_type`].
    pub key_type: String,
    /// The key's fingerprint, as in [`HostKey::fingerprint`].
    pub fingerprint: String,
    /// How it stands.
    pub status: HostKeyStatus,
}

/// How a host key stands to what is pinned for its host and port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostKeyStatus {
    /// It is pinned.
    Known,
    /// Nothing is pinned.
    Unknown,
    /// Another key of this kind is pinned.
    Changed {
        /// The pinned key's fingerprint.
        old: String,
    },
    /// Keys of other kinds are pinned, none of this one.
    NewType {
        /// The pinned keys.
        known: Vec<HostKey>,
    },
}

impl HostKeyFound {
    /// The pinned keys that speak against it, each by kind and fingerprint.
    pub fn pinned(&self) -> Vec<String> {
        let kind = |key: &HostKey| key.key_type.clone().unwrap_or_else(|| "any kind".to_owned());
        match &self.status {
            HostKeyStatus::Known | HostKeyStatus::Unknown => Vec::new(),
            HostKeyStatus::Changed { old } => vec![format!("{} {old}", self.key_type)],
            HostKeyStatus::NewType { known } => {
                known.iter().map(|key| format!("{} {}", kind(key), key.fingerprint)).collect()
            }
        }
    }

    /// Whether the connection may go on.
    pub fn is_known(&self) -> bool {
        self.status == HostKeyStatus::Known
    }

    /// What it means, and what to do.
    pub fn words(&self) -> String {
        let Self { host, port, key_type, fingerprint, status } = self;
        match status {
            HostKeyStatus::Known => {
                format!("{host} showed the {key_type} key that is pinned, {fingerprint}.")
            }
            HostKeyStatus::Unknown => format!(
                "{host} (port {port}) shows an unknown host key: {key_type} {fingerprint}. \
                 Compare it with the server's own, then approve it. Nothing was sent."
            ),
            HostKeyStatus::Changed { old } => format!(
                "The host key of {host} (port {port}) has changed: pinned is {old}, the server shows {key_type} \
                 {fingerprint}. Somebody may be intercepting the connection. Ask the server's administrator before approving the new key. Nothing was sent."
            ),
            HostKeyStatus::NewType { known } => {
                let known: Vec<_> = known.iter().filter_map(|key| key.key_type.as_deref()).collect();
                format!(
                    "{host} (port {port}) is known by its {} key, but shows one of another kind: {key_type} \
                     {fingerprint}. The server may have been given a new kind of key, or be another one. Compare \
                     it with the server's own, then approve it. Nothing was sent.",
                    known.join(" and ")
                )
            }
        }
    }
}
