//! The registry of engines, the kinds of databases that Holdfast supports. Each is a folder here and a line
//! in [`Engines::default`].

pub mod ended;
pub mod engine;
pub mod postgres;
pub mod process;
pub mod sqlite;
pub mod url;

pub use crate::domain::jobs::cancel::Cancel;
pub use engine::{Database, Ended, Engine, Target};

use crate::model::EngineKind;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// The registered engines. Cheap to clone.
#[derive(Clone)]
pub struct Engines {
    all: Vec<Arc<dyn Engine>>,
    /// Directories with an engine's tools, as set by the operator.
    pub tool_directories: BTreeMap<EngineKind, PathBuf>,
}

impl Default for Engines {
    fn default() -> Self {
        Self {
            all: vec![Arc::new(postgres::PostgresEngine), Arc::new(sqlite::SqliteEngine)],
            tool_directories: BTreeMap::new(),
        }
    }
}

impl Engines {
    /// Adds an engine.
    #[must_use]
    pub fn with(mut self, engine: impl Engine + 'static) -> Self {
        self.all.push(Arc::new(engine));
        self
    }

    /// Makes an engine look for its tools in `directory` only, if given.
    #[must_use]
    pub fn with_tools(mut self, kind: EngineKind, directory: Option<PathBuf>) -> Self {
        self.tool_directories.extend(directory.map(|directory| (kind, directory)));
        self
    }

    /// All engines.
    pub fn all(&self) -> impl Iterator<Item = &dyn Engine> {
        self.all.iter().map(|engine| &**engine)
    }

    /// The engine with the identifier `kind`, as in manifests.
    pub fn get(&self, kind: &EngineKind) -> Option<&dyn Engine> {
        self.all().find(|engine| engine.kind() == *kind)
    }

    /// The name of an engine for display; the identifier if this Holdfast does not know it.
    pub fn label(&self, kind: &EngineKind) -> String {
        self.get(kind).map_or_else(|| kind.to_string(), |engine| engine.label().to_owned())
    }

    /// The engine whose content begins with these bytes.
    pub fn recognise(&self, beginning: &[u8]) -> Option<&dyn Engine> {
        self.all().find(|engine| engine.recognises(beginning))
    }

    /// Parses a database URL, such as `scheme://…`. The error says what is wrong and what to do, and never
    /// repeats the password.
    pub fn locate(&self, url: &str) -> Result<Target, String> {
        let (scheme, rest) = url.split_once("://").ok_or_else(|| {
            let examples: Vec<_> = self.all().map(Engine::url_example).collect();
            format!("it is not a database URL; write {}", examples.join(" or "))
        })?;
        let scheme = scheme.to_ascii_lowercase();
        let engine = self.all().find(|engine| engine.schemes().contains(&&*scheme)).ok_or_else(|| {
            let known: Vec<_> = self.all().filter_map(|engine| engine.schemes().first()).collect();
            let known: Vec<_> = known.into_iter().map(|scheme| format!("{scheme}://")).collect();
            format!("its scheme is unknown; Holdfast supports {} databases", known.join(" and "))
        })?;
        engine.locate(rest)
    }

    /// The contents of backups, for messages: `a PostgreSQL archive nor a SQLite database`.
    pub fn contents(&self, between: &str) -> String {
        self.all().map(Engine::content).collect::<Vec<_>>().join(between)
    }
}

impl Target {
    /// Parses the URL of a database of any built-in engine; see [`Engines::locate`].
    pub fn parse(url: &str) -> Result<Self, String> {
        Engines::default().locate(url)
    }

    /// A SQLite file, such as Holdfast's own state database.
    pub fn of_file(path: PathBuf) -> Self {
        Self::new(sqlite::location::SqliteFile(path))
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::databases::list::parse_databases;
    use crate::domain::engines::postgres::server::Server;
    use crate::domain::engines::*;
    use proptest::prelude::*;
    use secrecy::ExposeSecret;

    fn server(url: &str) -> Server {
        Target::parse(url).unwrap().as_any().downcast_ref::<Server>().unwrap().clone()
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
        assert_eq!(Target::new(s).address(), "me@[fe80::1%eth0]:5433/db");
        let s = server("postgres://me:pw@a.test,[::1]:5433,%2Frun,b:6000/db?target_session_attrs=read-write");
        assert_eq!(s.to_string(), "me@a.test:5432,[::1]:5433,/run:5432,b:6000/db");
        assert_eq!(server("postgres://me:p@w@h/db").password.unwrap().expose_secret(), "p@w");
    }

    #[test]
    fn a_sqlite_url_is_an_absolute_path() {
        let path = |url| Target::parse(url).unwrap().file().unwrap().to_str().unwrap().to_owned();
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
            ("", "not a database URL"),
            ("s3cret", "not a database URL"),
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
            ("postgres://u:s3cret@h/d?sslmode=s3cret", "sslmode is not one of"),
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
            let _ = parse_databases(&Engines::default(), &text);
        }
    }
}
