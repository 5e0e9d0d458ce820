//! The restore page: facts about one backup, the form that asks where to restore it, and the plan to approve. Its forms
//! are posted to server functions.

use crate::api::context;
use crate::api::recovery::{PlanRestore, StartRestore, VerifyBackups};
use crate::domain::Holdfast;
use crate::domain::accounts::Account;
use crate::model::address::{at, lookup};
use crate::model::restore::RestoreChoices;
use crate::model::{AppError, BackupName, Outcome, RestorePlan, RestoreView, Right};
use crate::server::pages::markup::{card, facts, file_name, hidden, page, tick, words};
use leptos::prelude::*;
use leptos::server_fn::ServerFn;

/// The HTML of the page; `search` is the query string, with the file and the id of the plan if one was made.
pub async fn write(search: String) -> Result<String, AppError> {
    let outcome = context::recall(lookup(&search, "outcome")).await?;
    let file = lookup(&search, "file").unwrap_or_default();
    let plan = lookup(&search, "plan");
    let read = match file.parse::<BackupName>() {
        Ok(file) => {
            let look = move |holdfast: &Holdfast, account: &Account| {
                holdfast.restore_plans().view(account.id, &file, plan.as_deref())
            };
            context::attempt_as(look).await?
        }
        Err(error) => Err(format!("{file} is {error}.")),
    };
    Ok(match read {
        Ok(view) => page_of(view, context::must(Right::Administer).await.is_ok(), outcome),
        Err(reason) => no_backup(&file, reason),
    })
}

/// The page of a backup. Users who may not restore see no form.
fn page_of(view: RestoreView, may_restore: bool, outcome: Option<Outcome>) -> String {
    let RestoreView {
        file,
        is_here,
        facts: known,
        warnings: against,
        places,
        new_name,
        url_examples,
        choices,
        plan,
    } = view;
    let file = file.to_string();
    let here = is_here.then(|| {
        view! {
            <div class="actions">
                <a class="second" href=at(&format!("/backups/{file}")) download="">"Download"</a>
                <form method="post" action=at(VerifyBackups::url())>
                    {hidden("names[]", &file)}
                    <button class="second">"Verify"</button>
                </form>
            </div>
        }
    });
    let step = match plan {
        _ if !may_restore => card("Where to", words("Only administrators can restore backups.")),
        Some(plan) => planned(&file, plan),
        None => destination_form(&file, places, new_name, &url_examples, choices),
    };
    let content = view! {
        {here}
        {warnings(against)}
        <div class="halves even">
            {step}
            {card("The backup", facts(known))}
        </div>
    };
    page("Restore", file_name(&file), outcome, content)
}

/// The page for a name that is not a backup, or for a backup that cannot be read.
fn no_backup(file: &str, reason: String) -> String {
    let back = view! { <p><a href=at("/")>"Back to the list"</a></p> };
    page("Restore", file_name(file), Some(Outcome::refused(reason)), back)
}

/// The form that asks where to restore the backup.
fn destination_form(
    file: &str,
    places: Vec<(String, String)>,
    new_name: String,
    url_examples: &[&'static str],
    choices: Vec<RestoreChoices>,
) -> AnyView {
    let (example, others) =
        url_examples.split_first().map_or(("", &[][..]), |(first, others)| (*first, others));
    let others = others.iter().map(|other| format!("Or {other}. ")).collect::<Vec<_>>().concat();
    let options = places
        .into_iter()
        .map(|(value, label)| view! { <option value=value>{label}</option> })
        .collect_view();
    let choices = choices.into_iter().map(folded).collect_view();
    view! {
        <form class="card settings" method="post" action=at(PlanRestore::url())>
            <h2>"Where to"</h2>
            {hidden("entry[file]", file)}
            <label>
                "Restore into"
                <select name="entry[place]" autocomplete="off">
                    {options}
                </select>
            </label>
            <label>
                "Name of the new database"
                <input name="entry[name]" value=new_name autocomplete="off" spellcheck="false" />
            </label>
            <details>
                <summary>"Somewhere else"</summary>
                <label>
                    "URL"
                    <input
                        type="password"
                        name="entry[url]"
                        autocomplete="off"
                        placeholder=example
                    />
                </label>
                <p class="sub">{others}"Holdfast uses this URL for this restore only and never stores it."</p>
            </details>
            {choices}
            <p class="sub">"Nothing happens yet: the next page shows the plan."</p>
            <div class="actions">
                <button class="first">"Show the plan"</button>
            </div>
        </form>
    }
    .into_any()
}

/// The choices about restores of one engine, collapsed.
fn folded(of: RestoreChoices) -> AnyView {
    let each = of.choices.iter().map(|choice| {
        view! {
            {tick(choice.label, format!("entry[{}]", choice.field), false)}
            <p class="sub">{choice.explanation}</p>
        }
    });
    view! {
        <details>
            <summary>{of.title}</summary>
            {each.collect_view()}
        </details>
    }
    .into_any()
}

/// The plan, and the button that starts it.
fn planned(file: &str, plan: RestorePlan) -> AnyView {
    let verb = if plan.typed.is_some() { "Replace and restore" } else { "Restore" };
    let class = if plan.typed.is_some() { "danger" } else { "first" };
    let typed = plan.typed.map(|name| {
        view! {
            <label>
                {format!("Type {name} to replace it")}
                <input name="typed" autocomplete="off" spellcheck="false" required="" />
            </label>
        }
    });
    view! {
        <section class="card settings" aria-label="The plan">
            <h2>"The plan"</h2>
            {warnings(plan.warnings)}
            {facts(plan.facts)}
            <form id="carry-out" class="fields" method="post" action=at(StartRestore::url())>
                {hidden("file", file)}
                {hidden("plan", plan.id)}
                {typed}
            </form>
            <div class="actions">
                <form method="get" action=at("/restore")>
                    {hidden("file", file)}
                    <button class="second">"Cancel"</button>
                </form>
                <button class=class form="carry-out">
                    {verb}
                </button>
            </div>
        </section>
    }
    .into_any()
}

fn warnings(words: Vec<String>) -> impl IntoView {
    words.into_iter().map(|words| view! { <div class="notice warn"><p>{words}</p></div> }).collect_view()
}
