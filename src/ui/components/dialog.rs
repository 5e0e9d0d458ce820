//! A modal dialog on a live page.

use crate::ui::live::requests::{Action, effect};
use leptos::html;
use leptos::prelude::*;

/// The dialog. Its content exists only while it is open.
#[component]
pub fn Dialog(
    /// Whether the dialog is open.
    asked: RwSignal<bool>,
    /// The action of the confirming button.
    pending: Action,
    /// The content.
    question: impl Fn() -> (String, AnyView) + Send + Sync + 'static,
    /// The label of the button that runs the action.
    verb: &'static str,
    /// Runs the action.
    confirm: impl Fn() + Copy + Send + Sync + 'static,
) -> impl IntoView {
    let dialog = NodeRef::<html::Dialog>::new();
    effect(move |_| {
        let Some(dialog) = dialog.get() else { return };
        if asked.get() && !dialog.open() {
            let _ = dialog.show_modal();
        } else if !asked.get() && dialog.open() {
            dialog.close();
        }
    });
    let content = move || {
        asked.get().then(|| {
            let (question, about) = question();
            markup! {
                <h2 id="question">{question}</h2>
                {about}
                <div class="actions">
                    <button type="button" class="second" autofocus on:click=move |_| asked.set(false)>
                        "Cancel"
                    </button>
                    <button
                        type="button"
                        class="danger"
                        disabled=move || pending.is_pending()
                        on:click=move |_| confirm()
                    >
                        {verb}
                    </button>
                </div>
            }
        })
    };
    markup! {
        <dialog node_ref=dialog role="dialog" aria-labelledby="question" on:close=move |_| asked.set(false)>
            {move || content()}
        </dialog>
    }
}
