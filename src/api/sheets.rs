//! The server function of the pages the server writes whole: what is on them is forms and facts that are looked up
//! now and then, and the browser has no code for each.
#![expect(missing_docs, reason = "the macro makes structs whose fields cannot carry documentation")]

#[cfg(feature = "ssr")]
mod account;
#[cfg(feature = "ssr")]
mod audit;
#[cfg(feature = "ssr")]
mod parts;
#[cfg(feature = "ssr")]
mod restore;
#[cfg(feature = "ssr")]
mod users;

#[cfg(feature = "ssr")]
use super::doorway;
use super::wire::Wire;
use crate::model::AppError;
use leptos::prelude::*;
use leptos::server_fn::codec::GetUrl;

/// The page `of` that name, as HTML, its address's part after the question mark being `search`.
#[server(endpoint = "read_sheet", protocol = Wire<GetUrl>)]
pub async fn read_sheet(of: String, search: String) -> Result<String, AppError> {
    use crate::domain::Holdfast;
    use crate::domain::accounts::Account;
    use crate::model::address::lookup;
    use crate::model::{BackupName, Right};
    let outcome = doorway::recall(lookup(&search, "outcome")).await?;
    match of.as_str() {
        "account" => {
            let session = doorway::session_id().await;
            doorway::ask_as(move |holdfast, account| {
                account::sheet(holdfast, account, session.as_deref(), outcome)
            })
            .await
        }
        "users" => {
            doorway::must(Right::Administer).await?;
            doorway::ask_as(move |holdfast, account| users::sheet(holdfast, account, outcome)).await
        }
        "restore" => {
            let file = lookup(&search, "file").unwrap_or_default();
            let plan = lookup(&search, "plan");
            let read = match file.parse::<BackupName>() {
                Ok(file) => {
                    let look = move |holdfast: &Holdfast, account: &Account| {
                        holdfast.restore_view(account.id, &file, plan.as_deref())
                    };
                    doorway::attempt_as(look).await?
                }
                Err(error) => Err(format!("{file} is {error}.")),
            };
            Ok(match read {
                Ok(view) => restore::sheet(view, doorway::must(Right::Administer).await.is_ok(), outcome),
                Err(reason) => restore::nothing(&file, reason),
            })
        }
        "audit" => {
            doorway::must(Right::Administer).await?;
            doorway::ask(move |holdfast| audit::sheet(holdfast, &search)).await
        }
        _ => Err(AppError::NotFound("There is no such page.".to_owned())),
    }
}
