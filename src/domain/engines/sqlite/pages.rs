//! Walks the b-trees of a SQLite file, page by page, and accounts for every page. The checks are those of
//! SQLite's own `integrity_check` (`checkTreePage`, `checkList` in its source), plus that each record is
//! complete.

use crate::domain::engines::sqlite::record::{Text, header_size, is_whole, varint};
use crate::domain::jobs::cancel::Cancel;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// SQLite never uses the page with this byte: its locks are there.
const LOCK_BYTE: u64 = 0x4000_0000;
/// The deepest possible tree.
const DEEPEST: u32 = 20;
/// Buffer for checking that the file's tail is empty, in bytes.
const BUFFER: usize = 64 << 10;

/// Why reading stopped.
#[derive(Debug)]
pub enum Fault {
    /// The file is damaged: how, as half a sentence.
    Broken(String),
    /// The file system failed.
    Unread(io::Error),
    /// The check was cancelled.
    Cancelled,
}

/// The table or index that a tree belongs to.
pub struct Owner<'o> {
    /// Its name in a finding: `the table t`.
    pub label: &'o str,
    /// Whether the tree must be an index.
    pub is_index: bool,
}

/// A database's pages, each of which must be used exactly once.
pub struct Pages<'f> {
    file: &'f File,
    cancel: &'f Cancel,
    header: [u8; 100],
    size: u32,
    usable: u32,
    count: u32,
    seen: Vec<u64>,
}

/// Receives the content of each row.
type Take<'t> = &'t mut dyn FnMut(&[u8]);

/// The tree being walked.
struct Tree<'t, 'l> {
    label: &'l str,
    is_index: bool,
    /// The previous rowid.
    last: Option<i64>,
    rows: u64,
    take: Option<Take<'t>>,
}

/// A cell of a page.
struct Cell {
    child: Option<u32>,
    rowid: Option<i64>,
    payload: Option<u64>,
    /// Where its payload begins, and how many bytes are on the page.
    start: usize,
    local: usize,
    /// The size of the whole cell, in bytes.
    size: usize,
}

impl<'f> Pages<'f> {
    /// Reads the header.
    pub fn open(file: &'f File, cancel: &'f Cancel) -> Result<Self, Fault> {
        let length = file.metadata().map_err(Fault::Unread)?.len();
        let mut header = [0; 100];
        match file.read_exact_at(&mut header, 0) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(broken("it ends within its header"));
            }
            Err(error) => return Err(Fault::Unread(error)),
        }
        let size = match u16::from_be_bytes([header[16], header[17]]) {
            1 => 65_536,
            size => u32::from(size),
        };
        let usable = size.saturating_sub(u32::from(header[20]));
        if !header.starts_with(b"SQLite format 3\0")
            || !size.is_power_of_two()
            || size < 512
            || usable < 480
            || header[21..24] != [64, 32, 32]
        {
            return Err(broken("its header is not that of a SQLite database"));
        }
        let in_file = length / u64::from(size);
        let said = be32(&header, 28);
        // Old versions of SQLite do not maintain the count; then the file's size counts.
        let count = match said {
            0 => in_file,
            _ if header[24..28] != header[92..96] => in_file,
            said => u64::from(said),
        };
        if count == 0 || length < count * u64::from(size) {
            return Err(broken(format!("it should have {count} pages of {size} bytes and has {in_file}")));
        }
        let count = u32::try_from(count).map_err(|_| broken("it has more pages than a database can have"))?;
        let pages = Self {
            file,
            cancel,
            header,
            size,
            usable,
            count,
            seen: vec![0; usize::try_from(count / 64 + 1).unwrap_or(usize::MAX)],
        };
        pages.check_tail(u64::from(count) * u64::from(size), length)?;
        Ok(pages)
    }

    /// Space that a program preallocated must be empty.
    fn check_tail(&self, mut at: u64, end: u64) -> Result<(), Fault> {
        let mut buffer = vec![0; BUFFER];
        while at < end {
            let read = self.file.read_at(&mut buffer, at).map_err(Fault::Unread)?;
            if read == 0 {
                break;
            }
            if buffer[..read].iter().any(|byte| *byte != 0) {
                return Err(broken(format!(
                    "it should have {} pages of {} bytes, and more data follows them",
                    self.count, self.size
                )));
            }
            at += read as u64;
        }
        Ok(())
    }

    /// The page size, in bytes.
    #[cfg(test)]
    pub const fn size(&self) -> usize {
        self.size as usize
    }

    /// The text encoding.
    pub fn encoding(&self) -> Text {
        match be32(&self.header, 56) {
            2 => Text::Utf16Little,
            3 => Text::Utf16Big,
            _ => Text::Utf8,
        }
    }

    /// Accounts for the pages that are in no tree and no list.
    pub fn mark_own(&mut self) {
        let lock = u32::try_from(LOCK_BYTE / u64::from(self.size) + 1).unwrap_or(u32::MAX);
        if lock <= self.count {
            self.mark(lock);
        }
        // With auto_vacuum, map pages at regular intervals describe the pages after them.
        if be32(&self.header, 52) != 0 {
            let each = self.usable / 5 + 1;
            let mut map = 2;
            while map <= self.count {
                self.mark(if map == lock { map + 1 } else { map });
                map = map.saturating_add(each);
            }
        }
    }

    /// Walks the list of free pages.
    pub fn free_list(&mut self) -> Result<(), Fault> {
        let (mut next, mut left) = (be32(&self.header, 32), u64::from(be32(&self.header, 36)));
        let wrong = |how: String| broken(format!("the list of its free pages is damaged ({how})"));
        while next != 0 {
            self.refer(next).map_err(wrong)?;
            let trunk = self.page(next)?;
            let leaves = be32(&trunk, 4);
            left =
                left.checked_sub(1 + u64::from(leaves)).ok_or_else(|| wrong("it is too long".to_owned()))?;
            if leaves > self.usable / 4 - 2 {
                return Err(wrong(format!("page {next} lists {leaves} pages")));
            }
            for leaf in 0..leaves as usize {
                self.refer(be32(&trunk, 8 + 4 * leaf)).map_err(wrong)?;
            }
            next = be32(&trunk, 0);
        }
        if left == 0 { Ok(()) } else { Err(wrong(format!("{left} pages are missing in it"))) }
    }

    /// Walks the tree of `owner` from page `root`. Returns the number of its rows.
    pub fn tree(&mut self, root: u32, owner: &Owner<'_>) -> Result<u64, Fault> {
        self.go(root, owner, None)
    }

    /// The same, passing each row's content to `take`.
    pub fn rows(&mut self, root: u32, owner: &Owner<'_>, take: Take<'_>) -> Result<u64, Fault> {
        self.go(root, owner, Some(take))
    }

    fn go(&mut self, root: u32, owner: &Owner<'_>, take: Option<Take<'_>>) -> Result<u64, Fault> {
        let at = |how: String| broken(format!("{} is damaged ({how})", owner.label));
        if root == 0 || root > self.count {
            return Err(at(format!("there is no page {root}")));
        }
        let page = self.page(root)?;
        let is_index = matches!(page[if root == 1 { 100 } else { 0 }], 2 | 10);
        if owner.is_index && !is_index {
            return Err(at(format!("page {root} does not belong to an index")));
        }
        let mut tree = Tree { label: owner.label, is_index, last: None, rows: 0, take };
        self.walk(root, 0, 0, &mut tree)?;
        Ok(tree.rows)
    }

    /// Walks the tree below one page. Returns its depth.
    fn walk(&mut self, number: u32, above: u32, level: u32, tree: &mut Tree<'_, '_>) -> Result<u32, Fault> {
        if self.cancel.is_cancelled() {
            return Err(Fault::Cancelled);
        }
        let label = tree.label;
        let at = move |how: String| {
            broken(match above {
                0 => format!("{label} is damaged (page {number}: {how})"),
                _ => format!("{label} is damaged (page {number}, below page {above}: {how})"),
            })
        };
        let uneven = || at("its depth is uneven".to_owned());
        if level > DEEPEST {
            return Err(at("it is too deep".to_owned()));
        }
        self.refer(number).map_err(at)?;
        let page = self.page(number)?;
        let start = if number == 1 { 100 } else { 0 };
        let is_leaf = match (page[start], tree.is_index) {
            (13, false) | (10, true) => true,
            (5, false) | (2, true) => false,
            (kind, _) => return Err(at(format!("its first byte is {kind}"))),
        };
        let cells = usize::from(be16(&page, start + 3));
        let first = start + if is_leaf { 8 } else { 12 };
        let usable = self.usable as usize;
        let content = match be16(&page, start + 5) {
            0 => 65_536,
            content => usize::from(content),
        };
        let pointers = first + 2 * cells;
        if pointers > content || content > usable {
            return Err(at("its parts overlap".to_owned()));
        }
        let mut spans = free_blocks(&page, usable, be16(&page, start + 1).into(), content).map_err(at)?;
        let mut depth = None;
        for cell in 0..cells {
            let place = usize::from(be16(&page, first + 2 * cell));
            if place < content || place > usable - 4 {
                return Err(at(format!("its entry {cell} is outside the page")));
            }
            let found = self.cell(&page, place, is_leaf, tree.is_index);
            let found = found.filter(|found| place + found.size <= usable);
            let found = found.ok_or_else(|| at(format!("its entry {cell} is truncated")))?;
            spans.push((place, place + found.size));
            if let Some(child) = found.child {
                let below = self.walk(child, number, level + 1, tree)?;
                if *depth.get_or_insert(below) != below {
                    return Err(uneven());
                }
            }
            if let Some(rowid) = found.rowid {
                // A leaf entry has its own rowid; an inner page has the last rowid below it.
                let is_after =
                    tree.last.is_none_or(|last| if is_leaf { rowid > last } else { rowid >= last });
                if !is_after {
                    return Err(at(format!("row {rowid} is out of order")));
                }
                tree.last = Some(rowid);
            }
            if let Some(payload) = found.payload {
                tree.rows += 1;
                self.payload(&page[place..], &found, payload, tree).map_err(|fault| match fault {
                    Fault::Broken(how) => at(format!("entry {cell}: {how}")),
                    fault => fault,
                })?;
            }
        }
        if !is_leaf {
            let below = self.walk(be32(&page, start + 8), number, level + 1, tree)?;
            if *depth.get_or_insert(below) != below {
                return Err(uneven());
            }
        }
        check_coverage(&mut spans, content, usable, page[start + 7]).map_err(at)?;
        Ok(depth.unwrap_or(0) + 1)
    }

    /// Follows a row's overflow pages to the end.
    fn payload(
        &mut self,
        cell: &[u8],
        found: &Cell,
        payload: u64,
        tree: &mut Tree<'_, '_>,
    ) -> Result<(), Fault> {
        let mut held = cell[found.start..found.start + found.local].to_vec();
        let mut left = payload - found.local as u64;
        let mut next = if left > 0 { be32(cell, found.size - 4) } else { 0 };
        // A record header is short, except for rows with thousands of columns.
        let header = header_size(&held).unwrap_or(0).min(payload);
        while left > 0 {
            if next == 0 {
                return Err(broken(format!("{left} bytes of it are missing")));
            }
            self.refer(next).map_err(Fault::Broken)?;
            let page = self.page(next)?;
            let part = left.min(u64::from(self.usable) - 4);
            if tree.take.is_some() || (held.len() as u64) < header {
                held.extend_from_slice(&page[4..4 + usize::try_from(part).unwrap_or(0)]);
            }
            left -= part;
            next = be32(&page, 0);
        }
        if next != 0 {
            return Err(broken(format!("page {next} follows after its end")));
        }
        if !is_whole(&held, payload) {
            return Err(broken("its values do not match its length"));
        }
        if let Some(take) = &mut tree.take {
            take(&held);
        }
        Ok(())
    }

    /// Parses the beginning of a cell; `None` if truncated.
    fn cell(&self, page: &[u8], place: usize, is_leaf: bool, is_index: bool) -> Option<Cell> {
        let mut at = place;
        let child = if is_leaf { None } else { Some(be32(page.get(..place + 4)?, place)) };
        at += if is_leaf { 0 } else { 4 };
        let mut number = || {
            let (number, read) = varint(page.get(at..)?)?;
            at += read;
            Some(number)
        };
        if !is_leaf && !is_index {
            let rowid = number()?.cast_signed();
            let size = at - place;
            return Some(Cell { child, rowid: Some(rowid), payload: None, start: size, local: 0, size });
        }
        let payload = number()?;
        let rowid = if is_index { None } else { Some(number()?.cast_signed()) };
        let start = at - place;
        let usable = u64::from(self.usable);
        let most = if is_index { (usable - 12) * 64 / 255 - 23 } else { usable - 35 };
        let least = (usable - 12) * 32 / 255 - 23;
        let (local, link) = if payload <= most {
            (payload, 0)
        } else {
            let rest = least + (payload - least) % (usable - 4);
            (if rest <= most { rest } else { least }, 4)
        };
        let local = usize::try_from(local).ok()?;
        // A freed cell needs room for a free block's four bytes.
        let size = (start + local + link).max(4);
        Some(Cell { child, rowid, payload: Some(payload), start, local, size })
    }

    /// The first unused page, as a finding. If an index is broken, its pages are unaccounted for too, so only
    /// tables' pages are conclusive.
    pub fn lost(&self, any: bool) -> Result<Option<String>, Fault> {
        for number in 1..=self.count {
            if self.is_marked(number) {
                continue;
            }
            let page = self.page(number)?;
            if any || (matches!(page[0], 5 | 13) && usize::from(be16(&page, 5)) <= self.usable as usize) {
                return Ok(Some(format!("page {number} is lost: nothing refers to it")));
            }
        }
        Ok(None)
    }

    fn page(&self, number: u32) -> Result<Vec<u8>, Fault> {
        let mut page = vec![0; self.size as usize];
        let at = u64::from(number - 1) * u64::from(self.size);
        match self.file.read_exact_at(&mut page, at) {
            Ok(()) => Ok(page),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(broken(format!("page {number} is missing")))
            }
            Err(error) => Err(Fault::Unread(error)),
        }
    }

    /// Records a reference to a page. Fails if the page is already referenced.
    fn refer(&mut self, number: u32) -> Result<(), String> {
        if number == 0 || number > self.count {
            return Err(format!("there is no page {number}"));
        }
        if self.is_marked(number) {
            return Err(format!("page {number} is in use twice"));
        }
        self.mark(number);
        Ok(())
    }

    fn is_marked(&self, number: u32) -> bool {
        self.seen[(number / 64) as usize] & 1 << (number % 64) != 0
    }

    fn mark(&mut self, number: u32) {
        if number <= self.count {
            self.seen[(number / 64) as usize] |= 1 << (number % 64);
        }
    }
}

/// The free blocks of a page, a linked list.
fn free_blocks(
    page: &[u8],
    usable: usize,
    first: usize,
    content: usize,
) -> Result<Vec<(usize, usize)>, String> {
    let mut spans = Vec::new();
    let (mut at, mut least) = (first, content);
    while at != 0 {
        if at < least || at > usable - 4 {
            return Err("its free blocks are out of order".to_owned());
        }
        let size = usize::from(be16(page, at + 2));
        if size < 4 || at + size > usable {
            return Err("a free block is outside the page".to_owned());
        }
        spans.push((at, at + size));
        // Adjacent free blocks, or with a gap below four bytes, would be one block.
        least = at + size + 4;
        at = be16(page, at).into();
    }
    Ok(spans)
}

/// Checks that entries and free blocks fill a page without overlap. `fragments` bytes are in none.
fn check_coverage(
    spans: &mut [(usize, usize)],
    content: usize,
    usable: usize,
    fragments: u8,
) -> Result<(), String> {
    spans.sort_unstable();
    let (mut end, mut between) = (content, 0);
    for (from, to) in spans {
        between += from.checked_sub(end).ok_or_else(|| format!("byte {from} is in use twice"))?;
        end = *to;
    }
    between += usable - end;
    if between == usize::from(fragments) {
        return Ok(());
    }
    Err(format!("{between} bytes are in no entry, but its header says {fragments}"))
}

fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn broken(how: impl Into<String>) -> Fault {
    Fault::Broken(how.into())
}
