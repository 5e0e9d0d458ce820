//! The router: every address with its handler. All but those that `middleware::access` calls public need a session.

use crate::api::context::RequestContext;
use crate::app::App;
use crate::domain::Holdfast;
use crate::model::AppError;
use crate::model::audit::{Ending, Event};
use crate::server::auth::{guard, routes as auth_routes};
use crate::server::downloads::{audit_log, backup, bundle};
use crate::server::middleware::base_path;
use crate::server::middleware::base_path::Base;
use crate::server::middleware::forwarded;
use crate::server::middleware::forwarded::Proxies;
use crate::server::middleware::headers;
use crate::server::negotiate::{Wanted, wanted};
use crate::server::pages::live_page::{Frame, live_document};
use crate::server::pages::message;
use crate::server::pages::registry::{self, Pages};
use crate::server::routes::csp_report::REPORT_MAX;
use crate::server::routes::{assets, csp_report, events, imports, metadata, theme};
use crate::server::state::{AppState, OnBehalf};
use axum::body::Body;
use axum::extract::DefaultBodyLimit;
use axum::http::{Request, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use axum::{Extension, Router};
use http::header::ORIGIN;
use http::request::Parts;
use leptos::prelude::{expect_context, provide_context, use_context};
use leptos_axum::{LeptosRoutes, ResponseOptions, generate_route_list};
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tower::Layer as _;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::csrf::CsrfLayer;

/// Largest form without files, in bytes: enough for a selection of 100,000 names.
const BODY_LIMIT: usize = 16 * 1024 * 1024;

/// The routes that are neither pages nor server functions, each with its methods.
fn plain_routes() -> [(&'static str, MethodRouter<AppState>); 13] {
    [
        ("/healthz", get(async || "ok\n")),
        ("/events", get(events::events)),
        ("/api/backups/{file}", get(metadata::metadata)),
        ("/backups/{file}", get(backup::backup)),
        ("/archives", post(bundle::make)),
        ("/archives/{id}/{file}", get(bundle::archive)),
        // No limit here: the handler counts the bytes of uploaded files itself.
        ("/imports", post(imports::import).layer(DefaultBodyLimit::disable())),
        ("/audit.jsonl", get(audit_log::download)),
        ("/theme", post(theme::switch)),
        ("/csp-report", post(csp_report::take).layer(DefaultBodyLimit::max(REPORT_MAX))),
        ("/pkg/{file}", get(assets::package)),
        ("/favicon.svg", get(assets::root)),
        ("/robots.txt", get(assets::root)),
    ]
}

/// The address of every route, for the test that tries them all: plain routes, pages, server functions.
pub fn addresses() -> Vec<String> {
    let plain = plain_routes().into_iter().chain(registry::forms()).map(|(path, _)| path.to_owned());
    let pages = generate_route_list(App).into_iter().map(|page| page.path().to_owned());
    let functions = leptos::server_fn::axum::server_fn_paths().map(|(path, _)| path.to_owned());
    let auth = auth_routes::PATHS.map(str::to_owned);
    plain.chain(auth).chain(pages).chain(functions).collect()
}

/// The reverse proxies in front of this server, from the settings.
#[derive(Debug, Clone, Default)]
pub struct Front {
    /// The proxies whose headers are trusted.
    pub proxies: Proxies,
    /// The path of the site.
    pub base: Base,
}

/// The complete router, as the server runs it and as tests call it.
pub fn router(holdfast: Holdfast, front: Front, stopping: watch::Receiver<bool>) -> Router {
    let state = AppState::new(holdfast, stopping);
    let context = {
        let request = RequestContext {
            holdfast: state.holdfast.clone(),
            flash: Arc::new(state.flash.clone()),
            pages: Arc::new(Pages),
            wants_page: false,
        };
        move || {
            let parts = use_context::<Parts>();
            let wants_page = parts.is_some_and(|parts| wanted(&parts.headers) == Wanted::Page);
            provide_context(RequestContext { wants_page, ..request.clone() });
            provide_context(Frame {
                assets: assets::site(),
                theme: theme::chosen(),
                may: guard::rights_of_reader(),
            });
            headers::allow_own_scripts();
        }
    };
    let mut router = auth_routes::routes(state.attempts.clone()).leptos_routes_with_context(
        &state,
        generate_route_list(App),
        context.clone(),
        live_document,
    );
    for (path, handler) in plain_routes().into_iter().chain(registry::forms()) {
        router = router.route(path, handler);
    }
    let not_found = move |request: Request<Body>| async move {
        if request.uri().path().starts_with("/api/") {
            return no_such_address();
        }
        let context = move || {
            context();
            expect_context::<ResponseOptions>().set_status(StatusCode::NOT_FOUND);
        };
        let render = leptos_axum::render_app_async_with_context(context, live_document);
        render(request).await.into_response()
    };
    within(router.fallback(not_found), state, front)
}

/// The routes inside all middleware.
pub fn within(routes: Router<AppState>, state: AppState, front: Front) -> Router {
    let site = routes
        .layer(map_response(headers::honest_status))
        .layer(from_fn_with_state(state.attempts.clone(), guard::guard))
        .layer(CsrfLayer::new().with_rejection_response(|_| cross_site()))
        .layer(from_fn_with_state(state.clone(), note_cross_site))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(from_fn(only_paths))
        .layer(CatchPanicLayer::custom(|_| {
            let error = AppError::Failed("Internal error. See Holdfast's log.".to_owned());
            message::json(StatusCode::INTERNAL_SERVER_ERROR, &error)
        }))
        .with_state(state);
    let site = if front.base.is_root() {
        site
    } else {
        Router::new().fallback_service(from_fn_with_state(front.base, base_path::enter).layer(site))
    };
    site.layer(from_fn(headers::protect)).layer(from_fn_with_state(front.proxies, forwarded::note))
}

/// Refuses requests without a path, such as `CONNECT host:443` or `OPTIONS *`, which are meant for a proxy.
async fn only_paths(request: Request<Body>, next: Next) -> Response {
    if request.uri().path().starts_with('/') {
        return next.run(request).await;
    }
    let error = AppError::BadRequest("This request names no path of this site.".to_owned());
    message::json(StatusCode::BAD_REQUEST, &error)
}

fn no_such_address() -> Response {
    let error = AppError::NotFound("There is nothing at this address.".to_owned());
    message::json(StatusCode::NOT_FOUND, &error)
}

fn cross_site() -> Response {
    let sentence =
        "This request came from another site, so Holdfast refused it. Open Holdfast itself and try again.\n";
    (StatusCode::FORBIDDEN, Extension(CrossSite), sentence).into_response()
}

/// Marks the response to a cross-site request.
#[derive(Clone)]
struct CrossSite;

/// Writes refused cross-site requests to the audit log.
async fn note_cross_site(OnBehalf(holdfast): OnBehalf, request: Request<Body>, next: Next) -> Response {
    let object = format!("{} {}", request.method(), request.uri().path());
    let origin =
        request.headers().get(ORIGIN).map(|origin| String::from_utf8_lossy(origin.as_bytes()).into_owned());
    let response = next.run(request).await;
    if response.extensions().get::<CrossSite>().is_some() {
        let detail = origin.map_or_else(String::new, |origin| format!("from {origin}"));
        let noting = move || {
            holdfast.notes().note_of_stranger(Event::CrossSiteRejected, &object, Ending::Refused, &detail);
        };
        let _ = spawn_blocking(noting).await;
    }
    response
}
