//! Files that need what only their application has, or a newer SQLite.

use super::*;

#[expect(clippy::too_many_lines, reason = "a table")]
pub fn all() -> Vec<Kind> {
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
                );
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
                );
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
            "tables beside one of a module that nobody knows",
            By(|path| {
                drop(run(path, "CREATE TABLE log_entries (a); INSERT INTO log_entries VALUES (1), (2);"));
                forge(
                    path,
                    "INSERT INTO sqlite_schema VALUES ('table', 'log', 'log', 0, 'CREATE VIRTUAL TABLE log USING mymod(x)')",
                );
            }),
            Remark(Proof::Readable, 1, 2, &["The virtual table log could not be opened"]),
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
                &["rejects the schema (malformed database schema (new)", "page by page only: new"],
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
                &["rejects the schema (unsupported file format)", "page by page only: t"],
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
            Remark(Proof::Readable, 1, 500, &["rejects the schema (malformed database schema (v)"]),
        ),
        (
            "encrypted",
            By(|path| fs::write(path, noise(65_536)).unwrap()),
            Refused("is not a SQLite database, or is encrypted"),
        ),
    ]
}
