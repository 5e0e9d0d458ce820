//! The HTTP server.

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

/// How long a stop waits for answers under way and for cancelled backups to clear away.
const STOP_PATIENCE: Duration = Duration::from_secs(8);

/// Serves until it is asked to stop. Fails with a sentence that names what is wrong.
pub async fn serve(settings: &Settings) -> Result<(), String> {
    settings.check_listen()?;
    let tls = settings.certificate()?.map(Tls::new).transpose()?;
    // Before the holdfast is opened, which holds files open for downloads as far as the machine allows.
    let limits = listener::connections::limits_of_this_machine();
    let holdfast = Holdfast::open(settings.options()?).map_err(|error| error.to_string())?;
    let _claim = holdfast.begin_serving().map_err(|error| error.to_string())?;
    let listener = listener::connections::listen(settings.listen).map_err(|error| {
        format!("Cannot listen on {}: {error}. Choose another with HOLDFAST_LISTEN.", settings.listen)
    })?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    welcome(settings, &holdfast, &format!("{scheme}://{address}{}", settings.base_path))?;
    let version = concat!("Holdfast ", env!("CARGO_PKG_VERSION"));
    holdfast.notes().note(
        Event::Started,
        version,
        Ending::Ok,
        &format!("It listens on {scheme}://{address}."),
    );
    let (stop, stopping) = watch::channel(false);
    address::set_base(settings.base_path.clone());
    let front = Front { proxies: settings.proxies().into(), base: settings.base_path.clone().into() };
    let router = router::router(holdfast.clone(), front, stopping);
    if let Some(tls) = tls.clone() {
        tokio::spawn(tls.keep_current(listener::tls::RENEWAL));
    }
    let connections = listener::connections::serve(listener, &router, limits, tls, process::asked()).await;
    tracing::info!("stopping");
    let _ = stop.send(true);
    holdfast.jobs().interrupt_all();
    let settled = async { tokio::join!(connections.ended(), holdfast.jobs().all_ended()) };
    let in_time = tokio::time::timeout(STOP_PATIENCE, settled).await.is_ok();
    if !in_time {
        tracing::warn!("stopped before every answer was given");
    }
    let detail = if in_time { "" } else { "Not every answer was given." };
    holdfast.notes().note(Event::Stopped, version, Ending::Ok, detail);
    Ok(())
}

/// Says where it listens, and how the first account comes to be.
fn welcome(settings: &Settings, holdfast: &Holdfast, site: &str) -> Result<(), String> {
    let first = holdfast.accounts().ensure_first(&settings.admin_user, settings.first_password());
    let backups = holdfast.backup_dir().display();
    tracing::info!(%backups, "Holdfast listens on {site}");
    match first.map_err(|error| error.to_string())? {
        FirstAccount::Exists => {}
        FirstAccount::Made => tracing::info!(username = settings.admin_user, "made the first account"),
        FirstAccount::NeedsSetup(token) => {
            tracing::info!(
                "no account yet: make the first one at {site}/setup?token={} (works once, for 30 minutes)",
                token.reveal()
            );
        }
    }
    Ok(())
}
