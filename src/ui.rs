//! Pages and components: values of the model in, HTML out. Forms and links work without JavaScript; the WebAssembly
//! makes them faster.

/// `view!` with its type erased: the browser code is compiled once for each type of view, so there should be few.
macro_rules! markup {
    ($($template:tt)*) => {
        ::leptos::prelude::IntoAny::into_any(::leptos::prelude::view! { $($template)* }.into_inner())
    };
}

pub mod components;
pub mod live;
pub mod pages;
