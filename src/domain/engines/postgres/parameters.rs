//! What stands behind the `?` of a PostgreSQL URL: libpq's own names, with libpq's own meaning.

use crate::domain::engines::postgres::encoding::text;
use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// The parameters that are known, for the sentence about one that is not.
const KNOWN: &str = "sslmode, sslrootcert, sslcert, sslkey, channel_binding, require_auth, connect_timeout, \
                     application_name and target_session_attrs";
/// The longest a URL may have Holdfast wait for one server.
const LONGEST_WAIT: Duration = Duration::from_mins(10);

/// How a PostgreSQL server is to be connected to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parameters {
    /// `sslmode`, where it was given.
    pub ssl_mode: Option<SslMode>,
    /// `sslrootcert`: whose signature under the server's certificate counts.
    pub root: Option<Root>,
    /// `sslcert` and `sslkey`: what this side shows the server.
    pub identity: Option<Identity>,
    /// `channel_binding`.
    pub channel_binding: ChannelBinding,
    /// `connect_timeout`, for each server and address; nothing where Holdfast's own counts.
    pub connect_timeout: Option<Duration>,
    /// `application_name`, as the server's `pg_stat_activity` shows it.
    pub application_name: Option<String>,
    /// `target_session_attrs`: which of several servers is wanted.
    pub wanted: Wanted,
    /// `require_auth`, where it was given.
    pub require_auth: Option<Methods>,
}

/// `sslmode`, from the weakest to the strongest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SslMode {
    /// Never encrypted.
    Disable,
    /// Encrypted where the server lets nobody in otherwise.
    Allow,
    /// Encrypted where the server can.
    Prefer,
    /// Encrypted, whoever the server is.
    Require,
    /// Encrypted, and the certificate is by a known authority.
    VerifyCa,
    /// Encrypted, and the certificate is by a known authority and for this host.
    VerifyFull,
}

/// Where the authorities are that sign certificates of servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Root {
    /// Those this system trusts.
    System,
    /// A file of certificates, as PEM.
    File(PathBuf),
}

/// A certificate of this side and its key, as PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate, and those that lead to its authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// How much of a server's certificate is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verification {
    /// Nothing: anybody may be there.
    Nothing,
    /// Who signed it, and until when it is good.
    Authority,
    /// That, and for which host it is.
    Name,
}

/// Whether the password's exchange is tied to the server's certificate (SCRAM-SHA-256-PLUS).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ChannelBinding {
    /// Never.
    Disable,
    /// Where the server can.
    #[default]
    Prefer,
    /// Always; a server that cannot is not logged in to.
    Require,
}

/// Which kind of server is wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Wanted {
    /// The first that answers.
    #[default]
    Any,
    /// One that takes writes.
    ReadWrite,
    /// One that takes none.
    ReadOnly,
    /// One that is no standby.
    Primary,
    /// A standby.
    Standby,
    /// A standby, or, where none of them is one, any.
    PreferStandby,
}

/// Ways a server may ask a client who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Methods(u8);

impl Methods {
    /// None at all: the server lets in without asking.
    pub const NONE: Self = Self(1);
    /// The password itself.
    pub const PASSWORD: Self = Self(1 << 1);
    /// A sum of the password that serves as well as the password.
    pub const MD5: Self = Self(1 << 2);
    /// Kerberos.
    pub const GSS: Self = Self(1 << 3);
    /// Windows' own.
    pub const SSPI: Self = Self(1 << 4);
    /// A proof that one knows the password, which gives it to nobody.
    pub const SCRAM: Self = Self(1 << 5);
    /// Every one of them.
    pub const ALL: Self = Self((1 << 6) - 1);

    const NAMES: [(&'static str, Self); 6] = [
        ("none", Self::NONE),
        ("password", Self::PASSWORD),
        ("md5", Self::MD5),
        ("gss", Self::GSS),
        ("sspi", Self::SSPI),
        ("scram-sha-256", Self::SCRAM),
    ];

    /// Whether all of `others` are among them.
    pub const fn hold(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// These without `others`.
    #[must_use]
    pub const fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// Reads libpq's list: methods that may be used, or, each after a `!`, ones that may not.
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

    /// libpq's word for it.
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

    /// libpq's word for it.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, one)| *one == self).map_or("any", |(name, _)| name)
    }

    /// Whether a server that is a standby, and whose sessions are read-only by default, is of the kind.
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
    /// The mode that counts: the one given, else `prefer`; the system's authorities are for `verify-full` only.
    pub fn mode(&self) -> SslMode {
        match (self.ssl_mode, &self.root) {
            (Some(mode), _) => mode,
            (None, Some(Root::System)) => SslMode::VerifyFull,
            (None, _) => SslMode::Prefer,
        }
    }

    /// What is checked of a certificate. As with libpq, authorities that are given count in the weaker modes, too.
    pub fn verification(&self) -> Verification {
        match self.mode() {
            SslMode::VerifyFull => Verification::Name,
            SslMode::VerifyCa => Verification::Authority,
            _ if matches!(self.root, Some(Root::File(_))) => Verification::Authority,
            _ => Verification::Nothing,
        }
    }

    /// Whether nobody said how safe the connection is to be.
    pub const fn says_nothing_of_tls(&self) -> bool {
        self.ssl_mode.is_none() && self.root.is_none()
    }

    /// Reads what follows the `?`. The error names the parameter at fault, never its value.
    pub(super) fn parse(query: &str) -> Result<Self, String> {
        let mut found = Self::default();
        let (mut certificate, mut key) = (None, None);
        let mut taken = BTreeSet::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or(
                "something behind its `?` is no name=value; write a ? of a name or password as %3F and an & as %26",
            )?;
            let name = text("parameter", name)?;
            if !taken.insert(name.clone()) {
                return Err(format!("its parameter {name} is given twice; keep one"));
            }
            // A value behind a name nobody knows may be a piece of a password, and is not looked at.
            let value = || match text(&name, value) {
                Ok(value) => Ok(value),
                Err(_) if value.is_empty() => Err(format!("its parameter {name} is empty; remove it")),
                Err(why) => Err(why),
            };
            match name.as_str() {
                "sslmode" => found.ssl_mode = Some(one_of(&name, &SslMode::NAMES, &value()?)?),
                // As drivers for Java write it, and libpq reads it.
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
                        "its require_auth is no list of password, md5, gss, sspi, scram-sha-256 and none, with commas \
                         between, a ! before all of them or before none",
                    )?);
                }
                "connect_timeout" => {
                    let seconds: i32 = value()?
                        .trim()
                        .parse()
                        .map_err(|_| "its connect_timeout is no whole number of seconds".to_owned())?;
                    // Zero or less is for ever with libpq; here, Holdfast's own limit holds then.
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

    /// Whether they go together.
    fn agree(&self) -> Result<(), String> {
        let refused = |why: &str| Err(why.to_owned());
        match (self.mode(), &self.root) {
            (SslMode::VerifyFull, _) => {}
            (_, Some(Root::System)) => {
                return refused(
                    "its sslrootcert=system goes with sslmode=verify-full only, since anybody can have a certificate \
                     by an authority that the system trusts; write sslmode=verify-full",
                );
            }
            (SslMode::VerifyCa, None) => {
                return refused(
                    "its sslmode=verify-ca needs sslrootcert=/path/of/the/authority.crt; with the system's own \
                     authorities, write sslmode=verify-full",
                );
            }
            _ => {}
        }
        if self.mode() == SslMode::Disable && self.channel_binding == ChannelBinding::Require {
            return refused(
                "its channel_binding=require needs TLS, which sslmode=disable turns off; remove one",
            );
        }
        Ok(())
    }
}

fn unknown(name: &str) -> String {
    match name {
        "options" => {
            "its parameter options is not taken, since poolers refuse or forget what it sets; let the role's \
                      owner run ALTER ROLE … SET … instead, and remove it"
                .to_owned()
        }
        "host" | "hostaddr" | "port" | "user" | "password" | "dbname" => format!(
            "its {name} stands behind the `?`; write it where it belongs: \
             postgres://user:password@host:port/database"
        ),
        _ if name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) => format!(
            "its parameter {name} is not known; Holdfast takes {KNOWN}. Remove it, or write a ? of a name or password \
             as %3F"
        ),
        _ => format!(
            "one of its parameters is not known; Holdfast takes {KNOWN}. Remove it, or write a ? of a name or password \
             as %3F"
        ),
    }
}

fn one_of<T: Copy>(name: &str, names: &[(&str, T)], value: &str) -> Result<T, String> {
    let found = names.iter().find(|(word, _)| *word == value).map(|(_, found)| *found);
    found.ok_or_else(|| {
        let words: Vec<_> = names.iter().map(|(word, _)| *word).collect();
        format!("its {name} is none of: {}", words.join(", "))
    })
}

/// libpq would look for a relative one in the directory it was started in, and for a key with a colon in an engine.
fn path(name: &str, value: String) -> Result<PathBuf, String> {
    if !value.starts_with('/') {
        return Err(format!("its {name} is no absolute path, such as /etc/holdfast/{name}.pem"));
    }
    if name == "sslkey" && value.contains(':') {
        return Err(
            "the path of its sslkey holds a colon, which libpq takes for something else; rename it".into()
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
            ("sslmode=s3cret", "its sslmode is none of: disable, allow"),
            ("sslmode=", "sslmode is empty"),
            ("sslmode", "no name=value"),
            ("sslmode=require&sslmode=disable", "sslmode is given twice"),
            ("sslMode=require", "parameter sslMode is not known"),
            ("pgbouncer=s3cret", "parameter pgbouncer is not known"),
            ("s3;cret=x", "one of its parameters is not known"),
            ("options=-c%20s3cret", "ALTER ROLE"),
            ("password=s3cret", "its password stands behind"),
            ("sslcert=/c", "without sslkey"),
            ("sslkey=/c", "without sslcert"),
            ("sslcert=c&sslkey=/k", "no absolute path"),
            ("sslcert=/c&sslkey=/engine:k", "colon"),
            ("sslmode=require&sslrootcert=system", "verify-full only"),
            ("sslmode=verify-ca", "needs sslrootcert"),
            ("sslmode=disable&channel_binding=require", "needs TLS"),
            ("connect_timeout=s3cret", "connect_timeout is no whole number"),
            ("connect_timeout=1%", "connect_timeout holds a %"),
            ("target_session_attrs=master", "target_session_attrs is none of"),
            ("require_auth=s3cret", "require_auth is no list"),
            ("application_name=a%0Ab", "application_name holds a control"),
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
