//! Tests the SFTP settings step by step, each step with its time and a plain reason.

use crate::domain::destinations::destination::{Destination, Flow};
use crate::domain::destinations::fault::{Fault, FaultKind};
use crate::domain::destinations::sftp::connection::{Greeted, way};
use crate::domain::destinations::sftp::directory::SftpDirectory;
use crate::domain::destinations::sftp::drop_box::DropBox;
use crate::domain::destinations::sftp::faults;
use crate::domain::destinations::sftp::known_hosts::Pins;
use crate::domain::destinations::sftp::settings::SftpAccount;
use crate::domain::destinations::shared::Options;
use crate::domain::destinations::transfer::{is_passing, put_small};
use crate::domain::engines::Cancel;
use crate::domain::error::{Error, Result};
use crate::domain::random;
use crate::model::copies::WRITE_ONLY;
use crate::model::{CheckStep, Checklist, HostKeyFound, StepOutcome, StepState, human};
use ssh2::Sftp;
use std::path::Path;
use std::time::{Duration, Instant};

/// The size of the test file, in bytes.
const SAMPLE: usize = 1024;

/// The most directories that a hint names.
const HINTED: usize = 8;

/// Runs the steps until one fails. Stores nothing, here or on the server, except that a missing directory is
/// created.
pub fn check(account: &SftpAccount, pins: &Pins, options: &Options, cancel: &Cancel) -> Checklist {
    let mut run = Run { steps: Vec::new(), host_key: None };
    let _ = run.all(account, pins, options, cancel);
    for step in CheckStep::ALL {
        if !run.steps.iter().any(|outcome| outcome.step == step) {
            run.steps.push(StepOutcome { step, state: StepState::Skipped, words: String::new(), millis: 0 });
        }
    }
    Checklist { steps: run.steps, host_key: run.host_key }
}

struct Run {
    steps: Vec<StepOutcome>,
    host_key: Option<HostKeyFound>,
}

/// A step failed; the checklist says so already.
struct Stop;

impl Run {
    fn all(
        &mut self,
        account: &SftpAccount,
        pins: &Pins,
        options: &Options,
        cancel: &Cancel,
    ) -> Result<(), Stop> {
        let form = &account.form;
        let way = self.step(CheckStep::Resolve, || {
            let way = way(account, options, cancel)?;
            let shown: Vec<_> = way.addresses().iter().map(|address| address.ip().to_string()).collect();
            let words = if shown == [form.host.clone()] {
                format!("{} is already an address.", form.host)
            } else {
                format!("{} is {}.", form.host, shown.join(", "))
            };
            Ok((way, words))
        })?;
        let greeted = self.step(CheckStep::Connect, || {
            let greeted = Greeted::new(account, &way, pins, options, cancel)?;
            let words = format!("Port {} answers and speaks SSH ({}).", account.port, greeted.methods());
            Ok((greeted, words))
        })?;
        let mut host_key = None;
        let known = self.step(CheckStep::HostKey, || {
            let found = greeted.host_key(account, pins)?;
            host_key = Some(found.clone());
            if found.is_known() { Ok(((), found.words())) } else { Err(faults::host_key(&found).into()) }
        });
        self.host_key = host_key;
        known?;
        let connection = self.step(CheckStep::LogIn, || {
            let connection = greeted.log_in(account)?;
            Ok((connection, format!("{} is logged in.", form.username)))
        })?;
        let directory = SftpDirectory::new(connection, &form.remote_directory).write_only(form.write_only);
        self.step(CheckStep::Directory, || match directory.prepare() {
            Ok(made) => {
                let shown = match form.remote_directory.as_str() {
                    "" => "The start directory",
                    directory => directory,
                };
                let words = if made {
                    "was missing and has been created"
                } else if directory.hides_directory() {
                    "cannot be inspected; the next step shows whether files can be written there"
                } else {
                    "exists"
                };
                Ok(((), format!("{shown} {words}.")))
            }
            // A drop box may neither show its directory nor allow creating one.
            Err(Error::OffSite(fault))
                if form.write_only && matches!(fault.kind, FaultKind::Permission | FaultKind::Other) =>
            {
                Ok((
                    (),
                    "The directory cannot be inspected; the next step shows whether files can be \
                     written there."
                        .to_owned(),
                ))
            }
            Err(error) => Err(with_hint(error, directory.connection().sftp(), &form.remote_directory)),
        })?;
        self.file_steps(&directory, form.remote_directory.as_str(), form.write_only)
    }

    fn file_steps(&mut self, directory: &SftpDirectory, path: &str, write_only: bool) -> Result<(), Stop> {
        let mut sample = vec![0; SAMPLE];
        let Ok(mark) = random::fill(&mut sample).and_then(|()| random::hex::<8>()) else { return Err(Stop) };
        let (draft, name) = (format!(".part-holdfast-check-{mark}"), format!("holdfast-check-{mark}"));
        let done = if write_only {
            self.drop_steps(directory, path, &sample, &draft, &name)
        } else {
            self.sample_steps(directory, path, &sample, &draft, &name)
        };
        if done.is_err() {
            // Removes whichever of the two exists.
            let _ = directory.remove(&draft);
            let _ = directory.remove(&name);
        }
        done?;
        Ok(())
    }

    fn sample_steps(
        &mut self,
        directory: &SftpDirectory,
        path: &str,
        sample: &[u8],
        draft: &str,
        name: &str,
    ) -> Result<(), Stop> {
        self.write(directory, path, sample, draft)?;
        self.step(CheckStep::Rename, || {
            if !directory.commit(draft, name)? {
                return Err(Fault::new(FaultKind::Taken, format!("{name} already exists. Try again.")).into());
            }
            Ok(((), "A file can be renamed to its final name.".to_owned()))
        })?;
        self.step(CheckStep::ReadBack, || {
            let mut back = Vec::new();
            directory.read(name, &mut |block| {
                back.extend_from_slice(block);
                Ok(if back.len() > SAMPLE { Flow::Enough } else { Flow::On })
            })?;
            if back != sample {
                let words = "The server did not return the bytes that were written. Its disk may be failing.";
                return Err(Fault::new(FaultKind::Differs, words).into());
            }
            Ok(((), "The bytes read back are identical.".to_owned()))
        })?;
        // Queried while the test file exists; reported at its step.
        let began = Instant::now();
        let (state, words) = match directory.free_space(name) {
            Ok(Some(free)) => (StepState::Done, format!("{} free.", human::size(free))),
            Ok(None) => (StepState::NotOffered, "The server does not report it.".to_owned()),
            Err(error) => (StepState::Failed, error.to_string()),
        };
        let took = began.elapsed();
        self.step(CheckStep::Delete, || {
            directory.remove(name)?;
            Ok(((), "The test file was removed.".to_owned()))
        })?;
        self.note(CheckStep::FreeSpace, state, words, took);
        Ok(())
    }

    fn write(
        &mut self,
        directory: &SftpDirectory,
        path: &str,
        sample: &[u8],
        draft: &str,
    ) -> Result<(), Stop> {
        self.step(CheckStep::Write, || {
            let durable = put_small(directory, draft, sample)
                .map_err(|error| with_hint(error, directory.connection().sftp(), path))?;
            let synced = if durable {
                " and synced"
            } else {
                "; the server does not support syncing to \
                 disk"
            };
            Ok(((), format!("{SAMPLE} bytes written{synced}.")))
        })
    }

    /// The same for a write-only drop box, which only needs to accept files.
    fn drop_steps(
        &mut self,
        directory: &SftpDirectory,
        path: &str,
        sample: &[u8],
        draft: &str,
        name: &str,
    ) -> Result<(), Stop> {
        self.write(directory, path, sample, draft)?;
        let mut told = None;
        self.lenient(CheckStep::Rename, || {
            told = directory.written_size(draft)?;
            Ok(match directory.commit(draft, name) {
                Ok(true) => (StepState::Done, "A file can be renamed to its final name.".to_owned()),
                Ok(false) => (StepState::Failed, format!("{name} already exists. Try again.")),
                Err(error) if is_passing(&error) => return Err(error),
                Err(_) => (
                    StepState::NotOffered,
                    "The server does not rename: a file has its final name from the start, even if its \
                     upload is interrupted."
                        .to_owned(),
                ),
            })
        })?;
        self.lenient(CheckStep::ReadBack, || {
            let size = match told {
                Some(size) if size != SAMPLE as u64 => {
                    return Ok((
                        StepState::Failed,
                        format!("The server reports {size} bytes for a file of {SAMPLE}. Its disk may be \
                                 full."),
                    ));
                }
                Some(_) => "It reports the right size.",
                None => "It does not report the size either.",
            };
            let reads = [name, draft].into_iter().any(|file| directory.read(file, &mut |_| Ok(Flow::Enough)).is_ok());
            Ok(if reads {
                let words = format!(
                    "Not read back, as you chose. But this server lets the account read: clear \
                     “{WRITE_ONLY}” to have every copy checked. {size}"
                );
                (StepState::Skipped, words)
            } else {
                let words = format!(
                    "Not read back: this is a write-only drop box. Copies are marked “sent, not read back”. {size}"
                );
                (StepState::NotOffered, words)
            })
        })?;
        self.lenient(CheckStep::Delete, || {
            let removed = [name, draft].map(|file| directory.remove(file));
            Ok(if removed.iter().any(|removed| matches!(removed, Ok(true))) {
                (StepState::Done, "The test file was removed.".to_owned())
            } else {
                let words = format!(
                    "The server does not remove files: the test file {name} stays there, and so do copies \
                     and interrupted uploads."
                );
                (StepState::NotOffered, words)
            })
        })?;
        let words = "Not tested with a write-only drop box.".to_owned();
        self.note(CheckStep::FreeSpace, StepState::NotOffered, words, Duration::ZERO);
        Ok(())
    }

    /// A step that finds out what the server supports.
    fn lenient(
        &mut self,
        step: CheckStep,
        work: impl FnOnce() -> Result<(StepState, String)>,
    ) -> Result<(), Stop> {
        let began = Instant::now();
        let (state, words) = work().unwrap_or_else(|error| (StepState::Failed, error.to_string()));
        self.note(step, state, words, began.elapsed());
        if state == StepState::Failed { Err(Stop) } else { Ok(()) }
    }

    fn step<T>(&mut self, step: CheckStep, work: impl FnOnce() -> Result<(T, String)>) -> Result<T, Stop> {
        let began = Instant::now();
        match work() {
            Ok((value, words)) => {
                self.note(step, StepState::Done, words, began.elapsed());
                Ok(value)
            }
            Err(error) => {
                self.note(step, StepState::Failed, error.to_string(), began.elapsed());
                Err(Stop)
            }
        }
    }

    fn note(&mut self, step: CheckStep, state: StepState, words: String, took: Duration) {
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self.steps.push(StepOutcome { step, state, words, millis });
    }
}

/// Adds what the account can see after a wrong path: accounts are often confined to a directory of their own,
/// in which paths look different from inside.
fn with_hint(error: Error, sftp: &Sftp, wanted: &str) -> Error {
    let Error::OffSite(mut fault) = error else { return error };
    if !matches!(fault.kind, FaultKind::NoSuchPath | FaultKind::Permission | FaultKind::Other) {
        return fault.into();
    }
    let is_directory = |path: &str| sftp.stat(Path::new(path)).is_ok_and(|stat| stat.is_dir());
    let start = sftp.realpath(Path::new(".")).ok().and_then(|path| path.to_str().map(str::to_owned));
    let mut seen = Vec::new();
    for place in ["/"].into_iter().chain(start.as_deref().filter(|start| *start != "/")) {
        for (path, stat) in sftp.readdir(Path::new(place)).unwrap_or_default() {
            if stat.is_dir() && seen.len() < HINTED {
                seen.push(path.display().to_string());
            }
        }
    }
    let mut hint = match &start {
        Some(start) if seen.is_empty() => format!(" The account starts in {start}."),
        Some(start) => format!(" The account starts in {start} and sees {}.", seen.join(", ")),
        None => String::new(),
    };
    let mut ends = wanted.match_indices('/').map(|(at, _)| &wanted[at..]).skip(1);
    if let Some(inner) = ends.find(|end| is_directory(end)) {
        hint = format!("{hint} The directory may be {inner} for this account.");
    }
    fault.sentence += &hint;
    fault.into()
}
