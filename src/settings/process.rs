//! Signal handling: which signals ask the program to stop, and which must not end it.

use tokio::signal::unix::{SignalKind, signal};

/// Waits for SIGTERM or SIGINT.
pub async fn stop_requested() {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
}

/// Makes a write beyond the file size limit (`ulimit -f`, systemd's `LimitFSIZE=`) fail like a write to a full disk.
/// Without a handler, SIGXFSZ would end the program without a message.
pub fn survive_large_files() {
    let limit = SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw());
    if let Err(error) = signal(limit) {
        tracing::warn!(%error, "could not handle SIGXFSZ; a file that grows beyond the system's size limit will end this program");
    }
}
