//! Which files may name a kind of destination: its own folder, the registry, and for SFTP its settings page.

use super::{root, source_files};
use std::fmt::Write as _;
use std::fs;

/// The folder of SFTP and its root file.
const SFTP: &str = "domain/destinations/sftp";

/// The folder of directories and its root file.
const DIRECTORY: &str = "domain/destinations/directory";

/// Where SFTP or SSH is named outside its folder: file, what the lines that may do so contain, and why.
const SFTP_NAMED: [(&str, &str, &str); 13] = [
    ("domain/destinations/kinds.rs", "&sftp::kind::Sftp,", "the registry: one line a kind"),
    ("domain/destinations/kinds.rs", "use crate::domain::destinations::{directory, sftp};", "the registry"),
    (
        "domain/destinations/name.rs",
        "Self(\"sftp\".to_owned())",
        "what was stored before destinations had names is about the one there was",
    ),
    ("model/sftp_form.rs", "", "the form of the settings page"),
    ("model.rs", "pub use sftp_", "passes the form and the checklist on"),
    ("model/audit.rs", "SshKeyMade = \"ssh-key-made\"", "an event that audit logs have by that name"),
    ("api/sftp.rs", "", "the server functions of the settings page"),
    ("ui/pages/sftp.rs", "", "the settings page"),
    ("ui/components/chrome.rs", "\"/settings/sftp\"", "the address of the settings page"),
    ("app.rs", "/settings/sftp", "the routes of the settings page"),
    ("app.rs", "sftp::{ResetPage, SftpSettingsPage}", "the routes of the settings page"),
    ("settings.rs", "sftp_finish_timeout", "a flag of the contract"),
    ("settings.rs", "HOLDFAST_SFTP_FINISH_TIMEOUT", "a variable of the contract"),
];

/// The lines of a source file that name SFTP or SSH, without its comments, its tests and the excepted lines. Each
/// exception that was needed is added to `needed`.
fn naming_sftp<'t>(file: &str, text: &'t str, needed: &mut Vec<usize>) -> Vec<&'t str> {
    if file == format!("{SFTP}.rs") || file.starts_with(&format!("{SFTP}/")) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for line in code(text) {
        let lower = line.to_lowercase();
        if !lower.contains("sftp") && !lower.contains("ssh") {
            continue;
        }
        // A folder or a file has to be declared where it is.
        let declared = line.trim().trim_start_matches("pub ");
        if declared.starts_with("mod ") && declared.ends_with(';') {
            continue;
        }
        let excepted = SFTP_NAMED.iter().position(|(of, part, _)| *of == file && line.contains(part));
        match excepted {
            Some(at) => needed.push(at),
            None => found.push(line),
        }
    }
    found
}

/// The same for the paths of the directory destination, which only the registry may name.
fn naming_directory<'t>(file: &str, text: &'t str) -> Vec<&'t str> {
    if file == format!("{DIRECTORY}.rs") || file.starts_with(&format!("{DIRECTORY}/")) {
        return Vec::new();
    }
    let named = |line: &&str| {
        (line.contains("destinations::directory") || line.contains("directory::kind"))
            && !(file == "domain/destinations/kinds.rs" && line.trim() == "&directory::kind::Directory,")
    };
    code(text).filter(named).collect()
}

fn code(text: &str) -> impl Iterator<Item = &str> {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    text.lines().filter(|line| !line.trim_start().starts_with("//"))
}

#[test]
fn a_kind_of_destination_is_named_in_its_own_folder_and_the_registry() {
    let (mut report, mut needed) = (String::new(), Vec::new());
    for path in source_files() {
        let file = path.strip_prefix(root().join("src")).unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&path).unwrap();
        let mut lines = naming_sftp(&file, &text, &mut needed);
        lines.extend(naming_directory(&file, &text));
        for line in lines {
            writeln!(report, "src/{file} names a kind of destination: {}", line.trim()).unwrap();
        }
    }
    assert!(report.is_empty(), "\n{report}");
    let unneeded: Vec<_> = SFTP_NAMED
        .iter()
        .enumerate()
        .filter(|(at, _)| !needed.contains(at))
        .map(|(_, named)| named)
        .collect();
    assert!(unneeded.is_empty(), "exceptions that nothing needs any more: {unneeded:?}");
}

#[test]
fn a_kind_that_is_named_elsewhere_is_found() {
    let sftp = |file: &str, text: &str| !naming_sftp(file, text, &mut Vec::new()).is_empty();
    assert!(sftp("domain/destinations.rs", "use crate::domain::destinations::sftp::keys;"));
    assert!(sftp("domain/destinations/transfer.rs", "    let words = \"The SFTP server is full.\";"));
    assert!(sftp("domain/destinations/sftp_like.rs", "struct SshThing;"));
    assert!(sftp("ui/pages/backups.rs", "\"SFTP storage is switched off.\""));
    assert!(sftp("domain/destinations/kinds.rs", "use crate::domain::destinations::sftp::keys;"));
    // The controls.
    assert!(!sftp("domain/destinations/sftp/keys.rs", "use ssh_key::PrivateKey;"));
    assert!(!sftp("domain/destinations.rs", "pub mod sftp;"));
    assert!(!sftp("domain/jobs.rs", "/// Such as an upload over SFTP."));
    assert!(!sftp("domain/jobs.rs", "fn f() {}\n\n#[cfg(test)]\nmod tests {\n    use ssh2::Session;\n}"));
    let directory = |file: &str, text: &str| !naming_directory(file, text).is_empty();
    assert!(directory("api/off_site.rs", "use crate::domain::destinations::directory::folder::Folder;"));
    assert!(directory("domain/destinations/kinds.rs", "use crate::domain::destinations::directory::marker;"));
    assert!(!directory("domain/destinations/kinds.rs", "    &directory::kind::Directory,"));
    assert!(!directory(
        "domain/destinations/directory/kind.rs",
        "use crate::domain::destinations::directory::folder;"
    ));
}
