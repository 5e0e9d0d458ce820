//! The server function of the pages that the server describes.
#![expect(missing_docs, reason = "the macro makes structs whose fields cannot carry documentation")]

#[cfg(feature = "ssr")]
mod account;
#[cfg(feature = "ssr")]
mod users;

#[cfg(feature = "ssr")]
use super::doorway;
use super::wire::Wire;
use crate::model::{AppError, Sheet};
use leptos::prelude::*;
use leptos::server_fn::codec::GetUrl;

/// The page `of` that name, its address's part after the question mark being `search`.
#[server(endpoint = "read_sheet", protocol = Wire<GetUrl>)]
pub async fn read_sheet(of: String, search: String) -> Result<Sheet, AppError> {
    use crate::model::Right;
    use crate::model::address::lookup;
    let outcome = doorway::recall(lookup(&search, "outcome")).await?;
    let session = doorway::session_id().await;
    let sheet = match of.as_str() {
        "account" => {
            doorway::ask_as(move |vault, account| account::sheet(vault, account, session.as_deref())).await?
        }
        "users" => {
            doorway::must(Right::Administer).await?;
            doorway::ask_as(users::sheet).await?
        }
        _ => return Err(AppError::NotFound("There is no such page.".to_owned())),
    };
    Ok(Sheet { outcome, ..sheet })
}
