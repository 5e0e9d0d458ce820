//! The activity page: the last jobs with their outcomes, and the tool output of failed jobs.

use crate::api::JobHistory;
use crate::model::address::at;
use crate::model::job::Queue;
use crate::model::{JobState, JobView, ListQuery, Task, human};
use crate::ui::components::chrome::{Chrome, Place};
use crate::ui::components::links::page_link;
use crate::ui::components::notice::{Alert, ToolOutput};
use crate::ui::components::timestamp::Timestamp;
use crate::ui::live::requests::PageData;
use leptos::prelude::*;

/// The activity page.
#[component]
pub fn ActivityPage() -> impl IntoView {
    let history = PageData::begin(|_| JobHistory {});
    markup! {
        <Chrome place=Place::Activity>
            <div class="head">
                <div>
                    <h1>"Activity"</h1>
                    <p class="sub">
                        "The last 200 jobs, newest first: backups, uploads, verifications, restores. "
                        <a href=at("/audit")>"Audit log"</a>
                    </p>
                </div>
            </div>
            <Transition fallback=|| markup! { <p class="loading">"Reading the history…"</p> }>
                {move || Suspend::new(async move {
                    match history.read().await {
                        Ok(jobs) if jobs.is_empty() => {
                            markup! {
                                <div class="empty">
                                    <h2>"No jobs yet"</h2>
                                    {page_link("/", "Create the first backup")}
                                </div>
                            }
                        }
                        Ok(jobs) => markup! { <History jobs /> },
                        Err(error) => markup! { <Alert message=error.to_string() detail=None /> },
                    }
                })}
            </Transition>
        </Chrome>
    }
}

#[component]
fn History(jobs: Vec<JobView>) -> impl IntoView {
    let rows = jobs.into_iter().map(|job| markup! { <JobEntry job /> }).collect_view();
    markup! {
        <div class="sheet">
            <table class="runs">
                <thead>
                    <tr>
                        <th scope="col">"Started"</th>
                        <th scope="col">"Job"</th>
                        <th scope="col">"Outcome"</th>
                        <th scope="col" class="n">"Took"</th>
                        <th scope="col">"Details"</th>
                    </tr>
                </thead>
                <tbody>{rows}</tbody>
            </table>
        </div>
    }
}

#[component]
fn JobEntry(job: JobView) -> impl IntoView {
    let took = job.took().map(human::duration);
    let tone = match &job.state {
        JobState::Done { .. } | JobState::Reported { .. } => "good",
        JobState::Failed { .. } => "bad",
        JobState::Interrupted => "warn",
        _ => "",
    };
    let (words, detail) = match &job.state {
        JobState::Done { file, size, warnings, .. } => {
            let href = at(&ListQuery::default().filtered(file.as_str()).href());
            let size = format!(", {}", human::size(*size));
            (markup! { <a class="f" href=href>{file.to_string()}</a>{size} }.into_any(), warnings.clone())
        }
        JobState::Failed { message, detail } => {
            let of = match &job.task {
                Task::Create(_) => String::new(),
                task if message.starts_with(task.subject()) => String::new(),
                task => format!("{}: ", task.subject()),
            };
            (format!("{of}{message}").into_any(), detail.clone())
        }
        JobState::Reported { message, detail } => (message.clone().into_any(), detail.clone()),
        JobState::Interrupted => {
            ("Holdfast stopped while this job ran. No partial file was kept.".into_any(), None)
        }
        JobState::Cancelled => ("Nothing was kept.".into_any(), None),
        JobState::Queued | JobState::Running { .. } => (().into_any(), None),
    };
    let of = match &job.task {
        Task::Create(database) => database.to_string(),
        Task::Upload(_) => "upload".to_owned(),
        Task::Fetch(_) => "fetch".to_owned(),
        Task::Verify(_) => "verification".to_owned(),
        Task::Adopt(_) => "adoption".to_owned(),
        Task::Restore(_) => "restore".to_owned(),
    };
    let word = job.word();
    let title = match job.task.queue() {
        Queue::Checks | Queue::Restores => "Step by step",
        Queue::Backups | Queue::Transfers => "Tool output",
    };
    let detail = detail.map(|words| markup! { <ToolOutput words title /> });
    markup! {
        <tr>
            <td><Timestamp stamp=job.started /></td>
            <td class="of">{of}</td>
            <td><span class=format!("tag {tone}")>{word}</span></td>
            <td class="n">{took}</td>
            <td class="said">{words}{detail}</td>
        </tr>
    }
}
