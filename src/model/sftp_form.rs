//! The form on the SFTP settings page, without its secrets: its fields, and what is wrong with what was typed.

use super::{Checklist, HostKey, Outcome};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The port SSH servers listen on unless somebody moved them.
pub const DEFAULT_PORT: u16 = 22;

/// What is stored, as the browser may see it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SftpSettings {
    /// The settings, without their secrets.
    pub form: SftpForm,
    /// Whether a password is stored.
    pub password_set: bool,
    /// Whether a private key is stored.
    pub private_key_set: bool,
    /// Whether the passphrase of that key is stored.
    pub passphrase_set: bool,
    /// The stored key's public half, as a line for `authorized_keys`.
    pub public_key: Option<String>,
    /// The host keys that are trusted for this host and port.
    pub pins: Vec<HostKey>,
}

/// The form on the settings page, without its secrets, as somebody typed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SftpForm {
    /// Whether backups are to be sent off-site at all.
    pub enabled: bool,
    /// Whether each new backup is sent without being asked for.
    #[serde(default)]
    pub send_new: bool,
    /// A name, or an address of either kind.
    pub host: String,
    /// As typed; [`SftpForm::port_number`] reads it.
    pub port: String,
    /// Who logs in.
    pub username: String,
    /// With what.
    pub auth: SftpAuth,
    /// Where the backups go: absolute, or seen from where the account starts; empty means right there.
    pub remote_directory: String,
    /// Whether the server takes files in and lets nobody read them: copies are then not read back.
    #[serde(default)]
    pub write_only: bool,
}

/// How Holdfast logs in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SftpAuth {
    /// With a password, also where the server asks for it by prompt.
    #[default]
    Password,
    /// With a private key.
    SshKey,
}

impl SftpAuth {
    /// Both, in the order of the form.
    pub const ALL: [Self; 2] = [Self::Password, Self::SshKey];

    /// The option's words.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Password => "Password",
            Self::SshKey => "SSH key",
        }
    }

    /// The option's value.
    pub const fn value(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::SshKey => "ssh-key",
        }
    }

    /// Reads the value back; a password where it is another.
    pub fn from_value(value: &str) -> Self {
        if value == Self::SshKey.value() { Self::SshKey } else { Self::Password }
    }
}

/// A field of the form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SftpField {
    /// The server.
    Host,
    /// Its port.
    Port,
    /// The account there.
    Username,
    /// Password or key.
    Auth,
    /// The account's password.
    Password,
    /// The account's key.
    PrivateKey,
    /// What the key is encrypted with.
    Passphrase,
    /// Where the backups go.
    RemoteDirectory,
}

impl SftpField {
    /// The field's label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Host => "Host",
            Self::Port => "Port",
            Self::Username => "Username",
            Self::Auth => "Authentication method",
            Self::Password => "Password",
            Self::PrivateKey => "SSH private key",
            Self::Passphrase => "Key passphrase",
            Self::RemoteDirectory => "Remote directory",
        }
    }
}

/// Something about a field that keeps the settings from working.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SftpProblem {
    /// Which field.
    pub field: SftpField,
    /// What is wrong and what to do; it begins with the field's label.
    pub sentence: String,
}

impl SftpProblem {
    /// A problem of `field`; `words` go on behind its label.
    pub fn new(field: SftpField, words: impl fmt::Display) -> Self {
        Self { field, sentence: format!("{}: {words}", field.label()) }
    }
}

impl fmt::Display for SftpProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

/// Which secrets there are, stored or just typed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SecretsAtHand {
    /// A password.
    pub password: bool,
    /// A private key.
    pub private_key: bool,
}

impl Default for SftpForm {
    fn default() -> Self {
        Self {
            enabled: false,
            send_new: false,
            host: String::new(),
            port: DEFAULT_PORT.to_string(),
            username: String::new(),
            auth: SftpAuth::default(),
            remote_directory: String::new(),
            write_only: false,
        }
    }
}

impl SftpForm {
    /// The same without blanks around the values, brackets around an IPv6 address, and an empty port.
    #[must_use]
    pub fn tidied(mut self) -> Self {
        self.host = tidy_host(&self.host);
        self.port = self.port.trim().to_owned();
        if self.port.is_empty() {
            self.port = DEFAULT_PORT.to_string();
        }
        self.username = self.username.trim().to_owned();
        let directory = self.remote_directory.trim();
        let ended = directory.trim_end_matches('/');
        self.remote_directory =
            if ended.is_empty() && !directory.is_empty() { "/" } else { ended }.to_owned();
        self
    }

    /// The port, where it is one.
    pub fn port_number(&self) -> Option<u16> {
        self.port.parse().ok().filter(|port| *port != 0)
    }

    /// Where copies go, and as whom: to be changed only by whoever proved lately who they are.
    pub fn place(&self) -> (&str, &str, &str, &str) {
        (&self.host, &self.port, &self.username, &self.remote_directory)
    }

    /// What keeps these settings from being stored. What is switched off may be incomplete.
    pub fn problems(&self, secrets: SecretsAtHand) -> Vec<SftpProblem> {
        let missing = if self.enabled { self.missing(secrets) } else { Vec::new() };
        missing.into_iter().chain(self.malformed()).collect()
    }

    /// What keeps these settings from being tried.
    pub fn problems_for_check(&self, secrets: SecretsAtHand) -> Vec<SftpProblem> {
        self.missing(secrets).into_iter().chain(self.malformed()).collect()
    }

    fn missing(&self, secrets: SecretsAtHand) -> Vec<SftpProblem> {
        let mut found = Vec::new();
        if self.host.is_empty() {
            found.push(SftpProblem::new(SftpField::Host, "enter the server's name or address."));
        }
        if self.username.is_empty() {
            found.push(SftpProblem::new(SftpField::Username, "enter the account to log in with."));
        }
        match self.auth {
            SftpAuth::Password if !secrets.password => {
                found.push(SftpProblem::new(SftpField::Password, "enter the account's password."));
            }
            SftpAuth::SshKey if !secrets.private_key => {
                found.push(SftpProblem::new(SftpField::PrivateKey, "paste a private key, or generate one."));
            }
            _ => {}
        }
        found
    }

    fn malformed(&self) -> Vec<SftpProblem> {
        let mut found = Vec::new();
        if let Some(words) = self.host_problem() {
            found.push(SftpProblem::new(SftpField::Host, words));
        }
        if self.port_number().is_none() {
            found.push(SftpProblem::new(SftpField::Port, "it is a number from 1 to 65535; SSH's own is 22."));
        }
        if self.username.len() > 255 || self.username.contains(char::is_control) {
            let words = "it has at most 255 characters, and no line breaks.";
            found.push(SftpProblem::new(SftpField::Username, words));
        }
        if let Some(words) = self.directory_problem() {
            found.push(SftpProblem::new(SftpField::RemoteDirectory, words));
        }
        found
    }

    fn host_problem(&self) -> Option<&'static str> {
        let host = self.host.as_str();
        if host.is_empty() || is_ipv4(host) || is_ipv6(host) {
            return None;
        }
        if host.contains("://") || host.contains(['/', '@']) {
            return Some("only the server's name or address belongs here, without sftp://, user or path.");
        }
        if host.matches(':').count() == 1 {
            return Some("the port has a field of its own.");
        }
        if !host.is_ascii() {
            return Some("write an international name in its ASCII form, which begins with xn--.");
        }
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        // A last part of digits alone is an address that is misspelt, which resolvers read in surprising ways.
        let numeric = host.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
        (host.len() > 253 || numeric || !host.split('.').all(is_label)).then_some(
            "that is not a host name or an address; write it like backup.example.org or 192.0.2.7.",
        )
    }

    fn directory_problem(&self) -> Option<&'static str> {
        let directory = self.remote_directory.as_str();
        if directory.contains(char::is_control) {
            Some("it has a line break or another control character in it.")
        } else if directory.len() > 1024 {
            Some("it is longer than 1,024 characters.")
        } else if directory.split('/').any(|part| part == "..") {
            Some("write the path without \"..\".")
        } else if directory.starts_with('~') {
            Some(
                "SFTP knows no \"~\"; leave it out, a path without a leading / starts in the account's home directory.",
            )
        } else {
            None
        }
    }
}

/// The result of an action, as the page shows it: in its own answer, or after a redirect.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionResult {
    /// The sentences.
    pub outcome: Outcome,
    /// What a connection test found, step by step.
    pub checklist: Option<Checklist>,
    /// The form as it was typed, if it was not stored.
    pub form: Option<SftpForm>,
}

impl From<Outcome> for ActionResult {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, ..Self::default() }
    }
}

/// A host as it is stored and pinned: in lower case, without blanks, a last dot, or brackets.
pub fn tidy_host(host: &str) -> String {
    let host = host.trim().trim_end_matches('.').to_ascii_lowercase();
    let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inner.map(str::to_owned).unwrap_or(host)
}

fn is_ipv4(text: &str) -> bool {
    let is_part = |part: &str| part.parse::<u8>().is_ok_and(|number| number.to_string() == part);
    text.split('.').count() == 4 && text.split('.').all(is_part)
}

/// Up to eight groups of hexadecimal digits, one run of them left out as `::` at most.
fn is_ipv6(text: &str) -> bool {
    let is_group =
        |group: &str| (1..=4).contains(&group.len()) && group.bytes().all(|b| b.is_ascii_hexdigit());
    let groups = |half: &str| if half.is_empty() { 0 } else { half.split(':').count() };
    let good = |half: &str| half.is_empty() || half.split(':').all(is_group);
    match text.split_once("::") {
        Some((front, back)) => good(front) && good(back) && groups(front) + groups(back) < 8,
        None => groups(text) == 8 && good(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: SecretsAtHand = SecretsAtHand { password: true, private_key: true };

    fn good() -> SftpForm {
        SftpForm {
            enabled: true,
            host: "backup.example.org".into(),
            username: "holdfast".into(),
            remote_directory: "/backups".into(),
            ..SftpForm::default()
        }
    }

    fn fields(form: &SftpForm, secrets: SecretsAtHand) -> Vec<SftpField> {
        form.clone().tidied().problems(secrets).into_iter().map(|problem| problem.field).collect()
    }

    #[test]
    fn good_settings_have_no_problem() {
        for host in ["backup.example.org", "nas", "my_nas.local", "192.0.2.7", "2001:db8::1", "[::1]", "Nas."]
        {
            assert_eq!(fields(&SftpForm { host: host.into(), ..good() }, ALL), [], "{host}");
        }
        for directory in ["", "/", "backups", "/a b/ü", "./x"] {
            assert_eq!(
                fields(&SftpForm { remote_directory: directory.into(), ..good() }, ALL),
                [],
                "{directory}"
            );
        }
        assert_eq!(fields(&SftpForm { port: " ".into(), ..good() }, ALL), []);
    }

    #[test]
    fn each_problem_names_its_field() {
        let none = SecretsAtHand::default();
        assert_eq!(fields(&SftpForm { host: String::new(), ..good() }, ALL), [SftpField::Host]);
        for host in [
            "sftp://nas",
            "u@nas",
            "nas/x",
            "nas:22",
            "a b",
            "nas\n",
            "ü.de",
            "-a",
            "a..b",
            "127.1",
            "0x7f.1",
            "300.1.1.1",
            "2130706433",
            "fe80::1%eth0",
            "$(x)",
        ] {
            let form = SftpForm { host: host.trim_end_matches('.').into(), ..good() };
            assert_eq!(form.problems(ALL).first().map(|p| p.field), Some(SftpField::Host), "{host:?}");
        }
        for port in ["0", "65536", "-1", "ssh", "2 2"] {
            assert_eq!(fields(&SftpForm { port: port.into(), ..good() }, ALL), [SftpField::Port], "{port}");
        }
        for username in ["", "a\nb", "a\0b"] {
            assert_eq!(fields(&SftpForm { username: username.into(), ..good() }, ALL), [SftpField::Username]);
        }
        for directory in ["a\nb", "a\0b", "../x", "/a/../b", "~/x"] {
            let form = SftpForm { remote_directory: directory.into(), ..good() };
            assert_eq!(fields(&form, ALL), [SftpField::RemoteDirectory], "{directory:?}");
        }
        assert_eq!(fields(&good(), none), [SftpField::Password]);
        assert_eq!(fields(&SftpForm { auth: SftpAuth::SshKey, ..good() }, none), [SftpField::PrivateKey]);
        for problem in SftpForm::default().problems_for_check(none) {
            assert!(problem.sentence.starts_with(problem.field.label()), "{problem}");
        }
    }

    #[test]
    fn what_is_switched_off_may_be_incomplete_but_not_wrong() {
        let off = SftpForm { enabled: false, host: String::new(), ..good() };
        assert_eq!(off.problems(SecretsAtHand::default()), []);
        assert_eq!(
            fields(&SftpForm { port: "x".into(), ..off }, SecretsAtHand::default()),
            [SftpField::Port]
        );
    }

    #[test]
    fn tidying_keeps_the_root_and_drops_what_means_nothing() {
        let tidied =
            |text: &str| SftpForm { remote_directory: text.into(), ..good() }.tidied().remote_directory;
        assert_eq!(tidied(" /a/ "), "/a");
        assert_eq!(tidied("//"), "/");
        assert_eq!(tidied(""), "");
    }

    #[test]
    fn the_words_of_the_contract_stay() {
        assert_eq!(SftpAuth::ALL.map(SftpAuth::label), ["Password", "SSH key"]);
        assert!(SftpAuth::ALL.iter().all(|auth| SftpAuth::from_value(auth.value()) == *auth));
        assert_eq!(SftpField::PrivateKey.label(), "SSH private key");
    }

    proptest! {
        #[test]
        fn validation_never_panics_and_tidying_is_done_once(
            host in ".{0,40}", port in ".{0,6}", directory in ".{0,40}"
        ) {
            let form = SftpForm { host, port, remote_directory: directory, ..good() }.tidied();
            let _ = form.problems(ALL);
            let _ = form.problems_for_check(SecretsAtHand::default());
        }
    }
}
