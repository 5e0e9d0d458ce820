//! Files of every layout that SQLite writes, and as programs leave them.

use super::*;

#[expect(clippy::too_many_lines, reason = "a table")]
pub fn all() -> Vec<Kind> {
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
        (
            "tables called as SQLite's own lists",
            Sql("CREATE TABLE pragma_table_list (schema, name, type); CREATE TABLE pragma_table_xinfo (name, hidden); CREATE TABLE pragma_index_list (a);
                 CREATE VIEW pragma_collation_list AS WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT 'x' || i AS name, i AS seq FROM n;
                 CREATE TABLE t (a); INSERT INTO t VALUES (1), (2);"),
            Sound(4, 2),
        ),
        (
            "a view called as SQLite's list of tables, without end",
            Sql("CREATE TABLE t (a); INSERT INTO t VALUES (1), (2);
                 CREATE VIEW pragma_table_list AS WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT 'main' AS schema, 'x' || i AS name, 'table' AS type FROM n;"),
            Sound(1, 2),
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
            Note(2, 2, "In 2 rows, a foreign key refers to a missing row"),
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
