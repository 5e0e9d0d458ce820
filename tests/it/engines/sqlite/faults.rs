//! Files whose rows break rules, or whose indexes are wrong: all rows are there.

use super::*;

#[expect(clippy::too_many_lines, reason = "a table")]
pub fn all() -> Vec<Kind> {
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
            "a CHECK that does not hold, with a log",
            Sql("PRAGMA journal_mode = WAL; CREATE TABLE t (a CHECK (a > 0)); PRAGMA ignore_check_constraints = ON;
                 INSERT INTO t VALUES (-1);"),
            Remark(Proof::Restored, 1, 1, &["CHECK constraint failed in t"]),
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
            Remark(Proof::Restored, 1, 500, &["The index i of the table t is broken", "All rows of the table are here", "REINDEX \"i\""]),
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
            Remark(Proof::Restored, 1, 2, &["non-INT value in t.a", "another type than declared"]),
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
            Remark(Proof::Readable, 1, 1, &["The virtual table f (fts5) is inconsistent", "may be missing", "rebuild"]),
        ),
        (
            "a full-text table without its texts",
            Sql("CREATE VIRTUAL TABLE f USING fts5(x); INSERT INTO f VALUES ('hello world'), ('a b'); DELETE FROM f_content;"),
            Remark(Proof::Readable, 0, 0, &["The virtual table f (fts5) is inconsistent", "Rows may be missing; compare the table with an older backup."]),
        ),
        (
            "a full-text table without its index",
            Sql("CREATE VIRTUAL TABLE f USING fts5(x); INSERT INTO f VALUES ('hello world'), ('a b'); DELETE FROM f_data;"),
            Remark(Proof::Readable, 0, 0, &["The virtual table f (fts5) is inconsistent", "may be missing"]),
        ),
        (
            "an old full-text table without its texts",
            Sql("CREATE VIRTUAL TABLE f USING fts4(x); INSERT INTO f VALUES ('hello world'), ('a b'); DELETE FROM f_content;"),
            Remark(Proof::Readable, 0, 0, &["The virtual table f (fts4) is inconsistent", "Rows may be missing; compare the table with an older backup."]),
        ),
        (
            "a full-text index of another table without its index",
            Sql("CREATE TABLE own (id INTEGER PRIMARY KEY, body); INSERT INTO own VALUES (1, 'hello world');
                 CREATE VIRTUAL TABLE f USING fts5(body, content='own', content_rowid='id'); INSERT INTO f(f) VALUES ('rebuild'); DELETE FROM f_data;"),
            Remark(Proof::Readable, 1, 1, &["The full-text index f is inconsistent", "Its text is in the table own", "rebuild"]),
        ),
        (
            "an r-tree whose nodes are empty",
            Sql("CREATE VIRTUAL TABLE r USING rtree(id, a, b); INSERT INTO r VALUES (1, 1, 2); UPDATE r_node SET data = zeroblob(length(data));"),
            Remark(Proof::Readable, 0, 0, &["The virtual table r (rtree) is inconsistent", "may be missing"]),
        ),
        (
            "rows lost behind an index",
            By(|path| {
                drop(run(path, &format!("{ROWS} CREATE INDEX i ON t (b);")));
                let hide = |path: &Path| {
                    let made = open(path);
                    let mut list = made.prepare("SELECT format('(''index'', ''%s'', ''t'', %d, ''%s'')', name, rootpage, sql) FROM sqlite_schema WHERE type = 'index'").unwrap();
                    list.query_map((), |row| row.get::<_, String>(0)).unwrap().map(Result::unwrap).collect::<Vec<_>>()
                };
                let indexes = hide(path);
                forge(path, "DELETE FROM sqlite_schema WHERE type = 'index'");
                drop(run(path, "DELETE FROM t WHERE a BETWEEN 101 AND 400;"));
                forge(path, &format!("INSERT INTO sqlite_schema VALUES {}", indexes.join(", ")));
            }),
            Remark(Proof::Readable, 1, 200, &["300 entries of the index i have no row in the table t", "Compare the table with an older backup before"]),
        ),
        (
            "a CHECK that builds gigabytes",
            Sql("PRAGMA ignore_check_constraints = ON; CREATE TABLE t (a, CHECK (length(hex(zeroblob(400000000))) > 0)); INSERT INTO t VALUES (1), (2);"),
            Remark(Proof::Readable, 1, 2, &["The CHECK of the table t could not be evaluated (string or blob too big)"]),
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
