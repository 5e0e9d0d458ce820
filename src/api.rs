//! The server functions: doorways between a page and the holdfast. Each asks who is there, makes one call and
//! converts the answer. Their addresses are named, since the default ones carry a hash of the build directory.
#![expect(missing_docs, reason = "the macro makes structs whose fields cannot carry documentation")]
pub mod json;
pub mod off_site;
#[cfg(feature = "ssr")]
pub mod outcomes;
pub mod recovery;
pub mod sftp;
pub mod sheets;
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

/// What the backups page shows: one page of the list, the databases at a glance, and what runs. `jobs` and
/// `outcome` name what the page was opened to tell.
#[server(endpoint = "read_backups", protocol = Wire<GetUrl>)]
pub async fn read_backups(
    query: ListQuery,
    #[server(default)] jobs: Vec<JobId>,
    outcome: Option<String>,
) -> Result<BackupsView, AppError> {
    let outcome = doorway::recall(outcome).await?;
    let view = doorway::ask(move |holdfast| holdfast.backups_view(&query, &jobs)).await?;
    Ok(BackupsView { outcome, ..view })
}

/// Every backup that matches the filter of `query`.
#[server(endpoint = "matching_backups", protocol = Wire<GetUrl>)]
pub async fn matching_backups(query: ListQuery) -> Result<Vec<Picked>, AppError> {
    doorway::ask(move |holdfast| holdfast.matching(&query)).await
}

/// The backups among `names`, with their sizes.
#[server(endpoint = "named_backups", protocol = Wire<GetUrl>)]
pub async fn named_backups(#[server(default)] names: Vec<String>) -> Result<Vec<Picked>, AppError> {
    doorway::ask(move |holdfast| Ok(holdfast.named(&names))).await
}

/// Deletes the backups among `names`, and says of each whether it is gone. A form posted without JavaScript
/// is led back to the list, which tells it.
#[server(endpoint = "delete_backups", protocol = Wire<PostUrl>)]
pub async fn delete_backups(#[server(default)] names: Vec<String>) -> Result<Deleted, AppError> {
    if names.len() > doorway::FEW {
        doorway::fresh().await?;
    }
    let deleted = doorway::ask(move |holdfast| holdfast.delete(&names)).await?;
    doorway::tell_on_list(deleted.outcome()).await?;
    Ok(deleted)
}

/// Prepares the backups among `names` for download in one archive.
#[server(endpoint = "bundle_backups", protocol = Wire<PostUrl>)]
pub async fn bundle_backups(
    #[server(default)] names: Vec<String>,
    format: ArchiveFormat,
) -> Result<Bundled, AppError> {
    doorway::ask_as(move |holdfast, account| holdfast.bundle(account.id, names, format)).await
}

/// The configured databases, each asked for its version and size. `outcome` is what the page was opened to tell.
#[server(endpoint = "databases", protocol = Wire<GetUrl>)]
pub async fn databases(outcome: Option<String>) -> Result<DatabasesView, AppError> {
    let outcome = doorway::recall(outcome).await?;
    doorway::ask(move |holdfast| holdfast.databases(outcome)).await
}

/// Asks one database whether a backup of it would succeed.
#[server(endpoint = "try_database", protocol = Wire<PostUrl>)]
pub async fn try_database(database: DatabaseName) -> Result<Tried, AppError> {
    let tried = doorway::ask(move |holdfast| holdfast.try_database(&database)).await?;
    doorway::tell_on("/databases", tried.outcome()).await?;
    Ok(tried)
}

/// The last jobs, newest first.
#[server(endpoint = "job_history", protocol = Wire<GetUrl>)]
pub async fn job_history() -> Result<Vec<JobView>, AppError> {
    doorway::ask(|holdfast| holdfast.jobs().history()).await
}

/// Begins a backup, with `upload` sending it off-site, too. A form posted without JavaScript is led back to
/// the page, told which job to show.
#[server(endpoint = "create_backup", protocol = Wire<PostUrl>)]
pub async fn create_backup(database: DatabaseName, upload: Option<String>) -> Result<JobId, AppError> {
    let job = doorway::ask(move |holdfast| holdfast.start_backup(&database, upload.is_some())).await?;
    doorway::show_on_list(&[job], None).await?;
    Ok(job)
}

/// Asks a job to stop.
#[server(endpoint = "cancel_job", protocol = Wire<PostUrl>)]
pub async fn cancel_job(id: JobId) -> Result<(), AppError> {
    doorway::ask(move |holdfast| holdfast.cancel(id)).await?;
    doorway::show_on_list(&[id], None).await?;
    Ok(())
}

/// What every server function does on its way to the holdfast and back.
#[cfg(feature = "ssr")]
pub mod doorway {
    use super::outcomes::{self, Outcomes};
    use crate::domain;
    use crate::domain::accounts::Account;
    use crate::domain::audit::By;
    use crate::domain::{Error, Holdfast};
    use crate::model::{ActionResult, AppError, JobId, ListQuery, Outcome, Right};
    use axum::Extension;
    use http::header::{ACCEPT, REFERER, SET_COOKIE};
    use http::{Extensions, HeaderMap, HeaderValue};
    use leptos::prelude::{ServerActionError, use_context};
    use leptos::server_fn::error::ServerFnUrlError;
    use std::time::Duration;

    /// Among a request's extensions where a session asks: which one, as its owner is shown it.
    #[derive(Debug, Clone)]
    pub struct SessionId(pub String);

    /// Backups that are deleted without the password typed once more.
    pub const FEW: usize = 10;

    /// How long a form posted without JavaScript waits for its job, so that short ones show their outcome.
    const PATIENCE: Duration = Duration::from_millis(1500);

    /// Asks the holdfast on a blocking thread, on behalf of whoever is logged in. A failure is logged here,
    /// once, with its causes; the reader gets its sentence.
    pub async fn ask<T: Send + 'static>(
        work: impl FnOnce(&Holdfast) -> domain::Result<T> + Send + 'static,
    ) -> Result<T, AppError> {
        ask_as(move |holdfast, _| work(holdfast)).await
    }

    /// The same, where it matters who asks.
    pub async fn ask_as<T: Send + 'static>(
        work: impl FnOnce(&Holdfast, &Account) -> domain::Result<T> + Send + 'static,
    ) -> Result<T, AppError> {
        let account = account().await?;
        let holdfast: Holdfast =
            use_context().ok_or_else(|| AppError::Failed("The server is not ready.".to_owned()))?;
        let about = leptos_axum::extract::<Extensions>().await.unwrap_or_default();
        let holdfast = holdfast.on_behalf_of(asker(&about));
        let answer = tokio::task::spawn_blocking(move || work(&holdfast, &account)).await;
        answer.unwrap_or(Err(Error::Lost)).map_err(|error| {
            tracing::warn!(%error, cause = ?error, "a request failed");
            error.into()
        })
    }

    /// Whether whoever asks may do what needs `right`; the guard asks it of addresses, this of what is behind one.
    pub async fn must(right: Right) -> Result<(), AppError> {
        if account().await?.may(right) { Ok(()) } else { Err(AppError::Forbidden) }
    }

    /// Whether whoever asks proved a few minutes ago who they are: to be asked before what cannot be undone.
    pub async fn fresh() -> Result<(), AppError> {
        if account().await?.fresh { Ok(()) } else { Err(AppError::Stale) }
    }

    /// The same where a refusal is an answer, so that nothing typed is lost.
    pub async fn stale() -> Option<String> {
        fresh().await.err().map(|error| error.to_string())
    }

    /// Which of the account's sessions asks.
    pub async fn session_id() -> Option<String> {
        let known: Result<Extension<SessionId>, _> = leptos_axum::extract().await;
        known.ok().map(|Extension(SessionId(id))| id)
    }

    /// Who asks, for the audit log.
    pub fn asker(about: &Extensions) -> By {
        about.get().cloned().unwrap_or_else(|| By::reader(None, None, None))
    }

    /// Who asks.
    async fn account() -> Result<Account, AppError> {
        let known: Result<Extension<Account>, _> = leptos_axum::extract().await;
        known.map(|Extension(account)| account).map_err(|_| AppError::Unauthenticated)
    }

    /// Asks the holdfast where a refusal is an answer that the page has a sentence for; it is logged all the same.
    pub async fn attempt<T: Send + 'static>(
        work: impl FnOnce(&Holdfast) -> domain::Result<T> + Send + 'static,
    ) -> Result<Result<T, String>, AppError> {
        attempt_as(move |holdfast, _| work(holdfast)).await
    }

    /// The same, where it matters who asks.
    pub async fn attempt_as<T: Send + 'static>(
        work: impl FnOnce(&Holdfast, &Account) -> domain::Result<T> + Send + 'static,
    ) -> Result<Result<T, String>, AppError> {
        ask_as(move |holdfast, account| match work(holdfast, account) {
            Err(
                error @ (Error::Refused(_)
                | Error::OffSite(_)
                | Error::NoBackup(_)
                | Error::Busy(_)
                | Error::Unreachable { .. }
                | Error::Tool { .. }),
            ) => {
                tracing::warn!(%error, "a request was refused");
                Ok(Err(error.to_string()))
            }
            other => other.map(Ok),
        })
        .await
    }

    /// The same for whoever proved lately who they are; for others, that is the refusal.
    pub async fn attempt_freshly<T: Send + 'static>(
        work: impl FnOnce(&Holdfast, &Account) -> domain::Result<T> + Send + 'static,
    ) -> Result<Result<T, String>, AppError> {
        match stale().await {
            Some(stale) => Ok(Err(stale)),
            None => attempt_as(work).await,
        }
    }

    /// Leads a plain form back to the list, told which jobs to show and what else there is to say. The live
    /// page needs none of it.
    pub async fn show_on_list(jobs: &[JobId], outcome: Option<Outcome>) -> Result<(), AppError> {
        let Some(view) = plain_form_from().await else { return Ok(()) };
        if let (Some(holdfast), Some(&first)) = (use_context::<Holdfast>(), jobs.first()) {
            // The wait is a courtesy; where it ends early, the page shows the job as running.
            let _ = tokio::time::timeout(PATIENCE, holdfast.jobs().ended(first)).await;
        }
        let mut telling = Vec::new();
        if !jobs.is_empty() {
            let ids: Vec<_> = jobs.iter().map(ToString::to_string).collect();
            telling.push(("job", ids.join(",")));
        }
        if let Some(outcome) = outcome.filter(|outcome| *outcome != Outcome::default())
            && let Some(id) = keep(outcome.into()).await?
        {
            telling.push(("outcome", id));
        }
        leptos_axum::redirect(&view.href_telling(&telling));
        Ok(())
    }

    /// Leads a plain form back to the list, to the job that was begun, or told why none was.
    pub async fn begun(begun: Result<JobId, String>) -> Result<Outcome, AppError> {
        let (jobs, outcome) = match begun {
            Ok(job) => (vec![job], Outcome::default()),
            Err(reason) => (Vec::new(), Outcome::refused(reason)),
        };
        show_on_list(&jobs, Some(outcome.clone())).await?;
        Ok(outcome)
    }

    /// Leads a plain form to another address.
    pub async fn lead_to(address: &str) {
        if plain_form_from().await.is_some() {
            leptos_axum::redirect(address);
        }
    }

    /// Leads a plain form back to the list, which tells `outcome`.
    pub async fn tell_on_list(outcome: Outcome) -> Result<(), AppError> {
        show_on_list(&[], Some(outcome)).await
    }

    /// Leads a plain form to another page, which tells `outcome`.
    pub async fn tell_on(page: &str, outcome: impl Into<ActionResult>) -> Result<(), AppError> {
        if plain_form_from().await.is_some() {
            let id = keep(outcome.into()).await?.unwrap_or_default();
            let more = if page.contains('?') { '&' } else { '?' };
            leptos_axum::redirect(&format!("{page}{more}outcome={id}"));
        }
        Ok(())
    }

    async fn keep(told: ActionResult) -> Result<Option<String>, AppError> {
        let account = account().await?;
        Ok(use_context::<Outcomes>().and_then(|outcomes| outcomes.keep(account.id, told)))
    }

    /// The outcome the page was opened to tell.
    pub async fn recall(id: Option<String>) -> Result<Option<Outcome>, AppError> {
        Ok(recall_told(id).await?.map(|told| told.outcome))
    }

    /// All that the page was opened to tell: by its address, else as the answer before left it.
    pub async fn recall_told(id: Option<String>) -> Result<Option<ActionResult>, AppError> {
        let account = account().await?;
        // A plain form that failed is led back by the framework, with the reason in the address.
        if let Some(failed) = use_context::<ServerActionError>() {
            let reason: AppError = ServerFnUrlError::decode_err(failed.err());
            return Ok(Some(Outcome::refused(reason.to_string()).into()));
        }
        let Some(kept) = use_context::<Outcomes>() else { return Ok(None) };
        let headers = leptos_axum::extract::<HeaderMap>().await.unwrap_or_default();
        let Some(left) = outcomes::to_tell(&headers) else {
            return Ok(id.and_then(|id| kept.get(account.id, &id)));
        };
        if let (Some(response), Ok(told)) =
            (use_context::<leptos_axum::ResponseOptions>(), HeaderValue::try_from(outcomes::told()))
        {
            response.append_header(SET_COOKIE, told);
        }
        Ok(kept.get(account.id, left))
    }

    /// The view of the list a plain form was posted from; nothing where the live page asks.
    async fn plain_form_from() -> Option<ListQuery> {
        let headers = leptos_axum::extract::<HeaderMap>().await.unwrap_or_default();
        let accepts = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
        accepts.filter(|accepts| accepts.contains("text/html")).map(|_| came_from(&headers))
    }

    /// The view of the list a request came from: the page's address has it, whatever page that is.
    pub fn came_from(headers: &HeaderMap) -> ListQuery {
        let address = headers.get(REFERER).and_then(|value| value.to_str().ok());
        let address = address.and_then(|address| url::Url::parse(address).ok());
        ListQuery::from_lookup(|key| {
            let address = address.as_ref()?;
            address.query_pairs().find_map(|(name, value)| (name == key).then(|| value.into_owned()))
        })
    }
}
