//! Asking before backups are deleted: in a dialog where the page is live, on a page of its own where not.

use crate::model::{Picked, human};
use crate::ui::selection::Selection;
use leptos::html;
use leptos::prelude::*;

/// The question.
pub fn question(backups: &[Picked]) -> String {
    format!("Delete {}?", human::count(backups.len() as u64, "backup"))
}

/// What would be gone: how much, and which.
#[component]
pub fn Doomed(
    /// The backups.
    backups: Vec<Picked>,
) -> impl IntoView {
    let size = human::size(backups.iter().map(|backup| backup.size).sum());
    let what = if backups.len() == 1 { "It is" } else { "Together they are" };
    let names = backups
        .into_iter()
        .map(|Picked { name, size }| {
            view! {
                <li>
                    <span class="f">{name.to_string()}</span>
                    <span class="dim">{human::size(size)}</span>
                </li>
            }
        })
        .collect_view();
    view! {
        <p>{format!("{what} {size}. What is deleted here cannot be brought back.")}</p>
        <ul class="doomed" tabindex="0" aria-label="To be deleted">
            {names}
        </ul>
    }
}

/// The dialog.
#[component]
pub fn DeletionDialog(
    /// What is to go.
    selection: Selection,
    /// Whether it is asked now.
    asked: RwSignal<bool>,
    /// Whether the answer is being carried out.
    #[prop(into)]
    pending: Signal<bool>,
    /// Carries it out.
    confirm: impl Fn() + Copy + Send + Sync + 'static,
) -> impl IntoView {
    let dialog = NodeRef::<html::Dialog>::new();
    Effect::new(move |_| {
        let Some(dialog) = dialog.get() else { return };
        if asked.get() && !dialog.open() {
            let _ = dialog.show_modal();
        } else if !asked.get() && dialog.open() {
            dialog.close();
        }
    });
    let content = move || {
        asked.get().then(|| {
            let backups = selection.all();
            view! {
                <h2 id="deletion">{question(&backups)}</h2>
                <Doomed backups />
                <div class="actions">
                    <button type="button" class="second" autofocus on:click=move |_| asked.set(false)>
                        "Cancel"
                    </button>
                    <button type="button" class="danger" disabled=pending on:click=move |_| confirm()>
                        "Delete"
                    </button>
                </div>
            }
        })
    };
    view! {
        <dialog node_ref=dialog role="dialog" aria-labelledby="deletion" on:close=move |_| asked.set(false)>
            {content}
        </dialog>
    }
}
