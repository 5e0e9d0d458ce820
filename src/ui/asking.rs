//! Asking the server for something while the page stays, and what a form would send.

use crate::api::json::Json;
use crate::model::AppError;
use leptos::ev::SubmitEvent;
use leptos::form::form_data_from_event;
use leptos::prelude::*;
use leptos::server_fn::ServerFn;
use leptos::task::spawn_local;

/// Something that is asked for by a button, and whether the answer is still on its way.
#[derive(Debug, Clone, Copy)]
pub struct Asking(RwSignal<bool>);

impl Asking {
    /// Nothing is asked for yet.
    pub fn begin() -> Self {
        Self(RwSignal::new(false))
    }

    /// Whether the answer is still to come.
    pub fn is_pending(self) -> bool {
        self.0.get()
    }

    /// Asks for it, and does what follows from the answer.
    pub fn ask<F: ServerFn<Error = AppError> + 'static>(
        self,
        asked: F,
        then: impl FnOnce(Result<F::Output, AppError>) + 'static,
    ) {
        self.0.set(true);
        spawn_local(async move {
            let answer = asked.run_on_client().await;
            self.0.set(false);
            then(answer);
        });
    }
}

/// What a form sends, its button included: a field's value, and nothing where it is not sent.
pub fn sent_by(event: &SubmitEvent) -> Option<impl Fn(&str) -> Option<String> + use<>> {
    let form = form_data_from_event(event).ok()?;
    Some(move |field: &str| form.get(field).as_string())
}

/// `Effect::new`, compiled once for all effects.
pub fn effect(run: impl FnMut(Option<()>) + 'static) {
    Effect::new(Box::new(run) as Box<dyn FnMut(Option<()>)>);
}

/// What a page reads from the server: asked for while the server writes the page, and handed on to the browser
/// with it.
pub type Reading<T> = Resource<Result<T, AppError>, Json>;
