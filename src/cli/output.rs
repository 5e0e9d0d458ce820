//! The output of commands: text and JSON on standard output, errors as sentences.

use crate::cli::outcome::Outcome;
use crate::domain::Error;
use serde::Serialize;
use std::io::Write as _;

/// Prints a value as indented JSON.
pub fn print_json(value: &impl Serialize) -> Outcome {
    let text = serde_json::to_string_pretty(value).map_err(|error| error.to_string())?;
    print(&format!("{text}\n"))
}

/// Prints text as it is.
pub fn print(text: &str) -> Outcome {
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| format!("Could not write the output: {error}.").into())
}

/// The error as a sentence.
pub fn sentence(error: Error) -> String {
    error.to_string()
}
