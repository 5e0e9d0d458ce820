//! SQLite files as other programs leave them: each goes through backup, verify, a restore to a new file and a restore
//! over one that is there, and what is told of it is right. Only what is damaged is refused.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod applications;
mod damages;
mod faults;
mod layouts;
mod left;

use crate::support::desk::{Desk, names_in, small_database};
use flate2::read::GzDecoder;
use holdfast::domain::engines::{Cancel, Target};
use holdfast::domain::error::Error;
use holdfast::domain::jobs::Unwatched;
use holdfast::domain::operations::check::Report;
use holdfast::domain::operations::restore::RestoreOptions;
use holdfast::domain::repository::manifest::Manifest;
use holdfast::model::{DatabaseHealth, Proof};
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use rusqlite::functions::FunctionFlags;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// How a file comes to be.
enum Make {
    /// By statements.
    Sql(&'static str),
    /// By more than that.
    By(fn(&Path)),
}
use Make::{By, Sql};

/// What has to come out.
enum Right {
    /// All of it is checked, and there is nothing to tell: so many tables and rows.
    Sound(u64, u64),
    /// A backup with remarks that hold these words, of which so much is proved, with so many tables and rows.
    Remark(Proof, u64, u64, &'static [&'static str]),
    /// The same, but only a verification tells it.
    Note(u64, u64, &'static str),
    /// No backup, and a sentence that holds these words.
    Refused(&'static str),
}
use Right::{Note, Refused, Remark, Sound};

type Kind = (&'static str, Make, Right);

fn open(path: &Path) -> Connection {
    Connection::open(path).unwrap()
}

fn run(path: &Path, sql: &str) -> Connection {
    let connection = open(path);
    connection.execute_batch(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    connection
}

/// Changes the schema behind SQLite's back.
fn forge(path: &Path, sql: &str) {
    let connection = open(path);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, false).unwrap();
    connection
        .execute_batch(&format!("PRAGMA writable_schema = ON; {sql}; PRAGMA writable_schema = RESET;"))
        .unwrap();
}

fn root_of(path: &Path, name: &str) -> (u64, u64) {
    let connection = open(path);
    let size: i64 = connection.query_row("PRAGMA page_size", (), |row| row.get(0)).unwrap();
    let root: i64 = connection
        .query_row("SELECT rootpage FROM sqlite_schema WHERE name = ?1", [name], |row| row.get(0))
        .unwrap();
    ((root.unsigned_abs() - 1) * size.unsigned_abs(), size.unsigned_abs())
}

/// Writes into the root page of something, and gives what was there.
fn hit(path: &Path, name: &str, at: u64, bytes: &[u8]) {
    let (root, _) = root_of(path, name);
    fs::OpenOptions::new().write(true).open(path).unwrap().write_all_at(bytes, root + at).unwrap();
}

fn write_at(path: &Path, at: u64, bytes: &[u8]) {
    fs::OpenOptions::new().write(true).open(path).unwrap().write_all_at(bytes, at).unwrap();
}

fn shell(path: &Path, commands: &[&str]) {
    let done = Command::new("sqlite3").arg(path).args(commands).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

const ROWS: &str = "CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT, c BLOB);
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
    INSERT INTO t SELECT i, 'row ' || i, randomblob(i % 90) FROM n;";

fn unicase(connection: &Connection) {
    connection
        .create_collation("unicase", |one: &str, other: &str| {
            // By the last letter first: no order that SQLite has.
            let turned = |text: &str| text.to_lowercase().chars().rev().collect::<String>();
            turned(one).cmp(&turned(other))
        })
        .unwrap();
}

fn with_collation(path: &Path, sql: &str) {
    let connection = open(path);
    unicase(&connection);
    connection.execute_batch(sql).unwrap();
}

fn with_function(path: &Path, sql: &str) {
    let connection = open(path);
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    for (name, arguments) in [("soundslike", 1), ("lower", 2)] {
        let made = connection.create_scalar_function(name, arguments, flags, |context| {
            Ok(context.get::<String>(0)?.replace(['a', 'e', 'i', 'o', 'u'], ""))
        });
        made.unwrap();
    }
    connection.execute_batch(sql).unwrap();
}

const WORDS: &str = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300)
    INSERT INTO t (name) SELECT 'Word' || char(65 + i % 26) || i FROM n;";

fn noise(size: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..size.div_ceil(8)).flat_map(|_| next()).take(size).collect()
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The bytes of a database, but for those that count its changes and those of its schema, and say its journal.
fn comparable(path: &Path) -> Vec<u8> {
    let mut bytes = fs::read(path).unwrap();
    for range in [18..20, 24..28, 40..44, 92..100] {
        bytes[range].fill(0);
    }
    bytes
}

fn verified(desk: &Desk, file: &str) -> Report {
    let verifications = desk.holdfast.verifications();
    verifications.verify(file, &RestoreOptions::default(), &Cancel::default(), &Unwatched).unwrap()
}

/// Takes one kind all the way, and gives what is wrong with what came of it.
fn try_kind((name, how, right): &Kind) -> Result<(), String> {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("app.db");
    match how {
        Sql(sql) => drop(run(&path, sql)),
        By(make) => make(&path),
    }
    let before = fs::read(&path).unwrap();
    let database = "app".parse().unwrap();
    let desk = Desk::of(vec![("app".parse().unwrap(), Target::of_file(path.clone()))]);
    let made = desk.holdfast.creations().back_up(&database, &Cancel::default(), &Unwatched);
    let (proof, tables, rows, words, told_at_backup) = match (right, &made) {
        (Refused(words), Err(error)) => {
            let said = error.to_string();
            if !said.contains(words) {
                return Err(format!("{name}: refused by other words: {said}"));
            }
            if let Error::SourceDamaged { .. } = error {
                // The same file from elsewhere is found damaged, too.
                let file = home.path().join("elsewhere.dump.gz");
                let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                std::io::Write::write_all(&mut packed, &before).unwrap();
                fs::write(&file, packed.finish().unwrap()).unwrap();
                let report = verified(&desk, file.to_str().unwrap());
                if report.level != Proof::Damaged {
                    return Err(format!("{name}: verified as {:?}", report.level));
                }
            }
            return Ok(());
        }
        (Refused(_), Ok(_)) => return Err(format!("{name}: a backup was made")),
        (_, Err(error)) => return Err(format!("{name}: {error}")),
        (Sound(tables, rows), Ok(_)) => (Proof::Restored, *tables, *rows, Vec::new(), true),
        (Remark(proof, tables, rows, words), Ok(_)) => (*proof, *tables, *rows, words.to_vec(), true),
        (Note(tables, rows, words), Ok(_)) => (Proof::Restored, *tables, *rows, vec![*words], false),
    };
    let made = made.unwrap();
    let file = made.file.as_str();
    // The page of databases says that it can be reached, and what SQLite minds.
    let is_refused_by_sqlite =
        words.iter().any(|words| words.contains("refuses the schema") || words.contains("function lower"));
    match desk.holdfast.databases().test(&database).unwrap().health {
        DatabaseHealth::Reachable { warning, .. }
            if warning.as_ref().is_some_and(|warning| warning.contains("refuses the schema"))
                == is_refused_by_sqlite => {}
        other => return Err(format!("{name}: the page says {other:?}")),
    }
    let manifest = Manifest::read(&fs::read(desk.backup(&format!("{file}.manifest.json"))).unwrap()).unwrap();
    let report = verified(&desk, file);
    let mut told = vec![("the report", report.notes.join(" "))];
    if told_at_backup {
        told.push(("the manifest", manifest.remarks.join(" ")));
        told.push(("the job", made.warnings.clone().unwrap_or_default()));
    }
    for (whose, said) in told {
        if words.is_empty() != said.is_empty() || words.iter().any(|words| !said.contains(words)) {
            return Err(format!("{name}: {whose} says: {said}"));
        }
    }
    let counted = (report.level, report.tables, report.rows);
    if counted != (proof, Some(tables), Some(rows))
        || (manifest.tables, manifest.rows) != (Some(tables), Some(rows))
    {
        return Err(format!(
            "{name}: {counted:?}, and by the manifest {:?} {:?}",
            manifest.tables, manifest.rows
        ));
    }
    // Back as a new file, byte for byte, and over another one.
    let (new, over) = (home.path().join("new.db"), home.path().join("over.db"));
    small_database(&over);
    for (target, overwrite) in [(&new, false), (&over, true)] {
        let options = RestoreOptions { overwrite, ..RestoreOptions::default() };
        let restored = desk.holdfast.restores().restore(
            file,
            &Target::of_file(target.clone()),
            &options,
            &Cancel::default(),
            &Unwatched,
        );
        restored.map_err(|error| format!("{name}: restoring: {error}"))?;
    }
    let mut content = Vec::new();
    GzDecoder::new(fs::File::open(desk.backup(file)).unwrap()).read_to_end(&mut content).unwrap();
    if fs::read(&new).unwrap() != content {
        return Err(format!("{name}: what was restored is not the content"));
    }
    let left = |path: &Path| ["-wal", "-shm", "-journal"].iter().any(|suffix| beside(path, suffix).exists());
    let foreign = names_in(home.path()).into_iter().find(|name| name.starts_with('.'));
    if left(&new) || left(&over) || foreign.is_some() {
        return Err(format!("{name}: something was left behind: {:?}", names_in(home.path())));
    }
    if comparable(&over) != comparable(&new) {
        return Err(format!("{name}: what was restored over another is not the content"));
    }
    Ok(())
}

fn all_are_right(kinds: &[Kind]) {
    let wrong: Vec<_> = kinds.iter().filter_map(|kind| try_kind(kind).err()).collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), kinds.len(), wrong.join("\n"));
}

#[test]
fn files_of_every_layout_come_back() {
    all_are_right(&layouts::all());
}

#[test]
fn what_only_an_application_has_is_named_and_stops_no_backup() {
    all_are_right(&applications::all());
}

#[test]
fn what_breaks_only_rules_and_indexes_is_backed_up_with_its_remedy() {
    all_are_right(&faults::all());
}

#[test]
fn what_is_damaged_is_refused_whatever_stands_before_it() {
    all_are_right(&damages::all());
}

#[test]
fn there_are_fifty_kinds() {
    assert!(layouts::all().len() + applications::all().len() + faults::all().len() >= 50);
}
