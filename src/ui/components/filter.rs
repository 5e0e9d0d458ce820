//! The filter box above the table, and navigation between views of the list.

use crate::model::ListQuery;
use crate::model::address::at;
use crate::ui::components::icon::{Drawing, Icon};
use crate::ui::components::unscripted::Unscripted;
use crate::ui::live::requests::effect;
use crate::ui::live::restored_input::RestoredInput;
use leptos::html;
use leptos::prelude::*;
use leptos_router::NavigateOptions;
use leptos_router::hooks::use_navigate;
use std::time::Duration;

/// The list follows the filter when typing pauses for this long.
const PAUSE: Duration = Duration::from_millis(120);

/// Whether a navigation adds an entry to the browser's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Navigation {
    /// It does: "Back" returns here.
    Step,
    /// It replaces the current entry.
    InPassing,
}

/// Navigates to another view of the list, without loading the page again or scrolling it.
pub fn navigator(way: Navigation) -> impl Fn(&ListQuery) + Clone + 'static {
    let navigate = use_navigate();
    let replace = way == Navigation::InPassing;
    move |query: &ListQuery| {
        let options =
            NavigateOptions { resolve: false, replace, scroll: false, ..NavigateOptions::default() };
        navigate(&at(&query.href()), options);
    }
}

/// The text in the filter box. The page keeps it, so that redrawing the list does not lose typed text.
pub fn filter_text(query: Memo<ListQuery>) -> RwSignal<String> {
    let asked = query.get_untracked().filter;
    let typed = RwSignal::new(RestoredInput::take_filter().unwrap_or(asked));
    let go = navigator(Navigation::InPassing);
    let mut follow = debounce(PAUSE, move |()| {
        let (now, text) = (query.get_untracked(), typed.get_untracked());
        if now.filter != text.trim() {
            go(&now.filtered(&text));
        }
    });
    // The first run handles what was typed before the page was live.
    effect(move |_| {
        typed.track();
        follow(());
    });
    // Back, forward and links change the address.
    effect(move |before| {
        let filter = query.get().filter;
        if before.is_some() && !is_typing() {
            typed.set(filter);
        }
    });
    typed
}

/// The view as hidden fields, for forms that return to the view.
pub fn hidden(query: &ListQuery) -> impl IntoView + use<> {
    let fields = query.pairs().into_iter();
    fields.map(|(key, value)| markup! { <input type="hidden" name=key value=value /> }).collect_view()
}

/// The filter box: a plain GET form. The live page filters while the user types.
#[component]
pub fn Filter(
    /// The view it filters.
    query: Memo<ListQuery>,
    /// Its text.
    typed: RwSignal<String>,
) -> impl IntoView {
    let kept = move || hidden(&query.get().filtered(""));
    let input = NodeRef::<html::Input>::new();
    // Not `prop:value`: redrawing the list would set it again, and the cursor would jump to the end of the text.
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

/// Whether the filter box has the focus. Then its text must not be overwritten.
fn is_typing() -> bool {
    document().active_element().is_some_and(|element| element.get_attribute("name").as_deref() == Some("q"))
}
