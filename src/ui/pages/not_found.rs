//! The page for an unknown address.

use crate::ui::components::chrome::CardPage;
use crate::ui::components::links::page_link;
use leptos::prelude::*;

/// The page.
#[component]
pub fn NotFoundPage() -> impl IntoView {
    markup! {
        <CardPage title="Not found">
            <p>"There is nothing at this address."</p>
            {page_link("/", "Go to the backups")}
        </CardPage>
    }
}
