//! The table that says which page an address shows.

use crate::ui::pages::{
    activity::ActivityPage,
    backups::BackupsPage,
    databases::DatabasesPage,
    delete::DeletePage,
    login::LoginPage,
    not_found::NotFoundPage,
    remote::RemotePage,
    setup::SetupPage,
    sftp::{ResetPage, SftpSettingsPage},
};
use leptos::prelude::*;
use leptos_meta::{Title, provide_meta_context};
use leptos_router::components::{Route, Router, Routes};
use leptos_router::{SsrMode, path};

/// The pages.
#[component]
pub fn App() -> impl IntoView {
    provide_meta_context();
    Effect::new(|_| {
        // Once this has run, every handler is in place: what is clicked from here on is heard.
        if let Some(root) = document().document_element() {
            let _ = root.set_attribute("data-hydrated", "");
        }
    });
    view! {
        <Title formatter=|page: String| format!("{page} · Holdfast") text="Backups" />
        <Router>
            <Routes fallback=NotFoundPage>
                <Route path=path!("/") view=BackupsPage ssr=SsrMode::Async />
                <Route path=path!("/delete") view=DeletePage ssr=SsrMode::Async />
                <Route path=path!("/databases") view=DatabasesPage ssr=SsrMode::Async />
                <Route path=path!("/remote") view=RemotePage ssr=SsrMode::Async />
                <Route path=path!("/settings/sftp") view=SftpSettingsPage ssr=SsrMode::Async />
                <Route path=path!("/settings/sftp/reset") view=ResetPage ssr=SsrMode::Async />
                <Route path=path!("/activity") view=ActivityPage ssr=SsrMode::Async />
                <Route path=path!("/login") view=LoginPage ssr=SsrMode::Async />
                <Route path=path!("/setup") view=SetupPage ssr=SsrMode::Async />
            </Routes>
        </Router>
    }
}
