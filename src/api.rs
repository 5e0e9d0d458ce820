//! The server functions that pages call. Each one identifies the user, makes one call to the domain and converts the
//! answer. Their endpoints have explicit names, because the default names contain a hash of the build directory.
#![expect(missing_docs, reason = "the macro makes structs whose fields cannot carry documentation")]
#[cfg(feature = "ssr")]
pub mod context;
pub mod json;
pub mod off_site;
pub mod recovery;
pub mod server_pages;
pub mod sftp;
pub mod wire;

use crate::model::{
    AppError, ArchiveFormat, BackupsView, Bundled, DatabaseName, DatabasesView, Deleted, JobId, JobView,
    ListQuery, Picked, Tried,
};
use leptos::prelude::*;
use leptos::server_fn::codec::{GetUrl, JsonEncoding, PostUrl};
use leptos::server_fn::error::{FromServerFnError, ServerFnErrorErr};
use wire::Wire;

impl FromServerFnError for AppError {
    type Encoder = JsonEncoding;

    fn from_server_fn_error(error: ServerFnErrorErr) -> Self {
        match error {
            ServerFnErrorErr::Args(reason)
            | ServerFnErrorErr::MissingArg(reason)
            | ServerFnErrorErr::Deserialization(reason) => {
                Self::BadRequest(format!("The request could not be read: {reason}."))
            }
            other => Self::Connection(other.to_string()),
        }
    }
}

/// The backups page: one page of the list, the state of each database, and running jobs. `jobs` and `outcome` come from
/// a redirect and are shown too.
#[server(endpoint = "read_backups", protocol = Wire<GetUrl>)]
pub async fn read_backups(
    query: ListQuery,
    #[server(default)] jobs: Vec<JobId>,
    outcome: Option<String>,
) -> Result<BackupsView, AppError> {
    let outcome = context::recall(outcome).await?;
    let view = context::ask(move |holdfast| holdfast.backups().view(&query, &jobs)).await?;
    Ok(BackupsView { outcome, ..view })
}

/// Every backup that matches the filter of `query`.
#[server(endpoint = "matching_backups", protocol = Wire<GetUrl>)]
pub async fn matching_backups(query: ListQuery) -> Result<Vec<Picked>, AppError> {
    context::ask(move |holdfast| holdfast.backups().matching(&query)).await
}

/// The backups among `names`, with their sizes.
#[server(endpoint = "named_backups", protocol = Wire<GetUrl>)]
pub async fn named_backups(#[server(default)] names: Vec<String>) -> Result<Vec<Picked>, AppError> {
    context::ask(move |holdfast| Ok(holdfast.catalog().named(&names))).await
}

/// Deletes the backups among `names` and reports the result for each. A form posted without JavaScript is redirected to
/// the list, which shows the report.
#[server(endpoint = "delete_backups", protocol = Wire<PostUrl>)]
pub async fn delete_backups(#[server(default)] names: Vec<String>) -> Result<Deleted, AppError> {
    if names.len() > context::FEW {
        context::fresh().await?;
    }
    let deleted = context::ask(move |holdfast| holdfast.backups().delete(&names)).await?;
    context::tell_on_list(deleted.outcome()).await?;
    Ok(deleted)
}

/// Prepares the backups among `names` for download in one archive.
#[server(endpoint = "bundle_backups", protocol = Wire<PostUrl>)]
pub async fn bundle_backups(
    #[server(default)] names: Vec<String>,
    format: ArchiveFormat,
) -> Result<Bundled, AppError> {
    context::ask_as(move |holdfast, account| holdfast.backups().bundle(account.id, names, format)).await
}

/// The configured databases, with version and size read over a connection to each. `outcome` is the id of a flash
/// message.
#[server(endpoint = "databases", protocol = Wire<GetUrl>)]
pub async fn databases(outcome: Option<String>) -> Result<DatabasesView, AppError> {
    let outcome = context::recall(outcome).await?;
    context::ask(move |holdfast| Ok(holdfast.databases().view(&holdfast.catalog().list()?, outcome))).await
}

/// Tests whether a backup of one database would succeed.
#[server(endpoint = "try_database", protocol = Wire<PostUrl>)]
pub async fn try_database(database: DatabaseName) -> Result<Tried, AppError> {
    let tried = context::ask(move |holdfast| holdfast.databases().test(&database)).await?;
    context::tell_on("/databases", tried.outcome()).await?;
    Ok(tried)
}

/// The last jobs, newest first.
#[server(endpoint = "job_history", protocol = Wire<GetUrl>)]
pub async fn job_history() -> Result<Vec<JobView>, AppError> {
    context::ask(|holdfast| holdfast.jobs().history()).await
}

/// Starts a backup, and uploads it if `upload` is set. A form posted without JavaScript is redirected to the list,
/// which shows the job.
#[server(endpoint = "create_backup", protocol = Wire<PostUrl>)]
pub async fn create_backup(database: DatabaseName, upload: Option<String>) -> Result<JobId, AppError> {
    let job = context::ask(move |holdfast| holdfast.creations().start(&database, upload.is_some())).await?;
    context::show_on_list(&[job], None).await?;
    Ok(job)
}

/// Cancels a job.
#[server(endpoint = "cancel_job", protocol = Wire<PostUrl>)]
pub async fn cancel_job(id: JobId) -> Result<(), AppError> {
    context::ask(move |holdfast| holdfast.jobs().cancel_for(holdfast.notes(), id)).await?;
    context::show_on_list(&[id], None).await?;
    Ok(())
}
