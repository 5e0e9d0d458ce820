//! `holdfast reset-account`: a new password for somebody who is locked out.

use crate::cli::outcome::Outcome;
use crate::cli::output::{print, sentence};
use crate::cli::session::open;
use crate::settings::Settings;
use secrecy::ExposeSecret;

/// Sets a new password for the account and prints it once.
pub fn run(settings: &Settings, username: &str) -> Outcome {
    let reset = open(settings)?.reset_account(username).map_err(sentence)?;
    let promoted =
        if reset.promoted { "\nNo administrator was left, so this account is one now." } else { "" };
    print(&format!(
        "New password of {username} (two-factor authentication is off, all sessions are ended):\n{}\n\
         Log in with it and change it on the account page.{promoted}\n",
        reset.password.expose_secret()
    ))
}
