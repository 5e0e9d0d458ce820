//! The row above the table: the filter, and how much of the list is shown.

use crate::model::ListQuery;
use crate::model::address::at;
use crate::ui::components::icon::{Drawing, Icon};
use crate::ui::components::unscripted::Unscripted;
use crate::ui::live::requests::effect;
use crate::ui::live::restored_input::Early;
use leptos::html;
use leptos::prelude::*;
use leptos_router::NavigateOptions;
use leptos_router::hooks::use_navigate;
use std::time::Duration;

/// Typing pauses this long before the list follows.
const PAUSE: Duration = Duration::from_millis(120);

/// What going somewhere does to the way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The reader can come back here.
    Step,
    /// Here was only on the way.
    InPassing,
}

/// Goes to another view of the list, without a page load and without moving the page.
pub fn navigator(way: Way) -> impl Fn(&ListQuery) + Clone + 'static {
    let navigate = use_navigate();
    let replace = way == Way::InPassing;
    move |query: &ListQuery| {
        let options =
            NavigateOptions { resolve: false, replace, scroll: false, ..NavigateOptions::default() };
        navigate(&at(&query.href()), options);
    }
}

/// The text in the filter box. It belongs to the page rather than to the box, so that a list that is drawn
/// anew while someone types takes nothing away.
pub fn filter_text(query: Memo<ListQuery>) -> RwSignal<String> {
    let asked = query.get_untracked().filter;
    let typed = RwSignal::new(Early::take_filter().unwrap_or(asked));
    let go = navigator(Way::InPassing);
    let mut follow = debounce(PAUSE, move |()| {
        let (now, text) = (query.get_untracked(), typed.get_untracked());
        if now.filter != text.trim() {
            go(&now.filtered(&text));
        }
    });
    // The first run acts on what was typed before the page was live.
    effect(move |_| {
        typed.track();
        follow(());
    });
    // Back, forward and links change the address under the box.
    effect(move |before| {
        let filter = query.get().filter;
        if before.is_some() && !is_typing() {
            typed.set(filter);
        }
    });
    typed
}

/// A view as hidden fields, for forms that lead back to it.
pub fn hidden(query: &ListQuery) -> impl IntoView + use<> {
    let fields = query.pairs().into_iter();
    fields.map(|(key, value)| markup! { <input type="hidden" name=key value=value /> }).collect_view()
}

/// The filter box: a plain GET form that the live page runs ahead of.
#[component]
pub fn Filter(
    /// The view it filters.
    query: Memo<ListQuery>,
    /// Its text.
    typed: RwSignal<String>,
) -> impl IntoView {
    let kept = move || hidden(&query.get().filtered(""));
    let input = NodeRef::<html::Input>::new();
    // Not as `prop:value`: each time the list is drawn anew that is taken off and put on again, and whoever types
    // in the middle of the text goes on at its end.
    effect(move |_| {
        let text = typed.get();
        if let Some(input) = input.get().filter(|input| input.value() != text) {
            input.set_value(&text);
        }
    });
    markup! {
        <form
            method="get"
            action=at("/")
            class="find"
            role="search"
            on:submit=move |event| event.prevent_default()
        >
            <Drawing icon=Icon::Search />
            {move || kept()}
            <input
                type="search"
                name="q"
                aria-label="Filter"
                placeholder="Filter by name, database or state"
                autocomplete="off"
                value=typed.get_untracked()
                node_ref=input
                on:input=move |event| typed.set(event_target_value(&event))
            />
            <Unscripted html="<button>Filter</button>" />
        </form>
    }
}

/// Whether the reader is in the filter box: what is being typed is not to be overwritten.
fn is_typing() -> bool {
    document().active_element().is_some_and(|element| element.get_attribute("name").as_deref() == Some("q"))
}
