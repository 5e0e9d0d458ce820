//! The main page: what is there, what runs, and the button that makes more.

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
use crate::ui::components::notice::{Alert, Told};
use crate::ui::components::pager::Pager;
use crate::ui::components::selection::Selection;
use crate::ui::components::selection_bar::SelectionBar;
use crate::ui::components::sparkline::Spark;
use crate::ui::components::table::BackupTable;
use crate::ui::components::unscripted::Unscripted;
use crate::ui::live::events::live_feed;
use crate::ui::live::requests::{Asking, Reading, effect, sent_by};
use leptos::prelude::*;
use leptos::server_fn::ServerFn;
use leptos_router::hooks::use_location;
use std::collections::BTreeSet;

/// Why nothing is uploaded.
const SWITCHED_OFF: &str =
    "Off-site storage is switched off. Switch it on under Settings, or create a backup without uploading it.";

/// The backups page.
#[component]
pub fn BackupsPage() -> impl IntoView {
    let search = use_location().search;
    let query_of = |search: &str| ListQuery::from_lookup(|key| lookup(search, key));
    let query = Memo::new(move |_| search.with(|search| query_of(search)));
    let view = Reading::begin(move |search| {
        let jobs = lookup(search, "job").unwrap_or_default();
        let jobs = jobs.split(',').filter_map(|id| id.parse().ok().map(JobId)).collect();
        ReadBackups { query: query_of(search), jobs, outcome: lookup(search, "outcome") }
    });
    let desk = Desk {
        view,
        selection: Selection::begin(),
        typed: filter_text(query),
        feed: live_feed(),
        shown: RwSignal::new(None),
        create: Asking::begin(),
        refused: RwSignal::new(None),
        old: RwSignal::new(None),
        dismissed: RwSignal::new(BTreeSet::new()),
        deletion: RwSignal::new(false),
        delete: Asking::begin(),
        other: Asking::begin(),
        told: RwSignal::new(None),
    };
    follow_the_server(&desk);
    markup! {
        <Chrome place=Place::Backups>
            <Transition fallback=|| markup! { <p class="loading">"Reading the backup directory…"</p> }>
                {move || Suspend::new(async move {
                    match view.read().await {
                        Ok(view) => markup! { <Shown view desk query /> },
                        Err(error) => markup! { <Unreadable error /> },
                    }
                })}
            </Transition>
            <DeletionDialog
                selection=desk.selection
                asked=desk.deletion
                pending=desk.delete
                confirm=move || desk.delete()
            />
        </Chrome>
    }
}

/// What outlives a reload of the list.
#[derive(Clone, Copy)]
struct Desk {
    view: View,
    selection: Selection,
    typed: RwSignal<String>,
    feed: Signal<Option<Live>>,
    /// The state of the directory that the list shows.
    shown: RwSignal<Option<u64>>,
    create: Asking,
    /// Why no job was begun or cancelled, the last time somebody wanted that.
    refused: RwSignal<Option<String>>,
    /// The jobs that had ended when the page was opened.
    old: RwSignal<Option<Vec<JobId>>>,
    dismissed: RwSignal<BTreeSet<JobId>>,
    /// Whether the page asks if it is to delete what is picked.
    deletion: RwSignal<bool>,
    delete: Asking,
    other: Asking,
    /// How the last action on what is picked ended.
    told: RwSignal<Option<Outcome>>,
}

type View = Reading<BackupsView>;

/// Reads the list anew when the server says that it changed.
fn follow_the_server(desk: &Desk) {
    let Desk { view, feed, shown, selection, .. } = *desk;
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

impl Desk {
    /// Tells how an action on what is picked ended.
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
                // An attachment: the page stays.
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
fn Shown(view: BackupsView, desk: Desk, query: Memo<ListQuery>) -> impl IntoView {
    let BackupsView { list, databases, trend, live, jobs, proofs, outcome, off_site } = view;
    let sends = off_site.is_some();
    desk.shown.set(Some(live.catalog));
    if desk.old.with_untracked(Option::is_none) {
        desk.old.set(Some(jobs::old_news(&live)));
    }
    // The form around the table: without JavaScript it sends what is ticked, live what is picked.
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let Some(button) = event.submitter() else { return };
        let names = desk.selection.names();
        if let Some(format) = button.get_attribute("value").as_deref().and_then(ArchiveFormat::parse) {
            desk.bundle(names, format);
        } else if button.get_attribute("formmethod").is_some() {
            desk.deletion.set(true);
        } else if button.get_attribute("formaction").as_deref() == Some(&*at(VerifyBackups::url())) {
            desk.other.ask(VerifyBackups { names, all: None }, move |answer| desk.tell(answer));
        } else if sends {
            desk.other.ask(UploadBackups { names }, move |answer| desk.tell(answer));
        } else {
            desk.told.set(Some(Outcome::refused(SWITCHED_OFF)));
        }
    };
    let rows = if list.rows.is_empty() {
        markup! { <Nothing list=list.clone() /> }
    } else {
        markup! { <BackupTable page=list.clone() selection=desk.selection off_site=off_site.clone() /> }
    };
    let pager = (!list.rows.is_empty()).then(|| markup! { <Pager page=list.clone() /> });
    markup! {
        <Head list=list.clone() databases=databases.clone() sends desk />
        <Outcomes desk jobs=jobs.clone() outcome />
        <Glances list=list.clone() databases=databases.clone() proofs off_site trend />
        <Strips desk live jobs />
        {(proofs.bare > 0).then(|| markup! { <Bare count=proofs.bare /> })}
        <div class="tools">
            <Filter query typed=desk.typed />
            <span class="range">{list.range()}</span>
        </div>
        <form method="post" action=at("/archives") class="picking" on:submit=submit>
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
            desk.refused.set(Some(SWITCHED_OFF.to_owned()));
            return;
        }
        let busy = desk.feed.with_untracked(|live| live.as_ref().is_some_and(|live| live.is_busy(&database)));
        desk.refused.set(busy.then(|| already_under_way(&database)));
        if !busy && !untrack(|| desk.create.is_pending()) {
            desk.create.ask(CreateBackup { database, upload }, move |answer| {
                desk.refused.set(answer.err().map(|error| error.to_string()));
                desk.view.refetch();
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

/// How things ended: one status region, and an alert for each failure.
#[component]
fn Outcomes(desk: Desk, jobs: Vec<JobView>, outcome: Option<Outcome>) -> impl IntoView {
    let ended = Memo::new(move |before: Option<&Vec<JobView>>| {
        let mut ended = before.cloned().unwrap_or_else(|| jobs.clone());
        // A job that was shown running is shown again when it has ended.
        ended.retain(|job| !job.state.is_active());
        if let (Some(live), Some(old)) = (desk.feed.get(), desk.old.get()) {
            jobs::gather(&mut ended, &live, &old);
        }
        ended
    });
    let shown = move || {
        let dismissed = desk.dismissed.get();
        ended.get().into_iter().filter(|job| !dismissed.contains(&job.id)).collect::<Vec<_>>()
    };
    let refused = move || desk.refused.get().map(|message| markup! { <Alert message detail=None /> });
    // What an action of this page came to; before the first one, what the page was opened to tell.
    let told = Signal::derive(move || desk.told.get().or_else(|| outcome.clone()).unwrap_or_default());
    let dismiss = move |id: JobId| {
        markup! {
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
        <Told outcome=told good bad=move || markup! { {move || refused()}{move || bad()} } />
    }
}

/// Each database's standing, in a strip.
#[component]
fn Glances(
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
            bad => ("bad", format!("{of}, {} not good", human::grouped(bad))),
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
            {trend.map(|trend| markup! { <Spark trend /> })}
        </section>
    }
}

/// Backups nobody described, and what to do about them.
#[component]
fn Bare(count: u64) -> impl IntoView {
    let (have, them) = if count == 1 { ("has", "it") } else { ("have", "them") };
    let words =
        format!("{} {have} no manifest that says what should be in {them}.", human::count(count, "backup"));
    markup! {
        <form class="notice" method="post" action=at(AdoptBackups::url())>
            <p>{words}</p>
            <button class="second" title="Checks each backup completely and writes a manifest for those that are whole">
                "Check and adopt"
            </button>
        </form>
    }
}

/// What waits and runs.
#[component]
fn Strips(desk: Desk, live: Live, jobs: Vec<JobView>) -> impl IntoView {
    // Without a live page, the reader who waits for a job sees it end by themselves.
    let reload = jobs.iter().any(|job| job.state.is_active()).then(|| {
        let html = "<meta http-equiv=\"refresh\" content=\"2\"><p class=\"sub\">This page reloads every two seconds until the work has ended.</p>";
        markup! { <Unscripted html /> }
    });
    let strips = move || {
        let live = desk.feed.get().unwrap_or_else(|| live.clone());
        let now = live.now;
        let active = live.jobs.into_iter().filter(|job| job.state.is_active());
        active.map(|job| markup! { <JobStrip job now cancel=move |id| desk.cancel(id) /> }).collect_view()
    };
    markup! {
        {reload}
        <div class="jobs">{move || strips()}</div>
    }
}

/// An empty list, and what to do about it.
#[component]
fn Nothing(list: ListPage) -> impl IntoView {
    if list.all == 0 {
        markup! {
            <div class="empty">
                <h2>"No backups yet"</h2>
                <p>"Press “Create backup” to make the first one. It appears here once it is whole."</p>
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
