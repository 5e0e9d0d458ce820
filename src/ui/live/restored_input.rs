//! Input from before hydration: the checkboxes and the filter text, saved so that hydration does not undo them.

use crate::model::BackupName;
use leptos::prelude::{StoredValue, UpdateValue, document, provide_context, use_context};
use wasm_bindgen::JsCast;
use web_sys::HtmlInputElement;

/// The input on the page when the WebAssembly started.
#[derive(Debug, Clone, Default)]
pub struct RestoredInput {
    /// The checked backups, with their sizes in bytes.
    pub ticked: Vec<(BackupName, u64)>,
    /// The text in the filter box, if the page has one.
    pub filter: Option<String>,
}

impl RestoredInput {
    /// Provides the input to the pages. Each value can be taken once.
    pub fn provide(self) {
        provide_context(StoredValue::new(self));
    }

    /// Takes the checked backups.
    pub fn take_ticked() -> Vec<(BackupName, u64)> {
        Self::take(|early| std::mem::take(&mut early.ticked)).unwrap_or_default()
    }

    /// Takes the text in the filter box.
    pub fn take_filter() -> Option<String> {
        Self::take(|early| early.filter.take()).flatten()
    }

    fn take<T>(part: impl FnOnce(&mut Self) -> T) -> Option<T> {
        use_context::<StoredValue<Self>>()?.try_update_value(part)
    }

    /// Reads the input from the document. Call this in the browser, before hydration.
    pub fn capture() -> Self {
        let ticked = inputs("input[name='names[]']:checked")
            .filter_map(|input| {
                let size = input.get_attribute("data-size")?.parse().ok()?;
                Some((input.value().parse().ok()?, size))
            })
            .collect();
        Self { ticked, filter: inputs("input[name='q']").next().map(|input| input.value()) }
    }
}

fn inputs(selector: &str) -> impl Iterator<Item = HtmlInputElement> {
    let found = document().query_selector_all(selector).ok();
    let nodes = found.into_iter().flat_map(|list| (0..list.length()).filter_map(move |i| list.item(i)));
    nodes.filter_map(|node| node.dyn_into().ok())
}
