//! The addresses of logging in and out.

use crate::server::auth::attempts::Attempts;
use crate::server::auth::confirm::confirm;
use crate::server::auth::login::log_in;
use crate::server::auth::logout::log_out;
use crate::server::auth::setup::set_up;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::post;

/// Bytes of the largest form.
pub const FORM_MAX: usize = 16 * 1024;

/// The paths that [`routes`] answers.
pub const PATHS: [&str; 4] = ["/login", "/setup", "/logout", "/confirm"];

/// A `POST` handler for each of [`PATHS`]. The router merges them with the pages, behind the guard.
pub fn routes<S: Clone + Send + Sync + 'static>(attempts: Attempts) -> Router<S> {
    Router::new()
        .route("/login", post(log_in))
        .route("/setup", post(set_up))
        .route("/logout", post(log_out))
        .route("/confirm", post(confirm))
        .layer(DefaultBodyLimit::max(FORM_MAX))
        .with_state(attempts)
}
