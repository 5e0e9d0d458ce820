//! Parses `HOLDFAST_DATABASES`. A mistake in one entry does not affect the others.

use crate::domain::engines::{Engines, Target};
use crate::model::DatabaseName;
use std::collections::BTreeSet;

/// The parsed list.
#[derive(Debug, Default)]
pub struct Databases {
    /// The databases that can be backed up.
    pub named: Vec<(DatabaseName, Target)>,
    /// The entries with a mistake.
    pub broken: Vec<Broken>,
}

/// An entry with a mistake, without any part of its URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The name of the database, if the entry has a valid one.
    pub name: Option<DatabaseName>,
    /// What is wrong and how to fix it, in a sentence that names the entry.
    pub sentence: String,
}

/// Parses `HOLDFAST_DATABASES`: entries `name=url`, separated by whitespace. Two entries with the same name are both
/// mistakes, because nobody can tell which is meant.
pub fn parse_databases(engines: &Engines, text: &str) -> Databases {
    let mut found = Databases::default();
    let (mut taken, mut twice) = (BTreeSet::new(), BTreeSet::new());
    for (entry, number) in text.split_whitespace().zip(1..) {
        // No text of an entry without a valid name is repeated, because it may contain a password.
        let Some((name, url)) =
            entry.split_once('=').and_then(|(name, url)| Some((name.parse::<DatabaseName>().ok()?, url)))
        else {
            let sentence = format!(
                "Entry {number} of HOLDFAST_DATABASES does not begin with a name and `=`, so that database is not \
                 backed up. Write name=url, where the name has 1 to 40 characters from a-z, 0-9 and -, and \
                 percent-encode spaces in the URL."
            );
            found.broken.push(Broken { name: None, sentence });
            continue;
        };
        if !taken.insert(name.clone()) {
            twice.insert(name);
            continue;
        }
        match engines.locate(url) {
            Ok(target) => found.named.push((name, target)),
            Err(why) => {
                let why = why.trim_end_matches('.');
                let sentence = format!(
                    "The URL of database {name} in HOLDFAST_DATABASES cannot be used, so {name} is not backed up: \
                     {why}."
                );
                found.broken.push(Broken { name: Some(name), sentence });
            }
        }
    }
    found.named.retain(|(name, _)| !twice.contains(name));
    found.broken.retain(|broken| broken.name.as_ref().is_none_or(|name| !twice.contains(name)));
    found.broken.extend(twice.into_iter().map(|name| Broken {
        sentence: format!(
            "Two databases are named {name} in HOLDFAST_DATABASES, so neither is backed up. Rename one of them."
        ),
        name: Some(name),
    }));
    found
}

#[cfg(test)]
mod tests {
    use crate::domain::databases::list::*;

    fn names(found: &Databases) -> Vec<&str> {
        found.named.iter().map(|(name, _)| name.as_str()).collect()
    }

    #[test]
    fn every_entry_is_read_by_itself() {
        let found = parse_databases(&Engines::default(), " a=sqlite:///a.db\n\tb-2=postgres://u:x=y@h/d ");
        assert_eq!((names(&found), found.broken.len()), (vec!["a", "b-2"], 0));
        assert!(parse_databases(&Engines::default(), "  ").named.is_empty());
        for (entry, name, word) in [
            ("postgres://u:s3cret=@h/d", None, "Entry 2"),
            ("postgres://u:s3cret@h/d", None, "Entry 2"),
            ("A=sqlite:///s3cret.db", None, "Entry 2"),
            ("s3cret", None, "Entry 2"),
            ("=sqlite:///s3cret.db", None, "Entry 2"),
            ("b=postgres://u:s3cret@h", Some("b"), "database b in"),
            ("b=postgres://u:s3cret@h/d?sslmod=s3cret", Some("b"), "parameter sslmod is unknown"),
            ("b=mysql://u:s3cret@h/d", Some("b"), "scheme"),
            ("b=", Some("b"), "not a database URL"),
            ("b=sqlite:///s3cret b=sqlite:///s3cret", Some("b"), "Two databases are named b"),
            ("b=sqlite:///s3cret b=nonsense b=x", Some("b"), "Two databases are named b"),
        ] {
            let found =
                parse_databases(&Engines::default(), &format!("a=sqlite:///a.db {entry} c=postgres://u@h/d"));
            assert_eq!(names(&found), ["a", "c"], "{entry}");
            let [Broken { name: broken, sentence }] = &found.broken[..] else { panic!("{entry}: {found:?}") };
            assert_eq!(broken.as_ref().map(DatabaseName::as_str), name, "{entry}");
            assert!(sentence.contains(word) && sentence.ends_with('.'), "{entry}: {sentence}");
            assert!(!sentence.contains("s3cret"), "{sentence}");
        }
    }
}
