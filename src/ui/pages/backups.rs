//! The backups page: the list, running jobs, and the button that creates a backup.

use crate::api::off_site::UploadBackups;
use crate::api::recovery::{AdoptBackups, VerifyBackups};
use crate::api::{BundleBackups, CancelJob, CreateBackup, DeleteBackups, ReadBackups};
use crate::model::address::{at, lookup};
use crate::model::job::already_under_way;
use crate::model::{
    AppError, ArchiveFormat, BackupsView, Bundled, DatabaseName, Glance, JobId, JobView, ListPage, ListQuery,
    Live, OffSiteView, Outcome, Proofs, Trend, human,
};
use crate::ui::components::chrome::{Chrome, Place};
use crate::ui::components::deletion::DeletionDialog;
use crate::ui::components::filter::{Filter, filter_text, hidden};
use crate::ui::components::jobs;
use crate::ui::components::jobs::JobStrip;
use crate::ui::components::notice::{Alert, OutcomeNotices};
use crate::ui::components::pager::Pager;
use crate::ui::components::selection::Selection;
use crate::ui::components::selection_bar::SelectionBar;
use crate::ui::components::sparkline::Sparkline;
use crate::ui::components::table::BackupTable;
use crate::ui::components::unscripted::Unscripted;
use crate::ui::live::events::live_feed;
use crate::ui::live::requests::{Action, PageData, effect, sent_by};
use leptos::prelude::*;
use leptos::server_fn::ServerFn;
use leptos_router::hooks::use_location;
use std::collections::BTreeSet;

/// The message when off-site storage is off.
const SWITCHED_OFF: &str =
    "Off-site storage is off. Turn it on under Settings, or create a backup without uploading it.";

/// The backups page.
#[component]
pub fn BackupsPage() -> impl IntoView {
    let search = use_location().search;
    let query_of = |search: &str| ListQuery::from_lookup(|key| lookup(search, key));
    let query = Memo::new(move |_| search.with(|search| query_of(search)));
    let view = PageData::begin(move |search| {
        let jobs = lookup(search, "job").unwrap_or_default();
        let jobs = jobs.split(',').filter_map(|id| id.parse().ok().map(JobId)).collect();
        ReadBackups { query: query_of(search), jobs, outcome: lookup(search, "outcome") }
    });
    let state = PageState {
        view,
        selection: Selection::begin(),
        typed: filter_text(query),
        feed: live_feed(),
        shown: RwSignal::new(None),
        create: Action::begin(),
        refused: RwSignal::new(None),
        old: RwSignal::new(None),
        dismissed: RwSignal::new(BTreeSet::new()),
        deletion: RwSignal::new(false),
        delete: Action::begin(),
        other: Action::begin(),
        told: RwSignal::new(None),
    };
    follow_the_server(&state);
    markup! {
        <Chrome place=Place::Backups>
            <Transition fallback=|| markup! { <p class="loading">"Reading the backup directory…"</p> }>
                {move || Suspend::new(async move {
                    match view.read().await {
                        Ok(view) => markup! { <BackupList view state query /> },
                        Err(error) => markup! { <Unreadable error /> },
                    }
                })}
            </Transition>
            <DeletionDialog
                selection=state.selection
                asked=state.deletion
                pending=state.delete
                confirm=move || state.delete()
            />
        </Chrome>
    }
}

/// The state of the page, which stays when the list is read again.
#[derive(Clone, Copy)]
struct PageState {
    view: View,
    selection: Selection,
    typed: RwSignal<String>,
    feed: Signal<Option<Live>>,
    /// The version of the directory that the list shows.
    shown: RwSignal<Option<u64>>,
    create: Action,
    /// Why the last attempt to start or cancel a job failed.
    refused: RwSignal<Option<String>>,
    /// The jobs that had ended when the page was opened.
    old: RwSignal<Option<Vec<JobId>>>,
    dismissed: RwSignal<BTreeSet<JobId>>,
    /// Whether the dialog to delete the selection is open.
    deletion: RwSignal<bool>,
    delete: Action,
    other: Action,
    /// The outcome of the last action on the selection.
    told: RwSignal<Option<Outcome>>,
}

type View = PageData<BackupsView>;

/// Reads the list again when the server says that it changed.
fn follow_the_server(state: &PageState) {
    let PageState { view, feed, shown, selection, .. } = *state;
    let asked = StoredValue::new(None);
    effect(move |_| {
        let Some(catalog) = feed.get().map(|live| live.catalog) else { return };
        let shown = shown.get();
        if shown.is_some() && shown != Some(catalog) && asked.get_value() != Some(catalog) {
            asked.set_value(Some(catalog));
            view.refetch();
            selection.drop_vanished();
        }
    });
}

impl PageState {
    /// Shows the outcome of an action on the selection.
    fn tell(self, answer: Result<Outcome, AppError>) {
        self.told.set(Some(answer.unwrap_or_else(|error| Outcome::refused(error.to_string()))));
    }

    fn delete(self) {
        self.delete.ask(DeleteBackups { names: self.selection.names() }, move |answer| {
            self.deletion.set(false);
            if let Ok(deleted) = &answer {
                self.selection.forget(&deleted.gone);
            }
            self.tell(answer.map(|deleted| deleted.outcome()));
        });
    }

    fn bundle(self, names: Vec<String>, format: ArchiveFormat) {
        self.other.ask(BundleBackups { names, format }, move |answer| {
            if let Ok(Bundled { address: Some(address), .. }) = &answer {
                // The browser downloads it and stays on the page.
                let _ = window().location().set_href(&at(address));
            }
            self.tell(answer.map(|bundled| bundled.outcome()));
        });
    }

    fn cancel(self, id: JobId) {
        self.other.ask(CancelJob { id }, move |answer| {
            self.refused.set(answer.err().map(|error| error.to_string()));
        });
    }
}

#[component]
fn Unreadable(error: AppError) -> impl IntoView {
    let message = error.to_string();
    effect(move |_| {
        if error == AppError::Unauthenticated {
            let _ = window().location().set_href(&at("/login"));
        }
    });
    markup! {
        <h1>"Backups"</h1>
        <Alert message detail=None />
    }
}

#[component]
fn BackupList(view: BackupsView, state: PageState, query: Memo<ListQuery>) -> impl IntoView {
    let BackupsView { list, databases, trend, live, jobs, proofs, outcome, off_site } = view;
    let sends = off_site.is_some();
    state.shown.set(Some(live.catalog));
    if state.old.with_untracked(Option::is_none) {
        state.old.set(Some(jobs::already_ended(&live)));
    }
    // The form around the table. Without JavaScript it sends the checked boxes, the live page sends the selection.
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let Some(button) = event.submitter() else { return };
        let names = state.selection.names();
        if let Some(format) = button.get_attribute("value").as_deref().and_then(ArchiveFormat::parse) {
            state.bundle(names, format);
        } else if button.get_attribute("formmethod").is_some() {
            state.deletion.set(true);
        } else if button.get_attribute("formaction").as_deref() == Some(&*at(VerifyBackups::url())) {
            state.other.ask(VerifyBackups { names, all: None }, move |answer| state.tell(answer));
        } else if sends {
            state.other.ask(UploadBackups { names }, move |answer| state.tell(answer));
        } else {
            state.told.set(Some(Outcome::refused(SWITCHED_OFF)));
        }
    };
    let rows = if list.rows.is_empty() {
        markup! { <EmptyList list=list.clone() /> }
    } else {
        markup! { <BackupTable page=list.clone() selection=state.selection off_site=off_site.clone() /> }
    };
    let pager = (!list.rows.is_empty()).then(|| markup! { <Pager page=list.clone() /> });
    markup! {
        <ListHeader list=list.clone() databases=databases.clone() sends state />
        <Outcomes state jobs=jobs.clone() outcome />
        <DatabaseSummaries list=list.clone() databases=databases.clone() proofs off_site trend />
        <RunningJobs state live jobs />
        {(proofs.bare > 0).then(|| markup! { <UnverifiedNotice count=proofs.bare /> })}
        <div class="tools">
            <Filter query typed=state.typed />
            <span class="range">{list.range()}</span>
        </div>
        <form method="post" action=at("/archives") class="picking" on:submit=submit>
            {hidden(&list.query)}
            {rows}
            <SelectionBar selection=state.selection page=list />
        </form>
        {pager}
    }
}

/// The heading, the totals under it, and the button that creates a backup.
#[component]
fn ListHeader(list: ListPage, databases: Vec<Glance>, sends: bool, state: PageState) -> impl IntoView {
    let newest =
        list.newest.map(|newest| format!(" · newest {}", human::age(list.now.seconds_since(newest))));
    let figures = format!(
        "{} · {}{}",
        human::count(list.all as u64, "backup"),
        human::size(list.all_size),
        newest.unwrap_or_default()
    );
    let choice = match &databases[..] {
        [only] => markup! { <input type="hidden" name="database" value=only.name.to_string() /> },
        several => {
            let options: Vec<_> = several
                .iter()
                .map(|each| markup! { <option value=each.name.to_string()>{each.name.to_string()}</option> })
                .collect();
            markup! {
                <label class="pick">
                    <span aria-hidden="true">"Database"</span>
                    <select name="database" aria-label="Database" autocomplete="off">
                        {options}
                    </select>
                </label>
            }
        }
    };
    let create = move |event: leptos::ev::SubmitEvent| {
        let Some(sent) = sent_by(&event) else { return };
        let Some(Ok(database)) = sent("database").map(|name| name.parse::<DatabaseName>()) else { return };
        let upload = sent("upload");
        event.prevent_default();
        if upload.is_some() && !sends {
            state.refused.set(Some(SWITCHED_OFF.to_owned()));
            return;
        }
        let busy =
            state.feed.with_untracked(|live| live.as_ref().is_some_and(|live| live.is_busy(&database)));
        state.refused.set(busy.then(|| already_under_way(&database)));
        if !busy && !untrack(|| state.create.is_pending()) {
            state.create.ask(CreateBackup { database, upload }, move |answer| {
                state.refused.set(answer.err().map(|error| error.to_string()));
                state.view.refetch();
            });
        }
    };
    markup! {
        <div class="head">
            <div>
                <h1>"Backups"</h1>
                <p class="sub">{figures}</p>
            </div>
            <form method="post" action=at(CreateBackup::url()) class="actions" on:submit=create>
                {choice}
                <a class="second" href=at("/import")>
                    "Import"
                </a>
                <button class="second" name="upload" value="on">
                    "Create and upload"
                </button>
                <button class="first">"Create backup"</button>
            </form>
        </div>
    }
}

/// The outcomes of jobs and actions: one status region, and an alert for each failure.
#[component]
fn Outcomes(state: PageState, jobs: Vec<JobView>, outcome: Option<Outcome>) -> impl IntoView {
    let ended = Memo::new(move |before: Option<&Vec<JobView>>| {
        let mut ended = before.cloned().unwrap_or_else(|| jobs.clone());
        // A job that was shown as running is shown again when it has ended.
        ended.retain(|job| !job.state.is_active());
        if let (Some(live), Some(old)) = (state.feed.get(), state.old.get()) {
            jobs::collect_ended(&mut ended, &live, &old);
        }
        ended
    });
    let shown = move || {
        let dismissed = state.dismissed.get();
        ended.get().into_iter().filter(|job| !dismissed.contains(&job.id)).collect::<Vec<_>>()
    };
    let refused = move || state.refused.get().map(|message| markup! { <Alert message detail=None /> });
    // The outcome of the last action; before the first one, the outcome in the page's address.
    let told = Signal::derive(move || state.told.get().or_else(|| outcome.clone()).unwrap_or_default());
    let dismiss = move |id: JobId| {
        markup! {
            <button
                type="button"
                class="ghost live-only"
                aria-label="Dismiss"
                on:click=move |_| state.dismissed.update(|dismissed| {
                    dismissed.insert(id);
                })
            >
                "×"
            </button>
        }
    };
    let good = move || {
        shown()
            .into_iter()
            .filter_map(|job| jobs::success(&job).map(|words| (job.id, words)))
            .map(|(id, words)| markup! { <div class="notice good"><p>{words}</p>{dismiss(id)}</div> })
            .collect_view()
    };
    let bad = move || {
        shown()
            .into_iter()
            .filter_map(|job| jobs::failure(&job).map(|words| (job.id, words)))
            .map(|(id, (message, detail))| markup! { <Alert message detail>{dismiss(id)}</Alert> })
            .collect_view()
    };
    markup! {
        <OutcomeNotices outcome=told good bad=move || markup! { {move || refused()}{move || bad()} } />
    }
}

/// The state of each database, in a strip.
#[component]
fn DatabaseSummaries(
    list: ListPage,
    databases: Vec<Glance>,
    proofs: Proofs,
    off_site: Option<OffSiteView>,
    trend: Option<Trend>,
) -> impl IntoView {
    const DAY: u64 = 86_400;
    let each = databases
        .into_iter()
        .map(|Glance { name, newest, failing }| {
            let age = newest.map(|newest| list.now.seconds_since(newest));
            let (tone, words) = match (age, failing) {
                (Some(age), true) => ("bad", format!("last run failed, newest {}", human::age(age))),
                (None, true) => ("bad", "last run failed, no backup yet".to_owned()),
                (None, false) => ("warn", "no backup yet".to_owned()),
                (Some(age), false) if age > DAY => ("warn", format!("newest {}", human::age(age))),
                (Some(age), false) => ("good", format!("newest {}", human::age(age))),
            };
            markup! {
                <div>
                    <span class="k">{name.to_string()}</span>
                    <span class="v"><i class=format!("dot {tone}")></i>{words}</span>
                </div>
            }
        })
        .collect_view();
    let verified = (list.all > 0).then(|| {
        let Proofs { good, bad, .. } = proofs;
        let of = format!("{} of {}", human::grouped(good), human::grouped(list.all as u64));
        let (tone, words) = match bad {
            0 if good == 0 => ("warn", "none yet".to_owned()),
            0 if good < list.all as u64 => ("warn", of),
            0 => ("good", of),
            bad => ("bad", format!("{of}, {} bad", human::grouped(bad))),
        };
        markup! {
            <div>
                <span class="k">"Verified"</span>
                <form class="v" method="post" action=at(VerifyBackups::url())>
                    <i class=format!("dot {tone}")></i>
                    {words}
                    <input type="hidden" name="all" value="on" />
                    " "
                    <button class="link">"Verify all"</button>
                </form>
            </div>
        }
    });
    let off_site = off_site.map(|OffSiteView { host, there, .. }| {
        let all = list.all as u64;
        let tone = if there < all { "warn" } else { "good" };
        let words = format!("{} of {} on {host}", human::grouped(there), human::grouped(all));
        markup! {
            <div>
                <span class="k">"Off-site"</span>
                <span class="v"><i class=format!("dot {tone}")></i><a href=at("/remote")>{words}</a></span>
            </div>
        }
    });
    markup! {
        <section class="strip" aria-label="At a glance">
            {each}
            {verified}
            {off_site}
            {trend.map(|trend| markup! { <Sparkline trend /> })}
        </section>
    }
}

/// The notice that some backups have no manifest, with a button to write one for each.
#[component]
fn UnverifiedNotice(count: u64) -> impl IntoView {
    let (have, their) = if count == 1 { ("has", "its") } else { ("have", "their") };
    let backups = human::count(count, "backup");
    let words = format!("{backups} {have} no manifest, so {their} contents are unverified.");
    markup! {
        <form class="notice" method="post" action=at(AdoptBackups::url())>
            <p>{words}</p>
            <button class="second" title="Checks each backup completely and writes a manifest for each intact one">
                "Check and adopt"
            </button>
        </form>
    }
}

/// The jobs that wait or run.
#[component]
fn RunningJobs(state: PageState, live: Live, jobs: Vec<JobView>) -> impl IntoView {
    // Without JavaScript, the page reloads itself until the job has ended.
    let reload = jobs.iter().any(|job| job.state.is_active()).then(|| {
        let html = "<meta http-equiv=\"refresh\" content=\"2\"><p class=\"sub\">This page reloads every two seconds until the job has ended.</p>";
        markup! { <Unscripted html /> }
    });
    let strips = move || {
        let live = state.feed.get().unwrap_or_else(|| live.clone());
        let now = live.now;
        let active = live.jobs.into_iter().filter(|job| job.state.is_active());
        active.map(|job| markup! { <JobStrip job now cancel=move |id| state.cancel(id) /> }).collect_view()
    };
    markup! {
        {reload}
        <div class="jobs">{move || strips()}</div>
    }
}

/// The text in place of an empty list.
#[component]
fn EmptyList(list: ListPage) -> impl IntoView {
    if list.all == 0 {
        markup! {
            <div class="empty">
                <h2>"No backups yet"</h2>
                <p>"Press “Create backup” to make the first one. It appears here once it is complete."</p>
            </div>
        }
    } else {
        let filter = list.query.filter.clone();
        let all = human::count(list.all as u64, "backup");
        markup! {
            <div class="empty">
                <h2>{format!("Nothing matches “{filter}”")}</h2>
                <p><a href=at(&list.query.filtered("").href())>{format!("Show all {all}")}</a></p>
            </div>
        }
    }
}
