//! Measurements of the races, and their table, printed row by row and saved as Markdown.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

/// Number of rounds of each race.
pub const ROUNDS: usize = 5;

/// The requirement for a figure.
#[derive(Clone, Copy)]
pub enum Wanted {
    AtLeast(f64),
    AtMost(f64),
    /// None: the figure is only shown.
    Nothing,
}

/// The table of one program.
pub struct Table {
    path: PathBuf,
    text: String,
}

impl Table {
    /// An empty table for the program `name`; `make bench` merges the tables of all programs.
    pub fn new(name: &str) -> Self {
        let directory = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target/bench"));
        fs::create_dir_all(&directory).expect("a directory for tables");
        Self { path: directory.join(format!("{name}.md")), text: String::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, job: &str, figure: &str, value: f64, wanted: Wanted, detail: &str) {
        let (words, verdict) = match wanted {
            Wanted::AtLeast(least) => (format!("at least {least}"), value >= least),
            Wanted::AtMost(most) => (format!("at most {most}"), value <= most),
            Wanted::Nothing => ("–".to_owned(), true),
        };
        let verdict = if verdict { "" } else { " **missed**" };
        let row = format!("| {job} | {figure} | {value:.2} | {words}{verdict} | {detail} |");
        println!("{row}");
        let _ = writeln!(self.text, "{row}");
        fs::write(&self.path, &self.text).expect("room for a table");
    }
}

/// The cost of one run, in seconds.
#[derive(Clone, Copy, Default)]
pub struct Cost {
    pub wall: f64,
    pub cpu: f64,
}

/// The cost of `work`, including child processes and all threads of this process.
pub fn cost_of(work: impl FnOnce()) -> Cost {
    let (began, before) = (Instant::now(), own_cpu());
    work();
    Cost { wall: began.elapsed().as_secs_f64(), cpu: own_cpu() - before }
}

/// The cost of each racer: the median of several rounds, in which they take turns.
pub fn race<const N: usize>(racers: [&mut dyn FnMut() -> Cost; N]) -> [Cost; N] {
    let mut rounds = [[Cost::default(); N]; ROUNDS];
    for (number, round) in rounds.iter_mut().enumerate() {
        for turn in 0..N {
            let racer = (number + turn) % N;
            round[racer] = racers[racer]();
        }
    }
    std::array::from_fn(|racer| Cost {
        wall: median(rounds.iter().map(|round| round[racer].wall).collect()),
        cpu: median(rounds.iter().map(|round| round[racer].cpu).collect()),
    })
}

/// The median.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// CPU seconds of this process and of the children it waited for.
fn own_cpu() -> f64 {
    cpu_of("self", 4)
}

/// The first `fields` of the user, system, children's user and children's system time of a process, in seconds
/// (proc(5); the kernel's ticks are hundredths).
pub fn cpu_of(process: &str, fields: usize) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("Linux");
    let times = stat.rsplit(") ").next().expect("a stat").split(' ').skip(11).take(fields);
    times.map(|ticks| ticks.parse::<f64>().expect("ticks")).sum::<f64>() / 100.0
}

/// A figure from `/proc/<process>/status` or `/proc/<process>/io`.
pub fn figure_of(process: &str, file: &str, key: &str) -> f64 {
    let text = fs::read_to_string(format!("/proc/{process}/{file}")).expect("Linux");
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).expect("a figure");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// `HOLDFAST_BENCH_PERCENT` per cent of a size, for a quick run.
pub fn sized(full: u64) -> u64 {
    #[expect(clippy::disallowed_methods, reason = "the bench's own, not the program's")]
    let percent = std::env::var("HOLDFAST_BENCH_PERCENT").ok();
    full * percent.map_or(100, |percent| percent.parse().expect("HOLDFAST_BENCH_PERCENT: a number")) / 100
}
