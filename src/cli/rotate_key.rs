//! `holdfast rotate-key`: re-encrypts the stored secrets with a new key.

use crate::cli::outcome::Outcome;
use crate::cli::output::{print, sentence};
use crate::cli::session::open;
use crate::model::human;
use crate::settings::Settings;

/// Re-encrypts the stored secrets and prints how many there were.
pub fn run(settings: &Settings) -> Outcome {
    let count = open(settings)?.rotate_key().map_err(sentence)?;
    let secrets = human::count(count as u64, "stored secret");
    print(&format!(
        "Changed the key and re-encrypted {secrets}. Old copies of the key still decrypt old copies of the state \
         database: delete both when you no longer need them.\n"
    ))
}
