//! The `holdfast` program: reads the settings and runs one command.

use clap::Parser;
use holdfast::cli::outcome::{Failure, Outcome};
use holdfast::domain::operations::restore::{Manner, RestoreOptions};
use holdfast::settings::process;
use holdfast::settings::{Cli, Command};
use holdfast::{cli, server};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit, umask};
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use tokio::runtime::Builder;

/// More file descriptors than the async runtime opens.
const DESCRIPTORS: usize = 8;

fn main() -> ExitCode {
    let Cli { settings, command } = Cli::parse();
    settings.start_logging(matches!(command, Command::Serve));
    protect_memory_and_files();
    let single = Builder::new_current_thread;
    let outcome = match command {
        Command::Serve => spare_threads().and_then(|()| {
            in_runtime(Builder::new_multi_thread(), async { Ok(server::serve(&settings).await?) })
        }),
        Command::Backup { database, json } => {
            in_runtime(single(), cli::backup::run(&settings, &database, json))
        }
        Command::List { json } => Ok(cli::list::run(&settings, json)),
        Command::Verify { selection } => in_runtime(single(), cli::verify::run(&settings, selection)),
        Command::Adopt { selection } => in_runtime(single(), cli::adopt::run(&settings, selection)),
        Command::RotateKey => Ok(cli::rotate_key::run(&settings)),
        Command::ResetAccount { username } => Ok(cli::reset_account::run(&settings, &username)),
        Command::Restore { file, into, overwrite, keep_owners, act_outside, max_bytes, json } => {
            let manner = Manner { keep_owners, act_outside };
            let options = RestoreOptions { limit: max_bytes, overwrite, manner, ..RestoreOptions::default() };
            in_runtime(single(), cli::restore::run(&settings, file, into, options, json))
        }
    };
    match outcome.unwrap_or_else(out_of_resources) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { sentence, status }) => {
            let _ = writeln!(io::stderr(), "holdfast: {sentence}");
            ExitCode::from(status)
        }
    }
}

/// Keeps secrets inside the process: no core dumps, no access to its memory by other programs of this user, and new
/// files that only this user can read.
fn protect_memory_and_files() {
    umask(0o077.into());
    let no_core = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) =
        setrlimit(Resource::Core, no_core).and_then(|()| set_dumpable_behavior(DumpableBehavior::NotDumpable))
    {
        tracing::warn!(%error, "could not disable core dumps; a core dump would contain secrets");
    }
}

fn in_runtime(mut runtime: Builder, work: impl Future<Output = Outcome>) -> io::Result<Outcome> {
    // The runtime panics if it cannot open its descriptors. Opening as many first turns that into an error.
    let spare = (0..DESCRIPTORS / 2).map(|_| io::pipe()).collect::<io::Result<Vec<_>>>()?;
    drop(spare);
    let runtime = runtime.enable_all().build()?;
    Ok(runtime.block_on(async {
        process::survive_large_files();
        work.await
    }))
}

/// Checks that the system allows the threads that the server needs. If the system refused one later, the runtime would
/// panic and then wait forever for the others.
fn spare_threads() -> io::Result<()> {
    let count = std::thread::available_parallelism().map_or(1, NonZeroUsize::get) + 2;
    let (release, gate) = channel::<()>();
    let gate = Arc::new(Mutex::new(gate));
    let wait = || {
        let gate = Arc::clone(&gate);
        std::thread::Builder::new().spawn(move || gate.lock().is_ok_and(|gate| gate.recv().is_ok()))
    };
    let waiting = (0..count).map(|_| wait()).collect::<io::Result<Vec<_>>>();
    drop(release);
    for thread in waiting? {
        let _ = thread.join();
    }
    Ok(())
}

fn out_of_resources(error: io::Error) -> Outcome {
    Err(format!(
        "The system refused threads or open files: {error}. Raise their limits (ulimit -u, ulimit -n)."
    )
    .into())
}
