//! What only a page without JavaScript needs, such as a form's button that the live page presses itself.

use leptos::prelude::*;

/// Shows `html` where there is no JavaScript. It is given as text, since a browser with JavaScript reads the
/// inside of `<noscript>` as text, and hydration would look for elements there in vain.
#[component]
pub fn Unscripted(
    /// Markup of ours, never a reader's.
    html: &'static str,
) -> impl IntoView {
    markup! { <noscript inner_html=html></noscript> }
}
