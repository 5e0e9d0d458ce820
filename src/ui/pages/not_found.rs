//! An address that shows nothing.

use crate::model::address::at;
use crate::ui::chrome::Door;
use leptos::prelude::*;

/// The page for it.
#[component]
pub fn NotFoundPage() -> impl IntoView {
    markup! {
        <Door title="Not found">
            <p>"There is nothing at this address."</p>
            <p><a href=at("/")>"Go to the backups"</a></p>
        </Door>
    }
}
