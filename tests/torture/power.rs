//! Power cut trials: afterwards created backups exist, deleted ones do not, and no listed backup is broken.

use crate::ground::{Ground, SQLITE, names_in, told};
use crate::inject::Fault;
use crate::mounts::{Mount, PowerSwitch, format};
use crate::report::{Line, Outcome, Random, Run};
use crate::support::http::names_form;
use holdfast::model::JobState;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The file systems, each with its smallest size in megabytes.
const SYSTEMS: [(&str, u64); 2] = [("ext4", 64), ("xfs", 320)];
/// Number of cuts for each file system, half of them with the journal flushed.
const CYCLES: (usize, usize) = (80, 16);
/// Number of cuts for the control.
const CONTROL_CYCLES: usize = 6;
/// The system calls at which the program is killed before the cut, with the highest count of each.
const POINTS: [(&str, usize); 5] =
    [("renameat2", 2), ("fsync", 5), ("unlinkat", 3), ("pwrite64", 4), ("openat", 8)];

/// A file system in a file, and the Holdfast on it.
struct Disk {
    image: PathBuf,
    place: PathBuf,
    mount: Option<Mount>,
    ground: Ground,
    /// The directory of the image.
    _home: tempfile::TempDir,
}

/// Results that a power cut must not undo.
#[derive(Default)]
struct Promised {
    there: Option<String>,
    gone: Option<String>,
}

/// Cuts the power over and over.
pub fn run(run: Run) -> Outcome {
    let mut random = Random(run.seed);
    let mut lines = Vec::new();
    for (kind, megabytes) in SYSTEMS {
        let mut disk = Disk::new(kind, megabytes)?;
        let mut failures = Vec::new();
        let whole = disk.length()?;
        let cycles = run.scale.of(CYCLES.0, CYCLES.1);
        let (mut kept, mut points) =
            (0, POINTS.iter().flat_map(|(call, of)| (1..=*of).map(move |at| (*call, at))).cycle());
        for cycle in 0..cycles {
            let flush = cycle % 2 == 0;
            let promised = match cycle / 2 % 4 {
                0 => disk.cut_once_created(flush)?,
                1 => disk.cut_after(whole.mul_f64(random.uniform()), flush)?,
                2 => {
                    let (call, at) = points.next().unwrap();
                    disk.cut_at(call, at, flush)?
                }
                _ => disk.cut_once_served(flush)?,
            };
            kept += usize::from(promised.there.is_some());
            let faults = disk.judge(&promised)?;
            let how = if flush { "journal flushed" } else { "journal lost" };
            failures.extend(faults.into_iter().map(|fault| format!("cycle {cycle}, {how}: {fault}")));
        }
        lines.push(Line {
            id: "P3",
            what: format!("{kind}, power cut: created exist, deleted do not (A3)"),
            runs: cycles,
            failures,
            caught: caught(kind, megabytes)?,
            notes: format!("kept promises {kept}"),
        });
    }
    Ok(lines)
}

impl Disk {
    fn new(kind: &str, megabytes: u64) -> Result<Self, String> {
        let home = tempfile::Builder::new().prefix("holdfast-disk-").tempdir().unwrap();
        let (image, place) = (home.path().join("image"), home.path().join("mounted"));
        format(kind, &image, megabytes)?;
        let mount = Some(Mount::image(&image, &place)?);
        let ground = Ground::at(&place.join("data"), 1000);
        Ok(Self { image, place, mount, ground, _home: home })
    }

    /// How long a backup takes here.
    fn length(&mut self) -> Result<Duration, String> {
        self.ground.back_up()?;
        let begun = Instant::now();
        self.ground.back_up()?;
        Ok(begun.elapsed().mul_f64(1.1))
    }

    fn switch(&self, flush: bool) -> Result<PowerSwitch, String> {
        PowerSwitch::of(&self.place, flush)
    }

    /// Cuts right after the name of a backup was printed.
    fn cut_once_created(&mut self, flush: bool) -> Result<Promised, String> {
        let switch = self.switch(flush)?;
        let there = Some(self.ground.back_up()?);
        switch.cut()?;
        Ok(Promised { there, gone: None })
    }

    /// Cuts at a given moment of a backup.
    fn cut_after(&mut self, wait: Duration, flush: bool) -> Result<Promised, String> {
        let switch = self.switch(flush)?;
        let mut command = self.ground.program(&["backup", SQLITE]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        thread::sleep(wait);
        let was_done = child.try_wait().is_ok_and(|status| status.is_some());
        switch.cut()?;
        let _ = child.kill();
        let told = told(&child.wait_with_output().unwrap()).ok();
        Ok(Promised { there: told.filter(|_| was_done), gone: None })
    }

    /// Cuts after the program was killed at one of its calls.
    fn cut_at(&mut self, call: &str, at: usize, flush: bool) -> Result<Promised, String> {
        let switch = self.switch(flush)?;
        let when = at.to_string();
        let path = (call == "openat").then_some(self.ground.backups.as_path());
        let line =
            Fault { call, what: "signal=SIGKILL", when: &when, path }.strace(&self.ground.beside("trace"));
        let line: Vec<_> = line.iter().map(String::as_str).collect();
        let mut command = self.ground.program_under(&line, &["backup", SQLITE]);
        let there = told(&command.output().map_err(|error| format!("strace: {error}"))?).ok();
        switch.cut()?;
        Ok(Promised { there, gone: None })
    }

    /// Cuts when the page shows a job and a deletion as done.
    fn cut_once_served(&mut self, flush: bool) -> Result<Promised, String> {
        let oldest = self.ground.known.pop_first().map(|(name, _)| name);
        let switch = self.switch(flush)?;
        let mut server = self.ground.serve()?;
        let job = server.create(SQLITE)?;
        let JobState::Done { file, .. } = server.ended(job)?.state else {
            return Err("a backup failed on a sound disk".to_owned());
        };
        let mut promised = Promised { there: Some(file.to_string()), gone: None };
        if let Some(name) = oldest {
            let answer =
                server.ask("POST", "/api/delete_backups", &names_form(std::slice::from_ref(&name)))?;
            promised.gone = (answer.status == 200).then_some(name);
        }
        switch.cut()?;
        server.kill();
        Ok(promised)
    }

    /// Power returns: the file system recovers, and the promises are checked.
    fn judge(&mut self, promised: &Promised) -> Result<Vec<String>, String> {
        if let Some(mount) = self.mount.take() {
            mount.end()?;
        }
        self.mount = Some(Mount::image(&self.image, &self.place)?);
        let mut faults = self.ground.faults();
        if let Some(name) = &promised.there
            && !self.ground.known.contains_key(name)
        {
            faults.push(format!("{name} was called created and is not there"));
        }
        if let Some(name) = &promised.gone
            && names_in(&self.ground.backups).contains(name)
        {
            faults.push(format!("{name} was called deleted and is there"));
        }
        match self.ground.serve() {
            Ok(server) => {
                let active = server.history()?.into_iter().filter(|job| job.state.is_active()).count();
                faults.extend((active > 0).then(|| format!("{active} jobs seem to run after a restart")));
            }
            Err(why) => faults.push(format!("it does not start: {why}")),
        }
        let litter = self.ground.litter();
        faults.extend(
            (!litter.is_empty()).then(|| format!("still there after a restart: {}", litter.join(", "))),
        );
        let aside = names_in(&self.ground.data).into_iter().filter(|name| name.contains(".damaged-"));
        faults.extend(aside.map(|name| format!("the state database was damaged: {name}")));
        faults.extend(self.ground.faults_of_known());
        Ok(faults)
    }
}

/// The control: a publisher that syncs nothing, cut off once it is done.
fn caught(kind: &str, megabytes: u64) -> Result<(usize, usize), String> {
    let mut disk = Disk::new(kind, megabytes)?;
    let mut caught = 0;
    for cycle in 0..CONTROL_CYCLES {
        let switch = disk.switch(cycle % 2 == 0)?;
        let mut naive: Command = disk.ground.naive("publisher");
        if !naive.status().is_ok_and(|status| status.success()) {
            return Err("the control failed by itself".to_owned());
        }
        switch.cut()?;
        if let Some(mount) = disk.mount.take() {
            mount.end()?;
        }
        disk.mount = Some(Mount::image(&disk.image, &disk.place)?);
        caught += usize::from(!disk.ground.faults().is_empty());
        disk.ground.clear();
    }
    Ok((caught, CONTROL_CYCLES))
}
