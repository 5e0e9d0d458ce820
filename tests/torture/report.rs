//! The result of a trial, and the table of all results.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// How much of each trial is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// The short run, for every test run.
    Cut,
    /// The full run.
    Full,
}

impl Scale {
    /// `full` in the full run, otherwise `cut`.
    pub fn of<T>(self, full: T, cut: T) -> T {
        match self {
            Self::Full => full,
            Self::Cut => cut,
        }
    }
}

/// One run of one trial: its scale and its seed.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// The scale.
    pub scale: Scale,
    /// The seed of its random numbers.
    pub seed: u64,
}

/// One line of the table: a promise, the fault, and whether the promise held.
#[derive(Debug)]
pub struct Line {
    /// The promise or the row of the fault catalogue, such as `P7` or `A2`.
    pub id: &'static str,
    /// What was done, in a few words.
    pub what: String,
    /// Number of runs.
    pub runs: usize,
    /// The failures; empty if the promise held.
    pub failures: Vec<String>,
    /// How often the control was caught, and in how many runs.
    pub caught: (usize, usize),
    /// Further figures, such as `landed mid-write 103`.
    pub notes: String,
}

/// The result of a trial: its lines, or why this machine cannot run it.
pub type Outcome = Result<Vec<Line>, String>;

/// One trial: its name on the command line, and its function.
pub struct Trial {
    pub name: &'static str,
    pub run: fn(Run) -> Outcome,
}

/// Runs the trials one after the other and prints each line when it is known. Returns whether all promises held.
pub fn run_all(trials: &[Trial], run: Run) -> bool {
    println!(
        "{:<6} {:<52} {:>6} {:>8} {:>14} {:>8}  seed {}",
        "id", "what", "runs", "failures", "control-caught", "seconds", run.seed
    );
    let mut all_well = true;
    for trial in trials {
        let begun = Instant::now();
        match (trial.run)(run) {
            Ok(lines) => {
                all_well &= !lines.is_empty();
                for line in lines {
                    all_well &= line.is_well();
                    println!("{}", line.told(begun.elapsed()));
                }
            }
            Err(why) => {
                println!("{:<6} NOT RUN on this machine: {why}", trial.name);
                all_well &= run.scale == Scale::Cut;
            }
        }
    }
    all_well
}

impl Line {
    fn is_well(&self) -> bool {
        self.runs > 0 && self.failures.is_empty() && self.caught.0 > 0
    }

    fn told(&self, took: Duration) -> String {
        let caught = format!("{}/{}", self.caught.0, self.caught.1);
        let mut told = format!(
            "{:<6} {:<52} {:>6} {:>8} {caught:>14} {:>8.1}  {}",
            self.id,
            self.what,
            self.runs,
            self.failures.len(),
            took.as_secs_f64(),
            self.notes
        );
        for failure in self.failures.iter().take(20) {
            let _ = write!(told, "\n       FAILED {failure}");
        }
        if self.caught.0 == 0 {
            told.push_str("\n       FAILED the control was not found out: this trial does not see what it is there to see");
        }
        told
    }
}

/// Random numbers, reproducible from a seed (`SplitMix64`).
pub struct Random(pub u64);

impl Random {
    /// Any number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform in 0..1.
    pub fn uniform(&mut self) -> f64 {
        f64::from(u32::try_from(self.next() >> 32).unwrap()) / f64::from(u32::MAX)
    }

    /// Uniform below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }
}
