//! Benchmarks of the inner loops, which show a slow-down before a race is lost.

#![expect(clippy::expect_used, reason = "a bench stops")]

#[path = "../tests/support/noise.rs"]
mod noise;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use holdfast::api::json;
use holdfast::domain::bundles::layout::Plan;
use holdfast::domain::bundles::member::{Content, Member};
use holdfast::domain::engines::Cancel;
use holdfast::domain::operations::compress::{Effort, compress};
use holdfast::domain::repository::manifest;
use holdfast::domain::repository::manifest::Manifest;
use holdfast::model::{
    ArchiveFormat, Backup, BackupName, Column, EngineKind, FileState, ListPage, ListQuery, Sort, Stamp,
};
use noise::{Noise, noise};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::fs::File;
use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

fn main() {
    // Short, because there are many benchmarks. `--measurement-time` changes it, `--quick` is shorter still.
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(4))
        .configure_from_args();
    compressing(&mut criterion);
    sums(&mut criterion);
    plans(&mut criterion);
    lists(&mut criterion);
    readers(&mut criterion);
    criterion.final_summary();
}

/// The compression pass with threads and checksums; the output is discarded.
fn compressing(criterion: &mut Criterion) {
    let all = Effort::default();
    let one = Effort { threads: 1, ..all };
    let mut group = criterion.benchmark_group("compress");
    let nowhere = Path::new("/dev/null");
    let target = File::options().write(true).open(nowhere).expect("/dev/null");
    for (what, size) in [("one block of 256 KiB", 256 << 10), ("16 MiB", 16 << 20)] {
        let rows = rows(size);
        group.throughput(Throughput::Bytes(rows.len() as u64));
        // With one core, the two are the same.
        for effort in if all == one { vec![one] } else { vec![one, all] } {
            let id = BenchmarkId::new(what, format!("{} at a time", effort.threads));
            group.bench_with_input(id, &rows, |bencher, rows| {
                bencher.iter(|| {
                    let mut source = &rows[..];
                    compress(&mut source, &target, nowhere, effort, &Cancel::default(), &|_, _| ())
                        .expect("a whole pass")
                });
            });
        }
    }
    group.finish();
}

/// The checksums of each byte alone: the lower bound for a pass.
fn sums(criterion: &mut Criterion) {
    let bytes = noise(16 << 20, 7);
    let mut group = criterion.benchmark_group("sums of 16 MiB");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("CRC-32", |bencher| bencher.iter(|| crc32fast::hash(black_box(&bytes))));
    group.bench_function("SHA-256", |bencher| bencher.iter(|| Sha256::digest(black_box(&bytes))));
    group.finish();
}

/// The layout of an archive.
fn plans(criterion: &mut Criterion) {
    const ENTRIES: usize = 10_000;
    let member = |number| Member {
        name: name(number).to_string(),
        modified: created(number),
        size: 50_000_000 + number as u64,
        crc32: 0x1234_5678,
        content: Content::File(number),
    };
    let members: Vec<_> = (0..ENTRIES).map(member).collect();
    let mut group = criterion.benchmark_group("plan of 10,000 entries");
    group.throughput(Throughput::Elements(ENTRIES as u64));
    for format in ArchiveFormat::ALL {
        group.bench_function(format.key(), |bencher| {
            let lay_out = |members| Plan::new(format, members).expect("an archive of a size");
            bencher.iter_batched(|| members.clone(), lay_out, BatchSize::LargeInput);
        });
    }
    group.finish();
}

/// One page of a list of very many backups.
fn lists(criterion: &mut Criterion) {
    const BACKUPS: usize = 100_000;
    let all: Vec<_> = (0..BACKUPS).zip(Noise(7)).map(|(number, noise)| backup(number, noise)).collect();
    let by = |column, descending| ListQuery { sort: Sort { column, descending }, ..ListQuery::default() };
    let queries = [
        ("by name", ListQuery::default()),
        ("by size, largest first", by(Column::Size, true)),
        ("the page in the middle", ListQuery::default().at_page(BACKUPS / 40)),
        ("filtered", ListQuery::default().filtered("2026-11 whole")),
    ];
    let mut group = criterion.benchmark_group("page of 100,000 backups");
    for (what, query) in queries {
        let page = query.page_of(&all, created(0));
        assert!(page.rows.len() == 20 && page.matching > 10_000, "{what}: {} match", page.matching);
        group.bench_function(what, |bencher| bencher.iter(|| query.page_of(black_box(&all), created(0))));
    }
    group.finish();
}

/// The parsing that each file and each page need.
fn readers(criterion: &mut Criterion) {
    let name = name(7);
    let mut group = criterion.benchmark_group("read");
    group.bench_function("the name of a backup", |bencher| {
        bencher.iter(|| black_box(name.as_str()).parse::<BackupName>().expect("a name").created());
    });
    let bytes = a_manifest(name.clone()).to_bytes();
    group.bench_function("a manifest", |bencher| {
        bencher.iter(|| Manifest::read(black_box(&bytes)).expect("a manifest"));
    });
    let all: Vec<_> = (0..1000).zip(Noise(7)).map(|(number, noise)| backup(number, noise)).collect();
    let page = ListQuery::default().sized(100).page_of(&all, created(0));
    let text = serde_json::to_string(&page).expect("JSON");
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("a list of 100 rows, as the browser does", |bencher| {
        bencher.iter(|| json::read::<ListPage>(black_box(&text)).expect("a page"));
    });
    group.finish();
}

/// `size` bytes of rows like those of an event table.
fn rows(size: usize) -> Vec<u8> {
    let mut text = String::with_capacity(size + 100);
    for (row, noise) in Noise(7).enumerate() {
        let (customer, amount) = (noise % 5000, noise % 100_000);
        // Writing to a string cannot fail.
        let _ =
            writeln!(text, "{row}\tcustomer-{customer}\t{amount}\t2026-11-23 02:41:07\t{noise:016x}\topen");
        if text.len() >= size {
            break;
        }
    }
    text.truncate(size);
    text.into_bytes()
}

/// Backups one minute apart, newest first.
fn created(number: usize) -> Stamp {
    Stamp::from_millis(1_795_401_667_123 - i64::try_from(number).expect("a number") * 60_000)
}

fn name(number: usize) -> BackupName {
    let database = ["ledger", "shop", "a-database-with-a-longer-name"][number % 3];
    BackupName::new(&database.parse().expect("a name"), created(number), 1)
}

fn backup(number: usize, noise: u64) -> Backup {
    let name = name(number);
    Backup {
        database: name.database().map(|database| database.to_string()),
        name,
        engine: Some(EngineKind::new("postgresql")),
        created: created(number),
        modified: created(number),
        size: noise % 1_000_000_000,
        sha256: Some("ab".repeat(32)),
        state: if noise.is_multiple_of(50) { FileState::NoManifest } else { FileState::Whole },
        verified: None,
    }
}

fn a_manifest(file: BackupName) -> Manifest {
    Manifest {
        manifest_version: manifest::VERSION,
        file,
        created_at: created(7).rfc3339(),
        database: "shop".parse().expect("a name"),
        database_engine: EngineKind::new("postgresql"),
        backup_format: "pg-custom".to_owned(),
        payload_size: 50_000_000,
        payload_sha256: "ab".repeat(32),
        payload_crc32: "12345678".to_owned(),
        content_size: 200_000_000,
        content_sha256: "cd".repeat(32),
        created_by: "a bench".to_owned(),
        warnings: None,
        remarks: Vec::new(),
        tables: None,
        rows: None,
        origin: None,
    }
}
