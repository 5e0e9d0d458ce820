//! The actions of the SFTP settings page: store, reset and test the settings, approve host keys, generate a
//! key.

use crate::domain::audit::{Notes, changed_fields};
use crate::domain::destinations::Destinations;
use crate::domain::destinations::sftp::check;
use crate::domain::destinations::sftp::keys;
use crate::domain::destinations::sftp::kind;
use crate::domain::destinations::sftp::known_hosts;
use crate::domain::destinations::sftp::settings::{SftpInput, StoredSftp};
use crate::domain::destinations::shared::Shared;
use crate::domain::engines::Cancel;
use crate::domain::error::{Code, Error, Result};
use crate::model::audit::Event;
use crate::model::sftp_form::tidy_host;
use crate::model::{Checklist, HostKey, SftpSettings};
use std::time::Instant;

/// The name of the settings in the audit log.
const OBJECT: &str = "SFTP settings";

/// Administers the SFTP destination for an actor. Calls block.
pub struct SftpAdmin {
    shared: Shared,
    notes: Notes,
    stored: StoredSftp,
}

impl SftpAdmin {
    /// For the actor of `destinations`, whom the audit log names.
    pub fn of(destinations: &Destinations) -> Self {
        let shared = destinations.shared().clone();
        let stored = StoredSftp::new(shared.store.clone(), shared.secrets.clone());
        Self { shared, notes: destinations.notes().clone(), stored }
    }

    /// The stored settings, as the browser may see them.
    pub fn settings(&self) -> Result<SftpSettings> {
        self.stored.view()
    }

    /// Stores the form; if it is invalid, says why and changes nothing.
    pub fn save(&self, input: &SftpInput) -> Result<SftpSettings> {
        let before = self.settings()?;
        let saved = self.stored.save(input).and_then(|moved| {
            if moved {
                // The records of copies are about the former place.
                self.shared.copies.forget_all(&kind::name()?)?;
            }
            self.settings()
        });
        self.notes.noted(Event::SettingsChanged, OBJECT, saved, |after| {
            let fields = changed_fields(&before.form, &after.form);
            let fields = (!fields.is_empty()).then_some(fields);
            let changed = fields.into_iter().chain(input.changes().map(str::to_owned));
            changed.collect::<Vec<_>>().join(", ")
        })
    }

    /// Forgets settings, secrets, approved host keys and the records of copies. The key file stays: other
    /// secrets may be sealed with it.
    pub fn reset(&self) -> Result<()> {
        let reset = self.stored.reset().and_then(|()| self.shared.copies.forget_all(&kind::name()?));
        self.notes.noted(Event::SettingsReset, OBJECT, reset, |()| String::new())
    }

    /// Tests the form together with the stored secrets, and stores nothing. Only a limited number of servers
    /// that do not speak SSH may be tested per minute.
    pub fn check(&self, input: &SftpInput, cancel: &Cancel) -> Result<Checklist> {
        let account = self.stored.account_of(input)?;
        let pins = self.stored.pins()?;
        let probe = self.shared.probes.begin(&account.form.host, account.port, Instant::now())?;
        let list = check::check(&account, &pins, &self.shared.options, cancel);
        probe.end(list.host_key.is_some());
        if let Some(found) = &list.host_key {
            known_hosts::note(&self.notes, found);
        }
        Ok(list)
    }

    /// Pins a host key that a user looked at and approved; replaces a pinned key of the same kind.
    pub fn approve(&self, host: &str, port: u16, key: HostKey) -> Result<()> {
        let detail = key.fingerprint.clone();
        let approved = self.pin(&tidy_host(host), port, key);
        self.noted_approval(host, port, approved, detail)
    }

    /// Pins a pasted host key: a fingerprint, or a line of `known_hosts`.
    pub fn trust_pasted(&self, host: &str, port: u16, text: &str) -> Result<()> {
        match known_hosts::parse(text, &tidy_host(host), port) {
            Ok(key) => self.approve(host, port, key),
            Err(error) => self.noted_approval(host, port, Err(error), String::new()),
        }
    }

    /// Generates a key pair, stores the private key, and returns the public key as a line for
    /// `authorized_keys`.
    pub fn generate_key(&self) -> Result<String> {
        let made = keys::generate()
            .map_err(|problem| Error::refusal(Code::Internal, problem.on_the_form().sentence))
            .and_then(|key| self.stored.keep_key(&key).map(|()| key.public_line));
        self.notes.noted(Event::SshKeyMade, OBJECT, made, String::clone)
    }

    fn pin(&self, host: &str, port: u16, key: HostKey) -> Result<()> {
        let fingerprint = key.fingerprint.strip_prefix("SHA256:");
        if !fingerprint.is_some_and(|sum| sum.len() == 43 && sum.is_ascii()) {
            let words = "Host key: this is not a SHA256 fingerprint.";
            return Err(Error::refusal(Code::InvalidInput, words));
        }
        tracing::info!(%host, port, key.key_type, key.fingerprint, "a host key was approved");
        self.stored.change_pins(|pins| pins.pin(host, port, key))
    }

    fn noted_approval(&self, host: &str, port: u16, approved: Result<()>, detail: String) -> Result<()> {
        let object = format!("{host} port {port}");
        self.notes.noted(Event::HostKeyApproved, &object, approved, |()| detail)
    }
}
