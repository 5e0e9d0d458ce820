//! Links and buttons that open other pages.

use crate::model::address::at;
use leptos::prelude::*;

/// A link on a line of its own.
pub fn page_link(to: &str, words: &'static str) -> AnyView {
    markup! { <p><a href=at(to)>{words}</a></p> }
}

/// A button that opens another page.
pub fn page_button(to: &str, words: &'static str) -> AnyView {
    markup! {
        <form method="get" action=at(to)>
            <button class="second">{words}</button>
        </form>
    }
}
