//! The progress bar of a command on a terminal, and the messages that a command prints while it runs.

use crate::domain::jobs::Progress;
use crate::model::Phase;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, Write as _};

/// The progress bar. If standard error is not a terminal, only the messages are printed.
pub struct Bar {
    bar: ProgressBar,
}

impl Bar {
    /// A bar labelled `what`.
    pub fn of(what: &str) -> Self {
        let bar = ProgressBar::no_length();
        bar.set_draw_target(if std::io::stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        });
        let form = "{prefix}  {msg}  {wide_bar}  {binary_bytes} of {binary_total_bytes}  {binary_bytes_per_sec}  {eta}";
        bar.set_style(ProgressStyle::with_template(form).unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_prefix(what.to_owned());
        Self { bar }
    }
}

impl Progress for Bar {
    fn phase(&self, phase: Phase) {
        self.bar.set_message(phase.label());
        self.bar.set_position(0);
    }

    fn total(&self, bytes: u64) {
        self.bar.set_length(bytes);
    }

    fn bytes(&self, read: u64, _: u64) {
        self.bar.set_position(read);
    }

    fn tell(&self, text: &str) {
        self.bar.suspend(|| {
            let _ = writeln!(std::io::stderr(), "holdfast: {text}");
        });
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
