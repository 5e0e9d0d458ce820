//! The pages that are looked up now and then: the server writes them, and they are shown as they are.

use crate::api::sheets::ReadSheet;
use crate::ui::components::chrome::{Chrome, Place};
use crate::ui::components::notice::Alert;
use crate::ui::live::requests::Reading;
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

/// One backup, and getting it back.
#[component]
pub fn RestorePage() -> impl IntoView {
    office("restore", Place::Backups)
}

/// The audit log.
#[component]
pub fn AuditPage() -> impl IntoView {
    office("audit", Place::Activity)
}

fn office(of: &'static str, place: Place) -> AnyView {
    let sheet = Reading::begin(move |search| ReadSheet { of: of.to_owned(), search: search.to_owned() });
    markup! {
        <Chrome place>
            <Transition fallback=|| markup! { <p class="loading">"Reading…"</p> }>
                {move || Suspend::new(async move {
                    match sheet.read().await {
                        Ok(sheet) => markup! { <div class="whole" inner_html=sheet></div> },
                        Err(error) => markup! { <Alert message=error.to_string() detail=None /> },
                    }
                })}
            </Transition>
        </Chrome>
    }
}
