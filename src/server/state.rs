//! What every handler is given.

use crate::api::doorway;
use crate::api::outcomes::Outcomes;
use crate::domain::Holdfast;
use crate::server::auth::session::Door;
use crate::server::routes::csp_report::Reports;
use crate::settings;
use axum::extract::{FromRef, FromRequestParts};
use http::request::Parts;
use leptos::config::LeptosOptions;
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// Downloads at one time: each holds files open, and some pieces of them in memory.
pub const DOWNLOADS: usize = 256;

/// Imports at one time: each may fill the disk as far as it is allowed to, and reads all of what it brought.
pub const IMPORTS: usize = 2;

/// What handlers are given.
#[derive(Clone)]
pub struct AppState {
    /// The domain.
    pub holdfast: Holdfast,
    /// Turns true when the server stops.
    pub stopping: watch::Receiver<bool>,
    /// Where people come in.
    pub door: Door,
    /// What pages are to tell.
    pub outcomes: Outcomes,
    /// What of the browsers' reports was logged.
    pub reports: Reports,
    downloads: Arc<Semaphore>,
    imports: Arc<Semaphore>,
    options: LeptosOptions,
}

impl AppState {
    /// What the handlers of one server share.
    pub fn new(holdfast: Holdfast, stopping: watch::Receiver<bool>) -> Self {
        Self {
            door: Door::new(holdfast.accounts().clone(), holdfast.audit().clone()),
            holdfast,
            stopping,
            outcomes: Outcomes::default(),
            reports: Reports::default(),
            downloads: Arc::new(Semaphore::new(DOWNLOADS)),
            imports: Arc::new(Semaphore::new(IMPORTS)),
            options: settings::site_options(),
        }
    }

    /// A turn to download, held until the last byte is sent; nothing while too many others have theirs.
    pub fn turn_to_download(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.downloads).try_acquire_owned().ok()
    }

    /// A turn to import, held until all is checked; nothing while too many others have theirs.
    pub fn turn_to_import(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.imports).try_acquire_owned().ok()
    }
}

impl FromRef<AppState> for LeptosOptions {
    fn from_ref(state: &AppState) -> Self {
        state.options.clone()
    }
}

/// The holdfast in the hands of whoever sent the request.
pub struct OnBehalf(pub Holdfast);

impl FromRequestParts<AppState> for OnBehalf {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Infallible> {
        Ok(Self(state.holdfast.on_behalf_of(doorway::asker(&parts.extensions))))
    }
}
