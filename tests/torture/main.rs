//! The promises under faults, one line each: `torture [--full] [--seed N] [trial …]`. Fails where a promise
//! broke, and where a control, which breaks the rule on purpose, was not found out.

#![expect(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout, reason = "a test program")]

mod report;

use report::{Run, Scale, Trial};
use std::hash::{BuildHasher, RandomState};
use std::process::ExitCode;

/// In the order of the fault catalogue.
const TRIALS: [Trial; 0] = [];

fn main() -> ExitCode {
    let (mut scale, mut seed, mut chosen) = (Scale::Cut, None, Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--full" => scale = Scale::Full,
            "--seed" => seed = arguments.next().and_then(|seed| seed.parse().ok()),
            name => chosen.push(name.to_owned()),
        }
    }
    let trials: Vec<_> = TRIALS
        .into_iter()
        .filter(|trial| chosen.is_empty() || chosen.iter().any(|name| name == trial.name))
        .collect();
    let seed = seed.unwrap_or_else(|| RandomState::new().hash_one(1));
    if report::run_all(&trials, Run { scale, seed }) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
