//! What is backed up: each database with its engine, version, size, and whether it answers.

use crate::api;
use crate::model::{DatabaseHealth, DatabaseView, human};
use crate::ui::chrome::{Chrome, Place};
use crate::ui::notice::Alert;
use crate::ui::when::When;
use leptos::prelude::*;

/// The databases page.
#[component]
pub fn DatabasesPage() -> impl IntoView {
    let databases = Resource::new(|| (), |()| api::databases());
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
                        Ok(databases) => {
                            let each = databases.into_iter().map(|database| view! { <Card database /> }).collect_view();
                            view! { <div class="cards">{each}</div> }.into_any()
                        }
                        Err(error) => view! { <Alert message=error.to_string() detail=None /> }.into_any(),
                    }
                })}
            </Transition>
        </Chrome>
    }
}

#[component]
fn Card(database: DatabaseView) -> impl IntoView {
    let DatabaseView { name, engine, address, health, newest, backups } = database;
    let (tone, word, facts) = match health {
        DatabaseHealth::Reachable { version, size, warning } => {
            let tone = if warning.is_some() { "warn" } else { "good" };
            let facts = view! {
                <dt>"Version"</dt>
                <dd>{version}</dd>
                <dt>"Size"</dt>
                <dd title=human::exact(size)>{human::size(size)}</dd>
                {warning.map(|warning| view! { <dt>"Note"</dt><dd class="said">{warning}</dd> })}
            };
            (tone, "reachable", facts.into_any())
        }
        DatabaseHealth::Unreachable(reason) => {
            ("bad", "not reachable", view! { <dt>"Problem"</dt><dd class="said">{reason}</dd> }.into_any())
        }
    };
    let newest = match newest {
        Some(newest) => view! { <When stamp=newest /> }.into_any(),
        None => view! { <span class="dim">"none yet"</span> }.into_any(),
    };
    let list = format!("/?q={name}");
    view! {
        <article class="card">
            <header>
                <h2>{name.to_string()}</h2>
                <span class=format!("tag {tone}")>{word}</span>
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
        </article>
    }
}
