//! Jobs whose work a test does itself, in the queue of a running Holdfast.

#![expect(clippy::unwrap_used, reason = "tests")]

use holdfast::domain::audit::Actor;
use holdfast::domain::error::{Error, Result};
use holdfast::domain::jobs::{Cancel, Finished, JobResult, JobSpec, Jobs, Progress, Runner};
use holdfast::model::{JobId, Phase};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

/// The file that planted work makes, as it says.
pub const FILE: &str = "backup_a_2026-11-23_02-41-07Z.dump.gz";

/// What a test does in place of an operation.
pub type Work = Box<dyn FnOnce(&Cancel, &dyn Progress) -> Result<JobResult> + Send>;

/// Does `work` for one job of that description, and has all others done as before.
struct Planted {
    spec: JobSpec,
    work: Mutex<Option<Work>>,
    others: OnceLock<Arc<dyn Runner>>,
}

impl Runner for Planted {
    fn run(
        &self,
        spec: &JobSpec,
        by: &Arc<Actor>,
        cancel: &Cancel,
        progress: &dyn Progress,
    ) -> Result<JobResult> {
        let planted = if *spec == self.spec { self.work.lock().unwrap().take() } else { None };
        match planted {
            Some(work) => work(cancel, progress),
            None => self.others.wait().run(spec, by, cancel, progress),
        }
    }
}

/// Has the next job that does what `spec` says do `work`.
pub fn plant(jobs: &Jobs, spec: &JobSpec, work: Work) {
    let planted =
        Arc::new(Planted { spec: spec.clone(), work: Mutex::new(Some(work)), others: OnceLock::new() });
    let before = jobs.run_with(Arc::clone(&planted) as Arc<dyn Runner>);
    let _ = planted.others.set(before.unwrap_or_else(|| Arc::new(Nothing)));
}

/// Queues a job for somebody, which does `work`.
pub fn start_for(jobs: &Jobs, by: Actor, spec: JobSpec, work: Work) -> Result<JobId> {
    plant(jobs, &spec, work);
    jobs.queue(Arc::new(by), spec)
}

/// Queues a job of Holdfast's own, which does `work`.
pub fn start(jobs: &Jobs, spec: JobSpec, work: Work) -> Result<JobId> {
    start_for(jobs, Actor::system(), spec, work)
}

/// A queue that nobody said how to run.
struct Nothing;

impl Runner for Nothing {
    fn run(&self, _: &JobSpec, _: &Arc<Actor>, _: &Cancel, _: &dyn Progress) -> Result<JobResult> {
        Err(Error::Lost)
    }
}

/// A backup of that database.
pub fn backup(database: &str) -> JobSpec {
    JobSpec::Backup { database: database.parse().unwrap(), upload: None }
}

/// The upload of that backup to that destination.
pub fn upload(file: &str, destination: &str) -> JobSpec {
    JobSpec::Upload { file: file.parse().unwrap(), destination: destination.parse().unwrap() }
}

/// The download of that backup from that destination.
pub fn fetch(file: &str, destination: &str) -> JobSpec {
    JobSpec::Fetch { file: file.parse().unwrap(), destination: destination.parse().unwrap() }
}

pub fn done() -> Finished {
    Finished { file: FILE.parse().unwrap(), size: 7, warnings: None, then: None }
}

/// Work that reports it began, and ends when it is told to or cancelled.
pub fn held() -> (Work, Receiver<()>, Sender<()>) {
    let (began, wait_for_begin) = channel();
    let (end, told_to_end) = channel();
    let work: Work = Box::new(move |cancel, progress| {
        progress.phase(Phase::Compressing);
        progress.total(1000);
        progress.bytes(400, 100);
        began.send(()).unwrap();
        loop {
            if cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            if told_to_end.recv_timeout(Duration::from_millis(5)).is_ok() {
                return Ok(done().into());
            }
        }
    });
    (work, wait_for_begin, end)
}

pub fn began(receiver: &Receiver<()>) {
    receiver.recv_timeout(Duration::from_secs(5)).unwrap();
}
