//! The line to the server: what runs and whether the list has changed, as it happens.

use crate::model::Live;
use codee::string::JsonSerdeCodec;
use leptos::prelude::*;
use leptos_use_event_source::{UseEventSourceReturn, use_event_source};

/// What the server last said; nothing before the page is live.
pub fn live_feed() -> Signal<Option<Live>> {
    let UseEventSourceReturn { message, .. } = use_event_source::<Live, JsonSerdeCodec>("/events");
    Signal::derive(move || message.get().map(|message| message.data))
}
