//! A time on the page: UTC as text, the local time as a tooltip.

use crate::model::Stamp;
use crate::ui::live::requests::effect;
use leptos::prelude::*;
use wasm_bindgen::JsValue;

/// Shows `stamp` as `YYYY-MM-DD HH:MM:SS`, with the local time as a tooltip.
#[component]
pub fn Timestamp(
    /// The time.
    stamp: Stamp,
) -> impl IntoView {
    let title = RwSignal::new("UTC".to_owned());
    effect(move |_| {
        #[expect(clippy::cast_precision_loss, reason = "a date in milliseconds is exact for 285,000 years")]
        let date = js_sys::Date::new(&JsValue::from_f64(stamp.millis() as f64));
        let local: String = date.to_string().into();
        title.set(format!("{stamp} UTC, here {local}"));
    });
    markup! {
        <time datetime=stamp.rfc3339() title=move || title.get()>
            {stamp.to_string()}
        </time>
    }
}
