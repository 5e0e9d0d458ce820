//! The program log: one line on standard error for each event. Names, tool output and other foreign text are escaped,
//! so that they cannot start a new line or send commands to a terminal.

use crate::model::audit::is_treacherous;
use std::fmt::{self, Write as _};
use std::panic::PanicHookInfo;
use tracing::Subscriber;
use tracing::field::Field;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{Writer, debug_fn};

/// Largest size of one field in a line, in bytes, after escaping.
const FIELD: usize = 1024;

/// A log that writes to `writer`, with colours for a terminal.
pub fn to<W>(writer: W, filter: &str, is_terminal: bool) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    tracing_subscriber::fmt()
        .fmt_fields(debug_fn(field))
        .with_env_filter(EnvFilter::builder().parse_lossy(filter))
        .with_ansi(is_terminal)
        .with_writer(writer)
        // Otherwise a failed write is reported on standard error, and if that fails too, the report panics.
        .log_internal_errors(false)
        .finish()
}

/// Logs a panic as one line.
pub fn panicked(panic: &PanicHookInfo<'_>) {
    let at = panic.location().map(ToString::to_string).unwrap_or_default();
    let why = panic.payload_as_str().unwrap_or("no message");
    tracing::error!(why, "a thread panicked at {at}");
}

fn field(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    match field.name() {
        "message" => write!(writer, "{}", safe(value)),
        // The line already says which module of which crate logged the event.
        name if name.starts_with("log.") => Ok(()),
        name => write!(writer, " {name}={}", safe(value)),
    }
}

/// The value escaped to one line, cut at [`FIELD`].
fn safe(value: &dyn fmt::Debug) -> String {
    let mut line = Safe(String::new());
    // Writing fails as soon as the field is full.
    if write!(line, "{value:?}").is_err() {
        line.0.push('…');
    }
    line.0
}

struct Safe(String);

impl fmt::Write for Safe {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            let before = self.0.len();
            if is_treacherous(c) {
                self.0.extend(c.escape_default());
            } else {
                self.0.push(c);
            }
            if self.0.len() > FIELD - '…'.len_utf8() {
                self.0.truncate(before);
                return Err(fmt::Error);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Page {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    /// 500 texts that an attacker would want in the log.
    fn hostile() -> Vec<String> {
        let evil = [
            "\r\n2026-11-23T02:41:07.123456Z  INFO holdfast::domain: backup deleted",
            "\n",
            "\r",
            "\u{1b}[2J\u{1b}]0;title\u{7}",
            "\u{2028}\u{2029}\u{85}",
            "\u{202e}gz.pmud\u{202c}\u{2066}\u{2069}",
            "\"},{\"event\":\"login\"}",
            "\0\u{8}\u{7f}\u{9b}31m",
            "\u{fffd}\u{feff}\u{200b}",
            "\\n\\u000a%0a",
        ];
        (0..500).map(|i| format!("{i}{}{}", evil[i % 10], evil[i / 10 % 10].repeat(1 + i / 100))).collect()
    }

    fn logged(log: impl Subscriber + Send + Sync, texts: &[String]) {
        tracing::subscriber::with_default(log, || {
            for text in texts {
                let error = io::Error::other(text.clone());
                tracing::warn!(%error, cause = ?error, name = text, "{text}");
            }
        });
    }

    /// Whether each event is exactly one line, and no line contains control characters.
    fn holds(text: &str, events: usize) -> bool {
        let is_plain = |line: &str| !line.chars().any(is_treacherous) && line.len() < 5 * FIELD;
        let begins =
            |line: &str| line.starts_with("20") && line.contains(" WARN holdfast::settings::log::tests: ");
        text.ends_with('\n')
            && text.split_terminator('\n').count() == events
            && text.split_terminator('\n').all(|line| is_plain(line) && begins(line))
    }

    #[test]
    fn logged_text_cannot_forge_a_line() {
        let mut texts = hostile();
        texts.push(format!("{}\n", "x".repeat(1 << 20)));
        let page = Page::default();
        let writer = page.clone();
        logged(to(move || writer.clone(), "info", false), &texts);
        assert!(holds(&page.text(), 501));
        assert!(page.text().contains("0\\r\\n2026-11-23"));
        assert!(page.text().lines().last().unwrap().ends_with("xxx…"));

        // The control: the default format of tracing.
        let naive = Page::default();
        let writer = naive.clone();
        logged(
            tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish(),
            &texts,
        );
        assert!(!holds(&naive.text(), 501));
    }

    #[test]
    fn a_terminal_gets_colours_and_no_commands_from_logged_text() {
        let page = Page::default();
        let writer = page.clone();
        logged(to(move || writer.clone(), "info", true), &hostile());
        let text = page.text();
        assert!(text.contains("\u{1b}[33m WARN\u{1b}[0m"), "{}", &text[..200]);
        let mut plain = String::new();
        for (at, part) in text.split("\u{1b}[").enumerate() {
            // Only the colours that the log itself sets.
            let colour =
                at == 0 || part.split_once('m').is_some_and(|(code, _)| matches!(code, "0" | "2" | "33"));
            assert!(colour, "{part:?}");
            plain.push_str(if at == 0 { part } else { part.split_once('m').unwrap().1 });
        }
        assert!(holds(&plain, 500));
    }

    #[test]
    fn harmless_text_is_not_escaped() {
        let page = Page::default();
        let writer = page.clone();
        tracing::subscriber::with_default(to(move || writer.clone(), "info", false), || {
            tracing::info!(file = %"backup_ä.dump.gz", size = 7, name = "two words", "backup deleted");
        });
        let text = page.text();
        let said = " INFO holdfast::settings::log::tests: backup deleted file=backup_ä.dump.gz size=7 name=\"two words\"\n";
        assert!(text.ends_with(said), "{text}");
    }
}
