//! Files that are damaged: none of it may pass.

use super::*;

#[expect(clippy::too_many_lines, reason = "a table")]
pub fn all() -> Vec<Kind> {
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
            "the end of its last page",
            By(|path| {
                drop(run(path, ROWS));
                let size = fs::metadata(path).unwrap().len();
                fs::OpenOptions::new().write(true).open(path).unwrap().set_len(size - 50).unwrap();
            }),
            Refused("truncated in page"),
        ),
        (
            "the end of its last page, with a log at rest",
            By(|path| {
                drop(run(path, &format!("PRAGMA journal_mode = WAL; {ROWS}")));
                let size = fs::metadata(path).unwrap().len();
                fs::OpenOptions::new().write(true).open(path).unwrap().set_len(size - 3000).unwrap();
            }),
            Refused("truncated in page"),
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
