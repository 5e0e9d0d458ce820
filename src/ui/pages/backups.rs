//! The main page: what is there, what runs, and the button that makes more.

use crate::api::off_site::UploadBackups;
use crate::api::{BundleBackups, CancelJob, CreateBackup, DeleteBackups, read_backups};
use crate::model::address::lookup;
use crate::model::job::already_under_way;
use crate::model::{
    AppError, ArchiveFormat, BackupsView, Bundled, Glance, JobId, JobView, ListPage, ListQuery, Live,
    OffSiteView, Outcome, Stamp, Trend, human,
};
use crate::ui::chrome::{Chrome, Place};
use crate::ui::deletion::DeletionDialog;
use crate::ui::jobs::{self, JobStrip};
use crate::ui::live::live_feed;
use crate::ui::notice::{Alert, Told};
use crate::ui::pager::Pager;
use crate::ui::selection::Selection;
use crate::ui::selection_bar::SelectionBar;
use crate::ui::spark::Spark;
use crate::ui::table::BackupTable;
use crate::ui::tools::{Filter, filter_text, hidden};
use crate::ui::unscripted::Unscripted;
use leptos::form::FromFormData;
use leptos::prelude::*;
use leptos::server_fn::ServerFn;
use leptos_router::hooks::use_location;
use std::collections::BTreeSet;

/// Why nothing is uploaded.
const SWITCHED_OFF: &str =
    "SFTP storage is switched off. Switch it on under Settings, or create a backup without uploading it.";

/// The backups page.
#[component]
pub fn BackupsPage() -> impl IntoView {
    let search = use_location().search;
    let query = Memo::new(move |_| search.with(|search| ListQuery::from_lookup(|key| lookup(search, key))));
    let jobs = Memo::new(move |_| {
        let ids = search.with(|search| lookup(search, "job")).unwrap_or_default();
        ids.split(',').filter_map(|id| id.parse().ok().map(JobId)).collect::<Vec<_>>()
    });
    let outcome = Memo::new(move |_| search.with(|search| lookup(search, "outcome")));
    let view = Resource::new(
        move || (query.get(), jobs.get(), outcome.get()),
        |(query, jobs, outcome)| read_backups(query, jobs, outcome),
    );
    let desk = Desk {
        selection: Selection::begin(),
        typed: filter_text(query),
        feed: live_feed(),
        create: ServerAction::new(),
        refused: RwSignal::new(None),
        cancel: ServerAction::new(),
        opened: RwSignal::new(None),
        dismissed: RwSignal::new(BTreeSet::new()),
        deletion: RwSignal::new(false),
        delete: ServerAction::new(),
        bundle: ServerAction::new(),
        upload: ServerAction::new(),
        told: RwSignal::new(None),
    };
    follow_the_server(&desk, view);
    act_on_answers(&desk);
    view! {
        <Chrome place=Place::Backups>
            <Transition fallback=|| view! { <p class="loading">"Reading the backup directory…"</p> }>
                {move || Suspend::new(async move {
                    match view.await {
                        Ok(view) => view! { <Shown view desk query /> }.into_any(),
                        Err(error) => view! { <Unreadable error /> }.into_any(),
                    }
                })}
            </Transition>
            <DeletionDialog
                selection=desk.selection
                asked=desk.deletion
                pending=desk.delete.pending()
                confirm=move || {
                    desk.delete.dispatch(DeleteBackups { names: desk.selection.names() });
                }
            />
        </Chrome>
    }
}

/// What outlives a reload of the list.
#[derive(Clone, Copy)]
struct Desk {
    selection: Selection,
    typed: RwSignal<String>,
    feed: Signal<Option<Live>>,
    create: ServerAction<CreateBackup>,
    /// Why the page did not even ask for a backup.
    refused: RwSignal<Option<String>>,
    cancel: ServerAction<CancelJob>,
    /// The server's clock when the page was opened: jobs that ended before are old news.
    opened: RwSignal<Option<Stamp>>,
    dismissed: RwSignal<BTreeSet<JobId>>,
    /// Whether the page asks if it is to delete what is picked.
    deletion: RwSignal<bool>,
    delete: ServerAction<DeleteBackups>,
    bundle: ServerAction<BundleBackups>,
    upload: ServerAction<UploadBackups>,
    /// How the last action on what is picked ended.
    told: RwSignal<Option<Outcome>>,
}

type View = Resource<Result<BackupsView, AppError>>;

/// Reads the list anew when the server says that it changed, or when a job was just begun.
fn follow_the_server(desk: &Desk, view: View) {
    let Desk { feed, create, selection, .. } = *desk;
    let asked = StoredValue::new(None);
    Effect::new(move |_| {
        let Some(catalog) = feed.get().map(|live| live.catalog) else { return };
        let shown = view.get().and_then(Result::ok).map(|view| view.live.catalog);
        if shown.is_some() && shown != Some(catalog) && asked.get_value() != Some(catalog) {
            asked.set_value(Some(catalog));
            view.refetch();
            selection.drop_vanished();
        }
    });
    Effect::new(move |before: Option<()>| {
        create.version().get();
        if before.is_some() {
            view.refetch();
        }
    });
}

/// Tells how an action on what is picked ended, and does what follows from it.
fn act_on_answers(desk: &Desk) {
    let Desk { delete, deletion, bundle, upload, selection, told, .. } = *desk;
    Effect::new(move |_| {
        let Some(answer) = delete.value().get() else { return };
        deletion.set(false);
        if let Ok(deleted) = &answer {
            selection.forget(&deleted.gone);
        }
        told.set(Some(answer.map_or_else(|error| Outcome::refused(error.to_string()), |it| it.outcome())));
    });
    Effect::new(move |_| {
        let Some(answer) = upload.value().get() else { return };
        told.set(Some(answer.unwrap_or_else(|error| Outcome::refused(error.to_string()))));
    });
    Effect::new(move |_| {
        let Some(answer) = bundle.value().get() else { return };
        if let Ok(Bundled { address: Some(address), .. }) = &answer {
            // An attachment: the page stays.
            let _ = window().location().set_href(address);
        }
        told.set(Some(answer.map_or_else(|error| Outcome::refused(error.to_string()), |it| it.outcome())));
    });
}

#[component]
fn Unreadable(error: AppError) -> impl IntoView {
    let message = error.to_string();
    Effect::new(move |_| {
        if error == AppError::Unauthenticated {
            let _ = window().location().set_href("/login");
        }
    });
    view! {
        <h1>"Backups"</h1>
        <Alert message detail=None />
    }
}

#[component]
fn Shown(view: BackupsView, desk: Desk, query: Memo<ListQuery>) -> impl IntoView {
    let BackupsView { list, databases, trend, live, jobs, outcome, off_site } = view;
    let sends = off_site.is_some();
    if desk.opened.get_untracked().is_none() {
        desk.opened.set(Some(live.now));
    }
    // The form around the table: without JavaScript it sends what is ticked, live what is picked.
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let Some(button) = event.submitter() else { return };
        let names = desk.selection.names();
        if let Some(format) = button.get_attribute("value").as_deref().and_then(ArchiveFormat::parse) {
            desk.bundle.dispatch(BundleBackups { names, format });
        } else if button.get_attribute("formmethod").is_some() {
            desk.deletion.set(true);
        } else if sends {
            desk.upload.dispatch(UploadBackups { names });
        } else {
            desk.told.set(Some(Outcome::refused(SWITCHED_OFF)));
        }
    };
    let rows = if list.rows.is_empty() {
        view! { <Nothing list=list.clone() /> }.into_any()
    } else {
        view! { <BackupTable page=list.clone() selection=desk.selection off_site=off_site.clone() /> }
            .into_any()
    };
    let pager = (!list.rows.is_empty()).then(|| view! { <Pager page=list.clone() /> });
    view! {
        <Head list=list.clone() databases=databases.clone() sends desk />
        <Outcomes desk jobs=jobs.clone() outcome />
        <Glances list=list.clone() databases=databases.clone() off_site trend />
        <Strips desk live jobs />
        <div class="tools">
            <Filter query typed=desk.typed />
            <span class="range">{list.range()}</span>
        </div>
        <form method="post" action="/archives" class="picking" on:submit=submit>
            {hidden(&list.query)}
            {rows}
            <SelectionBar selection=desk.selection page=list />
        </form>
        {pager}
    }
}

/// The heading, the figures under it, and the button.
#[component]
fn Head(list: ListPage, databases: Vec<Glance>, sends: bool, desk: Desk) -> impl IntoView {
    let newest =
        list.newest.map(|newest| format!(" · newest {}", human::age(list.now.seconds_since(newest))));
    let figures = format!(
        "{} · {}{}",
        human::count(list.all as u64, "backup"),
        human::size(list.all_size),
        newest.unwrap_or_default()
    );
    let choice = match &databases[..] {
        [only] => view! { <input type="hidden" name="database" value=only.name.to_string() /> }.into_any(),
        several => {
            let options: Vec<_> = several
                .iter()
                .map(|each| view! { <option value=each.name.to_string()>{each.name.to_string()}</option> })
                .collect();
            view! {
                <label class="pick">
                    <span aria-hidden="true">"Database"</span>
                    <select name="database" aria-label="Database" autocomplete="off">
                        {options}
                    </select>
                </label>
            }
            .into_any()
        }
    };
    let create = move |event: leptos::ev::SubmitEvent| {
        let Ok(asked) = CreateBackup::from_event(&event) else { return };
        event.prevent_default();
        if asked.upload.is_some() && !sends {
            desk.refused.set(Some(SWITCHED_OFF.to_owned()));
            return;
        }
        let busy =
            desk.feed.with_untracked(|live| live.as_ref().is_some_and(|live| live.is_busy(&asked.database)));
        desk.refused.set(busy.then(|| already_under_way(&asked.database)));
        if !busy && !desk.create.pending().get_untracked() {
            desk.create.dispatch(asked);
        }
    };
    view! {
        <div class="head">
            <div>
                <h1>"Backups"</h1>
                <p class="sub">{figures}</p>
            </div>
            <form method="post" action=CreateBackup::url() class="actions" on:submit=create>
                {choice}
                <button class="second" name="upload" value="on">
                    "Create and upload"
                </button>
                <button class="first">"Create backup"</button>
            </form>
        </div>
    }
}

/// How things ended: one status region, and an alert for each failure.
#[component]
fn Outcomes(desk: Desk, jobs: Vec<JobView>, outcome: Option<Outcome>) -> impl IntoView {
    let ended = Memo::new(move |before: Option<&Vec<JobView>>| {
        let mut ended = before.cloned().unwrap_or_else(|| jobs.clone());
        // A job that was shown running is shown again when it has ended.
        ended.retain(|job| !job.state.is_active());
        if let (Some(live), Some(opened)) = (desk.feed.get(), desk.opened.get()) {
            jobs::gather(&mut ended, &live, opened);
        }
        ended
    });
    let shown = move || {
        let dismissed = desk.dismissed.get();
        ended.get().into_iter().filter(|job| !dismissed.contains(&job.id)).collect::<Vec<_>>()
    };
    let refused = move || {
        let created = desk.create.value().get().and_then(Result::err);
        let cancelled = desk.cancel.value().get().and_then(Result::err);
        let unasked = desk.refused.get();
        [created.map(|error| error.to_string()), cancelled.map(|error| error.to_string()), unasked]
            .into_iter()
            .flatten()
            .map(|message| view! { <Alert message detail=None /> })
            .collect_view()
    };
    // What an action of this page came to; before the first one, what the page was opened to tell.
    let told = move || desk.told.get().or_else(|| outcome.clone()).unwrap_or_default();
    let dismiss = move |id: JobId| {
        view! {
            <button
                type="button"
                class="ghost live-only"
                aria-label="Dismiss"
                on:click=move |_| desk.dismissed.update(|dismissed| {
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
            .map(|(id, words)| view! { <div class="notice good"><p>{words}</p>{dismiss(id)}</div> })
            .collect_view()
    };
    let bad = move || {
        shown()
            .into_iter()
            .filter_map(|job| jobs::failure(&job).map(|words| (job.id, words)))
            .map(|(id, (message, detail))| view! { <Alert message detail>{dismiss(id)}</Alert> })
            .collect_view()
    };
    view! {
        <Told outcome=told good bad=move || view! { {refused}{bad} } />
    }
}

/// Each database's standing, in a strip.
#[component]
fn Glances(
    list: ListPage,
    databases: Vec<Glance>,
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
            view! {
                <div>
                    <span class="k">{name.to_string()}</span>
                    <span class="v"><i class=format!("dot {tone}")></i>{words}</span>
                </div>
            }
        })
        .collect_view();
    let off_site = off_site.map(|OffSiteView { host, there, .. }| {
        let all = list.all as u64;
        let tone = if there < all { "warn" } else { "good" };
        let words = format!("{} of {} on {host}", human::grouped(there), human::grouped(all));
        view! {
            <div>
                <span class="k">"Off-site"</span>
                <span class="v"><i class=format!("dot {tone}")></i><a href="/remote">{words}</a></span>
            </div>
        }
    });
    view! {
        <section class="strip" aria-label="At a glance">
            {each}
            {off_site}
            {trend.map(|trend| view! { <Spark trend /> })}
        </section>
    }
}

/// What waits and runs.
#[component]
fn Strips(desk: Desk, live: Live, jobs: Vec<JobView>) -> impl IntoView {
    // Without a live page, the reader who waits for a job sees it end by themselves.
    let reload = jobs.iter().any(|job| job.state.is_active()).then(|| {
        let html = "<meta http-equiv=\"refresh\" content=\"2\"><p class=\"sub\">This page reloads every two seconds until the work has ended.</p>";
        view! { <Unscripted html /> }
    });
    let strips = move || {
        let live = desk.feed.get().unwrap_or_else(|| live.clone());
        let now = live.now;
        let active = live.jobs.into_iter().filter(|job| job.state.is_active());
        active.map(|job| view! { <JobStrip job now cancel=desk.cancel /> }).collect_view()
    };
    view! {
        {reload}
        <div class="jobs">{strips}</div>
    }
}

/// An empty list, and what to do about it.
#[component]
fn Nothing(list: ListPage) -> impl IntoView {
    if list.all == 0 {
        view! {
            <div class="empty">
                <h2>"No backups yet"</h2>
                <p>"Press “Create backup” to make the first one. It appears here once it is whole."</p>
            </div>
        }
        .into_any()
    } else {
        let filter = list.query.filter.clone();
        let all = human::count(list.all as u64, "backup");
        view! {
            <div class="empty">
                <h2>{format!("Nothing matches “{filter}”")}</h2>
                <p><a href=list.query.filtered("").href()>{format!("Show all {all}")}</a></p>
            </div>
        }
        .into_any()
    }
}
