//! The server's event stream: running jobs, and changes of the list.

use crate::api::json;
use crate::model::Live;
use crate::model::address::at;
use leptos::prelude::*;
use std::time::Duration;
use wasm_bindgen::JsCast;
use wasm_bindgen::prelude::Closure;
use web_sys::{EventSource, MessageEvent};

/// If the server refuses the stream, the page waits this long and tries again …
const PAUSE: Duration = Duration::from_secs(3);

/// … at most this often in a row.
const TRIES: u32 = 3;

/// The last event; `None` before the page is live.
pub fn live_feed() -> Signal<Option<Live>> {
    let latest = RwSignal::new(None);
    let tried = StoredValue::new(0_u32);
    let again = Trigger::new();
    // The result of an effect is dropped before it runs again, and with the page.
    Effect::new(move |_| {
        again.track();
        EventStream::open(
            move |live| {
                tried.set_value(0);
                latest.set(Some(live));
            },
            move || {
                let times = tried.try_update_value(|tried| {
                    *tried += 1;
                    *tried
                });
                if times.is_some_and(|times| times <= TRIES) {
                    set_timeout(move || again.notify(), PAUSE);
                }
            },
        )
    });
    latest.into()
}

/// An open stream, closed when it is dropped.
struct EventStream {
    source: EventSource,
    _hear: Closure<dyn Fn(MessageEvent)>,
    _fail: Closure<dyn Fn()>,
}

impl EventStream {
    fn open(on_event: impl Fn(Live) + 'static, on_refused: impl Fn() + 'static) -> Option<Self> {
        let source = EventSource::new(&at("/events")).ok()?;
        let hear = Closure::<dyn Fn(MessageEvent)>::new(move |message: MessageEvent| {
            let text = message.data().as_string().unwrap_or_default();
            if let Ok(live) = json::read(&text) {
                on_event(live);
            }
        });
        // The browser reconnects a broken stream by itself; then its state is not "closed".
        let line = source.clone();
        let fail = Closure::<dyn Fn()>::new(move || {
            if line.ready_state() == EventSource::CLOSED {
                on_refused();
            }
        });
        source.set_onmessage(Some(hear.as_ref().unchecked_ref()));
        source.set_onerror(Some(fail.as_ref().unchecked_ref()));
        Some(Self { source, _hear: hear, _fail: fail })
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        self.source.set_onmessage(None);
        self.source.set_onerror(None);
        self.source.close();
    }
}
