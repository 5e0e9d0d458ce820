//! The HTML document around the live pages: it starts the WebAssembly and carries the theme and the user's rights.

use crate::app::App;
use crate::model::address::base;
use crate::server::pages::html_document::document;
use crate::server::routes::assets::Assets;
use leptos::nonce::use_nonce;
use leptos::prelude::*;
use leptos_meta::MetaTags;

/// What the document of one request needs. The router provides it as a Leptos context.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The site's files; `None` if the program was built without them.
    pub assets: Option<Assets>,
    /// The theme that the user chose, if any.
    pub theme: Option<&'static str>,
    /// The user's rights, for the style sheet; `None` if nobody is logged in.
    pub may: Option<String>,
}

/// The document. We write the script tags ourselves, since the framework's preload tag loses its nonce.
pub fn live_document() -> impl IntoView {
    let frame = use_context::<Frame>().unwrap_or(Frame { assets: None, theme: None, may: None });
    let nonce = use_nonce().map(|nonce| nonce.to_string()).unwrap_or_default();
    let base = base();
    let named_base = (!base.is_empty()).then_some(base);
    let tags = frame.assets.map(|Assets { js, wasm, css }| {
        // Both downloads start at once, and only if the browser runs JavaScript. If the user presses Back meanwhile, the
        // browser may change the address and keep this document, which is another page's: then the page is loaded anew.
        let start = format!(
            "const at=()=>location.pathname+location.search,was=at(),wasm=fetch('{base}/pkg/{wasm}');\
             const {{default:init,hydrate}}=await import('{base}/pkg/{js}');\
             await init({{module_or_path:wasm}});at()===was?hydrate():location.reload();"
        );
        view! {
            <link rel="stylesheet" href=format!("{base}/pkg/{css}") />
            <link rel="modulepreload" href=format!("{base}/pkg/{js}") nonce=nonce.clone() />
            <script type="module" nonce=nonce.clone() inner_html=start></script>
        }
    });
    let head = view! { {tags} <MetaTags /> };
    document(frame.theme, named_base, frame.may, head, view! { <App /> })
}
