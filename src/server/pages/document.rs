//! The document around the pages: head, tags, theme. Written by the server only.

use crate::app::App;
use crate::model::address::{at, base};
use leptos::nonce::use_nonce;
use leptos::prelude::*;
use leptos_meta::MetaTags;

/// The names of the site's files, with the hash of their content in them.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct Assets {
    /// The JavaScript that starts the WebAssembly.
    pub js: String,
    /// The WebAssembly.
    pub wasm: String,
    /// The style sheet.
    pub css: String,
}

/// What the document needs to know of one request; the server provides it as a context.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The site's files; nothing where the program was built without them.
    pub assets: Option<Assets>,
    /// The theme the reader chose, where one was chosen.
    pub theme: Option<&'static str>,
    /// What the reader may do, for the style sheet; nothing where nobody is logged in.
    pub may: Option<String>,
}

/// The document. The tags are written by hand, since the framework's own loses the nonce of its preload.
pub fn shell() -> impl IntoView {
    let frame = use_context::<Frame>().unwrap_or(Frame { assets: None, theme: None, may: None });
    let nonce = use_nonce().map(|nonce| nonce.to_string()).unwrap_or_default();
    let base = base();
    let named_base = (!base.is_empty()).then_some(base);
    let tags = frame.assets.map(|Assets { js, wasm, css }| {
        // Both downloads begin at once, and neither where there is no JavaScript to use them.
        let start = format!(
            "const wasm=fetch('{base}/pkg/{wasm}');const {{default:init,hydrate}}=await import('{base}/pkg/{js}');\
             await init({{module_or_path:wasm}});hydrate();"
        );
        view! {
            <link rel="stylesheet" href=format!("{base}/pkg/{css}") />
            <link rel="modulepreload" href=format!("{base}/pkg/{js}") nonce=nonce.clone() />
            <script type="module" nonce=nonce.clone() inner_html=start></script>
        }
    });
    view! {
        <!DOCTYPE html>
        <html lang="en" data-theme=frame.theme data-base=named_base data-may=frame.may>
            <head>
                <meta charset="utf-8" />
                <meta name="viewport" content="width=device-width, initial-scale=1" />
                <meta name="color-scheme" content="light dark" />
                <link rel="icon" href=at("/favicon.svg") type="image/svg+xml" />
                {tags}
                <MetaTags />
            </head>
            <body>
                <App />
            </body>
        </html>
    }
}
