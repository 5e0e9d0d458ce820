//! One backup: what is known of it, and getting it back. Plain forms: what they begin takes a while anyway, and
//! is to be read before it is done.

use crate::api::recovery::{PlanRestore, ReadRestore, StartRestore, VerifyBackups};
use crate::model::address::lookup;
use crate::model::{Fact, Outcome, RestorePlan, RestoreView};
use crate::ui::asking::Reading;
use crate::ui::chrome::{Chrome, Place};
use crate::ui::notice::{Alert, Told};
use leptos::prelude::*;
use leptos::server_fn::ServerFn;

/// The page; its address names the backup, and the plan where there is one.
#[component]
pub fn RestorePage() -> impl IntoView {
    let view = Reading::begin(|search| ReadRestore {
        file: lookup(search, "file").unwrap_or_default(),
        plan: lookup(search, "plan"),
        outcome: lookup(search, "outcome"),
    });
    markup! {
        <Chrome place=Place::Backups>
            <Transition fallback=|| markup! { <p class="loading">"Looking at the backup…"</p> }>
                {move || Suspend::new(async move {
                    match view.read().await {
                        Ok(view) => markup! { <Shown view /> },
                        Err(error) => {
                            markup! {
                                <h1>"Restore"</h1>
                                <Alert message=error.to_string() detail=None />
                                <p><a href="/">"Back to the list"</a></p>
                            }
                        }
                    }
                })}
            </Transition>
        </Chrome>
    }
}

#[component]
fn Shown(view: RestoreView) -> impl IntoView {
    let file = view.file.to_string();
    let told = Signal::stored(Outcome::default());
    let outcome = view.outcome.clone().map_or(told, Signal::stored);
    let aside = view.is_here.then(|| {
        let download = format!("/backups/{file}");
        markup! {
            <div class="actions">
                <a class="second" href=download download="">"Download"</a>
                <form method="post" action=VerifyBackups::url()>
                    <input type="hidden" name="names[]" value=file.clone() />
                    <button class="second">"Verify"</button>
                </form>
            </div>
        }
    });
    let step = match view.plan.clone() {
        Some(plan) => markup! { <Planned file=file.clone() plan /> },
        None => markup! { <Where view=view.clone() /> },
    };
    markup! {
        <div class="head">
            <div>
                <h1>"Restore"</h1>
                <p class="sub f">{file}</p>
            </div>
            {aside}
        </div>
        <Told outcome />
        {warnings(view.warnings)}
        <div class="halves even">
            {step}
            <section class="card" aria-label="The backup">
                <header>
                    <h2>"The backup"</h2>
                </header>
                {list_of(view.facts)}
            </section>
        </div>
    }
}

/// Asks where the backup is to go.
#[component]
fn Where(view: RestoreView) -> impl IntoView {
    let options = view
        .places
        .into_iter()
        .map(|(value, label)| markup! { <option value=value>{label}</option> })
        .collect_view();
    markup! {
        <form class="card settings" method="post" action=PlanRestore::url()>
            <h2>"Where to"</h2>
            <input type="hidden" name="entry[file]" value=view.file.to_string() />
            <label>
                "Restore into"
                <select name="entry[place]" autocomplete="off">
                    {options}
                </select>
            </label>
            <label>
                "Name of the new database"
                <input name="entry[name]" value=view.new_name autocomplete="off" spellcheck="false" />
            </label>
            <details>
                <summary>"Somewhere else"</summary>
                <label>
                    "URL"
                    <input
                        type="password"
                        name="entry[url]"
                        autocomplete="off"
                        placeholder="postgres://user:password@host/database"
                    />
                </label>
                <p class="sub">"Or sqlite:///absolute/path.db. It is used for this restore, and kept nowhere."</p>
            </details>
            <p class="sub">"Nothing is done yet: the plan comes first."</p>
            <div class="actions">
                <button class="first">"Show the plan"</button>
            </div>
        </form>
    }
}

/// The plan, and the button that carries it out.
#[component]
fn Planned(file: String, plan: RestorePlan) -> impl IntoView {
    let verb = if plan.typed.is_some() { "Replace and restore" } else { "Restore" };
    let class = if plan.typed.is_some() { "danger" } else { "first" };
    let typed = plan.typed.map(|name| {
        markup! {
            <label>
                {format!("Type {name} to replace it")}
                <input name="typed" autocomplete="off" spellcheck="false" required="" />
            </label>
        }
    });
    let back = file.clone();
    markup! {
        <section class="card settings" aria-label="The plan">
            <h2>"The plan"</h2>
            {warnings(plan.warnings)}
            {list_of(plan.facts)}
            <form id="carry-out" class="fields" method="post" action=StartRestore::url()>
                <input type="hidden" name="file" value=file />
                <input type="hidden" name="plan" value=plan.id />
                {typed}
            </form>
            <div class="actions">
                <form method="get" action="/restore">
                    <input type="hidden" name="file" value=back />
                    <button class="second">"Cancel"</button>
                </form>
                <button class=class form="carry-out">
                    {verb}
                </button>
            </div>
        </section>
    }
}

fn warnings(words: Vec<String>) -> impl IntoView {
    words.into_iter().map(|words| markup! { <div class="notice warn"><p>{words}</p></div> }).collect_view()
}

fn list_of(facts: Vec<Fact>) -> impl IntoView {
    let facts = facts.into_iter().map(|(name, text)| markup! { <dt>{name}</dt><dd class="said">{text}</dd> });
    markup! { <dl>{facts.collect_view()}</dl> }
}
