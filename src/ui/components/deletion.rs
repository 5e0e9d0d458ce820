//! The confirmation before backups are deleted: a dialog on a live page, a separate page without JavaScript.

use crate::model::{Picked, human};
use crate::ui::components::dialog::Dialog;
use crate::ui::components::selection::Selection;
use crate::ui::live::requests::Action;
use leptos::prelude::*;

/// The heading of the confirmation.
pub fn question(backups: &[Picked]) -> String {
    format!("Delete {}?", human::count(backups.len() as u64, "backup"))
}

/// The backups to delete, with their total size.
#[component]
pub fn DeletionList(
    /// The backups.
    backups: Vec<Picked>,
) -> impl IntoView {
    let size = human::size(backups.iter().map(|backup| backup.size).sum());
    let names = backups
        .into_iter()
        .map(|Picked { name, size }| {
            markup! {
                <li>
                    <span class="f">{name.to_string()}</span>
                    <span class="dim">{human::size(size)}</span>
                </li>
            }
        })
        .collect_view();
    markup! {
        <p>{format!("Size: {size}. Deleted backups cannot be recovered.")}</p>
        <ul class="doomed" tabindex="0" aria-label="To be deleted">
            {names}
        </ul>
    }
}

/// The dialog.
#[component]
pub fn DeletionDialog(
    /// The selected backups.
    selection: Selection,
    /// Whether the dialog is open.
    asked: RwSignal<bool>,
    /// The action of its button.
    pending: Action,
    /// Runs the action.
    confirm: impl Fn() + Copy + Send + Sync + 'static,
) -> impl IntoView {
    let question = move || {
        let backups = selection.all();
        (question(&backups), markup! { <DeletionList backups /> })
    };
    markup! { <Dialog asked pending question verb="Delete" confirm /> }
}
