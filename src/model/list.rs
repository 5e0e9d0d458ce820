//! The list of backups: the query in the address, and the page that it selects.

use super::{Backup, Stamp};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::fmt::Write as _;

/// Allowed numbers of rows per page; the first is the default.
pub const PAGE_SIZES: [usize; 3] = [20, 50, 100];

/// Longest filter, in characters; the rest is ignored.
const FILTER_MAX: usize = 200;

/// A sortable column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Column {
    /// The file's name.
    #[default]
    FileName,
    /// The database's name.
    Database,
    /// When the backup was begun.
    Created,
    /// When the file was last written.
    Modified,
    /// Size in bytes.
    Size,
}

impl Column {
    /// Every column, in the order of the table.
    pub const ALL: [Self; 5] = [Self::FileName, Self::Database, Self::Created, Self::Modified, Self::Size];

    /// The column's name in the address.
    pub const fn key(self) -> &'static str {
        match self {
            Self::FileName => "filename",
            Self::Database => "database",
            Self::Created => "created_at",
            Self::Modified => "modified_at",
            Self::Size => "size",
        }
    }

    /// The column's heading.
    pub const fn label(self) -> &'static str {
        match self {
            Self::FileName => "File name",
            Self::Database => "Database",
            Self::Created => "Created",
            Self::Modified => "Modified",
            Self::Size => "Size",
        }
    }

    fn compare(self, a: &Backup, b: &Backup) -> Ordering {
        match self {
            Self::FileName => Ordering::Equal,
            Self::Database => a.database.cmp(&b.database),
            Self::Created => a.created.cmp(&b.created),
            Self::Modified => a.modified.cmp(&b.modified),
            Self::Size => a.size.cmp(&b.size),
        }
        .then_with(|| a.name.cmp(&b.name))
    }
}

/// A column and a direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sort {
    /// The column to sort by.
    pub column: Column,
    /// Whether the largest, latest or last comes first.
    pub descending: bool,
}

impl Sort {
    /// Reads `size` or `-size`; `None` if there is no such column.
    fn parse(text: &str) -> Option<Self> {
        let (descending, key) = match text.strip_prefix('-') {
            Some(key) => (true, key),
            None => (false, text),
        };
        let column = Column::ALL.into_iter().find(|column| column.key() == key)?;
        Some(Self { column, descending })
    }

    fn text(self) -> String {
        format!("{}{}", if self.descending { "-" } else { "" }, self.column.key())
    }
}

/// A view of the list, as its address describes it. Defaults are left out of the address, so that each view has exactly
/// one address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Asked")]
pub struct ListQuery {
    /// The order of the rows.
    pub sort: Sort,
    /// The page, from 1.
    pub page: usize,
    /// Rows a page, one of [`PAGE_SIZES`].
    pub per_page: usize,
    /// Words that must all occur in a row's file name, database or state.
    pub filter: String,
}

impl Default for ListQuery {
    fn default() -> Self {
        Self { sort: Sort::default(), page: 1, per_page: PAGE_SIZES[0], filter: String::new() }
    }
}

/// An unchecked query from an address or a caller. Only a [`ListQuery`] is used, so that no division by zero rows is
/// possible.
#[derive(Deserialize)]
struct Asked {
    sort: Sort,
    page: usize,
    per_page: usize,
    filter: String,
}

impl From<Asked> for ListQuery {
    fn from(asked: Asked) -> Self {
        Self {
            sort: asked.sort,
            page: asked.page.max(1),
            per_page: if PAGE_SIZES.contains(&asked.per_page) { asked.per_page } else { PAGE_SIZES[0] },
            filter: asked.filter.trim().chars().take(FILTER_MAX).collect(),
        }
    }
}

impl ListQuery {
    /// Reads `sort`, `page`, `per_page` and `q` by calling `get` for each; unknown values
    /// become the default.
    pub fn from_lookup(get: impl Fn(&str) -> Option<String>) -> Self {
        let number = |key| get(key).and_then(|text| text.trim().parse().ok()).unwrap_or_default();
        Self::from(Asked {
            sort: get("sort").as_deref().and_then(Sort::parse).unwrap_or_default(),
            page: number("page"),
            per_page: number("per_page"),
            filter: get("q").unwrap_or_default(),
        })
    }

    /// The query parameters that differ from the default, not yet encoded.
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        let mut pairs = Vec::new();
        if self.sort != Sort::default() {
            pairs.push(("sort", self.sort.text()));
        }
        if self.page != 1 {
            pairs.push(("page", self.page.to_string()));
        }
        if self.per_page != PAGE_SIZES[0] {
            pairs.push(("per_page", self.per_page.to_string()));
        }
        if !self.filter.is_empty() {
            pairs.push(("q", self.filter.clone()));
        }
        pairs
    }

    /// The address of this view.
    pub fn href(&self) -> String {
        let mut href = String::from("/");
        for (i, (key, value)) in self.pairs().into_iter().enumerate() {
            href.push(if i == 0 { '?' } else { '&' });
            href.push_str(key);
            href.push('=');
            encode_into(&mut href, &value);
        }
        href
    }

    /// The address of this view with further parameters, such as `job` or `outcome`. Their values must need no
    /// encoding.
    pub fn href_telling(&self, telling: &[(&str, String)]) -> String {
        telling.iter().fold(self.href(), |href, (key, value)| {
            let separator = if href.contains('?') { '&' } else { '?' };
            format!("{href}{separator}{key}={value}")
        })
    }

    /// The view after a click on a column's heading: sorted by this column, or in reverse if it already is. Back to the
    /// first page.
    #[must_use]
    pub fn sorted_by(&self, column: Column) -> Self {
        let descending = self.sort.column == column && !self.sort.descending;
        Self { sort: Sort { column, descending }, page: 1, ..self.clone() }
    }

    /// The same view on another page.
    #[must_use]
    pub fn at_page(&self, page: usize) -> Self {
        Self { page, ..self.clone() }
    }

    /// The same view with another filter, on the first page.
    #[must_use]
    pub fn filtered(&self, filter: &str) -> Self {
        Self { filter: filter.trim().chars().take(FILTER_MAX).collect(), page: 1, ..self.clone() }
    }

    /// The same view with another page size, on the first page.
    #[must_use]
    pub fn sized(&self, per_page: usize) -> Self {
        Self { per_page, page: 1, ..self.clone() }
    }

    /// `aria-sort` of a column's heading.
    pub fn aria_sort(&self, column: Column) -> &'static str {
        match (self.sort.column == column, self.sort.descending) {
            (false, _) => "none",
            (true, false) => "ascending",
            (true, true) => "descending",
        }
    }

    /// The backups that match the filter, in no particular order.
    pub fn matching<'a>(&self, all: &'a [Backup]) -> Vec<&'a Backup> {
        let words: Vec<String> = self.filter.split_whitespace().map(str::to_lowercase).collect();
        if words.is_empty() {
            return all.iter().collect();
        }
        let matches = |backup: &Backup| {
            let name = backup.name.as_str().to_lowercase();
            let database = backup.database.as_deref().unwrap_or("unknown");
            let proof = backup.verified.as_ref().map_or("", |verified| verified.proof.label());
            words.iter().all(|word| {
                [&name, database, backup.state.label(), proof].iter().any(|text| text.contains(word))
            })
        };
        all.iter().filter(|backup| matches(backup)).collect()
    }

    /// The page of `all` that this query selects. A page past the end becomes the last page.
    pub fn page_of(&self, all: &[Backup], now: Stamp) -> ListPage {
        let mut matching = self.matching(all);
        let order = |a: &&Backup, b: &&Backup| {
            let order = self.sort.column.compare(a, b);
            if self.sort.descending { order.reverse() } else { order }
        };
        let pages = matching.len().div_ceil(self.per_page).max(1);
        let query = self.at_page(self.page.min(pages));
        let start = (query.page - 1) * query.per_page;
        let end = matching.len().min(start + query.per_page);
        // Sort only the rows of this page, which are a small part of a long list.
        if start > 0 {
            matching.select_nth_unstable_by(start, order);
        }
        let rest = &mut matching[start..];
        if end - start < rest.len() {
            rest.select_nth_unstable_by(end - start, order);
        }
        let rows = &mut matching[start..end];
        rows.sort_unstable_by(order);
        ListPage {
            rows: rows.iter().map(|&backup| backup.clone()).collect(),
            matching: matching.len(),
            matching_size: matching.iter().map(|backup| backup.size).sum(),
            all: all.len(),
            all_size: all.iter().map(|backup| backup.size).sum(),
            newest: all.iter().map(|backup| backup.created).max(),
            query,
            pages,
            now,
        }
    }
}

/// One page of the list, with the figures around it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListPage {
    /// The rows, sorted.
    pub rows: Vec<Backup>,
    /// The query, with its page brought into range.
    pub query: ListQuery,
    /// Number of pages; at least 1.
    pub pages: usize,
    /// Number of backups that match the filter.
    pub matching: usize,
    /// Total size of those in bytes.
    pub matching_size: u64,
    /// Number of all backups.
    pub all: usize,
    /// Total size of all backups in bytes.
    pub all_size: u64,
    /// When the newest backup was begun.
    pub newest: Option<Stamp>,
    /// The server's clock when it answered.
    pub now: Stamp,
}

impl ListPage {
    /// `1–20 of 57`; `0 of 0` if nothing matches.
    pub fn range(&self) -> String {
        if self.rows.is_empty() {
            return format!("0 of {}", self.matching);
        }
        let start = (self.query.page - 1) * self.query.per_page;
        format!("{}–{} of {}", start + 1, start + self.rows.len(), self.matching)
    }

    /// The page numbers to link: the first, the last, those around the current one, and `None` for a gap.
    pub fn window(&self) -> Vec<Option<usize>> {
        let current = self.query.page;
        let mut window = Vec::new();
        for page in 1..=self.pages {
            let near = page.abs_diff(current) <= 1 || page == 1 || page == self.pages;
            if near {
                window.push(Some(page));
            } else if window.last() != Some(&None) {
                window.push(None);
            }
        }
        window
    }
}

/// Percent-encodes everything but RFC 3986's unreserved characters.
fn encode_into(out: &mut String, value: &str) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BackupName, FileState};
    use proptest::prelude::*;

    fn backup(database: &str, day: u32, size: u64) -> Backup {
        let name: BackupName =
            format!("backup_{database}_2026-11-{day:02}_00-00-00Z.dump.gz").parse().unwrap();
        let created = name.created().unwrap();
        Backup {
            database: Some(database.to_owned()),
            engine: None,
            created,
            modified: Stamp::from_millis(-i64::from(day)),
            size,
            sha256: None,
            state: FileState::Whole,
            verified: None,
            name,
        }
    }

    fn query(text: &str) -> ListQuery {
        ListQuery::from_lookup(|key| {
            text.split('&').find_map(|pair| {
                let (k, v) = pair.split_once('=')?;
                (k == key).then(|| v.to_owned())
            })
        })
    }

    #[test]
    fn sizes_sort_as_numbers_and_times_as_times() {
        let all = [backup("a", 1, 9_000), backup("b", 2, 10_000), backup("c", 3, 800)];
        let sizes = |text| {
            query(text).page_of(&all, Stamp::from_millis(0)).rows.iter().map(|b| b.size).collect::<Vec<_>>()
        };
        assert_eq!(sizes("sort=size"), [800, 9_000, 10_000]);
        assert_eq!(sizes("sort=-size"), [10_000, 9_000, 800]);
        assert_eq!(sizes("sort=modified_at"), [800, 10_000, 9_000]);
        assert_eq!(sizes("sort=-created_at"), [800, 10_000, 9_000]);
        assert_eq!(sizes("sort=password"), [9_000, 10_000, 800]);
    }

    #[test]
    fn unknown_values_fall_back_to_the_default() {
        for text in [
            "page=0",
            "page=-1",
            "page=x",
            "page=99999999999999999999",
            "per_page=21",
            "sort=--size",
            "q=%20",
        ] {
            let mut read = query(text);
            read.filter = String::new();
            assert_eq!(read, ListQuery::default(), "{text}");
        }
    }

    #[test]
    fn a_page_past_the_end_is_the_last() {
        let all: Vec<_> = (1..=25).map(|day| backup("a", day, 1)).collect();
        let page = query("page=9").page_of(&all, Stamp::from_millis(0));
        assert_eq!((page.query.page, page.rows.len(), page.range().as_str()), (2, 5, "21–25 of 25"));
        let none = query("page=9&q=zzz").page_of(&all, Stamp::from_millis(0));
        assert_eq!((none.query.page, none.range().as_str(), none.all), (1, "0 of 0", 25));
    }

    #[test]
    fn links_change_one_part_of_the_query() {
        let start = query("sort=size&page=3&per_page=50&q=a b&x=y");
        assert_eq!(start.href(), "/?sort=size&page=3&per_page=50&q=a%20b");
        assert_eq!(start.sorted_by(Column::Size).href(), "/?sort=-size&per_page=50&q=a%20b");
        assert_eq!(start.sorted_by(Column::FileName).href(), "/?per_page=50&q=a%20b");
        assert_eq!(start.filtered("").sized(20).href(), "/?sort=size");
        assert_eq!(start.aria_sort(Column::Size), "ascending");
        assert_eq!(start.aria_sort(Column::Created), "none");
    }

    #[test]
    fn long_pagers_have_gaps() {
        let all: Vec<_> = (0..400).map(|i| backup("a", i % 28 + 1, u64::from(i))).collect();
        let page = query("page=10").page_of(&all, Stamp::from_millis(0));
        assert_eq!(page.window(), [Some(1), None, Some(9), Some(10), Some(11), None, Some(20)]);
    }

    proptest! {
        #[test]
        fn every_query_survives_the_address(
            column in 0usize..5, descending: bool, page in 1usize..1000, size in 0usize..3, filter in "\\PC{0,30}"
        ) {
            let asked = ListQuery {
                sort: Sort { column: Column::ALL[column], descending },
                page,
                per_page: PAGE_SIZES[size],
                filter: filter.trim().to_owned(),
            };
            let pairs = asked.pairs();
            let read = ListQuery::from_lookup(|key| {
                pairs.iter().find(|(k, _)| *k == key).map(|(_, v)| v.clone())
            });
            prop_assert_eq!(&read, &asked);
            prop_assert!(asked.href().bytes().all(|b| b.is_ascii_graphic()));
        }

        #[test]
        fn pages_show_every_backup_once(count in 0usize..130, size in 0usize..3) {
            let all: Vec<_> = (0..count).map(|i| {
                let mut one = backup("a", u32::try_from(i % 28).unwrap() + 1, 7);
                one.name = format!("backup_{i}.dump.gz").parse().unwrap();
                one
            }).collect();
            let first = ListQuery { per_page: PAGE_SIZES[size], ..ListQuery::default() };
            let pages = first.page_of(&all, Stamp::from_millis(0)).pages;
            let mut seen: Vec<_> = (1..=pages)
                .flat_map(|page| first.at_page(page).page_of(&all, Stamp::from_millis(0)).rows)
                .map(|row| row.name)
                .collect();
            seen.sort();
            seen.dedup();
            prop_assert_eq!(seen.len(), count);
        }
    }
}
