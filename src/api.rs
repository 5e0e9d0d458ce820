//! The server functions: doorways between a page and the vault. Each asks who is there, makes one call and
//! converts the answer. Their addresses are named, since the default ones carry a hash of the build directory.
#![expect(missing_docs, reason = "the macro makes structs whose fields cannot carry documentation")]
use crate::model::{
    AppError, ArchiveFormat, BackupsView, Bundled, DatabaseName, DatabaseView, JobId, JobView, ListQuery,
    Picked,
};
use leptos::prelude::*;
use leptos::server_fn::codec::{GetUrl, Json, JsonEncoding};
use leptos::server_fn::error::{FromServerFnError, ServerFnErrorErr};

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

/// What the backups page shows: one page of the list, the databases at a glance, and what runs. `job` names
/// a job whose outcome the page was opened to see.
#[server(endpoint = "read_backups", input = GetUrl)]
pub async fn read_backups(query: ListQuery, job: Option<JobId>) -> Result<BackupsView, AppError> {
    doorway::ask(move |vault| vault.backups_view(&query, job)).await
}

/// Every backup that matches the filter of `query`.
#[server(endpoint = "matching_backups", input = GetUrl)]
pub async fn matching_backups(query: ListQuery) -> Result<Vec<Picked>, AppError> {
    doorway::ask(move |vault| vault.matching(&query)).await
}

/// The configured databases, each asked for its version and size.
#[server(endpoint = "databases", input = GetUrl)]
pub async fn databases() -> Result<Vec<DatabaseView>, AppError> {
    doorway::ask(crate::vault::Vault::databases).await
}

/// The last jobs, newest first.
#[server(endpoint = "job_history", input = GetUrl)]
pub async fn job_history() -> Result<Vec<JobView>, AppError> {
    doorway::ask(|vault| vault.jobs().history()).await
}

/// Begins a backup. A form posted without JavaScript is led back to the page, told which job to show.
#[server(endpoint = "create_backup")]
pub async fn create_backup(database: DatabaseName) -> Result<JobId, AppError> {
    let job = doorway::ask(move |vault| vault.start_backup(&database)).await?;
    doorway::back_to_list(job).await;
    Ok(job)
}

/// Asks a job to stop.
#[server(endpoint = "cancel_job")]
pub async fn cancel_job(id: JobId) -> Result<(), AppError> {
    doorway::ask(move |vault| vault.jobs().cancel(id)).await?;
    doorway::back_to_list(id).await;
    Ok(())
}

/// Gives an archive of these backups an address, and says which names were left out.
#[server(endpoint = "bundle_backups", input = Json)]
pub async fn bundle_backups(names: Vec<String>, format: ArchiveFormat) -> Result<Bundled, AppError> {
    doorway::ask_as(move |vault, account| vault.bundle(account.id, names, format)).await
}

/// What every server function does on its way to the vault and back.
#[cfg(feature = "ssr")]
pub mod doorway {
    use crate::model::{AppError, JobId, ListQuery};
    use crate::vault::accounts::Account;
    use crate::vault::{self, Vault};
    use axum::Extension;
    use http::HeaderMap;
    use http::header::{ACCEPT, REFERER};
    use leptos::prelude::use_context;
    use std::time::Duration;

    /// How long a form posted without JavaScript waits for its job, so that short ones show their outcome.
    const PATIENCE: Duration = Duration::from_millis(1500);

    /// Asks the vault on a blocking thread, on behalf of whoever is logged in. A failure is logged here,
    /// once, with its causes; the reader gets its sentence.
    pub async fn ask<T: Send + 'static>(
        work: impl FnOnce(&Vault) -> vault::Result<T> + Send + 'static,
    ) -> Result<T, AppError> {
        ask_as(move |vault, _| work(vault)).await
    }

    /// The same, for what belongs to an account.
    pub async fn ask_as<T: Send + 'static>(
        work: impl FnOnce(&Vault, &Account) -> vault::Result<T> + Send + 'static,
    ) -> Result<T, AppError> {
        let Extension(account): Extension<Account> =
            leptos_axum::extract().await.map_err(|_| AppError::Unauthenticated)?;
        let vault: Vault =
            use_context().ok_or_else(|| AppError::Failed("The server is not ready.".to_owned()))?;
        let answer = tokio::task::spawn_blocking(move || work(&vault, &account)).await;
        answer.unwrap_or(Err(vault::VaultError::Lost)).map_err(|error| {
            tracing::warn!(%error, cause = ?error, "a request failed");
            error.into()
        })
    }

    /// Leads a plain form back to the view it came from, with the job to show in the address. The live page
    /// needs none of it.
    pub async fn back_to_list(job: JobId) {
        let headers = leptos_axum::extract::<HeaderMap>().await.unwrap_or_default();
        let header = |name| headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
        if !header(ACCEPT).is_some_and(|accept| accept.contains("text/html")) {
            return;
        }
        if let Some(vault) = use_context::<Vault>() {
            // The wait is a courtesy; where it ends early, the page shows the job as running.
            let _ = tokio::time::timeout(PATIENCE, vault.jobs().ended(job)).await;
        }
        leptos_axum::redirect(&came_from(&headers).href_with_job(job));
    }

    /// The view of the list that a plain form was sent from; the first where nothing tells.
    pub fn came_from(headers: &HeaderMap) -> ListQuery {
        let referer = headers.get(REFERER).and_then(|value| value.to_str().ok());
        let came_from = referer.and_then(|address| url::Url::parse(address).ok());
        ListQuery::from_lookup(|key| {
            let address = came_from.as_ref()?;
            address.query_pairs().find_map(|(name, value)| (name == key).then(|| value.into_owned()))
        })
    }
}
