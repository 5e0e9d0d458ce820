//! Components: values of the model in, HTML out. HTML first: forms and links work without JavaScript, and the
//! WebAssembly makes them instant.

/// `view!` with its type erased. The browser's code is compiled once for each type of view, so there should be few.
macro_rules! markup {
    ($($template:tt)*) => {
        ::leptos::prelude::IntoAny::into_any(::leptos::prelude::view! { $($template)* }.into_inner())
    };
}

pub mod components;
pub mod live;
pub mod pages;
