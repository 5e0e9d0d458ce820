//! The application state that every handler gets.

use crate::api::context::asker;
use crate::domain::Holdfast;
use crate::server::auth::attempts::Attempts;
use crate::server::flash::Flash;
use crate::server::log_limit::LogLimit;
use crate::settings;
use axum::extract::{FromRef, FromRequestParts};
use http::request::Parts;
use leptos::config::LeptosOptions;
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// Most simultaneous downloads. Each keeps files open and a few pieces of them in memory.
pub const DOWNLOADS: usize = 256;

/// Most simultaneous imports. Each may fill the disk up to its limit, and reads everything back.
pub const IMPORTS: usize = 2;

/// The application state. Cheap to clone.
#[derive(Clone)]
pub struct AppState {
    /// The domain.
    pub holdfast: Holdfast,
    /// Turns true when the server stops.
    pub stopping: watch::Receiver<bool>,
    /// Logins: accounts, throttle, audit log.
    pub attempts: Attempts,
    /// Results to show after a redirect.
    pub flash: Flash,
    reports: LogLimit,
    downloads: Arc<Semaphore>,
    imports: Arc<Semaphore>,
    options: LeptosOptions,
}

impl AppState {
    /// The state of one server.
    pub fn new(holdfast: Holdfast, stopping: watch::Receiver<bool>) -> Self {
        Self {
            attempts: Attempts::new(holdfast.accounts().clone(), holdfast.audit().clone()),
            holdfast,
            stopping,
            flash: Flash::default(),
            reports: LogLimit::default(),
            downloads: Arc::new(Semaphore::new(DOWNLOADS)),
            imports: Arc::new(Semaphore::new(IMPORTS)),
            options: settings::site_options(),
        }
    }

    /// A permit for a download, to hold until the last byte is sent; `None` if there are too many downloads.
    pub fn download_permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.downloads).try_acquire_owned().ok()
    }

    /// A permit for an import, to hold until all files are checked; `None` if there are too many imports.
    pub fn import_permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.imports).try_acquire_owned().ok()
    }
}

impl FromRef<AppState> for LeptosOptions {
    fn from_ref(state: &AppState) -> Self {
        state.options.clone()
    }
}

impl FromRef<AppState> for LogLimit {
    fn from_ref(state: &AppState) -> Self {
        state.reports.clone()
    }
}

/// The domain on behalf of the account that sent the request.
pub struct OnBehalf(pub Holdfast);

impl FromRequestParts<AppState> for OnBehalf {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Infallible> {
        Ok(Self(state.holdfast.on_behalf_of(asker(&parts.extensions))))
    }
}
