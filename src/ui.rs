//! Components: values of the model in, HTML out. HTML first: forms and links work by themselves, and the
//! WebAssembly makes them instant.

/// `view!`, its type forgotten: the browser's code is made once for each type of view, and so there are few.
macro_rules! markup {
    ($($template:tt)*) => {
        ::leptos::prelude::IntoAny::into_any(::leptos::prelude::view! { $($template)* }.into_inner())
    };
}

pub mod asking;
pub mod chrome;
pub mod deletion;
pub mod dialog;
pub mod early;
pub mod icon;
pub mod jobs;
pub mod live;
pub mod notice;
pub mod pager;
pub mod pages;
pub mod selection;
pub mod selection_bar;
pub mod spark;
pub mod table;
pub mod tools;
pub mod unscripted;
pub mod way;
pub mod when;
