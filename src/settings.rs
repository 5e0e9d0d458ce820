//! What the operator decides: flags and environment, read once, checked, secrets wrapped. A flag wins over
//! its variable. Nothing else in the program reads the environment.

mod log;
#[cfg(feature = "ssr")]
pub mod process;
pub mod tls;

use crate::domain::Options;
use crate::domain::databases::list::{Databases, parse_databases};
use crate::domain::engines::postgres::server::Server;
use crate::domain::engines::target::Target;
use crate::domain::operations::compress::Effort;
use crate::domain::operations::import::Limits;
use crate::domain::outbound::Policy;
use crate::model::Stamp;
use crate::settings::tls::CertificateFiles;
use clap::builder::{BoolishValueParser, FalseyValueParser};
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

/// A self-hosted backup desk for PostgreSQL and SQLite.
#[derive(Debug, Parser)]
#[command(name = "holdfast", version, about)]
pub struct Cli {
    /// What every command works with.
    #[command(flatten)]
    pub settings: Settings,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the page.
    Serve,
    /// Back one database up, here and now, without a server.
    Backup {
        /// The database's name, as in `HOLDFAST_DATABASES`.
        database: String,
        /// As a JSON object, for scripts.
        #[arg(long)]
        json: bool,
    },
    /// List the backups.
    List {
        /// As a JSON array, for scripts.
        #[arg(long)]
        json: bool,
    },
    /// Prove what backups are good for. Exit status 0 only where nothing is wrong with any, 3 where something is.
    Verify {
        /// Which, and how to tell.
        #[command(flatten)]
        which: Which,
    },
    /// Check backups that have no manifest, and write one for those that are whole. Exit status 3 where one is not.
    Adopt {
        /// Which, and how to tell.
        #[command(flatten)]
        which: Which,
    },
    /// Seal the stored secrets anew with a new key, while no server runs.
    RotateKey,
    /// Let somebody in who lost their password or second factor: gives the account a new password, told once, turns its
    /// second factor off and signs it out everywhere. Whether a server runs or not.
    ResetAccount {
        /// The account's name.
        username: String,
    },
    /// Restore a backup, checked completely before.
    Restore {
        /// A name in the backup directory, or a path.
        file: String,
        /// Where to: `sqlite:///abs/path.db` or `postgres://user[:password]@host[:port]/database`. A password is
        /// better put into the variable, as arguments can be read by every user of the machine.
        #[arg(long, env = "HOLDFAST_RESTORE_INTO", hide_env_values = true, value_name = "URL")]
        into: SecretString,
        /// Replace the database that is there, after a backup of it.
        #[arg(long)]
        overwrite: bool,
        /// PostgreSQL: give objects to the roles they belonged to, with their grants, where these roles are on the
        /// server. Otherwise all belongs to the role of the URL.
        #[arg(long)]
        keep_owners: bool,
        /// PostgreSQL: also make what acts outside the database: subscriptions, event triggers, scheduled jobs, user
        /// mappings of foreign servers.
        #[arg(long)]
        act_outside: bool,
        /// The most bytes the backup may unpack to [default: 10 TiB; for SQLite at most what the disk has room for].
        #[arg(long, value_name = "BYTES")]
        max_bytes: Option<u64>,
        /// As a JSON object, for scripts.
        #[arg(long)]
        json: bool,
    },
}

/// The backups a command is about.
#[derive(Debug, Args)]
pub struct Which {
    /// Names in the backup directory, or paths.
    #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "FILE")]
    pub files: Vec<String>,
    /// All there are.
    #[arg(long)]
    pub all: bool,
    /// As JSON, for scripts: an object for one file, else an array.
    #[arg(long)]
    pub json: bool,
    /// The most bytes a backup may unpack to [default: 10 TiB; for SQLite at most what the disk has room for].
    #[arg(long, value_name = "BYTES")]
    pub max_bytes: Option<u64>,
}

/// The settings.
#[derive(Debug, Args)]
pub struct Settings {
    /// Where to listen, as address:port.
    #[arg(long, env = "HOLDFAST_LISTEN", default_value = "127.0.0.1:3000", global = true)]
    pub listen: SocketAddr,
    /// The TLS certificate, as PEM: the server's own first, then those that lead to its authority. With it and its key,
    /// Holdfast speaks TLS itself. A renewed one is taken up within a minute.
    #[arg(long, env = "HOLDFAST_TLS_CERT", value_name = "FILE", global = true)]
    pub tls_cert: Option<PathBuf>,
    /// The private key of that certificate, as PEM without a passphrase; private to this user.
    #[arg(long, env = "HOLDFAST_TLS_KEY", value_name = "FILE", global = true)]
    pub tls_key: Option<PathBuf>,
    /// A reverse proxy stands in front and does TLS. On this machine, it is believed what it says of the client.
    #[arg(long, env = "HOLDFAST_BEHIND_PROXY", value_parser = BoolishValueParser::new(), global = true)]
    pub behind_proxy: bool,
    /// Addresses or networks of the reverse proxies that are believed what they say in `X-Forwarded-For` and
    /// `X-Forwarded-Proto` [default: with --behind-proxy those of this machine, else none].
    #[arg(long, env = "HOLDFAST_TRUSTED_PROXIES", value_parser = networks, value_name = "ADDRESSES", global = true)]
    pub trusted_proxies: Option<Networks>,
    /// The path the site is under, where a reverse proxy shares its host with others, such as /holdfast.
    #[arg(
        long, env = "HOLDFAST_BASE_PATH", default_value = "", value_parser = base_path, hide_default_value = true,
        value_name = "PATH", global = true
    )]
    pub base_path: String,
    /// Directory of the state database and the key file; made where it is missing.
    #[arg(long, env = "HOLDFAST_DATA_DIR", default_value = "./data", global = true)]
    pub data_dir: PathBuf,
    /// Directory of the backups; made where it is missing [default: `<data-dir>/backups`].
    #[arg(long, env = "HOLDFAST_BACKUP_DIR", global = true)]
    pub backup_dir: Option<PathBuf>,
    /// Databases to back up, as name=url, whitespace between: `sqlite:///abs/path.db` or
    /// `postgres://user[:password]@host[:port]/database[?sslmode=…]`. Without any, Holdfast's own state database is
    /// backed up.
    // Read after parsing the flags, since a parser's refusal would print the value, passwords and all.
    #[arg(long, env = "HOLDFAST_DATABASES", hide_env_values = true, global = true)]
    pub databases: Option<SecretString>,
    /// The first account's name.
    #[arg(long, env = "HOLDFAST_ADMIN_USER", default_value = "admin", global = true)]
    pub admin_user: String,
    /// The first account's password, used while there is no account. Without it, a one-time set-up link goes to the log.
    #[arg(long, env = "HOLDFAST_ADMIN_PASSWORD", hide_env_values = true, global = true)]
    pub admin_password: Option<SecretString>,
    /// Directory of `pg_dump` and `pg_restore`, where the ones on the PATH are not the ones to use.
    #[arg(long, env = "HOLDFAST_POSTGRES_BIN", global = true)]
    pub postgres_bin: Option<PathBuf>,
    /// PostgreSQL server to restore PostgreSQL backups on for a test, into a database made for that and dropped again:
    /// `postgres://user[:password]@host[:port]/database`. The role needs CREATEDB. When serving, without it, the server
    /// that the backup's database is on.
    #[arg(long, env = "HOLDFAST_RESTORE_ON", hide_env_values = true, value_name = "URL", global = true)]
    pub restore_on: Option<SecretString>,
    /// How hard to compress, from 1 (fast) to 9 (small).
    #[arg(
        long, env = "HOLDFAST_COMPRESSION_LEVEL", default_value_t = Effort::default().level, value_parser = value_parser!(u8).range(1..=9),
        global = true
    )]
    pub compression_level: u8,
    /// How many threads compress one backup [default: as many as there are cores, 4 at most].
    #[arg(long, env = "HOLDFAST_COMPRESSION_THREADS", value_parser = value_parser!(u8).range(1..=64), global = true)]
    pub compression_threads: Option<u8>,
    /// The most bytes of one import, all its files together.
    #[arg(long, env = "HOLDFAST_IMPORT_MAX", default_value_t = Limits::default().upload, value_name = "BYTES", global = true)]
    pub import_max: u64,
    /// The most bytes one imported backup may unpack to; a SQLite backup at most what the disk has room for.
    #[arg(
        long, env = "HOLDFAST_IMPORT_MAX_CONTENT", default_value_t = Limits::default().content, value_name = "BYTES",
        global = true
    )]
    pub import_max_content: u64,
    /// How many seconds an SFTP server may take to sync, close or rename a file, while the connection is alive.
    #[arg(
        long, env = "HOLDFAST_SFTP_FINISH_TIMEOUT", default_value_t = 600, value_parser = value_parser!(u32).range(30..=86_400),
        value_name = "SECONDS", global = true
    )]
    pub sftp_finish_timeout: u32,
    /// Connect to no SFTP or PostgreSQL server on this machine, by a loopback address or one of its own in the network.
    #[arg(long = "deny-loopback-targets", env = "HOLDFAST_DENY_LOOPBACK", value_parser = FalseyValueParser::new(), global = true)]
    pub deny_loopback: bool,
    /// Connect to no SFTP or PostgreSQL server in private networks: RFC 1918, shared address space, unique local.
    #[arg(long = "deny-private-targets", env = "HOLDFAST_DENY_PRIVATE", value_parser = FalseyValueParser::new(), global = true)]
    pub deny_private: bool,
    /// What to log: error, warn, info, debug, or a filter such as holdfast=debug [default: info when serving, else warn].
    #[arg(long, env = "HOLDFAST_LOG", global = true)]
    pub log: Option<String>,
}

impl Settings {
    /// The part the holdfast is opened with. Fails with a sentence that names what is wrong in it; a mistake in one of the
    /// databases is no failure, but told of that database.
    pub fn options(&self) -> Result<Options, String> {
        let databases = self.databases.as_ref().map_or("", |text| text.expose_secret());
        let Databases { named, broken } = parse_databases(databases);
        Ok(Options {
            backup_dir: self.backup_dir.clone().unwrap_or_else(|| self.data_dir.join("backups")),
            data_dir: self.data_dir.clone(),
            databases: named,
            broken,
            restore_on: self.restore_on.as_ref().map(test_server).transpose()?,
            postgres_bin: self.postgres_bin.clone(),
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
    /// The files of the TLS certificate, where Holdfast is to speak TLS itself.
    pub fn certificate(&self) -> Result<Option<CertificateFiles>, String> {
        match (self.tls_cert.clone(), self.tls_key.clone()) {
            (Some(certificate), Some(key)) => Ok(Some(CertificateFiles { certificate, key })),
            (None, None) => Ok(None),
            _ => Err("TLS takes a certificate and its key: give both --tls-cert and --tls-key (or \
                HOLDFAST_TLS_CERT and HOLDFAST_TLS_KEY)."
                .to_owned()),
        }
    }

    /// Refuses to be reached by others without TLS: passwords and backups would cross the network unencrypted.
    pub fn check_listen(&self) -> Result<(), String> {
        let alone = self.listen.ip().to_canonical().is_loopback();
        if alone || self.behind_proxy || self.certificate()?.is_some() {
            return Ok(());
        }
        Err(format!(
            "Holdfast does not listen on {} without TLS: passwords and backups would cross the network unencrypted. \
             Give a certificate (--tls-cert and --tls-key), or say --behind-proxy where a reverse proxy does TLS \
             in front, or listen on 127.0.0.1 only (--listen 127.0.0.1:3000).",
            self.listen
        ))
    }

    /// The proxies that are believed.
    pub fn proxies(&self) -> Networks {
        match &self.trusted_proxies {
            Some(named) if !named.is_empty() => named.clone(),
            _ if self.behind_proxy => this_machine(),
            _ => Networks::new(),
        }
    }

    /// The first account's password, where one was given; an empty one counts as none.
    pub fn first_password(&self) -> Option<&SecretString> {
        self.admin_password.as_ref().filter(|password| !password.expose_secret().is_empty())
    }

    /// Sends the log to standard error: for a server from `info` on, for a command only what went wrong.
    pub fn start_logging(&self, serving: bool) {
        let filter = match (&self.log, serving) {
            (Some(filter), _) => filter.as_str(),
            (None, true) => "info,rusqlite_migration=warn",
            (None, false) => "warn",
        };
        let log = log::to(std::io::stderr, filter, std::io::stderr().is_terminal());
        // A second call, in a test, finds a log already there.
        if log.try_init().is_ok() {
            std::panic::set_hook(Box::new(log::panicked));
        }
    }
}

/// The site's run-time options: from `Leptos.toml` where one lies in the working directory, else our own.
/// The program holds its site and needs no such file.
pub fn site_options() -> LeptosOptions {
    const FILE: &str = "Leptos.toml";
    let own = || LeptosOptions::builder().output_name("holdfast").build();
    if !Path::new(FILE).is_file() {
        return own();
    }
    match get_configuration(Some(FILE)) {
        Ok(found) => found.leptos_options,
        Err(error) => {
            tracing::warn!(%error, "could not read {FILE}; going on without it");
            own()
        }
    }
}

/// Addresses and networks, with commas or whitespace between.
fn networks(text: &str) -> Result<Networks, String> {
    let words = text.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty());
    let network = |word: &str| {
        let alone = || word.parse().map(|address: IpAddr| IpNet::from(address.to_canonical()));
        let network = word.parse().or_else(|_| alone());
        network.map_err(|_| format!("{word} is neither an address nor a network such as 10.0.0.0/8"))
    };
    words.map(network).collect()
}

/// A path such as `/holdfast`; `/` is none.
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
            "it begins with a slash, does not end in one, and has letters, digits, -, _, . and ~ between, \
             such as /holdfast"
                .to_owned(),
        ),
    }
}

fn this_machine() -> Networks {
    let loopback = IpAddr::from(Ipv4Addr::LOCALHOST);
    let whole = IpNet::new(loopback, 8).unwrap_or_else(|_| loopback.into()).trunc();
    vec![whole, IpAddr::from(Ipv6Addr::LOCALHOST).into()]
}

fn test_server(url: &SecretString) -> Result<Server, String> {
    match Target::parse(url.expose_secret()) {
        Ok(Target::Postgres(server)) => Ok(server),
        Ok(Target::Sqlite(_)) => {
            Err("--restore-on takes the URL of a PostgreSQL server; a SQLite backup is \
            restored and looked over without it."
                .to_owned())
        }
        Err(why) => Err(format!("The URL of --restore-on (or HOLDFAST_RESTORE_ON): {why}.")),
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
fn search_path() -> OsString {
    std::env::var_os("PATH").unwrap_or_default()
}

/// The system's clock.
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
    fn a_base_path_is_plain() {
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
    fn proxies_are_trusted_where_they_are_named_and_on_this_machine_behind_one() {
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
