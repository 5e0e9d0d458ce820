//! What a trial says of a promise, and the table of all of them.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// How much of it is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// What fits into every test run.
    Cut,
    /// All of it.
    Full,
}

impl Scale {
    /// `full`, or `cut` where only a part is run.
    pub fn of<T>(self, full: T, cut: T) -> T {
        match self {
            Self::Full => full,
            Self::Cut => cut,
        }
    }
}

/// One run of one trial: its scale, and where its random numbers begin.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// How much of it is run.
    pub scale: Scale,
    /// Where its random numbers begin.
    pub seed: u64,
}

/// One line of the table: what was held up against which fault, and whether it stood.
#[derive(Debug)]
pub struct Line {
    /// The promise or the row of the fault catalogue, as `P7` or `A2`.
    pub id: &'static str,
    /// What was done, in a few words.
    pub what: String,
    /// How often.
    pub runs: usize,
    /// What went wrong; empty where the promise held.
    pub failures: Vec<String>,
    /// How often the control, which breaks the rule on purpose, was found out, and of how many.
    pub caught: (usize, usize),
    /// Figures worth reading, as `landed mid-write 103`.
    pub notes: String,
}

/// What a trial gives: its lines, or why this machine cannot run it.
pub type Outcome = Result<Vec<Line>, String>;

/// One trial: its name on the command line, and what it does.
pub struct Trial {
    pub name: &'static str,
    pub run: fn(Run) -> Outcome,
}

/// Runs them one after the other, prints each line as it is known, and says whether all is well.
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

/// Random numbers that a seed gives again (`SplitMix64`).
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
