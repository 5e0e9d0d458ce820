//! Races Holdfast's one pass (gzip, SHA-256, CRC-32) against `gzip -6` followed by `sha256sum`, in turn, in
//! one run: what counts is the ratio, since machines drift.

#![expect(clippy::print_stdout, clippy::expect_used, reason = "a bench reports, or stops")]

use holdfast::vault::compress::{Effort, compress};
use holdfast::vault::dump::Cancel;
use std::fmt::Write as _;
use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

const ROUNDS: usize = 5;
const ROWS: u32 = 1_200_000;

fn main() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let input = dir.path().join("dump");
    std::fs::write(&input, rows()).expect("room for the input");
    let bytes = input.metadata().expect("the input").len();
    let mut ratios = Vec::new();
    println!("one pass over {} MB of table rows, wall seconds", bytes / 1_000_000);
    for _ in 0..ROUNDS {
        let (ours, our_size) = holdfast(&input, &dir.path().join("ours.gz"));
        let (theirs, their_size) = gzip(&input, &dir.path().join("theirs.gz"));
        println!(
            "  holdfast {ours:.2} s, {our_size} bytes   gzip -6 + sha256sum {theirs:.2} s, {their_size} bytes"
        );
        ratios.push(ours / theirs);
    }
    ratios.sort_by(f64::total_cmp);
    println!("holdfast / gzip: median {:.2} of {ROUNDS} rounds", ratios[ROUNDS / 2]);
}

fn holdfast(input: &Path, output: &Path) -> (f64, u64) {
    let began = Instant::now();
    let mut source = File::open(input).expect("the input");
    let target = File::create(output).expect("the output");
    let summary = compress(&mut source, &target, output, Effort::default(), &Cancel::default(), &|_, _| ())
        .expect("a whole pass");
    (began.elapsed().as_secs_f64(), summary.payload_size)
}

fn gzip(input: &Path, output: &Path) -> (f64, u64) {
    let began = Instant::now();
    let target = File::create(output).expect("the output");
    let status = Command::new("gzip").args(["-6", "-c"]).arg(input).stdout(target).status().expect("gzip");
    assert!(status.success(), "gzip failed");
    let sum = Command::new("sha256sum").arg(output).output().expect("sha256sum");
    assert!(sum.status.success(), "sha256sum failed");
    (began.elapsed().as_secs_f64(), output.metadata().expect("the output").len())
}

/// Rows as a table of events has them: counters, names, amounts, some noise.
fn rows() -> String {
    let mut text = String::new();
    let mut noise: u64 = 7;
    for row in 0..ROWS {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        let (customer, amount) = (noise % 5000, noise % 100_000);
        let _ =
            writeln!(text, "{row}\tcustomer-{customer}\t{amount}\t2026-11-23 02:41:07\t{noise:016x}\topen");
    }
    text
}
