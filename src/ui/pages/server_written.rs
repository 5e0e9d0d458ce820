//! Server-written pages: the browser shows their HTML as it is.

use crate::api::server_pages::ReadPage;
use crate::ui::components::chrome::{Chrome, Place};
use crate::ui::components::notice::Alert;
use crate::ui::live::requests::PageData;
use leptos::prelude::*;

/// The user's own account.
#[component]
pub fn AccountPage() -> impl IntoView {
    server_written("account", Place::Account)
}

/// All accounts.
#[component]
pub fn UsersPage() -> impl IntoView {
    server_written("users", Place::Account)
}

/// Restoring one backup.
#[component]
pub fn RestorePage() -> impl IntoView {
    server_written("restore", Place::Backups)
}

/// The audit log.
#[component]
pub fn AuditPage() -> impl IntoView {
    server_written("audit", Place::Activity)
}

fn server_written(name: &'static str, place: Place) -> AnyView {
    let page = PageData::begin(move |search| ReadPage { name: name.to_owned(), search: search.to_owned() });
    markup! {
        <Chrome place>
            <Transition fallback=|| markup! { <p class="loading">"Reading…"</p> }>
                {move || Suspend::new(async move {
                    match page.read().await {
                        Ok(html) => markup! { <div class="whole" inner_html=html></div> },
                        Err(error) => markup! { <Alert message=error.to_string() detail=None /> },
                    }
                })}
            </Transition>
        </Chrome>
    }
}
