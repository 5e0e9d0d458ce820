//! What every handler is given.

use crate::api::outcomes::Outcomes;
use crate::settings;
use crate::vault::Vault;
use axum::extract::FromRef;
use leptos::config::LeptosOptions;
use tokio::sync::watch;

/// What handlers are given.
#[derive(Clone)]
pub struct AppState {
    /// The domain.
    pub vault: Vault,
    /// Turns true when the server stops.
    pub stopping: watch::Receiver<bool>,
    /// What pages are to tell.
    pub outcomes: Outcomes,
    options: LeptosOptions,
}

impl AppState {
    /// What the handlers of one server share.
    pub fn new(vault: Vault, stopping: watch::Receiver<bool>) -> Self {
        Self { vault, stopping, outcomes: Outcomes::default(), options: settings::site_options() }
    }
}

impl FromRef<AppState> for LeptosOptions {
    fn from_ref(state: &AppState) -> Self {
        state.options.clone()
    }
}
