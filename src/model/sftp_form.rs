//! The form on the SFTP settings page, without its secrets: its fields, and their validation.

use super::{Checklist, HostKey, Outcome};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The standard port of SSH.
pub const DEFAULT_PORT: u16 = 22;

/// The stored settings, as the browser may see them.
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
    /// The public key of the stored private key, as a line for `authorized_keys`.
    pub public_key: Option<String>,
    /// The approved host keys of this host and port.
    pub pins: Vec<HostKey>,
}

/// The form on the settings page as typed, without its secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SftpForm {
    /// Whether off-site storage is on.
    pub enabled: bool,
    /// Whether every new backup is uploaded automatically.
    #[serde(default)]
    pub send_new: bool,
    /// Host name, IPv4 or IPv6 address.
    pub host: String,
    /// Port as typed; [`SftpForm::port_number`] parses it.
    pub port: String,
    /// Username on the server.
    pub username: String,
    /// Authentication method.
    pub auth: SftpAuth,
    /// Directory for the copies: absolute, or relative to the account's home directory, which an empty text means.
    pub remote_directory: String,
    /// Whether the server accepts files but does not let them be read. Copies are then not read back.
    #[serde(default)]
    pub write_only: bool,
}

/// How Holdfast logs in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SftpAuth {
    /// With a password, also if the server asks for it by keyboard-interactive prompt.
    #[default]
    Password,
    /// With a private key.
    SshKey,
}

impl SftpAuth {
    /// Both methods, in the order of the form.
    pub const ALL: [Self; 2] = [Self::Password, Self::SshKey];

    /// The option's label.
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

    /// Reads the value back; anything unknown means a password.
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
    /// The passphrase of the key.
    Passphrase,
    /// The directory for the copies.
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

/// A problem with one field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SftpProblem {
    /// The field.
    pub field: SftpField,
    /// The problem and what to do. Begins with the field's label.
    pub sentence: String,
}

impl SftpProblem {
    /// A problem of `field`; `words` follow the label.
    pub fn new(field: SftpField, words: impl fmt::Display) -> Self {
        Self { field, sentence: format!("{}: {words}", field.label()) }
    }
}

impl fmt::Display for SftpProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

/// Which secrets are available, stored or typed.
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
    /// The form without surrounding spaces, brackets around an IPv6 address, and with a port.
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

    /// The port, if it is valid.
    pub fn port_number(&self) -> Option<u16> {
        self.port.parse().ok().filter(|port| *port != 0)
    }

    /// Where copies go, and as which user. Changing this needs a recently confirmed password.
    pub fn place(&self) -> (&str, &str, &str, &str) {
        (&self.host, &self.port, &self.username, &self.remote_directory)
    }

    /// Problems that prevent saving. While off-site storage is off, the form may be incomplete.
    pub fn problems(&self, secrets: SecretsAtHand) -> Vec<SftpProblem> {
        let missing = if self.enabled { self.missing(secrets) } else { Vec::new() };
        missing.into_iter().chain(self.malformed()).collect()
    }

    /// Problems that prevent a connection test.
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
            found.push(SftpProblem::new(SftpField::Port, "enter a number from 1 to 65535. SSH uses 22."));
        }
        if self.username.len() > 255 || self.username.contains(char::is_control) {
            let words = "use at most 255 characters and no line breaks.";
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
            return Some("enter only the server's name or address, without sftp://, user or path.");
        }
        if host.matches(':').count() == 1 {
            return Some("enter the port in its own field.");
        }
        if !host.is_ascii() {
            return Some("write an international name in its ASCII form, which begins with xn--.");
        }
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        // A name whose last label is all digits is a mistyped address, which resolvers interpret in surprising ways.
        let numeric = host.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
        (host.len() > 253 || numeric || !host.split('.').all(is_label)).then_some(
            "that is not a host name or an address; write it like backup.example.org or 192.0.2.7.",
        )
    }

    fn directory_problem(&self) -> Option<&'static str> {
        let directory = self.remote_directory.as_str();
        if directory.contains(char::is_control) {
            Some("remove line breaks and other control characters.")
        } else if directory.len() > 1024 {
            Some("use at most 1,024 characters.")
        } else if directory.split('/').any(|part| part == "..") {
            Some("write the path without \"..\".")
        } else if directory.starts_with('~') {
            Some(
                "SFTP has no \"~\". Leave it out: a path without a leading / starts in the account's home directory.",
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
    /// The result of a connection test, step by step.
    pub checklist: Option<Checklist>,
    /// The form as typed, if it was not saved.
    pub form: Option<SftpForm>,
}

impl From<Outcome> for ActionResult {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, ..Self::default() }
    }
}

/// A host as it is stored and pinned: in lower case, without surrounding spaces, final dot or brackets.
pub fn tidy_host(host: &str) -> String {
    let host = host.trim().trim_end_matches('.').to_ascii_lowercase();
    let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inner.map(str::to_owned).unwrap_or(host)
}

fn is_ipv4(text: &str) -> bool {
    let is_part = |part: &str| part.parse::<u8>().is_ok_and(|number| number.to_string() == part);
    text.split('.').count() == 4 && text.split('.').all(is_part)
}

/// Eight groups of hexadecimal digits, or fewer with one `::`.
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
    fn switched_off_settings_may_be_incomplete_but_not_wrong() {
        let off = SftpForm { enabled: false, host: String::new(), ..good() };
        assert_eq!(off.problems(SecretsAtHand::default()), []);
        assert_eq!(
            fields(&SftpForm { port: "x".into(), ..off }, SecretsAtHand::default()),
            [SftpField::Port]
        );
    }

    #[test]
    fn tidying_keeps_the_root_and_drops_spaces_and_final_slashes() {
        let tidied =
            |text: &str| SftpForm { remote_directory: text.into(), ..good() }.tidied().remote_directory;
        assert_eq!(tidied(" /a/ "), "/a");
        assert_eq!(tidied("//"), "/");
        assert_eq!(tidied(""), "");
    }

    #[test]
    fn labels_that_the_contract_names_stay() {
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
