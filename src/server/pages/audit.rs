//! The audit page: the audit log, newest first, for administrators.

use crate::api::context;
use crate::domain::{Holdfast, Result};
use crate::model::AppError;
use crate::model::address::{at, lookup};
use crate::model::audit::{AuditEntry, AuditQuery, Event, plain};
use crate::server::pages::markup::{card, cell, choice, long, page, table, words};
use leptos::prelude::*;
use url::form_urlencoded::Serializer;

/// The HTML of the page; `search` is the query string, with the filter and the page number.
pub async fn write(search: String) -> std::result::Result<String, AppError> {
    context::ask(move |holdfast| page_of(holdfast, &search)).await
}

fn page_of(holdfast: &Holdfast, search: &str) -> Result<String> {
    let asked = |key| lookup(search, key).unwrap_or_default().trim().to_owned();
    let number = asked("page").parse().unwrap_or(1).max(1);
    let query = AuditQuery { event: asked("event"), who: asked("who"), text: asked("q"), page: number };
    let found = holdfast.audit().read(&query)?;
    let list = if found.entries.is_empty() {
        words("No entries match this filter.")
    } else {
        let heads = ["Time (UTC)", "Event", "Who", "From", "Object", "Outcome", "Detail"];
        table(&heads, found.entries.iter().map(entry))
    };
    let newer = (number > 1).then(|| link("Newer entries", &query, number - 1));
    let older = found.has_more.then(|| link("Older entries", &query, number.saturating_add(1)));
    let content = view! {
        {filter(&query)}
        {list}
        <div class="actions">
            {newer} {older} <a class="second" href=at("/audit.jsonl") download="">"Download the whole log"</a>
        </div>
    };
    let sub = words("Who did what, from where, and with what result. Newest first.");
    Ok(page("Audit log", sub, None, content))
}

fn filter(query: &AuditQuery) -> AnyView {
    let all = [(String::new(), "All events".to_owned())];
    let events = Event::ALL.iter().map(|event| (event.text().to_owned(), event.text().to_owned()));
    let events = choice("Event", "event", all.into_iter().chain(events).collect(), &query.event);
    let content = view! {
        <form method="get" action=at("/audit") class="fields">
            <div class="pair even">
                {events} <label>"Who" <input name="who" value=query.who.clone() autocomplete="off" /></label>
            </div>
            <label>"Text" <input name="q" value=query.text.clone() autocomplete="off" /></label>
            <button class="second">"Show"</button>
        </form>
    };
    card("Filter", content)
}

fn entry(entry: &AuditEntry) -> Vec<AnyView> {
    let time = entry.time.replace('T', " ");
    let known = |field: &Option<String>| field.as_deref().map_or_else(|| "–".to_owned(), plain);
    vec![
        cell(plain(time.trim_end_matches('Z'))),
        cell(plain(&entry.event)),
        cell(known(&entry.who)),
        cell(known(&entry.from)),
        long(plain(&entry.object)),
        cell(plain(&entry.outcome)),
        long(plain(&entry.detail)),
    ]
}

fn link(text: &'static str, query: &AuditQuery, page: u64) -> AnyView {
    let fields = [("event", &query.event), ("who", &query.who), ("q", &query.text)];
    let kept = fields.into_iter().filter(|(_, value)| !value.is_empty());
    let address = Serializer::for_suffix("/audit?".to_owned(), "/audit?".len())
        .extend_pairs(kept)
        .append_pair("page", &page.to_string())
        .finish();
    view! { <a class="second" href=at(&address)>{text}</a> }.into_any()
}
