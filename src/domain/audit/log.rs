//! Writes the audit log, and sends each entry to the event stream.
//!
//! A line is written by a single `write` in append mode, which the kernel executes as a whole, so lines of a
//! server and of shell commands never mix. The audit log never delays or fails an action: if a line cannot be
//! written, the program's log has the line and the reason.

use crate::domain::audit::actor::Actor;
use crate::domain::audit::note::Noted;
use crate::domain::events::{Events, Happened, What};
use crate::domain::jobs::clock::Clock;
use crate::domain::repository::publish::name_finished;
use crate::model::Stamp;
use crate::model::audit::{Ending, Event, is_treacherous};
use serde::Serialize;
use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The current file; full ones are renamed to `audit-<time>.jsonl`.
const FILE: &str = "audit.jsonl";
/// The size in bytes at which a file is renamed and a new one started.
const FULL: u64 = 64 << 20;
/// The most bytes of a field in a line, after escaping.
const FIELD: usize = 1024;
/// Marks the end of a truncated field.
const CUT: char = '…';
/// How long to wait for another program's line, in milliseconds. Writing one takes microseconds.
const TURN: u32 = 100;
/// The most events of unauthenticated clients that are recorded per minute.
const STRANGERS: u32 = 60;

/// The audit log. Cheap to clone; calls block.
#[derive(Clone)]
pub struct Audit {
    inner: Arc<Inner>,
}

struct Inner {
    directory: PathBuf,
    clock: Clock,
    full: u64,
    /// Kept open, so that a line can be written when no descriptor is available.
    file: Mutex<Option<File>>,
    strangers: Mutex<Minute>,
    events: Events,
}

/// The events of unauthenticated clients in the current minute.
#[derive(Default)]
struct Minute {
    began: Option<Stamp>,
    noted: u32,
    left_out: u64,
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Audit").field(&self.path()).finish()
    }
}

#[derive(Serialize)]
struct Line<'a> {
    time: &'a str,
    event: &'static str,
    who: Option<Cow<'a, str>>,
    from: Option<Cow<'a, str>>,
    request: Option<Cow<'a, str>>,
    object: Cow<'a, str>,
    outcome: &'static str,
    detail: Cow<'a, str>,
}

impl Audit {
    /// The log in `directory`. The first line creates the file.
    pub fn new(directory: &Path, clock: Clock) -> Self {
        Self::full_at(directory, clock, FULL)
    }

    fn full_at(directory: &Path, clock: Clock, full: u64) -> Self {
        let (file, strangers) = (Mutex::new(None), Mutex::default());
        let (directory, events) = (directory.to_owned(), Events::default());
        let inner = Inner { directory, clock, full, file, strangers, events };
        Self { inner: Arc::new(inner) }
    }

    /// The event stream: each entry of this log, and the jobs' events.
    pub fn events(&self) -> &Events {
        &self.inner.events
    }

    /// Records what happened, durably, and then sends it to the subscribers. If it cannot be written, the
    /// program's log has the line and the reason.
    pub fn tell(&self, by: &Arc<Actor>, all: Vec<What>) {
        self.write(by, &all);
        let at = self.now();
        for what in all {
            self.inner.events.send(Happened { at, by: Arc::clone(by), what });
        }
    }

    /// Records what happened without sending it; several entries become durable together.
    pub(crate) fn write(&self, by: &Actor, all: &[What]) {
        let time = self.now().rfc3339();
        let lines: Vec<_> = all.iter().filter_map(What::noted).map(|noted| line(&time, by, &noted)).collect();
        if lines.is_empty() {
            return;
        }
        if let Err(error) = self.append(&lines) {
            for line in lines {
                tracing::error!(%error, line, "an event could not be written to the audit log");
            }
        }
    }

    /// Records one entry; see [`tell`](Self::tell).
    pub fn note(&self, by: &Actor, event: Event, object: &str, outcome: Ending, detail: &str) {
        self.note_all(by, &[Noted::new(event, object, outcome, detail)]);
    }

    /// Records several entries, which become durable together; see [`tell`](Self::tell).
    pub fn note_all(&self, by: &Actor, all: &[Noted]) {
        self.tell(&Arc::new(by.clone()), all.iter().cloned().map(What::Noted).collect());
    }

    /// Records an event that anybody can trigger without an account. The number per minute is limited, so
    /// that nobody can fill the disk; omitted events are counted.
    pub fn note_of_stranger(&self, by: &Actor, event: Event, object: &str, outcome: Ending, detail: &str) {
        let now = (self.inner.clock)();
        let left_out = {
            let mut minute = self.inner.strangers.lock().unwrap_or_else(PoisonError::into_inner);
            if minute.began.is_none_or(|began| now < began || now.seconds_since(began) >= 60) {
                let left_out = std::mem::take(&mut minute.left_out);
                *minute = Minute { began: Some(now), noted: 0, left_out };
            }
            if minute.noted == STRANGERS {
                minute.left_out += 1;
                return;
            }
            minute.noted += 1;
            std::mem::take(&mut minute.left_out)
        };
        let more = match left_out {
            0 => String::new(),
            more => format!("{more} similar events were omitted before this one; "),
        };
        self.note(by, event, object, outcome, &format!("{more}{detail}"));
    }

    fn append(&self, lines: &[String]) -> io::Result<()> {
        let mut kept = self.inner.file.lock().unwrap_or_else(PoisonError::into_inner);
        let file = match kept.take().filter(|file| self.is_current(file)) {
            Some(file) => file,
            None => self.open()?,
        };
        let mut file = &*kept.insert(file);
        let lock = FileLock::take(file);
        let length = file.metadata()?.len();
        // After a partly written line, as on a full disk, start on a new line.
        let mut begin = if ends_a_line(file, length)? { "" } else { "\n" };
        for line in lines {
            file.write_all(format!("{begin}{line}\n").as_bytes())?;
            begin = "";
        }
        file.sync_data()?;
        if length >= self.inner.full {
            let aside = format!("audit-{}Z.jsonl", (self.inner.clock)().for_file_name());
            // If this fails, or the name is taken, the file keeps growing.
            let named = name_finished(file, &self.path(), &self.inner.directory.join(aside));
            if let Err(error) = named {
                tracing::warn!(%error, "a full audit log could not be renamed");
            }
        }
        drop(lock);
        Ok(())
    }

    /// Whether the file is the one at the path: another program may have renamed it, or it may have been
    /// deleted.
    fn is_current(&self, file: &File) -> bool {
        let same = |found: std::fs::Metadata| {
            file.metadata().is_ok_and(|own| (own.dev(), own.ino()) == (found.dev(), found.ino()))
        };
        self.path().metadata().is_ok_and(same)
    }

    fn open(&self) -> io::Result<File> {
        let path = self.path();
        let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
        let found = file.metadata()?;
        if found.is_file() && found.permissions().mode() & 0o077 != 0 {
            file.set_permissions(Permissions::from_mode(0o600))?;
        }
        // Makes a new file's name as durable as its lines.
        File::open(&self.inner.directory)?.sync_all()?;
        Ok(file)
    }

    /// The path of the current file.
    pub(super) fn path(&self) -> PathBuf {
        self.inner.directory.join(FILE)
    }

    pub(super) fn directory(&self) -> &Path {
        &self.inner.directory
    }

    pub(super) fn now(&self) -> Stamp {
        (self.inner.clock)()
    }
}

/// An exclusive lock on the file among the programs that write to it, if available within a moment: the
/// others write whole lines too, and a stopped program must not block them.
struct FileLock<'f>(&'f File);

impl<'f> FileLock<'f> {
    fn take(file: &'f File) -> Option<Self> {
        for _ in 0..TURN {
            match file.try_lock() {
                Ok(()) => return Some(Self(file)),
                Err(std::fs::TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(1)),
                Err(std::fs::TryLockError::Error(_)) => return None,
            }
        }
        None
    }
}

impl Drop for FileLock<'_> {
    fn drop(&mut self) {
        // Closing the descriptor releases the lock at the latest.
        let _ = self.0.unlock();
    }
}

fn ends_a_line(file: &File, length: u64) -> io::Result<bool> {
    let Some(last) = length.checked_sub(1) else { return Ok(true) };
    let mut byte = [0];
    file.read_exact_at(&mut byte, last)?;
    Ok(byte == *b"\n")
}

/// The line without its line break.
fn line(time: &str, by: &Actor, noted: &Noted) -> String {
    let whole = serde_json::to_string(&Line {
        time,
        event: noted.event.text(),
        who: by.who().map(shortened),
        from: by.from().map(shortened),
        request: by.request().map(shortened),
        object: shortened(&noted.object),
        outcome: noted.outcome.text(),
        detail: shortened(&noted.detail),
    });
    let mut safe = String::new();
    // JSON escapes line breaks, but not other characters that are as harmful on a terminal.
    for c in whole.unwrap_or_default().chars() {
        if is_treacherous(c) {
            let _ = write!(safe, "\\u{:04x}", u32::from(c));
        } else {
            safe.push(c);
        }
    }
    safe
}

/// As much of `text` as fits a field after escaping.
fn shortened(text: &str) -> Cow<'_, str> {
    let mut taken = 0;
    let mut fits = 0;
    for (at, c) in text.char_indices() {
        taken += match c {
            '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
            c if is_treacherous(c) => 6,
            c => c.len_utf8(),
        };
        if taken > FIELD {
            return format!("{}{CUT}", &text[..fits]).into();
        }
        if taken <= FIELD - CUT.len_utf8() {
            fits = at + c.len_utf8();
        }
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use crate::domain::audit::log::*;
    use crate::domain::audit::read::LINE;
    use crate::domain::repository::download::Download as _;
    use crate::model::audit::{AuditPage, AuditQuery};
    use serde_json::Value;
    use std::collections::BTreeSet;
    use std::fs;
    use tempfile::TempDir;

    fn clock() -> Clock {
        Arc::new(|| Stamp::from_millis(1_795_401_667_123))
    }

    fn log() -> (TempDir, Audit) {
        let directory = tempfile::tempdir().unwrap();
        let audit = Audit::new(directory.path(), clock());
        (directory, audit)
    }

    fn note(audit: &Audit, object: &str) {
        audit.note(&Actor::system(), Event::BackupDeleted, object, Ending::Ok, "");
    }

    fn lines(directory: &TempDir) -> Vec<Value> {
        let text = fs::read_to_string(directory.path().join(FILE)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn objects(audit: &Audit, query: &AuditQuery) -> Vec<String> {
        audit.read(query).unwrap().entries.into_iter().map(|entry| entry.object).collect()
    }

    #[test]
    fn an_event_is_one_line_with_who_what_and_when() {
        let (directory, audit) = log();
        let address = "::ffff:192.0.2.7".parse().ok();
        let by = Actor::reader(Some("mara".to_owned()), address, Some("r1".to_owned()));
        audit.note(&by, Event::BackupDownloaded, "f.dump.gz", Ending::Failed, "7 of 9 bytes");
        audit.note(&Actor::system(), Event::Started, "holdfast", Ending::Ok, "");
        let text = fs::read_to_string(directory.path().join(FILE)).unwrap();
        assert_eq!(
            text,
            "{\"time\":\"2026-11-23T02:41:07.123Z\",\"event\":\"backup-downloaded\",\"who\":\"mara\",\
             \"from\":\"192.0.2.7\",\"request\":\"r1\",\"object\":\"f.dump.gz\",\"outcome\":\"failed\",\
             \"detail\":\"7 of 9 bytes\"}\n\
             {\"time\":\"2026-11-23T02:41:07.123Z\",\"event\":\"started\",\"who\":null,\"from\":\"holdfast\",\
             \"request\":null,\"object\":\"holdfast\",\"outcome\":\"ok\",\"detail\":\"\"}\n"
        );
        let mode = fs::metadata(directory.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn no_two_events_have_one_name() {
        let names: BTreeSet<_> = Event::ALL.iter().map(|event| event.text()).collect();
        assert_eq!(names.len(), Event::ALL.len());
    }

    #[test]
    fn a_line_that_only_half_went_out_spoils_none_after_it() {
        let (directory, audit) = log();
        note(&audit, "one");
        let mut file = OpenOptions::new().append(true).open(directory.path().join(FILE)).unwrap();
        file.write_all(b"{\"time\":\"2026-1").unwrap();
        note(&audit, "two");
        note(&audit, "three");
        let text = fs::read_to_string(directory.path().join(FILE)).unwrap();
        assert_eq!(text.lines().filter(|line| serde_json::from_str::<Value>(line).is_ok()).count(), 3);
        assert_eq!(text.lines().count(), 4);
        assert_eq!(objects(&audit, &AuditQuery::default()), ["three", "two", "one"]);
    }

    #[test]
    fn a_log_that_was_taken_away_is_begun_anew() {
        let (directory, audit) = log();
        note(&audit, "one");
        fs::rename(directory.path().join(FILE), directory.path().join("elsewhere")).unwrap();
        note(&audit, "two");
        assert_eq!(lines(&directory).len(), 1);
        assert_eq!(fs::read_to_string(directory.path().join("elsewhere")).unwrap().lines().count(), 1);
    }

    #[test]
    fn a_full_file_is_put_aside_and_read_on() {
        let directory = tempfile::tempdir().unwrap();
        let ticks = std::sync::atomic::AtomicI64::new(0);
        let clock: Clock = Arc::new(move || {
            Stamp::from_millis(1000 * ticks.fetch_add(1, std::sync::atomic::Ordering::SeqCst))
        });
        let audit = Audit::full_at(directory.path(), clock, 400);
        let wanted: Vec<_> = (0..20).map(|i| i.to_string()).collect();
        for object in &wanted {
            note(&audit, object);
        }
        let names = audit.files().unwrap();
        assert!(names.len() > 4, "{names:?}");
        let newest_first: Vec<_> = wanted.iter().rev().cloned().collect();
        assert_eq!(objects(&audit, &AuditQuery::default()), newest_first);
        let whole = audit.open_whole().unwrap();
        let mut text = vec![0; usize::try_from(whole.size()).unwrap()];
        whole.read_exact_at(0, &mut text).unwrap();
        // Each part is the same, wherever a file ends.
        for at in (0..text.len()).step_by(97) {
            let mut part = vec![0; 150.min(text.len() - at)];
            whole.read_exact_at(at as u64, &mut part).unwrap();
            assert_eq!(part, text[at..at + part.len()]);
        }
        assert!(whole.read_exact_at(whole.size() - 1, &mut [0; 2]).is_err());
        let text = String::from_utf8(text).unwrap();
        let read: Vec<_> = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["object"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(read, wanted);
    }

    #[test]
    fn pages_and_filters_read_the_log_from_its_end() {
        let (_directory, audit) = log();
        assert_eq!(audit.read(&AuditQuery::default()).unwrap(), AuditPage::default());
        for i in 0..250 {
            // Some lines span two of the blocks that are read.
            audit.note(
                &Actor::system(),
                Event::BackupDeleted,
                &format!("file {i}"),
                Ending::Ok,
                &"x".repeat(i * 4),
            );
        }
        let by = Actor::reader(Some("mara".to_owned()), None, None);
        audit.note(&by, Event::Logout, "Session", Ending::Ok, "");
        let page = |page| AuditQuery { page, ..AuditQuery::default() };
        let first = audit.read(&page(1)).unwrap();
        assert_eq!((first.entries.len(), first.has_more), (100, true));
        assert_eq!(first.entries[0].object, "Session");
        assert_eq!(first.entries[99].object, "file 151");
        let last = audit.read(&page(3)).unwrap();
        assert_eq!((last.entries.len(), last.has_more), (51, false));
        assert_eq!(last.entries[50].object, "file 0");
        assert!(audit.read(&page(u64::MAX)).unwrap().entries.is_empty());
        let event = AuditQuery { event: "logout".to_owned(), ..AuditQuery::default() };
        let who = AuditQuery { who: "mara".to_owned(), ..AuditQuery::default() };
        let text = AuditQuery { text: "sESSi".to_owned(), ..AuditQuery::default() };
        for query in [event, who, text] {
            assert_eq!(objects(&audit, &query), ["Session"], "{query:?}");
        }
        let none = AuditQuery { who: "mar".to_owned(), ..AuditQuery::default() };
        assert!(objects(&audit, &none).is_empty());
    }

    #[test]
    fn a_line_that_is_none_of_ours_is_passed_over_however_long_it_is() {
        let (directory, audit) = log();
        note(&audit, "one");
        let mut file = OpenOptions::new().append(true).open(directory.path().join(FILE)).unwrap();
        file.write_all(&vec![b'x'; 3 * LINE]).unwrap();
        file.write_all(b"\n[1]\n\n").unwrap();
        note(&audit, "two");
        assert_eq!(objects(&audit, &AuditQuery::default()), ["two", "one"]);
    }

    #[test]
    fn a_field_is_cut_where_it_would_take_more_than_its_share() {
        for (text, cut) in [
            ("a".repeat(FIELD), "a".repeat(FIELD)),
            ("a".repeat(FIELD + 1), format!("{}…", "a".repeat(FIELD - 3))),
            ("é".repeat(600), format!("{}…", "é".repeat(510))),
            ("\u{1b}".repeat(600), format!("{}…", "\u{1b}".repeat(170))),
            (String::new(), String::new()),
        ] {
            assert_eq!(shortened(&text), cut);
            let noted = Noted::new(Event::Login, &*text, Ending::Ok, "");
            let whole = line("", &Actor::system(), &noted);
            assert!(whole.len() <= FIELD + 120, "{}", whole.len());
        }
    }

    #[test]
    fn strangers_do_not_fill_the_disk_and_what_is_left_out_is_counted() {
        let (directory, minute) =
            (tempfile::tempdir().unwrap(), Arc::new(std::sync::atomic::AtomicI64::new(0)));
        let clock: Clock = {
            let minute = Arc::clone(&minute);
            Arc::new(move || Stamp::from_millis(60_000 * minute.load(std::sync::atomic::Ordering::SeqCst)))
        };
        let audit = Audit::new(directory.path(), clock);
        let knock = || {
            let by = Actor::reader(None, None, None);
            audit.note_of_stranger(&by, Event::CrossSiteRejected, "POST /archives", Ending::Refused, "");
        };
        (0..1000).for_each(|_| knock());
        assert_eq!(lines(&directory).len(), 60);
        minute.store(1, std::sync::atomic::Ordering::SeqCst);
        knock();
        let all = lines(&directory);
        assert_eq!(all.len(), 61);
        assert_eq!(all[60]["detail"], "940 similar events were omitted before this one; ");
        knock();
        assert_eq!(lines(&directory)[61]["detail"], "");
    }

    #[test]
    fn an_event_that_cannot_be_written_holds_nothing_up() {
        let directory = tempfile::tempdir().unwrap();
        let audit = Audit::new(&directory.path().join("missing"), clock());
        note(&audit, "one");
        fs::create_dir(directory.path().join("missing")).unwrap();
        note(&audit, "two");
        assert_eq!(objects(&audit, &AuditQuery::default()), ["two"]);
    }
}
