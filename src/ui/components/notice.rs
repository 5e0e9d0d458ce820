//! Outcomes in words: one region for what went well, one for what did not.

use crate::model::Outcome;
use crate::model::address::at;
use crate::model::error::STALE;
use leptos::prelude::*;

/// Shows what did not go well. Nothing at all is there while nothing did.
#[component]
pub fn Alert(
    /// The sentence, naming the thing and the next step.
    message: String,
    /// The tool's own words, where there are any.
    #[prop(optional_no_strip)]
    detail: Option<String>,
    /// What stands beside it, such as a way to dismiss it.
    #[prop(optional)]
    children: Option<Children>,
) -> impl IntoView {
    // In another tab: what was typed here stays.
    let stale = (message == STALE).then(|| {
        markup! { " " <a href=at("/confirm") target="_blank">"Confirm it is you"</a> ", then do it again." }
    });
    markup! {
        <div class="notice bad" role="alert">
            <p>{message}{stale}</p>
            {children.map(|children| children())}
            {detail.map(|words| markup! { <Said words /> })}
        </div>
    }
}

/// A tool's own words, folded away until they are wanted.
#[component]
pub fn Said(
    /// The words.
    words: String,
    /// Whose they are.
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

/// How an action ended: one status region, there before it says anything, and an alert for each failure.
#[component]
pub fn Told(
    /// What is to be told now.
    outcome: Signal<Outcome>,
    /// More that went well.
    #[prop(optional, into)]
    good: ViewFn,
    /// More that did not.
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
