//! An address that shows nothing.

use crate::ui::components::chrome::Door;
use crate::ui::components::links::way;
use leptos::prelude::*;

/// The page for it.
#[component]
pub fn NotFoundPage() -> impl IntoView {
    markup! {
        <Door title="Not found">
            <p>"There is nothing at this address."</p>
            {way("/", "Go to the backups")}
        </Door>
    }
}
