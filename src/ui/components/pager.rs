//! The pager: links to the other pages of the list.

use crate::model::ListPage;
use crate::model::address::at;
use crate::model::list::PAGE_SIZES;
use crate::ui::components::filter::{Navigation, hidden, navigator};
use crate::ui::components::unscripted::Unscripted;
use leptos::prelude::*;

/// "Previous", the page numbers, "Next", and how many rows a page has.
#[component]
pub fn Pager(
    /// The page of the list above the pager.
    page: ListPage,
) -> impl IntoView {
    let query = page.query.clone();
    let step = |label: &'static str, to: Option<usize>| match to {
        Some(to) => markup! { <a href=at(&query.at_page(to).href())>{label}</a> },
        None => markup! { <span class="off" aria-disabled="true">{label}</span> },
    };
    let previous = step("Previous", query.page.checked_sub(1).filter(|&to| to >= 1));
    let next = step("Next", Some(query.page + 1).filter(|&to| to <= page.pages));
    let numbers = page
        .window()
        .into_iter()
        .map(|number| match number {
            Some(number) => {
                let current = (number == query.page).then_some("page");
                markup! { <a href=at(&query.at_page(number).href()) aria-current=current aria-label=format!("Page {number}")>{number}</a> }
            }
            None => markup! { <span class="gap" aria-hidden="true">"…"</span> },
        })
        .collect_view();
    let go = navigator(Navigation::Step);
    let resize = {
        let query = query.clone();
        move |event: leptos::ev::Event| {
            if let Ok(rows) = event_target_value(&event).parse() {
                go(&query.sized(rows));
            }
        }
    };
    let kept = hidden(&query.sized(PAGE_SIZES[0]));
    let sizes = PAGE_SIZES
        .into_iter()
        .map(|size| markup! { <option value=size selected=size == query.per_page>{size}</option> })
        .collect_view();
    markup! {
        <div class="pager">
            <nav aria-label="Pagination">{previous} {numbers} {next}</nav>
            <form method="get" action=at("/") class="rows">
                {kept}
                <label>
                    "Rows"
                    <select name="per_page" on:change=resize>
                        {sizes}
                    </select>
                </label>
                <Unscripted html="<button>Show</button>" />
            </form>
        </div>
    }
}
