//! Where a database is: read from the operator's URL, once.

use crate::domain::engines::Engine;
use crate::domain::engines::postgres::server::Server;
use crate::domain::engines::postgres::{Postgres, PostgresTools};
use crate::domain::engines::sqlite::Sqlite;
use crate::model::DatabaseName;
use percent_encoding::percent_decode_str;
use std::ffi::OsString;
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
    /// Reads `sqlite:///absolute/path.db` or
    /// `postgres://user[:password]@host[:port][,host[:port]…]/database[?parameters]`, every part percent-decoded; a host
    /// that decodes to a path is the directory of a socket. The error says what is wrong and what to do, and never
    /// repeats the password.
    pub fn parse(url: &str) -> Result<Self, String> {
        let (scheme, rest) = url.split_once("://").ok_or(
            "it is no database URL; write sqlite:///absolute/path.db or postgres://user:password@host/database",
        )?;
        match scheme.to_ascii_lowercase().as_str() {
            "sqlite" => parse_sqlite(rest).map(Self::Sqlite),
            "postgres" | "postgresql" => Server::parse(rest).map(Self::Postgres),
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

fn parse_sqlite(rest: &str) -> Result<PathBuf, String> {
    if rest.contains('?') {
        return Err(
            "it holds a `?`, and a sqlite:// URL takes no parameters; remove everything from the ? on, or write %3F \
             where it belongs to the path"
                .into(),
        );
    }
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

pub(crate) fn text(part: &str, encoded: &str) -> Result<String, String> {
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
pub(crate) fn decode(part: &str, encoded: &str) -> Result<Vec<u8>, String> {
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
    use crate::domain::databases::list::parse_databases;
    use crate::domain::engines::target::*;
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
        assert_eq!((s.user.as_str(), s.place().as_str()), ("we:ird@", "db.example.org:6543"));
        assert_eq!(s.password.unwrap().expose_secret(), "p /?#@:%w");
        assert_eq!(s.database, "we=ird \"x\"");
        let s = server("postgresql://me@%2Frun%2Fpostgresql/db");
        assert_eq!((s.place().as_str(), s.password.is_none()), ("/run/postgresql:5432", true));
        let s = server("postgres://me:pw@[fe80::1%25eth0]:5433/db");
        assert_eq!((s.hosts[0].host.as_str(), s.hosts[0].port), ("fe80::1%eth0", 5433));
        assert_eq!(Target::Postgres(s).address(), "me@[fe80::1%eth0]:5433/db");
        let s = server("postgres://me:pw@a.test,[::1]:5433,%2Frun,b:6000/db?target_session_attrs=read-write");
        assert_eq!(s.to_string(), "me@a.test:5432,[::1]:5433,/run:5432,b:6000/db");
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
            ("postgres://u:s3cret@a,,b/d", "host is empty"),
            ("postgres://u:s3cret@a:1,b:x/d", "port"),
            ("postgres://u:s3cret@%2Fa%2C%2Fb/d", "comma"),
            ("postgres://u:s3cret@%40abstract/d", "host is neither"),
            ("postgres://u:s3cret@h/d?sslmode=s3cret", "sslmode is none of"),
            ("postgres://u:a?s3cret@h/d", "percent-encode any / or ?"),
            ("sqlite:///s3.db?mode=ro", "no parameters"),
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
