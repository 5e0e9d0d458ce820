//! Backups that run or wait, and how those ended that the reader saw running.

use crate::api::CancelJob;
use crate::model::{JobState, JobView, Live, Stamp, human};
use leptos::prelude::*;

/// The strip of a job under way, with its way out.
#[component]
pub fn JobStrip(
    /// The job.
    job: JobView,
    /// The server's clock.
    now: Stamp,
    /// Cancels it.
    cancel: ServerAction<CancelJob>,
) -> impl IntoView {
    let elapsed = human::clock(now.seconds_since(job.started));
    let (words, figures) = match &job.state {
        JobState::Running { phase, read, written, total } => {
            let bytes = match (read, written) {
                (0, _) => String::new(),
                (read, written) => {
                    format!(" · {} read, {} written", human::size(*read), human::size(*written))
                }
            };
            let share = total.map(|total| (*read.min(&total), total));
            (format!("{}{bytes} · {elapsed}", phase.label()), share)
        }
        _ => (format!("waiting for another backup to end · {elapsed}"), None),
    };
    let bar = match figures {
        Some((done, of)) => {
            view! { <progress value=done.to_string() max=of.to_string()></progress> }.into_any()
        }
        None => view! { <progress></progress> }.into_any(),
    };
    view! {
        <section class="job" aria-label=format!("Backup of {}", job.database)>
            <div><b>{job.database.to_string()}</b>" · "{words}</div>
            {bar}
            <ActionForm action=cancel>
                <input type="hidden" name="id" value=job.id.to_string() />
                <button class="ghost">"Cancel"</button>
            </ActionForm>
        </section>
    }
}

/// How a job ended, in words for the status region; failures go to an alert of their own.
pub fn success(job: &JobView) -> Option<String> {
    let took = human::duration(job.took().unwrap_or_default());
    match &job.state {
        JobState::Done { file, size, warnings } => {
            let warned = if warnings.is_some() { ", with warnings (see Activity)" } else { "" };
            Some(format!("Created {file}, {} in {took}{warned}.", human::size(*size)))
        }
        JobState::Cancelled => {
            Some(format!("The backup of {} was cancelled. Nothing was kept of it.", job.database))
        }
        _ => None,
    }
}

/// The sentence of a job that failed, with the tool's own words.
pub fn failure(job: &JobView) -> Option<(String, Option<String>)> {
    let database = &job.database;
    match &job.state {
        JobState::Failed { message, detail } => {
            let of = if message.starts_with(database.as_str()) {
                String::new()
            } else {
                format!(" of {database}")
            };
            Some((format!("Backup{of} failed: {message}"), detail.clone()))
        }
        JobState::Interrupted => {
            let message = format!(
                "The backup of {database} was interrupted when Holdfast ended. Nothing was kept of it; create it again."
            );
            Some((message, None))
        }
        _ => None,
    }
}

/// Adds to `ended` the jobs that ended since the page was opened, each once, oldest first.
pub fn gather(ended: &mut Vec<JobView>, live: &Live, opened: Stamp) {
    for job in &live.jobs {
        if job.ended.is_some_and(|at| at >= opened) && !ended.iter().any(|known| known.id == job.id) {
            ended.push(job.clone());
        }
    }
}
