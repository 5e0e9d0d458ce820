//! The server functions of the SFTP settings page. An expected refusal is an answer, not an error: the page shows it as
//! a sentence, and the browser's console stays clean.
#![expect(missing_docs, reason = "the macro makes structs whose fields cannot carry documentation")]

#[cfg(feature = "ssr")]
use super::context;
use super::wire::Wire;
#[cfg(feature = "ssr")]
use crate::domain::destinations::sftp::administration::SftpAdmin;
#[cfg(feature = "ssr")]
use crate::domain::engines::Cancel;
#[cfg(feature = "ssr")]
use crate::model::Outcome;
use crate::model::{ActionResult, AppError, SftpAuth, SftpForm, SftpSettings};
use leptos::prelude::*;
use leptos::server_fn::codec::{GetUrl, PostUrl};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The settings form as the browser sends it, secrets included. The server never sends it back.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SftpEntry {
    /// `on` if the box is checked.
    pub enabled: Option<String>,
    /// `on` if the box is checked.
    pub send_new: Option<String>,
    pub host: String,
    pub port: String,
    pub username: String,
    /// [`SftpAuth::value`].
    pub auth: String,
    /// Empty keeps the stored one.
    pub password: String,
    /// Empty keeps the stored one.
    pub private_key: String,
    /// Empty keeps the stored one.
    pub passphrase: String,
    pub remote_directory: String,
    /// `on` if the box is checked.
    pub write_only: Option<String>,
    /// `on` deletes the stored one.
    pub remove_password: Option<String>,
    /// `on` deletes the stored one.
    pub remove_private_key: Option<String>,
    /// `on` deletes the stored one.
    pub remove_passphrase: Option<String>,
}

impl SftpEntry {
    /// Reads the fields of a form.
    pub fn read(sent: impl Fn(&str) -> Option<String>) -> Self {
        let get = |field: &str| sent(&format!("entry[{field}]"));
        let text = |field| get(field).unwrap_or_default();
        Self {
            enabled: get("enabled"),
            send_new: get("send_new"),
            host: text("host"),
            port: text("port"),
            username: text("username"),
            auth: text("auth"),
            password: text("password"),
            private_key: text("private_key"),
            passphrase: text("passphrase"),
            remote_directory: text("remote_directory"),
            write_only: get("write_only"),
            remove_password: get("remove_password"),
            remove_private_key: get("remove_private_key"),
            remove_passphrase: get("remove_passphrase"),
        }
    }

    /// The form without its secrets.
    pub fn form(&self) -> SftpForm {
        SftpForm {
            enabled: self.enabled.is_some(),
            send_new: self.send_new.is_some(),
            host: self.host.clone(),
            port: self.port.clone(),
            username: self.username.clone(),
            auth: SftpAuth::from_value(&self.auth),
            remote_directory: self.remote_directory.clone(),
            write_only: self.write_only.is_some(),
        }
    }
}

impl fmt::Debug for SftpEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SftpEntry").field("form", &self.form()).finish_non_exhaustive()
    }
}

#[cfg(feature = "ssr")]
impl From<SftpEntry> for crate::domain::destinations::sftp::settings::SftpInput {
    fn from(entry: SftpEntry) -> Self {
        use crate::domain::destinations::sftp::settings::SecretEdit;
        let edit = |text: String, remove: Option<String>| SecretEdit::of_form(text.into(), remove.is_some());
        Self {
            form: entry.form(),
            password: edit(entry.password, entry.remove_password),
            private_key: edit(entry.private_key, entry.remove_private_key),
            passphrase: edit(entry.passphrase, entry.remove_passphrase),
        }
    }
}

/// Everything that the settings page shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SftpPage {
    /// The stored settings, without their secrets.
    pub settings: SftpSettings,
    /// The result that a redirect left for this page.
    pub told: Option<ActionResult>,
}

/// The settings page. `outcome` is the id of a flash message.
#[server(endpoint = "sftp_settings", protocol = Wire<GetUrl>)]
pub async fn read_sftp(outcome: Option<String>) -> Result<SftpPage, AppError> {
    let told = context::recall_result(outcome).await?;
    let settings = context::ask(|holdfast| SftpAdmin::of(&holdfast.destinations()).settings()).await?;
    Ok(SftpPage { settings, told })
}

/// Saves the form.
#[server(endpoint = "save_sftp", protocol = Wire<PostUrl>)]
pub async fn save_sftp(entry: SftpEntry) -> Result<ActionResult, AppError> {
    let form = entry.form();
    let input = entry.into();
    let moved = form.clone().tidied();
    let stored = context::ask(|holdfast| SftpAdmin::of(&holdfast.destinations()).settings()).await?.form;
    let saved = match context::stale().await {
        Some(stale) if stored.place() != moved.place() => Err(stale),
        _ => context::attempt(move |holdfast| SftpAdmin::of(&holdfast.destinations()).save(&input)).await?,
    };
    let told = match saved {
        Ok(_) => ActionResult { outcome: Outcome::done("SFTP settings saved."), ..ActionResult::default() },
        Err(reason) => {
            ActionResult { outcome: Outcome::refused(reason), form: Some(form), ..ActionResult::default() }
        }
    };
    show_on_page(&told).await?;
    Ok(told)
}

/// Deletes settings, secrets and pinned host keys.
#[server(endpoint = "reset_sftp", protocol = Wire<PostUrl>)]
pub async fn reset_sftp() -> Result<ActionResult, AppError> {
    let reset =
        context::attempt_freshly(|holdfast, _| SftpAdmin::of(&holdfast.destinations()).reset()).await?;
    let words = "SFTP settings reset: server, secrets and approved host keys are deleted here. The copies on the server stay.";
    let told = result_of(reset, words.to_owned());
    show_on_page(&told).await?;
    Ok(told)
}

/// Tests the connection with the form as it is, and saves nothing.
#[server(endpoint = "test_sftp", protocol = Wire<PostUrl>)]
pub async fn test_sftp(entry: SftpEntry) -> Result<ActionResult, AppError> {
    let form = entry.form();
    let input = entry.into();
    let checked = context::attempt(move |holdfast| {
        SftpAdmin::of(&holdfast.destinations()).check(&input, &Cancel::default())
    })
    .await?;
    let told = match checked {
        Ok(checklist) => {
            let outcome = match checklist.failed() {
                None => Outcome::done("The connection works: every step of the test passed."),
                Some(failed) => Outcome::refused(format!("{}: {}", failed.step.label(), failed.words)),
            };
            ActionResult { outcome, checklist: Some(checklist), form: Some(form) }
        }
        Err(reason) => ActionResult { outcome: Outcome::refused(reason), checklist: None, form: Some(form) },
    };
    show_on_page(&told).await?;
    Ok(told)
}

/// Pins the host key that the user approved, at once. `entry` is the unsaved form, which a page without JavaScript
/// shows again.
#[server(endpoint = "approve_host_key", protocol = Wire<PostUrl>)]
pub async fn approve_host_key(
    host: String,
    port: u16,
    key_type: String,
    fingerprint: String,
    entry: Option<SftpEntry>,
) -> Result<ActionResult, AppError> {
    let key = crate::model::HostKey { key_type: Some(key_type), fingerprint: fingerprint.clone() };
    let server = host.clone();
    let approved = context::attempt_freshly(move |holdfast, _| {
        SftpAdmin::of(&holdfast.destinations()).approve(&server, port, key)
    })
    .await?;
    let words = format!("Host key of {host} approved: {fingerprint}. Test the connection again.");
    let told = ActionResult { form: entry.map(|entry| entry.form()), ..result_of(approved, words) };
    show_on_page(&told).await?;
    Ok(told)
}

/// Pins a pasted host key: a fingerprint or a `known_hosts` line.
#[server(endpoint = "trust_host_key", protocol = Wire<PostUrl>)]
pub async fn trust_host_key(entry: SftpEntry, line: String) -> Result<ActionResult, AppError> {
    let typed = entry.form();
    let form = typed.clone().tidied();
    let host = form.host.clone();
    let pasted = context::attempt_freshly(move |holdfast, _| {
        let port = form.port_number().unwrap_or(crate::model::sftp_form::DEFAULT_PORT);
        if form.host.is_empty() {
            let words = "Host: enter the server's name or address first. A host key belongs to one server.";
            return Err(crate::domain::Error::Refused(words.to_owned()));
        }
        SftpAdmin::of(&holdfast.destinations()).trust_pasted(&form.host, port, &line)
    })
    .await?;
    let told =
        ActionResult { form: Some(typed), ..result_of(pasted, format!("Host key of {host} approved.")) };
    show_on_page(&told).await?;
    Ok(told)
}

/// Generates a key pair. Holdfast stores the private key; the settings page shows the public key.
#[server(endpoint = "generate_sftp_key", protocol = Wire<PostUrl>)]
pub async fn generate_sftp_key() -> Result<ActionResult, AppError> {
    let made = context::attempt(|holdfast| SftpAdmin::of(&holdfast.destinations()).generate_key()).await?;
    let words = "A key pair was created and its private key saved. Add the public key below to authorized_keys on the server.";
    let told = result_of(made, words.to_owned());
    show_on_page(&told).await?;
    Ok(told)
}

#[cfg(feature = "ssr")]
fn result_of<T>(done: Result<T, String>, words: String) -> ActionResult {
    let outcome = done.map_or_else(Outcome::refused, |_| Outcome::done(words));
    ActionResult { outcome, ..ActionResult::default() }
}

/// Redirects a form posted without JavaScript to the settings page.
#[cfg(feature = "ssr")]
async fn show_on_page(told: &ActionResult) -> Result<(), AppError> {
    context::tell_on("/settings/sftp", told.clone()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_has_no_secrets() {
        let entry = SftpEntry {
            host: "nas".into(),
            password: "canary-1".into(),
            private_key: "canary-2".into(),
            passphrase: "canary-3".into(),
            ..SftpEntry::default()
        };
        let shown = format!("{entry:?} {:?}", SaveSftp { entry: entry.clone() });
        assert!(shown.contains("nas") && !shown.contains("canary"), "{shown}");
    }
}
