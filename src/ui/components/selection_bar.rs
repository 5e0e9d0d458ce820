//! The bar of actions on the selected backups, shown once one is selected.

use crate::api::off_site::UploadBackups;
use crate::api::recovery::VerifyBackups;
use crate::model::address::at;
use crate::model::{ArchiveFormat, BackupName, ListPage, human};
use crate::ui::components::selection::Selection;
use leptos::prelude::*;
use leptos::server_fn::ServerFn;

/// The bar. Its buttons submit the form around them. Without JavaScript the form sends the checked boxes; the live page
/// sends the selection.
#[component]
pub fn SelectionBar(
    /// The selection.
    selection: Selection,
    /// The page of the list.
    page: ListPage,
) -> impl IntoView {
    let (query, matching) = (page.query, page.matching);
    let words = move || {
        let count = selection.count();
        (count > 0)
            .then(|| format!("{} selected, {}", human::grouped(count as u64), human::size(selection.size())))
    };
    let select_all = move || {
        let query = query.clone();
        (selection.count() < matching).then(|| {
            markup! {
                <button type="button" class="link" on:click=move |_| selection.pick_matching(query.clone())>
                    {format!("Select all {} matching", human::grouped(matching as u64))}
                </button>
            }
        })
    };
    let remark = move || {
        let lost = selection.lost();
        let lost = (!lost.is_empty()).then(|| {
            let names = lost.iter().map(BackupName::as_str).collect::<Vec<_>>().join(", ");
            format!("No longer available, so deselected: {names}")
        });
        let remark = selection.failed().map(|error| error.to_string()).or(lost);
        remark.map(|words| markup! { <p class="lost">{words}</p> })
    };
    let bundles = ArchiveFormat::ALL
        .into_iter()
        .map(|format| {
            markup! { <button class="second" name="format" value=format.key()>{format.label()}</button> }
        })
        .collect_view();
    let shown = move || selection.count() > 0 || !selection.lost().is_empty();
    markup! {
        <div class="selection" class:on=shown role="region" aria-label="Selection">
            <b class="count">{move || words()}</b>
            <span class="scripted">
                {move || select_all()}
                <button type="button" class="link clear" aria-label="Clear selection" on:click=move |_| selection.clear()>
                    <span>"Clear selection"</span>
                </button>
            </span>
            {move || remark()}
            <span class="grow"></span>
            <button class="second" formaction=at(VerifyBackups::url())>
                "Verify"
            </button>
            <button class="second" formaction=at(UploadBackups::url())>
                "Upload"
            </button>
            {bundles}
            <button class="danger" formmethod="get" formaction=at("/delete")>
                "Delete"
            </button>
        </div>
    }
}
