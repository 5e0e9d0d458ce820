//! Running and waiting jobs, and the outcome of jobs that ended while the page was open.

use crate::api::CancelJob;
use crate::model::address::at;
use crate::model::job::Queue;
use crate::model::{JobId, JobState, JobView, Live, Phase, Stamp, Task, human};
use leptos::ev::SubmitEvent;
use leptos::prelude::*;
use leptos::server_fn::ServerFn;

/// A running job, with a button to cancel it.
#[component]
pub fn JobStrip(
    /// The job.
    job: JobView,
    /// The server's clock.
    now: Stamp,
    /// Cancels it.
    cancel: impl Fn(JobId) + 'static,
) -> impl IntoView {
    let seconds = now.seconds_since(job.started);
    let elapsed = human::clock(seconds);
    let (words, figures) = match &job.state {
        JobState::Running { phase, read, written, total, .. } => {
            let bytes = match (read, total) {
                (0, _) => String::new(),
                (read, Some(total)) if job.task.queue() != Queue::Backups => {
                    format!(" · {}", pace(*phase, *read, *total, seconds))
                }
                (read, _) => format!(" · {} read, {} written", human::size(*read), human::size(*written)),
            };
            let share = total.map(|total| (*read.min(&total), total));
            (format!("{}{bytes} · {elapsed}", phase.label()), share)
        }
        _ => (format!("waiting for another job · {elapsed}"), None),
    };
    let what = match &job.task {
        Task::Create(_) => None,
        Task::Upload(_) => Some("upload · "),
        Task::Fetch(_) => Some("fetch · "),
        Task::Verify(_) => Some("verification · "),
        Task::Adopt(_) => Some("adoption · "),
        Task::Restore(_) => Some("restore · "),
    };
    let told = match &job.state {
        JobState::Running { told: Some(told), .. } => Some(markup! { <p class="told">{told.clone()}</p> }),
        _ => None,
    };
    let bar = match figures {
        Some((done, of)) => {
            markup! { <progress value=done.to_string() max=of.to_string()></progress> }
        }
        None => markup! { <progress></progress> },
    };
    let id = job.id;
    let submit = move |event: SubmitEvent| {
        event.prevent_default();
        cancel(id);
    };
    markup! {
        <section class="job" aria-label=job.task.title()>
            <div><b>{job.task.subject().to_owned()}</b>" · "{what}{words}</div>
            {bar}
            {told}
            <form method="post" action=at(CancelJob::url()) on:submit=submit>
                <input type="hidden" name="id" value=id.to_string() />
                <button class="ghost">"Cancel"</button>
            </form>
        </section>
    }
}

/// The progress of a transfer, its speed and the remaining time.
fn pace(phase: Phase, done: u64, total: u64, seconds: u64) -> String {
    let far = format!("{} of {}", human::size(done), human::size(total));
    match done.checked_div(seconds).filter(|&rate| rate > 0 && phase != Phase::ReadingBack) {
        Some(rate) => {
            let left = human::clock(total.saturating_sub(done).div_ceil(rate));
            format!("{far}, {}/s, {left} left", human::size(rate))
        }
        None => far,
    }
}

/// The sentence of a job that succeeded, for the status region.
pub fn success(job: &JobView) -> Option<String> {
    let took = human::duration(job.took().unwrap_or_default());
    match &job.state {
        JobState::Done { file, size, warnings, .. } => {
            let size = human::size(*size);
            Some(match &job.task {
                Task::Create(_) => {
                    let warned = if warnings.is_some() { ", with warnings (see Activity)" } else { "" };
                    format!("Created {file}, {size} in {took}{warned}.")
                }
                Task::Upload(_) => {
                    let remark = warnings.as_deref().unwrap_or("The copy was read back and is identical.");
                    format!("Uploaded {file}, {size} in {took}. {remark}")
                }
                Task::Fetch(_) => {
                    let remark = warnings.as_deref().unwrap_or("It matches its manifest.");
                    format!("Fetched {file}, {size} in {took}. {remark}")
                }
                _ => format!("{} {file}, {size} in {took}.", job.task.done()),
            })
        }
        JobState::Reported { message, .. } => Some(message.clone()),
        JobState::Cancelled => Some(match &job.task {
            Task::Create(database) => {
                format!("The backup of {database} was cancelled. Nothing was kept.")
            }
            Task::Upload(file) => {
                format!("The upload of {file} was cancelled. The local backup is untouched.")
            }
            Task::Fetch(file) => format!("Fetching {file} was cancelled. Nothing was kept here."),
            Task::Verify(what) => format!("The verification of {what} was cancelled."),
            Task::Adopt(what) => {
                format!("The adoption of {what} was cancelled. Backups adopted before that stay.")
            }
            Task::Restore(file) => format!("The restore of {file} was cancelled. The target is unchanged."),
        }),
        _ => None,
    }
}

/// The sentence of a job that failed, with the tool's own output.
pub fn failure(job: &JobView) -> Option<(String, Option<String>)> {
    let subject = job.task.subject();
    let (what, after) = match &job.task {
        Task::Create(_) => ("Backup", ""),
        Task::Upload(_) => ("Upload", " The local backup is untouched."),
        Task::Fetch(_) => ("Fetch", ""),
        Task::Verify(_) => ("Verification", ""),
        Task::Adopt(_) => ("Adoption", ""),
        Task::Restore(_) => ("Restore", ""),
    };
    match &job.state {
        JobState::Failed { message, detail } => {
            let of = if message.starts_with(subject) { String::new() } else { format!(" of {subject}") };
            Some((format!("{what}{of} failed: {message}{after}"), detail.clone()))
        }
        JobState::Interrupted => {
            let next = match &job.task {
                Task::Create(_) => {
                    "No partial file was kept. If the backup is not in the list, create it again."
                }
                Task::Upload(_) => {
                    "The local backup is untouched. Upload it again: the upload resumes where it stopped."
                }
                Task::Fetch(_) => {
                    "No partial file was kept. If the backup is not in the list, fetch it again."
                }
                Task::Verify(_) | Task::Adopt(_) => "Start it again. No backup was changed.",
                Task::Restore(_) => {
                    "The target is either the old or the new database, never a mix. Check it, and restore again if needed."
                }
            };
            let title = job.task.title();
            Some((format!("{title} was interrupted when Holdfast stopped. {next}"), None))
        }
        _ => None,
    }
}

/// The jobs that have already ended. By id, because the clock may be set back while a page is open.
pub fn already_ended(live: &Live) -> Vec<JobId> {
    live.jobs.iter().filter(|job| job.ended.is_some()).map(|job| job.id).collect()
}

/// Adds to `ended` the jobs that ended and are not in `old`, each once, oldest first.
pub fn collect_ended(ended: &mut Vec<JobView>, live: &Live, old: &[JobId]) {
    for job in &live.jobs {
        let is_news = job.ended.is_some() && !old.contains(&job.id);
        if is_news && !ended.iter().any(|known| known.id == job.id) {
            ended.push(job.clone());
        }
    }
}
