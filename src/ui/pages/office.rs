//! The pages that are looked up now and then: the server describes them.

use crate::api::sheets::ReadSheet;
use crate::ui::asking::Reading;
use crate::ui::chrome::{Chrome, Place};
use crate::ui::notice::Alert;
use crate::ui::sheet::Described;
use leptos::prelude::*;

/// One's own account.
#[component]
pub fn AccountPage() -> impl IntoView {
    office("account", Place::Account)
}

/// Everybody's accounts.
#[component]
pub fn UsersPage() -> impl IntoView {
    office("users", Place::Account)
}

fn office(of: &'static str, place: Place) -> AnyView {
    let sheet = Reading::begin(move |search| ReadSheet { of: of.to_owned(), search: search.to_owned() });
    markup! {
        <Chrome place>
            <Transition fallback=|| markup! { <p class="loading">"Reading…"</p> }>
                {move || Suspend::new(async move {
                    match sheet.read().await {
                        Ok(sheet) => markup! { <Described sheet /> },
                        Err(error) => markup! { <Alert message=error.to_string() detail=None /> },
                    }
                })}
            </Transition>
        </Chrome>
    }
}
