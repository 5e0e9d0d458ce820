//! A directory of very many backups: the list, the start, and the idle cost.

use crate::server::{Server, put};
use crate::table::{Table, Wanted, figure_of, median, sized};
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

const PAGES: [(&str, &str); 5] = [
    ("the first page", "/"),
    ("page 250", "/?page=250"),
    ("sorted by name", "/?sort=filename"),
    ("sorted by size", "/?sort=-size"),
    ("filtered", "/?q=2026-11"),
];

pub fn all(table: &mut Table) {
    for (count, most) in [(sized(10_000), 10.0), (sized(100_000), 50.0)] {
        let count = usize::try_from(count).expect("a count");
        let mut directory = None;
        let server = Server::start(|backups| {
            for number in 0..count {
                put(backups, number, &number.to_le_bytes());
            }
            directory = Some(backups.to_owned());
        });
        let backups = directory.expect("a directory");
        let job = format!("a list of {count} backups");
        let milliseconds = server.started_in.as_secs_f64() * 1000.0;
        let start = if most > 10.0 { Wanted::Nothing } else { Wanted::AtMost(300.0) };
        table.row(&job, "milliseconds to start", milliseconds, start, "");
        table.row(
            &job,
            "milliseconds for the first page of all",
            page(&server, "/").0,
            Wanted::Nothing,
            "one look at everything",
        );
        for (what, path) in PAGES {
            let (times, sizes): (Vec<_>, Vec<_>) = (0..21).map(|_| page(&server, path)).unzip();
            let detail = format!("{:.0} KB, curl's own time in it", median(sizes) / 1000.0);
            table.row(
                &job,
                &format!("milliseconds for {what}"),
                median(times),
                Wanted::AtMost(most),
                &detail,
            );
        }
        let began = Instant::now();
        let name = put(&backups, 10_000_000, b"new");
        while !server.curl(&[&server.at("/?sort=created")]).contains(&name) {
            assert!(began.elapsed() < Duration::from_secs(10), "a new file is not listed");
        }
        table.row(
            &job,
            "milliseconds until a file put there is listed",
            began.elapsed().as_secs_f64() * 1000.0,
            Wanted::AtMost(2000.0),
            "",
        );
        idle(table, &server, &job, if most > 10.0 { Wanted::Nothing } else { Wanted::AtMost(40.0) });
    }
}

/// Reads one page. Returns the milliseconds until its last byte, and its size in bytes.
fn page(server: &Server, path: &str) -> (f64, f64) {
    let told = server.curl(&["-o", "/dev/null", "-w", "%{time_total} %{size_download}", &server.at(path)]);
    let (seconds, bytes) = told.split_once(' ').expect("two figures");
    (seconds.parse::<f64>().expect("a time") * 1000.0, bytes.parse().expect("a size"))
}

fn idle(table: &mut Table, server: &Server, job: &str, resident: Wanted) {
    const WATCHED: Duration = Duration::from_secs(10);
    // Idle threads end after ten seconds.
    const SETTLED: Duration = Duration::from_secs(15);
    thread::sleep(SETTLED);
    let process = server.process();
    table.row(job, "MiB resident, idle", figure_of(&process, "status", "VmRSS") / 1024.0, resident, "");
    let switches = || -> f64 {
        let tasks = fs::read_dir(format!("/proc/{process}/task")).expect("threads");
        tasks
            .map(|task| format!("{process}/task/{}", task.expect("a thread").file_name().to_string_lossy()))
            .map(|task| figure_of(&task, "status", "voluntary_ctxt_switches"))
            .sum()
    };
    let before = switches();
    thread::sleep(WATCHED);
    table.row(
        job,
        "wake-ups a second, idle",
        (switches() - before) / WATCHED.as_secs_f64(),
        Wanted::AtMost(1.0),
        "no page open",
    );
}
