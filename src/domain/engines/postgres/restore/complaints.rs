//! Reads what `pg_restore` writes to stderr, and assigns each complaint to its object.

use crate::domain::engines::process::redact;
use secrecy::SecretString;
use std::collections::HashSet;

/// How much of one line is kept, in bytes.
const LINE: usize = 4 << 10;
/// How much of one complaint is kept, in bytes.
const WORDS: usize = 600;
/// How many complaints are kept with their text; of later ones only the object is recorded.
const KEPT: usize = 2000;
/// libpq's messages for a lost connection. The tools run with English messages whatever the server's
/// language.
const LOST: [&str; 7] = [
    "server closed the connection",
    "no connection to the server",
    "connection to server",
    "could not send data to server",
    "could not receive data from server",
    "SSL connection has been closed",
    "SSL SYSCALL error",
];
/// Server messages for exhausted resources, which are not the backup's fault.
const SHORT: [&str; 6] = [
    "No space left on device",
    "Disk quota exceeded",
    "out of memory",
    "out of shared memory",
    "temporary file size exceeds",
    "canceling statement due to",
];

/// One complaint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// The number of the archive entry concerned.
    pub entry: Option<i64>,
    /// The text of the server or the tool, on one line.
    pub words: String,
}

/// All complaints of a run.
#[derive(Debug, Default)]
pub struct Complaints {
    line: Vec<u8>,
    /// The entry that the next complaints are about.
    about: Option<i64>,
    /// Whether a line without the tool's name continues the last complaint.
    goes_on: bool,
    /// The first complaints, with their text.
    pub list: Vec<Complaint>,
    /// The entries with complaints.
    pub entries: HashSet<i64>,
    /// The number of complaints.
    pub count: u64,
    /// The number of complaints whose text was not kept.
    pub unkept: u64,
    /// The text that tells of a lost connection, or of a server without resources.
    pub of_surroundings: Option<String>,
    /// The number of errors the tool says it ignored; `None` if it gave up instead.
    pub passed_over: Option<u64>,
}

impl Complaints {
    /// Takes the next output of the tool.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.grow(&bytes[..end]);
            bytes = &bytes[end + 1..];
            self.end_of_line();
        }
        self.grow(bytes);
    }

    /// Ends the output, and removes secrets from the complaints.
    pub fn end(&mut self, secrets: &[SecretString]) {
        self.end_of_line();
        self.of_surroundings = self
            .list
            .iter()
            .find(|complaint| is_of_surroundings(&complaint.words))
            .map(|complaint| redact(&plain(&complaint.words), secrets));
        for complaint in &mut self.list {
            complaint.words = redact(&plain(&complaint.words), secrets);
        }
    }

    /// The text of the first complaint about an entry.
    pub fn about(&self, entry: i64) -> Option<&str> {
        let found = self.list.iter().find(|complaint| complaint.entry == Some(entry))?;
        Some(&found.words)
    }

    /// Whether the tool gave up instead of going on.
    pub fn has_given_up(&self) -> bool {
        self.count > 0 && self.passed_over.is_none()
    }

    fn grow(&mut self, bytes: &[u8]) {
        let room = LINE.saturating_sub(self.line.len());
        self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn end_of_line(&mut self) {
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).into_owned();
        let Some(said) = line.strip_prefix("pg_restore: ") else {
            if let Some(count) = line.strip_prefix("WARNING: errors ignored on restore: ") {
                self.passed_over = count.trim().parse().ok();
            } else if line.starts_with("Command was: ") {
                self.goes_on = false;
            } else if let Some(last) = self.list.last_mut().filter(|_| self.goes_on)
                && last.words.len() < WORDS
                && self.count <= KEPT as u64
            {
                last.words.push('\n');
                last.words.push_str(&line);
            }
            return;
        };
        self.goes_on = false;
        // Before version 12, a module's name comes first.
        let said = said.strip_prefix("[archiver (db)] ").unwrap_or(said);
        let said = said.strip_prefix("[archiver] ").unwrap_or(said);
        if let Some(entry) =
            said.strip_prefix("from TOC entry ").or_else(|| said.strip_prefix("Error from TOC entry "))
        {
            self.about = entry.split(';').next().and_then(|number| number.trim().parse().ok());
        } else if let Some(count) = said.split_once("errors ignored on restore: ") {
            self.passed_over = count.1.trim().parse().ok();
        } else if let Some(words) =
            said.strip_prefix("error: ").or_else(|| said.starts_with("could not ").then_some(said))
        {
            self.count += 1;
            self.goes_on = true;
            self.entries.extend(self.about);
            if self.list.len() < KEPT {
                self.list.push(Complaint { entry: self.about, words: words.to_owned() });
            } else {
                self.unkept += 1;
            }
        } else if said.starts_with("while ") || said.starts_with("Error while ") {
            self.about = None;
        }
    }
}

/// Whether a complaint is about the connection or the server's resources. Text from user data, in later lines
/// or within a line, does not count.
fn is_of_surroundings(words: &str) -> bool {
    let of_library = |line: &str| {
        let line =
            line.split_once(": ").filter(|(head, _)| is_introduction(head)).map_or(line, |(_, rest)| rest);
        LOST.iter().any(|sign| line.starts_with(sign))
    };
    let first = words.lines().next().unwrap_or_default();
    words.lines().any(of_library) || SHORT.iter().any(|sign| first.contains(sign))
}

fn is_introduction(head: &str) -> bool {
    head.starts_with("could not ") || head.starts_with("COPY failed") || head.starts_with("error returned by")
}

/// The server's message on one line, without its introduction and without quoted rows.
fn plain(words: &str) -> String {
    let words = words.strip_prefix("could not execute query: ").unwrap_or(words);
    let words = words.strip_prefix("ERROR:").unwrap_or(words);
    let is_quoting = |line: &&str| {
        line.starts_with("CONTEXT:")
            || line.contains("Failing row contains")
            || line.starts_with("DETAIL:  Key (")
    };
    let words: String = words.lines().filter(|line| !is_quoting(line)).collect::<Vec<_>>().join(" ");
    let mut line = words.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = line.char_indices().nth(WORDS) {
        line.truncate(end);
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use crate::domain::engines::postgres::restore::complaints::*;

    fn heard(text: &str, piece: usize) -> Complaints {
        let mut complaints = Complaints::default();
        text.as_bytes().chunks(piece).for_each(|piece| complaints.feed(piece));
        complaints.end(&["hunter2".into()]);
        complaints
    }

    #[test]
    fn each_complaint_belongs_to_its_entry() {
        let text = "pg_restore: while PROCESSING TOC:\n\
            pg_restore: from TOC entry 2; 3079 16385 EXTENSION fdw \n\
            pg_restore: error: could not execute query: ERROR:  permission denied to create extension \"fdw\"\n\
            HINT:  Must be superuser hunter2.\n\
            Command was: CREATE EXTENSION fdw;\n\
            pg_restore: from TOC entry 999; a line of the command, which is no TOC entry\n\n\n\
            pg_restore: from TOC entry 215; 1259 16390 TABLE t owner\n\
            pg_restore: error: could not execute query: ERROR:  type \"geo\" does not exist\n\
            LINE 1: CREATE TABLE t (a geo);\n\
            Command was: CREATE TABLE t (a geo);\n\n\
            pg_restore: error: COPY failed for table \"t\": ERROR:  relation does not exist\n\
            pg_restore: warning: errors ignored on restore: 3\n";
        for piece in [1, 7, 4096] {
            let heard = heard(text, piece);
            assert_eq!((heard.count, heard.passed_over, heard.list.len()), (3, Some(3), 3));
            assert_eq!(
                heard.about(2),
                Some("permission denied to create extension \"fdw\" HINT: Must be superuser ***.")
            );
            assert!(heard.about(215).unwrap().contains("type \"geo\" does not exist LINE 1:"));
            assert_eq!(heard.of_surroundings, None);
        }
    }

    #[test]
    fn older_tools_and_lost_connections_are_understood() {
        let old = heard(
            "pg_restore: [archiver (db)] Error while PROCESSING TOC:\n\
             pg_restore: [archiver (db)] Error from TOC entry 7; 0 0 COMMENT x \n\
             pg_restore: [archiver (db)] could not execute query: ERROR:  must be owner of x\n\
             WARNING: errors ignored on restore: 1\n",
            5,
        );
        assert_eq!((old.about(7), old.count), (Some("must be owner of x"), 1));
        let lost = heard(
            "pg_restore: error: could not execute query: server closed the connection unexpectedly\n",
            4096,
        );
        assert!(lost.of_surroundings.is_some() && lost.passed_over.is_none());
        // What a row or a function says is not what the server says.
        let quoted = heard(
            "pg_restore: error: COPY failed for table \"log\": ERROR:  new row violates check constraint\n\
             DETAIL:  Failing row contains (1, No space left on device).\n\
             CONTEXT:  COPY log, line 1: \"1 could not send data to server\"\n",
            4096,
        );
        assert_eq!(quoted.of_surroundings, None);
        assert!(!quoted.list[0].words.contains("No space"), "{:?}", quoted.list);
        let full = heard(
            "pg_restore: error: COPY failed for table \"log\": ERROR:  could not extend file: No space left on device\n",
            4096,
        );
        assert!(full.of_surroundings.is_some());
    }
}
