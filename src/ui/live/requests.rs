//! Requests to the server: the data of a page, the actions of its buttons, and the fields of its forms.

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

/// A request that a button starts, and whether its answer is pending.
#[derive(Debug, Clone, Copy)]
pub struct Action(RwSignal<bool>);

impl Action {
    /// An action that has not started yet.
    pub fn begin() -> Self {
        Self(RwSignal::new(false))
    }

    /// Whether the answer is pending.
    pub fn is_pending(self) -> bool {
        self.0.get()
    }

    /// Calls the server function, then `then` with the answer.
    pub fn ask<F: Call>(self, call: F, then: impl FnOnce(Result<F::Output, AppError>) + 'static)
    where
        F::Output: Serialize + DeserializeOwned,
    {
        let then = move |said: Said| then(said.and_then(|said| decode(&said)));
        self.hear(said_by::<PostUrl, F>(call), Box::new(then));
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

/// The fields that a submitted form sends, the pressed button included.
pub fn sent_by(event: &SubmitEvent) -> Option<impl Fn(&str) -> Option<String> + use<>> {
    let form = form_data_from_event(event).ok()?;
    Some(move |field: &str| form.get(field).as_string())
}

/// `Effect::new`, compiled once for all effects.
pub fn effect(run: impl FnMut(Option<()>) + 'static) {
    Effect::new(Box::new(run) as Box<dyn FnMut(Option<()>)>);
}

/// The data of a page. The server reads the data while it renders the page and sends them along; the browser reads them
/// again when the address changes. Stored as JSON and decoded on read, so that the resource is compiled once for all
/// pages.
pub struct PageData<T> {
    said: Resource<Said, AsSaid>,
    of: PhantomData<fn() -> T>,
}

impl<T> Clone for PageData<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for PageData<T> {}

impl<T: DeserializeOwned> PageData<T> {
    /// Reads the data with the server function that `call` makes from the query string.
    pub fn begin<F>(call: impl Fn(&str) -> F + Send + Sync + 'static) -> Self
    where
        F: Call<Output = T>,
        T: Serialize,
    {
        let said = resource(Box::new(move |search| said_by::<GetUrl, F>(call(&search))));
        Self { said, of: PhantomData }
    }

    /// Waits for the data.
    pub async fn read(self) -> Result<T, AppError> {
        decode(&self.said.await?)
    }

    /// Runs the current effect or view again whenever the data were read again.
    pub fn track(self) {
        self.said.track();
    }

    /// Reads the data again.
    pub fn refetch(self) {
        self.said.refetch();
    }
}

type Ask = Box<dyn Fn(String) -> Saying + Send + Sync>;

fn resource(ask: Ask) -> Resource<Said, AsSaid> {
    let search = use_location().search;
    Resource::new_with_options(move || search.get(), ask, false)
}
