//! Content for pages without JavaScript only, such as the button of a form that the live page submits itself.

use leptos::prelude::*;

/// Shows `html` if there is no JavaScript. Takes the HTML as text, because a browser with JavaScript parses the content
/// of `<noscript>` as text.
#[component]
pub fn Unscripted(
    /// Our own markup, never a user's text.
    html: &'static str,
) -> impl IntoView {
    markup! { <noscript inner_html=html></noscript> }
}
