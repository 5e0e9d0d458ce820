//! A PostgreSQL database's properties apart from its content: encoding and collation, owner, grants and
//! settings. A backup's manifest records them, so that a restore can recreate the database as it was.

use crate::domain::engines::postgres::archive::toc::Toc;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use tokio_postgres::{Client, Row};

/// The most roles, settings or extensions that are recorded, to keep manifests small.
const MOST: usize = 500;

/// A database, as its server describes it. Fields are those of `pg_database`; unknown ones are empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Origin {
    /// The server's version.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub server_version: String,
    /// The encoding's name: `UTF8`.
    pub encoding: String,
    /// The provider of its collation: `libc`, `icu` or `builtin`.
    pub locale_provider: String,
    /// `LC_COLLATE`.
    pub collate: String,
    /// `LC_CTYPE`.
    pub ctype: String,
    /// The locale of a provider other than the C library.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
    /// Additional collation rules, with ICU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icu_rules: Option<String>,
    /// The version of the collation when the database was created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collation_version: Option<String>,
    /// Its tablespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tablespace: Option<String>,
    /// The connection limit; -1 for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_limit: Option<i32>,
    /// Whether it is a template, which any role may copy.
    #[serde(skip_serializing_if = "is_false")]
    pub is_template: bool,
    /// The role that owns it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Its grants.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grants: Option<Vec<Grant>>,
    /// `ALTER DATABASE … SET`, as `name=value`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<String>,
    /// `ALTER ROLE … IN DATABASE … SET`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub role_settings: Vec<RoleSetting>,
    /// Settings during the dump that affect how values are written: name and value.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub in_force: Vec<(String, String)>,
    /// Its comment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Its security labels: provider and label.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub security_labels: Vec<(String, String)>,
    /// Its extensions: name, version and schema.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<(String, String, String)>,
    /// The roles that own its objects or are named in grants.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
}

/// One grant on a database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Grant {
    /// The role; `None` for `PUBLIC`.
    pub role: Option<String>,
    /// `CONNECT`, `CREATE`, `TEMPORARY`.
    pub right: String,
    /// Whether it is `WITH GRANT OPTION`.
    pub grantable: bool,
}

/// A setting of one role in the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RoleSetting {
    /// The role.
    pub role: String,
    /// As `name=value`.
    pub settings: Vec<String>,
}

/// Works on every supported version: columns that only some have are looked up through JSON.
const DATABASE: &str = "SELECT current_setting('server_version'), pg_encoding_to_char(d.encoding)::text,
        CASE to_jsonb(d) ->> 'datlocprovider' WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin' ELSE 'libc' END,
        d.datcollate::text, d.datctype::text,
        coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale'),
        to_jsonb(d) ->> 'daticurules', to_jsonb(d) ->> 'datcollversion',
        (SELECT spcname::text FROM pg_tablespace t WHERE t.oid = d.dattablespace),
        d.datconnlimit, d.datistemplate, (SELECT rolname::text FROM pg_roles r WHERE r.oid = d.datdba),
        shobj_description(d.oid, 'pg_database'), d.datacl IS NULL
    FROM pg_database d WHERE d.datname = $1";
const GRANTS: &str = "SELECT r.rolname::text, a.privilege_type, a.is_grantable
    FROM pg_database d, aclexplode(d.datacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee
    WHERE d.datname = $1 AND (a.grantee = 0 OR r.oid IS NOT NULL) ORDER BY 1, 2";
const SETTINGS: &str = "SELECT r.rolname::text, s.setconfig::text[]
    FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase LEFT JOIN pg_roles r ON r.oid = s.setrole
    WHERE d.datname = $1 AND (s.setrole = 0 OR r.oid IS NOT NULL) ORDER BY 1";
const LABELS: &str = "SELECT l.provider, l.label FROM pg_shseclabel l JOIN pg_database d ON d.oid = l.objoid
    WHERE l.classoid = 'pg_database'::regclass AND d.datname = $1 ORDER BY 1";
const EXTENSIONS: &str = "SELECT e.extname::text, e.extversion, n.nspname::text
    FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace ORDER BY 1";
const IN_FORCE: &str = "SELECT name, setting FROM pg_settings
    WHERE name IN ('lc_monetary', 'DateStyle', 'IntervalStyle', 'TimeZone', 'bytea_output') ORDER BY 1";
const ROLES: &str = "SELECT DISTINCT r.rolname::text FROM pg_shdepend s JOIN pg_roles r ON r.oid = s.refobjid
    WHERE s.refclassid = 'pg_authid'::regclass
      AND s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY 1";

impl Origin {
    /// Asks the server about the database that `client` is connected to. Questions it does not answer are
    /// left out: the record is optional.
    pub async fn of_current(client: &Client, database: &str) -> Option<Self> {
        let mut origin = Self::of(client, database).await?;
        let texts = |rows: Vec<Row>| rows.iter().take(MOST).filter_map(|row| row.try_get(0).ok()).collect();
        if let Ok(rows) = client.query(EXTENSIONS, &[]).await {
            let of = |row: &Row| Some((row.try_get(0).ok()?, row.try_get(1).ok()?, row.try_get(2).ok()?));
            origin.extensions = rows.iter().take(MOST).filter_map(of).collect();
        }
        if let Ok(rows) = client.query(IN_FORCE, &[]).await {
            let of = |row: &Row| Some((row.try_get(0).ok()?, row.try_get(1).ok()?));
            origin.in_force = rows.iter().filter_map(of).collect();
        }
        if let Ok(rows) = client.query(ROLES, &[]).await {
            origin.roles = texts(rows);
        }
        Some(origin)
    }

    /// Asks the server about one of its databases, from a connection to another.
    pub async fn of(client: &Client, database: &str) -> Option<Self> {
        let row = client.query_opt(DATABASE, &[&database]).await.ok()??;
        let text = |at: usize| row.try_get::<_, Option<String>>(at).ok().flatten();
        let mut origin = Self {
            server_version: text(0).unwrap_or_default(),
            encoding: text(1)?,
            locale_provider: text(2)?,
            collate: text(3)?,
            ctype: text(4)?,
            locale: text(5),
            icu_rules: text(6),
            collation_version: text(7),
            tablespace: text(8),
            connection_limit: row.try_get(9).ok(),
            is_template: row.try_get(10).unwrap_or(false),
            owner: text(11),
            comment: text(12),
            ..Self::default()
        };
        let has_no_grants = row.try_get(13).unwrap_or(true);
        if !has_no_grants && let Ok(rows) = client.query(GRANTS, &[&database]).await {
            let of = |row: &Row| {
                Some(Grant {
                    role: row.try_get(0).ok()?,
                    right: row.try_get(1).ok()?,
                    grantable: row.try_get(2).ok()?,
                })
            };
            origin.grants = Some(rows.iter().take(MOST).filter_map(of).collect());
        }
        if let Ok(rows) = client.query(SETTINGS, &[&database]).await {
            for row in rows.iter().take(MOST) {
                let settings: Vec<String> = row.try_get(1).unwrap_or_default();
                match row.try_get::<_, Option<String>>(0).ok().flatten() {
                    Some(role) => origin.role_settings.push(RoleSetting { role, settings }),
                    None => origin.settings = settings,
                }
            }
        }
        if let Ok(rows) = client.query(LABELS, &[&database]).await {
            let of = |row: &Row| Some((row.try_get(0).ok()?, row.try_get(1).ok()?));
            origin.security_labels = rows.iter().take(MOST).filter_map(of).collect();
        }
        Some(origin)
    }

    /// Reads the properties from the archive: `pg_dump` writes the `CREATE DATABASE` statement into each.
    pub fn of_archive(toc: &Toc) -> Option<Self> {
        let statement = &toc.entries.iter().find(|entry| entry.kind == "DATABASE")?.statement;
        let mut origin = Self { locale_provider: "libc".to_owned(), ..Self::default() };
        let mut words = Words(statement);
        // CREATE DATABASE name WITH
        if words.nth(3).as_deref() != Some("WITH") {
            return None;
        }
        while let Some(name) = words.next() {
            if words.next().as_deref() != Some("=") {
                break;
            }
            let Some(value) = words.next() else { break };
            match name.as_str() {
                "ENCODING" => origin.encoding = value,
                "LOCALE_PROVIDER" => origin.locale_provider = value,
                "LOCALE" => (origin.collate, origin.ctype) = (value.clone(), value),
                "LC_COLLATE" => origin.collate = value,
                "LC_CTYPE" => origin.ctype = value,
                "ICU_LOCALE" | "BUILTIN_LOCALE" => origin.locale = Some(value),
                "ICU_RULES" => origin.icu_rules = Some(value),
                "TABLESPACE" => origin.tablespace = Some(value),
                _ => {}
            }
        }
        // pg_dump 17 and later, which writes the locale of any provider so.
        if origin.locale_provider != "libc" && origin.locale.is_none() {
            origin.locale = Some(origin.collate.clone());
        }
        (!origin.encoding.is_empty() && !origin.collate.is_empty()).then_some(origin)
    }

    /// The options of a `CREATE DATABASE` that makes a database like this one on a server of version `major`
    /// (1500 is 15). `None` if such a server cannot.
    pub fn options(&self, major: u32) -> Option<String> {
        let mut options = format!(
            " ENCODING {} LC_COLLATE {} LC_CTYPE {}",
            literal(&self.encoding),
            literal(&self.collate),
            literal(&self.ctype)
        );
        match (self.locale_provider.as_str(), &self.locale) {
            ("icu", Some(locale)) if major >= 1500 => {
                let _ = write!(options, " LOCALE_PROVIDER icu ICU_LOCALE {}", literal(locale));
                match &self.icu_rules {
                    Some(rules) if major >= 1600 => {
                        let _ = write!(options, " ICU_RULES {}", literal(rules));
                    }
                    Some(_) => return None,
                    None => {}
                }
            }
            ("builtin", Some(locale)) if major >= 1700 => {
                let _ = write!(options, " LOCALE_PROVIDER builtin BUILTIN_LOCALE {}", literal(locale));
            }
            ("icu" | "builtin", _) => return None,
            _ if major >= 1500 => options += " LOCALE_PROVIDER libc",
            _ => {}
        }
        Some(options)
    }

    /// The encoding only, sorted by bytes: every server can create that.
    pub fn plain_options(&self, major: u32) -> String {
        let plain = Self {
            encoding: self.encoding.clone(),
            locale_provider: "libc".to_owned(),
            collate: "C".to_owned(),
            ctype: "C".to_owned(),
            ..Self::default()
        };
        plain.options(major).unwrap_or_default()
    }

    /// Its collation, in words: `the ICU locale de-AT`.
    pub fn sorts_by(&self) -> String {
        match (self.locale_provider.as_str(), &self.locale) {
            ("icu", Some(locale)) => format!("the ICU locale {locale}"),
            ("builtin", Some(locale)) => format!("the built-in locale {locale}"),
            _ if self.collate == self.ctype => format!("the locale {}", self.collate),
            _ => format!("the collation {} and the character type {}", self.collate, self.ctype),
        }
    }
}

/// A string literal for SQL, with `standard_conforming_strings` on.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A quoted identifier for SQL.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// The words of a statement: names, `=`, and quoted strings without their quotes.
struct Words<'a>(&'a str);

impl Iterator for Words<'_> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let text = self.0.trim_start();
        let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'));
        if let Some(quote) = quote {
            let mut word = String::new();
            let mut rest = text[1..].char_indices().peekable();
            while let Some((at, c)) = rest.next() {
                if c != quote {
                    word.push(c);
                } else if rest.peek().is_some_and(|(_, next)| *next == quote) {
                    word.push(quote);
                    rest.next();
                } else {
                    self.0 = &text[1 + at + 1..];
                    return Some(word);
                }
            }
            return None;
        }
        if let Some(rest) = text.strip_prefix('=') {
            self.0 = rest;
            return Some("=".to_owned());
        }
        let end = text.find(|c: char| c.is_whitespace() || "=;'\"".contains(c)).unwrap_or(text.len());
        self.0 = &text[end..];
        (end > 0).then(|| text[..end].to_owned())
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::engines::postgres::archive::toc::{Entry, Section};
    use crate::domain::engines::postgres::origin::*;

    fn told_by(statement: &str) -> Option<Origin> {
        let entry = Entry {
            id: 1,
            kind: "DATABASE".to_owned(),
            tag: "d".to_owned(),
            schema: String::new(),
            tablespace: String::new(),
            owner: String::new(),
            section: Section::PreData,
            has_data: false,
            statement: statement.to_owned(),
            name: (Vec::new(), Vec::new()),
            copy: Vec::new(),
            needs: Vec::new(),
        };
        Origin::of_archive(&Toc {
            server: String::new(),
            tool: String::new(),
            encoding: None,
            entries: vec![entry],
        })
    }

    #[test]
    fn an_archive_tells_how_its_database_was_made() {
        let told = told_by(
            "CREATE DATABASE \"a WITH b\" WITH TEMPLATE = template0 ENCODING = 'LATIN1' LOCALE_PROVIDER = libc LOCALE = 'de_DE';\n\n",
        );
        assert_eq!(told.map(|told| told.encoding).as_deref(), Some("LATIN1"));
        let told = told_by(
            "CREATE DATABASE d WITH TEMPLATE = template0 ENCODING = 'LATIN1' LOCALE_PROVIDER = libc LOCALE = 'de_DE';\n\n",
        )
        .unwrap();
        assert_eq!(
            told.options(1500).unwrap(),
            " ENCODING 'LATIN1' LC_COLLATE 'de_DE' LC_CTYPE 'de_DE' LOCALE_PROVIDER libc"
        );
        assert_eq!(told.options(1300).unwrap(), " ENCODING 'LATIN1' LC_COLLATE 'de_DE' LC_CTYPE 'de_DE'");
        let told = told_by(
            "CREATE DATABASE d WITH TEMPLATE = template0 ENCODING = 'UTF8' LOCALE_PROVIDER = icu LOCALE = 'C.UTF-8' ICU_LOCALE = 'de-AT' ICU_RULES = '&a < ''g''' TABLESPACE = fast;",
        )
        .unwrap();
        assert_eq!((told.icu_rules.as_deref(), told.tablespace.as_deref()), (Some("&a < 'g'"), Some("fast")));
        assert_eq!(told.options(1500), None, "rules are of version 16");
        assert!(
            told.options(1600)
                .unwrap()
                .ends_with("LOCALE_PROVIDER icu ICU_LOCALE 'de-AT' ICU_RULES '&a < ''g'''")
        );
        let told = told_by(
            "CREATE DATABASE d WITH TEMPLATE = template0 ENCODING = 'UTF8' LOCALE_PROVIDER = builtin LOCALE = 'C.UTF-8';",
        )
        .unwrap();
        assert_eq!((told.locale.as_deref(), told.options(1600)), (Some("C.UTF-8"), None));
        for nothing in
            ["", "CREATE DATABASE d;", "CREATE DATABASE d WITH TEMPLATE = template0;", "x WITH ENCODING 'y'"]
        {
            assert_eq!(told_by(nothing), None, "{nothing}");
        }
    }
}
