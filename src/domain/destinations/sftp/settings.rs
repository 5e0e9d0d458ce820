//! The SFTP settings in the state database: visible fields in plain text, secrets sealed.

use crate::domain::destinations::settings_rows::{self, encode};
use crate::domain::destinations::sftp::keys;
use crate::domain::destinations::sftp::known_hosts::Pins;
use crate::domain::error::{Code, Error, Result};
use crate::domain::state::Store;
use crate::domain::state::secrets::Secrets;
use crate::domain::state::settings as table;
use crate::domain::state::settings::Rows;
use crate::model::{SecretsAtHand, SftpAuth, SftpForm, SftpProblem, SftpSettings};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

const FORM: &str = "sftp";
const PINS: &str = "sftp.pins";
const PASSWORD: &str = "sftp.password";
const PRIVATE_KEY: &str = "sftp.private_key";
const PASSPHRASE: &str = "sftp.passphrase";

/// The submitted form with its secrets. Only for passing it from the server to the domain; its `Debug` shows
/// no secret.
#[derive(Debug, Clone, Default)]
pub struct SftpInput {
    /// The visible fields.
    pub form: SftpForm,
    /// The password.
    pub password: SecretEdit,
    /// The private key, in any format that [`keys::read`] accepts.
    pub private_key: SecretEdit,
    /// The private key's passphrase.
    pub passphrase: SecretEdit,
}

impl SftpInput {
    /// The secrets that the form replaces or removes, by field name.
    pub fn changes(&self) -> impl Iterator<Item = &'static str> {
        let secrets = [
            ("password", &self.password),
            ("private key", &self.private_key),
            ("passphrase", &self.passphrase),
        ];
        secrets.into_iter().filter(|(_, edit)| !matches!(edit, SecretEdit::Keep)).map(|(name, _)| name)
    }
}

/// What to do with a stored secret.
#[derive(Debug, Clone, Default)]
pub enum SecretEdit {
    /// Keep it.
    #[default]
    Keep,
    /// Delete it.
    Remove,
    /// Replace it.
    Set(SecretString),
}

impl SecretEdit {
    /// From a form with a field for the secret, left empty to keep it, and a check box to remove it.
    pub fn of_form(text: SecretString, remove: bool) -> Self {
        if !text.expose_secret().is_empty() {
            Self::Set(text)
        } else if remove {
            Self::Remove
        } else {
            Self::Keep
        }
    }
}

/// What is needed to log in, held in memory only as long as needed.
#[derive(Debug)]
pub struct SftpAccount {
    /// The settings without their secrets.
    pub form: SftpForm,
    /// The port, parsed from the form.
    pub port: u16,
    /// The credential.
    pub credential: Credential,
}

/// A credential.
#[derive(Debug)]
pub enum Credential {
    /// A password.
    Password(SecretString),
    /// A private key in OpenSSH's format, unencrypted.
    Key(SecretString),
}

/// The settings row.
#[derive(Debug, Default, Serialize, Deserialize)]
struct SftpRow {
    form: SftpForm,
    #[serde(default)]
    public_key: Option<String>,
}

/// The stored settings.
#[derive(Clone)]
pub struct StoredSftp {
    store: Store,
    secrets: Secrets,
}

impl StoredSftp {
    /// The settings in `store`, with secrets sealed by `secrets`.
    pub fn new(store: Store, secrets: Secrets) -> Self {
        Self { store, secrets }
    }

    /// The stored settings, as the browser may see them.
    pub fn view(&self) -> Result<SftpSettings> {
        let pins = self.pins()?;
        table::read(&self.store, |rows| {
            let stored = stored(rows)?;
            let port = stored.form.port_number().unwrap_or_default();
            Ok(SftpSettings {
                password_set: rows.get(PASSWORD)?.is_some(),
                private_key_set: rows.get(PRIVATE_KEY)?.is_some(),
                passphrase_set: rows.get(PASSPHRASE)?.is_some(),
                public_key: stored.public_key,
                pins: pins.of(&stored.form.host, port).cloned().collect(),
                form: stored.form,
            })
        })
    }

    /// Stores `input`; if it is invalid, says why and changes nothing. `true` if copies now go to another
    /// place.
    pub fn save(&self, input: &SftpInput) -> Result<bool> {
        let form = input.form.clone().tidied();
        refuse(form.problems(self.at_hand(input)?))?;
        let key_changes = !matches!(input.private_key, SecretEdit::Keep);
        let passphrase_changes = !matches!(input.passphrase, SecretEdit::Keep);
        // A key is parsed if it is new or will be used: what is stored must work.
        let looked_at = key_changes || passphrase_changes || form.auth == SftpAuth::SshKey;
        let key = if looked_at { self.key(input)? } else { None };
        let public_key = match &key {
            Some((key, passphrase)) => Some(usable(key, passphrase.as_ref())?.public_line),
            None if looked_at => None,
            None => self.stored()?.public_key,
        };
        // A passphrase without its key is useless, and would be shown as set.
        let orphaned = key_changes && !matches!(key, Some((_, Some(_))));
        let passphrase = if orphaned { &SecretEdit::Remove } else { &input.passphrase };
        let sealed =
            [(PASSWORD, &input.password), (PRIVATE_KEY, &input.private_key), (PASSPHRASE, passphrase)]
                .into_iter()
                .map(|(key, edit)| Ok((key, edit, self.sealed(key, edit)?)))
                .collect::<Result<Vec<_>>>()?;
        table::change(&self.store, |rows| {
            let before = stored(rows)?.form;
            for (key, edit, value) in sealed {
                match (edit, value) {
                    (SecretEdit::Remove, _) => rows.remove(key)?,
                    (_, Some(value)) => rows.put(key, &value)?,
                    (_, None) => {}
                }
            }
            let moved = before.place() != form.place();
            rows.put(FORM, &encode(&SftpRow { form, public_key })?)?;
            Ok(moved)
        })
    }

    /// Deletes settings, secrets and pins.
    pub fn reset(&self) -> Result<()> {
        table::change(&self.store, |rows| {
            [FORM, PINS, PASSWORD, PRIVATE_KEY, PASSPHRASE].into_iter().try_for_each(|key| rows.remove(key))
        })
    }

    /// Stores `key` as the private key, without a passphrase.
    pub fn keep_key(&self, key: &keys::ReadyKey) -> Result<()> {
        let sealed = settings_rows::seal(&self.secrets, PRIVATE_KEY, &key.openssh)?;
        table::change(&self.store, |rows| {
            let stored = SftpRow { public_key: Some(key.public_line.clone()), ..stored(rows)? };
            rows.put(FORM, &encode(&stored)?)?;
            rows.put(PRIVATE_KEY, &sealed)?;
            rows.remove(PASSPHRASE)
        })
    }

    /// The account for `input` combined with the stored secrets; changes nothing.
    pub fn account_of(&self, input: &SftpInput) -> Result<SftpAccount> {
        let form = input.form.clone().tidied();
        refuse(form.problems_for_check(self.at_hand(input)?))?;
        let credential = match form.auth {
            SftpAuth::Password => {
                let password = self.merged(&input.password, PASSWORD, "The stored password")?;
                Credential::Password(password.ok_or(Error::Lost)?)
            }
            SftpAuth::SshKey => {
                let (key, passphrase) = self.key(input)?.ok_or(Error::Lost)?;
                Credential::Key(usable(&key, passphrase.as_ref())?.openssh)
            }
        };
        let port = form.port_number().ok_or(Error::Lost)?;
        Ok(SftpAccount { form, port, credential })
    }

    /// The stored form.
    pub fn form(&self) -> Result<SftpForm> {
        Ok(self.stored()?.form)
    }

    /// The account according to the stored settings.
    pub fn account(&self) -> Result<SftpAccount> {
        let form = self.form()?;
        if form.host.is_empty() {
            return Err(Error::refusal(
                Code::DestinationOff,
                "No SFTP server is set up. Enter one on the page SFTP settings.",
            ));
        }
        self.account_of(&SftpInput { form, ..SftpInput::default() })
    }

    /// The pinned host keys.
    pub fn pins(&self) -> Result<Pins> {
        let pins = table::get(&self.store, PINS)?;
        pins.map_or(Ok(Pins::default()), |text| decode(&text))
    }

    /// Changes the pinned host keys.
    pub fn change_pins(&self, change: impl FnOnce(&mut Pins)) -> Result<()> {
        table::change(&self.store, |rows| {
            let mut pins = rows.get(PINS)?.map_or(Ok(Pins::default()), |text| decode(&text))?;
            change(&mut pins);
            rows.put(PINS, &encode(&pins)?)
        })
    }

    fn stored(&self) -> Result<SftpRow> {
        read(table::get(&self.store, FORM)?)
    }

    /// Which secrets exist, given `input` and the stored ones. Opens none: a new secret can be entered even
    /// if the old one cannot be decrypted.
    fn at_hand(&self, input: &SftpInput) -> Result<SecretsAtHand> {
        let has = |edit: &SecretEdit, key: &str| match edit {
            SecretEdit::Keep => Ok(table::get(&self.store, key)?.is_some()),
            SecretEdit::Remove => Ok(false),
            SecretEdit::Set(_) => Ok::<_, Error>(true),
        };
        Ok(SecretsAtHand {
            password: has(&input.password, PASSWORD)?,
            private_key: has(&input.private_key, PRIVATE_KEY)?,
        })
    }

    /// The private key and its passphrase, given `input` and the stored ones.
    fn key(&self, input: &SftpInput) -> Result<Option<(SecretString, Option<SecretString>)>> {
        let Some(key) = self.merged(&input.private_key, PRIVATE_KEY, "The stored SSH private key")? else {
            return Ok(None);
        };
        let merged = |edit| self.merged(edit, PASSPHRASE, "The stored key passphrase");
        let passphrase = match (&input.private_key, &input.passphrase) {
            // A new key may have the old key's passphrase, or none.
            (SecretEdit::Set(_), SecretEdit::Keep) => {
                merged(&SecretEdit::Keep).unwrap_or_default().filter(|passphrase| {
                    keys::read(&key, None).is_err() && keys::read(&key, Some(passphrase)).is_ok()
                })
            }
            (_, edit) => merged(edit)?,
        };
        Ok(Some((key, passphrase)))
    }

    fn merged(&self, edit: &SecretEdit, key: &str, what: &str) -> Result<Option<SecretString>> {
        match edit {
            SecretEdit::Keep => self.opened(key, what),
            SecretEdit::Remove => Ok(None),
            SecretEdit::Set(new) => Ok(Some(new.clone())),
        }
    }

    fn opened(&self, key: &str, what: &str) -> Result<Option<SecretString>> {
        settings_rows::open(&self.store, &self.secrets, key, what)
    }

    fn sealed(&self, key: &str, edit: &SecretEdit) -> Result<Option<String>> {
        match edit {
            SecretEdit::Set(secret) => Ok(Some(settings_rows::seal(&self.secrets, key, secret)?)),
            _ => Ok(None),
        }
    }
}

fn usable(key: &SecretString, passphrase: Option<&SecretString>) -> Result<keys::ReadyKey> {
    keys::read(key, passphrase)
        .map_err(|problem| Error::refusal(Code::InvalidInput, problem.on_the_form().sentence))
}

fn refuse(problems: Vec<SftpProblem>) -> Result<()> {
    if problems.is_empty() {
        return Ok(());
    }
    let sentences: Vec<_> = problems.into_iter().map(|problem| problem.sentence).collect();
    Err(Error::refusal(Code::InvalidInput, sentences.join(" ")))
}

fn stored(rows: &Rows<'_>) -> Result<SftpRow> {
    read(rows.get(FORM)?)
}

fn read(form: Option<String>) -> Result<SftpRow> {
    form.map_or(Ok(SftpRow::default()), |text| decode(&text))
}

fn decode<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T> {
    settings_rows::decode("SFTP settings", text)
}
