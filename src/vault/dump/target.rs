//! Where a database is: read from the operator's URL, once.

use super::Engine;
use super::postgres::{Postgres, PostgresTools};
use super::sqlite::Sqlite;
use crate::model::DatabaseName;
use percent_encoding::percent_decode_str;
use secrecy::SecretString;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::Arc;

/// A database's place. Its `Debug` shows no password.
#[derive(Debug, Clone)]
pub enum Target {
    /// A SQLite file, by absolute path.
    Sqlite(PathBuf),
    /// A database on a PostgreSQL server.
    Postgres(Server),
}

impl Target {
    /// Reads `sqlite:///absolute/path.db` or `postgres://user[:password]@host[:port]/database`, every part
    /// percent-decoded; a host that decodes to a path is the directory of a socket. The error says what is
    /// wrong and what to do, and never repeats the password.
    pub fn parse(url: &str) -> Result<Self, String> {
        let (scheme, rest) = url.split_once("://").ok_or(
            "it is no database URL; write sqlite:///absolute/path.db or postgres://user:password@host/database",
        )?;
        match scheme.to_ascii_lowercase().as_str() {
            "sqlite" => parse_sqlite(rest).map(Self::Sqlite),
            "postgres" | "postgresql" => parse_postgres(rest).map(Self::Postgres),
            _ => Err("its scheme is not known; Holdfast backs up sqlite:// and postgres:// databases".into()),
        }
    }

    /// The place as the pages and the log show it.
    pub fn address(&self) -> String {
        match self {
            Self::Sqlite(path) => path.display().to_string(),
            Self::Postgres(server) => server.to_string(),
        }
    }

    /// The engine for it. `name` is what the operator calls the database.
    pub fn engine(&self, name: DatabaseName, tools: &PostgresTools) -> Arc<dyn Engine> {
        match self {
            Self::Sqlite(path) => Arc::new(Sqlite::new(name, path.clone())),
            Self::Postgres(server) => Arc::new(Postgres::new(name, server.clone(), tools.clone())),
        }
    }
}

/// A database on a PostgreSQL server. Its `Debug` shows no password, its `Display` neither.
#[derive(Debug, Clone)]
pub struct Server {
    /// The role that reads the database.
    pub user: String,
    /// Its password, where the server asks for one.
    pub password: Option<SecretString>,
    /// A host name, an address without brackets, or the directory of a socket.
    pub host: String,
    /// The port, also the number in the socket's name.
    pub port: u16,
    /// The database's name on the server.
    pub database: String,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, host, port, database, .. } = self;
        if host.contains(':') {
            write!(f, "{user}@[{host}]:{port}/{database}")
        } else {
            write!(f, "{user}@{host}:{port}/{database}")
        }
    }
}

/// Reads `HOLDFAST_DATABASES`: `name=url`, whitespace between. The error names the entry at fault.
pub fn parse_databases(text: &str) -> Result<Vec<(DatabaseName, Target)>, String> {
    let mut taken = BTreeSet::new();
    let mut databases = Vec::new();
    for (entry, number) in text.split_whitespace().zip(1..) {
        // Nothing of an entry is repeated before its name is known to be one: it may hold a password.
        let (name, url) = entry
            .split_once('=')
            .and_then(|(name, url)| Some((name.parse::<DatabaseName>().ok()?, url)))
            .ok_or_else(|| {
                format!(
                    "database {number} of HOLDFAST_DATABASES does not begin with a name and `=`; write \
                     name=url, the name of 1 to 40 characters out of a-z, 0-9 and -, and percent-encode \
                     spaces in the URL"
                )
            })?;
        let target = Target::parse(url).map_err(|why| format!("the URL of database {name}: {why}"))?;
        if !taken.insert(name.clone()) {
            return Err(format!("two databases are named {name} in HOLDFAST_DATABASES; rename one of them"));
        }
        databases.push((name, target));
    }
    Ok(databases)
}

fn parse_sqlite(rest: &str) -> Result<PathBuf, String> {
    let rest = without_query(rest)?;
    if !rest.starts_with('/') {
        return Err(
            "the path of the SQLite file must be absolute: sqlite:///var/lib/app/app.db, with three \
                    slashes"
                .into(),
        );
    }
    let bytes = decode("path", rest)?;
    if bytes.iter().any(u8::is_ascii_control) {
        return Err("the path of the SQLite file holds a control character".into());
    }
    if bytes.ends_with(b"/") {
        return Err("the path of the SQLite file ends with a slash; name the file itself".into());
    }
    Ok(OsString::from_vec(bytes).into())
}

fn parse_postgres(rest: &str) -> Result<Server, String> {
    let rest = without_query(rest)?;
    let (authority, database) =
        rest.split_once('/').ok_or("it names no database; write postgres://user:password@host/database")?;
    // The last @: one inside the password is easily left unencoded, and no host has one.
    let (login, place) = authority.rsplit_once('@').ok_or(
        "it names no user before an `@`; write postgres://user:password@host/database, and percent-encode any \
         / ? # @ : % in the password",
    )?;
    let (user, password) = match login.split_once(':') {
        Some((user, password)) => (user, Some(password)),
        None => (login, None),
    };
    let (host, port) = split_port(place)?;
    let host = text("host", host)?;
    if !host.starts_with('/') && !host.chars().all(|c| c.is_alphanumeric() || "._-:%".contains(c)) {
        return Err(
            "its host is neither a host name, an address nor the directory of a socket; Holdfast takes \
                    one host, such as localhost, [::1] or %2Frun%2Fpostgresql"
                .into(),
        );
    }
    if host.contains(',') {
        return Err("its host holds a comma; Holdfast takes one host".into());
    }
    let database = match database.split_once('/') {
        None => text("database name", database)?,
        Some(_) => return Err("its database name holds a /; percent-encode it as %2F".into()),
    };
    let password = match password {
        None | Some("") => None,
        Some(encoded) => {
            let plain = String::from_utf8(decode("password", encoded)?)
                .map_err(|_| "its password is not UTF-8 once decoded".to_owned())?;
            if plain.contains(['\0', '\n', '\r']) {
                return Err(
                    "its password holds a line break or a NUL, which PostgreSQL's password file cannot \
                            carry; give the role another password"
                        .into(),
                );
            }
            Some(SecretString::from(plain))
        }
    };
    Ok(Server { user: text("user name", user)?, password, host, port, database })
}

fn split_port(place: &str) -> Result<(&str, u16), String> {
    let (host, port) = if let Some(rest) = place.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or("its IPv6 address lacks the closing ]")?;
        match after {
            "" => (host, ""),
            _ => {
                (host, after.strip_prefix(':').ok_or("something other than :port follows its IPv6 address")?)
            }
        }
    } else {
        place.split_once(':').unwrap_or((place, ""))
    };
    let port = match port {
        "" => 5432,
        _ => port.parse().ok().filter(|port| *port != 0).ok_or(
            "its port is not a number from 1 to 65535; an IPv6 address goes in brackets: [::1]:5432",
        )?,
    };
    Ok((host, port))
}

/// No parameter is known yet; one that is silently ignored would be a trap. Its value may be a secret.
fn without_query(rest: &str) -> Result<&str, String> {
    match rest.split_once('?') {
        None => Ok(rest),
        Some(_) => {
            Err("it holds a `?`; Holdfast takes no query parameters (sslmode is always prefer), so remove \
                        everything from the ? on, or write %3F where it belongs to a name or password"
                .into())
        }
    }
}

fn text(part: &str, encoded: &str) -> Result<String, String> {
    let plain = String::from_utf8(decode(part, encoded)?)
        .map_err(|_| format!("its {part} is not UTF-8 once percent-decoded"))?;
    if plain.is_empty() {
        return Err(format!("its {part} is empty; write postgres://user:password@host/database"));
    }
    if plain.chars().any(char::is_control) {
        return Err(format!("its {part} holds a control character"));
    }
    Ok(plain)
}

/// Decodes `%XX`, and refuses a lone `%`, since nobody can tell what it was meant to be.
fn decode(part: &str, encoded: &str) -> Result<Vec<u8>, String> {
    let whole = encoded
        .split('%')
        .skip(1)
        .all(|after| after.len() >= 2 && after.as_bytes()[..2].iter().all(u8::is_ascii_hexdigit));
    if !whole {
        return Err(format!("its {part} holds a % without two hexadecimal digits; write a plain % as %25"));
    }
    Ok(percent_decode_str(encoded).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use secrecy::ExposeSecret;

    fn server(url: &str) -> Server {
        match Target::parse(url).unwrap() {
            Target::Postgres(server) => server,
            Target::Sqlite(path) => panic!("{}", path.display()),
        }
    }

    #[test]
    fn every_part_of_a_postgres_url_is_decoded() {
        let s =
            server("postgres://we%3Aird%40:p%20%2F%3F%23%40%3A%25w@db.example.org:6543/we%3Dird%20%22x%22");
        assert_eq!((s.user.as_str(), s.host.as_str(), s.port), ("we:ird@", "db.example.org", 6543));
        assert_eq!(s.password.unwrap().expose_secret(), "p /?#@:%w");
        assert_eq!(s.database, "we=ird \"x\"");
        let s = server("postgresql://me@%2Frun%2Fpostgresql/db");
        assert_eq!((s.host.as_str(), s.port, s.password.is_none()), ("/run/postgresql", 5432, true));
        let s = server("postgres://me:pw@[fe80::1%25eth0]:5433/db");
        assert_eq!((s.host.as_str(), s.port), ("fe80::1%eth0", 5433));
        assert_eq!(Target::Postgres(s).address(), "me@[fe80::1%eth0]:5433/db");
        assert_eq!(server("postgres://me:p@w@h/db").password.unwrap().expose_secret(), "p@w");
    }

    #[test]
    fn a_sqlite_url_is_an_absolute_path() {
        let path = |url| match Target::parse(url) {
            Ok(Target::Sqlite(path)) => path.to_str().unwrap().to_owned(),
            other => panic!("{other:?}"),
        };
        assert_eq!(path("sqlite:///a%20b/%3Fc%23.db"), "/a b/?c#.db");
        for wrong in
            ["sqlite://a.db", "sqlite:///a.db?mode=rw", "sqlite:///a%00", "sqlite:///a%0A", "sqlite:///a/"]
        {
            assert!(Target::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_wrong_url_is_told_apart_and_never_repeats_the_password() {
        for (url, word) in [
            ("", "no database URL"),
            ("s3cret", "no database URL"),
            ("mysql://u:s3cret@h/d", "scheme"),
            ("postgres://u:s3cret@h", "names no database"),
            ("postgres://u:s3cret@h/", "database name is empty"),
            ("postgres://h/d", "names no user"),
            ("postgres://:s3cret@h/d", "user name is empty"),
            ("postgres://u:s3cret@/d", "host is empty"),
            ("postgres://u:s3cret@h:0/d", "port"),
            ("postgres://u:s3cret@h:99999/d", "port"),
            ("postgres://u:s3cret@::1/d", "brackets"),
            ("postgres://u:s3cret@[::1/d", "closing ]"),
            ("postgres://u:s3cret@a,b/d", "one host"),
            ("postgres://u:s3cret@%2Fa%2C%2Fb/d", "comma"),
            ("postgres://u:s3cret@%40abstract/d", "host is neither"),
            ("postgres://u:s3cret@h/d?sslmode=require", "query parameters"),
            ("postgres://u:s3cret%@h/d", "%25"),
            ("postgres://u:s3cret%ff@h/d", "UTF-8"),
            ("postgres://u:s3cret%0A@h/d", "line break"),
            ("postgres://u%00:s3cret@h/d", "control"),
            ("postgres://u:s3cret@h/d%0A", "control"),
            ("postgres://u:s3/cret@h/d", "percent-encode"),
            ("postgres://u:s3cret@h/d/e", "%2F"),
        ] {
            let why = Target::parse(url).unwrap_err();
            assert!(why.contains(word), "{url}: {why}");
            assert!(!why.contains("s3"), "{why}");
        }
        let debug = format!("{:?}", Target::parse("postgres://u:s3cret@h/d").unwrap());
        assert!(!debug.contains("s3cret") && debug.contains("\"h\""), "{debug}");
    }

    #[test]
    fn the_list_of_databases_is_read_whole_or_refused_by_name() {
        let list = parse_databases(" a=sqlite:///a.db\n\tb-2=postgres://u:x=y@h/d ").unwrap();
        assert_eq!(list.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["a", "b-2"]);
        assert!(parse_databases("  ").unwrap().is_empty());
        for (text, word) in [
            ("a=sqlite:///a.db postgres://u:s3cret=@h/d", "database 2"),
            ("postgres://u:s3cret@h/d", "database 1"),
            ("A=sqlite:///a.db", "database 1"),
            ("a=sqlite:///a.db a=sqlite:///b.db", "two databases are named a"),
            ("a=postgres://u:s3cret@h", "database a"),
        ] {
            let why = parse_databases(text).unwrap_err();
            assert!(why.contains(word) && !why.contains("s3cret"), "{why}");
        }
    }

    proptest! {
        #[test]
        fn any_password_survives_its_encoding(
            user in "\\PC{1,20}", password in "[^\0\r\n]{1,40}", database in "\\PC{1,20}"
        ) {
            let encode = |s: &str| percent_encoding::utf8_percent_encode(s, percent_encoding::NON_ALPHANUMERIC).to_string();
            let s = server(&format!("postgres://{}:{}@h:1/{}", encode(&user), encode(&password), encode(&database)));
            prop_assert_eq!(s.user, user);
            let decoded = s.password.unwrap();
            prop_assert_eq!(decoded.expose_secret(), password);
            prop_assert_eq!(s.database, database);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,80}") {
            let _ = Target::parse(&text);
            let _ = Target::parse(&format!("postgres://{text}"));
            let _ = parse_databases(&text);
        }
    }
}
