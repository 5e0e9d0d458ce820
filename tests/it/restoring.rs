//! Verifying and restoring with the real program, on a real server and on files: what comes back, what is
//! refused, and what is left when it is stopped.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests: the figures they print are read"
)]

use crate::engines::{AWKWARD, contents};
use crate::support::desk::contents_of;
use crate::support::postgres::{Cluster, PASSWORD, cluster};
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use holdfast::domain::engines::{Cancel, Target};
use holdfast::domain::jobs::Unwatched;
use holdfast::domain::operations::compress::Effort;
use holdfast::domain::operations::restore::RestoreOptions;
use holdfast::domain::{Holdfast, Options};
use holdfast::model::{BackupName, Stamp};
use rusqlite::Connection;
use std::fmt::Write as _;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// Kills of a restore, for each engine.
const KILLS: u32 = 25;
/// Kills of a control, and four times that where none was found out yet.
const CONTROL_KILLS: u32 = 10;
/// Flipped bits and truncations, for each engine.
const FLIPS: u32 = 100;
const CUTS: u32 = 50;

/// A home with its backup directory, and the program in it.
pub struct Ground {
    home: tempfile::TempDir,
    databases: String,
}

impl Ground {
    pub fn new(databases: &str) -> Self {
        Self { home: tempfile::tempdir().unwrap(), databases: databases.to_owned() }
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub fn backups(&self) -> PathBuf {
        self.at("data/backups")
    }

    pub fn program(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
        command
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOLDFAST_DATA_DIR", self.at("data"))
            .env("HOLDFAST_DATABASES", &self.databases);
        command
    }

    /// Runs it and gives what it printed, which must not be a failure.
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = self.program(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", words(&output));
        assert!(!words(&output).contains("c4n"), "{}", words(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs it and gives what it said, which must be a failure.
    pub fn refused(&self, arguments: &[&str]) -> String {
        let output = self.program(arguments).output().unwrap();
        assert!(!output.status.success(), "{arguments:?}: {}", words(&output));
        let said = words(&output);
        assert!(!said.contains("c4n") && !said.contains(PASSWORD), "{said}");
        said
    }

    pub fn backup(&self, database: &str) -> String {
        self.run(&["backup", database]).trim().to_owned()
    }

    /// Restores with the password in the environment, where it belongs.
    pub fn restore(&self, file: &str, into: &str, more: &[&str]) -> Command {
        let mut command = self.program(&[&["restore", file][..], more].concat());
        command.env("HOLDFAST_RESTORE_INTO", into);
        command
    }

    fn holdfast(&self) -> Holdfast {
        Holdfast::open(Options {
            data_dir: self.at("data"),
            backup_dir: self.backups(),
            databases: Vec::new(),
            broken: Vec::new(),
            restore_on: None,
            postgres_bin: None,
            path: "/usr/bin:/bin".into(),
            clock: Arc::new(|| Stamp::from_millis(1_795_401_667_123)),
            effort: Effort::default(),
            destinations: holdfast::domain::destinations::Options::default(),
            import: holdfast::domain::operations::import::Limits::default(),
            egress: holdfast::domain::outbound::Policy::default(),
        })
        .unwrap()
    }
}

pub fn words(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

pub fn good(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", words(&output));
    words(&output)
}

pub fn bad(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert!(!output.status.success(), "{}", words(&output));
    let said = words(&output);
    assert!(!said.contains("c4n") && !said.contains("c5n") && !said.contains(PASSWORD), "{said}");
    said
}

/// A shell that knows the cluster and finds its programs.
pub fn shell(cluster: &Cluster, commands: &str) -> Command {
    let mut command = Command::new("sh");
    for (name, value) in cluster.command("psql").get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    command.env("PATH", format!("{}:/usr/bin:/bin", cluster.bin().display())).args(["-ec", commands]);
    command
}

fn sqlite_url(path: &Path) -> String {
    format!("sqlite://{}", path.display())
}

pub fn exists(cluster: &Cluster, database: &str) -> bool {
    cluster.psql("postgres", &format!("SELECT count(*) FROM pg_database WHERE datname = '{database}'")).trim()
        == "1"
}

/// Scratch databases nobody works with any more.
pub fn leftovers(cluster: &Cluster) -> String {
    cluster.psql(
        "postgres",
        "SELECT datname FROM pg_database d WHERE datname LIKE 'holdfast\\_restore\\_%' AND NOT EXISTS
             (SELECT FROM pg_stat_activity a WHERE a.application_name = d.datname)",
    )
}

pub fn no_leftovers(cluster: &Cluster) {
    let began = Instant::now();
    while !leftovers(cluster).is_empty() {
        assert!(began.elapsed() < Duration::from_secs(10), "{}", leftovers(cluster));
        thread::sleep(Duration::from_millis(100));
    }
}

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
    let ground = Ground::new(&databases);
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

/// Every row of every table, in order, with what SQLite keeps beside them.
fn all_of(path: &Path) -> Vec<String> {
    let connection = Connection::open(path).unwrap();
    let lines = |sql: &str| -> Vec<String> {
        let mut statement = connection.prepare(sql).unwrap();
        let columns = statement.column_count();
        let rows = statement.query_map((), |row| {
            Ok((0..columns)
                .map(|at| format!("{:?}", row.get_ref(at).unwrap()))
                .collect::<Vec<_>>()
                .join("\t"))
        });
        rows.unwrap().map(Result::unwrap).collect()
    };
    let mut all = lines("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name");
    for pragma in ["user_version", "application_id", "page_size", "encoding", "auto_vacuum"] {
        all.extend(lines(&format!("PRAGMA {pragma}")));
    }
    let mut names =
        connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").unwrap();
    for name in names.query_map((), |row| row.get::<_, String>(0)).unwrap() {
        let name = name.unwrap();
        all.extend(lines(&format!(
            "SELECT '{0}', * FROM \"{1}\"",
            name.replace('\'', "''"),
            name.replace('"', "\"\"")
        )));
    }
    all
}

#[test]
fn every_sqlite_schema_comes_back() {
    let home = tempfile::tempdir().unwrap();
    let path = |number: usize| home.path().join(format!("we ird{number}.db"));
    let mut databases = String::new();
    for (number, schema) in SQLITE_SCHEMAS.iter().enumerate() {
        Connection::open(path(number)).unwrap().execute_batch(schema).unwrap();
        writeln!(databases, "came{number}={}", sqlite_url(&path(number)).replace(' ', "%20")).unwrap();
    }
    let ground = Ground::new(&databases);
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
    assert!(ground.home.path().read_dir().unwrap().all(|entry| entry.unwrap().file_name() == "data"));
    println!("{} SQLite schemas came back equal", SQLITE_SCHEMAS.len());
}

/// A small backup of each engine, and the holdfast they lie in.
fn two_backups(cluster: &Cluster, name: &str) -> (Ground, [String; 2]) {
    cluster.create_database(name);
    cluster.psql(name, "CREATE TABLE t AS SELECT i, md5(i::text) FROM generate_series(1, 2000) i");
    let home = tempfile::tempdir().unwrap().keep();
    let path = home.join("s.db");
    Connection::open(&path)
        .unwrap()
        .execute_batch(
            "CREATE TABLE t (a, b); WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 2000)
             INSERT INTO t SELECT n, hex(randomblob(10)) FROM n;",
        )
        .unwrap();
    let ground = Ground::new(&format!("p={} s={}", cluster.url(name), sqlite_url(&path)));
    let files = ["p", "s"].map(|database| ground.backup(database));
    fs::remove_dir_all(home).unwrap();
    (ground, files)
}

/// Random numbers (`SplitMix64`), from a seed that is printed.
pub struct Random(pub u64);

impl Random {
    fn new() -> Self {
        let seed = std::process::id();
        Self(RandomState::new().hash_one(seed))
    }

    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((z ^ (z >> 31)) % end as u64).unwrap()
    }
}

#[test]
fn damage_is_found_and_nothing_damaged_is_restored() {
    let cluster = cluster();
    let (ground, files) = two_backups(&cluster, "damaged");
    let holdfast = ground.holdfast();
    let mut random = Random::new();
    println!("seed {}", random.0);
    let verify = |file: &str| {
        holdfast.verify(file, &RestoreOptions::default(), &Cancel::default(), &Unwatched).unwrap()
    };
    let (mut caught, mut harmless) = (0, 0);
    for file in &files {
        let path = ground.backups().join(file);
        let sound = fs::read(&path).unwrap();
        let truth = verify(file);
        assert!(!truth.is_damaged(), "{}", truth.sentence());
        let is_sqlite = file.contains("_s_");
        let target = if is_sqlite { sqlite_url(&ground.at("never.db")) } else { cluster.url("never") };
        let target = Target::parse(&target).unwrap();
        let bare = ground.at("bare.dump.gz");
        for case in 0..FLIPS + CUTS {
            let mut bytes = sound.clone();
            if case < FLIPS {
                // The first ones in the header, where gzip itself minds few of them.
                let bit = if case < 20 { random.below(80) } else { random.below(bytes.len() * 8) };
                bytes[bit / 8] ^= 1 << (bit % 8);
            } else {
                bytes.truncate(random.below(bytes.len()));
            }
            fs::write(&path, &bytes).unwrap();
            let report = verify(file);
            assert!(report.is_damaged() && report.sentence().contains(file), "{case}: {report:?}");
            caught += 1;
            if is_sqlite || case % 5 == 0 {
                let restored = holdfast.restore(
                    file,
                    &target,
                    &RestoreOptions::default(),
                    &Cancel::default(),
                    &Unwatched,
                );
                let error = restored.err().map(|error| error.to_string()).unwrap();
                assert!(error.contains("Nothing was restored"), "{case}: {error}");
            }
            // Alone it can only be judged by what is in it: what passes is the very same content.
            fs::write(&bare, &bytes).unwrap();
            let alone = verify(bare.to_str().unwrap());
            if !alone.is_damaged() {
                assert_eq!(alone.content_sha256, truth.content_sha256, "{case}");
                assert!(case < FLIPS, "a truncated file passed");
                harmless += 1;
            }
        }
        fs::write(&path, &sound).unwrap();
        assert!(!verify(file).is_damaged());
    }
    // Each with the other's manifest, as it is and with the name put right.
    let manifests = files.clone().map(|file| ground.backups().join(format!("{file}.manifest.json")));
    let texts = manifests.clone().map(|path| fs::read_to_string(path).unwrap());
    for (at, file) in files.iter().enumerate() {
        for text in [texts[1 - at].clone(), texts[1 - at].replace(&files[1 - at], file), "{".to_owned()] {
            fs::write(&manifests[at], text).unwrap();
            let report = verify(file);
            assert!(report.is_damaged(), "{report:?}");
            caught += 1;
        }
        fs::write(&manifests[at], &texts[at]).unwrap();
    }
    assert!(!ground.at("never.db").exists() && !exists(&cluster, "never"));
    no_leftovers(&cluster);
    drop(holdfast);
    println!(
        "damage: caught {caught}, none restored; without a manifest {harmless} flips changed nothing in the content"
    );

    // And from the shell, in words and as JSON.
    fs::write(ground.backups().join(&files[1]), "").unwrap();
    let said = ground.refused(&["verify", &files[1]]);
    assert!(said.contains(&files[1]) && said.contains("is empty"), "{said}");
    let output = ground.program(&["verify", "--json", &files[1]]).output().unwrap();
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(!output.status.success() && json["level"] == "damaged", "{json}");
    let json: serde_json::Value =
        serde_json::from_str(&ground.run(&["verify", "--json", &files[0]])).unwrap();
    assert!(
        json["level"] == "readable" && json["engine"] == "postgresql" && json["rows"].is_null(),
        "{json}"
    );
    let mut command = ground.program(&["verify", "--json", &files[0]]);
    command.env("HOLDFAST_RESTORE_ON", cluster.url("no-matter"));
    let json: serde_json::Value = serde_json::from_slice(&command.output().unwrap().stdout).unwrap();
    assert!(json["level"] == "restored" && json["tables"] == 1 && json["rows"] == 2000, "{json}");
    no_leftovers(&cluster);
    assert!(!exists(&cluster, "no-matter"));
}

#[test]
fn what_is_there_is_replaced_only_when_asked_and_kept_as_a_backup() {
    let cluster = cluster();
    let (ground, [postgres, sqlite]) = two_backups(&cluster, "over");
    let url = cluster.url("over");
    cluster.psql("over", "DROP TABLE t; CREATE TABLE later AS SELECT 4711 AS a");
    let later = contents(&cluster, "over");
    let said = bad(ground.restore(&postgres, &url, &[]));
    assert!(said.contains("--overwrite") && contents(&cluster, "over") == later, "{said}");
    // Somebody is connected, and idle.
    let mut idle = cluster
        .command("psql")
        .env("PGDATABASE", "over")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let said = good(ground.restore(&postgres, &url, &["--overwrite"]));
    idle.kill().unwrap();
    idle.wait().unwrap();
    assert_eq!(cluster.psql("over", "SELECT count(*) FROM t").trim(), "2000");
    let kept = said.split_once("is kept as ").unwrap().1.split_once(".\n").unwrap().0;
    assert!(kept.starts_with("backup_p_"), "{kept}");
    good(ground.restore(kept, &cluster.url("undone"), &[]));
    assert_eq!(contents(&cluster, "undone"), later);
    no_leftovers(&cluster);

    for journal in ["DELETE", "WAL"] {
        for page_size in [4096, 1024] {
            let target = ground.at(&format!("over-{journal}-{page_size}.db"));
            let app = Connection::open(&target).unwrap();
            app.execute_batch(&format!("PRAGMA page_size = {page_size}; PRAGMA journal_mode = {journal}; CREATE TABLE later (a); INSERT INTO later VALUES (4711)")).unwrap();
            let later = all_of(&target);
            let said = bad(ground.restore(&sqlite, &sqlite_url(&target), &[]));
            assert!(said.contains("--overwrite") && all_of(&target) == later, "{said}");
            // Its program is in the middle of something.
            app.execute_batch("BEGIN IMMEDIATE; INSERT INTO later VALUES (1)").unwrap();
            let said = bad(ground.restore(&sqlite, &sqlite_url(&target), &["--overwrite"]));
            assert!(said.contains("locked"), "{said}");
            app.execute_batch("ROLLBACK").unwrap();
            assert_eq!(all_of(&target), later);
            drop(app);
            let said = good(ground.restore(&sqlite, &sqlite_url(&target), &["--overwrite"]));
            let rows = Connection::open(&target)
                .unwrap()
                .query_row("SELECT count(*) FROM t", (), |row| row.get::<_, i64>(0));
            assert_eq!(rows.unwrap(), 2000);
            let kept = said.split_once("is kept as ").unwrap().1.split_once(".\n").unwrap().0;
            let undone = ground.at(&format!("undone-{journal}-{page_size}.db"));
            good(ground.restore(kept, &sqlite_url(&undone), &[]));
            assert_eq!(all_of(&undone), later);
        }
    }
    // What a database that is gone left behind would spoil a new one.
    let target = ground.at("gone.db");
    fs::write(ground.at("gone.db-journal"), "x").unwrap();
    let said = bad(ground.restore(&sqlite, &sqlite_url(&target), &[]));
    assert!(said.contains("gone.db-journal") && !target.exists(), "{said}");
    let said = bad(ground.restore(&postgres, &sqlite_url(&ground.at("x.db")), &[]));
    assert!(said.contains("not of that kind"), "{said}");
}

/// Starts it, waits a random part of `span`, from when `begun` says so on, and kills it. `false` where it was
/// done by then.
fn kill_at_random(
    mut command: Command,
    span: Duration,
    random: &mut Random,
    begun: impl Fn() -> bool,
) -> bool {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let share = u32::try_from(random.below(1000)).unwrap();
    while !begun() && child.try_wait().unwrap().is_none() {
        thread::sleep(Duration::from_millis(1));
    }
    thread::sleep(span * share / 1000);
    child.kill().unwrap();
    !child.wait().unwrap().success()
}

/// A `pg_restore` in a directory of its own that runs `script`, with the real one at hand as `$REAL`.
fn tool(ground: &Ground, cluster: &Cluster, script: &str) -> PathBuf {
    let bin = ground.at("bin");
    fs::create_dir_all(&bin).unwrap();
    let path = bin.join("pg_restore");
    let real = cluster.bin().join("pg_restore");
    fs::write(&path, format!("#!/bin/sh\nREAL={}\n{script}\n", real.display())).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    bin
}

#[test]
fn an_interrupted_restore_changes_nothing_and_clears_away() {
    // A server of its own, on which no other test's scratch database is.
    let cluster = Cluster::start();
    let (ground, [postgres, _]) = two_backups(&cluster, "stopped");
    let before = contents(&cluster, "stopped");
    let bin = tool(&ground, &cluster, "[ \"$1\" = --no-password ] && sleep 60\nexec \"$REAL\" \"$@\"");
    let mut command = ground.restore(&postgres, &cluster.url("stopped"), &["--overwrite"]);
    command.env("HOLDFAST_POSTGRES_BIN", bin).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let began = Instant::now();
    let made = "SELECT count(*) FROM pg_database WHERE datname LIKE 'holdfast\\_restore\\_%'";
    while cluster.psql("postgres", made).trim() == "0" {
        assert!(began.elapsed() < Duration::from_secs(20), "the restore never began");
        thread::sleep(Duration::from_millis(20));
    }
    let began = Instant::now();
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert!(!output.status.success() && words(&output).contains("Cancelled"), "{}", words(&output));
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(cluster.psql("postgres", made).trim(), "0");
    assert_eq!(contents(&cluster, "stopped"), before);
    assert_eq!(contents_of(&ground.at("data/run")), [""; 0]);
}

/// How many backups are there under their names.
fn published(backups: &Path) -> usize {
    contents_of(backups).iter().filter(|name| name.parse::<BackupName>().is_ok()).count()
}

/// Around the moment in which one database takes the place of another.
const SWAP: Duration = Duration::from_millis(150);

/// What `question` answers, once the server is done with whoever was killed.
fn answer(cluster: &Cluster, database: &str, question: &str) -> String {
    let ask =
        || cluster.command("psql").env("PGDATABASE", database).args(["-XAtqc", question]).output().unwrap();
    let began = Instant::now();
    loop {
        let output = ask();
        if output.status.success() || began.elapsed() > Duration::from_secs(3) {
            return words(&output).trim().to_owned();
        }
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_killed_postgres_restore_leaves_the_old_or_the_new() {
    // A server of its own: what is killed leaves things behind, which other tests look for.
    let cluster = Cluster::start();
    let mut databases = String::new();
    for name in ["red", "blue"] {
        cluster.create_database(name);
        cluster.psql(name, &format!("CREATE TABLE a AS SELECT '{name}' AS v FROM generate_series(1, 20000); CREATE TABLE b AS SELECT * FROM a; CREATE INDEX ON b (v)"));
        write!(databases, "{name}={} ", cluster.url(name)).unwrap();
    }
    let ground = Ground::new(&databases);
    let files = ["red", "blue"].map(|name| ground.backup(name));
    let url = cluster.url("target");
    good(ground.restore(&files[0], &url, &[]));
    let begun = Instant::now();
    good(ground.restore(&files[0], &url, &["--overwrite"]));
    let whole = begun.elapsed();
    let question =
        "SELECT string_agg(DISTINCT v, '+') || count(*) FROM (SELECT v FROM a UNION ALL SELECT v FROM b) x";
    let (mut random, mut now, mut killed, mut changed) = (Random::new(), 0, 0, 0);
    for run in 0..KILLS {
        let next = 1 - now;
        let command = ground.restore(&files[next], &url, &["--overwrite"]);
        let before = published(&ground.backups());
        // Every other one close to the swap, which follows the backup of what was there.
        let is_killed = if run % 2 == 0 {
            kill_at_random(command, whole, &mut random, || true)
        } else {
            let is_kept = || published(&ground.backups()) > before;
            kill_at_random(command, SWAP, &mut random, is_kept)
        };
        killed += u32::from(is_killed);
        match answer(&cluster, "target", question).as_str() {
            "red40000" => (changed, now) = (changed + u32::from(now != 0), 0),
            "blue40000" => (changed, now) = (changed + u32::from(now != 1), 1),
            other => panic!("run {run}: {other}"),
        }
    }
    // The next restore clears away what they left, and keeps what only looks like it.
    cluster.create_database("holdfast_restore_aaaaaaaaaaaa");
    let said = good(ground.restore(&files[0], &url, &["--overwrite"]));
    assert!(said.contains("holdfast_restore_aaaaaaaaaaaa") && said.contains("it stays"), "{said}");
    cluster.psql("postgres", "DROP DATABASE holdfast_restore_aaaaaaaaaaaa");
    let marked = "SELECT count(*) FROM pg_database d WHERE shobj_description(oid, 'pg_database') LIKE 'A scratch%' AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.application_name = d.datname)";
    assert_eq!(cluster.psql("postgres", marked).trim(), "0");

    // The control drops first and restores then.
    let archive = ground.at("archive");
    let mut bytes = Vec::new();
    GzDecoder::new(fs::File::open(ground.backups().join(&files[0])).unwrap())
        .read_to_end(&mut bytes)
        .unwrap();
    fs::write(&archive, bytes).unwrap();
    let naive = || {
        shell(
            &cluster,
            &format!(
                "dropdb --force --if-exists naive && createdb naive && exec pg_restore -d naive {}",
                archive.display()
            ),
        )
    };
    let begun = Instant::now();
    good(naive());
    let whole = begun.elapsed();
    let (mut caught, mut runs) = (0, 0);
    while runs < CONTROL_KILLS || (caught == 0 && runs < 4 * CONTROL_KILLS) {
        runs += 1;
        kill_at_random(naive(), whole, &mut random, || true);
        caught += u32::from(answer(&cluster, "naive", question) != "red40000");
    }
    println!(
        "postgres: killed {killed} of {KILLS}, changed {changed}, never mixed; the control was found out {caught} times of {runs}"
    );
    assert!(killed * 4 > KILLS && caught > 0);
}

#[test]
fn a_killed_sqlite_restore_leaves_the_old_or_the_new() {
    let home = tempfile::tempdir().unwrap();
    let mut databases = String::new();
    for name in ["red", "blue"] {
        let path = home.path().join(format!("{name}.db"));
        Connection::open(&path)
            .unwrap()
            .execute_batch(&format!(
                "CREATE TABLE t (v, pad); WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 12000)
                 INSERT INTO t SELECT '{name}', randomblob(1000) FROM n;"
            ))
            .unwrap();
        write!(databases, "{name}={} ", sqlite_url(&path)).unwrap();
    }
    let ground = Ground::new(&databases);
    let files = ["red", "blue"].map(|name| ground.backup(name));
    let target = ground.at("target.db");
    let url = sqlite_url(&target);
    good(ground.restore(&files[0], &url, &[]));
    let begun = Instant::now();
    good(ground.restore(&files[0], &url, &["--overwrite"]));
    let whole = begun.elapsed();
    let look = |path: &Path| -> rusqlite::Result<(String, String)> {
        let connection = Connection::open(path)?;
        let text = |sql: &str| connection.query_row(sql, (), |row| row.get::<_, String>(0));
        Ok((text("PRAGMA integrity_check")?, text("SELECT group_concat(DISTINCT v) || count(*) FROM t")?))
    };
    let journal = ground.at("target.db-journal");
    let (mut random, mut now, mut killed, mut changed, mut midway) = (Random::new(), 0, 0, 0, 0);
    for run in 0..KILLS {
        let next = 1 - now;
        let command = ground.restore(&files[next], &url, &["--overwrite"]);
        // Every other one in the middle of writing.
        let is_killed = if run % 2 == 0 {
            kill_at_random(command, whole, &mut random, || true)
        } else {
            kill_at_random(command, SWAP, &mut random, || journal.exists())
        };
        killed += u32::from(is_killed);
        midway += u32::from(journal.exists());
        let (check, held) = look(&target).unwrap();
        match (check.as_str(), held.as_str()) {
            ("ok", "red12000") => (changed, now) = (changed + u32::from(now != 0), 0),
            ("ok", "blue12000") => (changed, now) = (changed + u32::from(now != 1), 1),
            other => panic!("run {run}: {other:?}"),
        }
    }
    // A new target is there whole, or not there; the next run clears away what others left.
    let new = ground.at("new.db");
    for _ in 0..KILLS {
        kill_at_random(ground.restore(&files[1], &sqlite_url(&new), &[]), whole / 2, &mut random, || true);
        if new.exists() {
            assert_eq!(look(&new).unwrap(), ("ok".to_owned(), "blue12000".to_owned()));
            fs::remove_file(&new).unwrap();
        }
    }
    good(ground.restore(&files[1], &sqlite_url(&new), &[]));
    let left: Vec<_> = fs::read_dir(ground.home.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with('.'))
        .collect();
    assert!(left.iter().all(|name| name.starts_with(".target.db")), "{left:?}");

    // The control unpacks over what is there.
    let naive = || {
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!(
            "exec gunzip -c {} > {}",
            ground.backups().join(&files[0]).display(),
            ground.at("naive.db").display()
        ));
        command
    };
    let begun = Instant::now();
    good(naive());
    let whole = begun.elapsed();
    let (mut caught, mut runs) = (0, 0);
    while runs < CONTROL_KILLS || (caught == 0 && runs < 4 * CONTROL_KILLS) {
        runs += 1;
        kill_at_random(naive(), whole, &mut random, || true);
        let is_whole =
            look(&ground.at("naive.db")).is_ok_and(|(check, held)| check == "ok" && held == "red12000");
        caught += u32::from(!is_whole);
    }
    println!(
        "sqlite: killed {killed} of {KILLS}, {midway} in the middle of writing, changed {changed}, never mixed; the control was found out {caught} times of {runs}"
    );
    assert!(killed * 4 > KILLS && midway > 0 && caught > 0);
}

/// The archive in `path` with the definition of the function `hole` replaced by `statement`.
fn planted(path: &Path, statement: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    GzDecoder::new(fs::File::open(path).unwrap()).read_to_end(&mut bytes).unwrap();
    let find = |what: &[u8], from: usize| {
        bytes[from..].windows(what.len()).position(|part| part == what).unwrap() + from
    };
    let begin = find(b"CREATE FUNCTION public.hole", 0);
    let end = find(b"$;", begin) + 2;
    let text = format!("{statement:<width$}", width = end - begin);
    assert_eq!(text.len(), end - begin, "the statement is too long");
    bytes[begin..end].copy_from_slice(text.as_bytes());
    let mut packed = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&bytes).unwrap();
    packed.finish().unwrap()
}

#[test]
fn a_hostile_archive_has_the_rights_of_its_role_and_no_more() {
    let cluster = cluster();
    cluster.create_database("hostile");
    let filler = "x".repeat(400);
    cluster.psql("hostile", &format!("CREATE FUNCTION hole() RETURNS text LANGUAGE sql AS $_$ SELECT '{filler}' $_$; CREATE TABLE t (a int)"));
    cluster.psql("postgres", "CREATE ROLE restorer LOGIN CREATEDB PASSWORD 'r3storer'");
    cluster.create_database("bystander");
    let ground = Ground::new(&format!("h={}", cluster.url("hostile")));
    let file = ground.backups().join(ground.backup("h"));
    let canary = cluster.socket().join("canary");
    let bad_file = ground.at("hostile.dump.gz");
    let url = |database: &str| format!("postgres://restorer:r3storer@127.0.0.1:{}/{database}", cluster.port);
    let touch = format!("COPY (SELECT 1) TO PROGRAM 'touch {}';", canary.display());
    for statement in [
        touch.clone(),
        format!("COPY (SELECT 1) TO '{}';", canary.display()),
        "SELECT pg_read_file('/etc/passwd');".to_owned(),
        "SELECT lo_import('/etc/passwd');".to_owned(),
        "ALTER SYSTEM SET work_mem = '1GB';".to_owned(),
        "DROP DATABASE bystander;".to_owned(),
        "SET ROLE \"holdfast-test\";".to_owned(),
        "CREATE EXTENSION file_fdw;".to_owned(),
        format!("\\! touch {}", canary.display()),
    ] {
        fs::write(&bad_file, planted(&file, &statement)).unwrap();
        let said = bad(ground.restore(bad_file.to_str().unwrap(), &url("victim"), &[]));
        assert!(said.contains("nothing was changed"), "{statement}: {said}");
        assert!(
            !canary.exists() && !exists(&cluster, "victim") && exists(&cluster, "bystander"),
            "{statement}"
        );
    }
    no_leftovers(&cluster);
    // The statements that are carried out before all others, and those that bring rows, are what they have to be.
    let mut archive = Vec::new();
    GzDecoder::new(fs::File::open(&file).unwrap()).read_to_end(&mut archive).unwrap();
    for (old, new) in [
        ("SELECT pg_catalog.set_config('search_path', '', false);", "DROP DATABASE bystander;"),
        ("COPY public.t (a) FROM stdin;", "COPY t FROM PROGRAM 'id'; --"),
        ("COPY public.t (a) FROM stdin;", "DROP DATABASE bystander; --"),
    ] {
        let at = archive.windows(old.len()).position(|part| part == old.as_bytes()).unwrap();
        let mut changed = archive.clone();
        changed[at..at + old.len()].copy_from_slice(format!("{new:<width$}", width = old.len()).as_bytes());
        let mut packed = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(&changed).unwrap();
        fs::write(&bad_file, packed.finish().unwrap()).unwrap();
        let said = bad(ground.restore(bad_file.to_str().unwrap(), &url("victim"), &[]));
        assert!(said.contains("nothing was changed") && exists(&cluster, "bystander"), "{new}: {said}");
        let mut verify = ground.program(&["verify", bad_file.to_str().unwrap()]);
        let said = bad({
            verify.env("HOLDFAST_RESTORE_ON", url("any"));
            verify
        });
        assert!(said.contains("tampered with") && exists(&cluster, "bystander"), "{new}: {said}");
    }
    // A second statement behind one that does what its entry says is carried out, with the role's rights and within a
    // transaction: nothing comes of it, nor of the function.
    let second =
        format!("CREATE FUNCTION public.hole() RETURNS text LANGUAGE sql AS $$ SELECT '' $$; {touch}");
    for statement in [second.as_str(), &second.replace(&touch, "DROP DATABASE bystander;")] {
        fs::write(&bad_file, planted(&file, statement)).unwrap();
        let said = good(ground.restore(bad_file.to_str().unwrap(), &url("victim"), &[]));
        assert!(said.contains("1 exception: function public.hole(): "), "{said}");
        assert!(!canary.exists() && exists(&cluster, "bystander"), "{statement}");
        cluster.psql("postgres", "DROP DATABASE victim");
    }
    no_leftovers(&cluster);
    // The control: the same bytes with a superuser's rights do what they say.
    fs::write(&bad_file, planted(&file, &second)).unwrap();
    let _ = ground.restore(bad_file.to_str().unwrap(), &cluster.url("victim"), &[]).output().unwrap();
    assert!(canary.exists(), "the planted statement was never carried out, so nothing is shown");
}

/// Has another program run a command, in that command's surroundings.
fn run_in(outer: &mut Command, inner: &Command) {
    outer.arg(inner.get_program()).args(inner.get_args()).env_clear();
    outer.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
}

/// Restores over `old` again and again, killed at the first call of that kind to do with the target, then at the
/// second, until none is left to be killed at. Gives how often it was killed, and how often the old one was there
/// afterwards.
fn killed_at_each(ground: &Ground, file: &str, old: &Path, call: &str) -> (u32, u32) {
    let (mut killed, mut kept) = (0, 0);
    let target = ground.at("target.db");
    let journal = ground.at("target.db-journal");
    for point in 1..200 {
        let _ = fs::remove_file(&journal);
        fs::copy(old, &target).unwrap();
        let restore = ground.restore(file, &sqlite_url(&target), &["--overwrite"]);
        let mut traced = Command::new("strace");
        traced.args(["-f", "-qq", "-o", "/dev/null", "-P"]).arg(&target).arg("-P").arg(&journal);
        traced.args([
            "-e",
            &format!("trace={call}"),
            "-e",
            &format!("inject={call}:signal=SIGKILL:when={point}"),
        ]);
        run_in(&mut traced, &restore);
        let output = traced.output().unwrap();
        if output.status.success() {
            return (killed, kept);
        }
        assert!(output.status.code().is_none(), "{call} {point}: {}", words(&output));
        killed += 1;
        let found = Connection::open(&target).unwrap();
        let ask = |sql: &str| found.query_row(sql, (), |row| row.get::<_, String>(0));
        assert_eq!(ask("PRAGMA integrity_check").unwrap(), "ok", "{call} {point}");
        // The journal, where one was left, has been rolled back by now.
        let tables = ask("SELECT group_concat(name) FROM sqlite_schema").unwrap();
        assert!(["later", "t"].contains(&&*tables), "{call} {point}: {tables}");
        kept += u32::from(tables == "later");
    }
    panic!("{call} has no end");
}

#[test]
fn a_restore_killed_at_each_step_leaves_the_old_or_the_new() {
    let home = Ground::new("");
    let (path, old) = (home.at("s.db"), home.at("old.db"));
    crate::support::desk::dense_database(&path, 40);
    let later = Connection::open(&old).unwrap();
    later
        .execute_batch(
            "CREATE TABLE later (a); WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 20)
             INSERT INTO later SELECT randomblob(2000) FROM n",
        )
        .unwrap();
    drop(later);
    let ground = Ground { databases: format!("s={}", sqlite_url(&path)), ..home };
    let file = ground.backup("s");
    let (mut killed, mut kept) = (0, 0);
    for call in ["pwrite64", "fsync", "fdatasync", "unlink", "ftruncate"] {
        let (times, old) = killed_at_each(&ground, &file, &old, call);
        println!("SQLite, killed at {call}: {times}, the old one {old}");
        killed += times;
        kept += old;
    }
    assert!(killed >= 30 && kept > 0, "killed {killed} times, of which {kept} left the old one");

    let cluster = cluster();
    cluster.create_database("steps");
    cluster.psql("steps", "CREATE TABLE t AS SELECT g AS a FROM generate_series(1, 2000) g");
    let ground = Ground::new(&format!("p={}", cluster.url("steps")));
    let file = ground.backup("p");
    cluster.psql("steps", "DROP TABLE t; CREATE TABLE later (a int)");
    // What it tells marks its steps: the plan, that the file is whole, that the old one is kept.
    for step in ["Restoring", "The backup is whole", "is kept as"] {
        let mut restore = ground.restore(&file, &cluster.url("steps"), &["--overwrite"]);
        let mut child = restore.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let reached = lines.map_while(Result::ok).any(|line| line.contains(step));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(reached, "{step}");
        // What the server was asked for by then it may still do.
        thread::sleep(Duration::from_millis(500));
        let tables = cluster.psql("steps", "SELECT string_agg(relname, ',') FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace");
        println!("PostgreSQL, killed at {step:?}: {}", tables.trim());
        assert!(["later", "t"].contains(&tables.trim()), "{step}: {tables}");
        if step != "is kept as" {
            assert_eq!(tables.trim(), "later", "{step}");
        }
    }
    good(ground.restore(&file, &cluster.url("steps"), &["--overwrite"]));
    no_leftovers(&cluster);
}

/// Runs a restore into a directory that is a disk of its own, of so many KB, on which `old` lies as `target.db`.
/// Gives what was said, what lies there afterwards, and how it ended.
fn on_a_small_disk(ground: &Ground, file: &str, kilobytes: u32, old: Option<&Path>) -> (String, bool) {
    const SCRIPT: &str = r#"
        mount -t tmpfs -o size="$KILOBYTES"k tmpfs "$DISK" || exit 99
        [ -z "$OLD" ] || cp "$OLD" "$DISK/target.db"
        "$@"; status=$?
        echo there: $(ls -A "$DISK")
        [ -z "$OLD" ] || echo rows: $(sqlite3 "$DISK/target.db" 'SELECT count(*) FROM later')
        exit $status
    "#;
    let disk = ground.at("disk");
    fs::create_dir_all(&disk).unwrap();
    let into = sqlite_url(&disk.join("target.db"));
    let restore = ground.restore(file, &into, if old.is_some() { &["--overwrite"] } else { &[] });
    let mut command = Command::new("unshare");
    let as_root = rustix::process::geteuid().is_root();
    command.args(if as_root { &["-m"][..] } else { &["-rm"] }).args(["sh", "-c", SCRIPT, "sh"]);
    run_in(&mut command, &restore);
    command
        .env("DISK", &disk)
        .env("KILOBYTES", kilobytes.to_string())
        .env("OLD", old.unwrap_or(Path::new("")));
    let output = command.output().unwrap();
    assert_ne!(output.status.code(), Some(99), "no small disk could be mounted: {}", words(&output));
    (words(&output), output.status.success())
}

#[test]
fn a_full_disk_stops_a_restore_and_changes_nothing() {
    let home = Ground::new("");
    let (path, old) = (home.at("s.db"), home.at("old.db"));
    crate::support::desk::dense_database(&path, 2000);
    let later = Connection::open(&old).unwrap();
    later.execute_batch("CREATE TABLE later (a); INSERT INTO later VALUES (4711)").unwrap();
    let ground = Ground { databases: format!("s={}", sqlite_url(&path)), ..home };
    let file = ground.backup("s");
    let (said, done) = on_a_small_disk(&ground, &file, 1000, None);
    assert!(!done && said.contains("make room") && said.contains("there:\n"), "{said}");
    // There is room to unpack it, but not to put it into place.
    let (said, done) = on_a_small_disk(&ground, &file, 3000, Some(&old));
    assert!(!done && said.contains("full") && said.contains("as it was"), "{said}");
    assert!(said.contains("there: target.db\n") && said.contains("rows: 1\n"), "{said}");
    // The control: with room for both, the same goes well.
    let (said, done) = on_a_small_disk(&ground, &file, 9000, None);
    assert!(done && said.contains("there: target.db\n"), "{said}");
}

/// Ends the server's sessions that match, again and again, until the restore has ended. Gives what it said, and how
/// many sessions were ended.
fn losing(cluster: &Cluster, mut restore: Command, whose: &str) -> (String, u64) {
    let mut child = restore.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut ended = 0;
    while child.try_wait().unwrap().is_none() {
        let end = format!("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE {whose}");
        ended += cluster.psql("postgres", &end).trim().parse::<u64>().unwrap();
    }
    (words(&child.wait_with_output().unwrap()), ended)
}

#[test]
fn a_lost_connection_leaves_the_old_or_nothing() {
    let cluster = cluster();
    cluster.create_database("lost");
    cluster.psql("lost", "CREATE TABLE t AS SELECT g, md5(g::text) FROM generate_series(1, 300000) g");
    let ground = Ground::new(&format!("p={}", cluster.url("lost")));
    let file = ground.backup("p");
    cluster.psql("lost", "DROP TABLE t; CREATE TABLE later AS SELECT 4711 AS a");
    for (whose, over) in [
        ("datname ~ '^holdfast_restore_'", false),
        ("datname ~ '^holdfast_restore_'", true),
        ("application_name ~ '^holdfast_restore_' AND datname = 'postgres'", true),
    ] {
        let (into, more) = if over { ("lost", &["--overwrite"][..]) } else { ("found", &[][..]) };
        let (said, ended) = losing(&cluster, ground.restore(&file, &cluster.url(into), more), whose);
        assert!(ended > 0, "no session was ended in time: {said}");
        assert!(!said.contains(PASSWORD), "{whose}: {said}");
        assert!(!exists(&cluster, "found"), "{said}");
        // The session that only keeps watch is made anew as often as it is lost: what was restored may come to stay.
        if whose.contains("application_name") && said.contains("is restored into") {
            assert_eq!(cluster.psql("lost", "SELECT count(*) FROM t").trim(), "300000", "{said}");
            continue;
        }
        assert!(!said.contains("is restored into"), "{whose}: {said}");
        assert_eq!(cluster.psql("lost", "SELECT a FROM later").trim(), "4711", "{said}");
    }
    // What the last one left, the next one clears away.
    good(ground.restore(&file, &cluster.url("found"), &[]));
    assert_eq!(cluster.psql("found", "SELECT count(*) FROM t").trim(), "300000");
    no_leftovers(&cluster);
}

#[test]
fn what_is_replaced_keeps_its_icu_locale() {
    let cluster = cluster();
    cluster.psql(
        "postgres",
        "CREATE DATABASE icu TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'de-AT' LOCALE 'C.UTF-8'",
    );
    cluster.psql("icu", "CREATE TABLE t AS SELECT 1 AS a");
    let ground = Ground::new(&format!("p={}", cluster.url("icu")));
    let file = ground.backup("p");
    good(ground.restore(&file, &cluster.url("icu"), &["--overwrite"]));
    let locale = "SELECT to_jsonb(d) ->> 'datlocprovider', coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale')
                  FROM pg_database d WHERE datname = 'icu'";
    assert_eq!(cluster.psql("postgres", locale).trim(), "i\tde-AT");
}

/// What it printed, as JSON, and its exit status.
fn scripted(ground: &Ground, arguments: &[&str]) -> (serde_json::Value, Option<i32>) {
    let output = ground.program(arguments).output().unwrap();
    let printed = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", words(&output)));
    (printed, output.status.code())
}

#[test]
fn scripts_are_told_by_json_and_by_exit_status() {
    let home = Ground::new("");
    let path = home.at("s.db");
    crate::support::desk::small_database(&path);
    let ground = Ground { databases: format!("s={}", sqlite_url(&path)), ..home };
    let (made, status) = scripted(&ground, &["backup", "s", "--json"]);
    assert_eq!((status, &made["off_site"]), (Some(0), &serde_json::Value::Null));
    let file = made["file"].as_str().unwrap().to_owned();
    let (one, status) = scripted(&ground, &["verify", &file, "--json"]);
    assert_eq!((status, one["level"].as_str(), one["rows"].as_u64()), (Some(0), Some("restored"), Some(3)));
    let verdict = ground.backups().join(format!("{file}.verified.json"));
    assert!(fs::read_to_string(&verdict).unwrap().contains("\"proof\": \"restored\""));

    // What nobody described: one good, one not.
    let old = ground.backups().join("backup_2024-01-01_00-00-00.dump.gz");
    fs::copy(ground.backups().join(&file), &old).unwrap();
    fs::write(ground.backups().join("backup_bad.dump.gz"), "x").unwrap();
    let limited =
        ground.program(&["adopt", "backup_2024-01-01_00-00-00.dump.gz", "--max-bytes", "100"]).output();
    let limited = limited.unwrap();
    assert!(
        limited.status.code() == Some(1) && words(&limited).contains("--max-bytes"),
        "{}",
        words(&limited)
    );
    assert!(!ground.backups().join("backup_2024-01-01_00-00-00.dump.gz.manifest.json").exists());
    let (adopted, status) = scripted(&ground, &["adopt", "--all", "--json"]);
    assert_eq!((status, adopted.as_array().unwrap().len()), (Some(3), 2));
    assert!(ground.backups().join("backup_2024-01-01_00-00-00.dump.gz.manifest.json").exists());
    assert!(!ground.backups().join("backup_bad.dump.gz.manifest.json").exists());
    let (all, status) = scripted(&ground, &["verify", "--all", "--json"]);
    let levels: Vec<_> = all.as_array().unwrap().iter().map(|one| one["level"].as_str().unwrap()).collect();
    assert_eq!((status, &levels[..]), (Some(3), &["restored", "damaged", "restored"][..]));
    let (listed, _) = scripted(&ground, &["list", "--json"]);
    let words_of: Vec<_> =
        listed.as_array().unwrap().iter().map(|one| one["state"].as_str().unwrap()).collect();
    assert_eq!(words_of, ["whole", "damaged", "whole"]);

    let into = ground.at("again.db");
    let (back, status) = scripted(&ground, &["restore", &file, "--into", &sqlite_url(&into), "--json"]);
    assert_eq!(
        (status, back["rows"].as_u64(), &back["replaced"]),
        (Some(0), Some(3), &serde_json::Value::Null)
    );
    for (arguments, expected) in [
        (&["verify", "backup_none.dump.gz"][..], 1),
        (&["verify"], 2),
        (&["verify", &file, "--all"], 2),
        (&["verify", "backup_bad.dump.gz"], 3),
        (&["adopt", &file], 1),
        (&["adopt", "../x"], 1),
        (&["restore", &file, "--into", &sqlite_url(&into)], 1),
    ] {
        let output = ground.program(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(expected), "{arguments:?}: {}", words(&output));
    }
}

#[test]
fn a_bomb_stops_at_the_limit() {
    let ground = Ground::new("");
    let file = ground.at("bomb.dump.gz");
    let mut packed = GzEncoder::new(fs::File::create(&file).unwrap(), flate2::Compression::best());
    packed.write_all(b"SQLite format 3\0").unwrap();
    std::io::copy(&mut std::io::repeat(0).take(512 << 20), &mut packed).unwrap();
    packed.finish().unwrap();
    let name = file.to_str().unwrap();
    for mut command in [
        ground.program(&["verify", name, "--max-bytes", "1000000"]),
        ground.restore(name, &sqlite_url(&ground.at("x.db")), &["--max-bytes", "1000000"]),
    ] {
        let begun = Instant::now();
        let output = command.output().unwrap();
        let said = words(&output);
        assert!(!output.status.success() && said.contains("more than 1000000 bytes"), "{said}");
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
    assert!(contents_of(&ground.backups()).is_empty() && !ground.at("x.db").exists());
    // Thousands of empty members.
    let mut empty = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    empty.flush().unwrap();
    fs::write(&file, empty.finish().unwrap().repeat(5000)).unwrap();
    let said = ground.refused(&["verify", name]);
    assert!(said.contains("more than 16 gzip members"), "{said}");
    fs::write(&file, b"no gzip at all").unwrap();
    let said = ground.refused(&["verify", name]);
    assert!(said.contains("gzip is damaged"), "{said}");
    let said = ground.refused(&["verify", "backup_absent.dump.gz"]);
    assert!(said.contains("There is no backup file"), "{said}");
}

#[test]
fn the_wrong_tool_and_the_wrong_password_are_named_and_no_password_is_seen() {
    let cluster = cluster();
    let (ground, [postgres, _]) = two_backups(&cluster, "named");
    let bin = ground.at("bin");
    let tool = |script: &str| drop(tool(&ground, &cluster, script));
    let with_tool = |mut command: Command| {
        command.env("HOLDFAST_POSTGRES_BIN", &bin);
        command
    };
    let mut asked = Command::new(cluster.bin().join("pg_restore"));
    asked.arg("--version");
    let version = good(asked);
    let version = version.split_whitespace().nth(2).unwrap();
    tool("echo 'pg_restore (PostgreSQL) 9.6.24'");
    for command in
        [ground.program(&["verify", &postgres]), ground.restore(&postgres, &cluster.url("new-named"), &[])]
    {
        let said = bad(with_tool(command));
        assert!(said.contains("9.6.24") && said.contains(version), "{said}");
    }

    let seen = ground.at("seen");
    tool(&format!(
        "[ \"$1\" = --version ] && exec \"$REAL\" \"$@\"\n\
         {{ env; for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline; echo; done; }} >> {} 2>/dev/null\nexec \"$REAL\" \"$@\"",
        seen.display()
    ));
    good(with_tool(ground.restore(&postgres, &cluster.url("new-named"), &[])));
    let seen = fs::read_to_string(&seen).unwrap();
    assert!(seen.contains("--use-list=") && seen.contains("PGDATABASE=holdfast_restore_"));
    assert!(!seen.contains("c4n") && !seen.contains("new-named"), "a secret or a name was seen");

    let wrong = cluster.url("other").replace("c4n", "c5n");
    let said = bad(ground.restore(&postgres, &wrong, &[]));
    assert!(said.contains("refused the password") && said.contains("HOLDFAST_RESTORE_INTO"), "{said}");
    let said = bad(ground.restore(&postgres, "postgres://u:c4n@h", &[]));
    assert!(said.contains("names no database"), "{said}");
    cluster.psql("postgres", "CREATE ROLE weak LOGIN PASSWORD 'x'");
    let weak = format!("postgres://weak:x@127.0.0.1:{}/other", cluster.port);
    let said = bad(ground.restore(&postgres, &weak, &[]));
    assert!(said.contains("ALTER ROLE \"weak\" CREATEDB"), "{said}");
    let said = bad(ground.restore(&postgres, &cluster.url("template1"), &["--overwrite"]));
    assert!(said.contains("one of the server's own"), "{said}");
    assert_eq!(contents_of(&ground.at("data/run")), [""; 0]);
}

/// The commands of the section `heading` of the recovery guide.
fn commands_of(heading: &str) -> String {
    let guide = include_str!("../../docs/recovery.md");
    let section = guide.split_once(&format!("## {heading}\n")).unwrap().1;
    let section = section.split_once("\n## ").map_or(section, |(section, _)| section);
    let commands = section.split_once("```sh\n").unwrap().1.split_once("```").unwrap().0;
    assert_eq!(commands.lines().count(), 2, "{commands}");
    commands.to_owned()
}

#[test]
fn the_recovery_guide_s_commands_bring_everything_back() {
    let cluster = cluster();
    let (ground, [postgres, sqlite]) = two_backups(&cluster, "guided");
    for (heading, file, database) in
        [("PostgreSQL", &postgres, "by-hand"), ("SQLite", &sqlite, ground.at("by-hand.db").to_str().unwrap())]
    {
        let mut command = shell(&cluster, &commands_of(heading));
        command.env("FILE", ground.backups().join(file)).env("DATABASE", database);
        let said = good(command);
        assert!(heading == "PostgreSQL" || said.trim() == "ok", "{said}");
    }
    assert_eq!(contents(&cluster, "guided"), contents(&cluster, "by-hand"));
    assert_eq!(
        Connection::open(ground.at("by-hand.db"))
            .unwrap()
            .query_row("SELECT count(*) FROM t", (), |row| row.get::<_, i64>(0))
            .unwrap(),
        2000
    );
}

#[test]
fn nothing_is_restored_onto_holdfasts_own_files_but_its_state_while_it_is_stopped() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("s.db");
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();
    let ground = Ground::new(&format!("s={}", sqlite_url(&path)));
    let file = ground.backup("s");
    std::os::unix::fs::symlink(ground.at("data/audit.jsonl"), ground.at("link.db")).unwrap();
    for (target, words) in [
        ("data/key", "is in the data directory of this Holdfast"),
        ("data/new.db", "is in the data directory of this Holdfast"),
        ("link.db", "is in the data directory of this Holdfast"),
        ("data/backups/new.db", "is in the directory of the backups of this Holdfast"),
    ] {
        let said = bad(ground.restore(&file, &sqlite_url(&ground.at(target)), &["--overwrite"]));
        assert!(said.contains(words), "{target}: {said}");
    }
    assert!(
        !ground.at("data/key").exists()
            && !ground.at("data/new.db").exists()
            && !ground.at("data/backups/new.db").exists()
    );
    let state = sqlite_url(&ground.at("data/holdfast.db"));
    let holdfast = ground.holdfast();
    let server = holdfast.begin_serving().unwrap();
    bad(ground.restore(&file, &state, &["--overwrite"]));
    drop(server);
    holdfast.keep_own_files(&Target::Sqlite(ground.at("data/holdfast.db"))).unwrap();
}
