//! A command's session: opens Holdfast on behalf of the shell, and runs long work until a signal stops it.

use crate::cli::outcome::Failure;
use crate::cli::output::sentence;
use crate::domain::audit::Actor;
use crate::domain::engines::Cancel;
use crate::domain::{Error, Holdfast};
use crate::settings::{Settings, process};

/// Opens Holdfast with these settings. Audit entries will say that the shell did it.
pub fn open(settings: &Settings) -> Result<Holdfast, String> {
    let holdfast = Holdfast::open(settings.options()?).map_err(sentence)?;
    Ok(holdfast.on_behalf_of(Actor::shell()))
}

/// Runs `work` on a thread of its own, and cancels it on SIGTERM or SIGINT.
pub async fn until_stopped<T: Send + 'static>(
    work: impl FnOnce(&Cancel) -> Result<T, Error> + Send + 'static,
) -> Result<T, Failure> {
    let cancel = Cancel::default();
    let working = {
        let cancel = cancel.clone();
        let (done, working) = tokio::sync::oneshot::channel();
        // `spawn_blocking` panics if the system gives no thread.
        std::thread::Builder::new()
            .spawn(move || drop(done.send(work(&cancel))))
            .map_err(|error| format!("Could not start a thread: {error}."))?;
        working
    };
    let stop = tokio::spawn(async move {
        process::stop_requested().await;
        cancel.cancel();
    });
    let outcome = working.await.unwrap_or(Err(Error::Lost));
    stop.abort();
    outcome.map_err(|error| Failure::of(&error))
}
