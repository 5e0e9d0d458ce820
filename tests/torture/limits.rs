//! Trials of limits and of damaged files: without descriptors, threads, room for large files or the directory, the
//! program gives a reason, does not panic, and recovers by itself. Damaged files are detected.

use crate::disk::names_the_thing;
use crate::ground::{Ground, SQLITE, names_in, told};
use crate::inject::{Fault, Tracer};
use crate::mounts::{Mount, format};
use crate::report::{Line, Outcome, Random, Run};
use crate::support::holdfast::Server;
use crate::support::http::names_form;
use holdfast::model::JobState;
use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::process::Command;

/// Bytes that the copy and the draft of the database need together, with a margin.
const BOTH: usize = 300_000;

/// Takes away one resource after the other, and restores each.
pub fn run(run: Run) -> Outcome {
    let mut random = Random(run.seed);
    let mut ground = Ground::new(100);
    ground.back_up()?;
    let mut seen = Seen::default();
    let step = run.scale.of(1, 3);
    for descriptors in (4..=40).step_by(step) {
        seen.back_up_under(
            &mut ground,
            &["prlimit", &format!("--nofile={descriptors}")],
            &format!("{descriptors} descriptors"),
        )?;
    }
    for _ in 0..run.scale.of(40, 10) {
        let largest = random.below(BOTH);
        seen.back_up_under(
            &mut ground,
            &["prlimit", &format!("--fsize={largest}")],
            &format!("files of {largest} bytes"),
        )?;
    }
    for thread in 1..=6 {
        let (when, log) = (format!("{thread}+"), ground.beside("trace"));
        let line = no_thread(&when).strace(&log);
        let line: Vec<_> = line.iter().map(String::as_str).collect();
        seen.back_up_under(&mut ground, &line, &format!("{} threads", thread - 1))?;
    }
    let server = ground.serve()?;
    seen.served_with_few_descriptors(&mut ground, &server, step)?;
    seen.served_without_threads(&mut ground, &server)?;
    seen.directory_is_gone(&mut ground, &server)?;
    drop(server);
    seen.directory_is_closed()?;
    Ok(vec![Line {
        id: "B3",
        what: "no descriptors, threads, room, directory: a reason".to_owned(),
        runs: seen.runs,
        failures: seen.failures,
        caught: caught(&mut random)?,
        notes: format!("refused with a reason {}", seen.refused),
    }])
}

#[derive(Default)]
struct Seen {
    runs: usize,
    refused: usize,
    failures: Vec<String>,
}

impl Seen {
    fn hold(&mut self, what: &str, faults: Vec<String>) {
        self.failures.extend(faults.into_iter().map(|fault| format!("{what}: {fault}")));
    }

    /// A backup from the shell: whole, or refused with a sentence. The next one succeeds.
    fn back_up_under(&mut self, ground: &mut Ground, outer: &[&str], what: &str) -> Result<(), String> {
        self.runs += 1;
        let output =
            ground.program_under(outer, &["backup", SQLITE]).output().map_err(|error| error.to_string())?;
        let mut faults = ground.faults();
        match told(&output) {
            Ok(name) if ground.known.contains_key(&name) => {}
            Ok(name) => faults.push(format!("{name} was promised")),
            Err(why) => {
                self.refused += 1;
                // Without threads there is no runtime for a longer message.
                let is_told = why.contains("holdfast: ") && !why.contains("panicked")
                    || why.contains("spawn worker thread");
                faults.extend((!is_told).then_some(why));
            }
        }
        if let Err(why) = ground.back_up() {
            faults.push(format!("the next one: {why}"));
        }
        faults.extend(ground.faults());
        faults.extend(ground.litter());
        faults.extend(ground.faults_of_known());
        self.hold(what, faults);
        Ok(())
    }

    /// One job while a resource is missing, one when it is back.
    fn served(
        &mut self,
        ground: &mut Ground,
        server: &Server,
        what: &str,
        take: impl FnOnce() -> Result<(), String>,
        give_back: impl FnOnce() -> Result<(), String>,
    ) -> Result<(), String> {
        self.runs += 1;
        take()?;
        let asked = server.create(SQLITE);
        let job = asked.map(|job| (job, server.ended(job)));
        give_back()?;
        let mut faults = ground.faults();
        let state = match job {
            // While resources are missing, the request may fail; afterwards it must succeed.
            Ok((id, Err(_))) => server.ended(id).map(|job| job.state),
            Ok((_, ended)) => ended.map(|job| job.state),
            Err(refused) => Err(refused),
        };
        match state {
            Ok(JobState::Done { .. }) => {}
            Ok(JobState::Failed { message, .. })
                if names_the_thing(ground, &message) || message.contains("thread") =>
            {
                self.refused += 1;
            }
            Err(why) if why.starts_with('5') || why.contains("not answered") || why.contains("reset") => {
                self.refused += 1;
            }
            other => faults.push(format!("{other:?}")),
        }
        match server.create(SQLITE).and_then(|job| server.ended(job)).map(|job| job.state) {
            Ok(JobState::Done { .. }) => faults.extend(ground.faults()),
            other => faults.push(format!("when it is back: {other:?}")),
        }
        faults.extend(ground.litter());
        faults.extend(ground.faults_of_known());
        self.hold(what, faults);
        Ok(())
    }

    fn served_with_few_descriptors(
        &mut self,
        ground: &mut Ground,
        server: &Server,
        step: usize,
    ) -> Result<(), String> {
        let pid = server.child.id().to_string();
        for more in (1..=12).step_by(step) {
            let open = names_in(format!("/proc/{pid}/fd").as_ref()).len();
            let limit = |soft: usize| {
                let status =
                    Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={soft}:")]).status();
                status.map_err(|error| error.to_string()).map(drop)
            };
            self.served(
                ground,
                server,
                &format!("served with {more} descriptors more"),
                || limit(open + more),
                || limit(1024),
            )?;
        }
        Ok(())
    }

    fn served_without_threads(&mut self, ground: &mut Ground, server: &Server) -> Result<(), String> {
        for thread in 1..=3 {
            let (when, log) = (format!("{thread}+"), ground.beside("trace"));
            let tracer = RefCell::new(None);
            let take = || {
                tracer.replace(Some(Tracer::attach(server.child.id(), true, &no_thread(&when), &log)?));
                Ok(())
            };
            let give_back = || {
                drop(tracer.take());
                Ok(())
            };
            self.served(
                ground,
                server,
                &format!("served without threads from the {thread}. on"),
                take,
                give_back,
            )?;
        }
        Ok(())
    }

    /// The directory is moved away and back, deleted and recreated, while the server runs.
    fn directory_is_gone(&mut self, ground: &mut Ground, server: &Server) -> Result<(), String> {
        let (here, away) = (ground.backups.clone(), ground.beside("away"));
        let rename = |from: &std::path::Path, to: &std::path::Path| {
            fs::rename(from, to).map_err(|error| error.to_string())
        };
        self.served(ground, server, "moved away", || rename(&here, &away), || rename(&away, &here))?;
        ground.known.clear();
        let delete = || fs::remove_dir_all(&here).map_err(|error| error.to_string());
        let make = || fs::create_dir(&here).map_err(|error| error.to_string());
        self.served(ground, server, "deleted", delete, make)
    }

    /// The directory is made read-only, if the file system can do that. Existing backups stay available.
    fn directory_is_closed(&mut self) -> Result<(), String> {
        let home = tempfile::Builder::new().prefix("holdfast-closed-").tempdir().unwrap();
        let (image, place) = (home.path().join("image"), home.path().join("mounted"));
        format("ext4", &image, 64)?;
        let _disk = Mount::image(&image, &place)?;
        let mut ground = Ground::at(&place.join("data"), 100);
        let name = ground.back_up()?;
        self.hold("closed", ground.faults());
        let server = ground.serve()?;
        let closed = File::open(&ground.backups).map_err(|error| error.to_string())?;
        let close = |to: bool| {
            let mut flags = ioctl_getflags(&closed).map_err(|error| error.to_string())?;
            flags.set(IFlags::IMMUTABLE, to);
            ioctl_setflags(&closed, flags).map_err(|error| error.to_string())
        };
        let mut faults = Vec::new();
        close(true)?;
        let refused = server.ask("POST", "/api/delete_backups", &names_form(std::slice::from_ref(&name)))?;
        if !names_in(&ground.backups).contains(&name) || !refused.text().contains(&name) {
            faults.push(format!("a deletion was answered {}", refused.text()));
        }
        let file = server.ask("GET", &format!("/backups/{name}"), "")?;
        faults.extend((file.status != 200).then(|| format!("a download was answered {}", file.text())));
        self.hold("closed", faults);
        self.served(&mut ground, &server, "closed", || close(true), || close(false))
    }
}

/// Thread creation fails from the n-th thread on.
fn no_thread(when: &str) -> Fault<'_> {
    Fault { call: "clone3", what: "error=EAGAIN", when, path: None }
}

/// The control: a publisher without draft and rename, under a file size limit.
fn caught(random: &mut Random) -> Result<(usize, usize), String> {
    const RUNS: usize = 5;
    let mut ground = Ground::new(100);
    let mut caught = 0;
    for _ in 0..RUNS {
        let naive = ground.naive("publisher");
        let mut command = Command::new("prlimit");
        command
            .arg(format!("--fsize={}", 1 + random.below(60_000)))
            .arg(naive.get_program())
            .args(naive.get_args());
        command.output().map_err(|error| format!("prlimit: {error}"))?;
        caught += usize::from(!ground.faults().is_empty());
        ground.clear();
    }
    Ok((caught, RUNS))
}

/// Kinds of damage with their numbers: in the full run, and in the short run.
const DAMAGES: [(&str, usize, usize); 4] =
    [("flipped", 200, 40), ("cut", 100, 20), ("swapped", 50, 10), ("emptied", 20, 5)];

/// Damaged files: which damage the list shows, and which a download shows.
pub fn rot(run: Run) -> Outcome {
    let mut random = Random(run.seed);
    let mut ground = Ground::new(40);
    ground.back_up()?;
    ground.faults();
    let server = ground.serve()?;
    let mut damaged = BTreeMap::new();
    for (damage, all, some) in DAMAGES {
        for at in 0..run.scale.of(all, some) {
            let name = ground.copy_of_a_backup(&format!("{damage}-{at}"));
            let path = ground.backups.join(&name);
            let mut bytes = fs::read(&path).unwrap();
            match damage {
                "flipped" => {
                    let place = random.below(bytes.len());
                    bytes[place] ^= 1 << random.below(8);
                }
                "cut" => bytes.truncate(1 + random.below(bytes.len() - 1)),
                "emptied" => bytes.clear(),
                _ => {
                    let other = ground.copy_of_a_backup(&format!("{damage}-{at}-other"));
                    let [a, b, c] = [&name, &other, &"kept".to_owned()]
                        .map(|name| ground.backups.join(format!("{name}.manifest.json")));
                    fs::rename(&a, &c)
                        .and_then(|()| fs::rename(&b, &a))
                        .and_then(|()| fs::rename(&c, &b))
                        .unwrap();
                    damaged.insert(other, damage);
                }
            }
            fs::write(&path, bytes).unwrap();
            damaged.insert(name, damage);
        }
    }
    let flipped: Vec<_> =
        damaged.iter().filter(|(_, how)| **how == "flipped").map(|(name, _)| name.clone()).collect();
    let found: Vec<_> =
        flagged(&ground)?.into_iter().chain(broken_in_zip(&ground, &server, &flipped)?).collect();
    let missed = |found: &[String]| -> Vec<String> {
        damaged
            .iter()
            .filter(|(name, _)| !found.contains(name))
            .map(|(name, how)| format!("{name} is {how}, and nobody says so"))
            .collect()
    };
    let mut failures = missed(&found);
    let whole = ground.known.keys().filter(|name| !damaged.contains_key(*name) && found.contains(name));
    failures.extend(whole.map(|name| format!("{name} is whole, and called damaged")));
    // The control calls every file with a backup's name whole.
    let unseen = missed(&[]).len();
    Ok(vec![Line {
        id: "P9",
        what: "damage: shown by the list; flipped bits by a zip (B5)".to_owned(),
        runs: damaged.len(),
        failures,
        caught: (unseen, damaged.len()),
        notes: "the list does not show flipped bits, because nothing was verified".to_owned(),
    }])
}

/// The backups that the list does not call whole.
fn flagged(ground: &Ground) -> Result<Vec<String>, String> {
    let output = ground.program(&["list", "--json"]).output().map_err(|error| error.to_string())?;
    let listed: Vec<serde_json::Value> =
        serde_json::from_str(&told(&output)?).map_err(|error| error.to_string())?;
    let named = listed
        .iter()
        .filter(|backup| backup["state"] != "whole")
        .filter_map(|backup| backup["file"].as_str());
    Ok(named.map(str::to_owned).collect())
}

/// The backups that an unzip program reports as damaged.
fn broken_in_zip(ground: &Ground, server: &Server, names: &[String]) -> Result<Vec<String>, String> {
    const SCRIPT: &str = "import sys, zipfile\n\
        archive = zipfile.ZipFile(sys.argv[1])\n\
        for name in archive.namelist():\n\
        \x20   try: archive.read(name)\n\
        \x20   except zipfile.BadZipFile: print(name)";
    let form = format!("{}format=zip", names_form(names));
    let made = server.ask("POST", "/archives", &form)?;
    let address = Some(made.header("location")).filter(|led| !led.is_empty()).ok_or_else(|| made.text())?;
    let archive = ground.beside("archive.zip");
    fs::write(&archive, server.ask("GET", address, "")?.body).unwrap();
    let output = Command::new("python3")
        .args(["-c", SCRIPT])
        .arg(&archive)
        .output()
        .map_err(|error| error.to_string())?;
    Ok(told(&output)?.lines().map(|line| line.rsplit('/').next().unwrap_or_default().to_owned()).collect())
}
