//! The program: settings, then what was asked for.

use clap::Parser;
use holdfast::settings::{Cli, Command};
use holdfast::{cli, server, stop};
use std::io::Write;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let Cli { settings, command } = Cli::parse();
    settings.start_logging(matches!(command, Command::Serve));
    stop::never_by_a_large_file();
    let outcome = match command {
        Command::Serve => server::serve(&settings).await,
        Command::Backup { database } => cli::backup(&settings, &database).await,
        Command::List { json } => cli::list(&settings, json),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            let _ = writeln!(std::io::stderr(), "holdfast: {sentence}");
            ExitCode::FAILURE
        }
    }
}
