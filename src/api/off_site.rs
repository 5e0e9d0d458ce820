//! The server functions for copies at a destination: upload, list, fetch, delete. An expected refusal is an answer, not
//! an error: the page shows it as a sentence, and the browser's console stays clean.
#![expect(missing_docs, reason = "the macro makes structs whose fields cannot carry documentation")]

#[cfg(feature = "ssr")]
use super::context;
use super::wire::Wire;
#[cfg(feature = "ssr")]
use crate::domain::destinations::Destinations;
use crate::model::{AppError, Outcome, RemoteBackup};
use leptos::prelude::*;
use leptos::server_fn::codec::{GetUrl, PostUrl};
use serde::{Deserialize, Serialize};

/// The backups here and their copies at the destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteView {
    /// The name of the destination, such as a server; `None` while off-site storage is off.
    pub host: Option<String>,
    /// The directory there.
    pub directory: String,
    /// Every backup that is here or at the destination, or why the destination could not be listed.
    pub found: Result<Vec<RemoteBackup>, String>,
    /// The outcome that a redirect left for this page.
    pub outcome: Option<Outcome>,
}

/// Queues the upload of these backups.
#[server(endpoint = "upload_backups", protocol = Wire<PostUrl>)]
pub async fn upload_backups(#[server(default)] names: Vec<String>) -> Result<Outcome, AppError> {
    let queued = context::attempt(move |holdfast| {
        holdfast.destinations().start_each(&names, Destinations::start_upload)
    })
    .await?;
    let nothing = "Nothing was selected. Select backups first, then press “Upload”.";
    let outcome = queued.as_ref().map_or_else(Outcome::refused, |queued| queued.outcome(nothing));
    context::show_on_list(&queued.unwrap_or_default().jobs, Some(outcome.clone())).await?;
    Ok(outcome)
}

/// The backups here and their copies at the destination.
#[server(endpoint = "remote_backups", protocol = Wire<GetUrl>)]
pub async fn remote_backups(outcome: Option<String>) -> Result<RemoteView, AppError> {
    let outcome = context::recall(outcome).await?;
    let place = context::ask(|holdfast| {
        let first = holdfast.destinations().all()?.into_iter().find(|destination| destination.is_enabled());
        Ok(first.map(|destination| (destination.label().to_owned(), destination.directory().to_owned())))
    })
    .await?;
    let found = match &place {
        Some(_) => context::attempt(|holdfast| holdfast.destinations().listing()).await?,
        None => Ok(Vec::new()),
    };
    let (host, directory) = place.unzip();
    Ok(RemoteView { host, directory: directory.unwrap_or_default(), found, outcome })
}

/// Queues fetching these copies.
#[server(endpoint = "fetch_backups", protocol = Wire<PostUrl>)]
pub async fn fetch_backups(#[server(default)] names: Vec<String>) -> Result<Outcome, AppError> {
    let queued = context::attempt(move |holdfast| {
        holdfast.destinations().start_each(&names, Destinations::start_fetch)
    })
    .await?;
    let nothing = "Nothing was selected. Select copies first.";
    let outcome = queued.as_ref().map_or_else(Outcome::refused, |queued| queued.outcome(nothing));
    context::show_on_list(&queued.unwrap_or_default().jobs, Some(outcome.clone())).await?;
    Ok(outcome)
}

/// Deletes these copies at the destination; the backups here stay.
#[server(endpoint = "delete_remote", protocol = Wire<PostUrl>)]
pub async fn delete_remote(#[server(default)] names: Vec<String>) -> Result<Outcome, AppError> {
    if names.len() > context::FEW {
        context::fresh().await?;
    }
    let outcome = context::ask(move |holdfast| Ok(holdfast.destinations().delete_all(&names))).await?;
    context::tell_on("/remote", outcome.clone()).await?;
    Ok(outcome)
}
