//! The torture program: tests the promises under faults, one line for each: `torture [--full] [--seed N] [trial …]`.
//! Fails if a promise broke, or if a control, which breaks the rule on purpose, was not caught.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test program")]

mod clock;
mod concurrency;
mod disk;
mod downloads;
mod fuzz;
mod ground;
mod home;
mod http;
mod inject;
mod keys;
mod kills;
mod limits;
mod mounts;
mod naive;
mod points;
mod power;
mod report;
mod state;
#[path = "../support/mod.rs"]
mod support;
mod walk;

use report::{Run, Scale, Trial};
use std::hash::{BuildHasher, RandomState};
use std::process::ExitCode;

/// The trials, in the order of the fault catalogue.
const TRIALS: [Trial; 19] = [
    Trial { name: "kills", run: kills::run },
    Trial { name: "points", run: points::run },
    Trial { name: "tools", run: kills::tools },
    Trial { name: "power", run: power::run },
    Trial { name: "state", run: state::state },
    Trial { name: "errors", run: disk::errors },
    Trial { name: "full", run: disk::full },
    Trial { name: "limits", run: limits::run },
    Trial { name: "rot", run: limits::rot },
    Trial { name: "creates", run: concurrency::creates },
    Trial { name: "walk", run: walk::walk },
    Trial { name: "downloads", run: downloads::downloads },
    Trial { name: "deletes", run: concurrency::deletes },
    Trial { name: "list", run: concurrency::list },
    Trial { name: "clock", run: clock::clock },
    Trial { name: "clients", run: http::clients },
    Trial { name: "slow", run: http::slow },
    Trial { name: "fuzz", run: fuzz::fuzz },
    Trial { name: "keys", run: keys::keys },
];

fn main() -> ExitCode {
    let mut arguments: Vec<_> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "naive") {
        naive::run(&arguments[1..]);
        return ExitCode::SUCCESS;
    }
    mounts::enter_namespace(&mut arguments);
    let (mut scale, mut seed, mut chosen) = (Scale::Cut, None, Vec::new());
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--full" => scale = Scale::Full,
            "--seed" => seed = arguments.next().and_then(|seed| seed.parse().ok()),
            // A control that the trial `state` starts.
            "--naive-state" => return state::naive_state(&arguments.next().unwrap_or_default()),
            // A control that the trial `keys` starts.
            "--naive-keys" => return keys::naive_keys(&arguments.next().unwrap_or_default()),
            name => chosen.push(name.to_owned()),
        }
    }
    if let Some(unknown) = chosen.iter().find(|name| TRIALS.iter().all(|trial| trial.name != **name)) {
        println!("there is no trial named {unknown}; there are {:?}", TRIALS.map(|trial| trial.name));
        return ExitCode::FAILURE;
    }
    let trials: Vec<_> = TRIALS
        .into_iter()
        .filter(|trial| chosen.is_empty() || chosen.iter().any(|name| name == trial.name))
        .collect();
    let seed = seed.unwrap_or_else(|| RandomState::new().hash_one(1));
    if report::run_all(&trials, Run { scale, seed }) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
