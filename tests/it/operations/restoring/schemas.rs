//! Every kind of schema comes back from a restore as it was: definitions, rows, and what the engines keep beside them.

use super::*;

const POSTGRES_SCHEMAS: [&str; 30] = [
    "",
    AWKWARD,
    "CREATE TABLE t (a int PRIMARY KEY, b text NOT NULL DEFAULT 'x'); INSERT INTO t SELECT i, md5(i::text) FROM generate_series(1, 5000) i",
    "CREATE TABLE \"Sel\"\"ect\" (\"from\" int, \"wh ere\" text); INSERT INTO \"Sel\"\"ect\" VALUES (1, E'a\\nb\\tc\\\\'), (NULL, '')",
    "CREATE TABLE g (a int, b int GENERATED ALWAYS AS (a * 2) STORED, c int GENERATED ALWAYS AS IDENTITY); INSERT INTO g (a) SELECT generate_series(1, 100)",
    "CREATE SEQUENCE s INCREMENT 7 START 50 CACHE 5; SELECT nextval('s'), nextval('s'), setval('s', 4711, false); CREATE TABLE u (a int DEFAULT nextval('s'))",
    "CREATE TABLE p (k text, v int) PARTITION BY LIST (k); CREATE TABLE p_a PARTITION OF p FOR VALUES IN ('a'); CREATE TABLE p_rest PARTITION OF p DEFAULT; INSERT INTO p VALUES ('a', 1), ('ü', 2), (NULL, 3)",
    "CREATE TABLE h (k int) PARTITION BY HASH (k); CREATE TABLE h0 PARTITION OF h FOR VALUES WITH (MODULUS 2, REMAINDER 0); CREATE TABLE h1 PARTITION OF h FOR VALUES WITH (MODULUS 2, REMAINDER 1); INSERT INTO h SELECT generate_series(1, 999)",
    "SELECT lo_from_bytea(77, decode(repeat('00ff', 50000), 'hex')), lo_create(78)",
    "CREATE TABLE b (x bytea); INSERT INTO b SELECT decode(repeat(md5(i::text), 2000), 'hex') FROM generate_series(1, 50) i",
    "CREATE VIEW v1 AS SELECT 1 AS a; CREATE VIEW v2 AS SELECT a + 1 AS b FROM v1; CREATE MATERIALIZED VIEW m AS SELECT * FROM v2; CREATE UNIQUE INDEX ON m (b)",
    "CREATE TYPE mood AS ENUM ('sad', 'o''k'); CREATE DOMAIN pos AS int CHECK (VALUE > 0); CREATE TYPE pair AS (a mood, b pos); CREATE TABLE t (p pair, q mood[]); INSERT INTO t VALUES (('sad', 1), '{sad,o''k}')",
    "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a DEFERRABLE); ALTER TABLE a ADD b int REFERENCES b DEFERRABLE; INSERT INTO a VALUES (1); INSERT INTO b VALUES (1, 1); UPDATE a SET b = 1",
    "CREATE TABLE t (a int); CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.a := NEW.a + 1; RETURN NEW; END $$; CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f(); INSERT INTO t VALUES (1), (2)",
    "CREATE TABLE r (a int); INSERT INTO r VALUES (1); ALTER TABLE r ENABLE ROW LEVEL SECURITY; CREATE POLICY po ON r USING (a > 5); CREATE RULE ru AS ON DELETE TO r DO INSTEAD NOTHING",
    "CREATE TABLE parent (a int); CREATE TABLE child (b int) INHERITS (parent); INSERT INTO parent VALUES (1); INSERT INTO child VALUES (2, 3)",
    "CREATE TABLE n (a float8, b numeric, c interval, d timestamptz, e inet, f uuid, g tsvector, h int4range, i xml); INSERT INTO n VALUES ('NaN', 'NaN', '1 mon -3 days', 'infinity', '::1/64', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'a:1 b:2', '[1,5)', '<a/>'), ('-0', 1e300, NULL, '-infinity', NULL, NULL, NULL, 'empty', NULL)",
    "DROP SCHEMA public; CREATE SCHEMA \"dot.ted\"; CREATE TABLE \"dot.ted\".\"ta.ble\" (\"co.l\" int); INSERT INTO \"dot.ted\".\"ta.ble\" VALUES (5)",
    "CREATE TABLE \"表🦀\" (\"ключ\" text COLLATE \"C\", UNIQUE NULLS NOT DISTINCT (\"ключ\")); INSERT INTO \"表🦀\" VALUES ('é'), ('e' || U&'\\0301'); COMMENT ON TABLE \"表🦀\" IS E'\\\\! touch /tmp/holdfast-pwned'",
    "CREATE TABLE j (a jsonb, b json, c jsonpath); INSERT INTO j VALUES ('{\"k\": [1, null, \"\\u00e9\"]}', '{\"z\":1, \"z\":2}', '$.a[*] ? (@ > 1)'); CREATE INDEX ON j USING gin (a)",
    "CREATE TABLE x (r tstzrange, EXCLUDE USING gist (r WITH &&)); INSERT INTO x VALUES ('[2020-01-01, 2020-02-01)')",
    "CREATE TABLE k (a int[], b text[][]); INSERT INTO k VALUES ('{}', NULL), ('{1,NULL,3}', '{{a,\"b,c\"},{\"\",NULL}}'), ('[5:6]={7,8}', NULL)",
    "CREATE FUNCTION add(int, int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 + $2'; CREATE OPERATOR @#@ (LEFTARG = int, RIGHTARG = int, FUNCTION = add)",
    "CREATE COLLATION german (provider = icu, locale = 'de-DE'); CREATE TABLE c (a text COLLATE german); INSERT INTO c VALUES ('ä'), ('z'), ('a')",
    "CREATE TABLE w (a int, b int); INSERT INTO w SELECT i, i % 7 FROM generate_series(1, 3000) i; CREATE INDEX ON w (b) INCLUDE (a) WHERE b > 2; CREATE INDEX ON w ((a * b)); CREATE INDEX w_a ON w (a); ALTER TABLE w CLUSTER ON w_a; ALTER TABLE w SET (fillfactor = 70)",
    "CREATE TABLE d (a int DEFAULT 1, b text, c text COMPRESSION pglz); ALTER TABLE d ALTER b SET STORAGE EXTERNAL; INSERT INTO d (b, c) SELECT repeat('x', 9000), repeat('y', 9000) FROM generate_series(1, 20); ALTER TABLE d DROP COLUMN a; ALTER TABLE d ADD e int NOT NULL DEFAULT 7",
    "CREATE SCHEMA one; CREATE SCHEMA two; CREATE TABLE one.t (a int); CREATE TABLE two.t (a int); CREATE VIEW two.v AS SELECT * FROM one.t; INSERT INTO one.t VALUES (1); INSERT INTO two.t VALUES (2); ALTER DEFAULT PRIVILEGES IN SCHEMA one GRANT SELECT ON TABLES TO PUBLIC",
    "CREATE TABLE e (a int); CREATE FUNCTION ev() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'dropped'; END $$; CREATE EVENT TRIGGER ev ON sql_drop WHEN TAG IN ('DROP INDEX') EXECUTE FUNCTION ev(); INSERT INTO e VALUES (1)",
    "CREATE RECURSIVE VIEW r (n) AS SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 5; CREATE TEXT SEARCH DICTIONARY dict (TEMPLATE = simple); CREATE TEXT SEARCH CONFIGURATION conf (COPY = simple); CREATE PUBLICATION pub FOR ALL TABLES",
    "DO $$ BEGIN FOR i IN 1..200 LOOP EXECUTE format('CREATE TABLE t%s (a int PRIMARY KEY)', i); END LOOP; END $$; CREATE UNLOGGED TABLE un (a int); INSERT INTO un VALUES (1); CREATE PROCEDURE pr(INOUT x int) LANGUAGE plpgsql AS $$ BEGIN x := x + 1; END $$; CREATE TABLE st (a int, b int); CREATE STATISTICS st_ab ON a, b FROM st",
];

/// The statements that make a database as it is.
fn definition(cluster: &Cluster, database: &str) -> String {
    // Not our own child, nor named in its line: other tests look for those.
    let mut command = shell(cluster, "\"$TOOL\" --schema-only --no-owner --no-privileges; exit $?");
    let output =
        command.env("TOOL", cluster.bin().join("pg_dump")).env("PGDATABASE", database).output().unwrap();
    assert!(output.status.success(), "{}", words(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    // Newer ones begin and end with a random word.
    text.lines()
        .filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn every_postgres_schema_comes_back() {
    let cluster = cluster();
    let mut databases = String::new();
    for (number, schema) in POSTGRES_SCHEMAS.iter().enumerate() {
        let name = format!("came{number} ü=\"'");
        cluster.create_database(&name);
        cluster.psql(&name, schema);
        writeln!(databases, "came{number}={}", cluster.url(&name)).unwrap();
    }
    let ground = Home::new(&databases);
    for number in 0..POSTGRES_SCHEMAS.len() {
        let file = ground.backup(&format!("came{number}"));
        let (before, after) = (format!("came{number} ü=\"'"), format!("back{number} ü=\"'"));
        let said = good(ground.restore(&file, &cluster.url(&after), &["--act-outside"]));
        assert!(said.contains("a new database") && said.contains("is restored into"), "{said}");
        assert_eq!(contents(&cluster, &before), contents(&cluster, &after), "{number}");
        assert_eq!(definition(&cluster, &before), definition(&cluster, &after), "{number}");
        assert_eq!(cluster.psql(&after, "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()").trim(), "");
        for name in [before, after] {
            cluster.psql("postgres", &format!("DROP DATABASE \"{}\"", name.replace('"', "\"\"")));
        }
    }
    no_leftovers(&cluster);
    assert!(!Path::new("/tmp/holdfast-pwned").exists());
    assert_eq!(contents_of(&ground.at("data/run")), [""; 0], "a password file was left");
    println!("{} PostgreSQL schemas came back equal", POSTGRES_SCHEMAS.len());
}

const SQLITE_SCHEMAS: [&str; 30] = [
    "CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT)",
    "CREATE TABLE t (a, b); INSERT INTO t VALUES (1, 'x'), (NULL, x'00ff'), (1.5, ''), (-0.0, 9e999)",
    "CREATE TABLE \"Sel\"\"ect\" (\"from\", 'wh ere', [br ack]); INSERT INTO \"Sel\"\"ect\" VALUES ('a\nb', 'c''d', '\\')",
    "CREATE TABLE \"表🦀\" (\"ключ\" TEXT); INSERT INTO \"表🦀\" VALUES ('é')",
    "CREATE TABLE t (a INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO t VALUES (4711); DELETE FROM t",
    "CREATE TABLE t (a TEXT PRIMARY KEY, b) WITHOUT ROWID; INSERT INTO t VALUES ('k', 1)",
    "CREATE TABLE t (a INT, b TEXT) STRICT; INSERT INTO t VALUES (1, 'x')",
    "CREATE TABLE t (a INT, b AS (a * 2) STORED, c AS (a + 1)); INSERT INTO t VALUES (21)",
    "CREATE TABLE t (a); CREATE VIEW v AS SELECT a FROM t; CREATE INDEX i ON t (a) WHERE a > 1; CREATE INDEX e ON t (lower(a))",
    "CREATE TABLE t (a); CREATE TRIGGER tr AFTER INSERT ON t BEGIN INSERT INTO t VALUES (new.a + 1); END; INSERT INTO t VALUES (1)",
    "CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE c (p REFERENCES p); INSERT INTO p VALUES (1); INSERT INTO c VALUES (1)",
    "PRAGMA foreign_keys = OFF; CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE c (p REFERENCES p); INSERT INTO c VALUES (9)",
    "PRAGMA page_size = 512; CREATE TABLE t (a); INSERT INTO t VALUES (zeroblob(100000))",
    "PRAGMA page_size = 65536; CREATE TABLE t (a); INSERT INTO t VALUES (1)",
    "PRAGMA auto_vacuum = FULL; CREATE TABLE t (a); INSERT INTO t VALUES (zeroblob(50000)); DELETE FROM t",
    "PRAGMA encoding = 'UTF-16le'; CREATE TABLE t (a); INSERT INTO t VALUES ('ü🦀')",
    "PRAGMA journal_mode = WAL; CREATE TABLE t (a); INSERT INTO t VALUES (1)",
    "PRAGMA user_version = 42; PRAGMA application_id = 4711; CREATE TABLE t (a)",
    "CREATE TABLE t (a, b); WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 20000) INSERT INTO t SELECT n, hex(n) FROM n; ANALYZE",
    "CREATE TABLE t (a UNIQUE ON CONFLICT REPLACE, b CHECK (b > 0) DEFAULT 5, c COLLATE NOCASE); INSERT INTO t (a, c) VALUES (1, 'X'), (1, 'x')",
    "CREATE TABLE t (a); INSERT INTO t VALUES (x''), (zeroblob(1)), (9223372036854775807), (-9223372036854775808), (1e-320)",
    "CREATE VIRTUAL TABLE r USING rtree(id, x0, x1); INSERT INTO r VALUES (1, 0.5, 2.5), (2, -1, 1)",
    "CREATE TABLE t (a, b); CREATE INDEX i ON t (a DESC, b COLLATE NOCASE); CREATE UNIQUE INDEX u ON t (b) WHERE a IS NOT NULL; INSERT INTO t VALUES (1, 'b'), (2, 'A'), (NULL, 'A')",
    "CREATE TABLE t (a); INSERT INTO t VALUES (1); ALTER TABLE t ADD COLUMN b DEFAULT 'late'; ALTER TABLE t RENAME COLUMN a TO z; INSERT INTO t VALUES (2, 'x'); ALTER TABLE t DROP COLUMN z",
    "CREATE TABLE a (id INTEGER PRIMARY KEY, b REFERENCES b DEFERRABLE INITIALLY DEFERRED); CREATE TABLE b (id INTEGER PRIMARY KEY, a REFERENCES a ON DELETE CASCADE); BEGIN; INSERT INTO a VALUES (1, 1); INSERT INTO b VALUES (1, 1); COMMIT",
    "CREATE TABLE t (a); CREATE VIEW v AS SELECT a FROM t; CREATE TRIGGER i INSTEAD OF INSERT ON v BEGIN INSERT INTO t VALUES (new.a); END; INSERT INTO v VALUES (7)",
    "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA secure_delete = ON; CREATE TABLE t (a); INSERT INTO t VALUES (zeroblob(90000)); DELETE FROM t; INSERT INTO t VALUES (1)",
    "CREATE TABLE \"\" (\"\"); INSERT INTO \"\" VALUES ('nothing'); CREATE TABLE \"a\nb\" (\"c\td\"); INSERT INTO \"a\nb\" VALUES (x'0a0d00')",
    "CREATE TABLE t (a INTEGER PRIMARY KEY, j TEXT CHECK (json_valid(j))); INSERT INTO t VALUES (1, '{\"k\": [1, null]}'); CREATE TABLE g (x AS (json_extract('{}', '$')) VIRTUAL, y); INSERT INTO g VALUES (2)",
    "CREATE VIRTUAL TABLE f USING fts5(x); INSERT INTO f VALUES ('find me'); CREATE TABLE \"a;DROP TABLE b\" (x)",
];

#[test]
fn every_sqlite_schema_comes_back() {
    let home = tempfile::tempdir().unwrap();
    let path = |number: usize| home.path().join(format!("we ird{number}.db"));
    let mut databases = String::new();
    for (number, schema) in SQLITE_SCHEMAS.iter().enumerate() {
        Connection::open(path(number)).unwrap().execute_batch(schema).unwrap();
        writeln!(databases, "came{number}={}", sqlite_url(&path(number)).replace(' ', "%20")).unwrap();
    }
    let ground = Home::new(&databases);
    for number in 0..SQLITE_SCHEMAS.len() {
        let file = ground.backup(&format!("came{number}"));
        let target = ground.at("back.db");
        let said = good(ground.restore(&file, &sqlite_url(&target), &[]));
        assert!(said.contains("is restored into"), "{said}");
        assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(all_of(&path(number)), all_of(&target), "{number}");
        for suffix in ["", "-wal", "-shm"] {
            let _ = fs::remove_file(ground.at(&format!("back.db{suffix}")));
        }
        let verified = ground.run(&["verify", &file]);
        assert!(verified.contains("It was restored: "), "{verified}");
        assert_eq!(verified.contains("foreign key"), number == 11, "{verified}");
    }
    assert!(ground.path().read_dir().unwrap().all(|entry| entry.unwrap().file_name() == "data"));
    println!("{} SQLite schemas came back equal", SQLITE_SCHEMAS.len());
}
