//! Messages: a status region for successes, an alert for each failure.

use crate::model::Outcome;
use crate::model::address::at;
use crate::model::error::STALE;
use leptos::prelude::*;

/// An alert: something failed.
#[component]
pub fn Alert(
    /// The sentence: what failed, and the next step.
    message: String,
    /// The tool's own output, if there is any.
    #[prop(optional_no_strip)]
    detail: Option<String>,
    /// Content beside the sentence, such as a button to dismiss it.
    #[prop(optional)]
    children: Option<Children>,
) -> impl IntoView {
    // In a new tab, so that this page keeps its form.
    let stale = (message == STALE).then(|| {
        markup! { " " <a href=at("/confirm") target="_blank">"Confirm it is you"</a> ", then try again." }
    });
    markup! {
        <div class="notice bad" role="alert">
            <p>{message}{stale}</p>
            {children.map(|children| children())}
            {detail.map(|words| markup! { <ToolOutput words /> })}
        </div>
    }
}

/// A tool's own output, collapsed.
#[component]
pub fn ToolOutput(
    /// The output.
    words: String,
    /// The title of the collapsed block.
    #[prop(default = "Tool output")]
    title: &'static str,
) -> impl IntoView {
    markup! {
        <details>
            <summary>{title}</summary>
            <pre>{words}</pre>
        </details>
    }
}

/// The outcome of an action. The status region is there before it has a text, so that screen readers announce it.
#[component]
pub fn OutcomeNotices(
    /// The outcome to show.
    outcome: Signal<Outcome>,
    /// More successes.
    #[prop(optional, into)]
    good: ViewFn,
    /// More failures.
    #[prop(optional, into)]
    bad: ViewFn,
) -> impl IntoView {
    let told = Memo::new(move |_| outcome.get());
    let told_good =
        move || told.get().good.map(|words| markup! { <div class="notice good"><p>{words}</p></div> });
    let told_bad = move || {
        let alert = |message| markup! { <Alert message detail=None /> };
        told.get().bad.into_iter().map(alert).collect_view()
    };
    markup! {
        <div role="status" class="notices">{move || told_good()}{move || good.run()}</div>
        <div class="notices">{move || told_bad()}{move || bad.run()}</div>
    }
}
