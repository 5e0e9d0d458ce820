//! A question in front of the page, where the page is live: nothing happens until it is answered.

use crate::ui::live::requests::{Action, effect};
use leptos::html;
use leptos::prelude::*;

/// The dialog. Its content is there only while it is asked.
#[component]
pub fn Dialog(
    /// Whether it is asked now.
    asked: RwSignal<bool>,
    /// Whether the answer is being carried out.
    pending: Action,
    /// The question, and what there is to know about it.
    question: impl Fn() -> (String, AnyView) + Send + Sync + 'static,
    /// What the button says that carries it out.
    verb: &'static str,
    /// Carries it out.
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
