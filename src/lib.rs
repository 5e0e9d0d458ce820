//! Holdfast, self-hosted backups for databases. `model` has the values, `domain` does the work, `api` carries calls
//! between browser and server, `ui` shows pages, `server` speaks HTTP and `cli` has the shell commands.

// The type of a view is as deeply nested as its HTML.
#![recursion_limit = "256"]

#[cfg(all(feature = "ssr", feature = "hydrate"))]
compile_error!("`ssr` is the server and `hydrate` is the browser: choose one");

// The browser hydrates the HTML that the server rendered, so both must be built with the same setting.
#[cfg(not(erase_components))]
compile_error!("RUSTFLAGS replaces the list in .cargo/config.toml: put `--cfg erase_components` there too");

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

/// Makes the page live. The script in the document calls this once the WebAssembly is loaded.
#[cfg(feature = "hydrate")]
#[wasm_bindgen::prelude::wasm_bindgen]
pub fn hydrate() {
    // The server writes this attribute if the site is not at the root.
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
