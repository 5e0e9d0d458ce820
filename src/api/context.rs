//! The context of a server function: the current user, the domain on behalf of that user, flash messages and redirects.
//! The server provides a [`RequestContext`] for every request; nothing here names the server.

use crate::domain;
use crate::domain::accounts::Account;
use crate::domain::audit::Actor;
use crate::domain::{Error, Holdfast};
use crate::model::error::CODE_HEADER;
use crate::model::{ActionResult, AppError, JobId, ListQuery, Outcome, Right};
use axum::Extension;
use http::header::{REFERER, SET_COOKIE};
use http::{Extensions, HeaderMap, HeaderName, HeaderValue};
use leptos::prelude::{ServerActionError, use_context};
use leptos::server_fn::error::ServerFnUrlError;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// Deleting more backups than this at once needs a recently confirmed password.
pub const FEW: usize = 10;

/// How long a form posted without JavaScript waits for its job, so that the next page shows the outcome of a short job.
const JOB_WAIT: Duration = Duration::from_millis(1500);

/// The id of the session a request came with, among the request's extensions. Absent for API tokens.
#[derive(Debug, Clone)]
pub struct SessionId(pub String);

/// Results kept between a redirect and the page it leads to, so that an address carries only a random id.
pub trait FlashMessages: Send + Sync {
    /// Keeps `result` for `account` and returns its id, or `None` if the system has no random numbers.
    fn keep(&self, account: i64, result: ActionResult) -> Option<String>;
    /// The result kept under `id`, if it belongs to `account`.
    fn get(&self, account: i64, id: &str) -> Option<ActionResult>;
    /// The id that an earlier answer left in a cookie, and the `Set-Cookie` that removes it.
    fn left_in_cookie(&self, headers: &HeaderMap) -> Option<(String, HeaderValue)>;
}

/// The pages that the server writes as HTML, by name.
pub trait ServerPages: Send + Sync {
    /// Writes the page called `name`; `search` is the part of its address after the question mark.
    fn write(&self, name: String, search: String) -> PageFuture;
}

/// A page being written: its HTML, or why there is none.
pub type PageFuture = Pin<Box<dyn Future<Output = Result<String, AppError>> + Send>>;

/// The context that the server provides to the server functions of one request.
#[derive(Clone)]
pub struct RequestContext {
    /// The domain.
    pub holdfast: Holdfast,
    /// Results to show after a redirect.
    pub flash: Arc<dyn FlashMessages>,
    /// The pages that the server writes.
    pub pages: Arc<dyn ServerPages>,
    /// Whether the client wants a page. Then the form was posted without JavaScript, and the answer is a redirect.
    pub wants_page: bool,
}

/// The context of the request being answered.
fn context() -> Result<RequestContext, AppError> {
    use_context().ok_or_else(|| AppError::Failed("The server is not ready.".to_owned()))
}

/// Runs `work` on a blocking thread, on behalf of the current user. Logs a failure once, with its causes. The caller
/// gets the sentence to show, and a response header gets the error code.
pub async fn ask<T: Send + 'static>(
    work: impl FnOnce(&Holdfast) -> domain::Result<T> + Send + 'static,
) -> Result<T, AppError> {
    ask_as(move |holdfast, _| work(holdfast)).await
}

/// Like [`ask`], for work that depends on the account.
pub async fn ask_as<T: Send + 'static>(
    work: impl FnOnce(&Holdfast, &Account) -> domain::Result<T> + Send + 'static,
) -> Result<T, AppError> {
    let account = account().await?;
    let about = leptos_axum::extract::<Extensions>().await.unwrap_or_default();
    let holdfast = context()?.holdfast.on_behalf_of(asker(&about));
    let answer = tokio::task::spawn_blocking(move || work(&holdfast, &account)).await;
    answer.unwrap_or(Err(Error::Lost)).map_err(|error| {
        let code = error.code().as_str();
        tracing::warn!(%error, code, cause = error.cause(), "a request failed");
        if let Some(response) = use_context::<leptos_axum::ResponseOptions>() {
            response.insert_header(HeaderName::from_static(CODE_HEADER), HeaderValue::from_static(code));
        }
        error.into()
    })
}

/// Fails unless the current user has `right`. For addresses that lead to things with different rights.
pub async fn must(right: Right) -> Result<(), AppError> {
    if account().await?.may(right) { Ok(()) } else { Err(AppError::Forbidden) }
}

/// Fails unless the current user confirmed the password recently. Call it before anything that cannot be undone.
pub async fn fresh() -> Result<(), AppError> {
    if account().await?.fresh { Ok(()) } else { Err(AppError::Stale) }
}

/// Like [`fresh`], but returns the refusal as a sentence, so that the page keeps the filled-in form.
pub async fn stale() -> Option<String> {
    fresh().await.err().map(|error| error.to_string())
}

/// The id of the current session.
pub async fn session_id() -> Option<String> {
    let known: Result<Extension<SessionId>, _> = leptos_axum::extract().await;
    known.ok().map(|Extension(SessionId(id))| id)
}

/// Who sent the request, for the audit log.
pub fn asker(about: &Extensions) -> Actor {
    about.get().cloned().unwrap_or_else(|| Actor::reader(None, None, None))
}

/// The current user's account.
async fn account() -> Result<Account, AppError> {
    let known: Result<Extension<Account>, _> = leptos_axum::extract().await;
    known.map(|Extension(account)| account).map_err(|_| AppError::Unauthenticated)
}

/// Like [`ask`], but returns an expected refusal as a sentence for the page instead of an error. Logs it all the same.
pub async fn attempt<T: Send + 'static>(
    work: impl FnOnce(&Holdfast) -> domain::Result<T> + Send + 'static,
) -> Result<Result<T, String>, AppError> {
    attempt_as(move |holdfast, _| work(holdfast)).await
}

/// Like [`attempt`], for work that depends on the account.
pub async fn attempt_as<T: Send + 'static>(
    work: impl FnOnce(&Holdfast, &Account) -> domain::Result<T> + Send + 'static,
) -> Result<Result<T, String>, AppError> {
    ask_as(move |holdfast, account| match work(holdfast, account) {
        Err(
            error @ (Error::Refused(_)
            | Error::Refusal(_)
            | Error::OffSite(_)
            | Error::NoBackup(_)
            | Error::Busy(_)
            | Error::Unreachable { .. }
            | Error::Tool { .. }),
        ) => {
            tracing::warn!(%error, code = %error.code(), "a request was refused");
            Ok(Err(error.to_string()))
        }
        other => other.map(Ok),
    })
    .await
}

/// Like [`attempt_as`], and refuses users who did not confirm their password recently.
pub async fn attempt_freshly<T: Send + 'static>(
    work: impl FnOnce(&Holdfast, &Account) -> domain::Result<T> + Send + 'static,
) -> Result<Result<T, String>, AppError> {
    match stale().await {
        Some(stale) => Ok(Err(stale)),
        None => attempt_as(work).await,
    }
}

/// Redirects a form posted without JavaScript to the list, which shows these jobs and this outcome. Does nothing for
/// the live page, which reads the answer itself.
pub async fn show_on_list(jobs: &[JobId], outcome: Option<Outcome>) -> Result<(), AppError> {
    let context = context()?;
    if !context.wants_page {
        return Ok(());
    }
    if let Some(&first) = jobs.first() {
        // If the job takes longer, the page shows it as running.
        let _ = tokio::time::timeout(JOB_WAIT, job_ended(&context.holdfast, first)).await;
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
    let headers = leptos_axum::extract::<HeaderMap>().await.unwrap_or_default();
    leptos_axum::redirect(&list_query_of_referer(&headers).href_telling(&telling));
    Ok(())
}

/// Waits until a job has ended. Reads the jobs on a blocking thread, since that may wait for the disk.
async fn job_ended(holdfast: &Holdfast, id: JobId) {
    let mut changes = holdfast.jobs().watch();
    loop {
        let jobs = holdfast.jobs().clone();
        let job = tokio::task::spawn_blocking(move || jobs.get(id)).await.ok().flatten();
        let is_active = job.is_some_and(|job| job.state.is_active());
        if !is_active || changes.changed().await.is_err() {
            return;
        }
    }
}

/// Redirects a form posted without JavaScript to the list, which shows the started job or the reason for a refusal.
pub async fn begun(begun: Result<JobId, String>) -> Result<Outcome, AppError> {
    let (jobs, outcome) = match begun {
        Ok(job) => (vec![job], Outcome::default()),
        Err(reason) => (Vec::new(), Outcome::refused(reason)),
    };
    show_on_list(&jobs, Some(outcome.clone())).await?;
    Ok(outcome)
}

/// Redirects a form posted without JavaScript to `address`.
pub fn lead_to(address: &str) {
    if context().is_ok_and(|context| context.wants_page) {
        leptos_axum::redirect(address);
    }
}

/// Redirects a form posted without JavaScript to the list, which shows `outcome`.
pub async fn tell_on_list(outcome: Outcome) -> Result<(), AppError> {
    show_on_list(&[], Some(outcome)).await
}

/// Redirects a form posted without JavaScript to `page`, which shows `result`.
pub async fn tell_on(page: &str, result: impl Into<ActionResult>) -> Result<(), AppError> {
    if context()?.wants_page {
        let id = keep(result.into()).await?.unwrap_or_default();
        let more = if page.contains('?') { '&' } else { '?' };
        leptos_axum::redirect(&format!("{page}{more}outcome={id}"));
    }
    Ok(())
}

/// Keeps `result` for the next page and returns its id.
async fn keep(result: ActionResult) -> Result<Option<String>, AppError> {
    let account = account().await?;
    Ok(context()?.flash.keep(account.id, result))
}

/// The outcome that a redirect left for the page; `id` is the one in its address.
pub async fn recall(id: Option<String>) -> Result<Option<Outcome>, AppError> {
    Ok(recall_result(id).await?.map(|result| result.outcome))
}

/// The whole result that a redirect left for the page: by the id in a cookie, otherwise by the `id` in the address.
pub async fn recall_result(id: Option<String>) -> Result<Option<ActionResult>, AppError> {
    let account = account().await?;
    // If a form posted without JavaScript fails, Leptos itself redirects, with the reason in the address.
    if let Some(failed) = use_context::<ServerActionError>() {
        let reason: AppError = ServerFnUrlError::decode_err(failed.err());
        return Ok(Some(Outcome::refused(reason.to_string()).into()));
    }
    let flash = context()?.flash;
    let headers = leptos_axum::extract::<HeaderMap>().await.unwrap_or_default();
    let Some((left, removal)) = flash.left_in_cookie(&headers) else {
        return Ok(id.and_then(|id| flash.get(account.id, &id)));
    };
    if let Some(response) = use_context::<leptos_axum::ResponseOptions>() {
        response.append_header(SET_COOKIE, removal);
    }
    Ok(flash.get(account.id, &left))
}

/// The HTML of a page that the server writes.
pub async fn server_page(name: String, search: String) -> Result<String, AppError> {
    context()?.pages.write(name, search).await
}

/// The list view (sorting, page, filter) in the `Referer` of a request.
pub fn list_query_of_referer(headers: &HeaderMap) -> ListQuery {
    let address = headers.get(REFERER).and_then(|value| value.to_str().ok());
    let address = address.and_then(|address| url::Url::parse(address).ok());
    ListQuery::from_lookup(|key| {
        let address = address.as_ref()?;
        address.query_pairs().find_map(|(name, value)| (name == key).then(|| value.into_owned()))
    })
}
