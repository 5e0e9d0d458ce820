//! Outcomes in words: one region for what went well, one for what did not.

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
    view! {
        <div class="notice bad" role="alert">
            <p>{message}</p>
            {children.map(|children| children())}
            {detail.map(|words| view! { <Said words /> })}
        </div>
    }
}

/// A tool's own words, folded away until they are wanted.
#[component]
pub fn Said(
    /// The words.
    words: String,
) -> impl IntoView {
    view! {
        <details>
            <summary>"What the tool said"</summary>
            <pre>{words}</pre>
        </details>
    }
}
