//! The pages that the server writes, by name, and the forms they post.

use crate::api::context::{self, PageFuture, ServerPages};
use crate::model::AppError;
use crate::server::middleware::access::{Access, access};
use crate::server::pages::{account, audit, restore, users};
use crate::server::state::AppState;
use axum::routing::MethodRouter;
use http::Method;

/// The pages `/account`, `/users`, `/audit` and `/restore`.
pub struct Pages;

impl ServerPages for Pages {
    fn write(&self, name: String, search: String) -> PageFuture {
        Box::pin(async move {
            // One server function serves all these pages, so the guard cannot tell them apart by address.
            if let Access::Needs(right) = access(&Method::GET, &format!("/{name}")) {
                context::must(right).await?;
            }
            match name.as_str() {
                "account" => account::write(search).await,
                "audit" => audit::write(search).await,
                "restore" => restore::write(search).await,
                "users" => users::write(search).await,
                _ => Err(AppError::NotFound("There is no such page.".to_owned())),
            }
        })
    }
}

/// The addresses of all forms, each with its handler.
pub fn forms() -> Vec<(&'static str, MethodRouter<AppState>)> {
    account::forms().into_iter().chain(users::forms()).collect()
}
