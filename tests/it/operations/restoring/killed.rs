//! A restore that is killed at any moment leaves the old database or the new one, never a mixture.

use super::*;

/// Kills of a restore, for each engine.
const KILLS: u32 = 25;

/// Kills of a control, and four times that where none was found out yet.
const CONTROL_KILLS: u32 = 10;

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
    let ground = Home::new(&databases);
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
    assert!(said.contains("holdfast_restore_aaaaaaaaaaaa") && said.contains("it was left alone"), "{said}");
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
    let ground = Home::new(&databases);
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
    let left: Vec<_> = fs::read_dir(ground.path())
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

/// Restores over `old` again and again, killed at the first call of that kind to do with the target, then at the
/// second, until none is left to be killed at. Gives how often it was killed, and how often the old one was there
/// afterwards.
fn killed_at_each(ground: &Home, file: &str, old: &Path, call: &str) -> (u32, u32) {
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
    let home = Home::new("");
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
    let ground = home.told(format!("s={}", sqlite_url(&path)));
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
    let ground = Home::new(&format!("p={}", cluster.url("steps")));
    let file = ground.backup("p");
    cluster.psql("steps", "DROP TABLE t; CREATE TABLE later (a int)");
    // What it tells marks its steps: the plan, that the file is whole, that the old one is kept.
    for step in ["Restoring", "The backup is complete", "is kept as"] {
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
