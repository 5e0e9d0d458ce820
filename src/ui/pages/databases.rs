//! What is backed up: each database with its engine, version, size, and whether it answers.

use crate::api::{self, TryDatabase};
use crate::model::address::lookup;
use crate::model::{DatabaseHealth, DatabaseView, DatabasesView, Outcome, human};
use crate::ui::chrome::{Chrome, Place};
use crate::ui::notice::{Alert, Told};
use crate::ui::when::When;
use leptos::form::FromFormData;
use leptos::prelude::*;
use leptos::server_fn::ServerFn;
use leptos_router::hooks::use_location;

/// The databases page.
#[component]
pub fn DatabasesPage() -> impl IntoView {
    let search = use_location().search;
    let outcome = Memo::new(move |_| search.with(|search| lookup(search, "outcome")));
    let databases = Resource::new(move || outcome.get(), api::databases);
    let attempt = ServerAction::new();
    view! {
        <Chrome place=Place::Databases>
            <div class="head">
                <div>
                    <h1>"Databases"</h1>
                    <p class="sub">"What Holdfast backs up. The list is set in HOLDFAST_DATABASES."</p>
                </div>
                <form method="get" action="/databases" class="actions">
                    <button class="second">"Look again"</button>
                </form>
            </div>
            <Transition fallback=|| view! { <p class="loading">"Asking the databases…"</p> }>
                {move || Suspend::new(async move {
                    match databases.await {
                        Ok(DatabasesView { databases, outcome }) => {
                            let each = databases.into_iter().map(|database| view! { <Card database attempt /> }).collect_view();
                            view! {
                                <Answer attempt outcome />
                                <div class="cards">{each}</div>
                            }
                                .into_any()
                        }
                        Err(error) => view! { <Alert message=error.to_string() detail=None /> }.into_any(),
                    }
                })}
            </Transition>
        </Chrome>
    }
}

/// What came of the last try; before the first one, what the page was opened to tell.
#[component]
fn Answer(attempt: ServerAction<TryDatabase>, outcome: Option<Outcome>) -> impl IntoView {
    let told = move || match attempt.value().get() {
        Some(Ok(tried)) => tried.outcome(),
        Some(Err(error)) => Outcome::refused(error.to_string()),
        None => outcome.clone().unwrap_or_default(),
    };
    view! { <Told outcome=told /> }
}

#[component]
fn Card(database: DatabaseView, attempt: ServerAction<TryDatabase>) -> impl IntoView {
    let DatabaseView { name, engine, address, health, newest, backups } = database;
    let health = {
        let name = name.clone();
        // The last answer stands, also when another database is tried after.
        Memo::new(move |before: Option<&DatabaseHealth>| match attempt.value().get() {
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
        view! { <span class=format!("tag {tone}")>{word}</span> }
    };
    let facts = move || match health.get() {
        DatabaseHealth::Reachable { version, size, warning } => view! {
            <dt>"Version"</dt>
            <dd>{version}</dd>
            <dt>"Size"</dt>
            <dd title=human::exact(size)>{human::size(size)}</dd>
            {warning.map(|warning| view! { <dt>"Problem"</dt><dd class="said">{warning}</dd> })}
        }
        .into_any(),
        DatabaseHealth::Unreachable(reason) => {
            view! { <dt>"Problem"</dt><dd class="said">{reason}</dd> }.into_any()
        }
    };
    let newest = match newest {
        Some(newest) => view! { <When stamp=newest /> }.into_any(),
        None => view! { <span class="dim">"none yet"</span> }.into_any(),
    };
    let list = format!("/?q={name}");
    let submit = move |event: leptos::ev::SubmitEvent| {
        let Ok(asked) = TryDatabase::from_event(&event) else { return };
        event.prevent_default();
        attempt.dispatch(asked);
    };
    view! {
        <article class="card" aria-label=name.to_string()>
            <header>
                <h2>{name.to_string()}</h2>
                {standing}
            </header>
            <dl>
                <dt>"Engine"</dt>
                <dd>{engine.label()}</dd>
                <dt>"Where"</dt>
                <dd class="f">{address}</dd>
                {facts}
                <dt>"Newest backup"</dt>
                <dd>{newest}</dd>
                <dt>"Backups"</dt>
                <dd><a href=list>{human::count(backups, "backup")}</a></dd>
            </dl>
            <form method="post" action=TryDatabase::url() on:submit=submit>
                <input type="hidden" name="database" value=name.to_string() />
                <button class="second" disabled=attempt.pending() aria-label=format!("Try it: {name}")>
                    "Try it"
                </button>
            </form>
        </article>
    }
}
