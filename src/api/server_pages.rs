//! The server function behind the server-written pages: account, users, audit log, restore. They are opened rarely, so
//! the browser has one component for all of them.
#![expect(missing_docs, reason = "the macro makes structs whose fields cannot carry documentation")]

#[cfg(feature = "ssr")]
use super::context;
use super::wire::Wire;
use crate::model::AppError;
use leptos::prelude::*;
use leptos::server_fn::codec::GetUrl;

/// The HTML of the page at `/{name}`; `search` is the part of its address after the question mark.
#[server(endpoint = "read_page", protocol = Wire<GetUrl>)]
pub async fn read_page(name: String, search: String) -> Result<String, AppError> {
    context::server_page(name, search).await
}
