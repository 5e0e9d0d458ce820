//! Holdfast, a self-hosted backup desk for databases: `model` is what the program talks about, `domain`
//! does it, `api` carries it over the wire, `ui` shows it.

// A view's type is nested as deep as its HTML.
#![recursion_limit = "256"]

#[cfg(all(feature = "ssr", feature = "hydrate"))]
compile_error!("`ssr` is the server and `hydrate` is the browser: choose one");

// The browser takes over the HTML that the server wrote, so both halves are to be built with it.
#[cfg(not(erase_components))]
compile_error!("RUSTFLAGS replaces the list in .cargo/config.toml: put `--cfg erase_components` there, too");

pub mod api;
pub mod app;
#[cfg(feature = "ssr")]
pub mod cli;
#[cfg(feature = "ssr")]
pub mod domain;
pub mod model;
#[cfg(feature = "ssr")]
pub mod server;
#[cfg(feature = "ssr")]
pub mod settings;
pub mod ui;

/// Makes the page live. Called by the script in the document, once the WebAssembly is loaded.
#[cfg(feature = "hydrate")]
#[wasm_bindgen::prelude::wasm_bindgen]
pub fn hydrate() {
    // Written by the server where the site is not at the root.
    let root = leptos::prelude::document().document_element();
    if let Some(base) = root.and_then(|root| root.get_attribute("data-base")) {
        model::address::set_base(base);
    }
    let restored = ui::live::restored_input::RestoredInput::capture();
    leptos::mount::hydrate_body(move || {
        restored.provide();
        app::App()
    });
}
