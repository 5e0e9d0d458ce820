//! The import page: a plain form with files. The server redirects back to the list.

use crate::model::address::at;
use crate::ui::components::chrome::{Chrome, Place};
use leptos::prelude::*;

/// The page.
#[component]
pub fn ImportPage() -> impl IntoView {
    markup! {
        <Chrome place=Place::Backups>
            <h1>"Import"</h1>
            <p class="sub">
                "Choose backups ("
                <code>".dump.gz"</code>
                "), with their manifests if you have them, or a zip or tar.gz that Holdfast made. Holdfast checks each backup completely before it lists it, and touches no database."
            </p>
            <form method="post" action=at("/imports") enctype="multipart/form-data" class="card settings narrow">
                <label>
                    "Backup files"
                    <input
                        type="file"
                        name="file"
                        multiple
                        required
                    />
                </label>
                <div class="actions">
                    <a class="second" href=at("/")>
                        "Cancel"
                    </a>
                    <button class="first">"Import"</button>
                </div>
            </form>
        </Chrome>
    }
}
