//! Asking the server for something while the page stays, and what a form would send.

use crate::api::json::{AsSaid, Said};
use crate::api::wire::{Call, Saying, decode, said_by};
use crate::model::AppError;
use leptos::ev::SubmitEvent;
use leptos::form::form_data_from_event;
use leptos::prelude::*;
use leptos::server_fn::codec::{GetUrl, PostUrl};
use leptos::task::spawn_local;
use leptos_router::hooks::use_location;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::marker::PhantomData;

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
    pub fn ask<F: Call>(self, asked: F, then: impl FnOnce(Result<F::Output, AppError>) + 'static)
    where
        F::Output: Serialize + DeserializeOwned,
    {
        let then = move |said: Said| then(said.and_then(|said| decode(&said)));
        self.hear(said_by::<PostUrl, F>(asked), Box::new(then));
    }

    fn hear(self, saying: Saying, then: Box<dyn FnOnce(Said)>) {
        self.0.set(true);
        spawn_local(async move {
            let said = saying.await;
            self.0.set(false);
            then(said);
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

/// What a page reads from the server: asked for while the server writes the page, handed on to the browser with
/// it, and asked for anew when the address changes. It is kept as it was said and read when it is wanted: what
/// keeps it is compiled once for all pages.
pub struct Reading<T> {
    said: Resource<Said, AsSaid>,
    of: PhantomData<fn() -> T>,
}

impl<T> Clone for Reading<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Reading<T> {}

impl<T: DeserializeOwned> Reading<T> {
    /// Begins to read what `asked` makes of the part of the address after the question mark.
    pub fn begin<F>(asked: impl Fn(&str) -> F + Send + Sync + 'static) -> Self
    where
        F: Call<Output = T>,
        T: Serialize,
    {
        let said = resource(Box::new(move |search| said_by::<GetUrl, F>(asked(&search))));
        Self { said, of: PhantomData }
    }

    /// Waits for it.
    pub async fn read(self) -> Result<T, AppError> {
        decode(&self.said.await?)
    }

    /// Has whatever runs now run again when it was read anew.
    pub fn track(self) {
        self.said.track();
    }

    /// Reads it anew.
    pub fn refetch(self) {
        self.said.refetch();
    }
}

type Ask = Box<dyn Fn(String) -> Saying + Send + Sync>;

fn resource(ask: Ask) -> Resource<Said, AsSaid> {
    let search = use_location().search;
    Resource::new_with_options(move || search.get(), ask, false)
}
