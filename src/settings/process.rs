//! What signals mean to the program: which ask it to stop, and which must not end it.

use tokio::signal::unix::{SignalKind, signal};

/// Waits for SIGTERM or SIGINT.
pub async fn asked() {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
}

/// From here on, a write beyond the size limit of files (`ulimit -f`, systemd's `LimitFSIZE=`) fails, as one
/// to a full disk does. Unless somebody listens for its signal, it ends the whole program without a word.
pub fn never_by_a_large_file() {
    let limit = SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw());
    if let Err(error) = signal(limit) {
        tracing::warn!(%error, "a file that grows beyond the system's limit will end this program");
    }
}
