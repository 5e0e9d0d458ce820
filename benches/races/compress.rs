//! One pass of gzip, SHA-256 and CRC-32, compared with separate tools one after the other.

use crate::noise::Noise;
use crate::postgres::cluster;
use crate::table::{Cost, Table, Wanted, cost_of, race, sized};
use holdfast::domain::engines::Cancel;
use holdfast::domain::operations::compress::{Effort, compress};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

/// Number of rows in the compressed table, about 68 bytes each.
const ROWS: u64 = 3_000_000;

/// Compressing a dump, from page cache to page cache.
pub fn one_pass(table: &mut Table) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (input, ours, theirs) =
        (dir.path().join("dump"), dir.path().join("ours.gz"), dir.path().join("theirs.gz"));
    fs::write(&input, rows()).expect("room for the input");
    let job = format!("{} MB of table rows to `.gz` with its sum", size_of(&input) / 1_000_000);
    let shell = |script: &str| {
        let mut command = Command::new("bash");
        command.args(["-c", script, "race"]).arg(&input).arg(&theirs).stdout(Stdio::null());
        cost_of(|| assert!(command.status().expect("bash").success(), "{script} failed"))
    };
    let [holdfast, gzip, piped, pigz] = race([
        &mut || holdfast(&input, &ours, Effort::default()),
        &mut || shell(r#"gzip -6 -c "$1" >"$2" && sha256sum "$2""#),
        &mut || shell(r#"gzip -6 -c "$1" | tee "$2" | sha256sum"#),
        &mut || shell(r#"pigz -p2 -6 -c "$1" | tee "$2" | sha256sum"#),
    ]);
    let detail = |theirs: Cost| {
        format!(
            "{:.2} s, {:.2} s CPU; peer {:.2} s, {:.2} s CPU",
            holdfast.wall, holdfast.cpu, theirs.wall, theirs.cpu
        )
    };
    table.row(
        &job,
        "wall / `gzip -6` then `sha256sum`",
        holdfast.wall / gzip.wall,
        Wanted::AtMost(0.6),
        &detail(gzip),
    );
    table.row(&job, "CPU / `gzip -6` then `sha256sum`", holdfast.cpu / gzip.cpu, Wanted::AtMost(0.5), "");
    table.row(
        &job,
        "wall / `gzip -6 \\| sha256sum`",
        holdfast.wall / piped.wall,
        Wanted::Nothing,
        &detail(piped),
    );
    table.row(
        &job,
        "wall / `pigz -p2 -6 \\| sha256sum`",
        holdfast.wall / pigz.wall,
        Wanted::Nothing,
        &detail(pigz),
    );
    table.row(&job, "CPU / `pigz -p2 -6 \\| sha256sum`", holdfast.cpu / pigz.cpu, Wanted::Nothing, "");
    shell(r#"gzip -6 -c "$1" >"$2""#);
    let whole = size_of(&theirs);
    for level in [2, 3, 4, 5, 6] {
        let cost = holdfast_at(&input, &ours, level);
        let detail = format!("{:.2} s, {:.2} s CPU", cost.wall, cost.cpu);
        let wanted = if level == Effort::default().level { Wanted::AtMost(1.0) } else { Wanted::Nothing };
        table.row(
            &job,
            &format!("size at level {level} / `gzip -6`"),
            ratio(size_of(&ours), whole),
            wanted,
            &detail,
        );
    }
}

/// A whole backup of a PostgreSQL database, compared with `pg_dump` with its own compression.
pub fn a_server_s_dump(table: &mut Table) {
    let cluster = cluster();
    cluster.create_database("race");
    let rows = sized(2_000_000);
    cluster.psql(
        "race",
        &format!(
            "CREATE TABLE event AS SELECT n, 'customer-' || n::bigint * 7919 % 5000 AS customer, n::bigint * 104729 % 100000 AS amount, \
             timestamp '2026-11-23 02:41:07' + n * interval '1 s' AS at, md5(n::text) AS token \
             FROM generate_series(1, {rows}) AS n"
        ),
    );
    let home = tempfile::tempdir().expect("a temporary directory");
    let ours = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
        command.args(["backup", "race"]).stdout(Stdio::null());
        command.env("HOLDFAST_DATA_DIR", home.path()).env("HOLDFAST_POSTGRES_BIN", cluster.bin());
        command.env("HOLDFAST_DATABASES", format!("race={}", cluster.socket_url("race")));
        cost_of(|| assert!(command.status().expect("holdfast").success(), "no backup"))
    };
    let peer = home.path().join("peer.dump");
    let theirs = || {
        let mut command = cluster.command("pg_dump");
        command.args(["-Fc", "-Z6", "-d", "race", "-f"]).arg(&peer);
        cost_of(|| assert!(command.status().expect("pg_dump").success(), "no dump"))
    };
    let [holdfast, pg_dump] = race([&mut { ours }, &mut { theirs }]);
    let detail = format!(
        "{:.2} s, {:.2} s CPU; peer {:.2} s, {:.2} s CPU",
        holdfast.wall, holdfast.cpu, pg_dump.wall, pg_dump.cpu
    );
    let job = format!("backup of {rows} rows of PostgreSQL");
    table.row(&job, "wall / `pg_dump -Fc -Z6`", holdfast.wall / pg_dump.wall, Wanted::Nothing, &detail);
    table.row(&job, "CPU / `pg_dump -Fc -Z6`", holdfast.cpu / pg_dump.cpu, Wanted::Nothing, "");
}

fn holdfast(input: &Path, output: &Path, effort: Effort) -> Cost {
    let mut source = File::open(input).expect("the input");
    let target = File::create(output).expect("the output");
    cost_of(|| {
        compress(&mut source, &target, output, effort, &Cancel::default(), &|_, _| ()).expect("a whole pass");
    })
}

fn holdfast_at(input: &Path, output: &Path, level: u8) -> Cost {
    holdfast(input, output, Effort { level, ..Effort::default() })
}

fn size_of(path: &Path) -> u64 {
    path.metadata().expect("a file").len()
}

#[expect(clippy::cast_precision_loss, reason = "for printing")]
fn ratio(ours: u64, theirs: u64) -> f64 {
    ours as f64 / theirs as f64
}

/// Rows like those of an event table: counters, names, amounts, some noise.
fn rows() -> String {
    let mut text = String::new();
    for (row, noise) in (0..sized(ROWS)).zip(Noise(7)) {
        let (customer, amount) = (noise % 5000, noise % 100_000);
        let _ =
            writeln!(text, "{row}\tcustomer-{customer}\t{amount}\t2026-11-23 02:41:07\t{noise:016x}\topen");
    }
    text
}
