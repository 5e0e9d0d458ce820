//! The query parameters of a PostgreSQL URL: libpq's names, with libpq's meaning.

use crate::domain::engines::postgres::encoding::text;
use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// The supported parameters, for the message about an unknown one.
const KNOWN: &str = "sslmode, sslrootcert, sslcert, sslkey, channel_binding, require_auth, connect_timeout, \
                     application_name and target_session_attrs";
/// The longest connect timeout a URL may set.
const LONGEST_WAIT: Duration = Duration::from_mins(10);

/// How to connect to a PostgreSQL server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parameters {
    /// `sslmode`, if given.
    pub ssl_mode: Option<SslMode>,
    /// `sslrootcert`: the authorities that must have signed the server's certificate.
    pub root: Option<Root>,
    /// `sslcert` and `sslkey`: the client certificate.
    pub identity: Option<Identity>,
    /// `channel_binding`.
    pub channel_binding: ChannelBinding,
    /// `connect_timeout`, for each server and address; `None` for Holdfast's default.
    pub connect_timeout: Option<Duration>,
    /// `application_name`, as shown in the server's `pg_stat_activity`.
    pub application_name: Option<String>,
    /// `target_session_attrs`: which kind of server is wanted.
    pub wanted: Wanted,
    /// `require_auth`, if given.
    pub require_auth: Option<Methods>,
}

/// `sslmode`, from the weakest to the strongest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SslMode {
    /// Never encrypted.
    Disable,
    /// Encrypted if the server requires it.
    Allow,
    /// Encrypted if the server supports it.
    Prefer,
    /// Encrypted; the server's identity is not checked.
    Require,
    /// Encrypted, with a certificate from a known authority.
    VerifyCa,
    /// Encrypted, with a certificate from a known authority and for this host.
    VerifyFull,
}

/// Where to find the authorities that sign server certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Root {
    /// Those that this system trusts.
    System,
    /// A PEM file of certificates.
    File(PathBuf),
}

/// A client certificate and its key, as PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate, and the chain to its authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// How much of a server's certificate is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verification {
    /// Nothing: any server could answer.
    Nothing,
    /// Its signature and its dates.
    Authority,
    /// Its signature, its dates and its host name.
    Name,
}

/// Whether the password exchange is bound to the server's certificate (SCRAM-SHA-256-PLUS).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ChannelBinding {
    /// Never.
    Disable,
    /// If the server supports it.
    #[default]
    Prefer,
    /// Always; a server without it is not logged in to.
    Require,
}

/// Which kind of server is wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Wanted {
    /// The first server that answers.
    #[default]
    Any,
    /// A server that accepts writes.
    ReadWrite,
    /// A read-only server.
    ReadOnly,
    /// A server that is not a standby.
    Primary,
    /// A standby.
    Standby,
    /// A standby, or any server if none is a standby.
    PreferStandby,
}

/// A set of login methods that a server may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Methods(u8);

impl Methods {
    /// No login method: the server accepts the client without asking.
    pub const NONE: Self = Self(1);
    /// The password in clear text.
    pub const PASSWORD: Self = Self(1 << 1);
    /// An MD5 hash of the password, as good to a thief as the password.
    pub const MD5: Self = Self(1 << 2);
    /// Kerberos (GSSAPI).
    pub const GSS: Self = Self(1 << 3);
    /// Windows authentication (SSPI).
    pub const SSPI: Self = Self(1 << 4);
    /// SCRAM, which does not reveal the password.
    pub const SCRAM: Self = Self(1 << 5);
    /// All methods.
    pub const ALL: Self = Self((1 << 6) - 1);

    const NAMES: [(&'static str, Self); 6] = [
        ("none", Self::NONE),
        ("password", Self::PASSWORD),
        ("md5", Self::MD5),
        ("gss", Self::GSS),
        ("sspi", Self::SSPI),
        ("scram-sha-256", Self::SCRAM),
    ];

    /// Whether the set contains all of `others`.
    pub const fn hold(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// The set without `others`.
    #[must_use]
    pub const fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// Parses libpq's list: methods that are allowed or, each with a leading `!`, forbidden.
    fn parse(text: &str) -> Option<Self> {
        let (mut named, mut negated) = (0, None);
        for word in text.split(',') {
            let (not, word) = word.strip_prefix('!').map_or((false, word), |word| (true, word));
            if negated.replace(not).is_some_and(|before| before != not) {
                return None;
            }
            named |= Self::NAMES.iter().find(|(name, _)| *name == word)?.1.0;
        }
        Some(if negated == Some(true) { Self::ALL.without(Self(named)) } else { Self(named) })
    }
}

impl fmt::Display for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> =
            Self::NAMES.iter().filter(|(_, one)| self.hold(*one)).map(|(name, _)| *name).collect();
        f.write_str(&names.join(","))
    }
}

impl SslMode {
    const NAMES: [(&'static str, Self); 6] = [
        ("disable", Self::Disable),
        ("allow", Self::Allow),
        ("prefer", Self::Prefer),
        ("require", Self::Require),
        ("verify-ca", Self::VerifyCa),
        ("verify-full", Self::VerifyFull),
    ];

    /// libpq's name for it.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, one)| *one == self).map_or("prefer", |(name, _)| name)
    }
}

impl Wanted {
    const NAMES: [(&'static str, Self); 6] = [
        ("any", Self::Any),
        ("read-write", Self::ReadWrite),
        ("read-only", Self::ReadOnly),
        ("primary", Self::Primary),
        ("standby", Self::Standby),
        ("prefer-standby", Self::PreferStandby),
    ];

    /// libpq's name for it.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, one)| *one == self).map_or("any", |(name, _)| name)
    }

    /// Whether a server matches, given whether it is a standby and whether its sessions are read-only by
    /// default.
    pub const fn suits(self, standby: bool, read_only: bool) -> bool {
        match self {
            Self::Any | Self::PreferStandby => true,
            Self::ReadWrite => !read_only && !standby,
            Self::ReadOnly => read_only || standby,
            Self::Primary => !standby,
            Self::Standby => standby,
        }
    }
}

impl Parameters {
    /// The mode in force: the one given, else `prefer`. The system's authorities imply `verify-full`.
    pub fn mode(&self) -> SslMode {
        match (self.ssl_mode, &self.root) {
            (Some(mode), _) => mode,
            (None, Some(Root::System)) => SslMode::VerifyFull,
            (None, _) => SslMode::Prefer,
        }
    }

    /// What is checked of a certificate. As with libpq, given authorities are checked in weaker modes too.
    pub fn verification(&self) -> Verification {
        match self.mode() {
            SslMode::VerifyFull => Verification::Name,
            SslMode::VerifyCa => Verification::Authority,
            _ if matches!(self.root, Some(Root::File(_))) => Verification::Authority,
            _ => Verification::Nothing,
        }
    }

    /// Whether the URL leaves the security of the connection open.
    pub const fn says_nothing_of_tls(&self) -> bool {
        self.ssl_mode.is_none() && self.root.is_none()
    }

    /// Parses what follows the `?`. An error names the parameter at fault, never its value.
    pub(super) fn parse(query: &str) -> Result<Self, String> {
        let mut found = Self::default();
        let (mut certificate, mut key) = (None, None);
        let mut taken = BTreeSet::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or(
                "its part after the `?` is not a list of name=value; write a ? in a name or password as %3F \
                 and an & as %26",
            )?;
            let name = text("parameter", name)?;
            if !taken.insert(name.clone()) {
                return Err(format!("its parameter {name} is given twice; remove one"));
            }
            // The value of an unknown name may be a piece of a password, and is not looked at.
            let value = || match text(&name, value) {
                Ok(value) => Ok(value),
                Err(_) if value.is_empty() => Err(format!("its parameter {name} is empty; remove it")),
                Err(why) => Err(why),
            };
            match name.as_str() {
                "sslmode" => found.ssl_mode = Some(one_of(&name, &SslMode::NAMES, &value()?)?),
                // The spelling of Java drivers, which libpq accepts too.
                "ssl" => {
                    let on = [("true", SslMode::Require)];
                    found.ssl_mode = found.ssl_mode.or(Some(one_of(&name, &on, &value()?)?));
                }
                "sslrootcert" => {
                    let value = value()?;
                    let system = value == "system";
                    found.root = Some(if system { Root::System } else { Root::File(path(&name, value)?) });
                }
                "sslcert" => certificate = Some(path(&name, value()?)?),
                "sslkey" => key = Some(path(&name, value()?)?),
                "channel_binding" => {
                    let names = [
                        ("disable", ChannelBinding::Disable),
                        ("prefer", ChannelBinding::Prefer),
                        ("require", ChannelBinding::Require),
                    ];
                    found.channel_binding = one_of(&name, &names, &value()?)?;
                }
                "require_auth" => {
                    found.require_auth = Some(Methods::parse(&value()?).ok_or(
                        "its require_auth is not a list of password, md5, gss, sspi, scram-sha-256 and \
                         none, separated by commas, with a ! before every one of them or before none",
                    )?);
                }
                "connect_timeout" => {
                    let seconds: i32 = value()?
                        .trim()
                        .parse()
                        .map_err(|_| "its connect_timeout is not a whole number of seconds".to_owned())?;
                    // Zero or less means forever in libpq; here it means Holdfast's own limit.
                    let wait = u64::try_from(seconds).ok().filter(|seconds| *seconds > 0);
                    found.connect_timeout =
                        wait.map(|seconds| Duration::from_secs(seconds).min(LONGEST_WAIT));
                }
                "application_name" => found.application_name = Some(value()?),
                "target_session_attrs" => found.wanted = one_of(&name, &Wanted::NAMES, &value()?)?,
                _ => return Err(unknown(&name)),
            }
        }
        found.identity = match (certificate, key) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some(Identity { certificate, key }),
            (Some(_), None) => return Err("its sslcert is given without sslkey; give both".to_owned()),
            (None, Some(_)) => return Err("its sslkey is given without sslcert; give both".to_owned()),
        };
        found.agree().map(|()| found)
    }

    /// Checks that the parameters fit together.
    fn agree(&self) -> Result<(), String> {
        let refused = |why: &str| Err(why.to_owned());
        match (self.mode(), &self.root) {
            (SslMode::VerifyFull, _) => {}
            (_, Some(Root::System)) => {
                return refused(
                    "its sslrootcert=system works with sslmode=verify-full only, since anybody can get a \
                     certificate from an authority that the system trusts; write sslmode=verify-full",
                );
            }
            (SslMode::VerifyCa, None) => {
                return refused(
                    "its sslmode=verify-ca needs sslrootcert=/path/to/authority.crt; to use the system's \
                     authorities, write sslmode=verify-full",
                );
            }
            _ => {}
        }
        if self.mode() == SslMode::Disable && self.channel_binding == ChannelBinding::Require {
            return refused(
                "its channel_binding=require needs TLS, which sslmode=disable turns off; remove one of them",
            );
        }
        Ok(())
    }
}

fn unknown(name: &str) -> String {
    match name {
        "options" => {
            "its parameter options is not supported, because poolers reject or ignore what it sets; ask the \
             role's owner to run ALTER ROLE … SET … instead, and remove the parameter"
                .to_owned()
        }
        "host" | "hostaddr" | "port" | "user" | "password" | "dbname" => format!(
            "its {name} is given after the `?`; write it in its usual place: \
             postgres://user:password@host:port/database"
        ),
        _ if name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) => format!(
            "its parameter {name} is unknown; Holdfast supports {KNOWN}. Remove it, or write a ? in a name \
             or password as %3F"
        ),
        _ => format!(
            "one of its parameters is unknown; Holdfast supports {KNOWN}. Remove it, or write a ? in a name \
             or password as %3F"
        ),
    }
}

fn one_of<T: Copy>(name: &str, names: &[(&str, T)], value: &str) -> Result<T, String> {
    let found = names.iter().find(|(word, _)| *word == value).map(|(_, found)| *found);
    found.ok_or_else(|| {
        let words: Vec<_> = names.iter().map(|(word, _)| *word).collect();
        format!("its {name} is not one of: {}", words.join(", "))
    })
}

/// libpq would resolve a relative path against the working directory, and read a key's path with a colon as
/// the name of an OpenSSL engine.
fn path(name: &str, value: String) -> Result<PathBuf, String> {
    if !value.starts_with('/') {
        return Err(format!("its {name} is not an absolute path, such as /etc/holdfast/{name}.pem"));
    }
    if name == "sslkey" && value.contains(':') {
        return Err(
            "the path of its sslkey contains a colon, which libpq would misread; rename the file".into()
        );
    }
    Ok(value.into())
}

#[cfg(test)]
mod tests {
    use crate::domain::engines::postgres::parameters::*;

    fn read(query: &str) -> Parameters {
        Parameters::parse(query).unwrap_or_else(|why| panic!("{query}: {why}"))
    }

    #[test]
    fn the_parameters_are_read_as_libpq_means_them() {
        assert_eq!(read(""), Parameters::default());
        let all = read(
            "sslmode=verify-ca&sslrootcert=%2Fetc%2Fca%20file.pem&sslcert=/c.pem&sslkey=/k.pem&channel_binding=require\
             &connect_timeout=5&application_name=night%20run&target_session_attrs=prefer-standby&require_auth=md5",
        );
        assert_eq!(all.mode(), SslMode::VerifyCa);
        assert_eq!(all.root, Some(Root::File("/etc/ca file.pem".into())));
        assert_eq!(all.identity.unwrap().key, PathBuf::from("/k.pem"));
        assert_eq!(all.channel_binding, ChannelBinding::Require);
        assert_eq!(all.connect_timeout, Some(Duration::from_secs(5)));
        assert_eq!(all.application_name.as_deref(), Some("night run"));
        assert_eq!((all.wanted, all.require_auth), (Wanted::PreferStandby, Some(Methods::MD5)));
        for (query, mode, verification) in [
            ("", SslMode::Prefer, Verification::Nothing),
            ("sslmode=require", SslMode::Require, Verification::Nothing),
            ("ssl=true", SslMode::Require, Verification::Nothing),
            ("sslmode=require&sslrootcert=/ca.pem", SslMode::Require, Verification::Authority),
            ("sslrootcert=/ca.pem", SslMode::Prefer, Verification::Authority),
            ("sslmode=verify-full", SslMode::VerifyFull, Verification::Name),
            ("sslrootcert=system", SslMode::VerifyFull, Verification::Name),
            ("sslmode=verify-ca&sslrootcert=/ca.pem", SslMode::VerifyCa, Verification::Authority),
        ] {
            let found = read(query);
            assert_eq!((found.mode(), found.verification()), (mode, verification), "{query}");
        }
        for (seconds, wait) in [("0", None), ("-1", None), ("7", Some(7)), ("99999", Some(600))] {
            let found = read(&format!("connect_timeout={seconds}")).connect_timeout;
            assert_eq!(found, wait.map(Duration::from_secs), "{seconds}");
        }
    }

    #[test]
    fn methods_are_listed_or_excluded() {
        let read = |text: &str| Methods::parse(text).map(|methods| methods.to_string());
        for (text, means) in [
            ("password", "password"),
            ("scram-sha-256,md5", "md5,scram-sha-256"),
            ("!password,!md5", "none,gss,sspi,scram-sha-256"),
            ("!none", "password,md5,gss,sspi,scram-sha-256"),
        ] {
            assert_eq!(read(text).as_deref(), Some(means));
        }
        for wrong in ["", "scram", "password,!md5", "password,", "oauth"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_wrong_parameter_is_named_and_its_value_is_not() {
        for (query, word) in [
            ("sslmode=s3cret", "its sslmode is not one of: disable, allow"),
            ("sslmode=", "sslmode is empty"),
            ("sslmode", "not a list of name=value"),
            ("sslmode=require&sslmode=disable", "sslmode is given twice"),
            ("sslMode=require", "parameter sslMode is unknown"),
            ("pgbouncer=s3cret", "parameter pgbouncer is unknown"),
            ("s3;cret=x", "one of its parameters is unknown"),
            ("options=-c%20s3cret", "ALTER ROLE"),
            ("password=s3cret", "its password is given after"),
            ("sslcert=/c", "without sslkey"),
            ("sslkey=/c", "without sslcert"),
            ("sslcert=c&sslkey=/k", "not an absolute path"),
            ("sslcert=/c&sslkey=/engine:k", "colon"),
            ("sslmode=require&sslrootcert=system", "verify-full only"),
            ("sslmode=verify-ca", "needs sslrootcert"),
            ("sslmode=disable&channel_binding=require", "needs TLS"),
            ("connect_timeout=s3cret", "connect_timeout is not a whole number"),
            ("connect_timeout=1%", "connect_timeout contains a %"),
            ("target_session_attrs=master", "target_session_attrs is not one of"),
            ("require_auth=s3cret", "require_auth is not a list"),
            ("application_name=a%0Ab", "application_name contains a control"),
        ] {
            let why = Parameters::parse(query).unwrap_err();
            assert!(why.contains(word), "{query}: {why}");
            assert!(!why.contains("s3"), "{query}: {why}");
        }
    }

    #[test]
    fn a_server_suits_by_what_it_is() {
        let suits = |wanted: Wanted| {
            [(false, false), (false, true), (true, true)]
                .map(|(standby, read_only)| wanted.suits(standby, read_only))
        };
        assert_eq!(suits(Wanted::Any), [true, true, true]);
        assert_eq!(suits(Wanted::ReadWrite), [true, false, false]);
        assert_eq!(suits(Wanted::ReadOnly), [false, true, true]);
        assert_eq!(suits(Wanted::Primary), [true, true, false]);
        assert_eq!(suits(Wanted::Standby), [false, false, true]);
    }
}
