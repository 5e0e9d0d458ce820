//! SQLite files as other programs leave them: each goes through backup, verify, a restore to a new file and a restore
//! over one that is there, and what is told of it is right. Only what is damaged is refused.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use crate::support::desk::{Desk, small_database};
use flate2::read::GzDecoder;
use holdfast::model::Proof;
use holdfast::vault::dump::{Cancel, Target};
use holdfast::vault::error::VaultError;
use holdfast::vault::jobs::Unwatched;
use holdfast::vault::manifest::Manifest;
use holdfast::vault::restore::Options;
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

fn layouts() -> Vec<Kind> {
    vec![
        ("plain", Sql(ROWS), Sound(1, 500)),
        ("pages of 512", By(|path| drop(run(path, &format!("PRAGMA page_size = 512; {ROWS}")))), Sound(1, 500)),
        ("pages of 1024", By(|path| drop(run(path, &format!("PRAGMA page_size = 1024; {ROWS}")))), Sound(1, 500)),
        ("pages of 65536", By(|path| drop(run(path, &format!("PRAGMA page_size = 65536; {ROWS}")))), Sound(1, 500)),
        ("auto_vacuum", By(|path| drop(run(path, &format!("PRAGMA auto_vacuum = FULL; {ROWS}")))), Sound(1, 500)),
        (
            "incremental auto_vacuum with free pages",
            By(|path| drop(run(path, &format!("PRAGMA auto_vacuum = INCREMENTAL; {ROWS} DELETE FROM t WHERE a > 9;")))),
            Sound(1, 9),
        ),
        ("UTF-16le", By(|path| drop(run(path, &format!("PRAGMA encoding = 'UTF-16le'; {ROWS}")))), Sound(1, 500)),
        ("UTF-16be", By(|path| drop(run(path, &format!("PRAGMA encoding = 'UTF-16be'; {ROWS}")))), Sound(1, 500)),
        (
            "without rowid",
            Sql("CREATE TABLE t (a TEXT COLLATE NOCASE, b INT, c, PRIMARY KEY (b DESC, a)) WITHOUT ROWID;
                 WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900)
                 INSERT INTO t SELECT 'k' || i, i % 7, zeroblob(i) FROM n; CREATE INDEX i ON t (c);"),
            Sound(1, 900),
        ),
        ("strict", Sql("CREATE TABLE t (a INT, b TEXT, c ANY) STRICT; INSERT INTO t VALUES (1, 'x', x'00');"), Sound(1, 1)),
        (
            "reserved bytes",
            By(|path| {
                shell(path, &["CREATE TABLE x(a)"]);
                shell(path, &[".filectrl reserve_bytes 40", "VACUUM"]);
                drop(run(path, ROWS));
                assert_eq!(fs::read(path).unwrap()[20], 40);
            }),
            Sound(2, 500),
        ),
        ("numbers of its own", Sql("PRAGMA user_version = 77; PRAGMA application_id = 1; CREATE TABLE t (a);"), Sound(1, 0)),
        (
            "huge values",
            Sql("CREATE TABLE t (a BLOB, b); INSERT INTO t VALUES (zeroblob(70000000), 1), (zeroblob(3000000), 2);"),
            Sound(1, 2),
        ),
        ("empty tables", Sql("CREATE TABLE a (x); CREATE TABLE b (x, UNIQUE (x));"), Sound(2, 0)),
        (
            "two thousand tables",
            By(|path| {
                let connection = open(path);
                let all = (0..2000).map(|i| format!("CREATE TABLE t{i} (a UNIQUE); INSERT INTO t{i} VALUES ({i});"));
                connection.execute_batch(&format!("BEGIN; {} COMMIT;", all.collect::<String>())).unwrap();
            }),
            Sound(2000, 2000),
        ),
        (
            "odd names",
            By(|path| {
                let names = ["a\"b", "a'b", "line\nbreak", "\u{1}\u{7f}", "ü 表", "select", "", "%s", "a;--", "[x]", "`y`", "7"];
                let connection = open(path);
                for name in names {
                    let name = name.replace('"', "\"\"");
                    let made = format!(
                        "CREATE TABLE \"{name}\" (\"{name}\" TEXT UNIQUE, \"and {name}\"); INSERT INTO \"{name}\" VALUES (1, 2);
                         CREATE INDEX \"i{name}\" ON \"{name}\" (\"and {name}\");"
                    );
                    connection.execute_batch(&made).unwrap_or_else(|error| panic!("{made}: {error}"));
                }
            }),
            Sound(12, 12),
        ),
        ("a view of nothing", Sql("CREATE TABLE t (a); CREATE VIEW v AS SELECT * FROM gone; CREATE VIEW w AS SELECT b FROM t;"), Sound(1, 0)),
        (
            "a trigger with a function of the application",
            Sql("CREATE TABLE t (a); INSERT INTO t VALUES (1);
                 CREATE TRIGGER r AFTER INSERT ON t BEGIN SELECT notify_me(new.a); END;"),
            Sound(1, 1),
        ),
        (
            "broken foreign keys",
            Sql("PRAGMA foreign_keys = OFF; CREATE TABLE p (a INTEGER PRIMARY KEY); CREATE TABLE c (a REFERENCES p);
                 INSERT INTO c VALUES (1), (2);"),
            Note(2, 2, "In 2 rows, a foreign key refers to a row that is not there"),
        ),
        (
            "a sequence that lies",
            Sql("CREATE TABLE t (a INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO t VALUES (9);
                 UPDATE sqlite_sequence SET seq = 'nine'; INSERT INTO sqlite_sequence VALUES ('gone', NULL);"),
            Sound(1, 1),
        ),
        (
            "statistics that lie",
            Sql("CREATE TABLE t (a); CREATE INDEX i ON t (a); INSERT INTO t VALUES (1), (2); ANALYZE;
                 UPDATE sqlite_stat1 SET stat = 'no number', idx = 'gone'; INSERT INTO sqlite_stat4 VALUES ('t', 'i', 'x', 'y', 'z', x'01');"),
            Sound(1, 2),
        ),
        (
            "a journal that persists",
            By(|path| {
                drop(run(path, &format!("PRAGMA journal_mode = PERSIST; {ROWS}")));
                assert!(fs::metadata(beside(path, "-journal")).unwrap().len() > 0);
            }),
            Sound(1, 500),
        ),
        ("a journal that was truncated", By(|path| drop(run(path, &format!("PRAGMA journal_mode = TRUNCATE; {ROWS}")))), Sound(1, 500)),
        (
            "a transaction that was cut off",
            By(|path| {
                let open = run(path, &format!("{ROWS} PRAGMA cache_size = 2; BEGIN; UPDATE t SET b = zeroblob(900); DELETE FROM t WHERE a > 3;"));
                let at = path.with_extension("cut");
                fs::copy(path, &at).unwrap();
                fs::copy(beside(path, "-journal"), beside(&at, "-journal")).unwrap();
                drop(open);
                fs::rename(&at, path).unwrap();
                fs::rename(beside(&at, "-journal"), beside(path, "-journal")).unwrap();
            }),
            Refused("left in the middle of a transaction"),
        ),
        (
            "a log left behind",
            By(|path| {
                let open = run(path, &format!("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; {ROWS}"));
                let at = path.with_extension("cut");
                fs::copy(path, &at).unwrap();
                fs::copy(beside(path, "-wal"), beside(&at, "-wal")).unwrap();
                drop(open);
                fs::rename(&at, path).unwrap();
                fs::rename(beside(&at, "-wal"), beside(path, "-wal")).unwrap();
            }),
            Sound(1, 500),
        ),
        ("a log that is gone", By(|path| drop(run(path, &format!("PRAGMA journal_mode = WAL; {ROWS}")))), Sound(1, 500)),
        (
            "a file to read only",
            By(|path| {
                drop(run(path, ROWS));
                fs::set_permissions(path, fs::Permissions::from_mode(0o444)).unwrap();
            }),
            Sound(1, 500),
        ),
        (
            "a link",
            By(|path| {
                let real = path.with_extension("real");
                drop(run(&real, ROWS));
                symlink(&real, path).unwrap();
            }),
            Sound(1, 500),
        ),
        (
            "the old file format",
            By(|path| {
                let connection = open(path);
                connection.set_db_config(DbConfig::SQLITE_DBCONFIG_LEGACY_FILE_FORMAT, true).unwrap();
                connection.execute_batch(&format!("{ROWS} CREATE INDEX i ON t (b DESC);")).unwrap();
                drop(connection);
                assert_eq!(fs::read(path).unwrap()[47], 1);
            }),
            Sound(1, 500),
        ),
        (
            "all kinds of indexes",
            Sql("CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT, c REAL, UNIQUE (b, c));
                 WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300)
                 INSERT INTO t SELECT i, 'x' || i, i / 3.0 FROM n;
                 CREATE INDEX p ON t (b) WHERE c > 50; CREATE INDEX e ON t (upper(b), c * 2); CREATE INDEX d ON t (c DESC, b COLLATE NOCASE);"),
            Sound(1, 300),
        ),
        (
            "generated columns",
            Sql("CREATE TABLE t (a INT, v AS (a * 2), s TEXT AS ('s' || a) STORED NOT NULL); INSERT INTO t VALUES (1), (2);
                 CREATE INDEX i ON t (v); CREATE INDEX j ON t (s);"),
            Sound(1, 2),
        ),
        ("one page", Sql("PRAGMA user_version = 1;"), Sound(0, 0)),
        ("no byte", By(|path| fs::write(path, "").unwrap()), Refused("is empty (0 bytes)")),
        (
            "free pages",
            By(|path| drop(run(path, &format!("{ROWS} CREATE TABLE u AS SELECT * FROM t; DROP TABLE t;")))),
            Sound(1, 500),
        ),
        (
            "columns that came and went",
            Sql("CREATE TABLE t (a, b); INSERT INTO t VALUES (1, 2); ALTER TABLE t ADD COLUMN c NOT NULL DEFAULT 'long ago';
                 INSERT INTO t VALUES (3, 4, 5); ALTER TABLE t DROP COLUMN b; ALTER TABLE t RENAME COLUMN a TO \"a b\";"),
            Sound(1, 2),
        ),
        (
            "a thousand columns",
            By(|path| {
                let columns: Vec<_> = (0..1000).map(|i| format!("c{i} DEFAULT {i}")).collect();
                drop(run(path, &format!("CREATE TABLE t ({}); INSERT INTO t DEFAULT VALUES;", columns.join(", "))));
            }),
            Sound(1, 1),
        ),
        (
            "a statement longer than a page",
            By(|path| drop(run(path, &format!("CREATE TABLE t (a /* {} */); INSERT INTO t VALUES (1);", "long ".repeat(20_000))))),
            Sound(1, 1),
        ),
        (
            "numbers at their ends",
            Sql("CREATE TABLE t (a INTEGER PRIMARY KEY, b); INSERT INTO t VALUES (-9223372036854775808, 9e999), (0, -0.0), (9223372036854775807, NULL);"),
            Sound(1, 3),
        ),
        (
            "room for later",
            By(|path| {
                drop(run(path, ROWS));
                let size = fs::metadata(path).unwrap().len();
                fs::OpenOptions::new().write(true).open(path).unwrap().set_len(size + 65_536).unwrap();
            }),
            Sound(1, 500),
        ),
        (
            "text that is none",
            Sql("CREATE TABLE t (a TEXT); INSERT INTO t VALUES (CAST(x'ff00fe' AS TEXT)), ('a' || char(0) || 'b');"),
            Remark(Proof::Restored, 1, 2, &["In t.a, 1 text", "not valid UTF-8"]),
        ),
        (
            "FTS3 and FTS4",
            Sql("CREATE TABLE own (a); CREATE VIRTUAL TABLE f USING fts3(x); CREATE VIRTUAL TABLE g USING fts4(x, tokenize=porter);
                 INSERT INTO f VALUES ('the quick fox'); INSERT INTO g VALUES ('lazy dogs'), ('cats');"),
            Sound(1, 0),
        ),
        (
            "FTS5 of three kinds",
            Sql("CREATE TABLE own (id INTEGER PRIMARY KEY, body); INSERT INTO own VALUES (1, 'hello world');
                 CREATE VIRTUAL TABLE f USING fts5(x); INSERT INTO f VALUES ('hello');
                 CREATE VIRTUAL TABLE g USING fts5(body, content='own', content_rowid='id'); INSERT INTO g(g) VALUES ('rebuild');
                 CREATE VIRTUAL TABLE h USING fts5(x, content=''); INSERT INTO h (rowid, x) VALUES (1, 'x');"),
            Sound(1, 1),
        ),
        (
            "r-trees",
            Sql("CREATE TABLE places_parent_names (a); CREATE VIRTUAL TABLE r USING rtree(id, x0, x1, +name);
                 INSERT INTO r VALUES (1, 0, 1, 'here'), (2, 5, 6, 'there');"),
            Sound(1, 0),
        ),
    ]
}

fn applications() -> Vec<Kind> {
    vec![
        (
            "a collation of the application",
            By(|path| {
                with_collation(
                    path,
                    &format!(
                        "CREATE TABLE t (name TEXT COLLATE unicase); CREATE UNIQUE INDEX i ON t (name); {WORDS}"
                    ),
                );
            }),
            Remark(
                Proof::Readable,
                1,
                300,
                &[
                    "Indexes with the collation unicase could not be checked",
                    "only the application has it: i.",
                ],
            ),
        ),
        (
            "a collation that orders the rows themselves",
            By(|path| {
                with_collation(
                    path,
                    &format!(
                        "CREATE TABLE t (name TEXT COLLATE unicase PRIMARY KEY, b) WITHOUT ROWID; {WORDS} CREATE INDEX j ON t (b);"
                    ),
                );
            }),
            Remark(Proof::Readable, 1, 300, &["collation unicase", "the order of t", "j"]),
        ),
        (
            "a collation without an index",
            By(|path| with_collation(path, &format!("CREATE TABLE t (name TEXT COLLATE unicase); {WORDS}"))),
            Sound(1, 300),
        ),
        (
            "a collation in one index and NULL beside it",
            By(|path| {
                with_collation(
                    path,
                    &format!(
                        "CREATE TABLE t (name TEXT COLLATE unicase, b TEXT); CREATE INDEX i ON t (name); {WORDS}"
                    ),
                );
                forge(
                    path,
                    "UPDATE sqlite_schema SET sql = replace(sql, 'b TEXT', 'b TEXT NOT NULL') WHERE name = 't'",
                );
            }),
            Remark(Proof::Readable, 1, 300, &["NULL value in t.b", "of 299 more", "collation unicase"]),
        ),
        (
            "a function of the application in indexes",
            By(|path| {
                with_function(
                    path,
                    &format!(
                        "CREATE TABLE t (name TEXT, b); {WORDS} CREATE INDEX i ON t (soundslike(name)); CREATE INDEX j ON t (b) WHERE soundslike(name) > 'M'; CREATE INDEX k ON t (name);"
                    ),
                );
            }),
            Remark(
                Proof::Readable,
                1,
                300,
                &["Indexes with the function soundslike could not be checked", "i, j."],
            ),
        ),
        (
            "a function of the application in a CHECK",
            By(|path| {
                with_function(
                    path,
                    &format!("CREATE TABLE t (name TEXT CHECK (soundslike(name) IS NOT NULL)); {WORDS}"),
                )
            }),
            Remark(
                Proof::Readable,
                1,
                300,
                &["Rules and generated columns with the function soundslike", "in t."],
            ),
        ),
        (
            "a function of the application in generated columns",
            By(|path| {
                with_function(
                    path,
                    &format!(
                        "CREATE TABLE t (name TEXT, v AS (soundslike(name)) NOT NULL, s AS (soundslike(name)) STORED); {WORDS} CREATE INDEX i ON t (v);"
                    ),
                );
            }),
            Remark(Proof::Readable, 1, 300, &["function soundslike", "i.", "in t."]),
        ),
        (
            "a function that SQLite has with other arguments",
            By(|path| {
                with_function(
                    path,
                    &format!("CREATE TABLE t (name TEXT); {WORDS} CREATE INDEX i ON t (lower(name, 'de'));"),
                )
            }),
            Remark(Proof::Readable, 1, 300, &["function lower"]),
        ),
        (
            "a tokenizer of the application",
            By(|path| {
                drop(run(
                    path,
                    "CREATE TABLE t (a NOT NULL); INSERT INTO t VALUES (1); CREATE VIRTUAL TABLE f USING fts5(x, tokenize=porter); INSERT INTO f VALUES ('hello');",
                ));
                forge(
                    path,
                    "UPDATE sqlite_schema SET sql = replace(sql, 'porter', 'snowball') WHERE name = 'f'",
                );
            }),
            Remark(
                Proof::Readable,
                1,
                1,
                &["The virtual table f could not be opened", "no such tokenizer: snowball"],
            ),
        ),
        (
            "an old tokenizer of the application",
            By(|path| {
                drop(run(
                    path,
                    "CREATE TABLE t (a); CREATE VIRTUAL TABLE f USING fts4(x, tokenize=porter); INSERT INTO f VALUES ('hello');",
                ));
                forge(
                    path,
                    "UPDATE sqlite_schema SET sql = replace(sql, 'porter', 'icu_de') WHERE name = 'f'",
                );
            }),
            Remark(Proof::Readable, 1, 0, &["The virtual table f could not be opened", "icu_de"]),
        ),
        (
            "a module of the application",
            By(|path| {
                drop(run(
                    path,
                    "CREATE TABLE t (a); CREATE TABLE vec_chunks (a); CREATE TABLE vec_rowids (a); CREATE TABLE vec_vector_chunks00 (a);
                     INSERT INTO t VALUES (1); INSERT INTO vec_chunks VALUES (1), (2);",
                ));
                forge(
                    path,
                    "INSERT INTO sqlite_schema VALUES ('table', 'vec', 'vec', 0, 'CREATE VIRTUAL TABLE vec USING vec0(e float[4])')",
                );
            }),
            Remark(
                Proof::Readable,
                1,
                1,
                &["The virtual table vec could not be opened", "no such module: vec0"],
            ),
        ),
        (
            "a CHECK that cannot be evaluated",
            By(|path| {
                drop(run(
                    path,
                    "CREATE TABLE t (j TEXT, n TEXT); INSERT INTO t VALUES ('no JSON', NULL), ('{}', 1);",
                ));
                forge(
                    path,
                    "UPDATE sqlite_schema SET sql = 'CREATE TABLE t (j TEXT CHECK (json_extract(j, ''$.a'') IS NULL), n TEXT NOT NULL)' WHERE name = 't'",
                );
            }),
            Remark(
                Proof::Readable,
                1,
                2,
                &["The CHECK of the table t could not be evaluated (malformed JSON)", "NULL value in t.n"],
            ),
        ),
        (
            "syntax of a newer SQLite",
            By(|path| {
                drop(run(
                    path,
                    &format!(
                        "{ROWS} CREATE TABLE new (a); INSERT INTO new VALUES (1), (2), (3); CREATE INDEX n ON new (a);"
                    ),
                ));
                forge(
                    path,
                    "UPDATE sqlite_schema SET sql = 'CREATE TABLE new (a TEXT ENCRYPTED = 1)' WHERE name = 'new'",
                );
            }),
            Remark(
                Proof::Readable,
                2,
                503,
                &["refuses the schema (malformed database schema (new)", "page by page only: new"],
            ),
        ),
        (
            "a file format of a newer SQLite",
            By(|path| {
                drop(run(path, ROWS));
                write_at(path, 44, &5_u32.to_be_bytes());
            }),
            Remark(
                Proof::Readable,
                1,
                500,
                &["refuses the schema (unsupported file format)", "page by page only: t"],
            ),
        ),
        (
            "a view that no SQLite reads",
            By(|path| {
                drop(run(path, &format!("{ROWS} CREATE VIEW v AS SELECT 1;")));
                forge(
                    path,
                    "UPDATE sqlite_schema SET sql = 'CREATE VIEW v AS SELECT FROM WHERE' WHERE name = 'v'",
                );
            }),
            Remark(Proof::Readable, 1, 500, &["refuses the schema (malformed database schema (v)"]),
        ),
        (
            "encrypted",
            By(|path| fs::write(path, noise(65_536)).unwrap()),
            Refused("is not a SQLite database, or is encrypted"),
        ),
    ]
}

fn faults() -> Vec<Kind> {
    vec![
        (
            "NULL where there should be none",
            By(|path| {
                drop(run(path, "CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT); INSERT INTO t (b) VALUES ('x'), (NULL);"));
                forge(path, "UPDATE sqlite_schema SET sql = replace(sql, 'b TEXT', 'b TEXT NOT NULL') WHERE name = 't'");
            }),
            Remark(Proof::Restored, 1, 2, &["NULL value in t.b", "declared NOT NULL", "UPDATE"]),
        ),
        (
            "a CHECK that does not hold",
            Sql("CREATE TABLE t (a CHECK (a > 0)); PRAGMA ignore_check_constraints = ON; INSERT INTO t VALUES (1), (-1), (-2);"),
            Remark(Proof::Restored, 1, 3, &["CHECK constraint failed in t", "of 1 more"]),
        ),
        (
            "two of what should be unique",
            By(|path| {
                drop(run(path, "CREATE TABLE t (a); INSERT INTO t VALUES (7), (7), (8); CREATE INDEX i ON t (a);"));
                forge(path, "UPDATE sqlite_schema SET sql = 'CREATE UNIQUE INDEX i ON t (a)' WHERE name = 'i'");
            }),
            Remark(Proof::Restored, 1, 3, &["non-unique entry in index i", "REINDEX \"i\""]),
        ),
        (
            "entries that an index lacks",
            By(|path| {
                drop(run(path, "CREATE TABLE t (a); INSERT INTO t VALUES (1), (2), (3); CREATE INDEX i ON t (a);"));
                let (made, page) = (open(path), root_of(path, "i"));
                let sql: String = made.query_row("SELECT sql || ',' || rootpage FROM sqlite_schema WHERE name = 'i'", (), |row| row.get(0)).unwrap();
                let (sql, root) = sql.split_once(',').unwrap();
                drop(made);
                let whole = fs::read(path).unwrap();
                forge(path, "DELETE FROM sqlite_schema WHERE name = 'i'");
                drop(run(path, "INSERT INTO t VALUES (4), (5);"));
                forge(path, &format!("INSERT INTO sqlite_schema VALUES ('index', 'i', 't', {root}, '{sql}')"));
                let at = usize::try_from(page.0).unwrap();
                assert_eq!(fs::read(path).unwrap()[at..][..100], whole[at..][..100]);
            }),
            Remark(Proof::Restored, 1, 5, &["The index i lacks entries", "row 4 missing from index i", "of 1 more", "REINDEX \"i\""]),
        ),
        (
            "an index of another column",
            By(|path| {
                drop(run(path, "CREATE TABLE t (a, b); INSERT INTO t VALUES (1, 2), (3, 4); CREATE INDEX i ON t (a);"));
                forge(path, "UPDATE sqlite_schema SET sql = 'CREATE INDEX i ON t (b)' WHERE name = 'i'");
            }),
            Remark(Proof::Restored, 1, 2, &["row 1 missing from index i", "REINDEX \"i\""]),
        ),
        (
            "an index whose page is gone",
            By(|path| {
                drop(run(path, &format!("{ROWS} CREATE INDEX i ON t (b); CREATE INDEX j ON t (c);")));
                let (_, size) = root_of(path, "i");
                hit(path, "i", 0, &vec![0; usize::try_from(size).unwrap()]);
            }),
            Remark(Proof::Restored, 1, 500, &["The index i of the table t is broken", "The rows of the table are all here", "REINDEX \"i\""]),
        ),
        (
            "the index of a UNIQUE whose pages are noise",
            By(|path| {
                drop(run(path, "CREATE TABLE t (a UNIQUE, b NOT NULL); WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) INSERT INTO t SELECT 'unique ' || i, i FROM n;"));
                hit(path, "sqlite_autoindex_t_1", 0, &noise(4096));
            }),
            Remark(Proof::Restored, 1, 2000, &["The index sqlite_autoindex_t_1", "broken", "REINDEX"]),
        ),
        (
            "a value that STRICT forbids",
            By(|path| {
                drop(run(path, "CREATE TABLE t (a INT, b TEXT); INSERT INTO t VALUES ('x', 'y'), (1, 'z');"));
                forge(path, "UPDATE sqlite_schema SET sql = sql || ' STRICT' WHERE name = 't'");
            }),
            Remark(Proof::Restored, 1, 2, &["non-INT value in t.a", "another type than it declares"]),
        ),
        (
            "a number in a column of text",
            By(|path| {
                drop(run(path, "CREATE TABLE t (a INT, b INT); INSERT INTO t VALUES (1, 5);"));
                forge(path, "UPDATE sqlite_schema SET sql = replace(sql, 'b INT', 'b TEXT') WHERE name = 't'");
            }),
            Remark(Proof::Restored, 1, 1, &["NUMERIC value in t.b"]),
        ),
        (
            "a wrong map of pages",
            By(|path| {
                drop(run(path, &format!("PRAGMA page_size = 1024; PRAGMA auto_vacuum = FULL; {ROWS}")));
                write_at(path, 1024, &[1, 0, 0, 0, 9]);
            }),
            Remark(Proof::Restored, 1, 500, &["auto_vacuum", "VACUUM"]),
        ),
        (
            "a full-text index that is not right",
            Sql("CREATE TABLE own (id INTEGER PRIMARY KEY, body); INSERT INTO own VALUES (1, 'hello world');
                 CREATE VIRTUAL TABLE f USING fts5(x); INSERT INTO f VALUES ('hello'); UPDATE f_content SET c0 = 'other words';"),
            Remark(Proof::Restored, 1, 1, &["full-text index", "rebuild"]),
        ),
        (
            "more faults than are listed",
            By(|path| {
                drop(run(path, "CREATE TABLE t (a CHECK (a > 0), b); CREATE INDEX i ON t (b); PRAGMA ignore_check_constraints = ON; WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) INSERT INTO t SELECT -i, i FROM n; CREATE TABLE u (a); INSERT INTO u VALUES (NULL);"));
                forge(path, "UPDATE sqlite_schema SET sql = 'CREATE TABLE u (a NOT NULL)' WHERE name = 'u'");
            }),
            Remark(Proof::Restored, 2, 3001, &["CHECK constraint failed in t", "of 2,999 more", "NULL value in u.a"]),
        ),
    ]
}

/// Planted damage: none of it may pass.
fn damages() -> Vec<Kind> {
    vec![
        (
            "a table's first page",
            By(|path| {
                drop(run(path, ROWS));
                hit(path, "t", 0, &[0; 12]);
            }),
            Refused("is damaged"),
        ),
        (
            "a table's page of rows",
            By(|path| {
                drop(run(path, ROWS));
                let size = fs::metadata(path).unwrap().len();
                write_at(path, size - 4096, &[0xFF; 30]);
            }),
            Refused("is damaged"),
        ),
        (
            "a table that was emptied",
            By(|path| {
                drop(run(path, ROWS));
                // An empty leaf in the place of the root: all that was below it is lost.
                hit(path, "t", 0, &[13, 0, 0, 0, 0, 0x10, 0, 0]);
            }),
            Refused("is damaged"),
        ),
        (
            "half a value",
            By(|path| {
                drop(run(path, "CREATE TABLE t (a BLOB); INSERT INTO t VALUES (zeroblob(50000));"));
                let size = fs::metadata(path).unwrap().len();
                write_at(path, size - 4096 * 4, &[0; 4]);
            }),
            Refused("is damaged"),
        ),
        (
            "the length of a row",
            By(|path| {
                drop(run(path, "CREATE TABLE t (a TEXT, b TEXT); INSERT INTO t VALUES ('one', 'two');"));
                let bytes = fs::read(path).unwrap();
                let at = bytes.windows(6).position(|part| part == b"onetwo").unwrap();
                // The type of its second value: ten characters instead of three.
                write_at(path, at as u64 - 1, &[33]);
            }),
            Refused("is damaged"),
        ),
        (
            "the list of free pages",
            By(|path| {
                drop(run(path, &format!("{ROWS} DELETE FROM t WHERE a > 5;")));
                write_at(path, 36, &[0, 0, 0, 99]);
            }),
            Refused("is damaged"),
        ),
        (
            "its end",
            By(|path| {
                drop(run(path, ROWS));
                let size = fs::metadata(path).unwrap().len();
                fs::OpenOptions::new().write(true).open(path).unwrap().set_len(size - 4096).unwrap();
            }),
            Refused("is damaged"),
        ),
        (
            "rows without rowid",
            By(|path| {
                drop(run(
                    path,
                    "CREATE TABLE w (k PRIMARY KEY, v) WITHOUT ROWID; WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) INSERT INTO w SELECT 'key ' || i, i FROM n;",
                ));
                hit(path, "w", 3, &[0xFF; 9]);
            }),
            Refused("is damaged"),
        ),
        (
            "the order of rows without rowid",
            By(|path| {
                drop(run(
                    path,
                    "CREATE TABLE w (k PRIMARY KEY, v) WITHOUT ROWID; INSERT INTO w VALUES ('aaa', 1), ('bbb', 2), ('ccc', 3);",
                ));
                let bytes = fs::read(path).unwrap();
                let at = bytes.windows(3).rposition(|part| part == b"bbb").unwrap();
                write_at(path, at as u64, b"zzz");
            }),
            Refused("not in PRIMARY KEY order"),
        ),
        (
            "the schema's own words",
            By(|path| {
                drop(run(path, ROWS));
                let bytes = fs::read(path).unwrap();
                let at = bytes.windows(12).position(|part| part == b"CREATE TABLE").unwrap();
                write_at(path, at as u64 + 2, &[0xA5, 0x00, 0xFF]);
            }),
            Refused("is damaged"),
        ),
        (
            "a table behind five thousand broken rules",
            By(|path| {
                drop(run(
                    path,
                    &format!(
                        "{ROWS} CREATE TABLE c (a CHECK (a > 0), b); CREATE INDEX i ON c (a); PRAGMA ignore_check_constraints = ON; WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) INSERT INTO c SELECT -i, i FROM n;"
                    ),
                ));
                hit(path, "t", 0, &[0; 12]);
            }),
            Refused("the table t is damaged"),
        ),
        (
            "a table behind a broken index",
            By(|path| {
                drop(run(
                    path,
                    &format!(
                        "{ROWS} CREATE INDEX i ON t (b); CREATE TABLE later (a); WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900) INSERT INTO later SELECT i FROM n;"
                    ),
                ));
                hit(path, "i", 0, &[0; 12]);
                hit(path, "later", 0, &[13, 0, 0, 0, 0, 0x10, 0, 0]);
            }),
            Refused("is lost"),
        ),
        (
            "a table beside a collation that is missing",
            By(|path| {
                with_collation(
                    path,
                    &format!(
                        "CREATE TABLE t (name TEXT COLLATE unicase); CREATE INDEX i ON t (name); {WORDS}"
                    ),
                );
                hit(path, "t", 3, &[0xFF; 4]);
            }),
            Refused("the table t is damaged"),
        ),
        (
            "a table that SQLite does not know to read",
            By(|path| {
                drop(run(path, ROWS));
                let (root, _) = root_of(path, "t");
                forge(
                    path,
                    "UPDATE sqlite_schema SET sql = 'CREATE TABLE t (a TEXT ENCRYPTED = 1)' WHERE name = 't'",
                );
                write_at(path, root, &[0; 12]);
            }),
            Refused("the table t is damaged"),
        ),
        (
            "its first page",
            By(|path| {
                drop(run(path, ROWS));
                write_at(path, 100, &[0xA5; 40]);
            }),
            Refused("is damaged"),
        ),
        (
            "something behind its end",
            By(|path| {
                drop(run(path, ROWS));
                let size = fs::metadata(path).unwrap().len();
                write_at(path, size + 100, b"more");
            }),
            Sound(1, 500),
        ),
    ]
}

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

/// Takes one kind all the way, and gives what is wrong with what came of it.
fn try_kind((name, make, right): &Kind) -> Result<(), String> {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("app.db");
    match make {
        Sql(sql) => drop(run(&path, sql)),
        By(make) => make(&path),
    }
    let before = fs::read(&path).unwrap();
    let database = "app".parse().unwrap();
    let desk = Desk::of(vec![("app".parse().unwrap(), Target::Sqlite(path.clone()))]);
    let made = desk.vault.back_up(&database, &Cancel::default(), &Unwatched);
    let (proof, tables, rows, words, told_at_backup) = match (right, &made) {
        (Refused(words), Err(error)) => {
            let said = error.to_string();
            if !said.contains(words) {
                return Err(format!("{name}: refused by other words: {said}"));
            }
            if let VaultError::SourceDamaged { .. } = error {
                // The same file from elsewhere is found damaged, too.
                let file = home.path().join("elsewhere.dump.gz");
                let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                std::io::Write::write_all(&mut packed, &before).unwrap();
                fs::write(&file, packed.finish().unwrap()).unwrap();
                let report = desk.vault.verify(
                    file.to_str().unwrap(),
                    &Options::default(),
                    &Cancel::default(),
                    &Unwatched,
                );
                let report = report.unwrap();
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
    let manifest = Manifest::read(&fs::read(desk.backup(&format!("{file}.manifest.json"))).unwrap()).unwrap();
    let report = desk.vault.verify(file, &Options::default(), &Cancel::default(), &Unwatched).unwrap();
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
        let options = Options { overwrite, ..Options::default() };
        let restored = desk.vault.restore(
            file,
            &Target::Sqlite(target.clone()),
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
    all_are_right(&layouts());
}

#[test]
fn what_only_an_application_has_is_named_and_stops_no_backup() {
    all_are_right(&applications());
}

#[test]
fn what_breaks_only_rules_and_indexes_is_backed_up_with_its_remedy() {
    all_are_right(&faults());
}

#[test]
fn what_is_damaged_is_refused_whatever_stands_before_it() {
    all_are_right(&damages());
}

#[test]
fn there_are_fifty_kinds() {
    assert!(layouts().len() + applications().len() + faults().len() >= 50);
}
