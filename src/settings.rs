//! Command-line flags and environment variables: read once, checked, secrets wrapped. A flag overrides its
//! variable. No other module reads the environment.

mod log;
#[cfg(feature = "ssr")]
pub mod process;
pub mod tls;

use crate::domain::Options;
use crate::domain::databases::list::{Databases, parse_databases};
use crate::domain::engines::{Engines, Target};
use crate::domain::operations::compress::Effort;
use crate::domain::operations::import::limits::Limits;
use crate::domain::outbound::Policy;
use crate::model::{EngineKind, Stamp};
use crate::settings::tls::CertificateFiles;
use clap::{Args, Parser, Subcommand, value_parser};
use ipnet::IpNet;
use leptos::config::{LeptosOptions, get_configuration};
use secrecy::{ExposeSecret, SecretString};
use std::ffi::OsString;
use std::io::IsTerminal;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tracing_subscriber::util::SubscriberInitExt as _;

/// The engine whose tools `HOLDFAST_POSTGRES_BIN` replaces.
const POSTGRES: EngineKind = EngineKind::new("postgresql");

/// Back up PostgreSQL and SQLite databases, check the backups, and restore them.
#[derive(Debug, Parser)]
#[command(name = "holdfast", version)]
pub struct Cli {
    /// The settings that all commands share.
    #[command(flatten, next_help_heading = "Settings (every command takes them)")]
    pub settings: Settings,
    /// The command to run.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server: the web page and the HTTP API.
    Serve,
    /// Back up one database now. No server needs to run.
    Backup {
        /// Name of the database, as in `HOLDFAST_DATABASES`.
        database: String,
        /// Print a JSON object.
        #[arg(long)]
        json: bool,
    },
    /// List the backups.
    List {
        /// Print a JSON array.
        #[arg(long)]
        json: bool,
    },
    /// Check backups: checksum, compression and content, and optionally a test restore.
    ///
    /// Exits with status 0 if every backup is good, and 3 if one is damaged or cannot be restored.
    Verify {
        /// The files, and the form of the output.
        #[command(flatten)]
        selection: BackupSelection,
    },
    /// Check backups that have no manifest, and write a manifest for each intact one.
    ///
    /// Exits with status 3 if one is damaged.
    Adopt {
        /// The files, and the form of the output.
        #[command(flatten)]
        selection: BackupSelection,
    },
    /// Re-encrypt the stored secrets with a new key (stop the server first).
    RotateKey,
    /// Give an account a new password and turn its two-factor authentication off.
    ///
    /// For somebody who lost the password or the second factor. Prints the new password once and ends all sessions of
    /// the account. The server may be running.
    ResetAccount {
        /// Username of the account.
        username: String,
    },
    /// Check a backup and restore it into a database.
    Restore {
        /// Name of a file in the backup directory, or a path.
        file: String,
        /// Database to restore into: `sqlite:///abs/path.db` or `postgres://user[:password]@host[:port]/database`. Put
        /// a URL with a password into the variable: every user of this machine can read command-line arguments.
        #[arg(long, env = "HOLDFAST_RESTORE_INTO", hide_env_values = true, value_name = "URL")]
        into: SecretString,
        /// Replace the database if it exists. Holdfast backs it up first.
        #[arg(long)]
        overwrite: bool,
        /// PostgreSQL: restore the owners and grants of objects, where these roles exist on the server. Without this
        /// flag, the role in the URL owns everything.
        #[arg(long)]
        keep_owners: bool,
        /// PostgreSQL: also restore objects that act outside the database: subscriptions, event triggers, `pg_cron`
        /// jobs, and user mappings of foreign servers.
        #[arg(long)]
        act_outside: bool,
        /// Largest size the backup may unpack to [default: 10 TiB; for SQLite, at most the free disk space].
        #[arg(long, value_name = "BYTES")]
        max_bytes: Option<u64>,
        /// Print a JSON object.
        #[arg(long)]
        json: bool,
    },
}

/// The backups that a command works on.
#[derive(Debug, Args)]
pub struct BackupSelection {
    /// Names of files in the backup directory, or paths.
    #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "FILE")]
    pub files: Vec<String>,
    /// Every backup in the backup directory.
    #[arg(long)]
    pub all: bool,
    /// Print JSON: an object for one file, an array otherwise.
    #[arg(long)]
    pub json: bool,
    /// Largest size a backup may unpack to [default: 10 TiB; for SQLite, at most the free disk space].
    #[arg(long, value_name = "BYTES")]
    pub max_bytes: Option<u64>,
}

/// The settings that all commands share.
#[derive(Debug, Args)]
pub struct Settings {
    /// Address and port to listen on.
    #[arg(long, env = "HOLDFAST_LISTEN", default_value = "127.0.0.1:3000", global = true)]
    pub listen: SocketAddr,
    /// TLS certificate as a PEM file: the server's own certificate first, then the intermediates. With a certificate
    /// and its key, Holdfast serves HTTPS. It picks up a renewed certificate within a minute.
    #[arg(long, env = "HOLDFAST_TLS_CERT", value_name = "FILE", global = true)]
    pub tls_cert: Option<PathBuf>,
    /// Private key of the certificate as a PEM file, without a passphrase. Other users must not be able to read it.
    #[arg(long, env = "HOLDFAST_TLS_KEY", value_name = "FILE", global = true)]
    pub tls_key: Option<PathBuf>,
    /// A reverse proxy in front of Holdfast terminates TLS. Holdfast trusts its `X-Forwarded-*` headers if it runs on
    /// this machine.
    #[arg(long, env = "HOLDFAST_BEHIND_PROXY", value_parser = switch, global = true)]
    pub behind_proxy: bool,
    /// Addresses or networks of the reverse proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` headers Holdfast
    /// trusts [default: this machine with --behind-proxy, none otherwise].
    #[arg(long, env = "HOLDFAST_TRUSTED_PROXIES", value_parser = networks, value_name = "ADDRESSES", global = true)]
    pub trusted_proxies: Option<Networks>,
    /// Path of the site, such as /holdfast, if a reverse proxy serves several sites under one host name.
    #[arg(
        long, env = "HOLDFAST_BASE_PATH", default_value = "", value_parser = base_path, hide_default_value = true,
        value_name = "PATH", global = true
    )]
    pub base_path: String,
    /// Directory of the state database and the key file. Holdfast creates it.
    #[arg(long, env = "HOLDFAST_DATA_DIR", default_value = "./data", global = true)]
    pub data_dir: PathBuf,
    /// Directory of the backups. Holdfast creates it [default: `<data-dir>/backups`].
    #[arg(long, env = "HOLDFAST_BACKUP_DIR", global = true)]
    pub backup_dir: Option<PathBuf>,
    /// Databases to back up, as name=url, separated by whitespace: `sqlite:///abs/path.db` or
    /// `postgres://user[:password]@host[:port]/database[?sslmode=…]` [default: Holdfast's own state database].
    // Parsed later than the other flags: clap's error message would print the value, passwords included.
    #[arg(long, env = "HOLDFAST_DATABASES", hide_env_values = true, global = true)]
    pub databases: Option<SecretString>,
    /// Username of the first account.
    #[arg(long, env = "HOLDFAST_ADMIN_USER", default_value = "admin", global = true)]
    pub admin_user: String,
    /// Password of the first account, used only while no account exists. Without it, Holdfast logs a one-time set-up
    /// link.
    #[arg(long, env = "HOLDFAST_ADMIN_PASSWORD", hide_env_values = true, global = true)]
    pub admin_password: Option<SecretString>,
    /// Directory of the `pg_dump` and `pg_restore` to use instead of those on the PATH.
    #[arg(long, env = "HOLDFAST_POSTGRES_BIN", global = true)]
    pub postgres_bin: Option<PathBuf>,
    /// PostgreSQL server for test restores: `postgres://user[:password]@host[:port]/database`. Holdfast creates a
    /// database for each test and drops it afterwards; the role needs CREATEDB [default: the server uses the database's
    /// own PostgreSQL server, commands run no test restore].
    #[arg(long, env = "HOLDFAST_RESTORE_ON", hide_env_values = true, value_name = "URL", global = true)]
    pub restore_on: Option<SecretString>,
    /// Compression level, from 1 (fast) to 9 (small).
    #[arg(
        long, env = "HOLDFAST_COMPRESSION_LEVEL", default_value_t = Effort::default().level, value_parser = value_parser!(u8).range(1..=9),
        global = true
    )]
    pub compression_level: u8,
    /// Threads that compress one backup [default: the number of cores, at most 4].
    #[arg(long, env = "HOLDFAST_COMPRESSION_THREADS", value_parser = value_parser!(u8).range(1..=64), global = true)]
    pub compression_threads: Option<u8>,
    /// Largest size of one import, all its files together.
    #[arg(long, env = "HOLDFAST_IMPORT_MAX", default_value_t = Limits::default().upload, value_name = "BYTES", global = true)]
    pub import_max: u64,
    /// Largest size one imported backup may unpack to. For SQLite, the free disk space is a limit too.
    #[arg(
        long, env = "HOLDFAST_IMPORT_MAX_CONTENT", default_value_t = Limits::default().content, value_name = "BYTES",
        global = true
    )]
    pub import_max_content: u64,
    /// Seconds an SFTP server may take to sync, close or rename a file while the connection is alive.
    #[arg(
        long, env = "HOLDFAST_SFTP_FINISH_TIMEOUT", default_value_t = 600, value_parser = value_parser!(u32).range(30..=86_400),
        value_name = "SECONDS", global = true
    )]
    pub sftp_finish_timeout: u32,
    /// Refuse to connect to SFTP and PostgreSQL servers on this machine, whichever of its addresses they use.
    #[arg(long = "deny-loopback-targets", env = "HOLDFAST_DENY_LOOPBACK", value_parser = switch, global = true)]
    pub deny_loopback: bool,
    /// Refuse to connect to SFTP and PostgreSQL servers in private networks: RFC 1918, shared address space, unique
    /// local.
    #[arg(long = "deny-private-targets", env = "HOLDFAST_DENY_PRIVATE", value_parser = switch, global = true)]
    pub deny_private: bool,
    /// Log level: error, warn, info, debug, or a filter such as holdfast=debug [default: info for the server, warn for
    /// commands].
    #[arg(long, env = "HOLDFAST_LOG", global = true)]
    pub log: Option<String>,
}

impl Settings {
    /// The options of the domain. Fails with a sentence that names the wrong setting. A wrong entry in the list of
    /// databases is not an error here: the entry itself carries it.
    pub fn options(&self) -> Result<Options, String> {
        let databases = self.databases.as_ref().map_or("", |text| text.expose_secret());
        let engines = Engines::default().with_tools(POSTGRES, self.postgres_bin.clone());
        let Databases { named, broken } = parse_databases(&engines, databases);
        Ok(Options {
            backup_dir: self.backup_dir.clone().unwrap_or_else(|| self.data_dir.join("backups")),
            data_dir: self.data_dir.clone(),
            databases: named,
            broken,
            restore_on: self.restore_on.as_ref().map(|url| test_server(&engines, url)).transpose()?,
            engines,
            path: search_path(),
            clock: Arc::new(now),
            effort: Effort {
                level: self.compression_level,
                threads: self.compression_threads.map_or(Effort::default().threads, usize::from),
            },
            destinations: crate::domain::destinations::Options {
                finish_timeout: Duration::from_secs(self.sftp_finish_timeout.into()),
                ..crate::domain::destinations::Options::default()
            },
            import: Limits { upload: self.import_max, content: self.import_max_content, ..Limits::default() },
            egress: Policy {
                loopback: !self.deny_loopback,
                private: !self.deny_private,
                ..Policy::default()
            },
        })
    }
}

/// Networks, as in `10.0.0.0/8, ::1`.
pub type Networks = Vec<IpNet>;

impl Settings {
    /// The certificate and key files, if Holdfast serves HTTPS itself.
    pub fn certificate(&self) -> Result<Option<CertificateFiles>, String> {
        match (self.tls_cert.clone(), self.tls_key.clone()) {
            (Some(certificate), Some(key)) => Ok(Some(CertificateFiles { certificate, key })),
            (None, None) => Ok(None),
            _ => Err("TLS needs a certificate and its key: give both --tls-cert and --tls-key (or \
                HOLDFAST_TLS_CERT and HOLDFAST_TLS_KEY)."
                .to_owned()),
        }
    }

    /// Refuses a non-local address without TLS: passwords and backups would cross the network unencrypted.
    pub fn check_listen(&self) -> Result<(), String> {
        let alone = self.listen.ip().to_canonical().is_loopback();
        if alone || self.behind_proxy || self.certificate()?.is_some() {
            return Ok(());
        }
        Err(format!(
            "Holdfast does not listen on {} without TLS: passwords and backups would cross the network unencrypted. \
             Give a certificate (--tls-cert and --tls-key), or add --behind-proxy if a reverse proxy terminates TLS, \
             or listen on 127.0.0.1 only (--listen 127.0.0.1:3000).",
            self.listen
        ))
    }

    /// The proxies whose `X-Forwarded-*` headers count.
    pub fn proxies(&self) -> Networks {
        match &self.trusted_proxies {
            Some(named) if !named.is_empty() => named.clone(),
            _ if self.behind_proxy => this_machine(),
            _ => Networks::new(),
        }
    }

    /// The password of the first account, if one is set. An empty one counts as unset.
    pub fn first_password(&self) -> Option<&SecretString> {
        self.admin_password.as_ref().filter(|password| !password.expose_secret().is_empty())
    }

    /// Starts the log on standard error: from `info` up for the server, from `warn` up for a command.
    pub fn start_logging(&self, serving: bool) {
        let filter = match (&self.log, serving) {
            (Some(filter), _) => filter.as_str(),
            (None, true) => "info,rusqlite_migration=warn",
            (None, false) => "warn",
        };
        let log = log::to(std::io::stderr, filter, std::io::stderr().is_terminal());
        // In tests, a second call finds a log that is already set up.
        if log.try_init().is_ok() {
            std::panic::set_hook(Box::new(log::panicked));
        }
    }
}

/// The run-time options of the site: from `Leptos.toml` if the working directory has one, else built in.
/// The program embeds its site and needs no such file.
pub fn site_options() -> LeptosOptions {
    const FILE: &str = "Leptos.toml";
    let own = || LeptosOptions::builder().output_name("holdfast").build();
    if !Path::new(FILE).is_file() {
        return own();
    }
    match get_configuration(Some(FILE)) {
        Ok(found) => found.leptos_options,
        Err(error) => {
            tracing::warn!(%error, "could not read {FILE}; using the built-in options");
            own()
        }
    }
}

/// Addresses and networks, separated by commas or whitespace.
fn networks(text: &str) -> Result<Networks, String> {
    let words = text.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty());
    let network = |word: &str| {
        let alone = || word.parse().map(|address: IpAddr| IpNet::from(address.to_canonical()));
        let network = word.parse().or_else(|_| alone());
        network.map_err(|_| format!("{word} is neither an address nor a network such as 10.0.0.0/8"))
    };
    words.map(network).collect()
}

/// A switch, as a flag or in an environment variable. An empty variable is off.
fn switch(text: &str) -> Result<bool, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "" | "0" | "false" | "no" | "off" => Ok(false),
        _ => Err("write true or false, in the flag or in its environment variable".to_owned()),
    }
}

/// A path such as `/holdfast`; `/` means the root.
fn base_path(text: &str) -> Result<String, String> {
    let is_plain = |part: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
        !matches!(part, "" | "." | "..") && part.bytes().all(plain)
    };
    match text.strip_prefix('/') {
        None if text.is_empty() => Ok(String::new()),
        Some("") => Ok(String::new()),
        Some(rest) if rest.split('/').all(is_plain) => Ok(text.to_owned()),
        _ => Err(
            "write a path such as /holdfast: it starts with a slash, does not end with one, and otherwise has only letters, \
             digits, -, _, . and ~"
                .to_owned(),
        ),
    }
}

fn this_machine() -> Networks {
    let loopback = IpAddr::from(Ipv4Addr::LOCALHOST);
    let whole = IpNet::new(loopback, 8).unwrap_or_else(|_| loopback.into()).trunc();
    vec![whole, IpAddr::from(Ipv6Addr::LOCALHOST).into()]
}

fn test_server(engines: &Engines, url: &SecretString) -> Result<Target, String> {
    let target = engines
        .locate(url.expose_secret())
        .map_err(|why| format!("The URL of --restore-on (or HOLDFAST_RESTORE_ON): {why}."))?;
    match engines.get(&target.kind()) {
        Some(engine) if !engine.is_tested_on_a_server() => Err(format!(
            "--restore-on takes the URL of a server. {} backups are test-restored without it.",
            engine.label()
        )),
        _ => Ok(target),
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
fn search_path() -> OsString {
    std::env::var_os("PATH").unwrap_or_default()
}

/// The system clock.
fn now() -> Stamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Stamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(arguments: &[&str]) -> Result<String, String> {
        let arguments = ["holdfast", "serve"].iter().chain(arguments);
        let settings = Cli::try_parse_from(arguments).map_err(|error| error.to_string())?.settings;
        let proxies: Vec<_> = settings.proxies().iter().map(ToString::to_string).collect();
        Ok(proxies.join(" "))
    }

    #[test]
    fn a_base_path_has_only_plain_characters() {
        for (given, taken) in [("", ""), ("/", ""), ("/holdfast", "/holdfast"), ("/a/B-9_.~", "/a/B-9_.~")] {
            assert_eq!(base_path(given).as_deref(), Ok(taken), "{given}");
        }
        for wrong in
            ["holdfast", "/a/", "//a", "/a//b", "/a b", "/ä", "/a?b", "/a#b", "/%41", "/..", "/a/.", "/a\"b"]
        {
            assert!(base_path(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_switch_is_a_word_for_yes_or_no() {
        for (text, expected) in
            [("1", true), ("True", true), ("on", true), ("", false), ("no", false), ("OFF", false)]
        {
            assert_eq!(switch(text), Ok(expected), "{text}");
        }
        for wrong in ["banana", "2", "yes please"] {
            assert!(switch(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn named_proxies_are_trusted_and_behind_a_proxy_those_on_this_machine() {
        assert_eq!(proxies(&[]).unwrap(), "");
        assert_eq!(proxies(&["--behind-proxy"]).unwrap(), "127.0.0.0/8 ::1/128");
        let named = ["--trusted-proxies", "10.0.0.0/8,192.0.2.1, fd00::/8 ::ffff:192.0.2.2"];
        let listed = "10.0.0.0/8 192.0.2.1/32 fd00::/8 192.0.2.2/32";
        assert_eq!(proxies(&named).unwrap(), listed);
        assert_eq!(proxies(&[&["--behind-proxy"], &named[..]].concat()).unwrap(), listed);
        assert_eq!(proxies(&["--trusted-proxies", " "]).unwrap(), "");
        for wrong in ["proxy.test", "10.0.0.0/33", "10.0.0.0/8;::1", "10.0.0"] {
            let refusal = proxies(&["--trusted-proxies", wrong]).unwrap_err();
            assert!(refusal.contains("is neither an address nor a network"), "{wrong}: {refusal}");
        }
    }
}
