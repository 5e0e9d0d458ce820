//! Components: values of the model in, HTML out. HTML first: forms and links work by themselves, and the
//! WebAssembly makes them instant.

/// `view!`, its type forgotten: the browser's code is made once for each type of view, and so there are few.
macro_rules! markup {
    ($($template:tt)*) => {
        ::leptos::prelude::IntoAny::into_any(::leptos::prelude::view! { $($template)* }.into_inner())
    };
}

pub mod components;
pub mod live;
pub mod pages;
