//! The `App` component and the route table: which page each address shows.

use crate::model::address;
use crate::ui::live::requests::effect;
use crate::ui::pages::{
    activity::ActivityPage,
    backups::BackupsPage,
    confirm::ConfirmPage,
    databases::DatabasesPage,
    delete::DeletePage,
    import::ImportPage,
    login::LoginPage,
    not_found::NotFoundPage,
    remote::RemotePage,
    server_written::{AccountPage, AuditPage, RestorePage, UsersPage},
    setup::SetupPage,
    sftp::{ResetPage, SftpSettingsPage},
};
use leptos::prelude::*;
use leptos_meta::{Title, provide_meta_context};
use leptos_router::components::{FlatRoutes, Route, Router};
use leptos_router::{PartialPathMatch, PathSegment, PossibleRouteMatch, SsrMode, path};
use std::sync::Arc;

/// The pages.
#[component]
pub fn App() -> impl IntoView {
    provide_meta_context();
    effect(|_| {
        // By the time this runs, every event handler is attached.
        if let Some(root) = document().document_element() {
            let _ = root.set_attribute("data-hydrated", "");
        }
    });
    view! {
        <Title formatter=|page: String| format!("{page} · Holdfast") text="Backups" />
        <Router>
            <FlatRoutes fallback=NotFoundPage>
                <Route path=at(path!("/")) view=BackupsPage ssr=SsrMode::Async />
                <Route path=at(path!("/delete")) view=DeletePage ssr=SsrMode::Async />
                <Route path=at(path!("/databases")) view=DatabasesPage ssr=SsrMode::Async />
                <Route path=at(path!("/remote")) view=RemotePage ssr=SsrMode::Async />
                <Route path=at(path!("/import")) view=ImportPage ssr=SsrMode::Async />
                <Route path=at(path!("/restore")) view=RestorePage ssr=SsrMode::Async />
                <Route path=at(path!("/settings/sftp")) view=SftpSettingsPage ssr=SsrMode::Async />
                <Route path=at(path!("/settings/sftp/reset")) view=ResetPage ssr=SsrMode::Async />
                <Route path=at(path!("/activity")) view=ActivityPage ssr=SsrMode::Async />
                <Route path=at(path!("/audit")) view=AuditPage ssr=SsrMode::Async />
                <Route path=at(path!("/account")) view=AccountPage ssr=SsrMode::Async />
                <Route path=at(path!("/users")) view=UsersPage ssr=SsrMode::Async />
                <Route path=at(path!("/confirm")) view=ConfirmPage ssr=SsrMode::Async />
                <Route path=at(path!("/login")) view=LoginPage ssr=SsrMode::Async />
                <Route path=at(path!("/setup")) view=SetupPage ssr=SsrMode::Async />
            </FlatRoutes>
        </Router>
    }
}

/// A path of any number of segments, so that all routes have one type.
fn at(path: impl PossibleRouteMatch + Send + Sync + 'static) -> Arc<dyn PossibleRouteMatch + Send + Sync> {
    Arc::new(Below(path))
}

/// A path below the base path. In the browser every address starts with the base path; the server removes it before
/// routing. The router's own option for this would add code to the browser half.
struct Below<P>(P);

impl<P: PossibleRouteMatch> PossibleRouteMatch for Below<P> {
    fn optional(&self) -> bool {
        self.0.optional()
    }

    fn test<'a>(&self, path: &'a str) -> Option<PartialPathMatch<'a>> {
        let base = if cfg!(feature = "ssr") { "" } else { address::base() };
        self.0.test(path.get(base.len()..)?)
    }

    fn generate_path(&self, path: &mut Vec<PathSegment>) {
        self.0.generate_path(path);
    }
}
