//! Findings of SQLite's `integrity_check` beyond damaged pages: grouped by kind, however many rows they
//! concern, and put into sentences with a remedy.

use crate::domain::engines::sqlite::modules::Keeper;
use crate::domain::engines::sqlite::rows::quoted;
use crate::domain::engines::sqlite::stand_ins::Unchecked;
use crate::domain::engines::sqlite::structure::Structure;
use crate::model::{human, outcome::printable};
use std::collections::{BTreeMap, BTreeSet};

/// How a list of findings about pages begins.
const PAGES: &str = "*** in database ";
/// SQLite's message for unreadable bytes.
pub const MALFORMED: &str = "database disk image is malformed";

/// Findings, grouped by kind.
#[derive(Debug, Default)]
pub struct Findings {
    /// About pages, line by line.
    pages: Vec<String>,
    /// About rows: the subject, SQLite's first message, and the number of messages.
    rows: BTreeMap<About, (String, u64)>,
    /// The number of SQLite's messages.
    pub count: u64,
    /// Whether SQLite stopped before the end.
    pub is_cut: bool,
}

/// The subject of a finding.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum About {
    /// A row's values are missing from the index.
    Index(String),
    /// The index and its table differ in their number of entries.
    Number(String),
    /// A unique index has two equal entries.
    Unique(String),
    /// The rows of a WITHOUT ROWID table are out of order.
    Order(String),
    /// The table's `CHECK` is violated.
    Check(String),
    /// A NULL in a NOT NULL column, in SQLite's words.
    Null(String),
    /// A value of another type, in SQLite's words.
    Type(String),
    /// Anything else, in SQLite's words.
    Other(String),
}

impl Findings {
    /// Adds one row of `integrity_check`.
    pub fn add(&mut self, words: &str) {
        self.count += 1;
        if let Some(list) = words.strip_prefix(PAGES) {
            self.pages.extend(list.lines().skip(1).map(str::to_owned));
        } else if words == MALFORMED {
            self.is_cut = true;
        } else if words != "ok" {
            self.rows.entry(about(words)).or_insert_with(|| (words.to_owned(), 0)).1 += 1;
        }
    }

    /// Adds the findings of another check.
    pub fn merge(&mut self, other: Self) {
        self.pages.extend(other.pages);
        self.is_cut |= other.is_cut;
        self.count += other.count;
        for (about, (words, count)) in other.rows {
            self.rows.entry(about).or_insert((words, 0)).1 += count;
        }
    }

    /// Whether there are no findings.
    pub fn is_empty(&self) -> bool {
        self.pages.is_empty() && self.rows.is_empty() && !self.is_cut
    }

    /// Damage: findings on a table's pages where our own reader found none, and WITHOUT ROWID tables whose
    /// rows are out of order.
    pub fn damage(&self, structure: &Structure, unchecked: &Unchecked) -> Option<String> {
        let indexes: BTreeSet<u32> = structure
            .objects
            .iter()
            .filter(|object| object.kind == "index")
            .map(|object| object.root)
            .collect();
        let is_of_table = |line: &&String| {
            if is_of_map(line) {
                return false;
            }
            match root_of(line) {
                Some(root) if indexes.contains(&root) => false,
                // Which of two trees is blamed for a doubly used page depends on the order of reading.
                Some(_) => structure.broken.is_empty() || !line.contains("2nd reference"),
                None => structure.broken.is_empty(),
            }
        };
        if let Some(line) = self.pages.iter().find(is_of_table) {
            return Some(line.clone());
        }
        self.rows.iter().find_map(|(about, (words, _))| match about {
            About::Order(table) if !unchecked.orders.contains(table) => Some(words.clone()),
            _ => None,
        })
    }

    /// The indexes that do not match their tables.
    pub fn misfits(&self) -> BTreeSet<String> {
        let indexes = self.rows.keys().filter_map(|about| match about {
            About::Index(index) | About::Number(index) => Some(index.clone()),
            _ => None,
        });
        indexes.collect()
    }

    /// Removes the findings about virtual tables' own tables, and returns each such virtual table with
    /// SQLite's words.
    pub fn take_of(&mut self, keepers: &[Keeper]) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        self.rows.retain(|about, (words, count)| {
            let About::Other(_) = about else { return true };
            let named = keepers.iter().filter(|keeper| keeper.is_own() && keeper.is_meant_by(words));
            let Some(keeper) = named.max_by_key(|keeper| keeper.name.len()) else { return true };
            found.entry(keeper.name.clone()).or_insert_with(|| said(words, *count));
            false
        });
        found
    }

    /// The findings that are not damage, without what could not be checked. `orphans` are the entries of each
    /// index that match no row.
    pub fn remarks(
        &self,
        structure: &Structure,
        unchecked: &Unchecked,
        orphans: &BTreeMap<String, u64>,
    ) -> Vec<String> {
        let table_of = |index: &str| {
            let object =
                structure.objects.iter().find(|object| object.kind == "index" && object.name == index);
            object.map_or_else(
                || "its table".to_owned(),
                |object| format!("the table {}", printable(&object.table)),
            )
        };
        let mut remarks = Vec::new();
        for (index, how) in &structure.broken {
            // SQLite's message repeats the index's name.
            let how = how.split_once(" is damaged ").map_or(how.as_str(), |(_, how)| how);
            remarks.push(format!(
                "The index {} of {} is broken {how}. All rows of the table are here. Rebuild the index with \
                 REINDEX {}; or, if SQLite refuses that, copy the rows: sqlite3 OLD .dump | sqlite3 NEW.",
                printable(index),
                table_of(index),
                printable(&quoted(index))
            ));
        }
        let is_broken = |name: &str| structure.broken.iter().any(|(index, _)| index == name);
        for (about, (words, count)) in &self.rows {
            let said = said(words, *count);
            let remark = match about {
                About::Index(index) | About::Number(index) | About::Unique(index)
                    if unchecked.indexes.contains(index) || is_broken(index) =>
                {
                    continue;
                }
                About::Check(table) if unchecked.rules.contains(table) => continue,
                // In order, or not checkable.
                About::Order(_) => continue,
                // One remark per index.
                About::Index(index) if self.rows.contains_key(&About::Number(index.clone())) => continue,
                About::Index(index) | About::Number(index) if orphans.contains_key(index) => {
                    orphaned(index, &table_of(index), orphans[index], &said)
                }
                About::Number(index) => format!(
                    "The index {} lacks entries, or has too many: {}. All rows of {} are here. REINDEX {} \
                     rebuilds the index.",
                    printable(index),
                    self.rows.get(&About::Index(index.clone())).map_or(said, |(words, count)| {
                        crate::domain::engines::sqlite::findings::said(words, *count)
                    }),
                    table_of(index),
                    printable(&quoted(index))
                ),
                About::Index(index) => format!(
                    "The index {} and {} hold different values: {said}. One of the two was changed outside SQLite, \
                     or is damaged. The rows are in the backup as they are; compare them with an older backup \
                     before REINDEX {} rebuilds the index from them.",
                    printable(index),
                    table_of(index),
                    printable(&quoted(index))
                ),
                About::Unique(index) => format!(
                    "Rows of {} are equal, although its index {} is unique: {said}. They are in the backup \
                     as they are. Delete the duplicates, then run REINDEX {}.",
                    table_of(index),
                    printable(index),
                    printable(&quoted(index))
                ),
                About::Check(_) => format!(
                    "Rows violate a CHECK of their table: {said}. They are in the backup as they are; \
                     correct them with UPDATE."
                ),
                About::Null(_) => format!(
                    "A column declared NOT NULL holds NULL: {said}. The rows are in the backup as they are; \
                     correct them with UPDATE."
                ),
                About::Type(_) => format!(
                    "A column holds values of another type than declared: {said}. The rows are in the \
                     backup as they are; correct them with UPDATE."
                ),
                About::Other(words) if words.contains("inverted index") => format!(
                    "A full-text table is inconsistent: {said}. Rows may be missing; \
                     compare the table with an older backup."
                ),
                About::Other(_) => {
                    format!("SQLite reports a problem: {said}. The rows are in the backup as they are.")
                }
            };
            remarks.push(remark);
        }
        if let Some(line) = self.pages.iter().find(|line| is_of_map(line)) {
            remarks.push(format!(
                "The page map of auto_vacuum is wrong: SQLite says “{}”. All rows are here. Run VACUUM to \
                 rewrite the file.",
                printable(line)
            ));
        }
        remarks
    }
}

/// The remark about index entries that match no row.
fn orphaned(index: &str, table: &str, count: u64, said: &str) -> String {
    let (entries, have) = match count {
        1 => ("1 entry".to_owned(), "has"),
        _ => (format!("{} entries", human::grouped(count)), "have"),
    };
    format!(
        "{entries} of the index {} {have} no row in {table}: {said}. Rows may have been lost. Compare the table with an \
         older backup before REINDEX {} discards these entries.",
        printable(index),
        printable(&quoted(index))
    )
}

/// SQLite's message, and how often it came.
fn said(words: &str, count: u64) -> String {
    let words = printable(&clean(words));
    match count {
        1 => format!("SQLite says “{words}”"),
        count => format!("SQLite says “{words}”, and the same of {} more", human::grouped(count - 1)),
    }
}

/// A message without control characters: SQLite quotes what it read, damaged or not.
pub fn clean(words: &str) -> String {
    let words: String =
        words.chars().map(|c| if c.is_control() || c == '\u{fffd}' { ' ' } else { c }).collect();
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The subject of SQLite's message.
fn about(words: &str) -> About {
    let after = |marker: &str| Some(words.split_once(marker)?.1.to_owned());
    if words.starts_with("row ") {
        for marker in [" missing from index ", " values differ from index "] {
            if let Some(index) = after(marker) {
                return About::Index(index);
            }
        }
    }
    if let Some(table) = words.strip_prefix("row not in PRIMARY KEY order for ") {
        return About::Order(table.to_owned());
    }
    if let Some(index) = words.strip_prefix("wrong # of entries in index ") {
        return About::Number(index.to_owned());
    }
    if let Some(index) = words.strip_prefix("non-unique entry in index ") {
        return About::Unique(index.to_owned());
    }
    if words.starts_with("rowid not at end-of-record for row ")
        && let Some(index) = after(" of index ")
    {
        return About::Index(index);
    }
    if let Some(rest) = words.strip_prefix("index ")
        && let Some((index, _)) = rest.rsplit_once(" stores an imprecise floating-point value for row ")
    {
        return About::Index(index.to_owned());
    }
    if let Some(table) = words.strip_prefix("CHECK constraint failed in ") {
        return About::Check(table.to_owned());
    }
    if words.starts_with("NULL value in ") {
        return About::Null(words.to_owned());
    }
    let is_of_type = words.split_once(" value in ").is_some_and(|(kind, _)| {
        matches!(kind, "TEXT" | "NUMERIC")
            || kind.strip_prefix("non-").is_some_and(|kind| !kind.contains(' '))
    });
    if is_of_type { About::Type(words.to_owned()) } else { About::Other(words.to_owned()) }
}

/// The root page of the tree that a line is about.
fn root_of(line: &str) -> Option<u32> {
    line.strip_prefix("Tree ")?.split(' ').next()?.parse().ok()
}

/// Whether a line is about the page map of `auto_vacuum`, not about the pages' content.
fn is_of_map(line: &str) -> bool {
    ["ptr map", "ptrmap", "max rootpage", "incremental_vacuum enabled"].iter().any(|part| line.contains(part))
}

#[cfg(test)]
mod tests {
    use crate::domain::engines::sqlite::findings::*;

    #[test]
    fn findings_are_told_apart_by_what_they_are_about() {
        for (words, expected) in [
            ("row 3 missing from index i", About::Index("i".into())),
            ("row 3 missing from index  missing from index ", About::Index(" missing from index ".into())),
            ("row 17 values differ from index a b", About::Index("a b".into())),
            ("wrong # of entries in index i\nj", About::Number("i\nj".into())),
            (
                "rowid not at end-of-record for row 4 of index x of index y",
                About::Index("x of index y".into()),
            ),
            ("index i stores an imprecise floating-point value for row 9", About::Index("i".into())),
            ("non-unique entry in index i", About::Unique("i".into())),
            ("row not in PRIMARY KEY order for t", About::Order("t".into())),
            ("CHECK constraint failed in t", About::Check("t".into())),
            ("NULL value in t.b", About::Null("NULL value in t.b".into())),
            ("non-INTEGER value in t.a", About::Type("non-INTEGER value in t.a".into())),
            ("TEXT value in t.a", About::Type("TEXT value in t.a".into())),
            ("something new", About::Other("something new".into())),
        ] {
            assert_eq!(about(words), expected);
        }
    }

    #[test]
    fn a_million_rows_of_one_kind_are_one_finding() {
        let mut findings = Findings::default();
        for row in 0..1_000_000 {
            findings.add(&format!("row {row} missing from index i"));
        }
        assert_eq!((findings.rows.len(), findings.count), (1, 1_000_000));
    }
}
