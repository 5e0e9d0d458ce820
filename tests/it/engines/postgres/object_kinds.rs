//! PostgreSQL databases as people really have them, backed up, verified, restored beside and restored over: each kind
//! of object, for a superuser, for the owner of the database, and for a role that may only read. What comes of it is
//! told, and right.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests: the figures they print are read"
)]

use crate::operations::restoring::{exists, leftovers};
use crate::support::holdfast::{Home, words};
use crate::support::postgres::{Cluster, USER};
use std::fmt::Write as _;
use std::fs;
use std::process::Output;

/// What verifying or restoring comes to.
#[derive(Debug, Clone, Copy)]
enum Comes {
    /// All of it is there.
    Whole,
    /// All data is there, and these are named as left out.
    Except(&'static [&'static str]),
    /// Data cannot be had back on this server by this role, and this is said of it.
    Not(&'static str),
    /// There is no backup in the first place, and this is said of it.
    NoBackup(&'static str),
}
use Comes::{Except, NoBackup, Not, Whole};

/// A kind of database.
struct Kind {
    name: &'static str,
    /// How it is created.
    options: &'static str,
    /// Run by a superuser in it; `SET ROLE own` makes what follows the owner's.
    make: &'static str,
    /// For the superuser, the owner and the reader.
    comes: [Comes; 3],
    /// What a restore that stays comes to, where it is another.
    stays: Option<[Comes; 2]>,
}

const fn kind(name: &'static str, make: &'static str, comes: [Comes; 3]) -> Kind {
    Kind { name, options: "", make, comes, stays: None }
}

const KINDS: [Kind; 29] = [
    kind(
        "plain",
        "SET ROLE own; CREATE TABLE t (a int PRIMARY KEY, b text); INSERT INTO t SELECT i, repeat('x', i) FROM generate_series(1, 500) i",
        [Whole; 3],
    ),
    kind(
        "event_trigger",
        "SET ROLE own; CREATE TABLE t AS SELECT 1 AS a; RESET ROLE; CREATE FUNCTION ev() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN END $$; CREATE EVENT TRIGGER ev ON ddl_command_end EXECUTE FUNCTION ev()",
        [Except(&["event trigger ev: not created in a test"]); 3],
    ),
    kind(
        "publication",
        "SET ROLE own; CREATE TABLE t AS SELECT 1 AS a; RESET ROLE; CREATE PUBLICATION p FOR ALL TABLES",
        [Whole, Except(&["publication p: "]), Except(&["publication p: "])],
    ),
    kind(
        "subscription",
        "SET ROLE own; CREATE TABLE t AS SELECT 1 AS a; RESET ROLE; CREATE SUBSCRIPTION s CONNECTION 'host=127.0.0.1 port=1' PUBLICATION p WITH (connect = false, slot_name = 'x')",
        // Only a superuser's pg_dump has it.
        [Except(&["subscription s: not created in a test"]), Whole, Whole],
    ),
    kind(
        "foreign",
        "CREATE EXTENSION postgres_fdw; CREATE SERVER other FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '1'); CREATE USER MAPPING FOR own SERVER other OPTIONS (user 'x', password 'y'); GRANT USAGE ON FOREIGN SERVER other TO own; SET ROLE own; CREATE FOREIGN TABLE f (a int) SERVER other; CREATE TABLE t AS SELECT 1 AS a; CREATE VIEW v AS SELECT * FROM f",
        [
            Except(&["user mapping"]),
            Except(&[
                "extension postgres_fdw: permission denied",
                "server other: ",
                "foreign table public.f: ",
            ]),
            Except(&["extension postgres_fdw: "]),
        ],
    ),
    kind(
        "policy",
        "SET ROLE own; CREATE TABLE t AS SELECT i AS a FROM generate_series(1, 77) i; CREATE POLICY p ON t TO app USING (a < 5); ALTER TABLE t ENABLE ROW LEVEL SECURITY; RESET ROLE; GRANT SELECT ON t TO ro; ALTER ROLE ro BYPASSRLS",
        [Whole; 3],
    ),
    kind(
        "forced_policy",
        "SET ROLE own; CREATE TABLE t AS SELECT i AS a FROM generate_series(1, 77) i; CREATE POLICY p ON t TO app USING (a < 5); ALTER TABLE t ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
        // A dump that would leave rows out is refused.
        [Whole, NoBackup("row-level security"), Whole],
    ),
    kind(
        "tablespace",
        "CREATE TABLE t (a int) TABLESPACE fast; ALTER TABLE t OWNER TO own; INSERT INTO t VALUES (1); CREATE INDEX ON t (a) TABLESPACE fast",
        [Whole, Except(&["tablespace fast: "]), Except(&["tablespace fast: "])],
    ),
    kind(
        "matview",
        "SET ROLE own; CREATE TABLE t AS SELECT 1 AS a; CREATE FUNCTION f() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM t'; CREATE MATERIALIZED VIEW m AS SELECT f()",
        [Except(&["materialized view data public.m: relation \"t\" does not exist"]); 3],
    ),
    kind(
        "index_function",
        "SET ROLE own; CREATE TABLE u AS SELECT 1 AS a; CREATE TABLE t AS SELECT 1 AS a; CREATE FUNCTION f(int) RETURNS bigint IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT count(*) FROM u); END $$; CREATE INDEX i ON t (f(a))",
        [Except(&["index public.i: relation \"u\" does not exist"]); 3],
    ),
    kind(
        "check_function",
        "SET ROLE own; CREATE TABLE u AS SELECT 1 AS a; CREATE FUNCTION f(int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RETURN $1 <= (SELECT max(a) FROM u); END $$; CREATE TABLE t (a int, CONSTRAINT c CHECK (f(a)), CONSTRAINT d CHECK (a > 0)); INSERT INTO t VALUES (1); CREATE TABLE a (a int CHECK (f(a))); INSERT INTO a VALUES (1); CREATE TABLE p (a int, CONSTRAINT pc CHECK (f(a))) PARTITION BY RANGE (a); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (9); INSERT INTO p VALUES (1); CREATE DOMAIN d AS int CONSTRAINT dc CHECK (f(VALUE)); CREATE TABLE dt (a d); INSERT INTO dt VALUES (1)",
        [Except(&[
            "check constraint c of table public.t",
            "check constraint pc of table public.p:",
            "check constraint dc of domain public.d",
            "relation \"u\" does not exist",
        ]); 3],
    ),
    kind(
        "trusted",
        "SET ROLE own; CREATE EXTENSION hstore; CREATE TABLE t AS SELECT 'a=>1'::hstore AS h",
        [Whole; 3],
    ),
    kind(
        "untrusted",
        "SET ROLE own; CREATE TABLE t AS SELECT 1 AS a; RESET ROLE; CREATE EXTENSION pg_stat_statements; COMMENT ON EXTENSION pg_stat_statements IS 'mine'",
        [
            Whole,
            Except(&["extension pg_stat_statements: permission denied"]),
            Except(&["extension pg_stat_statements: "]),
        ],
    ),
    kind(
        "c_function",
        "SET ROLE own; CREATE TABLE t AS SELECT 1 AS a; RESET ROLE; CREATE FUNCTION c_like(text) RETURNS int LANGUAGE internal AS 'textlen'",
        [
            Whole,
            Except(&["function public.c_like(text): permission denied for language internal"]),
            Except(&["function public.c_like(text): "]),
        ],
    ),
    kind(
        "base_type",
        "CREATE TYPE odd; CREATE FUNCTION odd_in(cstring) RETURNS odd LANGUAGE internal IMMUTABLE STRICT AS 'int4in'; CREATE FUNCTION odd_out(odd) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'int4out'; CREATE TYPE odd (INPUT = odd_in, OUTPUT = odd_out, LIKE = int4); SET ROLE own; CREATE TABLE t (a odd); INSERT INTO t VALUES ('5')",
        [Whole, Not("table public.t: "), Not("table public.t: ")],
    ),
    kind(
        "operator_class",
        "CREATE OPERATOR CLASS mine FOR TYPE int USING btree AS OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 btint4cmp(int, int); SET ROLE own; CREATE TABLE t AS SELECT 1 AS a; CREATE INDEX i ON t (a mine)",
        [
            Whole,
            Except(&["operator class public.mine: must be superuser", "index public.i: "]),
            Except(&["index public.i: "]),
        ],
    ),
    kind(
        "foreign_large_object",
        "SET ROLE own; CREATE TABLE t AS SELECT 1 AS a; RESET ROLE; SELECT lo_from_bytea(4711, 'secret')",
        [Whole, NoBackup("large object"), NoBackup("large object")],
    ),
    kind(
        "large_objects",
        "SET ROLE own; SELECT lo_from_bytea(4711, 'x'), lo_create(12); CREATE TABLE t AS SELECT 4711::oid AS o; GRANT SELECT ON LARGE OBJECT 4711, 12 TO ro",
        [Whole; 3],
    ),
    kind(
        "circles_of_views",
        "SET ROLE own; CREATE TABLE a (id int PRIMARY KEY, b text); CREATE VIEW v AS SELECT id, b FROM a GROUP BY id; CREATE VIEW w AS SELECT * FROM v; CREATE TABLE none (); INSERT INTO none DEFAULT VALUES; CREATE TABLE late (x int); CREATE VIEW lv AS SELECT 1 AS x; CREATE FUNCTION on_lv(lv) RETURNS int LANGUAGE sql AS 'SELECT 1'; INSERT INTO a VALUES (1, 'x')",
        [Whole; 3],
    ),
    kind(
        "foreign_partition",
        "CREATE EXTENSION postgres_fdw; CREATE SERVER other FOREIGN DATA WRAPPER postgres_fdw; GRANT USAGE ON FOREIGN SERVER other TO own; SET ROLE own; CREATE TABLE p (a int) PARTITION BY RANGE (a); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (9); CREATE FOREIGN TABLE p2 PARTITION OF p FOR VALUES FROM (9) TO (99) SERVER other; INSERT INTO p VALUES (1)",
        [Whole, Except(&["foreign table public.p2: "]), Except(&["extension postgres_fdw: "])],
    ),
    kind(
        "values_of_settings",
        "SET ROLE own; CREATE TABLE t (a text[], b timestamptz, c interval, d money, CHECK (b::date = '2024-01-31')); SET TimeZone = 'UTC'; INSERT INTO t VALUES ('{NULL,x}', '2024-01-31 23:30:00+00', '1 year 2 mons -3 days', 12.34); ALTER ROLE own SET array_nulls = off; RESET ROLE; ALTER ROLE ro SET array_nulls = off; ALTER DATABASE \"values_of_settings-own\" SET DateStyle = 'German'; ALTER DATABASE \"values_of_settings-own\" SET IntervalStyle = 'iso_8601'",
        [Whole; 3],
    ),
    kind(
        "partitions",
        "SET ROLE own; CREATE TABLE p (k text, v int) PARTITION BY LIST (k); CREATE TABLE p_a PARTITION OF p FOR VALUES IN ('a'); CREATE TABLE p_rest PARTITION OF p DEFAULT; INSERT INTO p VALUES ('a', 1), ('ü', 2), (NULL, 3); CREATE INDEX ON p (v); CREATE TYPE mood AS ENUM ('x', 'y'); CREATE TABLE h (m mood) PARTITION BY HASH (m); CREATE TABLE h0 PARTITION OF h FOR VALUES WITH (MODULUS 2, REMAINDER 0); CREATE TABLE h1 PARTITION OF h FOR VALUES WITH (MODULUS 2, REMAINDER 1); INSERT INTO h VALUES ('x'), ('y')",
        [Whole; 3],
    ),
    kind(
        "rows_kept_from_readers",
        "SET ROLE own; CREATE TABLE t AS SELECT i AS a FROM generate_series(1, 9) i; CREATE RULE r AS ON INSERT TO t DO INSTEAD NOTHING; CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$; CREATE TRIGGER no BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION no()",
        [Whole; 3],
    ),
    kind(
        "odd_settings",
        "SET ROLE own; CREATE TABLE t AS SELECT 'x'::text AS a; RESET ROLE; ALTER DATABASE \"odd_settings-own\" SET statement_timeout = '1s'; ALTER DATABASE \"odd_settings-own\" SET standard_conforming_strings = off; ALTER DATABASE \"odd_settings-own\" SET search_path = nowhere, \"od d\"",
        [Whole; 3],
    ),
    Kind {
        options: "LOCALE_PROVIDER icu ICU_LOCALE 'en' LOCALE 'C.UTF-8'",
        ..kind(
            "icu",
            "SET ROLE own; CREATE TABLE p (k text) PARTITION BY RANGE (k); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM ('a') TO ('B'); INSERT INTO p VALUES ('Abe')",
            [Whole; 3],
        )
    },
    Kind {
        options: "ENCODING 'LATIN1' LOCALE 'C'",
        ..kind(
            "latin1",
            "SET ROLE own; SET client_encoding = UTF8; CREATE TABLE \"Müller\" AS SELECT 'Müller'::text AS \"ä\"; CREATE SEQUENCE \"ö\"",
            [Whole; 3],
        )
    },
    Kind {
        options: "ENCODING 'SQL_ASCII' LOCALE 'C'",
        ..kind(
            "sql_ascii",
            "SET ROLE own; CREATE TABLE t (a text); INSERT INTO t VALUES (E'caf\\351'), (E'caf\\303\\251'); DO $$ BEGIN EXECUTE format('CREATE TABLE %I (%I int)', E'caf\\351', E'n\\351'); EXECUTE format('INSERT INTO %I VALUES (1)', E'caf\\351'); END $$",
            [Whole; 3],
        )
    },
    kind(
        "objects_of_all_kinds",
        "SET ROLE own; CREATE SCHEMA s; CREATE TYPE s.mood AS ENUM ('a'); CREATE DOMAIN s.pos AS int CHECK (VALUE > 0); CREATE TABLE s.t (id int GENERATED ALWAYS AS IDENTITY, m s.mood DEFAULT 'a', p s.pos, d int GENERATED ALWAYS AS (p * 2) STORED, EXCLUDE USING gist (int4range(p, p, '[]') WITH &&)); INSERT INTO s.t (p) VALUES (1), (5); CREATE UNLOGGED TABLE s.u AS SELECT 1 AS a; CREATE STATISTICS s.st ON m, p FROM s.t; CREATE TEXT SEARCH DICTIONARY s.di (TEMPLATE = simple); CREATE COLLATION s.co (provider = icu, locale = 'de'); CREATE FUNCTION s.add(int, int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1 + $2'; CREATE AGGREGATE s.summed(int) (SFUNC = s.add, STYPE = int); CREATE OPERATOR s.@#@ (LEFTARG = int, RIGHTARG = int, FUNCTION = s.add); ALTER DEFAULT PRIVILEGES IN SCHEMA s GRANT SELECT ON TABLES TO app; COMMENT ON TABLE s.t IS 'it''s'; CREATE PROCEDURE s.pr() LANGUAGE plpgsql AS $$ BEGIN COMMIT; END $$",
        [Whole; 3],
    ),
    kind("empty", "", [Whole; 3]),
];

/// Whose URL the database is configured with.
const ROLES: [&str; 3] = [USER, "own", "ro"];

fn rows(cluster: &Cluster, database: &str) -> String {
    cluster.psql(
        database,
        "SET row_security = off; SET statement_timeout = 0; SET search_path = public, s;
         SELECT n.nspname, encode(textsend(c.relname::text), 'hex'), query_to_xml(format('SELECT count(*), md5(string_agg(encode(textsend(t::text), ''hex''), ''|'' ORDER BY t::text COLLATE \"C\")) FROM ONLY %I.%I t', n.nspname, c.relname), true, true, '')::text
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind = 'r' AND n.nspname !~ '^pg_|^information_schema$'
           -- Where a row with an enum lies among hash partitions is another place after each restore.
           AND coalesce(pg_get_expr(c.relpartbound, c.oid), '') !~ 'modulus' ORDER BY 1, 2;
         SELECT loid, md5(data) FROM pg_largeobject ORDER BY 1, pageno;
         SELECT pg_encoding_to_char(encoding), datcollate, datctype, to_jsonb(d) ->> 'daticulocale' FROM pg_database d WHERE datname = current_database()",
    )
}

/// What belongs to the database and not to the backup.
fn belongings(cluster: &Cluster, database: &str) -> String {
    cluster.psql(
        "postgres",
        &format!(
            "SELECT datdba::regrole, (SELECT array_agg(a::text ORDER BY a::text) FROM unnest(datacl) a), datconnlimit, datistemplate, dattablespace, shobj_description(d.oid, 'pg_database'),
                    (SELECT array_agg(setrole::regrole || ' ' || setconfig::text ORDER BY setrole) FROM pg_db_role_setting WHERE setdatabase = d.oid)
             FROM pg_database d WHERE datname = '{database}'"
        ),
    )
}

fn told(output: &Output, comes: Comes, case: &str) {
    let said = words(output);
    let succeeded = output.status.success();
    match comes {
        Whole => assert!(succeeded && !said.contains("exception"), "{case}: {said}"),
        Except(names) => {
            assert!(succeeded && said.contains("exception"), "{case}: {said}");
            for name in names {
                assert!(said.contains(name), "{case}: {name}: {said}");
            }
        }
        Not(why) => assert!(!succeeded && said.contains(why), "{case}: {said}"),
        NoBackup(_) => panic!("{case}"),
    }
}

/// All kinds for one of the roles.
fn every_kind_for(role: usize) {
    let cluster = Cluster::start();
    let space = cluster.socket().join("fast");
    fs::create_dir(&space).unwrap();
    cluster.give_to_server(&space);
    cluster.psql(
        "postgres",
        &format!(
            "CREATE ROLE own LOGIN CREATEDB PASSWORD 'p4ss-w0rd'; CREATE ROLE app;
             CREATE ROLE ro LOGIN CREATEDB BYPASSRLS PASSWORD 'p4ss-w0rd' IN ROLE pg_read_all_data;
             CREATE TABLESPACE fast LOCATION '{}'",
            space.display()
        ),
    );
    let url = |database: &str| match ROLES[role] {
        USER => cluster.url(database),
        name => format!("postgres://{name}:p4ss-w0rd@127.0.0.1:{}/{database}", cluster.port),
    };
    let mut databases = String::new();
    for Kind { name, options, make, .. } in &KINDS {
        let database = format!("{name}-own");
        cluster.psql(
            "postgres",
            &format!("CREATE DATABASE \"{database}\" OWNER own TEMPLATE template0 {options}"),
        );
        cluster.psql(&database, make);
        cluster.psql("postgres", &format!(
            "GRANT CONNECT, TEMPORARY ON DATABASE \"{database}\" TO app WITH GRANT OPTION; REVOKE TEMPORARY ON DATABASE \"{database}\" FROM PUBLIC;
             ALTER DATABASE \"{database}\" CONNECTION LIMIT 7; COMMENT ON DATABASE \"{database}\" IS 'the shop''s';
             ALTER DATABASE \"{database}\" SET work_mem = '7MB'; ALTER ROLE own IN DATABASE \"{database}\" SET work_mem = '8MB'"
        ));
        writeln!(databases, "{}={}", name.replace('_', "-"), url(&database)).unwrap();
    }
    let ground = Home::new(&databases);
    for Kind { name, comes, stays, .. } in &KINDS {
        let (database, comes) = (format!("{name}-own"), comes[role]);
        let case = format!("{name} as {}", ROLES[role]);
        let made = ground.program(&["backup", &name.replace('_', "-")]).output().unwrap();
        if let NoBackup(why) = comes {
            assert!(!made.status.success() && words(&made).contains(why), "{case}: {}", words(&made));
            continue;
        }
        assert!(made.status.success(), "{case}: {}", words(&made));
        let file = String::from_utf8(made.stdout).unwrap().trim().to_owned();

        let verified =
            ground.program(&["verify", &file]).env("HOLDFAST_RESTORE_ON", url("any")).output().unwrap();
        told(&verified, comes, &format!("{case}, verified"));
        if !matches!(comes, Not(_)) {
            assert!(words(&verified).contains("It was restored: "), "{case}: {}", words(&verified));
        }
        assert_eq!(leftovers(&cluster), "", "{case}");

        // What stays is told in other words.
        let comes = stays.map_or(comes, |stays| stays[role.min(1)]);
        let comes = match comes {
            Except(["event trigger ev: not created in a test"]) => Except(&["event trigger ev: left out"]),
            Except(["subscription s: not created in a test"]) => Except(&["subscription s: left out"]),
            other => other,
        };
        let before = rows(&cluster, &database);
        let beside = format!("{name}-beside");
        let done = ground.restore(&file, &url(&beside), &[]).output().unwrap();
        told(&done, comes, &format!("{case}, beside"));
        assert_eq!(exists(&cluster, &beside), done.status.success(), "{case}");
        if done.status.success() {
            assert_eq!(rows(&cluster, &beside), before, "{case}, beside");
        }

        let belongs = belongings(&cluster, &database);
        let done = ground.restore(&file, &url(&database), &["--overwrite"]).output().unwrap();
        if ROLES[role] == "own" && *name == "subscription" {
            let said = words(&done);
            assert!(!done.status.success() && said.contains("DROP SUBSCRIPTION \"s\""), "{case}: {said}");
        } else if ROLES[role] == "ro" {
            assert!(
                !done.status.success() && words(&done).contains("belongs to another role"),
                "{case}: {}",
                words(&done)
            );
        } else {
            told(&done, comes, &format!("{case}, over"));
            assert_eq!(belongings(&cluster, &database), belongs, "{case}, over");
        }
        assert_eq!(rows(&cluster, &database), before, "{case}, over");
        assert_eq!(leftovers(&cluster), "", "{case}");
    }
    println!("{} kinds of PostgreSQL databases as {}", KINDS.len(), ROLES[role]);
}

#[test]
fn every_kind_of_database_for_a_superuser() {
    every_kind_for(0);
}

#[test]
fn every_kind_of_database_for_its_owner() {
    every_kind_for(1);
}

#[test]
fn every_kind_of_database_for_a_reader() {
    every_kind_for(2);
}
