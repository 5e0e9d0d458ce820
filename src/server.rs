//! The HTTP server: starts, serves until a signal, and stops.

pub mod auth;
pub mod blocking;
pub mod downloads;
pub mod flash;
pub mod listener;
pub mod log_limit;
pub mod middleware;
pub mod negotiate;
pub mod pages;
pub mod router;
pub mod routes;
pub mod state;

use crate::domain::Holdfast;
use crate::domain::accounts::FirstAccount;
use crate::model::address;
use crate::model::audit::{Ending, Event};
use crate::server::listener::tls::Tls;
use crate::server::router::Front;
use crate::settings::Settings;
use crate::settings::process;
use std::time::Duration;
use tokio::sync::watch;

/// How long a stop waits for responses being sent and for cancelled jobs to clean up.
const STOP_PATIENCE: Duration = Duration::from_secs(8);

/// Serves until SIGTERM or SIGINT. Fails with a sentence that names the problem.
pub async fn serve(settings: &Settings) -> Result<(), String> {
    settings.check_listen()?;
    let tls = settings.certificate()?.map(Tls::new).transpose()?;
    // First raise the limit on open files: the domain reads that limit to decide how many files downloads keep open.
    let limits = listener::connections::limits_of_this_machine();
    let holdfast = Holdfast::open(settings.options()?).map_err(|error| error.to_string())?;
    let _claim = holdfast.begin_serving().map_err(|error| error.to_string())?;
    let listener = listener::connections::listen(settings.listen).map_err(|error| {
        format!("Cannot listen on {}: {error}. Choose another address with HOLDFAST_LISTEN.", settings.listen)
    })?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    welcome(settings, &holdfast, &format!("{scheme}://{address}{}", settings.base_path))?;
    let version = concat!("Holdfast ", env!("CARGO_PKG_VERSION"));
    holdfast.notes().note(
        Event::Started,
        version,
        Ending::Ok,
        &format!("Listening on {scheme}://{address}."),
    );
    let (stop, stopping) = watch::channel(false);
    address::set_base(settings.base_path.clone());
    let front = Front { proxies: settings.proxies().into(), base: settings.base_path.clone().into() };
    let router = router::router(holdfast.clone(), front, stopping);
    if let Some(tls) = tls.clone() {
        tokio::spawn(tls.keep_current(listener::tls::RENEWAL));
    }
    let connections =
        listener::connections::serve(listener, &router, limits, tls, process::stop_requested()).await;
    tracing::info!("stopping");
    let _ = stop.send(true);
    holdfast.jobs().interrupt_all();
    let settled = async { tokio::join!(connections.ended(), holdfast.jobs().all_ended()) };
    let in_time = tokio::time::timeout(STOP_PATIENCE, settled).await.is_ok();
    if !in_time {
        tracing::warn!("stopped before every response was sent");
    }
    let detail = if in_time { "" } else { "Not every response was sent." };
    holdfast.notes().note(Event::Stopped, version, Ending::Ok, detail);
    Ok(())
}

/// Logs the server's address, and creates the first account or logs the link that does.
fn welcome(settings: &Settings, holdfast: &Holdfast, site: &str) -> Result<(), String> {
    let first = holdfast.accounts().ensure_first(&settings.admin_user, settings.first_password());
    let backups = holdfast.backup_dir().display();
    tracing::info!(%backups, "Holdfast listens on {site}");
    match first.map_err(|error| error.to_string())? {
        FirstAccount::Exists => {}
        FirstAccount::Made => tracing::info!(username = settings.admin_user, "created the first account"),
        FirstAccount::NeedsSetup(token) => {
            tracing::info!(
                "no account yet: create the first one at {site}/setup?token={} (works once, for 30 minutes)",
                token.reveal()
            );
        }
    }
    Ok(())
}
