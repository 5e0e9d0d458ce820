//! The confirmation before backups are deleted: a dialog on a live page, a page of its own without JavaScript.

use crate::model::{Picked, human};
use crate::ui::components::dialog::Dialog;
use crate::ui::components::selection::Selection;
use crate::ui::live::requests::Action;
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
            markup! {
                <li>
                    <span class="f">{name.to_string()}</span>
                    <span class="dim">{human::size(size)}</span>
                </li>
            }
        })
        .collect_view();
    markup! {
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
    pending: Action,
    /// Carries it out.
    confirm: impl Fn() + Copy + Send + Sync + 'static,
) -> impl IntoView {
    let question = move || {
        let backups = selection.all();
        (question(&backups), markup! { <Doomed backups /> })
    };
    markup! { <Dialog asked pending question verb="Delete" confirm /> }
}
