//! The databases page: each database with its engine, version, size, and whether it can be reached.

use crate::api::{Databases, TryDatabase};
use crate::model::address::{at, lookup};
use crate::model::{AppError, DatabaseHealth, DatabaseView, DatabasesView, Outcome, Tried, human};
use crate::ui::components::chrome::{Chrome, Place};
use crate::ui::components::notice::{Alert, OutcomeNotices};
use crate::ui::components::timestamp::Timestamp;
use crate::ui::live::requests::{Action, PageData};
use leptos::prelude::*;
use leptos::server_fn::ServerFn;

/// The databases page.
#[component]
pub fn DatabasesPage() -> impl IntoView {
    let databases = PageData::begin(|search| Databases { outcome: lookup(search, "outcome") });
    let state = PageState { attempt: Action::begin(), tried: RwSignal::new(None) };
    markup! {
        <Chrome place=Place::Databases>
            <div class="head">
                <div>
                    <h1>"Databases"</h1>
                    <p class="sub">"What Holdfast backs up. The list is set in HOLDFAST_DATABASES."</p>
                </div>
                <form method="get" action=at("/databases") class="actions">
                    <button class="second">"Refresh"</button>
                </form>
            </div>
            <Transition fallback=|| markup! { <p class="loading">"Checking the databases…"</p> }>
                {move || Suspend::new(async move {
                    match databases.read().await {
                        Ok(DatabasesView { databases, problems, outcome }) => {
                            let problems = problems.into_iter().map(|message| markup! { <Alert message detail=None /> }).collect_view();
                            let each = databases.into_iter().map(|database| markup! { <Card database state /> }).collect_view();
                            markup! {
                                <Answer tried=state.tried outcome />
                                {problems}
                                <div class="cards">{each}</div>
                            }
                        }
                        Err(error) => markup! { <Alert message=error.to_string() detail=None /> },
                    }
                })}
            </Transition>
        </Chrome>
    }
}

/// The state of the page, which stays when the databases are read again.
#[derive(Clone, Copy)]
struct PageState {
    attempt: Action,
    /// The result of the last test.
    tried: RwSignal<Option<Result<Tried, AppError>>>,
}

/// The result of the last test; before the first one, the outcome in the page's address.
#[component]
fn Answer(tried: RwSignal<Option<Result<Tried, AppError>>>, outcome: Option<Outcome>) -> impl IntoView {
    let told = Signal::derive(move || match tried.get() {
        Some(Ok(tried)) => tried.outcome(),
        Some(Err(error)) => Outcome::refused(error.to_string()),
        None => outcome.clone().unwrap_or_default(),
    });
    markup! { <OutcomeNotices outcome=told /> }
}

#[component]
fn Card(database: DatabaseView, state: PageState) -> impl IntoView {
    let DatabaseView { name, engine, address, health, newest, backups } = database;
    let health = {
        let name = name.clone();
        // The last result stays when another database is tested.
        Memo::new(move |before: Option<&DatabaseHealth>| match state.tried.get() {
            Some(Ok(tried)) if tried.database == name => tried.health,
            _ => before.unwrap_or(&health).clone(),
        })
    };
    let standing = move || {
        let (tone, word) = health.with(|health| match health {
            DatabaseHealth::Reachable { warning: Some(_), .. } => ("warn", "reachable, with a problem"),
            DatabaseHealth::Reachable { .. } => ("good", "reachable"),
            DatabaseHealth::Unreachable(_) => ("bad", "not reachable"),
        });
        markup! { <span class=format!("tag {tone}")>{word}</span> }
    };
    let facts = move || match health.get() {
        DatabaseHealth::Reachable { version, size, warning } => markup! {
            <dt>"Version"</dt>
            <dd>{version}</dd>
            <dt>"Size"</dt>
            <dd title=human::exact(size)>{human::size(size)}</dd>
            {warning.map(|warning| markup! { <dt>"Problem"</dt><dd class="said">{warning}</dd> })}
        },
        DatabaseHealth::Unreachable(reason) => {
            markup! { <dt>"Problem"</dt><dd class="said">{reason}</dd> }
        }
    };
    let newest = match newest {
        Some(newest) => markup! { <Timestamp stamp=newest /> },
        None => markup! { <span class="dim">"none yet"</span> },
    };
    let list = at(&format!("/?q={name}"));
    let asked = name.clone();
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let asked = TryDatabase { database: asked.clone() };
        state.attempt.ask(asked, move |answer| state.tried.set(Some(answer)));
    };
    markup! {
        <article class="card" aria-label=name.to_string()>
            <header>
                <h2>{name.to_string()}</h2>
                {move || standing()}
            </header>
            <dl>
                {engine.map(|engine| markup! {
                    <dt>"Engine"</dt>
                    <dd>{engine}</dd>
                    <dt>"Where"</dt>
                    <dd class="f">{address}</dd>
                })}
                {move || facts()}
                <dt>"Newest backup"</dt>
                <dd>{newest}</dd>
                <dt>"Backups"</dt>
                <dd><a href=list>{human::count(backups, "backup")}</a></dd>
            </dl>
            <form method="post" action=at(TryDatabase::url()) on:submit=submit>
                <input type="hidden" name="database" value=name.to_string() />
                <button class="second" disabled=move || state.attempt.is_pending() aria-label=format!("Test connection: {name}")>
                    "Test connection"
                </button>
            </form>
        </article>
    }
}
